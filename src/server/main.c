/*
 * polystored. Everything that can be wrong is found before the first client is
 * let in, and said in one line. Then this thread sleeps until a signal comes,
 * or a write fails as it would if the log could not be written any more: such
 * a daemon stops rather than guesses.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/clock.h"
#include "server/auth.h"
#include "server/http.h"
#include "server/listen.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/rate.h"
#include "server/server.h"
#include "server/start.h"
#include "server/tls.h"
#include "server/watch.h"
#include "server/worker.h"

static const char help[] =
    "Usage: polystored [--config FILE] [--data DIR] [--listen ADDRESS:PORT]\n"
    "Serves a Polystore over HTTP.\n"
    "\n"
    "  --config FILE          configuration; without it polystore.yaml in this folder, if any\n"
    "  --data DIR             data folder, instead of the configuration's\n"
    "  --listen ADDRESS:PORT  where to listen, instead of the configuration's; port 0: a free one\n"
    "  --check                check the configuration, and exit\n"
    "  --help, --version\n"
    "\n"
    "Example:\n"
    "  polystored --data ./data --listen 127.0.0.1:7430\n"
    "  curl -H \"Authorization: Bearer $(cat ./data/admin.key)\" http://127.0.0.1:7430/v1/status\n"
    "\n"
    "SIGTERM finishes what is under way, for 10 s at most; a second one ends it at once.\n"
    "docs/operations.md has the rest.\n";

struct arguments {
    const char *config, *data, *listen;
    bool check;
};

struct daemon {
    struct arguments arguments;
    struct poly_settings *config;
    struct server_address address;
    int socket, signals;
    struct server server;
};

static int failure(const struct poly_error *err)
{
    fprintf(stderr, "polystored: %s\n", err->message);
    return poly_status_exit(err->status);
}

void server_wake(struct server *server)
{
    uint64_t one = 1;
    ssize_t written = write(server->wake, &one, sizeof(one));
    (void)written; /* full: it is awake already */
}

/* --- arguments --- */

/* -1: go on; else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},
        {"listen", required_argument, NULL, 'l'}, {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            arguments->config = optarg;
            break;
        case 'd':
            arguments->data = optarg;
            break;
        case 'l':
            arguments->listen = optarg;
            break;
        case 'k':
            arguments->check = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'v':
            printf("polystored %s\n", poly_version());
            return 0;
        default:
            fputs("polystored: see 'polystored --help'\n", stderr);
            return poly_status_exit(POLY_INVALID);
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "polystored: '%s' is not understood; see 'polystored --help'\n", argv[optind]);
    return poly_status_exit(POLY_INVALID);
}

/* --- configuration --- */

static enum poly_status read_tls(struct daemon *daemon, struct poly_error *err)
{
    const struct poly_settings *config = daemon->config;

    if (config->tls_certificate == NULL && config->tls_key == NULL)
        return POLY_OK;
    if (config->tls_certificate == NULL || config->tls_key == NULL)
        return poly_fail(err, POLY_INVALID, "TLS needs both, listen.tls.certificate "
                                            "and listen.tls.key");
    return server_tls_open(config->tls_certificate, config->tls_key, &daemon->server.tls, err);
}

static enum poly_status read_settings(struct daemon *daemon, struct poly_error *err)
{
    struct arguments *arguments = &daemon->arguments;
    enum poly_status status;

    if (arguments->config == NULL && access("polystore.yaml", F_OK) == 0)
        arguments->config = "polystore.yaml";
    const struct poly_options options = {.config_file = arguments->config,
                                         .data = arguments->data};
    status = poly_settings_load(&options, &daemon->config, err);
    if (status == POLY_OK)
        status = server_address_parse(
            arguments->listen != NULL ? arguments->listen : daemon->config->listen_http,
            &daemon->address, err);
    if (status == POLY_OK)
        status = read_tls(daemon, err);
    if (status != POLY_OK)
        return status;
    if (!daemon->address.loopback && daemon->server.tls == NULL &&
        !daemon->config->listen_insecure)
        return poly_fail(err, POLY_INVALID,
                         "listening on %s without TLS would show API keys to the network: set "
                         "listen.tls.certificate and listen.tls.key, or listen.insecure: true",
                         daemon->address.text);
    daemon->server.settings = (struct server_settings){
        .connections_max = daemon->config->connections_max,
        .body_max = (size_t)daemon->config->body_max_kib << 10,
        .request_timeout_ms = daemon->config->request_timeout_ms,
        .rows_max = daemon->config->rows_max,
        .rate_per_tenant = daemon->config->rate_per_tenant,
    };
    return POLY_OK;
}

/* --- start --- */

