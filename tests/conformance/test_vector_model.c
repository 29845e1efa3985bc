/*
 * Change of model, in each placement: what is collected beside the vectors that serve, the swap and
 * the way back, what is refused, and that no answer is of two models (S0-49, S3-15, S3-88).
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/inside.h"

#include "vector_place.h"

#include "lab.h"

static const float east[] = {1, 0, 0, 0};
static const float six[] = {0, 0, 0, 0, 0, 1};

/* Of the new model a key's vector points elsewhere, and has six numbers. */
static struct poly_model_vector next_of(const char *key, const float *vector)
{
    return (struct poly_model_vector){.key = key, .vector = vector, .dimensions = 6};
}

static enum poly_status give(struct place *p, const char *domain, const char *name,
                             struct poly_model_batch batch, struct poly_model_added *added)
{
    return poly_model_add(p->admin, domain, name, &batch, added, &err);
}

#define BATCH(of, list, number)                                                                    \
    ((struct poly_model_batch){.model = of, .vectors = list, .count = number})

static struct poly_model_added add(struct place *p, const char *key, const float *vector)
{
    const struct poly_model_vector one = next_of(key, vector);
    struct poly_model_added added = {77, 77, 77};

    assert_ok(give(p, "items", NULL, BATCH("large-2", &one, 1), &added));
    poly_session_reset(p->admin);
    return added;
}

static struct poly_model_status model_of(struct place *p, const char *domain)
{
    const struct poly_model_status *list;
    size_t count;

    assert_ok(poly_model_status(p->admin, domain, &list, &count, &err));
    assert_true(count > 0);
    return list[0];
}

static enum poly_status swap(struct place *p, const char *domain, const char *name, bool back,
                             bool drop, struct poly_model_swapped *swapped)
{
    const struct poly_model_swap how = {.back = back, .drop_missing = drop};

    *swapped = (struct poly_model_swapped){.changed = 77};
    return poly_model_swap(p->admin, domain, name, &how, swapped, &err);
}

static struct poly_vector_query of_six(const float *vector)
{
    struct poly_vector_query query = query_of(items, vector);

    query.dimensions = 6;
    return query;
}

static void put_three(struct place *p)
{
    put_item(p->nobody, "a", "", "open", 1, "[1, 0, 0, 0]");
    put_item(p->nobody, "b", "", "open", 2, "[0.9, 0.1, 0, 0]");
    put_item(p->nobody, "c", "", "done", 3, "[0, 1, 0, 0]");
}

static void fill_three(struct place *p)
{
    static const float a[] = {1, 0, 0, 0, 0, 0}, b[] = {0, 0, 0, 0, 1, 1};

    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    assert_int_equal(add(p, "a", a).taken, 1);
    assert_int_equal(add(p, "b", b).taken, 1);
    assert_int_equal(add(p, "c", six).taken, 1);
}

