/* The handlers of vector search alone: what becomes of a body, of an answer, of the metrics. S3-39,
 * S3-42, S3-44, S3-46, S3-88 */
#include "api_place.h"

#define DEFAULTS " name= model= limit=0 offset=0 ef=0"

static enum poly_status run_anew(const char *method, const char *target, const char *body)
{
    fake.calls[0] = '\0';
    return run(method, target, body);
}

static void assert_asks(const char *body, const char *calls)
{
    assert_ok(run_anew("POST", "/v1/vectors/search", body));
    assert_string_equal(fake.calls, calls);
}

static void refuse(const char *body, const char *message)
{
    assert_fails(run_anew("POST", "/v1/vectors/search", body), POLY_INVALID);
    assert_message(message);
    assert_string_equal(fake.calls, "");
}

static void bodies_become_queries(void **state)
{
    (void)state;
    assert_asks("{\"domain\":\"d\",\"text\":\"a b\"}", "nearest d text=a b" DEFAULTS ";");
    assert_asks("{\"domain\":\"d\",\"like\":\"k\"}", "nearest d like=k" DEFAULTS ";");
    assert_asks("{\"domain\":\"d\",\"vector\":[0.1,-2,3e-5]}",
                "nearest d [0.100000001,-2,2.99999992e-05]#3" DEFAULTS ";");
    assert_asks("{\"vector\":[5],\"domains\":[\"d\",\"e\"]}", "nearest d e [5]#1" DEFAULTS ";");
    assert_asks("{\"v\\u0065ctor\":[0],\"domain\":\"d\"}", "nearest d [0]#1" DEFAULTS ";");
    assert_asks("{\"domain\":\"d\",\"vector_base64\":\"AACAPwAAAMA=\"}",
                "nearest d [1,-2]#2" DEFAULTS ";");
    assert_asks("{\"domain\":\"d\",\"like\":\"k\",\"name\":\"v\",\"model\":\"m\",\"limit\":3,"
                "\"offset\":4,\"ef\":50,\"threshold\":0.7,\"exact\":true,\"vectors\":true,"
                "\"rows\":true,\"group\":\"g\",\"group_limit\":2,\"where\":{\"a\":{\">=\":3}},"
                "\"hybrid\":{\"query\":\"words\",\"fusion\":\"weighted\",\"weight\":0.25}}",
                "where {\"a\":{\">=\":3}};nearest d like=k threshold=0.7 group=g/2 "
                "hybrid=words/1/0.25 name=v model=m limit=3 offset=4 ef=50 exact vectors rows "
                "where;");
    assert_asks("{\"domain\":\"d\",\"like\":\"k\",\"hybrid\":{\"query\":\"words\"}}",
                "nearest d like=k hybrid=words/0/0.5" DEFAULTS ";");
}

