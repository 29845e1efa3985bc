/* Records of the log as they come, for subscribe and log tail --follow. */
#ifndef POLY_CLI_FOLLOW_H
#define POLY_CLI_FOLLOW_H

#include "cli/cli.h"

struct cli_follow {
    const char *name;  /* of the subscription; NULL: none */
    const char *after; /* position to begin after; NULL: the beginning */
    bool acknowledge;  /* after printing; named ones only */
};

/* Prints until interrupted, or until --limit is reached. --domain and --type choose. */
enum poly_status cli_follow(struct cli *cli, const struct cli_follow *follow,
                            struct poly_error *err);

#endif
