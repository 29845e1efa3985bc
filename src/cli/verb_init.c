#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/verbs.h"

static const char yaml[] =
    "# Polystore. 'polystore config check' says whether this file is right,\n"
    "# 'polystore config reference' lists every option.\n"
    "\n"
    "# Everything that is stored. One process at a time has this folder.\n"
    "data: data\n"
    "\n"
    "# Plain SQL files NNNN_name.sql, applied in order by 'polystore migrate up'.\n"
    "migrations: migrations\n"
    "\n"
    "# Where polystored answers.\n"
    "listen: {http: \"127.0.0.1:7430\"}\n"
    "\n"
    "domains:\n"
    "  # Records: rows of a table. Each change is in the log, and the search follows it.\n"
    "  notes:\n"
    "    table: notes\n"
    "    # The column that says whose a row is; none: it belongs to everybody.\n"
    "    tenant: none\n"
    "    search:\n"
    "      # Fields with their weights.\n"
    "      fields: {title: 4, body: 1}\n"
    "      filters: [author]\n"
    "\n"
    "  # Events: streams named visit-1, visit-2 …; for ever, never changed.\n"
    "  visit:\n"
    "    stream: visit\n";

static const char sql[] =
    "-- Once applied, a migration is not edited: the next change is the next file.\n"
    "CREATE TABLE notes(\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    title TEXT NOT NULL,\n"
    "    body TEXT,\n"
    "    author TEXT,\n"
    "    tags JSON,\n"
    "    updated TIMESTAMP\n"
    ");\n"
    "CREATE INDEX notes_author ON notes(author);\n";

static enum poly_status make_folder(const char *path, struct poly_error *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID, "folder '%s' cannot be made: %m", path);
}

static enum poly_status write_file(int folder, const char *name, const char *text,
                                   struct poly_error *err)
{
    size_t size = strlen(text);
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool good;

    if (fd < 0)
        return poly_fail(err, POLY_INVALID, "'%s' cannot be made: %m", name);
    good = write(fd, text, size) == (ssize_t)size;
    if (close(fd) != 0 || !good)
        return poly_fail(err, POLY_UNAVAILABLE, "'%s' cannot be written: %m", name);
    return POLY_OK;
}

/* All checks before the first file. */
static enum poly_status check(int folder, struct poly_error *err)
{
    static const char *const names[] = {"polystore.yaml", "migrations", "data"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (faccessat(folder, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return poly_fail(err, POLY_EXISTS,
                             "'%s' is here already; init writes into a new folder only", names[i]);
    return POLY_OK;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    const char *path = cli->argument_count == 0 ? "." : cli->arguments[0];
    enum poly_status status = make_folder(path, err);
    int folder;

    if (status != POLY_OK)
        return status;
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return poly_fail(err, POLY_INVALID, "folder '%s': %m", path);
    status = check(folder, err);
    if (status == POLY_OK && mkdirat(folder, "migrations", 0777) != 0)
        status = poly_fail(err, POLY_INVALID, "folder 'migrations' cannot be made: %m");
    if (status == POLY_OK)
        status = write_file(folder, "migrations/0001_notes.sql", sql, err);
    if (status == POLY_OK)
        status = write_file(folder, "polystore.yaml", yaml, err);
    close(folder);
    if (status != POLY_OK)
        return status;
    if (cli->json)
        printf("{\"files\":[\"polystore.yaml\",\"migrations/0001_notes.sql\"]}\n");
    else
        printf("wrote polystore.yaml and migrations/0001_notes.sql; next:\n"
               "  polystore migrate up\n"
               "  polystore put notes 1 title='First note' body='Hello'\n"
               "  polystore search hello\n");
    return POLY_OK;
}

const struct cli_verb cli_verb_init = {
    .name = "init",
    .arguments = "[FOLDER]",
    .summary = "Write a configuration and a first migration into a new folder",
    .text = "Nothing that is there is overwritten.",
    .examples =
        (const struct cli_example[]){
            {"polystore init shop && cd shop && polystore migrate up", "begin something new"},
            {NULL, NULL},
        },
    .max = 1,
    .run = run,
};
