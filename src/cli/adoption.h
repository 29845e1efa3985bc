/* What 'adopt --apply' and 'release' share: where, how far, and what became of each table. */
#ifndef POLY_CLI_ADOPTION_H
#define POLY_CLI_ADOPTION_H

#include "cli/cli.h"
#include "cli/progress.h"
#include "polystore.h"

struct cli_adoption {
    struct poly_options options;
    struct poly_adopt_run run;
    struct cli_progress progress;
    char table[160]; /* the progress's, that is being done */
};

/* From the options of the command line, --wait among them. Interrupts end it from here on. */
enum poly_status cli_adoption_open(struct cli *cli, struct cli_adoption *adoption,
                                   struct poly_error *err);
/* Prints, gives the report back, and says whether everything was done. what: "followed". */
enum poly_status cli_adoption_close(struct cli *cli, struct cli_adoption *adoption,
                                    struct poly_adopt_report *report, const char *what,
                                    struct poly_error *err);
/* They work on the database itself. */
enum poly_status cli_adoption_here(const struct cli *cli, struct poly_error *err);

#endif
