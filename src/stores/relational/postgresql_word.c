/*
 * The words of a text, for those who must know what it says before it is sent.
 * Comments nest; a quote is doubled to stand in what it quotes, and in E'' a
 * backslash hides it. U&'' and U&"" may spell a name in ways that are not looked
 * into: they are broken.
 */
#include "stores/relational/postgresql_word.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool begins_word(char c)
{
    return isalpha((unsigned char)c) || c == '_' || ((unsigned char)c & 0x80) != 0;
}

static bool in_word(char c)
{
    return begins_word(c) || isdigit((unsigned char)c) || c == '$';
}

/* Behind a comment; NULL: it has no end. */
static const char *behind_comment(const char *sql)
{
    int depth = 0;

    if (sql[0] == '-')
        return sql + strcspn(sql, "\n");
    for (; *sql != '\0'; sql++) {
        if (sql[0] == '/' && sql[1] == '*') {
            depth++;
            sql++;
        } else if (sql[0] == '*' && sql[1] == '/') {
            sql++;
            if (--depth == 0)
                return sql + 1;
        }
    }
    return NULL;
}

/* Where the next token begins; NULL: a comment has no end. */
static const char *skip(const char *sql)
{
    for (;;) {
        sql += strspn(sql, " \t\r\n\f\v");
        if ((sql[0] != '-' || sql[1] != '-') && (sql[0] != '/' || sql[1] != '*'))
            return sql;
        sql = behind_comment(sql);
        if (sql == NULL)
            return NULL;
    }
}

/* Behind the quote that ends what begins at sql; NULL: there is none. */
static const char *behind_quote(const char *sql, bool escapes)
{
    char quote = *sql++;

    for (; *sql != '\0'; sql++) {
        if (escapes && *sql == '\\' && sql[1] != '\0')
            sql++;
        else if (*sql == quote && sql[1] == quote)
            sql++;
        else if (*sql == quote)
            return sql + 1;
    }
    return NULL;
}

/* Behind $tag$ … $tag$; sql itself: it is no such thing. NULL: it has no end. */
static const char *behind_dollar(const char *sql)
{
    size_t tag = 1;

    if (begins_word(sql[1])) {
        while (in_word(sql[tag]) && sql[tag] != '$')
            tag++;
    }
    if (sql[tag] != '$')
        return sql;
    tag++;
    for (const char *end = sql + tag; *end != '\0'; end++) {
        if (*end == '$' && strncmp(end, sql, tag) == 0)
            return end + tag;
    }
    return NULL;
}

/* E'…', B'…', X'…', N'…' */
static bool prefixed(const char *sql)
{
    return strchr("eEbBxXnN", sql[0]) != NULL && sql[0] != '\0' && sql[1] == '\'';
}

static const char *behind_number(const char *sql)
{
    while (isalnum((unsigned char)*sql) || *sql == '.' || *sql == '_')
        sql++;
    return sql;
}

static void set(struct poly_word *token, enum poly_word_kind kind, const char *at, const char *end)
{
    token->kind = end == NULL ? POLY_WORD_BROKEN : kind;
    token->at = at;
    token->size = end == NULL ? strlen(at) : (size_t)(end - at);
}

static void read_word(struct poly_word *token, const char *at)
{
    const char *end = at;

    if ((at[0] == 'u' || at[0] == 'U') && at[1] == '&' && (at[2] == '\'' || at[2] == '"')) {
        set(token, POLY_WORD_BROKEN, at, NULL);
        return;
    }
    if (prefixed(at)) {
        set(token, POLY_WORD_TEXT, at, behind_quote(at + 1, at[0] == 'e' || at[0] == 'E'));
        return;
    }
    while (in_word(*end))
        end++;
    set(token, POLY_WORD_PLAIN, at, end);
}

static void read_dollar(struct poly_word *token, const char *at)
{
    const char *end = behind_dollar(at);

    if (end != at)
        set(token, POLY_WORD_TEXT, at, end);
    else if (isdigit((unsigned char)at[1]))
        set(token, POLY_WORD_NUMBER, at, behind_number(at + 1));
    else
        set(token, POLY_WORD_SIGN, at, at + 1);
}

void poly_word_first(struct poly_word *token, const char *sql)
{
    *token = (struct poly_word){.at = sql};
    poly_word_next(token);
}

void poly_word_next(struct poly_word *token)
{
    const char *from = token->at + token->size, *at = skip(from);

    if (at == NULL)
        set(token, POLY_WORD_BROKEN, from, NULL);
    else if (*at == '\0')
        set(token, POLY_WORD_END, at, at);
    else if (*at == '\'' || *at == '"')
        set(token, *at == '"' ? POLY_WORD_NAME : POLY_WORD_TEXT, at, behind_quote(at, false));
    else if (*at == '$')
        read_dollar(token, at);
    else if (begins_word(*at))
        read_word(token, at);
    else if (isdigit((unsigned char)*at) || (*at == '.' && isdigit((unsigned char)at[1])))
        set(token, POLY_WORD_NUMBER, at, behind_number(at));
    else
        set(token, POLY_WORD_SIGN, at, at + 1);
}

bool poly_word_is(const struct poly_word *token, const char *word)
{
    return token->kind == POLY_WORD_PLAIN && strlen(word) == token->size &&
           strncasecmp(token->at, word, token->size) == 0;
}
