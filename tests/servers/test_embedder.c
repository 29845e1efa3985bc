/* The client of embedders against tests/servers/embedder.py: right vectors, and a clear word for
 * everything that can be wrong. S3-20, S3-39, S0-41 */
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "control.h"
#include "stores/vector/embedder.h"

enum { DIMENSIONS = 8, TEXTS = 7 };

static const char key[] = "sk-test-0123456789-abcdefghij";

static struct poly_error err;
static struct poly_embedder *embedder;
static char said[CONTROL_LINE], url[512];
static float vectors[64 * DIMENSIONS];
static size_t done;

static const struct poly_text texts[TEXTS] = {
    {"a cab", 5}, {"bad \"egg\"\n", 10}, {"", 0},   {"h\xc3\xa4", 3},
    {"gg", 2},    {"\x01\\ \0 e", 6},    {"zzz", 3}};

static int64_t in(int64_t seconds)
{
    return poly_clock_monotonic() + seconds * 1000000;
}

static const char *ask(const char *what)
{
    if (!control_order(said, sizeof(said), "embedder %s", what))
        fail_msg("%s: %s", what, said);
    return said;
}

static struct poly_embedder_options usual(void)
{
    return (struct poly_embedder_options){
        .url = url, .model = "test-model", .dimensions = DIMENSIONS, .retry_ms = 1};
}

static void reopen(const struct poly_embedder_options *options)
{
    poly_embedder_close(embedder);
    embedder = NULL;
    assert_ok(poly_embedder_open(options, &embedder, &err));
}

static int set_up(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    ask("clear");
    reopen(&options);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    poly_embedder_close(embedder);
    embedder = NULL;
    return 0;
}

static enum poly_status embed(size_t count, int64_t deadline)
{
    memset(vectors, 0x7f, sizeof(vectors));
    return poly_embedder_embed(embedder, texts, count, deadline, vectors, &done, &err);
}

/* The first of them have the right vectors: how often each letter is there. */
static void assert_vectors(size_t count)
{
    assert_int_equal(done, count);
    for (size_t i = 0; i < count; i++)
        for (int letter = 0; letter < DIMENSIONS; letter++) {
            int found = 0;

            for (size_t at = 0; at < texts[i].size; at++)
                found += texts[i].data[at] == 'a' + letter;
            assert_float_equal(vectors[i * DIMENSIONS + (size_t)letter], (float)found / 8, 0);
        }
}

/* --- what is asked, what comes --- */

static void texts_become_vectors(void **state)
{
    (void)state;
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
    assert_string_equal(ask("batches"), "7");
    assert_string_equal(ask("header Authorization"), "");
    assert_string_equal(ask("header Content-Type"), "application/json");
    assert_ok(embed(0, in(60)));
    assert_int_equal(done, 0);
    assert_string_equal(ask("requests"), "1");
    assert_ok(embed(1, in(60)));
    assert_string_equal(ask("body"), "{\"model\":\"test-model\",\"input\":[\"a cab\"],"
                                     "\"encoding_format\":\"float\"}");
}

static void vectors_in_base64(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.base64 = true;
    options.shorten = true;
    reopen(&options);
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
    assert_non_null(strstr(ask("body"), "\"encoding_format\":\"base64\",\"dimensions\":8}"));
    ask("fault nan 1");
    assert_fails(embed(2, in(60)), POLY_UNSUPPORTED);
    assert_message("number 7 of 'embedding' is not finite");
    ask("fault dimension 1");
    assert_fails(embed(2, in(60)), POLY_UNSUPPORTED);
    assert_message("has 7 numbers; the collection's vectors have 8");
}

static void shorter_vectors_can_be_asked_for(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.shorten = true;
    options.dimensions = 3;
    reopen(&options);
    assert_ok(embed(1, in(60)));
    assert_float_equal(vectors[0], 2.0F / 8, 0);
    assert_float_equal(vectors[2], 1.0F / 8, 0);
    options.shorten = false;
    reopen(&options);
    assert_fails(embed(1, in(60)), POLY_UNSUPPORTED);
    assert_message("has 8 numbers; the collection's vectors have 3");
}

static void the_order_is_that_of_the_indexes(void **state)
{
    (void)state;
    ask("fault shuffle 1");
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
}

static void batches_are_bounded(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.batch_texts = 3;
    reopen(&options);
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
    assert_string_equal(ask("batches"), "3,3,1");
    ask("clear");
    options.batch_texts = 0;
    options.batch_bytes = 9; /* of 5, 10, 0, 3, 2, 6, 3: the second one goes alone */
    reopen(&options);
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
    assert_string_equal(ask("batches"), "1,1,3,2");
}

