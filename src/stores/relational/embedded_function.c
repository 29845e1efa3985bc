/*
 * SQL functions of the wall's connections. A progress handler stops a query
 * between two steps of SQLite's machine, not within one: instr() and replace()
 * compare at every offset there, so two long texts of equal letters hold a
 * thread for hours. These search in linear time. trim() of a set of letters
 * does the same by set; that set is bounded, and so is the work of LIKE and
 * GLOB. Whoever calls one of them beyond the deadline is told so at once: a
 * look every few steps is too late when each of these takes its time.
 */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/embedded_function.h"

enum {
    TRIM_SET_MAX = 64,
    PATTERN_MAX = 200,               /* bytes, as the wall's connections have it */
    PATTERN_WORK = 256 * 1024 * 1024 /* bytes of the text times bytes of the pattern */
};

/* True: the deadline has passed, and the statement ends. */
static bool late(sqlite3_context *context)
{
    const struct poly_wall *wall = sqlite3_user_data(context);

    if (poly_clock_monotonic() <= wall->deadline)
        return false;
    sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    return true;
}

static void tenant(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct poly_wall *wall = sqlite3_user_data(context);

    (void)count;
    (void)values;
    sqlite3_result_text64(context, wall->tenant.data, wall->tenant.size, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
}

static sqlite3_int64 letters(const char *text, size_t size)
{
    sqlite3_int64 count = 0;

    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/*
 * The first place of needle in [s, end); NULL: none. By windows, so that a
 * call that finds something near does not look at all the rest, as
 * sanitizers make memmem() do.
 */
static const char *find(const char *s, const char *end, const char *needle, size_t size)
{
    size_t window = 256 + 4 * size;

    while ((size_t)(end - s) >= size) {
        size_t left = (size_t)(end - s);
        const char *found = memmem(s, left < window ? left : window, needle, size);

        if (found != NULL || left <= window)
            return found;
        s += window - size + 1;
    }
    return NULL;
}

/* Place of the second in the first, from 1, in letters (bytes when both are blobs); 0: none. */
static void instr(sqlite3_context *context, int count, sqlite3_value **values)
{
    bool blobs = sqlite3_value_type(values[0]) == SQLITE_BLOB &&
                 sqlite3_value_type(values[1]) == SQLITE_BLOB;
    const char *hay, *needle, *found;
    size_t hay_size, needle_size;

    (void)count;
    if (late(context) || sqlite3_value_type(values[0]) == SQLITE_NULL ||
        sqlite3_value_type(values[1]) == SQLITE_NULL)
        return;
    hay = blobs ? sqlite3_value_blob(values[0]) : (const char *)sqlite3_value_text(values[0]);
    needle = blobs ? sqlite3_value_blob(values[1]) : (const char *)sqlite3_value_text(values[1]);
    hay_size = (size_t)sqlite3_value_bytes(values[0]);
    needle_size = (size_t)sqlite3_value_bytes(values[1]);
    if (needle_size == 0) {
        sqlite3_result_int(context, 1);
        return;
    }
    found = hay_size == 0 ? NULL : find(hay, hay + hay_size, needle, needle_size);
    if (found == NULL)
        sqlite3_result_int(context, 0);
    else
        sqlite3_result_int64(context,
                             1 + (blobs ? found - hay : letters(hay, (size_t)(found - hay))));
}

/* Every from in text becomes to; *size is the length of the result. NULL: over max, or no memory.
 */
static char *replaced(struct poly_text text, struct poly_text from, struct poly_text to, size_t max,
                      size_t *size)
{
    size_t count = 0, used = 0;
    const char *end = text.data + text.size, *s = text.data, *found;
    char *out;

    while ((found = find(s, end, from.data, from.size)) != NULL) {
        count++;
        s = found + from.size;
    }
    if (to.size > 0 && count > max / to.size)
        return NULL;
    *size = text.size - count * from.size + count * to.size;
    out = *size > max ? NULL : sqlite3_malloc64(*size + 1);
    if (out == NULL)
        return NULL;
    for (s = text.data; (found = find(s, end, from.data, from.size)) != NULL;
         s = found + from.size) {
        memcpy(out + used, s, (size_t)(found - s));
        used += (size_t)(found - s);
        if (to.size > 0)
            memcpy(out + used, to.data, to.size);
        used += to.size;
    }
    memcpy(out + used, s, (size_t)(end - s));
    return out;
}

static struct poly_text text_of(sqlite3_value *value)
{
    struct poly_text text = {(const char *)sqlite3_value_text(value), 0};

    text.size = (size_t)sqlite3_value_bytes(value);
    return text;
}

static void replace(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    struct poly_text text = text_of(values[0]), from = text_of(values[1]), to = text_of(values[2]);
    char *out;
    size_t size;

    (void)count;
    if (late(context) || text.data == NULL || from.data == NULL || to.data == NULL)
        return;
    if (from.size == 0) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    out = replaced(text, from, to, (size_t)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, -1), &size);
    if (out == NULL)
        sqlite3_result_error_toobig(context);
    else
        sqlite3_result_text64(context, out, size, sqlite3_free, SQLITE_UTF8);
}

/* Length of the letter at s. */
static size_t letter(const char *s, const char *end)
{
    size_t size = 1;

    while (s + size < end && ((unsigned char)s[size] & 0xc0) == 0x80)
        size++;
    return size;
}

static bool in_set(struct poly_text set, const char *s, size_t size)
{
    const char *end = set.data + set.size;

    for (const char *c = set.data; c < end; c += letter(c, end)) {
        if (letter(c, end) == size && memcmp(c, s, size) == 0)
            return true;
    }
    return false;
}

enum { LEFT = 1, RIGHT = 2 };

static void trim_sides(sqlite3_context *context, sqlite3_value **values, int sides)
{
    struct poly_text text = text_of(values[0]), set = text_of(values[1]);
    const char *s = text.data, *end;

    if (late(context) || text.data == NULL || set.data == NULL)
        return;
    if (set.size > TRIM_SET_MAX) {
        sqlite3_result_error(context, "trim: the set of letters is too long", -1);
        return;
    }
    end = s + text.size;
    while ((sides & LEFT) != 0 && s < end && in_set(set, s, letter(s, end)))
        s += letter(s, end);
    while ((sides & RIGHT) != 0 && s < end) {
        const char *last = end - 1;

        while (last > s && ((unsigned char)*last & 0xc0) == 0x80)
            last--;
        if (!in_set(set, last, (size_t)(end - last)))
            break;
        end = last;
    }
    sqlite3_result_text64(context, s, (sqlite3_uint64)(end - s), SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void trim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    trim_sides(context, values, LEFT | RIGHT);
}

static void ltrim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    trim_sides(context, values, LEFT);
}

static void rtrim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    trim_sides(context, values, RIGHT);
}

