#include <stdio.h>
#include <string.h>

#include "cli/load.h"
#include "cli/vector_files.h"
#include "cli/verbs.h"

/* Options of one format given with another would be ignored: better say so. */
static enum poly_status check(const struct cli *cli, const struct cli_format *format,
                              struct poly_error *err)
{
    static const char *const of_copy[] = {"columns", "key"}, *const of_numbers[] = {"keys",
                                                                                    "key-prefix"};
    bool copy = format == &cli_format_copy, numbers = format->unit != NULL;

    for (int i = 0; i < 2; i++) {
        if (!copy && cli_option(cli, of_copy[i]) != NULL)
            return poly_fail(err, POLY_INVALID, "--%s goes with the format copy only, this is %s",
                             of_copy[i], format->name);
        if (!numbers && cli_option(cli, of_numbers[i]) != NULL)
            return poly_fail(err, POLY_INVALID, "--%s goes with fvecs and npy only, this is %s",
                             of_numbers[i], format->name);
    }
    if (copy && (cli_option(cli, "columns") == NULL || *cli_option(cli, "columns") == '\0'))
        return poly_fail(err, POLY_INVALID,
                         "--columns is missing: the names of its columns, such as "
                         "id,content,embedding");
    if (copy && cli_option(cli, "patch") != NULL && cli_option(cli, "key") == NULL)
        return poly_fail(err, POLY_INVALID,
                         "--patch needs --key COLUMN: which of the columns is the record's key");
    return POLY_OK;
}

static enum poly_status load(struct cli *cli, const struct cli_format *format,
                             const struct cli_vector_options *options, struct poly_error *err)
{
    static struct cli_load load;
    enum poly_status status = cli_load_open(&load, cli, cli->arguments[1], format, err);

    load.patch = cli_option(cli, "patch") != NULL;
    load.model = cli_option(cli, "model");
    load.import.vectors = options;
    if (status == POLY_OK)
        status = cli_load_run(&load, err);
    cli_load_close(&load);
    return status;
}

enum poly_status cli_vector_import(struct cli *cli, struct poly_error *err)
{
    const char *field = cli_option(cli, "field"), *keys = cli_option(cli, "keys");
    struct cli_source key_source = {.name = NULL};
    struct cli_vector_options options = {
        .field = field == NULL ? "embedding" : field,
        .bytes = true, /* a column of any kind takes them, and they are read fastest */
        .prefix = cli_option(cli, "key-prefix"),
        .columns = cli_option(cli, "columns"),
        .key = cli_option(cli, "key"),
    };
    const struct cli_format *format;
    enum poly_status status = cli_format_find(cli_vector_formats, cli_option(cli, "format"),
                                              cli->arguments[1], &format, err);

    if (status == POLY_OK)
        status = check(cli, format, err);
    if (status == POLY_OK && keys != NULL) {
        status = cli_source_open(&key_source, keys, err);
        options.keys = &key_source;
    }
    if (status == POLY_OK)
        status = load(cli, format, &options, err);
    cli_source_close(&key_source);
    return status;
}
