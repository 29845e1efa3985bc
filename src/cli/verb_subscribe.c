#include <stdio.h>

#include "cli/follow.h"
#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_follow follow = {
        .name = cli_option(cli, "name"),
        .after = cli_option(cli, "from"),
        .acknowledge = cli_option(cli, "ack") != NULL,
    };

    if (follow.acknowledge && follow.name == NULL)
        return poly_fail(err, POLY_INVALID,
                         "--ack needs --name: only a named subscription keeps "
                         "its position");
    return cli_follow(cli, &follow, err);
}

const struct cli_verb cli_verb_subscribe = {
    .name = "subscribe",
    .summary = "Print records of the log as they come",
    .text = "First what is there, then what comes, until Ctrl-C. With --name and --ack it goes on "
            "next time\n"
            "where it ended; what was printed but not acknowledged comes again.",
    .options =
        (const struct cli_option[]){
            {"name", 'N', "NAME", NULL, "a subscription that keeps its position"},
            {"ack", 'a', NULL, NULL, "acknowledge what was printed"},
            {"from", 'f', "POSITION", NULL, "begin after this position; a name's first time only"},
            {"domain", 'D', "NAME", NULL, "of this domain or category only; may come again"},
            {"type", 'T', "TYPE", NULL, "of this event type only; may come again"},
            {"limit", 'n', "N", NULL, "end after so many"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore subscribe --domain packages --limit 3",
             "three changes, from the beginning"},
            {"polystore subscribe --name mailer --ack --limit 2",
             "two records; run it again for the next two"},
            {NULL, NULL},
        },
    .max = 0,
    .run = run,
};