/* --- patterns --- */

/* Both are there, and their work is bounded. */
static bool fits(sqlite3_context *context, struct poly_text pattern, struct poly_text text)
{
    if (late(context) || pattern.data == NULL || text.data == NULL)
        return false;
    if (pattern.size <= PATTERN_MAX && text.size * pattern.size <= PATTERN_WORK)
        return true;
    sqlite3_result_error(context, "LIKE or GLOB: the pattern is too long for this text", -1);
    return false;
}

static void like(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct poly_text pattern = text_of(values[0]), text = text_of(values[1]), escape = {"", 0};

    if (count == 3)
        escape = text_of(values[2]);
    if (escape.data == NULL || !fits(context, pattern, text))
        return;
    if (count == 3 && (escape.size != 1 || escape.data[0] == '%' || escape.data[0] == '_'))
        sqlite3_result_error(context, "ESCAPE: give one ASCII character other than % and _", -1);
    else
        sqlite3_result_int(
            context, sqlite3_strlike(pattern.data, text.data, (unsigned char)escape.data[0]) == 0);
}

static void glob(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct poly_text pattern = text_of(values[0]), text = text_of(values[1]);

    (void)count;
    if (fits(context, pattern, text))
        sqlite3_result_int(context, sqlite3_strglob(pattern.data, text.data) == 0);
}

/* --- */

struct function {
    const char *name;
    int count;
    void (*call)(sqlite3_context *context, int count, sqlite3_value **values);
};

enum poly_status poly_function_register(struct poly_wall *wall, struct poly_error *err)
{
    static const struct function all[] = {
        {"poly_tenant", 0, tenant}, {"instr", 2, instr}, {"replace", 3, replace},
        {"trim", 2, trim},          {"ltrim", 2, ltrim}, {"rtrim", 2, rtrim},
    };
    /* An administrator keeps SQLite's own: those can use an index. */
    static const struct function patterns[] = {
        {"like", 2, like}, {"like", 3, like}, {"glob", 2, glob}};
    enum {
        FUNCTIONS = sizeof(all) / sizeof(all[0]),
        PATTERNS = sizeof(patterns) / sizeof(patterns[0])
    };
    size_t total = FUNCTIONS + (wall->kind == POLY_WALL_ADMIN ? 0 : PATTERNS);
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, code = SQLITE_OK;

    for (size_t i = 0; i < total && code == SQLITE_OK; i++) {
        const struct function *f = i < FUNCTIONS ? &all[i] : &patterns[i - FUNCTIONS];

        code = sqlite3_create_function_v2(poly_db_handle(wall->db), f->name, f->count, flags, wall,
                                          f->call, NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? POLY_OK : poly_db_fail(wall->db, code, "SQL functions", err);
}