/* --- wrong answers: nothing is tried again --- */

static void wrong_answers_are_refused(void **state)
{
    static const struct {
        const char *fault, *message;
        enum poly_status status;
    } wrong[] = {
        {"dimension 1", "has 7 numbers; the collection's vectors have 8", POLY_UNSUPPORTED},
        {"fewer 1", "2 vectors came for 3 texts", POLY_UNSUPPORTED},
        {"more 1", "4 vectors came for 3 texts", POLY_UNSUPPORTED},
        {"duplicate 1", "'index' 0 was there already", POLY_UNSUPPORTED},
        {"nan 1", "the answer cannot be read: JSON, line 1", POLY_UNSUPPORTED},
        {"range 1", "number 7 of 'embedding' is no number that fits", POLY_UNSUPPORTED},
        {"garbage 1", "the answer cannot be read: JSON, line 1, column 1", POLY_UNSUPPORTED},
        {"huge 1 100000000", "more than", POLY_LIMIT},
        {"huge 1 10", "0 vectors came for 3 texts", POLY_UNSUPPORTED},
        {"status 1 404", "HTTP 404: so it was ordered", POLY_NOT_FOUND},
        {"status 1 204", "HTTP 204", POLY_UNSUPPORTED},
        {"status 1 402 - pay  first", "HTTP 402: pay first", POLY_UNSUPPORTED},
        {"status 1 401", "HTTP 401: so it was ordered", POLY_DENIED},
        {"status 1 403", "HTTP 403", POLY_DENIED},
        {"text 1 405 not so\tsaid", "HTTP 405: not so said", POLY_UNSUPPORTED},
        {"redirect 1 307 http://localhost:1/x", "redirects to", POLY_UNSUPPORTED},
    };
    char order[128];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ask("clear");
        snprintf(order, sizeof(order), "fault %s", wrong[i].fault);
        ask(order);
        assert_fails(embed(3, in(60)), wrong[i].status);
        assert_message(wrong[i].message);
        assert_message("embedder 'http://localhost:");
        assert_int_equal(done, 0);
        assert_false(poly_embedder_passes(wrong[i].status));
        assert_string_equal(ask("requests"), "1");
    }
    assert_ok(embed(3, in(60)));
    assert_vectors(3);
}

static void an_unknown_model_is_said(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.model = "no \"such\" model";
    reopen(&options);
    assert_fails(embed(1, in(60)), POLY_NOT_FOUND);
    assert_message("HTTP 404: no model 'no \"such\" model'");
}

/* One text that cannot be embedded holds up nothing before it, and is found. */
static void a_refused_text_is_found(void **state)
{
    (void)state;
    ask("refuse gg"); /* "bad \"egg\"" and "gg" */
    assert_fails(embed(TEXTS, in(60)), POLY_INVALID);
    assert_message("HTTP 400: a text cannot be embedded");
    assert_vectors(1);
    assert_false(poly_embedder_passes(POLY_INVALID));
    assert_string_equal(ask("batches"), "7,3,1,6,3,1"); /* the first went alone; then the second */
}

/* --- failures that pass --- */

static void what_passes_is_tried_again(void **state)
{
    static const char *const passing[] = {"status 2 500", "status 2 503 0", "status 2 429",
                                          "status 2 502", "status 2 408",   "cut 2",
                                          "half 2"};
    char order[64];

    (void)state;
    for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++) {
        ask("clear");
        snprintf(order, sizeof(order), "fault %s", passing[i]);
        ask(order);
        assert_ok(embed(TEXTS, in(60)));
        assert_vectors(TEXTS);
        assert_int_equal(strtol(ask("requests"), NULL, 10), 3);
    }
}

static void batches_before_a_failure_stay(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.batch_texts = 2;
    reopen(&options);
    ask("fault plain 2");
    ask("fault status 1 401");
    assert_fails(embed(TEXTS, in(60)), POLY_DENIED);
    assert_vectors(4);
}

static void retry_after_is_kept(void **state)
{
    (void)state;
    ask("fault status 1 429 1");
    assert_ok(embed(1, in(60)));
    assert_true(strtol(ask("gap"), NULL, 10) >= 1000);
    ask("clear");
    ask("fault status 1 503 3600"); /* beyond the deadline: it does not even wait */
    assert_fails(embed(1, in(60)), POLY_UNAVAILABLE);
    assert_message("HTTP 503: so it was ordered");
    assert_string_equal(ask("requests"), "1");
}