/* A write that names another model than the domain's is refused, as a search is. */
static void refuses_writes_of_another_model(void **state)
{
    struct place *p = *state;
    struct poly_txn_options options = {.model = "other"};
    const struct poly_row *row = ROW({"embedding", poly_json("[1,0,0,0]")});
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(p->nobody, &options, &txn, &err));
    assert_fails(poly_put(txn, "items", "a", row, POLY_ANY, &err), POLY_INVALID);
    assert_message("domain 'items': its vectors are of the model 'small-1', those that are written "
                   "of 'other'");
    /* what has no vector is of no model */
    assert_ok(poly_put(txn, "items", "b", ROW({"title", poly_str("x")}), POLY_ANY, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    options.model = "small-1";
    assert_ok(poly_txn_begin(p->nobody, &options, &txn, &err));
    assert_ok(poly_put(txn, "items", "a", row, POLY_ANY, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    gives(p->nobody, query_of(items, east), "items/a");
}

static void swaps_and_goes_back(void **state)
{
    struct place *p = *state;
    struct poly_model_swapped swapped;
    struct poly_vector_query query = query_of(items, east);

    put_three(p);
    fill_three(p);
    gives(p->nobody, query, "items/a items/b items/c");
    assert_int_equal(model_of(p, "items").filled, 3);
    assert_int_equal(model_of(p, "items").missing, 0);
    assert_ok(swap(p, "items", NULL, false, false, &swapped));
    assert_string_equal(swapped.model.data, "large-2");
    assert_int_equal(swapped.changed, 3);
    assert_int_equal(swapped.dropped, 0);
    refuses(p->admin, query, POLY_INVALID,
            "domain 'items': vector 'embedding': 4 dimensions were given, it has 6");
    query.model = "small-1";
    refuses(p->admin, query, POLY_INVALID,
            "domain 'items': its vectors are of the model 'large-2', the query's is of 'small-1'");
    gives(p->admin, of_six(six), "items/c items/b items/a");
    assert_string_equal(model_of(p, "items").model.data, "large-2");
    assert_true(model_of(p, "items").back);
    assert_int_equal(model_of(p, "items").filled, 3);
    /* writers have to follow */
    assert_fails(put_row(p->nobody, "items", "d", ROW({"embedding", poly_json("[1,0,0,0]")}),
                         POLY_ANY, NULL, &err),
                 POLY_INVALID);
    put_item(p->nobody, "a", "", "", 0, "[0, 0, 0, 0, 0, 1]");
    gives(p->nobody, of_six(six), "items/a items/c items/b");
    /* and back: the one that was changed since has no old vector for what it is now */
    assert_fails(swap(p, "items", NULL, true, false, &swapped), POLY_CONFLICT);
    assert_message("change of model: domain 'items': 0 records have no vector of the model "
                   "'small-1', and 1 were changed since theirs was given: 'a'; give them one, or "
                   "let them have none (drop_missing)");
    assert_ok(swap(p, "items", NULL, true, true, &swapped));
    assert_int_equal(swapped.changed, 2);
    assert_int_equal(swapped.dropped, 1);
    gives(p->admin, query_of(items, east), "items/b items/c");
    /* the way forward is the way back */
    assert_ok(swap(p, "items", NULL, true, true, &swapped));
    gives(p->admin, of_six(six), "items/a items/c items/b");
    assert_int_equal(model_of(p, "items").changes, 3);
}

/* Whatever has no new vector, or one of what it was before, is said; nothing happens then. */
static void refuses_what_is_missing(void **state)
{
    struct place *p = *state;
    struct poly_model_swapped swapped;
    struct poly_model_vector old = next_of("b", six);
    struct poly_model_added added;
    const float zero[6] = {0};

    put_three(p);
    assert_fails(swap(p, "items", NULL, false, false, &swapped), POLY_NOT_FOUND);
    assert_fails(give(p, "items", NULL, BATCH("large-2", &old, 1), &added), POLY_CONFLICT);
    assert_message("domain 'items': no vectors of another model are collected; begin a change of "
                   "model first");
    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    assert_int_equal(add(p, "a", six).taken, 1);
    assert_int_equal(add(p, "nobody", six).unknown, 1);
    old.version = 1;
    assert_ok(give(p, "items", NULL, BATCH("large-2", &old, 1), &added));
    assert_int_equal(added.stale, 1);
    old.vector = zero;
    assert_fails(give(p, "items", NULL, BATCH(NULL, &old, 1), &added), POLY_INVALID);
    assert_message("key 'b': vector 'embedding': all its numbers are zero, and so it has no "
                   "direction, which the metric 'cosine' compares");
    old.dimensions = 5;
    assert_fails(give(p, "items", NULL, BATCH(NULL, &old, 1), &added), POLY_INVALID);
    assert_fails(give(p, "items", NULL, BATCH("other", &old, 1), &added), POLY_CONFLICT);
    put_item(p->nobody, "a", "changed", "", 0, "[1, 0, 0, 0]");
    assert_int_equal(model_of(p, "items").missing, 2);
    assert_int_equal(model_of(p, "items").stale, 1);
    assert_fails(swap(p, "items", NULL, false, false, &swapped), POLY_CONFLICT);
    assert_message("change of model: domain 'items': 2 records have no vector of the model "
                   "'large-2', and 1 were changed since theirs was given: 'a', 'b', 'c'; give them "
                   "one, or let them have none (drop_missing)");
    assert_int_equal(swapped.changed, 77);
    gives(p->nobody, query_of(items, east), "items/a items/b items/c");
    assert_int_equal(add(p, "a", six).taken, 1);
    assert_ok(swap(p, "items", NULL, false, true, &swapped));
    assert_int_equal(swapped.changed, 1);
    assert_int_equal(swapped.dropped, 2);
    gives(p->admin, of_six(six), "items/a");
}

static void begins_goes_on_and_abandons(void **state)
{
    const struct poly_model_plan way_back = {.model = "large-2", .dimensions = 6, .back = true};
    struct place *p = *state;
    struct poly_model_swapped swapped;

    put_three(p);
    assert_fails(poly_model_begin(p->admin, "items", NULL, "small-1", 4, &err), POLY_INVALID);
    assert_message("domain 'items': its vectors are of the model 'small-1' already");
    assert_fails(poly_model_begin(p->admin, "logs", NULL, "new", 4, &err), POLY_INVALID);
    assert_fails(poly_model_begin(p->admin, "shapes", NULL, "new", 4, &err), POLY_INVALID);
    assert_fails(poly_model_begin(p->admin, "items", NULL, "new", 0, &err), POLY_INVALID);
    assert_fails(poly_model_begin(p->nobody, "items", NULL, "new", 4, &err), POLY_DENIED);
    assert_fails(poly_model_abandon(p->admin, "items", NULL, &err), POLY_NOT_FOUND);
    fill_three(p);
    reopen(p);
    wait_for_index(p);
    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    assert_int_equal(model_of(p, "items").filled, 3);
    assert_fails(poly_model_begin(p->admin, "items", NULL, "third", 6, &err), POLY_CONFLICT);
    assert_fails(poly_model_plan(p->admin, "items", NULL, &way_back, &err), POLY_INVALID);
    assert_fails(swap(p, "items", NULL, true, false, &swapped), POLY_NOT_FOUND);
    assert_ok(poly_model_abandon(p->admin, "items", NULL, &err));
    assert_int_equal(model_of(p, "items").next.size, 0);
    assert_fails(swap(p, "items", NULL, false, true, &swapped), POLY_NOT_FOUND);
    gives(p->nobody, query_of(items, east), "items/a items/b items/c");
}

static enum poly_status open_third(struct place *p, const char *from, const char *to)
{
    struct poly_instance *instance = NULL;
    char config[8192], domains[4096];
    const char *at = strstr(vector_domains, from);
    enum poly_status status;

    snprintf(domains, sizeof(domains), "%.*s%s%s", (int)(at - vector_domains), vector_domains, to,
             at + strlen(from));
    snprintf(config, sizeof(config), "stores: {vector: {%s%s%s}}\n%s",
             p->server != NULL ? "driver: postgresql, url: '" : "placement: ",
             p->server != NULL ? p->server
             : p->follower     ? "follower"
                               : "colocated",
             p->server != NULL ? "'" : "", domains);
    status = fixture_try_open(&p->fixture, config, &instance, &err);
    poly_close(instance);
    return status;
}

/* What the configuration says is overridden, in whichever of the two it names; a third is refused.
 */
static void stays_after_a_start_and_a_rebuild(void **state)
{
    struct place *p = *state;
    struct poly_model_swapped swapped;

    put_three(p);
    fill_three(p);
    assert_ok(swap(p, "items", NULL, false, false, &swapped));
    reopen(p);
    gives(p->admin, of_six(six), "items/c items/b items/a");
    put_item(p->nobody, "d", "", "", 0, "[0, 0, 0, 0, 0, 1]");
    assert_ok(remove_row(p->nobody, "items", "c", POLY_ANY, &err));
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    gives(p->nobody, of_six(six), "items/d items/b items/a");
    assert_string_equal(model_of(p, "items").named.data, "small-1");
    close_place(p);
    assert_fails(open_third(p, "model: small-1", "model: third"), POLY_INVALID);
    assert_true(strstr(err.message, "its vectors are of the model 'large-2' with 6 dimensions by "
                                    "now, and never were of 'third' with 4") != NULL);
    assert_ok(open_third(p, "dimensions: 4, model: small-1", "dimensions: 6, model: large-2"));
    open_with(p, vector_domains);
    gives(p->admin, of_six(six), "items/d items/b items/a");
    assert_ok(swap(p, "items", NULL, true, true, &swapped));
    reopen(p);
    gives(p->admin, query_of(items, east), "items/a items/b");
}

/* What does not change is in the log all the same, for it is of the new model now. */
static void takes_vectors_that_are_the_same(void **state)
{
    struct place *p = *state;
    struct poly_model_swapped swapped;
    struct poly_model_vector one = {.key = "a", .vector = east, .dimensions = 4};
    struct poly_model_added added;

    put_three(p);
    assert_ok(poly_model_begin(p->admin, "items", NULL, "again", 4, &err));
    assert_ok(give(p, "items", NULL, BATCH("again", &one, 1), &added));
    assert_ok(swap(p, "items", NULL, false, true, &swapped));
    assert_int_equal(swapped.dropped, 2);
    gives(p->admin, query_of(items, east), "items/a");
    reopen(p);
    gives(p->admin, query_of(items, east), "items/a");
}

/* A write that was checked before the swap and comes after it is of the model before, whatever its
 * length is. */
static void refuses_what_was_checked_before(void **state)
{
    struct place *p = *state;
    const struct poly_row *row = ROW({"embedding", poly_json("[0,0,0,1]")});
    struct poly_model_swapped swapped;
    struct poly_txn *txn, *other;

    put_three(p);
    assert_ok(poly_model_begin(p->admin, "items", NULL, "again", 4, &err));
    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_ok(poly_put(txn, "items", "late", row, POLY_ANY, &err));
    assert_ok(poly_txn_begin(p->acme, NULL, &other, &err));
    assert_ok(
        poly_put(other, "items", "none", ROW({"title", poly_str("no vector")}), POLY_ANY, &err));
    assert_ok(swap(p, "items", NULL, false, true, &swapped));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    assert_true(strstr(err.message, "the model of its vectors was changed meanwhile") != NULL);
    assert_ok(poly_txn_commit(other, NULL, &err));
    gives(p->admin, query_of(items, east), "");
    assert_ok(put_row(p->nobody, "items", "late", row, POLY_ANY, NULL, &err));
    gives(p->nobody, query_of(items, east), "items/late");
}

/* Columns of other types, tenants. */
static void changes_columns_of_every_kind(void **state)
{
    struct place *p = *state;
    static const float two[] = {3, 4}, five[] = {1, 2, 3, 4, 5};
    struct poly_model_vector one = {.key = "s", .vector = five, .dimensions = 5};
    static const char *const names[] = {"near", "dot", "far"};
    struct poly_vector_query query = {.domains = shapes, .vector = five, .dimensions = 5};
    struct poly_model_swapped swapped;
    struct poly_model_added added;

    assert_ok(put_row(p->nobody, "shapes", "s",
                      ROW({"near", poly_json("[1, 2, 3]")}, {"dot", poly_json("[1, 2]")}), POLY_ANY,
                      NULL, &err));
    for (size_t i = 0; i < 3; i++) {
        query.name = names[i];
        assert_ok(poly_model_begin(p->admin, "shapes", names[i], "five", 5, &err));
        assert_ok(give(p, "shapes", names[i], BATCH("five", &one, 1), &added));
        assert_int_equal(added.taken, 1);
        assert_ok(swap(p, "shapes", names[i], false, false, &swapped));
        gives(p->admin, query, "shapes/s");
    }
    query.name = "dot";
    query.vector = two;
    query.dimensions = 2;
    refuses(p->admin, query, POLY_INVALID,
            "domain 'shapes': vector 'dot': 2 dimensions were given, it has 5");
    assert_ok(swap(p, "shapes", "dot", true, true, &swapped));
    query.vector = two;
}

static void knows_whose_a_vector_is(void **state)
{
    struct place *p = *state;
    struct poly_model_vector list[] = {
        {.tenant = "acme", .key = "k", .vector = six, .dimensions = 6},
        {.tenant = "zeta",
         .key = "k",
         .vector = (const float[]){1, 0, 0, 0, 0, 0},
         .dimensions = 6},
    };
    struct poly_vector_query query = {
        .domains = cases, .vector = six, .dimensions = 6, .has_threshold = true, .threshold = 0.5};
    struct poly_model_swapped swapped;
    struct poly_model_added added;

    put_case(p->acme, "k", "[1,0,0,0]");
    put_case(p->zeta, "k", "[1,0,0,0]");
    assert_ok(poly_model_begin(p->admin, "cases", NULL, "six", 6, &err));
    list[0].tenant = NULL;
    assert_fails(give(p, "cases", NULL, BATCH("six", list, 2), &added), POLY_INVALID);
    list[0].tenant = "acme";
    assert_ok(give(p, "cases", NULL, BATCH("six", list, 2), &added));
    assert_int_equal(added.taken, 2);
    assert_ok(swap(p, "cases", NULL, false, false, &swapped));
    gives(p->acme, query, "cases/k");
    gives(p->zeta, query, "");
}

/* --- nothing is ever mixed --- */

enum { RECORDS = 300, SEARCHERS = 3 };

struct searching {
    struct place *p;
    _Atomic bool stop;
    _Atomic unsigned old, fresh, refused, wrong;
};

/* Of the old model key N is at N % 7 of the first two axes, of the new one at N % 5 of the last. */
static void old_vector(unsigned n, float *v)
{
    memset(v, 0, 4 * sizeof(*v));
    v[0] = 1;
    v[1] = 1 + (float)(n % 7);
}

static void new_vector(unsigned n, float *v)
{
    memset(v, 0, 6 * sizeof(*v));
    v[4] = 1;
    v[5] = 1 + (float)(n % 5);
}

/* Every match has the vector of its key in that model, and none is missing. */
static bool is_whole(const struct poly_matches *m, bool fresh)
{
    for (size_t i = 0; i < m->count; i++) {
        unsigned n = (unsigned)strtoul(m->matches[i].key.data + 1, NULL, 10);
        float wanted[6];

        if (fresh)
            new_vector(n, wanted);
        else
            old_vector(n, wanted);
        if (m->matches[i].vector == NULL ||
            !lab_is_like(m->matches[i].vector, wanted, m->dimensions))
            return false;
    }
    return m->count == RECORDS && m->dimensions == (fresh ? 6 : 4);
}

static void *search_on(void *arg)
{
    struct searching *s = arg;
    struct poly_session *session = fixture_session(&s->p->fixture, NULL, 0);
    float vectors[2][6];

    old_vector(3, vectors[0]);
    new_vector(3, vectors[1]);
    for (unsigned turn = 0; !atomic_load(&s->stop); turn++) {
        bool fresh = turn % 2 == 1;
        struct poly_vector_query query = {.domains = items,
                                          .vector = vectors[fresh],
                                          .dimensions = fresh ? 6 : 4,
                                          .limit = 1000,
                                          .exact = turn % 3 == 0,
                                          .vectors = true};
        struct poly_error own;
        struct poly_matches matches;

        if (poly_vector_search(session, &query, &matches, &own) != POLY_OK)
            atomic_fetch_add(own.status == POLY_INVALID ? &s->refused : &s->wrong, 1);
        else if (!is_whole(&matches, fresh))
            atomic_fetch_add(&s->wrong, 1);
        else
            atomic_fetch_add(fresh ? &s->fresh : &s->old, 1);
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void wait_for(_Atomic unsigned *count)
{
    unsigned from = atomic_load(count);

    for (int i = 0; i < 20000 && atomic_load(count) < from + 3; i++)
        usleep(1000);
    assert_true(atomic_load(count) >= from + 3);
}

static void put_all(struct place *p)
{
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    for (unsigned n = 0; n < RECORDS; n++) {
        char key[16];
        float v[4];

        snprintf(key, sizeof(key), "n%u", n);
        old_vector(n, v);
        assert_ok(poly_put(txn, "items", key, ROW({"embedding", poly_bytes(v, sizeof(v))}),
                           POLY_ANY, &err));
    }
    assert_ok(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(p->nobody);
}

static void fill_all(struct place *p)
{
    static struct poly_model_vector list[RECORDS];
    static float vectors[RECORDS][6];
    static char keys[RECORDS][16];
    struct poly_model_added added;

    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    for (unsigned n = 0; n < RECORDS; n++) {
        snprintf(keys[n], sizeof(keys[n]), "n%u", n);
        new_vector(n, vectors[n]);
        list[n] = next_of(keys[n], vectors[n]);
    }
    for (unsigned n = 0; n < RECORDS; n += 50) {
        assert_ok(give(p, "items", NULL, BATCH(NULL, list + n, 50), &added));
        assert_int_equal(added.taken, 50);
        poly_session_reset(p->admin);
    }
}

/* Threads search all the time, in both models by turns, during fill, swap and back. */
static void never_mixes_models(void **state)
{
    struct place *p = *state;
    struct searching s = {.p = p};
    struct poly_model_swapped swapped;
    pthread_t threads[SEARCHERS];

    put_all(p);
    gives(p->nobody,
          (struct poly_vector_query){.domains = items,
                                     .vector = east,
                                     .dimensions = 4,
                                     .limit = 1,
                                     .has_threshold = true,
                                     .threshold = 1},
          "");
    for (int i = 0; i < SEARCHERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, search_on, &s), 0);
    wait_for(&s.old);
    fill_all(p);
    wait_for(&s.old);
    for (int round = 0; round < 3; round++) {
        assert_ok(swap(p, "items", NULL, round > 0, false, &swapped));
        assert_int_equal(swapped.changed, RECORDS);
        wait_for(&s.fresh);
        assert_ok(swap(p, "items", NULL, true, false, &swapped));
        wait_for(&s.old);
        poly_session_reset(p->admin);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < SEARCHERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&s.wrong), 0);
    assert_true(atomic_load(&s.refused) > 0);
}

/* A control: what is looked for above would be seen. One record has the other model's vector. */
static void would_see_a_mixed_answer(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = {
        .domains = items, .dimensions = 4, .limit = 1000, .vectors = true};
    struct poly_matches matches;
    float v[6];

    put_all(p);
    old_vector(3, v);
    query.vector = v;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_true(is_whole(&matches, false));
    put_item(p->nobody, "n7", "", "", 0, "[0, 0, 1, 2]");
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_false(is_whole(&matches, false));
    assert_ok(remove_row(p->nobody, "items", "n7", POLY_ANY, &err));
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_false(is_whole(&matches, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(refuses_writes_of_another_model),   EACH(swaps_and_goes_back),
        EACH(refuses_what_is_missing),           EACH(begins_goes_on_and_abandons),
        EACH(stays_after_a_start_and_a_rebuild), EACH(takes_vectors_that_are_the_same),
        EACH(refuses_what_was_checked_before),   EACH(changes_columns_of_every_kind),
        EACH(knows_whose_a_vector_is),           EACH(never_mixes_models),
        EACH(would_see_a_mixed_answer),
    };

    return run_each("vector_model", tests, sizeof(tests) / sizeof(*tests));
}
