/* Answers of JSON lines with progress in between: rebuild, log verify. */
#ifndef POLY_CLI_LINES_H
#define POLY_CLI_LINES_H

#include "cli/cli.h"

/*
 * Sends with a bar named what; the last line of the answer, parsed, is *last. Every line that has
 * "done" and "total" moves the bar. With --json the last line is printed.
 */
enum poly_status cli_ask_lines(struct cli *cli, struct cli_request *request, const char *what,
                               json_t **last, struct poly_error *err);

#endif