static void wrong_bodies_are_refused_by_name(void **state)
{
    (void)state;
    refuse("{\"like\":\"k\"}", "exactly one of 'domain' and 'domains'");
    refuse("{\"domain\":\"d\",\"domains\":[\"d\"],\"like\":\"k\"}", "exactly one of 'domain'");
    refuse("{\"domains\":[],\"like\":\"k\"}", "0 items");
    refuse("{\"domains\":[7],\"like\":\"k\"}", "item 0 must be a text of 1 to 128 bytes");
    refuse("{\"domain\":\"d\"}", "exactly one of 'vector', 'vector_base64', 'like' and 'text'");
    refuse("{\"domain\":\"d\",\"vector\":[1],\"like\":\"k\"}", "exactly one of 'vector'");
    refuse("{\"domain\":\"d\",\"vector\":[]}", "0 items");
    refuse("{\"domain\":\"d\",\"vector\":7}", "'vector' must be an array");
    refuse("{\"domain\":\"d\",\"vector\":[1,\"2\"]}", "'vector': item 1 is not a number");
    refuse("{\"domain\":\"d\",\"vector\":[1,1e39]}", "item 1 is larger than a single can hold");
    refuse("{\"domain\":\"d\",\"vector\":[1,2],\"vector\":[3]}", "twice");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"AACA\"}",
           "little-endian 32-bit floats in base64");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"AAC*Pw==\"}", "little-endian");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"AACAPw=\"}", "little-endian");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"AAC=Pw==\"}", "little-endian");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"AACAP=A=\"}", "little-endian");
    refuse("{\"domain\":\"d\",\"vector_base64\":\"====\"}", "little-endian");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"limit\":0}", "'limit' is 0; 1 to 1000");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"ef\":10001}", "1 to 10000");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"threshold\":\"0.7\"}", "must be a number");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"where\":[]}", "'where' must be an object");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"group_limit\":2}", "'group_limit' needs 'group'");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"hybrid\":{}}", "hybrid: 'query' is missing");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"hybrid\":{\"query\":\"a\",\"weight\":0}}",
           "'weight' must be above 0");
    refuse("{\"domain\":\"d\",\"like\":\"k\",\"hybrid\":{\"query\":\"a\",\"fusion\":\"best\"}}",
           "none of rank|weighted");
    refuse("{\"domain\":\"d\",\"vetcor\":[1]}", "unknown member 'vetcor'; known are: domain");
    fake.fail_at = "where";
    fake.fail_with = POLY_INVALID;
    assert_fails(
        run_anew("POST", "/v1/vectors/search", "{\"domain\":\"d\",\"like\":\"k\",\"where\":{}}"),
        POLY_INVALID);
    assert_message("'where': the fake was told to fail");
}

/* Numbers that were taken out of the text do not move the place of an error. */
static void errors_have_their_place(void **state)
{
    (void)state;
    refuse("{\"domain\":\"d\",\"vector\":[0.25,0.5],\n\"limit\":}", "JSON, line 2, column 9");
    assert_int_equal(err.position, 43);
}

static void answers_have_what_was_asked_for(void **state)
{
    (void)state;
    assert_ok(run_anew("POST", "/v1/vectors/search",
                       "{\"domain\":\"d\",\"like\":\"k\",\"explain\":true,\"rows\":true}"));
    assert_string_equal(
        sink.out.data,
        "{\"generation\":1,\"plan\":\"graph\",\"candidates\":9,\"visited\":7,\"matches\":["
        "{\"domain\":\"d\",\"key\":\"k\",\"version\":3,\"similarity\":0.75,\"distance\":0.25,"
        "\"score\":0.75,\"vector\":[0.1,-1],\"row\":{\"a\":1}},"
        "{\"domain\":\"d\",\"key\":\"text\",\"version\":4,\"score\":0.5}]}\n");
    fake.freshness = (struct poly_freshness){.applied = 5, .wanted = 6, .stale = true};
    assert_ok(run_anew("POST", "/v1/vectors/search", "{\"domain\":\"d\",\"like\":\"k\"}"));
    assert_null(strstr(sink.out.data, "plan"));
    assert_int_equal(sink.head.applied, 5);
    assert_true(sink.head.stale);
}

static void batches(void **state)
{
    (void)state;
    assert_ok(run_anew("POST", "/v1/vectors/search/batch",
                       "{\"searches\":[{\"domain\":\"d\",\"vector\":[1,2]},"
                       "{\"domain\":\"e\",\"vector\":[3]},{\"domain\":\"f\",\"like\":\"k\"}]}"));
    assert_string_equal(fake.calls,
                        "all d [1,2]#2" DEFAULTS "; e [3]#1" DEFAULTS "; f like=k" DEFAULTS ";");
    assert_memory_equal(sink.out.data, "{\"answers\":[{\"generation\":1,\"matches\":[{", 38);
    assert_fails(run_anew("POST", "/v1/vectors/search/batch",
                          "{\"searches\":[{\"domain\":\"d\",\"like\":\"k\"},{\"domain\":\"d\"}]}"),
                 POLY_INVALID);
    assert_message("searches[1]: exactly one of 'vector'");
    assert_fails(run_anew("POST", "/v1/vectors/search/batch", "{\"searches\":[]}"), POLY_INVALID);
}

