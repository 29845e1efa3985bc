/*
 * What fits a condition, against SQLite: the same rows in a table, the same conditions as SQL, the
 * same slots. Types are mixed, answers are asked for again as slots come, for one owner and for
 * all, and for ends that lie before the last slot.
 */
#include "test.h"

#include <sqlite3.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "stores/vector/engine/catalog.h"

enum { ROUNDS = 12, ROWS = 700, ASKED = 120, DEPTH = 3 };

static const char *const columns[] = {"a", "b", "j", "t", "u"};
enum { COLUMNS = 5 };
static const char *const owners[] = {"", "one", "two", "seldom"};

static struct poly_error err;
static uint64_t seed = 88172645463325252u;
static sqlite3 *db;
static struct poly_arena *arena;

static uint64_t random_below(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

#define PICK(list) ((list)[random_below(sizeof(list) / sizeof((list)[0]))])

/* --- values --- */

static struct poly_value uuid_value(unsigned n)
{
    struct poly_value value = poly_null();

    value.type = POLY_UUID;
    memset(value.uuid, 0xab, sizeof(value.uuid));
    value.uuid[5] = (uint8_t)n;
    value.uuid[15] = (uint8_t)(n * 7);
    return value;
}

static struct poly_value any_value(void)
{
    static const int64_t integers[] = {
        0, 1, 2, -1, 7, 1000000007, INT64_MAX, INT64_MIN, 9007199254740993, 9007199254740992};
    static const double reals[] = {0.0, -0.0,  1.0,  1.5,   -2.25,
                                   7.0, 1e300, 1e19, -1e19, 9007199254740992.0};
    static const char *const texts[] = {
        "",  "a",   "ab", "abc", "b",        "A",   "\xc3\xa9t\xc3\xa9",
        "1", "1.5", "0",  "zz",  "\x7f\x7f", "true"};
    static const char *const bytes[] = {"a", "b", "ab", "\xff\xfe"};

    switch (random_below(9)) {
    case 0:
        return poly_null();
    case 1:
        return poly_bool(random_below(2) == 0);
    case 2:
    case 3:
        return poly_int(PICK(integers));
    case 4:
        return poly_float(PICK(reals));
    case 5: {
        const char *b = PICK(bytes);

        return poly_bytes(b, strlen(b));
    }
    default:
        return poly_str(PICK(texts));
    }
}

static struct poly_value word_value(void)
{
    static const char *const words[] = {"open", "closed", "opened", "", "new"};

    return random_below(10) == 0 ? poly_null() : poly_str(PICK(words));
}

static struct poly_value json_value(void)
{
    static const char *const texts[] = {
        "{\"a\":{\"b\":1},\"c\":[1,2.5,\"x\"],\"d e\":true}",
        "{ \"a\" : { \"b\" : \"ab\" } , \"c\" : [ ] }",
        "{\"a\":{\"b\":null},\"c\":[null,false,[1, 2, {\"k\" : \" v \"}]]}",
        "{\"a\":{\"b\":2.0},\"c\":[\"abc\"],\"a\":3}",
        "[{\"a\":1},{\"a\":2}]",
        "\"abc\"",
        "12",
        "1.5e1",
        "true",
        "null",
        "  {\"a\":{\"b\":\"q\\\"\\u00e9\\n\"}}  ",
        "{\"a\":{\"b\":{\"z\": [1, 2]}}}",
        "{}",
    };
    static const char *const others[] = {"no json", "{", "", "{\"a\":}"};
    struct poly_value value = poly_json(PICK(texts));

    if (random_below(4) == 0)
        value.type = POLY_TEXT;
    if (random_below(12) == 0)
        value = poly_str(PICK(others));
    if (random_below(12) == 0)
        value = poly_int((int64_t)random_below(3));
    return random_below(12) == 0 ? poly_null() : value;
}

static struct poly_value time_value(void)
{
    return random_below(8) == 0 ? poly_null()
                                : poly_time(1700000000000000 + (int64_t)random_below(40) * 500000);
}

static struct poly_value value_of(size_t column)
{
    switch (column) {
    case 0:
        return any_value();
    case 1:
        return word_value();
    case 2:
        return json_value();
    case 3:
        return time_value();
    default:
        return random_below(8) == 0 ? poly_null() : uuid_value((unsigned)random_below(30));
    }
}

/* As a table's column keeps it. */
static void bind(sqlite3_stmt *statement, int index, const struct poly_value *value)
{
    char text[40];

    switch (value->type) {
    case POLY_NULL:
        sqlite3_bind_null(statement, index);
        break;
    case POLY_BOOL:
        sqlite3_bind_int(statement, index, value->boolean);
        break;
    case POLY_INT:
    case POLY_TIME:
        sqlite3_bind_int64(statement, index, value->integer);
        break;
    case POLY_FLOAT:
        sqlite3_bind_double(statement, index, value->real);
        break;
    case POLY_TEXT:
    case POLY_JSON:
        sqlite3_bind_text(statement, index, value->text.data, (int)value->text.size,
                          SQLITE_TRANSIENT);
        break;
    case POLY_BYTES:
        sqlite3_bind_blob(statement, index, value->text.data, (int)value->text.size,
                          SQLITE_TRANSIENT);
        break;
    case POLY_UUID:
        poly_uuid_format(value->uuid, text);
        sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
        break;
    }
}

/* --- conditions --- */

struct question {
    const struct poly_where *where;
    struct poly_buffer sql;
    struct poly_value values[1000]; /* as SQL binds them */
    int value_count;
};

static struct poly_value asked_value(size_t column)
{
    struct poly_value value;

    do
        value = column == 2 && random_below(3) != 0 ? any_value() : value_of(column);
    while (value.type == POLY_NULL);
    return value;
}

/* A time or a UUID may be given as text; SQLite then gets what it means. */
static struct poly_value disguise(size_t column, struct poly_value value)
{
    char *text = poly_arena_alloc(arena, 40);

    if (random_below(2) == 0 || (column != 3 && column != 4))
        return value;
    if (column == 3)
        poly_json_time(value.integer, text);
    else
        poly_uuid_format(value.uuid, text);
    for (char *c = text; column == 4 && *c != '\0'; c++)
        if (*c >= 'a' && *c <= 'f')
            *c = (char)(*c - 32);
    return poly_str(text);
}

static void print_operand(struct question *q, const struct poly_filter *filter)
{
    if (filter->path == NULL)
        poly_buffer_text(&q->sql, filter->column);
    else
        poly_buffer_printf(&q->sql, "CASE WHEN json_valid(%s) THEN json_extract(%s,'%s') END",
                           filter->column, filter->column, filter->path);
}

static const char *class_of(enum poly_type type)
{
    return type == POLY_BYTES                                            ? "='blob'"
           : type == POLY_TEXT || type == POLY_UUID || type == POLY_JSON ? "='text'"
                                                                         : " IN ('integer','real')";
}

static void print_leaf(struct question *q, const struct poly_filter *filter)
{
    static const char *const operators[] = {"=", "<>", "<", "<=", ">", ">="};
    int first = q->value_count - (int)filter->value_count + 1;

    if (filter->compare >= POLY_IS_NULL) {
        poly_buffer_text(&q->sql, "((");
        print_operand(q, filter);
        poly_buffer_printf(&q->sql, ") IS %sNULL)", filter->compare == POLY_IS_NULL ? "" : "NOT ");
        return;
    }
    poly_buffer_text(&q->sql, "(CASE WHEN (");
    print_operand(q, filter);
    poly_buffer_text(&q->sql, ") IS NOT NULL THEN ");
    poly_buffer_text(&q->sql, filter->compare == POLY_PREFIX ? "substr((" : "((");
    print_operand(q, filter);
    if (filter->compare == POLY_PREFIX)
        poly_buffer_printf(&q->sql, "),1,length(?%d))=?%d", first, first);
    else if (filter->compare == POLY_IN)
        poly_buffer_text(&q->sql, ") IN (");
    else
        poly_buffer_printf(&q->sql, ")%s?%d)", operators[filter->compare], first);
    for (size_t i = 0; filter->compare == POLY_IN && i < filter->value_count; i++)
        poly_buffer_printf(&q->sql, "%s?%d", i == 0 ? "" : ",", first + (int)i);
    if (filter->compare == POLY_IN)
        poly_buffer_text(&q->sql, "))");
    if (filter->compare >= POLY_LT && filter->compare != POLY_IN) {
        poly_buffer_text(&q->sql, " AND typeof(");
        print_operand(q, filter);
        poly_buffer_printf(&q->sql, ")%s", class_of(q->values[first - 1].type));
    }
    poly_buffer_text(&q->sql, " END)");
}

static const struct poly_where *make_leaf(struct question *q)
{
    static const char *const paths[] = {"$",      "$.a",         "$.a.b",  "$.c",    "$.c[0]",
                                        "$.c[1]", "$.\"d e\"",   "$[1].a", "$.c[2]", "$.c[#-1]",
                                        "$.x.y",  "$.c[2][2].k", "$[#-2]"};
    struct poly_filter *filter = poly_arena_alloc(arena, sizeof(*filter));
    struct poly_where *where = poly_arena_alloc(arena, sizeof(*where));
    size_t column = random_below(COLUMNS);
    struct poly_value *values = poly_arena_array(arena, 8, sizeof(*values));

    filter->column = columns[column];
    filter->compare = (enum poly_compare)random_below(POLY_NOT_NULL + 1);
    filter->path = column == 2 && random_below(4) != 0 ? PICK(paths) : NULL;
    filter->values = values;
    filter->value_count = filter->compare >= POLY_IS_NULL ? 0
                          : filter->compare == POLY_IN    ? 1 + random_below(6)
                                                          : 1;
    for (size_t i = 0; i < filter->value_count; i++) {
        values[i] = asked_value(column);
        if (filter->compare == POLY_PREFIX)
            values[i] = poly_str(random_below(2) == 0 ? "a" : column == 4 ? "ababab" : "op");
        q->values[q->value_count++] = values[i];
        if (filter->compare != POLY_PREFIX)
            values[i] = disguise(column, values[i]);
    }
    print_leaf(q, filter);
    *where = (struct poly_where){.kind = POLY_WHERE_COMPARE, .compare = filter};
    return where;
}

static const struct poly_where *make(struct question *q, int depth)
{
    struct poly_where *where;
    const struct poly_where **parts;
    uint64_t kind = random_below(6);

    if (depth == 0 || kind < 2)
        return make_leaf(q);
    where = poly_arena_alloc(arena, sizeof(*where));
    parts = poly_arena_array(arena, 4, sizeof(struct poly_where *));
    where->kind = kind == 2 ? POLY_WHERE_NOT : kind < 5 ? POLY_WHERE_AND : POLY_WHERE_OR;
    where->part_count = where->kind == POLY_WHERE_NOT ? 1 : random_below(4);
    where->parts = parts;
    poly_buffer_text(&q->sql, where->kind == POLY_WHERE_NOT   ? "(NOT "
                              : where->kind == POLY_WHERE_AND ? "(1"
                                                              : "(0");
    for (size_t i = 0; i < where->part_count; i++) {
        if (where->kind != POLY_WHERE_NOT)
            poly_buffer_text(&q->sql, where->kind == POLY_WHERE_AND ? " AND " : " OR ");
        parts[i] = make(q, depth - 1);
    }
    poly_buffer_char(&q->sql, ')');
    return where;
}

/* --- comparing --- */

static bool fits(const struct poly_slots *slots, uint32_t slot)
{
    if (slots->bits != NULL)
        return slot < slots->bit_count && (slots->bits[slot / 64] >> (slot % 64) & 1) != 0;
    for (uint32_t i = 0; i < slots->count; i++)
        if (slots->list[i] == slot)
            return true;
    return false;
}

static void compare(struct poly_catalog *catalog, const struct question *q, const char *owner,
                    uint32_t end)
{
    const struct poly_text name = poly_text(owner);
    struct poly_slots slots;
    struct poly_buffer sql;
    sqlite3_stmt *statement;
    uint32_t count = 0, next = 0;

    assert_ok(
        poly_catalog_select(catalog, owner == NULL ? NULL : &name, q->where, end, &slots, &err));
    poly_buffer_init(&sql, 1 << 20);
    poly_buffer_printf(&sql, "SELECT slot FROM t WHERE slot < %u AND %s", end, q->sql.data);
    if (owner != NULL)
        poly_buffer_printf(&sql, " AND owner='%s'", owner);
    poly_buffer_text(&sql, " ORDER BY slot");
    if (sqlite3_prepare_v2(db, sql.data, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sqlite3_errmsg(db), sql.data);
    for (int i = 0; i < q->value_count; i++)
        bind(statement, i + 1, &q->values[i]);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        uint32_t slot = (uint32_t)sqlite3_column_int(statement, 0);

        for (; next < slot; next++)
            if (fits(&slots, next))
                fail_msg("slot %u should not fit: %s", next, sql.data);
        if (!fits(&slots, next++))
            fail_msg("slot %u should fit: %s", slot, sql.data);
        count++;
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    for (; next < end + 70; next++)
        assert_false(fits(&slots, next));
    assert_int_equal(slots.count, count);
    poly_buffer_release(&sql);
    poly_catalog_release(catalog, &slots);
}

static sqlite3_stmt *insert;

static void add_row(struct poly_catalog *catalog, uint32_t slot, bool stays)
{
    struct poly_value values[COLUMNS];
    char key[16];
    const char *owner = random_below(40) == 0 ? owners[3] : owners[random_below(3)];

    for (size_t i = 0; i < COLUMNS; i++)
        values[i] = value_of(i);
    snprintf(key, sizeof(key), "k%u", (unsigned)random_below(300));

    const struct poly_catalog_entry entry = {poly_text(owner), poly_text(key), slot, slot, values};

    assert_ok(poly_catalog_append(catalog, slot, &entry, &err));
    if (!stays)
        return;
    sqlite3_bind_int64(insert, 1, slot);
    sqlite3_bind_text(insert, 2, owner, -1, SQLITE_STATIC);
    for (int i = 0; i < COLUMNS; i++)
        bind(insert, i + 3, &values[i]);
    assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_reset(insert);
}

/* A batch, with gaps; and one that is taken back. */
static uint32_t add_rows(struct poly_catalog *catalog, uint32_t next, uint32_t count)
{
    for (uint32_t i = 0; i < 50; i++)
        add_row(catalog, next + i, false);
    poly_catalog_revert(catalog);
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    for (uint32_t i = 0; i < count; i++) {
        next += random_below(50) == 0 ? (uint32_t)random_below(4) : 0;
        add_row(catalog, next++, true);
    }
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    poly_catalog_publish(catalog);
    return next;
}

static void begin(struct poly_catalog **catalog)
{
    arena = poly_arena_new(1 << 28);
    assert_non_null(arena);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE t(slot INTEGER PRIMARY KEY, owner, a, b, j, t, u)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "INSERT INTO t VALUES(?1,?2,?3,?4,?5,?6,?7)", -1, &insert, NULL),
        SQLITE_OK);
    assert_ok(poly_catalog_new(columns, COLUMNS, catalog, &err));
}

