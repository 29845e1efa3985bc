/*
 * What tests of a whole instance need again and again: folders that come and
 * go, an instance in one, a few writes and reads in one line each.
 */
#ifndef TEST_LAB_H
#define TEST_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore.h"

enum { LAB_PATH = 256 };

/* A new empty folder, in memory where the machine has that. Aborts when there is none to be had. */
void lab_folder_make(char path[LAB_PATH]);
void lab_folder_remove(const char *path); /* with all that is in it */
/* Files of one folder into another, which is made or emptied first. */
void lab_folder_copy(const char *from, const char *to);
/* Calls visit for each file in it. */
void lab_folder_each(const char *folder, void (*visit)(const char *path, void *arg), void *arg);
void lab_file_write(const char *folder, const char *name, const char *text);

/* An instance in the folder with that configuration (NULL: none); aborts with its message when it
 * does not open. lab_try_open() says instead. */
struct poly_instance *lab_open(const char *data, const char *config);
enum poly_status lab_try_open(const char *data, const char *config, struct poly_instance **instance,
                              struct poly_error *err);
/* All rights; tenant NULL: none. */
struct poly_session *lab_session(struct poly_instance *instance, const char *tenant);

/* One event {"n": number} in a transaction of its own. */
enum poly_status lab_append(struct poly_session *session, const char *stream, int64_t expected,
                            int64_t number, struct poly_commit *commit, struct poly_error *err);
/* Number of events in the stream; UINT64_MAX: it cannot be read. */
uint64_t lab_stream_version(struct poly_session *session, const char *stream);

/* Waits until every projection has applied the head of the log. false: one has stopped or failed,
 * or did not get there in ten seconds; why says so. */
bool lab_settled(struct poly_session *session, char *why, size_t size);
/* First bad position of the log, or 0; why says what is bad there. */
uint64_t lab_verify(struct poly_session *session, char *why, size_t size);

/* Runs SQL on the database file of a folder as another program would, through a connection of its
 * own. Returns SQLite's code; message of a failure in why. */
int lab_foreign_sql(const char *data, const char *sql, char *why, size_t size);
/* First column of its first row; -1 when there is none. */
int64_t lab_foreign_number(const char *data, const char *sql);

/* Have they one direction, but for what a kind of number that is kept has rounded? */
bool lab_is_like(const float *found, const float *wanted, size_t dimensions);

/* The tests are to be thorough, not quick. */
bool lab_long(void);

#endif