static void too_many_searches(void **state)
{
    struct poly_buffer body;

    (void)state;
    poly_buffer_init(&body, 1 << 20);
    poly_buffer_text(&body, "{\"searches\":[{\"domain\":\"d\",\"like\":\"k\"}");
    for (int i = 0; i < 256; i++)
        poly_buffer_text(&body, ",{\"domain\":\"d\",\"vector\":[1]}");
    poly_buffer_text(&body, "]}");
    assert_fails(run_anew("POST", "/v1/vectors/search/batch", body.data), POLY_LIMIT);
    assert_message("257 items; 1 to 256");
    poly_buffer_release(&body);
}

static void stats(void **state)
{
    (void)state;
    assert_ok(run_anew("GET", "/v1/vectors", NULL));
    assert_non_null(strstr(
        sink.out.data,
        "{\"domain\":\"d\",\"name\":\"embedding\",\"model\":\"m\",\"dimensions\":2,\"metric\":"
        "\"l2\","
        "\"element\":\"f32\",\"m\":16,\"ef_construction\":64,\"ef\":100,\"vectors\":10,\"dead\":1,"
        "\"linked\":9,\"unlinked\":3,\"memory_bytes\":4096,"
        "\"file_bytes\":2048,\"saved_position\":17,"
        "\"searches\":5,\"visited\":50,\"recall\":0.995,\"samples\":2}"));
    fake.rights = POLY_RIGHT_READ;
    assert_fails(run_anew("GET", "/v1/vectors", NULL), POLY_DENIED);
}

/* Change of model: bodies become calls, and answers have what came of them. */
static void models(void **state)
{
    (void)state;
    assert_ok(run_anew("GET", "/v1/vectors/models", NULL));
    assert_string_equal(
        sink.out.data,
        "{\"models\":[{\"domain\":\"d\",\"name\":\"\",\"model\":\"old\",\"dimensions\":2,"
        "\"changes\":1,\"named\":\"old\",\"named_dimensions\":2,\"next\":\"new\","
        "\"next_dimensions\":3,\"back\":false,\"filled\":4,\"missing\":5,\"stale\":6,"
        "\"refused\":0},"
        "{\"domain\":\"e\",\"name\":\"v\",\"dimensions\":0,\"changes\":0,"
        "\"named_dimensions\":0}]}\n");
    assert_ok(run_anew("POST", "/v1/vectors/models/d", "{\"model\":\"new\",\"dimensions\":3}"));
    assert_non_null(strstr(fake.calls, "model_plan d  new 3  0;"));
    assert_ok(run_anew("POST", "/v1/vectors/models/d/vectors",
                       "{\"model\":\"new\",\"vectors\":[{\"key\":\"a\",\"vector\":[0.5,1,2]},"
                       "{\"key\":\"b\",\"version\":7,\"tenant\":\"t\","
                       "\"vector_base64\":\"AACAPw==\"}]}"));
    assert_non_null(strstr(fake.calls, "model_add d  new /a@0#3[0.5] t/b@7#1[1];"));
    assert_string_equal(sink.out.data, "{\"taken\":2,\"unknown\":1,\"stale\":2}\n");
    assert_fails(
        run_anew("POST", "/v1/vectors/models/d/vectors", "{\"vectors\":[{\"key\":\"a\"}]}"),
        POLY_INVALID);
    assert_message("vectors[0]: exactly one of 'vector' and 'vector_base64' is wanted");
    assert_ok(
        run_anew("POST", "/v1/vectors/models/d/swap", "{\"name\":\"v\",\"drop_missing\":true}"));
    assert_non_null(strstr(fake.calls, "model_swap d v drop;"));
    assert_string_equal(sink.out.data, "{\"model\":\"new\",\"dimensions\":3,\"changed\":4,"
                                       "\"dropped\":1,\"position\":17}\n");
    assert_ok(run_anew("POST", "/v1/vectors/models/d/swap", "{\"back\":true}"));
    assert_non_null(strstr(fake.calls, "model_swap d  back;"));
    assert_ok(run_anew("DELETE", "/v1/vectors/models/d", NULL));
    assert_non_null(strstr(fake.calls, "model_abandon d ;"));
    fake.rights = POLY_RIGHT_READ | POLY_RIGHT_WRITE;
    assert_fails(run_anew("POST", "/v1/vectors/models/d/swap", "{}"), POLY_DENIED);
}