static enum poly_status open_instance(struct daemon *daemon, struct poly_error *err)
{
    char note[128], path[4096];
    struct poly_options options = {.config_file = daemon->arguments.config,
                                   .data = daemon->arguments.data,
                                   .lock_note = note};
    enum poly_status status;

    snprintf(note, sizeof(note), "daemon %s%s", daemon->server.tls == NULL ? "" : "https://",
             daemon->address.text);
    status = poly_open(&options, &daemon->server.instance, err);
    if (status == POLY_OK)
        status = server_first_key(daemon->server.instance, path, err);
    if (status == POLY_OK && path[0] != '\0')
        server_log_say(daemon->server.log, SERVER_INFO, "first_key",
                       "made an administrator's API key: %s", path);
    return status;
}

static enum poly_status make_parts(struct server *server, struct poly_error *err)
{
    server->auth = server_auth_new(server->instance, server->settings.request_timeout_ms);
    server->metrics = server_metrics_new();
    server->rate =
        server_rate_new(server->settings.rate_per_tenant, server->instance, server->log);
    server->watch = server_watch_new();
    server->workers = server_workers_new();
    return server->auth == NULL || server->metrics == NULL || server->rate == NULL ||
                   server->watch == NULL || server->workers == NULL
               ? poly_no_memory(err)
               : POLY_OK;
}

/* What will go well until there is load. */
static void warn(struct server *server)
{
    struct poly_session_options options = {.rights = POLY_RIGHTS_ALL};
    struct poly_status_report report;
    struct poly_session *session;
    struct poly_error ignored;

    if (poly_session_open(server->instance, &options, &session, &ignored) != POLY_OK)
        return;
    if (poly_status_read(session, &report, &ignored) == POLY_OK && report.server != NULL &&
        report.server->warnings.size > 0)
        server_log_say(server->log, SERVER_WARN, "capacity", "%s", report.server->warnings.data);
    poly_session_close(session);
}

/* What the configuration says, and is so no more: core/model.h. */
static void tell_models(struct server *server)
{
    struct poly_session_options options = {.rights = POLY_RIGHTS_ALL};
    const struct poly_model_status *list;
    struct poly_session *session;
    struct poly_error ignored;
    size_t count = 0;

    if (poly_session_open(server->instance, &options, &session, &ignored) != POLY_OK)
        return;
    if (poly_model_status(session, NULL, &list, &count, &ignored) != POLY_OK)
        count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct poly_model_status *one = &list[i];

        if (one->changes == 0 || (strcmp(one->model.data, one->named.data) == 0 &&
                                  one->dimensions == one->named_dimensions))
            continue;
        server_log_say(server->log, SERVER_WARN, "model",
                       "domain '%s': its vectors are of the model '%s' with %zu dimensions; the "
                       "configuration names '%s' with %zu",
                       one->domain.data, one->model.data, one->dimensions, one->named.data,
                       one->named_dimensions);
    }
    poly_session_close(session);
}

static enum poly_status start(struct daemon *daemon, struct poly_error *err)
{
    struct server *server = &daemon->server;
    enum poly_status status = server_address_bind(&daemon->address, &daemon->socket, err);

    if (status == POLY_OK)
        status = server_log_open(STDERR_FILENO, &server->log, err);
    if (status == POLY_OK)
        status = open_instance(daemon, err);
    if (status == POLY_OK)
        status = make_parts(server, err);
    if (status == POLY_OK)
        status = server_address_listen(&daemon->address, daemon->socket, err);
    if (status == POLY_OK)
        status = server_http_start(server, daemon->socket, err);
    if (status != POLY_OK)
        return status;
    server_log_say(server->log, SERVER_INFO, "start", "polystored %s serves %s://%s",
                   poly_version(), server->tls == NULL ? "http" : "https",
                   daemon->address.text);
    warn(server);
    tell_models(server);
    server_notify("READY=1");
    return POLY_OK;
}

/* --- the end --- */

static void close_parts(struct daemon *daemon)
{
    struct server *server = &daemon->server;

    server_http_stop(server);
    server_workers_free(server->workers);
    server_watch_free(server->watch);
    server_auth_free(server->auth);
    server_rate_free(server->rate);
    server_metrics_free(server->metrics);
    poly_close(server->instance);
    server_log_close(server->log);
    if (daemon->socket >= 0)
        close(daemon->socket);
    server_tls_free(server->tls);
    poly_settings_free(daemon->config);
}

/* Reads one signal; 0: none is there. */
static uint32_t next_signal(int signals)
{
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof(info)) == sizeof(info) ? info.ssi_signo : 0;
}

