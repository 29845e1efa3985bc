/*
 * Rows of a file into a domain, through transactions of puts or patches like anybody's. A row that
 * is there already writes nothing, so what broke off is simply run again.
 */
#ifndef POLY_CLI_LOAD_H
#define POLY_CLI_LOAD_H

#include "cli/cli.h"
#include "cli/import.h"
#include "cli/progress.h"
#include "cli/send.h"

struct cli_load { /* large: a batch has a line number for each row */
    struct cli *cli;
    const char *domain;
    const char *model; /* that its vectors are of; NULL: not said */
    bool patch; /* change records that are there, instead of putting them */
    struct cli_source source;
    struct cli_import import;
    struct cli_sender *sender;
    struct cli_batch batch;
    struct cli_progress progress;
    struct cli_sent sent;
    int64_t batch_rows;
    uint64_t read;
};

/* Of a zeroed one; to be closed in any case. The domain is the verb's first argument. */
enum poly_status cli_load_open(struct cli_load *load, struct cli *cli, const char *path,
                               const struct cli_format *format, struct poly_error *err);
/* All of it, with a bar, and a line about it at the end. */
enum poly_status cli_load_run(struct cli_load *load, struct poly_error *err);
void cli_load_close(struct cli_load *load);

#endif