static void end_all(struct poly_catalog *catalog)
{
    sqlite3_finalize(insert);
    sqlite3_close(db);
    poly_catalog_free(catalog);
    poly_arena_free(arena);
}

/* S3-44: filters before the nearest are chosen; S1-21: tenants apart */
static void the_same_as_sqlite(void **state)
{
    static struct question questions[ASKED];
    struct poly_catalog *catalog;
    uint32_t next = 0;

    (void)state;
    begin(&catalog);
    for (size_t i = 0; i < ASKED; i++) {
        questions[i] = (struct question){.where = NULL};
        poly_buffer_init(&questions[i].sql, 1 << 20);
        questions[i].where = make(&questions[i], DEPTH);
    }
    for (int round = 0; round < ROUNDS; round++) {
        next = add_rows(catalog, next, round % 3 == 0 ? ROWS : 1 + (uint32_t)random_below(100));
        for (size_t i = 0; i < ASKED; i++) {
            compare(catalog, &questions[i], NULL, next);
            compare(catalog, &questions[i], PICK(owners), next - (uint32_t)random_below(next));
            compare(catalog, &questions[i], owners[i % 4], next + 3);
        }
    }
    for (size_t i = 0; i < ASKED; i++)
        poly_buffer_release(&questions[i].sql);
    end_all(catalog);
}

