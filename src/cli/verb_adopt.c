/* Two steps: what a database has is written down as a configuration, and nothing is changed; what
 * the configuration says is put in. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/adoption.h"
#include "cli/output.h"
#include "cli/verbs.h"

enum { PATTERNS_MAX = CLI_GIVEN_MAX };

struct patterns {
    const char *all[PATTERNS_MAX + 1];
};

/* NULL: none were given. */
static const char *const *read_patterns(const struct cli *cli, const char *option,
                                        struct patterns *patterns)
{
    size_t at = 0, count = 0;
    const char *one;

    while ((one = cli_option_next(cli, option, &at)) != NULL)
        patterns->all[count++] = one;
    patterns->all[count] = NULL;
    return count == 0 ? NULL : patterns->all;
}

static enum poly_status write_config(const struct cli *cli, const char *path,
                                     struct poly_text config, struct poly_error *err)
{
    bool force = cli_option(cli, "force") != NULL;
    int fd =
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (force ? O_TRUNC : O_EXCL), 0666);
    bool good;

    if (fd < 0 && !force && access(path, F_OK) == 0)
        return poly_fail(err, POLY_EXISTS, "'%s' is there already; --force overwrites it", path);
    if (fd < 0)
        return poly_fail(err, POLY_INVALID, "'%s' cannot be made: %m", path);
    good = write(fd, config.data, config.size) == (ssize_t)config.size;
    if (close(fd) != 0 || !good)
        return poly_fail(err, POLY_UNAVAILABLE, "'%s' cannot be written: %m", path);
    return POLY_OK;
}

/* --- what was found --- */

static json_t *names(const struct poly_text *texts, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(texts[i].data));
    return list;
}

static enum poly_status print_json(const struct poly_adoption *adoption, struct poly_error *err)
{
    json_t *tables = json_array(), *all;
    char *text;

    for (size_t i = 0; i < adoption->count; i++) {
        const struct poly_adopt_table *table = &adoption->tables[i];

        json_array_append_new(
            tables,
            json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:I}", "table", table->name.data,
                      "domain", table->domain.data, "reason", table->reason.data, "key",
                      table->key.data, "tenants", names(table->tenants, table->tenant_count),
                      "tenant_needed", (int)table->tenant_needed, "texts",
                      names(table->texts, table->text_count), "rows", (json_int_t)table->rows));
    }
    all = json_pack("{s:o, s:I, s:s, s:s}", "tables", tables, "domains",
                    (json_int_t)adoption->domains, "note", adoption->note.data, "config",
                    adoption->config.data);
    text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (text == NULL)
        return poly_no_memory(err);
    puts(text);
    free(text);
    return POLY_OK;
}

static enum poly_status print_table(const struct poly_adoption *adoption, struct poly_error *err)
{
    struct cli_table *table = cli_table_new();
    enum poly_status status;

    cli_table_column(table, "TABLE");
    cli_table_column(table, "DOMAIN");
    cli_table_column(table, "KEY");
    cli_table_column(table, "ROWS");
    cli_table_column(table, "WHY NOT");
    for (size_t i = 0; i < adoption->count; i++) {
        const struct poly_adopt_table *one = &adoption->tables[i];

        cli_table_text(table, one->name.data);
        cli_table_text(table, one->domain.data);
        cli_table_text(table, one->key.data);
        if (one->rows >= 0)
            cli_table_number(table, one->rows);
        else
            cli_table_text(table, "");
        cli_table_text(table, one->reason.data);
    }
    status = cli_table_print(table, stdout, err);
    cli_table_free(table);
    return status;
}

static enum poly_status print(struct cli *cli, const struct poly_adoption *adoption,
                              const char *file, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (cli->json)
        status = print_json(adoption, err);
    else if (file == NULL)
        fputs(adoption->config.data, stdout);
    else if (!cli->quiet)
        status = print_table(adoption, err);
    if (!cli->json && file != NULL && !cli->quiet)
        printf("\nwrote %s with %zu domain%s; look through it, then:\n  polystore adopt --apply "
               "--config %s\n",
               file, adoption->domains, adoption->domains == 1 ? "" : "s", file);
    if (!cli->json && adoption->note.size > 0)
        fprintf(stderr, "polystore: %s\n", adoption->note.data);
    return status;
}

