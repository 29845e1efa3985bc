#include <string.h>

#include "cli/load.h"
#include "cli/verbs.h"

static enum poly_status find_separator(const struct cli *cli, char *separator,
                                       struct poly_error *err)
{
    const char *text = cli_option(cli, "separator");

    *separator = ',';
    if (text == NULL)
        return POLY_OK;
    if (strcmp(text, "\\t") == 0)
        text = "\t";
    if (text[0] == '\0' || text[1] != '\0' || *text == '"')
        return poly_fail(err, POLY_INVALID, "--separator '%s': must be one character", text);
    *separator = *text;
    return POLY_OK;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    static struct cli_load load;
    const struct cli_format *format;
    char separator;
    enum poly_status status =
        cli_format_find(cli_formats, cli_option(cli, "format"), cli->arguments[1], &format, err);

    if (status == POLY_OK)
        status = find_separator(cli, &separator, err);
    if (status != POLY_OK)
        return status;
    status = cli_load_open(&load, cli, cli->arguments[1], format, err);
    load.import.separator = separator;
    if (status == POLY_OK)
        status = cli_load_run(&load, err);
    cli_load_close(&load);
    return status;
}

const struct cli_verb cli_verb_import = {
    .name = "import",
    .arguments = "DOMAIN FILE|-",
    .summary = "Load the rows of a file into a domain",
    .text =
        "csv: the first line names the columns; an empty field without quotes is null. jsonl: an "
        "object\n"
        "a line. debian: a package index, as 'apt-cache dumpavail' prints it; of several versions "
        "of a\n"
        "package the first one counts. '-' reads stdin.\n"
        "\n"
        "Rows are put in transactions. A bad line ends the import: its batch takes no effect, "
        "those\n"
        "before have. A row that is there already changes nothing, so run it again after mending.",
    .options =
        (const struct cli_option[]){
            {"format", 'f', "FORMAT", "csv|jsonl|debian",
             "csv, jsonl or debian; default: by the "
             "file's name"},
            {"separator", 0, "CHARACTER", NULL, "of csv; default: a comma; \\t is a tab"},
            {"batch", 0, "ROWS", NULL, "rows in a transaction, 1 to 1000; default: 1000"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"apt-cache dumpavail | polystore import packages --format debian -",
             "this machine's package index"},
            {"printf 'name,version,section\\nmy-tool,1.0,misc\\n' | polystore import packages "
             "--format csv -",
             "a row of CSV"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = run,
};