static void patience_ends_with_the_deadline(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    ask("fault status 1000000 500");
    assert_fails(embed(1, in(1)), POLY_UNAVAILABLE);
    assert_message("HTTP 500");
    assert_true(strtol(ask("requests"), NULL, 10) > 1);
    assert_true(poly_embedder_passes(POLY_UNAVAILABLE));
    ask("clear");
    ask("fault status 1 500"); /* what is cut off by the deadline does not hide why */
    ask("fault slow 1 600");
    assert_fails(embed(1, in(1)), POLY_UNAVAILABLE);
    assert_message("HTTP 500");
    assert_string_equal(ask("requests"), "2");
    ask("clear");
    ask("fault slow 1 600");
    assert_fails(embed(1, poly_clock_monotonic() + 100000), POLY_TIMEOUT);
    assert_true(poly_embedder_passes(POLY_TIMEOUT));
    options.request_ms = 100; /* a slow answer is given up, and asked for again */
    reopen(&options);
    ask("clear");
    ask("fault slow 1 600");
    assert_ok(embed(1, in(60)));
    assert_string_equal(ask("requests"), "2");
}

static void nobody_there_is_unavailable(void **state)
{
    struct poly_embedder_options options = usual();

    (void)state;
    options.url = "http://127.0.0.1:1/v1";
    reopen(&options);
    assert_fails(embed(1, in(1)), POLY_UNAVAILABLE);
    assert_message("embedder 'http://127.0.0.1:1/v1/embeddings': no connection to");
}

/* --- the rate --- */

static void the_rate_is_kept(void **state)
{
    struct poly_embedder_options options = usual();
    int64_t start;

    (void)state;
    options.requests_per_minute = 600; /* one in 100 ms */
    options.batch_texts = 1;
    reopen(&options);
    start = poly_clock_monotonic();
    assert_ok(embed(3, in(60)));
    assert_true(poly_clock_monotonic() - start >= 200000);
    options.requests_per_minute = 1;
    reopen(&options);
    assert_fails(embed(2, in(1)), POLY_TIMEOUT);
    assert_message("lets no request go before the deadline");
    assert_vectors(1);
    options = usual();
    options.texts_per_minute = 2; /* so never more than two at once */
    reopen(&options);
    assert_fails(embed(4, in(1)), POLY_TIMEOUT);
    assert_vectors(2);
}

/* --- the key --- */

static void the_key_is_sent_and_never_said(void **state)
{
    static const char *const faults[] = {"fault key 1 401", "fault key 1 404", "fault key 1 400"};
    struct poly_embedder_options options = usual();

    (void)state;
    options.key_env = "POLY_TEST_EMBEDDER_KEY";
    setenv(options.key_env, key, 1);
    reopen(&options);
    assert_ok(embed(1, in(60)));
    assert_non_null(strstr(ask("header Authorization"), "Bearer sk-test-0123456789-abcdefghij"));
    for (size_t i = 0; i < 3; i++) {
        ask(faults[i]);
        assert_true(embed(1, in(60)) != POLY_OK);
        assert_message("wrong key: ***, or ***");
        assert_null(strstr(err.message, "sk-test"));
    }
    memset(said, 'x', POLY_MAX_SECRET + 1);
    said[POLY_MAX_SECRET + 1] = '\0';
    setenv(options.key_env, said, 1);
    assert_fails(embed(1, in(60)), POLY_DENIED); /* it is read anew */
    assert_message("longer than 4096 bytes");
    unsetenv(options.key_env);
    assert_fails(embed(1, in(60)), POLY_DENIED);
    assert_message("'POLY_TEST_EMBEDDER_KEY', which should hold the key for the embedder");
}

static void the_key_may_be_in_a_file(void **state)
{
    struct poly_embedder_options options = usual();
    char path[] = "/tmp/polystore-key-XXXXXX";
    int file = mkstemp(path);

    (void)state;
    options.key_file = path;
    assert_fails(poly_embedder_open(&options, &embedder, &err), POLY_INVALID);
    assert_message("is empty");
    assert_int_equal(write(file, "secret of a file\nsecond line", 28), 28);
    reopen(&options);
    assert_ok(embed(1, in(60)));
    assert_string_equal(ask("header Authorization"), "Bearer secret of a file");
    for (int i = 0; i < POLY_MAX_SECRET; i++)
        assert_int_equal(pwrite(file, "x", 1, i), 1);
    assert_int_equal(ftruncate(file, POLY_MAX_SECRET), 0);
    assert_ok(embed(1, in(60)));
    assert_int_equal(pwrite(file, "x", 1, POLY_MAX_SECRET), 1);
    assert_fails(embed(1, in(60)), POLY_DENIED);
    assert_message("longer than 4096 bytes");
    assert_int_equal(pwrite(file, "a\x02", 2, 0), 2);
    assert_int_equal(ftruncate(file, 2), 0);
    assert_fails(embed(1, in(60)), POLY_DENIED);
    assert_message("the header 'Authorization' holds what no header may hold");
    close(file);
    unlink(path);
    assert_fails(embed(1, in(60)), POLY_UNAVAILABLE);
    assert_message("cannot read the key file");
}

