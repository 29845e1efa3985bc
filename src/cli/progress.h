/* A bar on stderr for long work, only where somebody sees it: on a terminal, and not --quiet. */
#ifndef POLY_CLI_PROGRESS_H
#define POLY_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
    const char *what; /* "import"; NULL: nothing is shown */
    int64_t started, next;
    bool shown;
};

void cli_progress_open(struct cli_progress *progress, const char *what, bool quiet);
/* total 0: not known. count: things done, for the rate. May be called as often as one likes. */
void cli_progress_tell(struct cli_progress *progress, uint64_t done, uint64_t total,
                       uint64_t count);
void cli_progress_close(struct cli_progress *progress); /* clears the line */

/* The bar itself, without the carriage return; at most size - 1 bytes. */
void cli_progress_format(char *text, int size, uint64_t done, uint64_t total, int width);

#endif
