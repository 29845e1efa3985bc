/* The words of the command line, into struct cli, by the tables of verbs. */
#ifndef POLY_CLI_OPTIONS_H
#define POLY_CLI_OPTIONS_H

#include "cli/cli.h"

/*
 * Fills cli. POLY_INVALID names the word that is wrong and what would be right. With --help, the
 * number of arguments is not checked.
 */
enum poly_status cli_parse(struct cli *cli, int count, char **words, struct poly_error *err);

#endif
