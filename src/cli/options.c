/*
 * getopt_long twice: first up to the verb, with the global options only; then
 * over the rest, with the options of the verb as well. Options and arguments
 * may come in any order after the verb; "--" ends the options.
 */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { OPTIONS_MAX = 48, LONG_BASE = 1000 };

struct known {
    const struct cli_option *options[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char shorts[3 * OPTIONS_MAX + 4];
    size_t count, shorts_size;
};

static void know(struct known *known, const struct cli_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        size_t i = known->count++;

        poly_assert(i < OPTIONS_MAX);
        known->options[i] = options;
        known->longs[i] = (struct option){
            .name = options->name,
            .has_arg = options->value == NULL ? no_argument : required_argument,
            .val = LONG_BASE + (int)i,
        };
        if (options->letter == 0)
            continue;
        known->shorts[known->shorts_size++] = options->letter;
        if (options->value != NULL)
            known->shorts[known->shorts_size++] = ':';
    }
}

static const struct cli_option *by_code(const struct known *known, int code)
{
    for (size_t i = 0; i < known->count; i++)
        if (code == LONG_BASE + (int)i || (code != 0 && code == known->options[i]->letter))
            return known->options[i];
    return NULL;
}

void cli_verb_name(const struct cli *cli, char name[64])
{
    if (cli->verb == NULL)
        name[0] = '\0';
    else
        snprintf(name, 64, "%s%s%s", cli->group == NULL ? "" : cli->group->name,
                 cli->group == NULL ? "" : " ", cli->verb->name);
}

static enum poly_status hint(const struct cli *cli, struct poly_error *err, const char *what)
{
    char name[64];

    cli_verb_name(cli, name);
    return poly_fail(err, POLY_INVALID, "%s; 'polystore %s%s--help' says what can be given", what,
                     name, name[0] == '\0' ? "" : " ");
}

static bool is_choice(const char *choices, const char *value)
{
    size_t size = strlen(value);

    while (choices != NULL) {
        const char *end = strchrnul(choices, '|');

        if ((size_t)(end - choices) == size && memcmp(choices, value, size) == 0)
            return true;
        choices = *end == '\0' ? NULL : end + 1;
    }
    return false;
}

static enum poly_status take(struct cli *cli, const struct cli_option *option, const char *value,
                             struct poly_error *err)
{
    if (cli->given_count == CLI_GIVEN_MAX)
        return poly_fail(err, POLY_INVALID, "more than %d options", CLI_GIVEN_MAX);
    if (option->choices != NULL && !is_choice(option->choices, value))
        return poly_fail(err, POLY_INVALID, "--%s '%s': must be one of %s", option->name, value,
                         option->choices);
    cli->given[cli->given_count++] = (struct cli_given){option, value == NULL ? "" : value};
    return POLY_OK;
}

/* A wrong option: getopt keeps its letter in optopt, or the whole word was wrong. */
static enum poly_status wrong(const struct cli *cli, const struct known *known, int code,
                              char **words, struct poly_error *err)
{
    const struct cli_option *option = by_code(known, optopt);
    char text[160];

    if (code == ':' && option != NULL)
        snprintf(text, sizeof(text), "--%s needs a value (%s)", option->name, option->value);
    else if (option != NULL)
        snprintf(text, sizeof(text), "--%s takes no value", option->name);
    else if (optopt != 0)
        snprintf(text, sizeof(text), "unknown option '-%c'", optopt);
    else
        snprintf(text, sizeof(text), "unknown or ambiguous option '%.64s'", words[optind - 1]);
    return hint(cli, err, text);
}

static enum poly_status scan(struct cli *cli, const struct known *known, int count, char **words,
                             struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    opterr = 0;
    optind = 0; /* glibc: start again */
    while (status == POLY_OK) {
        optopt = 0;
        int code = getopt_long(count, words, known->shorts, known->longs, NULL);

        if (code == -1)
            break;
        const struct cli_option *option = by_code(known, code);

        if (code == '?' || code == ':' || option == NULL)
            return wrong(cli, known, code, words, err);
        status = take(cli, option, option->value == NULL ? NULL : optarg, err);
    }
    return status;
}

static const struct cli_verb *find_verb(const struct cli_verb *const *verbs, const char *name)
{
    for (; verbs != NULL && *verbs != NULL; verbs++)
        if (strcmp((*verbs)->name, name) == 0)
            return *verbs;
    return NULL;
}