static void metrics(void **state)
{
    (void)state;
    assert_ok(run_anew("GET", "/metrics", NULL));
    assert_non_null(strstr(
        sink.out.data, "# TYPE polystore_vector_visited_total counter\n"
                       "polystore_vector_visited_total{domain=\"d\",name=\"embedding\"} 50.0\n"));
    assert_non_null(
        strstr(sink.out.data, "polystore_vector_vectors{domain=\"e\\\"\",name=\"v\"} 0.0\n"));
    assert_non_null(strstr(sink.out.data, "polystore_vector_recall{domain=\"d\",name=\"embedding\"}"
                                          " 0.995\n# HELP"));
    /* Who may not know, and indexes that are being filled, do not take the other metrics away. */
    fake.fail_at = "vector_stats";
    fake.fail_with = POLY_DENIED;
    assert_ok(run_anew("GET", "/metrics", NULL));
    assert_null(strstr(sink.out.data, "polystore_vector"));
    fake.fail_with = POLY_NO_MEMORY;
    assert_fails(run_anew("GET", "/metrics", NULL), POLY_NO_MEMORY);
}

#define NOTES                                                                                      \
    "\"name\":\"notes\",\"dimensions\":3,\"metric\":\"cosine\",\"element\":\"f32\",\"m\":16,"      \
    "\"ef_construction\":64,\"ef\":64,\"filters\":[\"a\",\"b\"],\"tenants\":true}"
#define THERE                                                                                      \
    "\"name\":\"there\",\"dimensions\":8,\"metric\":\"hamming\",\"element\":\"binary\",\"m\":8,"   \
    "\"ef_construction\":32,\"ef\":16,\"model\":\"m1\",\"filters\":[],\"tenants\":false}"

#define WIDE                                                                                       \
    "\"name\":\"wide\",\"vectors\":[{\"name\":\"near\",\"dimensions\":3,\"metric\":\"cosine\","    \
    "\"element\":\"f32\",\"m\":16,\"ef_construction\":64,\"ef\":64},{\"name\":\"far\","            \
    "\"dimensions\":2,\"metric\":\"l2\",\"element\":\"f16\",\"m\":8,\"ef_construction\":32,"       \
    "\"ef\":16,\"model\":\"m-2\"}],\"filters\":[],\"tenants\":false,\"text\":[\"title\",\"body\"]" \
    ","                                                                                            \
    "\"weights\":{\"title\":4},\"tokenizer\":\"words\",\"language\":\"english\"}"