static enum poly_status look(struct cli *cli, struct poly_error *err)
{
    struct patterns schemas, only, exclude;
    const char *file = cli_option(cli, "write");
    struct poly_adopt_options options = {
        .place = cli->argument_count > 0 ? cli->arguments[0] : NULL,
        .password_env = cli_option(cli, "password-env"),
        .password_file = cli_option(cli, "password-file"),
        .schemas = read_patterns(cli, "schema", &schemas),
        .only = read_patterns(cli, "only", &only),
        .exclude = read_patterns(cli, "exclude", &exclude),
    };
    struct poly_adoption *adoption;
    enum poly_status status = cli_adoption_here(cli, err);

    if (status != POLY_OK)
        return status;
    if (options.place == NULL)
        return poly_fail(err, POLY_INVALID,
                         "which database? postgresql://user@host/database, or the path of a "
                         "polystore.db; --apply puts in what the configuration says");
    status = poly_adopt_read(&options, &adoption, err);
    if (status != POLY_OK)
        return status;
    if (file != NULL)
        status = write_config(cli, file, adoption->config, err);
    if (status == POLY_OK)
        status = print(cli, adoption, file, err);
    poly_adoption_free(adoption);
    return status;
}

/* --- putting in --- */

static enum poly_status apply(struct cli *cli, struct poly_error *err)
{
    struct cli_adoption adoption;
    struct poly_adopt_report *report;
    enum poly_status status;

    if (cli->argument_count > 0)
        return poly_fail(err, POLY_INVALID,
                         "--apply takes the database from the configuration: write that first, "
                         "with 'polystore adopt %s --write polystore.yaml'",
                         cli->arguments[0]);
    status = cli_adoption_open(cli, &adoption, err);
    if (status == POLY_OK)
        status = poly_adopt_apply(&adoption.options, &adoption.run, &report, err);
    cli_progress_close(&adoption.progress);
    return status == POLY_OK ? cli_adoption_close(cli, &adoption, report, "followed", err) : status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    return cli_option(cli, "apply") != NULL ? apply(cli, err) : look(cli, err);
}

const struct cli_verb cli_verb_adopt = {
    .name = "adopt",
    .arguments = "[URL|FILE]",
    .summary = "Take over a database that an application has already",
    .text = "Reads what tables there are and prints a configuration for them; nothing is changed. "
            "With\n"
            "--apply, the domains of the configuration are followed from now on, and their rows "
            "are\n"
            "logged, while others go on using the tables: no lock is held or waited for over a "
            "second.\n"
            "\n"
            "A table that somebody has locked is named with who it is when --wait is over; the "
            "others are\n"
            "done. Whatever ends it, it can be run again. Patterns are a shell's; one with a point "
            "in it\n"
            "names the schema, too.",
    .options =
        (const struct cli_option[]){
            {"apply", 0, NULL, NULL, "put in what the configuration says"},
            {"write", 'w', "FILE", NULL, "write the configuration there, and print a list"},
            {"force", 'f', NULL, NULL, "overwrite it"},
            {"schema", 0, "PATTERN", NULL, "schemas to look into; may be repeated"},
            {"only", 0, "PATTERN", NULL, "these tables; may be repeated"},
            {"exclude", 0, "PATTERN", NULL, "not these; may be repeated"},
            {"password-env", 0, "NAME", NULL, "environment variable with the password"},
            {"password-file", 0, "FILE", NULL, "or file whose first line it is"},
            {"wait", 0, "SECONDS", NULL, "for tables that are locked; default 60"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore adopt data/polystore.db --write found.yaml",
             "what could be followed there; a server is postgresql://user@host/database"},
            {"polystore adopt --apply", "follow what polystore.yaml says"},
            {NULL, NULL},
        },
    .max = 1,
    .run = run,
};
