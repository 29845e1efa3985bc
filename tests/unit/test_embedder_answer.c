/* An embedder's answer, read without a tree: the vectors in their places, or what is wrong with it.
 * S3-20, S3-39 */
#include "test.h"

#include "stores/vector/embedder_answer.h"

enum { COUNT = 3, DIMENSIONS = 2 };

static struct poly_error err;
static float vectors[COUNT * DIMENSIONS];

static enum poly_status read_text(const char *text, size_t size)
{
    /* Exactly as long as it is: what is read beyond it shows. */
    char *copy = malloc(size == 0 ? 1 : size);
    float *room = malloc(sizeof(vectors));
    struct poly_embeddings embeddings = {room, COUNT, DIMENSIONS};
    enum poly_status status;

    assert_non_null(copy);
    assert_non_null(room);
    memcpy(copy, text, size);
    status = poly_embeddings_read((struct poly_text){copy, size}, &embeddings, &err);
    memcpy(vectors, room, sizeof(vectors));
    free(room);
    free(copy);
    return status;
}

static enum poly_status read_one(const char *text)
{
    return read_text(text, strlen(text));
}

static void assert_numbers(const float *wanted)
{
    for (int i = 0; i < COUNT * DIMENSIONS; i++)
        assert_float_equal(vectors[i], wanted[i], 0);
}

static void vectors_come_to_their_places(void **state)
{
    static const float numbers[] = {0.5F, -1, 2, 0.25F, 1e-3F, 0};

    (void)state;
    assert_ok(read_one("{\"data\":[{\"index\":0,\"embedding\":[0.5,-1]},"
                       "{\"index\":1,\"embedding\":[2,0.25]},"
                       "{\"index\":2,\"embedding\":[1e-3,-0]}]}"));
    assert_numbers(numbers);
    /* Any order, any space, other members, also in between. */
    assert_ok(read_one(" {\n\"usage\" : {\"data\":[1,{}]} , \"model\":\"]}\" ,\r\n \"data\" : [ {"
                       "\"embedding\" : [ 1e-3\t, 0.0 ] , \"object\":null, \"index\" : 2 } ,"
                       "{\"index\":1,\"more\":[[1,2],\"a\\\"b\"],\"embedding\":[2.0,25e-2]},"
                       "{\"index\":0,\"embedding\":\"AAAAPwAAgL8=\"} ] , \"z\":[] } "));
    assert_numbers(numbers);
}

static void base64_is_exact(void **state)
{
    static const float numbers[] = {1, 2, 3, 4, 1, -0x1.fffffep127F};

    (void)state;
    assert_ok(read_one("{\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAAEA=\"},"
                       "{\"index\":1,\"embedding\":[3,4]},"
                       "{\"index\":2,\"embedding\":\"AACAP\\/\\/\\/f\\/8=\"}]}"));
    assert_numbers(numbers);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *data, *message;
    } wrong[] = {
        {"", "the answer has no list 'data'"},
        {"\"data\":{}", "the answer has no list 'data'"},
        {"\"data\":[],\"data\":[]", "the answer has no list 'data'"},
        {"\"data\":[1]", "data[0] is no object"},
        {"\"data\":[]", "0 vectors came for 3 texts"},
        {"\"data\":[{}]", "data[0] does not have one 'index' and one 'embedding'"},
        {"\"data\":[{\"index\":0,\"index\":0,\"embedding\":[1,2]}]", "data[0] does not have one"},
        {"\"data\":[{\"index\":0,\"embedding\":[1,2],\"embedding\":[1,2]}]", "does not have one"},
        {"\"data\":[{\"index\":3,\"embedding\":[1,2]}]", "data[0]: 'index' is 3, of 3 texts"},
        {"\"data\":[{\"index\":-1,\"embedding\":[1,2]}]", "data[0]: 'index' is -1"},
        {"\"data\":[{\"index\":\"0\",\"embedding\":[1,2]}]", "data[0]: 'index' is \"0\""},
        {"\"data\":[{\"index\":0.0,\"embedding\":[1,2]}]", "data[0]: 'index' is 0.0"},
        {"\"data\":[{\"index\":0,\"embedding\":[1]}]", "has 1 numbers; the collection's"},
        {"\"data\":[{\"index\":0,\"embedding\":[]}]", "has 0 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":[1,2,\"]\",[3],4]}]", "has 5 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":[1,null]}]", "number 1 of 'embedding' is no number"},
        {"\"data\":[{\"index\":0,\"embedding\":[1,[2]]}]", "number 1 of 'embedding' is no number"},
        {"\"data\":[{\"index\":0,\"embedding\":[1e39,2]}]", "number 0 of 'embedding' is no number"},
        {"\"data\":[{\"index\":0,\"embedding\":null}]", "'embedding' is no list of numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"\"}]", "has 0 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"AACAPw==\"}]", "has 1 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAAEAAAAAA\"}]", "no base64 of 2 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAAEA\"}]", "no base64 of 2 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"AACAPwAA gEA=\"}]", "no base64 of 2 numbers"},
        {"\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAwH8=\"}]",
         "number 1 of 'embedding' is not"},
        {"\"data\":[{\"index\":0,\"embedding\":[1,NaN]}]",
         "the answer cannot be read: JSON, line 1"},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        snprintf(text, sizeof(text), "{%s}", wrong[i].data);
        assert_fails(read_one(text), POLY_UNSUPPORTED);
        assert_message(wrong[i].message);
    }
    assert_fails(read_one(""), POLY_UNSUPPORTED);
    assert_fails(read_one("[]"), POLY_UNSUPPORTED);
}