/* --- each with each --- */

static size_t all_values(struct poly_value *values)
{
    static const int64_t integers[] = {
        0, 1, 2, -1, 7, INT64_MAX, INT64_MIN, INT64_MAX - 1, 9007199254740993, 9007199254740992};
    static const double reals[] = {0.0,
                                   -0.0,
                                   1.0,
                                   1.5,
                                   -1.0,
                                   7.0,
                                   1e300,
                                   1e19,
                                   -1e19,
                                   9007199254740992.0,
                                   9223372036854775808.0,
                                   -9223372036854775808.0,
                                   2.0000000000000004};
    static const char *const texts[] = {"", "a", "ab", "b", "A", "1", "[1]", "\xc3\xa9"};
    size_t count = 0;

    values[count++] = poly_null();
    values[count++] = poly_bool(false);
    values[count++] = poly_bool(true);
    for (size_t i = 0; i < sizeof(integers) / sizeof(*integers); i++)
        values[count++] = poly_int(integers[i]);
    for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++)
        values[count++] = poly_float(reals[i]);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        values[count++] = poly_str(texts[i]);
    values[count++] = poly_json("1");
    values[count++] = poly_json("[1]");
    values[count++] = poly_bytes("a", 1);
    values[count++] = poly_bytes("ab", 2);
    return count;
}

