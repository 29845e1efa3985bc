/*
 * Which road? Opening the data folder is the test: whoever holds its lock has
 * it. Only when that fails is the lock file read, for the address of the
 * daemon that holds it. So no guess about a process can be wrong, and a daemon
 * that starts at this moment is found too.
 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/status.h"

enum { LOCK_WAIT_MS = 5000, PATH_SIZE = 4096, KEY_SIZE = 256 };

static const char default_config[] = "polystore.yaml";

struct cli_client {
    struct cli_direct *direct;
    struct cli_remote *remote;
};

/* What the configuration says. */
struct found {
    char data[PATH_SIZE];
    char certificate[PATH_SIZE]; /* of the daemon; empty: none */
};

void cli_parameter(struct cli_request *request, const char *name, const char *value)
{
    if (value != NULL && request->parameter_count < API_PARAMETERS_MAX)
        request->parameters[request->parameter_count++] = (struct api_parameter){name, value};
}

/* --- answers --- */

bool cli_answer_add(const struct cli_request *request, struct cli_answer *answer, const void *bytes,
                    size_t size)
{
    size_t keep = size < CLI_TAIL ? size : CLI_TAIL;
    size_t stay = answer->tail_size < CLI_TAIL - keep ? answer->tail_size : CLI_TAIL - keep;

    if (request->receive == NULL) {
        poly_buffer_add(&answer->body, bytes, size);
        return poly_buffer_ok(&answer->body);
    }
    memmove(answer->tail, answer->tail + answer->tail_size - stay, stay);
    memcpy(answer->tail + stay, (const char *)bytes + size - keep, keep);
    answer->tail_size = stay + keep;
    return request->receive(request->arg, bytes, size);
}

static enum poly_status status_of(const char *type, int http)
{
    static const char prefix[] = "urn:polystore:error:";
    char kind[24];

    for (int i = 1; i < POLY_STATUS_COUNT; i++) {
        api_status_kind((enum poly_status)i, kind);
        if (strncmp(type, prefix, sizeof(prefix) - 1) == 0 &&
            strcmp(type + sizeof(prefix) - 1, kind) == 0)
            return (enum poly_status)i;
    }
    if (http == 401)
        return POLY_DENIED;
    if (http == 413 || http == 431)
        return POLY_LIMIT;
    if (http == 408)
        return POLY_TIMEOUT;
    for (int i = 1; i < POLY_STATUS_COUNT; i++)
        if (poly_status_http((enum poly_status)i) == http)
            return (enum poly_status)i;
    return http >= 400 && http < 500 ? POLY_INVALID : POLY_UNAVAILABLE;
}

