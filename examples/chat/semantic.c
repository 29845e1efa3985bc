/*
 * What a user has said, found by its meaning: the search of an assistant that remembers. The user
 * is the session's tenant, so nobody can forget to ask for the owner's rows only. A result is a
 * pair, of which one is NULL: what was found, or an error that names the operation. Run it in this
 * folder:
 *
 *   cc semantic.c $(pkg-config --cflags --libs polystore) -o semantic
 *   ./semantic USER FILE [THRESHOLD [LIMIT [CHAT]]]
 */
#include <polystore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS = 100 };

struct semantic_query {
    const char *user_id; /* needed */
    const float *embedding;
    size_t dimensions;
    const char *chat_id; /* NULL: all of the user's chats */
    uint32_t limit;      /* 0: 10 */
    double threshold;    /* least similarity; 0: 0.7 */
};

struct semantic_error {
    const char *operation;
    enum poly_status status;
    char message[600];
};

/* Exactly one is not NULL. Lives until the next search of the same session. */
struct semantic_result {
    const struct poly_matches *value; /* with rows: id, content, chat_id, message_id, … */
    const struct semantic_error *error;
};

static struct semantic_result failed(enum poly_status status, const char *why)
{
    static struct semantic_error error;

    error = (struct semantic_error){.operation = "semanticSearch", .status = status};
    snprintf(error.message, sizeof(error.message), "%s", why);
    return (struct semantic_result){.error = &error};
}

static struct semantic_result semantic_search(struct poly_session *session,
                                              const struct semantic_query *asked)
{
    static const char *const domains[] = {"memories", NULL};
    static struct poly_matches matches;
    struct poly_value chat = poly_str(asked->chat_id == NULL ? "" : asked->chat_id);
    struct poly_filter filter = {
        .column = "chat_id", .compare = POLY_EQ, .values = &chat, .value_count = 1};
    struct poly_where where = {.kind = POLY_WHERE_COMPARE, .compare = &filter};
    struct poly_vector_query query = {
        .domains = domains,
        .vector = asked->embedding,
        .dimensions = asked->dimensions,
        .where = asked->chat_id == NULL ? NULL : &where,
        .limit = asked->limit == 0 ? 10 : asked->limit,
        .has_threshold = true,
        .threshold = asked->threshold == 0 ? 0.7 : asked->threshold,
        .rows = true,
    };
    struct poly_error err;

    if (asked->user_id == NULL || asked->user_id[0] == '\0')
        return failed(POLY_INVALID, "a user id is needed");
    if (poly_vector_search(session, &query, &matches, &err) != POLY_OK)
        return failed(err.status, err.message);
    return (struct semantic_result){.value = &matches};
}

/* --- a program around it --- */

static void print_value(const struct poly_value *value)
{
    if (value->type == POLY_TEXT || value->type == POLY_JSON)
        printf("%.*s", (int)value->text.size, value->text.data);
    else if (value->type == POLY_UUID)
        for (int i = 0; i < 16; i++)
            printf(i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", value->uuid[i]);
    else if (value->type == POLY_TIME)
        printf("%lld", (long long)value->integer);
    else
        printf("-");
}

static void print(const struct poly_match *match)
{
    static const char *const columns[] = {"content", "chat_id", "message_id", "metadata",
                                          "created_at"};

    printf("similarity: %.4f\nid: %.*s\n", match->similarity, (int)match->key.size,
           match->key.data);
    for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++)
        for (size_t i = 0; i < match->row.count; i++)
            if (strcmp(match->row.fields[i].name, columns[c]) == 0) {
                printf("%s: ", columns[c]);
                print_value(&match->row.fields[i].value);
                printf("\n");
            }
    printf("\n");
}

/* "[0.1, -0.2]" of a file; how many there were. */
static size_t read_embedding(const char *path, float embedding[DIMENSIONS])
{
    FILE *file = fopen(path, "r");
    size_t count = 0;

    if (file == NULL)
        return 0;
    while (count < DIMENSIONS && fscanf(file, " %*1[[,] %f", &embedding[count]) == 1)
        count++;
    fclose(file);
    return count;
}

static int search(struct poly_instance *instance, const struct semantic_query *query)
{
    const char *user = query->user_id;
    struct poly_session_options who = {.tenant = user[0] == '\0' ? NULL : user};
    struct poly_session *session;
    struct semantic_result result;
    struct poly_error err;
    int code = 0;

    if (poly_session_open(instance, &who, &session, &err) != POLY_OK) {
        fprintf(stderr, "semantic: %s\n", err.message);
        return poly_status_exit(err.status);
    }
    result = semantic_search(session, query);
    for (size_t i = 0; result.value != NULL && i < result.value->count; i++)
        print(&result.value->matches[i]);
    if (result.error != NULL) {
        fprintf(stderr, "%s: %s\n", result.error->operation, result.error->message);
        code = poly_status_exit(result.error->status);
    }
    poly_session_close(session);
    return code;
}

int main(int count, char **words)
{
    struct poly_options options = {.config_file = "polystore.yaml"};
    float embedding[DIMENSIONS];
    struct semantic_query query = {.embedding = embedding};
    struct poly_instance *instance;
    struct poly_error err;
    int code;

    if (count < 3) {
        fprintf(stderr, "usage: semantic USER FILE [THRESHOLD [LIMIT [CHAT]]]\n");
        return 2;
    }
    query.user_id = words[1];
    query.dimensions = read_embedding(words[2], embedding);
    query.threshold = count > 3 ? strtod(words[3], NULL) : 0;
    query.limit = count > 4 ? (uint32_t)strtoul(words[4], NULL, 10) : 0;
    query.chat_id = count > 5 ? words[5] : NULL;
    if (poly_open(&options, &instance, &err) != POLY_OK) {
        fprintf(stderr, "semantic: %s\n", err.message);
        return poly_status_exit(err.status);
    }
    code = search(instance, &query);
    poly_close(instance);
    return code;
}
