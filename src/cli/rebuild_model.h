/* A change of model, in its files: verb_rebuild_model.c has the verb. */
#ifndef POLY_CLI_REBUILD_MODEL_H
#define POLY_CLI_REBUILD_MODEL_H

#include <jansson.h>

#include "cli/cli.h"

/* *answer: what it says; give it back with json_decref(). */
enum poly_status cli_rebuild_swap(struct cli *cli, bool back, json_t **answer,
                                  struct poly_error *err);

/* --- verb_rebuild_embed.c --- */

/* Does an embedder make the vectors, those that serve or those to go back to? */
enum poly_status cli_rebuild_is_embedded(struct cli *cli, bool back, bool *embedded,
                                         struct poly_error *err);
/* Waits until all are made, and swaps them in. */
enum poly_status cli_rebuild_watch(struct cli *cli, bool back, json_t **swapped,
                                   struct poly_error *err);

#endif