/* --- options --- */

static void options_are_checked(void **state)
{
    struct poly_embedder *none = NULL;
    struct poly_embedder_options wrong[12];

    (void)state;
    for (size_t i = 0; i < 12; i++)
        wrong[i] = usual();
    wrong[0].url = NULL;
    wrong[1].model = NULL;
    wrong[2].model = "";
    wrong[3].dimensions = 0;
    wrong[4].dimensions = 16001;
    wrong[5].batch_texts = 2049;
    wrong[6].batch_texts = -1;
    wrong[7].texts_per_minute = -1;
    wrong[8].url = "http://localhost/v1?key=1";
    wrong[9].url = "localhost";
    wrong[10].url = "http://me:secret@localhost/";
    wrong[11].key_env = "POLY_TEST_NO_SUCH_VARIABLE";
    for (size_t i = 0; i < 12; i++) {
        assert_fails(poly_embedder_open(&wrong[i], &none, &err), POLY_INVALID);
        assert_null(none);
    }
}

static void tls_is_verified(void **state)
{
    struct poly_embedder_options options = usual();
    char secure[512];

    (void)state;
    snprintf(secure, sizeof(secure), "%s/v1/", control_url("EMBEDDER_TLS_URL"));
    options.url = secure;
    options.ca_file = control_url("EMBEDDER_CA");
    reopen(&options);
    assert_ok(embed(TEXTS, in(60)));
    assert_vectors(TEXTS);
    ask("fault cut 1"); /* no SIGPIPE either */
    assert_ok(embed(TEXTS, in(60)));
    options.ca_file = control_url("EMBEDDER_OTHER_CA");
    reopen(&options);
    assert_fails(embed(1, in(60)), POLY_DENIED);
    snprintf(secure, sizeof(secure), "%s/v1", control_url("EMBEDDER_WRONG_NAME_URL"));
    options.ca_file = control_url("EMBEDDER_CA");
    reopen(&options);
    assert_fails(embed(1, in(60)), POLY_DENIED);
    assert_message("localhost");
}

/* --- stopping --- */

static void *embed_for_long(void *status)
{
    struct poly_error own;
    size_t ready;

    *(enum poly_status *)status =
        poly_embedder_embed(embedder, texts, 1, -1, vectors, &ready, &own);
    return NULL;
}

/* In the middle of a request, and while it waits before the next attempt. */
static void stopping_is_at_once(void **state)
{
    static const char *const faults[] = {"fault slow 1 600", "fault status 1 429 600"};
    struct poly_embedder_options options = usual();

    (void)state;
    for (int i = 0; i < 2; i++) {
        enum poly_status status = POLY_OK;
        pthread_t thread;

        ask("clear");
        ask(faults[i]);
        reopen(&options);
        assert_int_equal(pthread_create(&thread, NULL, embed_for_long, &status), 0);
        while (strtol(ask("requests"), NULL, 10) < 1)
            usleep(1000);
        poly_embedder_stop(embedder);
        pthread_join(thread, NULL);
        assert_int_equal(status, POLY_UNAVAILABLE);
        assert_fails(embed(1, -1), POLY_UNAVAILABLE);
        assert_message("stopped");
    }
}

int main(void)
{
#define each(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        each(texts_become_vectors),
        each(vectors_in_base64),
        each(shorter_vectors_can_be_asked_for),
        each(the_order_is_that_of_the_indexes),
        each(batches_are_bounded),
        each(wrong_answers_are_refused),
        each(an_unknown_model_is_said),
        each(a_refused_text_is_found),
        each(what_passes_is_tried_again),
        each(batches_before_a_failure_stay),
        each(retry_after_is_kept),
        each(patience_ends_with_the_deadline),
        each(nobody_there_is_unavailable),
        each(the_rate_is_kept),
        each(the_key_is_sent_and_never_said),
        each(the_key_may_be_in_a_file),
        each(options_are_checked),
        each(tls_is_verified),
        each(stopping_is_at_once),
    };

    snprintf(url, sizeof(url), "%s/v1", control_url("EMBEDDER_URL"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
