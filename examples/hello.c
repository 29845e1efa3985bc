/*
 * Polystore inside a program: a record and an event in one transaction, then a
 * search that is sure to see them. Run it in the folder of this file:
 *
 *   cc hello.c $(pkg-config --cflags --libs polystore) -o hello && ./hello
 */
#include <polystore.h>
#include <stdio.h>

static const char config[] = "data: ./hello-data\n"
                             "domains:\n"
                             "  notes: {table: notes, tenant: none, search: {fields: [body]}}\n"
                             "  diary: {stream: diary}\n";

static int fail(const struct poly_error *err)
{
    fprintf(stderr, "hello: %s: %s\n", poly_status_name(err->status), err->message);
    return poly_status_exit(err->status);
}

int main(void)
{
    struct poly_options options = {.config_text = config};
    struct poly_session_options who = {.rights = POLY_RIGHTS_ALL};
    struct poly_search_query query = {.query = "stores -apart", .limit = 10};
    struct poly_event event = {.type = "NoteWritten", .data = poly_json("{\"by\": \"hello\"}")};
    struct poly_field fields[] = {{"title", poly_str("First note")},
                                  {"body", poly_str("Stores that are kept in step by one log")}};
    struct poly_row row = {fields, 2};
    struct poly_instance *instance;
    struct poly_session *session;
    struct poly_migrations migrations;
    struct poly_commit commit;
    struct poly_hits hits;
    struct poly_error err;
    struct poly_txn *txn;

    if (poly_open(&options, &instance, &err) != POLY_OK ||
        poly_session_open(instance, &who, &session, &err) != POLY_OK ||
        poly_migrate_up(session, "migrations", &migrations, &err) != POLY_OK ||
        poly_txn_begin(session, NULL, &txn, &err) != POLY_OK)
        return fail(&err);
    if (poly_put(txn, "notes", "n1", &row, POLY_ANY, &err) != POLY_OK ||
        poly_append(txn, "diary-hello", POLY_ANY, &event, 1, &err) != POLY_OK ||
        poly_txn_commit(txn, &commit, &err) != POLY_OK)
        return fail(&err);
    printf("on disk at position %llu\n", (unsigned long long)commit.position);
    if (poly_session_after(session, commit.token.text, POLY_WAIT, &err) != POLY_OK ||
        poly_search(session, &query, &hits, &err) != POLY_OK)
        return fail(&err);
    for (size_t i = 0; i < hits.count; i++)
        printf("found %s/%s\n", hits.hits[i].domain.data, hits.hits[i].key.data);
    poly_session_close(session);
    poly_close(instance);
    return 0;
}