/* S3-38 */
static void collections(void **state)
{
    (void)state;
    assert_ok(run_anew("POST", "/v1/vectors/collections", "{\"name\":\"notes\",\"dimensions\":3}"));
    assert_string_equal(fake.calls, "create notes 3 - - m=0/0 ef=0 model=;");
    assert_int_equal(sink.head.http, 201);
    assert_string_equal(sink.out.data, "{\"made\":true," NOTES "\n");
    assert_ok(run_anew(
        "POST", "/v1/vectors/collections",
        "{\"name\":\"there\",\"dimensions\":8,\"metric\":\"l2\",\"element\":\"f16\",\"m\":9,"
        "\"ef_construction\":70,\"ef\":80,\"model\":\"m1\",\"filters\":[\"a\",\"b\"],"
        "\"tenants\":true}"));
    assert_string_equal(fake.calls, "create there 8 l2 f16 m=9/70 ef=80 model=m1 tenants +a +b;");
    assert_int_equal(sink.head.http, 200);
    assert_string_equal(sink.out.data, "{\"made\":false," THERE "\n");
    assert_ok(run_anew("GET", "/v1/vectors/collections", NULL));
    assert_string_equal(sink.out.data, "{\"collections\":[{" NOTES ",{" THERE ",{" WIDE "]}\n");
    assert_ok(run_anew("DELETE", "/v1/vectors/collections/notes", NULL));
    assert_string_equal(fake.calls, "drop notes;");
    assert_int_equal(sink.head.http, 204);
    assert_fails(
        run_anew("POST", "/v1/vectors/collections", "{\"name\":\"n\",\"dimensions\":16001}"),
        POLY_INVALID);
    assert_fails(run_anew("POST", "/v1/vectors/collections",
                          "{\"name\":\"n\",\"dimensions\":1,\"dimension\":1}"),
                 POLY_INVALID);
    fake.rights = POLY_RIGHT_READ | POLY_RIGHT_WRITE | POLY_RIGHT_SQL;
    assert_fails(
        run_anew("POST", "/v1/vectors/collections", "{\"name\":\"notes\",\"dimensions\":3}"),
        POLY_DENIED);
    assert_fails(run_anew("DELETE", "/v1/vectors/collections/notes", NULL), POLY_DENIED);
    assert_ok(run_anew("GET", "/v1/vectors/collections", NULL));
}

static void wrong_shape(const char *body, const char *message)
{
    assert_fails(run_anew("POST", "/v1/vectors/collections", body), POLY_INVALID);
    assert_message(message);
}

/* S3-38: several vectors, and text. */
static void shapes_of_collections(void **state)
{
    (void)state;
    assert_ok(run_anew(
        "POST", "/v1/vectors/collections",
        "{\"name\":\"wide\",\"vectors\":[{\"name\":\"near\",\"dimensions\":3},{\"name\":\"far\","
        "\"dimensions\":2,\"m\":8,\"model\":\"m-2\"}],\"text\":[\"title\",\"body\"],"
        "\"weights\":{\"title\":4},\"tokenizer\":\"words\",\"language\":\"none\"}"));
    assert_string_equal(fake.calls, "create wide 0 - - m=0/0 ef=0 model= near:3 m=0 model= far:2 "
                                    "m=8 model=m-2 'title'*4 'body'*0 words/none;");
    assert_string_equal(sink.out.data, "{\"made\":true," WIDE "\n");
    wrong_shape("{\"name\":\"n\",\"vectors\":[{\"dimensions\":3}]}", "'name' is missing");
    wrong_shape("{\"name\":\"n\",\"vectors\":[{\"name\":\"a\"}]}", "'dimensions' is missing");
    wrong_shape("{\"name\":\"n\",\"vectors\":[]}", "vectors");
    wrong_shape("{\"name\":\"n\",\"dimensions\":0}", "16000");
    wrong_shape("{\"name\":\"n\",\"dimensions\":3,\"m\":1}", "'m'");
    wrong_shape("{\"name\":\"n\",\"dimensions\":3,\"text\":[\"a\"],\"weights\":{\"b\":2}}",
                "'b' is no field of 'text'");
    wrong_shape("{\"name\":\"n\",\"dimensions\":3,\"text\":[\"a\"],\"weights\":{\"a\":\"2\"}}",
                "is no number above 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bodies_become_queries),
        TEST(wrong_bodies_are_refused_by_name),
        TEST(errors_have_their_place),
        TEST(answers_have_what_was_asked_for),
        TEST(batches),
        TEST(too_many_searches),
        TEST(stats),
        TEST(models),
        TEST(metrics),
        TEST(collections),
        TEST(shapes_of_collections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
