/* Help, printed from the tables of verbs: text, Markdown, a man page. */
#ifndef POLY_CLI_HELP_H
#define POLY_CLI_HELP_H

#include <stdio.h>

#include "cli/cli.h"

/* verb NULL: the overview. group NULL: verb stands alone. */
void cli_help(FILE *out, const struct cli_verb *group, const struct cli_verb *verb);
void cli_help_markdown(FILE *out); /* docs/cli.md */
void cli_help_man(FILE *out);      /* polystore.1 */

#endif
