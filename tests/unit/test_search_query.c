/* The query language: what it means, and where it says that something is wrong. */
#include "test.h"

#include "base/arena.h"
#include "base/limits.h"
#include "stores/search/query.h"

static struct poly_arena *arena;
static struct poly_error err;

static int setup(void **state)
{
    (void)state;
    arena = poly_arena_new(1024 * 1024);
    return arena == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    poly_arena_free(arena);
    return 0;
}

/* Field "title" is column 0, "body" column 1; "gone" is in no index; terms "xx" fit in none. */
static int column_of(const struct poly_query_node *term)
{
    if (term->text.size == 2 && memcmp(term->text.data, "xx", 2) == 0)
        return POLY_QUERY_NOWHERE;
    if (term->field == NULL)
        return POLY_QUERY_ANY;
    return strcmp(term->field, "title") == 0  ? 0
           : strcmp(term->field, "body") == 0 ? 1
                                              : POLY_QUERY_NOWHERE;
}

static void means(const char *text, const char *expression)
{
    struct poly_query *query = NULL;
    struct poly_buffer out;
    int columns[POLY_MAX_QUERY_TERMS];
    size_t order[POLY_MAX_QUERY_TERMS];

    poly_arena_reset(arena);
    poly_buffer_init(&out, 100000);
    assert_ok(poly_query_parse(text, arena, &query, &err));
    for (size_t i = 0; i < query->term_count; i++) {
        assert_int_equal(query->terms[i]->index, i);
        columns[i] = column_of(query->terms[i]);
    }
    poly_query_print(query, columns, &out, order);
    assert_true(poly_buffer_ok(&out));
    assert_string_equal(out.data == NULL ? "" : out.data, expression);
    poly_buffer_release(&out);
}

static void wrong(const char *text, int position, const char *message)
{
    struct poly_query *query = NULL;

    poly_arena_reset(arena);
    assert_fails(poly_query_parse(text, arena, &query, &err), POLY_INVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(err.position, position);
    assert_null(query);
}

/* S4-06 */
static void words_and_phrases(void **state)
{
    (void)state;
    means("router", "\"router\"");
    means("  router  ", "\"router\"");
    means("core router", "((\"core\" AND \"router\"))");
    means("core AND router", "((\"core\" AND \"router\"))");
    means("\"core router\"", "\"core router\"");
    means("rout*", "\"rout\" *");
    means("\"core rout\"*", "\"core rout\" *");
    means("a\"b c\"d", "((\"a\" AND \"b c\" AND \"d\"))");
    means("foo-bar 12:30 c++ http", "((\"foo-bar\" AND \"12:30\" AND \"c++\" AND \"http\"))");
    means("or and not Or ANDY", "((\"or\" AND \"and\" AND \"not\" AND \"Or\" AND \"ANDY\"))");
    means("\"OR\" \"NOT\"", "((\"OR\" AND \"NOT\"))");
    means("größe 日本語", "((\"größe\" AND \"日本語\"))");
    means("a\tb\nc", "((\"a\" AND \"b\" AND \"c\"))");
}

static void operators_and_groups(void **state)
{
    (void)state;
    means("a OR b", "(\"a\" OR \"b\")");
    means("a b OR c d", "(((\"a\" AND \"b\")) OR ((\"c\" AND \"d\")))");
    means("a (b OR c)", "((\"a\" AND (\"b\" OR \"c\")))");
    means("a(b)", "((\"a\" AND \"b\"))");
    means("((a))", "\"a\"");
    means("a -b", "((\"a\") NOT (\"b\"))");
    means("-b a", "((\"a\") NOT (\"b\"))");
    means("a -b c -\"d e\"", "((\"a\" AND \"c\") NOT (\"b\" OR \"d e\"))");
    means("a -(b OR c)", "((\"a\") NOT ((\"b\" OR \"c\")))");
    means("a AND -b", "((\"a\") NOT (\"b\"))");
    means("a -b OR c", "(((\"a\") NOT (\"b\")) OR \"c\")");
    means("a-b", "\"a-b\"");
}

static void fields(void **state)
{
    (void)state;
    means("title:a", "c0 : \"a\"");
    means("title:\"a b\"*", "c0 : \"a b\" *");
    means("title:(a b) c", "((((c0 : \"a\" AND c0 : \"b\")) AND \"c\"))");
    means("-title:a b", "((\"b\") NOT (c0 : \"a\"))");
    means("title:a body:b", "((c0 : \"a\" AND c1 : \"b\"))");
    means("title:(a -b)", "((c0 : \"a\") NOT (c0 : \"b\"))");
    means("title:a:b", "c0 : \"a:b\"");
}

/* What one index cannot hold is left out, or takes what needs it along. */
static void what_an_index_lacks(void **state)
{
    (void)state;
    means("gone:a", "");
    means("gone:a b", "");
    means("gone:a OR b", "(\"b\")");
    means("b -gone:a", "((\"b\"))");
    means("b -(gone:a c)", "((\"b\"))");
    means("(gone:a OR xx) OR (b xx)", "");
    means("(gone:a OR c) b", "(((\"c\") AND \"b\"))");
}

static void order_of_phrases(void **state)
{
    struct poly_query *query = NULL;
    struct poly_buffer out;
    const int columns[] = {POLY_QUERY_ANY, POLY_QUERY_ANY, POLY_QUERY_NOWHERE, POLY_QUERY_ANY};
    size_t order[4];

    (void)state;
    poly_arena_reset(arena);
    poly_buffer_init(&out, 1000);
    assert_ok(poly_query_parse("-a b -c d", arena, &query, &err));
    assert_int_equal(poly_query_print(query, columns, &out, order), 3);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 3);
    assert_int_equal(order[2], 0);
    assert_true(query->terms[0]->excluded);
    assert_false(query->terms[1]->excluded);
    poly_buffer_release(&out);
}