/* Every cut of it is refused; every byte of it may be another one. */
static void a_damaged_answer_is_no_harm(void **state)
{
    static const char whole[] = "{\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAAEA=\"},"
                                "{\"embedding\":[1.5e0,-2],\"index\":2},"
                                "{\"index\":1,\"embedding\":[3,4]}],\"model\":\"a\\\"\"}";
    static const char others[] = "\"\\{}[],:0-eE.=/ n\0\xff";
    char text[sizeof(whole)];

    (void)state;
    assert_ok(read_one(whole));
    for (size_t size = 0; size < sizeof(whole) - 1; size++)
        assert_fails(read_text(whole, size), POLY_UNSUPPORTED);
    for (size_t at = 0; at < sizeof(whole) - 1; at++)
        for (size_t other = 0; other < sizeof(others) - 1; other++) {
            memcpy(text, whole, sizeof(whole));
            text[at] = others[other];
            if (read_text(text, sizeof(whole) - 1) != POLY_OK)
                assert_int_equal(err.status, POLY_UNSUPPORTED);
        }
}

/* --- what it says with an error --- */

static void assert_problem(const char *body, const char *secret, const char *wanted)
{
    char problem[POLY_EMBEDDER_PROBLEM];

    poly_embedder_problem((struct poly_text){body, strlen(body)}, secret, problem);
    assert_string_equal(problem, wanted);
}

static void the_message_is_found(void **state)
{
    (void)state;
    assert_problem("{\"error\":{\"message\":\"no \\\"m\\\"\\n\",\"code\":1}}", NULL, "no \"m\"");
    assert_problem("{\"error\":\"one\"}", NULL, "one");
    assert_problem("{\"message\":\"two\"}", NULL, "two");
    assert_problem("{\"detail\":\"three\"}", NULL, "three");
    assert_problem("{\"detail\":[3]}", NULL, "{\"detail\":[3]}");
    assert_problem("  plain\r\ntext\x01 ", NULL, "plain  text");
    assert_problem("cut \xc3", NULL, "cut ?");
    assert_problem("", NULL, "");
}

static void no_secret_is_in_it(void **state)
{
    char text[1000], problem[POLY_EMBEDDER_PROBLEM];

    (void)state;
    assert_problem("key sk-abcdefghij!", "sk-abcdefghij", "key ***!");
    assert_problem("key sk-abc...", "sk-abcdefghij", "key ***...");
    assert_problem("ends in efghij, abcde", "sk-abcdefghij", "ends in ***, abcde");
    assert_problem("{\"error\":{\"message\":\"sk\\u002dabcdefghij\"}}", "sk-abcdefghij", "***");
    assert_problem("short", "or", "sh***t");
    /* However long it is, and wherever the key stands in it. */
    for (size_t at = 0; at + 20 < sizeof(text); at++) {
        memset(text, '.', sizeof(text));
        memcpy(text + at, "sk-abcdefghij", 13);
        poly_embedder_problem((struct poly_text){text, sizeof(text)}, "sk-abcdefghij", problem);
        assert_true(strlen(problem) < sizeof(problem));
        assert_true(strlen(problem) > 190);
        assert_null(strstr(problem, "sk-"));
        assert_null(strstr(problem, "abc"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_to_their_places),
        cmocka_unit_test(base64_is_exact),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_damaged_answer_is_no_harm),
        cmocka_unit_test(the_message_is_found),
        cmocka_unit_test(no_secret_is_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
