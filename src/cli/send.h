/* Batches of puts, sent while the next ones are read. */
#ifndef POLY_CLI_SEND_H
#define POLY_CLI_SEND_H

#include "cli/cli.h"

enum { CLI_BATCH_ROWS = 1000 };

struct cli_batch {
    struct poly_buffer body; /* {"operations": […]} */
    size_t count;
    const char *unit;               /* what lines are: "vector"; NULL: "line" */
    uint64_t lines[CLI_BATCH_ROWS]; /* where each row began */
};

struct cli_sent {
    uint64_t rows;    /* committed */
    uint64_t changed; /* of these: the others were there as they are */
    uint64_t position;
    char token[48]; /* of the last change */
};

struct cli_sender;

/* lanes: 1 keeps the order of batches; 2 sends two at a time. The client must outlive it. */
enum poly_status cli_sender_open(struct cli_client *client, int lanes, struct cli_sender **sender,
                                 struct poly_error *err);
/* Takes the batch's body and gives an empty one back. Waits when all lanes are busy. A failure of
 * any batch before is returned here. */
enum poly_status cli_sender_send(struct cli_sender *sender, struct cli_batch *batch,
                                 struct poly_error *err);
/* Waits for what is under way. sent is filled in any case. */
enum poly_status cli_sender_finish(struct cli_sender *sender, struct cli_sent *sent,
                                   struct poly_error *err);
void cli_sender_close(struct cli_sender *sender); /* after finish; NULL is accepted */

#endif