/* Nothing of the user's leaves its quotes. */
static void no_way_out_of_the_quotes(void **state)
{
    struct poly_query_node term = {.text = poly_text("a\" OR \"b")};
    struct poly_buffer out;

    (void)state;
    means("a^b {c d} e+f", "((\"a^b\" AND \"{c\" AND \"d}\" AND \"e+f\"))");
    means("NEAR(a b)", "((\"NEAR\" AND ((\"a\" AND \"b\"))))");
    poly_buffer_init(&out, 1000);
    poly_query_print_term(&term, 3, &out);
    assert_string_equal(out.data, "c3 : \"a\"\" OR \"\"b\"");
    poly_buffer_release(&out);
}

static void bad_queries(void **state)
{
    (void)state;
    wrong("", 0, "query: empty; write a word to find");
    wrong("  \t", 0, "query: empty; write a word to find");
    wrong("find this \"and", 10, "query: unclosed quote at 10");
    wrong("a \"\"", 2, "query: empty phrase at 2");
    wrong("(a", 0, "query: unclosed '(' at 0");
    wrong("a (b (c)", 2, "query: unclosed '(' at 2");
    wrong("a)", 1, "query: ')' without a '(' at 1");
    wrong("a ()", 2, "query: empty group at 2");
    wrong("-a", 0, "query: only says what not to find at 0; add a word to find");
    wrong("a OR -b", 5, "query: only says what not to find at 5; add a word to find");
    wrong("a (-b -c)", 3, "query: only says what not to find at 3; add a word to find");
    wrong("a -", 2, "query: '-' without a word after it at 2");
    wrong("a - b", 2, "query: '-' without a word after it at 2");
    wrong("a --b", 2, "query: '-' twice at 2");
    wrong("OR a", 0, "query: operator without a word before it at 0");
    wrong("a OR", 2, "query: OR without a word after it at 2");
    wrong("a OR OR b", 2, "query: OR without a word after it at 2");
    wrong("a AND", 2, "query: AND without a word after it at 2");
    wrong("(a AND) b", 3, "query: AND without a word after it at 3");
    wrong("a NOT b", 2,
          "query: NOT is no operator, write -word (or \"NOT\" to search for it) at 2");
    wrong("* a", 0, "query: '*' without a word before it at 0");
    wrong("a*b", 1, "query: '*' stands only at the end of a word at 1");
    wrong("a**", 1, "query: '*' stands only at the end of a word at 1");
    wrong("a +++", 2, "query: '+++' at 2 has no letter or digit to search for");
    wrong("\"...\"", 0, "query: '...' at 0 has no letter or digit to search for");
    wrong("title:", 0, "query: nothing after 'title:' at 0; write title:word, without a space");
    wrong("b title: a", 2, "query: nothing after 'title:' at 2; write title:word, without a space");
    wrong("title:(a body:b)", 9, "query: a field inside a group that has a field at 9");
    wrong("a \xff", 2, "query: not UTF-8 at 2");
    wrong("a \xc3", 2, "query: not UTF-8 at 2");
    wrong("a \xed\xa0\x80", 2, "query: not UTF-8 at 2");
    wrong("a \xc0\x80", 2, "query: not UTF-8 at 2");
}

static void bounds(void **state)
{
    char text[POLY_MAX_QUERY + 2];
    char deep[2 * (POLY_MAX_QUERY_DEPTH + 1) + 2];
    struct poly_query *query = NULL;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[POLY_MAX_QUERY + 1] = '\0';
    wrong(text, POLY_MAX_QUERY, "query: longer than 4096 bytes; make it shorter");
    text[POLY_MAX_QUERY] = '\0';
    assert_ok(poly_query_parse(text, arena, &query, &err));
    for (size_t i = 0; i <= POLY_MAX_QUERY_TERMS; i++)
        memcpy(text + 2 * i, "a ", 2);
    text[2 * (POLY_MAX_QUERY_TERMS + 1)] = '\0';
    wrong(text, 2 * POLY_MAX_QUERY_TERMS, "query: more than 64 words and phrases at 128");
    text[2 * POLY_MAX_QUERY_TERMS] = '\0';
    assert_ok(poly_query_parse(text, arena, &query, &err));

    size_t depth = POLY_MAX_QUERY_DEPTH + 1;

    memset(deep, '(', depth);
    deep[depth] = 'a';
    memset(deep + depth + 1, ')', depth);
    deep[2 * depth + 1] = '\0';
    query = NULL;
    wrong(deep, POLY_MAX_QUERY_DEPTH, "query: groups deeper than 16 at 16");
    deep[2 * depth] = '\0';
    assert_ok(poly_query_parse(deep + 1, arena, &query, &err));
}

static void out_of_memory(void **state)
{
    struct poly_arena *small = poly_arena_new(256);
    struct poly_query *query = NULL;

    (void)state;
    assert_fails(poly_query_parse("a b c d e f g", small, &query, &err), POLY_NO_MEMORY);
    poly_arena_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_phrases),
        cmocka_unit_test(operators_and_groups),
        cmocka_unit_test(fields),
        cmocka_unit_test(what_an_index_lacks),
        cmocka_unit_test(order_of_phrases),
        cmocka_unit_test(no_way_out_of_the_quotes),
        cmocka_unit_test(bad_queries),
        cmocka_unit_test(bounds),
        cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
