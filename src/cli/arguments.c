/* What verbs take in words, as the JSON that operations take. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/verbs.h"

enum poly_status cli_read_stdin(struct poly_buffer *text, struct poly_error *err)
{
    char piece[16384];
    size_t size;

    while ((size = fread(piece, 1, sizeof(piece), stdin)) > 0)
        poly_buffer_add(text, piece, size);
    if (ferror(stdin) != 0)
        return poly_fail(err, POLY_INVALID, "standard input cannot be read: %m");
    if (!poly_buffer_ok(text))
        return poly_fail(err, POLY_LIMIT, "standard input is longer than %zu bytes", text->max);
    return POLY_OK;
}

static enum poly_status check_object(const char *text, size_t size, const char *what,
                                     struct poly_error *err)
{
    json_t *json;
    enum poly_status status = poly_json_parse(text, size, &json, err);

    if (status != POLY_OK)
        return poly_fail_in(err, status, "%s", what);
    bool object = json_is_object(json);

    json_decref(json);
    return object ? POLY_OK
                  : poly_fail(err, POLY_INVALID, "%s: must be a JSON object, such as {\"a\": 1}",
                              what);
}

static enum poly_status add_assignment(struct poly_buffer *json, const char *word,
                                       struct poly_error *err)
{
    const char *equal = strchr(word, '=');
    bool raw = equal != NULL && equal > word && equal[-1] == ':';
    size_t name = equal == NULL ? 0 : (size_t)(equal - word) - (raw ? 1 : 0);

    if (name == 0)
        return poly_fail(
            err, POLY_INVALID,
            "'%.64s': must be COLUMN=TEXT, COLUMN:=JSON, a JSON object, or - for stdin", word);
    poly_json_string(json, word, name);
    poly_buffer_char(json, ':');
    if (!raw) {
        poly_json_string(json, equal + 1, strlen(equal + 1));
        return POLY_OK;
    }
    enum poly_status status = poly_json_check(equal + 1, strlen(equal + 1), err);

    if (status != POLY_OK)
        return poly_fail_in(err, status, "'%.64s'", word);
    poly_buffer_text(json, equal + 1);
    return POLY_OK;
}

enum poly_status cli_read_row(char **arguments, int count, struct poly_buffer *json,
                              struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (count == 1 && strcmp(arguments[0], "-") == 0) {
        status = cli_read_stdin(json, err);
        return status == POLY_OK ? check_object(json->data == NULL ? "" : json->data, json->size,
                                                "standard input", err)
                                 : status;
    }
    if (count == 1 && arguments[0][0] == '{') {
        poly_buffer_text(json, arguments[0]);
        return check_object(arguments[0], strlen(arguments[0]), "the JSON argument", err);
    }
    poly_buffer_char(json, '{');
    for (int i = 0; i < count && status == POLY_OK; i++) {
        if (i > 0)
            poly_buffer_char(json, ',');
        status = add_assignment(json, arguments[i], err);
    }
    poly_buffer_char(json, '}');
    if (status == POLY_OK && !poly_buffer_ok(json))
        return poly_no_memory(err);
    /* The same column twice. */
    return status == POLY_OK ? check_object(json->data, json->size, "the columns", err) : status;
}

/* --- filters --- */

static const struct {
    const char *sign;
    const char *compare;
} signs[] = {
    {"!=", "ne"}, {"<=", "le"}, {">=", "ge"}, {"^=", "prefix"},
    {"=", "eq"},  {"<", "lt"},  {">", "gt"},
};

/* Where "section in a,b" has its word. */
static bool word_after(const char *text, const char *word, const char **rest)
{
    size_t size = strlen(word);

    while (*text == ' ')
        text++;
    if (strncasecmp(text, word, size) != 0 || (text[size] != ' ' && text[size] != '\0'))
        return false;
    text += size;
    while (*text == ' ')
        text++;
    *rest = text;
    return true;
}

/* guess: 42 is a number. Otherwise it is a text, which a column converts by its own type. */
static void add_filter_value(struct poly_buffer *json, const char *text, size_t size, bool guess)
{
    struct poly_error ignored;
    bool scalar = size > 0 && (isdigit((unsigned char)*text) || *text == '-' || *text == 't' ||
                               *text == 'f' || *text == '"');

    if (guess && scalar && poly_json_check(text, size, &ignored) == POLY_OK)
        poly_buffer_add(json, text, size);
    else
        poly_json_string(json, text, size);
}