static void ask_each(struct poly_catalog *catalog, const struct poly_value *value,
                     enum poly_compare how, uint32_t end)
{
    struct question q = {.where = NULL, .values = {*value}, .value_count = 1};
    const struct poly_filter filter = {columns[0], NULL, how, value, 1};
    const struct poly_where leaf = {POLY_WHERE_COMPARE, &filter, NULL, 0}, *part = &leaf;
    const struct poly_where negated = {POLY_WHERE_NOT, NULL, &part, 1};

    if (how == POLY_PREFIX && value->type != POLY_TEXT)
        return;
    for (int i = 0; i < 2; i++) {
        poly_buffer_init(&q.sql, 1 << 20);
        poly_buffer_text(&q.sql, i == 0 ? "" : "NOT ");
        print_leaf(&q, &filter);
        q.where = i == 0 ? &leaf : &negated;
        compare(catalog, &q, NULL, end);  /* decided for each value, or looked up */
        compare(catalog, &q, "few", end); /* for each slot */
        poly_buffer_release(&q.sql);
    }
}

/* Every value stands in a slot, and is compared with every other in every way. */
static void each_with_each(void **state)
{
    enum { TIMES = 20 };
    struct poly_catalog *catalog;
    struct poly_value values[64], row[COLUMNS] = {{.type = POLY_NULL}};
    size_t count = all_values(values);
    uint32_t slot = 0;

    (void)state;
    begin(&catalog);
    for (int i = 0; i < TIMES; i++)
        for (size_t v = 0; v < count + 5; v++) {
            const char *owner = i == 0 && v < count ? "few" : "";
            const struct poly_catalog_entry entry = {.owner = poly_text(owner), .values = row};

            /* a few more, so that one owner has less slots than there are values */
            row[0] = v < count ? values[v] : poly_int(1000 + slot);
            assert_ok(poly_catalog_append(catalog, slot, &entry, &err));
            sqlite3_bind_int64(insert, 1, slot++);
            sqlite3_bind_text(insert, 2, owner, -1, SQLITE_STATIC);
            bind(insert, 3, &row[0]);
            assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
            sqlite3_reset(insert);
        }
    poly_catalog_publish(catalog);
    for (size_t v = 1; v < count; v++)
        for (int how = POLY_EQ; how <= POLY_PREFIX; how++)
            ask_each(catalog, &values[v], (enum poly_compare)how, slot);
    end_all(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_with_each),
        cmocka_unit_test(the_same_as_sqlite),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