/* Sleeps until there is a signal, or a part has called server_wake(), or ms are over. */
static uint32_t wait_for_news(struct daemon *daemon, int ms)
{
    struct pollfd fds[] = {{.fd = daemon->signals, .events = POLLIN},
                           {.fd = daemon->server.wake, .events = POLLIN}};
    uint64_t count;

    if (poll(fds, 2, ms) <= 0)
        return 0;
    if (fds[1].revents != 0 && read(daemon->server.wake, &count, sizeof(count)) < 0)
        return 0;
    return fds[0].revents != 0 ? next_signal(daemon->signals) : 0;
}

static bool drain(struct daemon *daemon)
{
    struct server *server = &daemon->server;
    int64_t until = poly_clock_monotonic() + POLY_DRAIN_TIMEOUT_MS * 1000LL;

    while (atomic_load(&server->in_flight) > 0) {
        int64_t left = until - poly_clock_monotonic();
        if (left <= 0)
            return false;
        uint32_t signal = wait_for_news(daemon, (int)(left / 1000) + 1);
        if (signal == SIGTERM || signal == SIGINT)
            _exit(128 + (int)signal);
    }
    return true;
}

/* Returns the exit code. */
static int stop(struct daemon *daemon, int code)
{
    struct server *server = &daemon->server;

    atomic_store(&server->stopping, true);
    server_notify("STOPPING=1");
    server_log_say(server->log, SERVER_INFO, "stop", "finishing what is under way");
    server_http_quiesce(server);
    shutdown(daemon->socket, SHUT_RDWR);
    if (!drain(daemon)) {
        server_log_say(server->log, SERVER_WARN, "stop", "%u requests were not finished in %d s",
                       atomic_load(&server->in_flight), POLY_DRAIN_TIMEOUT_MS / 1000);
        server_log_close(server->log);
        _exit(poly_status_exit(POLY_TIMEOUT)); /* what was acknowledged is on disk */
    }
    close_parts(daemon);
    return code;
}

/* Has the log failed? Then says why. */
static bool log_failed(struct server *server)
{
    struct server_caller caller = {0};
    struct poly_status_report report;
    struct poly_error err;
    bool failed = false;

    if (server_auth_enter_open(server->auth, &caller, &err) != POLY_OK)
        return false;
    if (poly_status_read(caller.session, &report, &err) == POLY_OK &&
        report.state == POLY_STATE_FAILED) {
        failed = true;
        server_log_say(server->log, SERVER_ERROR, "log_failed",
                       "the log cannot be written any more, and this daemon stops: %.*s",
                       (int)report.last_error.size,
                       report.last_error.data == NULL ? "" : report.last_error.data);
    }
    server_auth_leave(server->auth, &caller, true);
    return failed;
}

/* SIGHUP. A mistake in the files costs nobody a connection. */
static void reload(struct server *server)
{
    struct poly_error err;

    if (server->tls == NULL)
        return;
    if (server_tls_reload(server->tls, &err) == POLY_OK)
        server_log_say(server->log, SERVER_INFO, "tls_reloaded",
                       "new connections get the certificate that is there now");
    else
        server_log_say(server->log, SERVER_ERROR, "tls_kept",
                       "the certificate from before is kept: %s", err.message);
}

static int serve(struct daemon *daemon)
{
    struct server *server = &daemon->server;

    for (;;) {
        uint32_t signal = wait_for_news(daemon, -1);
        if (signal == SIGTERM || signal == SIGINT)
            return stop(daemon, 0);
        if (signal == SIGHUP)
            reload(server);
        if (atomic_exchange(&server->suspect, false) && log_failed(server))
            return stop(daemon, poly_status_exit(POLY_UNAVAILABLE));
    }
}

static void prepare_process(struct daemon *daemon)
{
    struct rlimit files;
    sigset_t set;

    umask(077); /* temporary files and sockets too are for the owner's eyes only */
    (void)poly_budget_install(); /* nobody has used SQLite yet */
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024); /* large answers go back to the system at once */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP); /* a terminal that goes away does not end the daemon */
    sigprocmask(SIG_BLOCK, &set, NULL);
    daemon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    daemon->server.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int main(int argc, char **argv)
{
    static struct daemon daemon = {.socket = -1};
    struct poly_error err = {.position = -1};
    int code = parse_arguments(argc, argv, &daemon.arguments);

    if (code >= 0)
        return code;
    if (read_settings(&daemon, &err) != POLY_OK)
        return failure(&err);
    if (daemon.arguments.check) {
        printf("polystored: the configuration is right; it would listen on %s\n",
               daemon.address.text);
        close_parts(&daemon);
        return 0;
    }
    prepare_process(&daemon);
    if (start(&daemon, &err) != POLY_OK) {
        close_parts(&daemon);
        return failure(&err);
    }
    return serve(&daemon);
}