static void add_filter(struct poly_buffer *json, const char *text, size_t size, const char *compare)
{
    const char *path = memchr(text, '$', size);
    size_t column = path == NULL ? size : (size_t)(path - text);

    poly_buffer_text(json, json->size == 0 ? "[{\"column\":" : ",{\"column\":");
    poly_json_string(json, text, column);
    if (path != NULL) {
        poly_buffer_text(json, ",\"path\":");
        poly_json_string(json, path, size - column);
    }
    poly_buffer_printf(json, ",\"compare\":\"%s\",\"values\":[", compare);
}

static void add_list(struct poly_buffer *json, const char *text, bool guess)
{
    for (;;) {
        size_t size = strcspn(text, ",");

        add_filter_value(json, text, size, guess);
        if (text[size] == '\0')
            return;
        poly_buffer_char(json, ',');
        text += size + 1;
    }
}

static enum poly_status read_filter(const char *text, bool guess, struct poly_buffer *json,
                                    struct poly_error *err)
{
    size_t column = strcspn(text, " =!<>^");
    const char *sign = text + column, *rest;

    guess = guess || memchr(text, '$', column) != NULL;
    while (*sign == ' ')
        sign++;
    if (column > 0 && word_after(sign, "is", &rest) &&
        (strcasecmp(rest, "null") == 0 || strcasecmp(rest, "not null") == 0)) {
        add_filter(json, text, column, rest[1] == 'o' || rest[1] == 'O' ? "not_null" : "is_null");
        poly_buffer_text(json, "]}");
        return POLY_OK;
    }
    if (column > 0 && word_after(sign, "in", &rest)) {
        add_filter(json, text, column, "in");
        add_list(json, rest, guess);
        poly_buffer_text(json, "]}");
        return POLY_OK;
    }
    for (size_t i = 0; column > 0 && i < sizeof(signs) / sizeof(signs[0]); i++) {
        size_t size = strlen(signs[i].sign);

        if (strncmp(sign, signs[i].sign, size) != 0)
            continue;
        rest = sign + size + (sign > text + column && sign[size] == ' ' ? 1 : 0);
        add_filter(json, text, column, signs[i].compare);
        add_filter_value(json, rest, strlen(rest), guess);
        poly_buffer_text(json, "]}");
        return POLY_OK;
    }
    return poly_fail(err, POLY_INVALID,
                     "--where '%.64s': must be COLUMN, one of = != < <= > >= ^= (prefix), VALUE; "
                     "or 'COLUMN in A,B', 'COLUMN is null', 'COLUMN is not null'",
                     text);
}

enum poly_status cli_read_filters(const struct cli *cli, bool guess, struct poly_buffer *json,
                                  struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    const char *text;
    size_t at = 0;

    while (status == POLY_OK && (text = cli_option_next(cli, "where", &at)) != NULL)
        status = read_filter(text, guess, json, err);
    if (json->size > 0)
        poly_buffer_char(json, ']');
    return status == POLY_OK && !poly_buffer_ok(json) ? poly_no_memory(err) : status;
}

/* --- the rest --- */

enum poly_status cli_read_if_version(const struct cli *cli, struct cli_request *request,
                                     char etag[32], struct poly_error *err)
{
    const char *text = cli_option(cli, "if-version");
    int64_t version = 0;
    enum poly_status status;

    if (text == NULL)
        return POLY_OK;
    if (strcmp(text, "none") == 0) {
        request->if_none_match = "*";
        return POLY_OK;
    }
    status = cli_option_number(cli, "if-version", 1, INT64_MAX, &version, err);
    if (status != POLY_OK)
        return poly_fail(err, POLY_INVALID, "--if-version '%s': must be a version, or none", text);
    snprintf(etag, 32, "\"%lld\"", (long long)version);
    request->if_match = etag;
    return POLY_OK;
}

void cli_repeat(const struct cli *cli, const char *option, struct cli_request *request,
                const char *parameter)
{
    const char *value;
    size_t at = 0;

    while ((value = cli_option_next(cli, option, &at)) != NULL)
        cli_parameter(request, parameter, value);
}