enum poly_status cli_problem(const char *text, size_t size, int http, struct poly_error *err)
{
    json_t *json = size == 0 ? NULL : json_loadb(text, size, 0, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const json_t *position = json_object_get(json, "position");
    enum poly_status status = status_of(type == NULL ? "" : type, http);

    if (detail != NULL)
        poly_fail_at(err, status,
                     json_is_integer(position) ? (int)json_integer_value(position) : -1, "%s",
                     detail);
    else
        poly_fail(err, status, "the server answered %d without saying why", http);
    if (err != NULL)
        err->unknown = json_object_get(json, "outcome") != NULL;
    json_decref(json);
    return status;
}

enum poly_status cli_answer_problem(const struct cli_request *request,
                                    const struct cli_answer *answer, struct poly_error *err)
{
    static const char mark[] = "\"error\":{\"type\":\"urn:polystore:error:";
    const char *tail = request->receive == NULL ? answer->body.data : answer->tail;
    size_t size = request->receive == NULL ? answer->body.size : answer->tail_size;
    const char *at = NULL;

    if (request->receive == NULL && size > CLI_TAIL) {
        tail += size - CLI_TAIL;
        size = CLI_TAIL;
    }
    for (const char *from = tail; size > 0;) {
        const char *next = memmem(from, size - (size_t)(from - tail), mark, sizeof(mark) - 1);

        if (next == NULL)
            break;
        at = next;
        from = next + 1;
    }
    if (at == NULL)
        return POLY_OK;

    /* {…,"error":{problem}} is the end of the answer: what is between is the problem. */
    const char *end = tail + size;

    while (end > at && (end[-1] == '\n' || end[-1] == ' '))
        end--;
    at += strlen("\"error\":");
    if (end - at < 2 || end[-1] != '}')
        return POLY_OK;

    json_t *json = json_loadb(at, (size_t)(end - at) - 1, 0, NULL);

    if (json == NULL)
        return POLY_OK;
    json_decref(json);
    return cli_problem(at, (size_t)(end - at) - 1, 500, err);
}

/* --- where it is --- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static enum poly_status find_data(const struct cli_place *place, struct poly_options *options,
                                  struct found *found, struct poly_error *err)
{
    struct poly_settings *settings;

    options->config_file = place->config;
    options->data = place->data;
    if (options->config_file == NULL && exists(default_config))
        options->config_file = default_config;

    enum poly_status status = poly_settings_load(options, &settings, err);

    if (status != POLY_OK)
        return status;
    snprintf(found->data, sizeof(found->data), "%s", settings->data);
    if (settings->tls_certificate != NULL)
        snprintf(found->certificate, sizeof(found->certificate), "%s", settings->tls_certificate);
    poly_settings_free(settings);
    if (options->config_file == NULL && !exists(found->data) && !place->create)
        return poly_fail(err, POLY_NOT_FOUND,
                         "there is no Polystore here: neither polystore.yaml nor the folder '%s'; "
                         "run 'polystore init', or say where with --config or --data",
                         found->data);
    return POLY_OK;
}

/* "note daemon 127.0.0.1:7430" of the lock file into a URL. false: no daemon has the folder. */
static bool find_daemon(const char *data, char url[KEY_SIZE])
{
    static const char note[] = "note daemon ";
    char path[PATH_SIZE + 8], line[KEY_SIZE];
    bool found = false;

    snprintf(path, sizeof(path), "%s/lock", data);
    FILE *file = fopen(path, "re");

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        found = strncmp(line, note, sizeof(note) - 1) == 0;
        if (found && strstr(line, "://") != NULL)
            snprintf(url, KEY_SIZE, "%s", line + sizeof(note) - 1);
        else if (found)
            snprintf(url, KEY_SIZE, "http://%s", line + sizeof(note) - 1);
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static enum poly_status read_key(const char *path, bool wanted, char key[KEY_SIZE],
                                 struct poly_error *err)
{
    FILE *file = fopen(path, "re");

    key[0] = '\0';
    if (file == NULL && wanted)
        return poly_fail(err, POLY_NOT_FOUND, "key file '%s': %s", path, strerror(errno));
    if (file == NULL)
        return POLY_OK;
    if (fgets(key, KEY_SIZE, file) == NULL)
        key[0] = '\0';
    fclose(file);
    key[strcspn(key, " \t\r\n")] = '\0';
    if (key[0] == '\0' && wanted)
        return poly_fail(err, POLY_INVALID, "key file '%s' is empty; it must hold one API key",
                         path);
    return POLY_OK;
}

static enum poly_status find_key(const struct cli_place *place, const char *data,
                                 char key[KEY_SIZE], struct poly_error *err)
{
    const char *environment = getenv("POLYSTORE_KEY");
    char path[PATH_SIZE + 16];

    if (place->key_file != NULL)
        return read_key(place->key_file, true, key, err);
    if (environment != NULL && environment[0] != '\0') {
        snprintf(key, KEY_SIZE, "%s", environment);
        return POLY_OK;
    }
    snprintf(path, sizeof(path), "%s/admin.key", data);
    return read_key(path, false, key, err);
}

static enum poly_status open_remote(const struct cli_place *place, const char *url,
                                    const struct found *found, struct cli_remote **remote,
                                    struct poly_error *err)
{
    struct cli_target target = {.url = url, .tenant = place->tenant, .ca = place->ca};
    char key[KEY_SIZE];
    enum poly_status status = find_key(place, found->data, key, err);

    if (status != POLY_OK)
        return status;
    if (key[0] != '\0')
        target.key = key;
    /* The daemon of this folder has the certificate of this configuration, whoever signed it. */
    if (place->server == NULL && place->ca == NULL && found->certificate[0] != '\0') {
        target.ca = found->certificate;
        target.pinned = true;
    }
    return cli_remote_open(&target, remote, err);
}

static enum poly_status open_direct(const struct cli_place *place, const struct found *found,
                                    struct poly_options *options, struct cli_client *client,
                                    struct poly_error *err)
{
    struct poly_session_options session = {
        .tenant = place->tenant,
        .rights = POLY_RIGHTS_ALL,
        .principal = "cli",
    };
    char url[KEY_SIZE];

    enum poly_status status = cli_direct_open(options, &session, &client->direct, err);

    if (status != POLY_UNAVAILABLE)
        return status;
    if (find_daemon(found->data, url))
        return open_remote(place, url, found, &client->remote, err);
    options->lock_wait_ms = LOCK_WAIT_MS;
    return cli_direct_open(options, &session, &client->direct, err);
}

static enum poly_status open_place(const struct cli_place *place, struct cli_client *client,
                                   struct poly_error *err)
{
    struct poly_options options = {.lock_note = "cli"};
    struct found found = {.data = "data"};

    if (place->server != NULL) {
        /* The configuration may be on another machine: it only says where the key might be. */
        struct poly_error ignored;

        if (find_data(place, &options, &found, &ignored) != POLY_OK)
            snprintf(found.data, sizeof(found.data), "%s",
                     place->data == NULL ? "data" : place->data);
        return open_remote(place, place->server, &found, &client->remote, err);
    }
    enum poly_status status = find_data(place, &options, &found, err);

    return status == POLY_OK ? open_direct(place, &found, &options, client, err) : status;
}

enum poly_status cli_client_open(const struct cli_place *place, struct cli_client **client,
                                 struct poly_error *err)
{
    struct cli_client *made = calloc(1, sizeof(*made));
    enum poly_status status = made == NULL ? poly_no_memory(err) : open_place(place, made, err);

    if (status == POLY_OK)
        *client = made;
    else
        free(made);
    return status;
}

enum poly_status cli_client_clone(struct cli_client *client, struct cli_client **clone,
                                  struct poly_error *err)
{
    struct cli_client *made = calloc(1, sizeof(*made));
    enum poly_status status = POLY_OK;

    if (made == NULL)
        return poly_no_memory(err);
    if (client->direct != NULL)
        status = cli_direct_clone(client->direct, &made->direct, err);
    else
        status = cli_remote_clone(client->remote, &made->remote, err);
    if (status == POLY_OK)
        *clone = made;
    else
        free(made);
    return status;
}

void cli_client_close(struct cli_client *client)
{
    if (client == NULL)
        return;
    cli_direct_close(client->direct);
    cli_remote_close(client->remote);
    free(client);
}

bool cli_client_remote(const struct cli_client *client)
{
    return client->remote != NULL;
}

enum poly_status cli_client_call(struct cli_client *client, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err)
{
    static const size_t body_max = (size_t)1024 * 1024 * 1024;
    enum poly_status status;

    *answer = (struct cli_answer){.version = 0};
    poly_buffer_init(&answer->body, body_max);
    if (client->direct != NULL)
        status = cli_direct_call(client->direct, request, answer, err);
    else
        status = cli_remote_call(client->remote, request, answer, err);
    return status == POLY_OK ? cli_answer_problem(request, answer, err) : status;
}