static enum poly_status unknown_verb(const struct cli *cli, const struct cli_verb *const *verbs,
                                     const char *name, struct poly_error *err)
{
    char list[400] = "";
    size_t used = 0;

    for (; *verbs != NULL && used < sizeof(list); verbs++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used == 0 ? "" : ", ",
                                 (*verbs)->name);
    if (name == NULL)
        return poly_fail(err, POLY_INVALID, "'%s' needs one of: %s", cli->group->name, list);
    return poly_fail(err, POLY_INVALID, "there is no '%.40s%s%.40s'; there are: %s",
                     cli->group == NULL ? "" : cli->group->name, cli->group == NULL ? "" : " ",
                     name, list);
}

/* Words up to the verb, and for a group the one after it. *at: the first word after them. */
static enum poly_status find(struct cli *cli, int count, char **words, int *at,
                             struct poly_error *err)
{
    if (*at >= count)
        return POLY_OK;

    const struct cli_verb *verb = find_verb(cli_verbs, words[*at]);

    if (verb == NULL)
        return unknown_verb(cli, cli_verbs, words[*at], err);
    cli->verb = verb;
    ++*at;
    if (verb->verbs == NULL)
        return POLY_OK;
    if (*at < count && words[*at][0] == '-') {
        /* "migrate --help" */
        cli->help = strcmp(words[*at], "--help") == 0 || strcmp(words[*at], "-h") == 0;
        if (cli->help) {
            *at = count;
            return POLY_OK;
        }
    }
    cli->group = verb;
    cli->verb = *at < count ? find_verb(verb->verbs, words[*at]) : NULL;
    if (cli->verb == NULL)
        return unknown_verb(cli, verb->verbs, *at < count ? words[*at] : NULL, err);
    ++*at;
    return POLY_OK;
}

static enum poly_status check_arguments(const struct cli *cli, struct poly_error *err)
{
    const struct cli_verb *verb = cli->verb;
    char text[200];

    if (cli->help || verb == NULL || verb->verbs != NULL)
        return POLY_OK;
    if (cli->argument_count < verb->min)
        snprintf(text, sizeof(text), "too few arguments: it takes %s", verb->arguments);
    else if (verb->max >= 0 && cli->argument_count > verb->max)
        snprintf(text, sizeof(text), "'%.64s' is one argument too many: it takes %s",
                 cli->arguments[verb->max], verb->arguments == NULL ? "none" : verb->arguments);
    else
        return POLY_OK;
    return hint(cli, err, text);
}

enum poly_status cli_parse(struct cli *cli, int count, char **words, struct poly_error *err)
{
    struct known first = {.shorts = "+:", .shorts_size = 2};
    struct known all = {.shorts = ":", .shorts_size = 1};
    enum poly_status status;
    int at;

    know(&first, cli_global_options);
    status = scan(cli, &first, count, words, err);
    at = optind;
    if (status == POLY_OK)
        status = find(cli, count, words, &at, err);
    if (status != POLY_OK)
        return status;
    know(&all, cli_global_options);
    know(&all, cli->verb == NULL ? NULL : cli->verb->options);
    /* getopt skips one word: there is one, the verb's name, or the program's. */
    status = scan(cli, &all, count - at + 1, words + at - 1, err);
    if (status != POLY_OK)
        return status;
    cli->arguments = words + at - 1 + optind;
    cli->argument_count = count - at + 1 - optind;
    cli->json = cli_option(cli, "json") != NULL;
    cli->quiet = cli_option(cli, "quiet") != NULL;
    cli->help = cli->help || cli_option(cli, "help") != NULL;
    return check_arguments(cli, err);
}

const char *cli_option(const struct cli *cli, const char *name)
{
    for (size_t i = cli->given_count; i > 0; i--)
        if (strcmp(cli->given[i - 1].option->name, name) == 0)
            return cli->given[i - 1].value;
    return NULL;
}

const char *cli_option_next(const struct cli *cli, const char *name, size_t *at)
{
    while (*at < cli->given_count) {
        const struct cli_given *given = &cli->given[(*at)++];

        if (strcmp(given->option->name, name) == 0)
            return given->value;
    }
    return NULL;
}

enum poly_status cli_option_number(const struct cli *cli, const char *name, int64_t min,
                                   int64_t max, int64_t *number, struct poly_error *err)
{
    const char *text = cli_option(cli, name);
    char *end;

    if (text == NULL)
        return POLY_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        return poly_fail(err, POLY_INVALID, "--%s '%s': must be a number from %lld to %lld", name,
                         text, (long long)min, (long long)max);
    *number = value;
    return POLY_OK;
}
