/*
 * The one road from a verb to Polystore: an operation by name, its parameters,
 * a body. When no daemon has the data folder, the client opens it and calls
 * the table of operations; when one has, or --server says so, the same request
 * goes over HTTP. The answers are the same bytes.
 */
#ifndef POLY_CLI_CLIENT_H
#define POLY_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "api/api.h"
#include "base/buffer.h"

struct cli_client;

struct cli_place {
    const char *config;   /* file; NULL: polystore.yaml where there is one */
    const char *data;     /* folder; NULL: as the configuration says */
    const char *server;   /* base URL; NULL: found by the data folder */
    const char *key_file; /* NULL: $POLYSTORE_KEY, or admin.key in the data folder */
    const char *ca;       /* file with certificates to trust; NULL: the system's */
    const char *tenant;   /* NULL: none */
    bool create;          /* the data folder may be made */
};

/* POLY_NOT_FOUND: there is no Polystore here. POLY_UNAVAILABLE: the folder is taken. */
enum poly_status cli_client_open(const struct cli_place *place, struct cli_client **client,
                                 struct poly_error *err);
/* A second road to the same place, for another thread. The first must outlive it. */
enum poly_status cli_client_clone(struct cli_client *client, struct cli_client **clone,
                                  struct poly_error *err);
void cli_client_close(struct cli_client *client); /* NULL is accepted */
bool cli_client_remote(const struct cli_client *client);

/* Returns false to stop. */
typedef bool cli_bytes_fn(void *arg, const void *bytes, size_t size);

struct cli_request {
    const char *operation; /* "records.get" */
    struct api_parameter parameters[API_PARAMETERS_MAX];
    size_t parameter_count;
    const char *body; /* NULL: none */
    size_t body_size;
    const char *token, *consistency, *idempotency_key, *if_match, *if_none_match;
    const char *last_event_id;
    cli_bytes_fn *receive; /* gets a good answer piece by piece; NULL: it goes to answer->body */
    void *arg;
};

/* Adds a parameter; value NULL: adds nothing. Both must live until the call. */
void cli_parameter(struct cli_request *request, const char *name, const char *value);

enum { CLI_TAIL = 8192 };

struct cli_answer {
    char token[48]; /* empty: none */
    uint64_t version;
    bool stale;
    struct poly_buffer body; /* give back with poly_buffer_release() */
    char tail[CLI_TAIL];     /* the last bytes that receive got */
    size_t tail_size;
};

/* answer is made by the call, whatever it returns. */
enum poly_status cli_client_call(struct cli_client *client, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err);

/* --- shared by both roads --- */

/* A piece of a good answer arrives: to receive or into the body. False: stop. */
bool cli_answer_add(const struct cli_request *request, struct cli_answer *answer, const void *bytes,
                    size_t size);
/* A problem document into err; http counts when it is none of ours. */
enum poly_status cli_problem(const char *text, size_t size, int http, struct poly_error *err);
/* An error that came after the answer had begun; POLY_OK: none. */
enum poly_status cli_answer_problem(const struct cli_request *request,
                                    const struct cli_answer *answer, struct poly_error *err);

struct cli_direct;
enum poly_status cli_direct_open(const struct poly_options *options,
                                 const struct poly_session_options *session,
                                 struct cli_direct **direct, struct poly_error *err);
enum poly_status cli_direct_clone(struct cli_direct *direct, struct cli_direct **clone,
                                  struct poly_error *err);
void cli_direct_close(struct cli_direct *direct);
enum poly_status cli_direct_call(struct cli_direct *direct, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err);

struct cli_remote;
struct cli_target {
    const char *url;    /* "http://127.0.0.1:7430" */
    const char *key;    /* NULL: none */
    const char *tenant; /* NULL: none */
    const char *ca;     /* file of certificates to trust; NULL: the system's */
    bool pinned;        /* ca is the server's very own: its name does not matter */
};
enum poly_status cli_remote_open(const struct cli_target *target, struct cli_remote **remote,
                                 struct poly_error *err);
enum poly_status cli_remote_clone(const struct cli_remote *remote, struct cli_remote **clone,
                                  struct poly_error *err);
void cli_remote_close(struct cli_remote *remote);
enum poly_status cli_remote_call(struct cli_remote *remote, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err);

#endif
