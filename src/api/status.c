/*
 * Printers of the one status report: JSON, liveness, readiness, metrics. None
 * of them decides anything by itself.
 */
#include "api/handlers.h"

#include <math.h>

#include "api/server.h"
#include "base/limits.h"
#include "base/status.h"

enum { US = 1000000, REASON_MAX = 1024 };

static double seconds(int64_t microseconds)
{
    return (double)microseconds / US;
}

static void put_state(struct poly_buffer *out, enum poly_state state)
{
    api_put_text(out, "state", poly_text(poly_state_name(state)));
}

static void print_pool(struct poly_buffer *out, const struct poly_pool_status *pool)
{
    if (pool == NULL)
        return;
    api_name(out, "pool");
    poly_buffer_char(out, '{');
#define ONE(member, kind, meaning) api_put_integer(out, #member, (uint64_t)pool->member);
    API_POOL_COUNTS(ONE)
#undef ONE
#define ONE(member, kind, meaning) api_put_number(out, #member "_seconds", seconds(pool->member));
    API_POOL_TIMES(ONE)
#undef ONE
    poly_buffer_char(out, '}');
}

static void print_projection(struct poly_buffer *out, const struct poly_projection_status *p)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "store", p->store);
    api_put_text(out, "driver", p->driver);
    api_put_bool(out, "follower", p->follower);
    put_state(out, p->state);
    api_put_integer(out, "generation", p->generation);
    api_put_integer(out, "previous", p->previous);
    api_put_integer(out, "building", p->building);
    api_put_integer(out, "applied", p->applied);
    api_put_integer(out, "building_applied", p->building_applied);
    api_put_integer(out, "lag_records", p->lag_records);
    api_put_number(out, "lag_seconds", seconds(p->lag_us));
    api_put_integer(out, "documents", p->documents);
    if (p->opened < 1)
        api_put_number(out, "opened", p->opened);
    api_put_integer(out, "skipped", p->skipped);
    api_put_time(out, "checked", p->checked);
    api_put_some(out, "error", p->error);
    api_put_time(out, "error_time", p->error_time);
    if (p->error_position != 0)
        api_put_integer(out, "error_position", p->error_position);
    print_pool(out, p->pool);
    poly_buffer_char(out, '}');
}

static void print_subscription(struct poly_buffer *out, const struct poly_subscription_status *s)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "name", s->name);
    api_put_some(out, "tenant", s->tenant);
    api_put_integer(out, "acknowledged", s->acknowledged);
    api_put_integer(out, "lag_records", s->lag_records);
    api_put_bool(out, "open", s->open);
    poly_buffer_char(out, '}');
}

static void print_domain(struct poly_buffer *out, const struct poly_domain_status *d)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "name", d->name);
    api_put_text(out, "owner", d->owner);
    api_put_text(out, "source", d->source);
    api_put_some(out, "tenant", d->tenant);
    api_put_bool(out, "search", d->search);
    api_put_integer(out, "vectors", d->vectors);
    api_put_some(out, "problem", d->problem);
    poly_buffer_char(out, '}');
}

static void print_view(struct poly_buffer *out, const struct poly_view_status *v)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "name", v->name);
    put_state(out, v->state);
    api_put_integer(out, "position", v->position);
    api_put_number(out, "behind_seconds", seconds(v->behind_us));
    api_put_number(out, "staleness_seconds", seconds(v->staleness_us));
    api_put_bool(out, "within", v->within);
    api_put_integer(out, "refreshes", v->refreshes);
    api_put_time(out, "refreshed", v->refreshed);
    api_put_number(out, "duration_seconds", seconds(v->duration_us));
    api_put_some(out, "error", v->error);
    api_put_time(out, "error_time", v->error_time);
    poly_buffer_char(out, '}');
}

static void print_log(struct poly_buffer *out, const struct poly_status_report *report)
{
    put_state(out, report->state);
    api_put_text(out, "instance", report->instance);
    api_put_text(out, "version", report->version);
    api_put_text(out, "data", report->data);
    api_put_integer(out, "epoch", report->epoch);
    api_put_integer(out, "head", report->head);
    api_put_integer(out, "sealed", report->sealed);
    api_put_time(out, "started", report->started);
    api_put_time(out, "now", report->now);
    api_put_integer(out, "database_bytes", report->database_bytes);
    api_put_integer(out, "wal_bytes", report->wal_bytes);
    api_put_integer(out, "commits", report->commits);
    api_put_integer(out, "requests", report->requests);
    api_put_integer(out, "replays", report->replays);
    api_put_bool(out, "writer_held", report->writer_held);
    api_put_number(out, "writer_held_seconds", seconds(report->writer_held_us));
    api_put_bool(out, "writes_refused", report->writes_refused);
    api_put_some(out, "last_error", report->last_error);
}

static void print_server(struct poly_buffer *out, const struct poly_server_status *s)
{
    if (s == NULL)
        return;
    api_name(out, "server");
    poly_buffer_char(out, '{');
    api_put_bool(out, "up", s->up);
    api_put_time(out, "unreachable_since", s->unreachable_since);
    api_put_bool(out, "answers", s->answers);
    api_put_time(out, "sampled", s->sampled);
    print_pool(out, &s->pool);
#define ONE(member, kind, meaning) api_put_integer(out, #member, (uint64_t)s->member);
    API_SERVER_COUNTS(ONE)
#undef ONE
#define ONE(member, kind, meaning) api_put_number(out, #member "_seconds", seconds(s->member));
    API_SERVER_TIMES(ONE)
#undef ONE
    api_put_text(out, "slow_source", s->slow_source);
    if (!isnan(s->hit_ratio))
        api_put_number(out, "hit_ratio", s->hit_ratio);
    api_put_some(out, "warnings", s->warnings);
    poly_buffer_char(out, '}');
}

static void print_lists(struct poly_buffer *out, const struct poly_status_report *report)
{
    api_name(out, "projections");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < report->projection_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        print_projection(out, &report->projections[i]);
    }
    poly_buffer_char(out, ']');
    api_name(out, "subscriptions");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < report->subscription_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        print_subscription(out, &report->subscriptions[i]);
    }
    poly_buffer_char(out, ']');
    api_name(out, "domains");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < report->domain_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        print_domain(out, &report->domains[i]);
    }
    poly_buffer_char(out, ']');
    api_name(out, "views");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < report->view_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        print_view(out, &report->views[i]);
    }
    poly_buffer_char(out, ']');
    api_embeddings_print(out, report);
}

/* What may name records of other tenants, or places on the machine, is for administrators. */
static bool hide(struct poly_status_report *report, struct poly_arena *arena)
{
    struct poly_projection_status *projections =
        poly_arena_array(arena, report->projection_count + 1, sizeof(*projections));
    struct poly_view_status *views =
        poly_arena_array(arena, report->view_count + 1, sizeof(*views));
    struct poly_embedding_status *embeddings =
        poly_arena_array(arena, report->embedding_count + 1, sizeof(*embeddings));

    if (projections == NULL || views == NULL || embeddings == NULL)
        return false;
    for (size_t i = 0; i < report->projection_count; i++) {
        projections[i] = report->projections[i];
        projections[i].error = poly_text("");
        projections[i].error_position = 0;
    }
    for (size_t i = 0; i < report->view_count; i++) {
        views[i] = report->views[i];
        views[i].error = poly_text("");
    }
    for (size_t i = 0; i < report->embedding_count; i++) {
        embeddings[i] = report->embeddings[i];
        embeddings[i].error = poly_text("");
    }
    report->projections = projections;
    report->views = views;
    report->embeddings = embeddings;
    report->data = report->last_error = poly_text("");
    report->server = NULL;
    return true;
}

enum poly_status api_status(struct api_context *context, struct poly_error *err)
{
    bool admin = (poly_session_rights(context->session) & POLY_RIGHT_ADMIN) != 0;
    struct poly_status_report report;
    enum poly_status status = poly_status_read(context->session, &report, err);

    if (status == POLY_OK && !admin && !hide(&report, context->arena))
        status = poly_no_memory(err);
    if (status != POLY_OK)
        return status;
    poly_buffer_char(&context->out, '{');
    print_log(&context->out, &report);
    print_server(&context->out, report.server);
    print_lists(&context->out, &report);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_live(struct api_context *context, struct poly_error *err)
{
    poly_buffer_text(&context->out, "{\"live\":true}\n");
    return api_answer_finish(context, err);
}

/* Why not, in words that everybody may read; empty: it is. A full disk alone is no reason to send
 * reads elsewhere, nor the write that finds room again; nor is a materialised view that cannot be
 * refreshed, or an embedder that is away. */
static void print_reason(struct poly_buffer *out, const struct poly_status_report *report)
{
    const struct poly_server_status *server = report->server;

    if (server != NULL && !server->up) {
        char since[28];

        poly_json_time(server->unreachable_since, since);
        poly_buffer_printf(out, "the log: its server cannot be reached since %s", since);
        return;
    }
    for (size_t i = 0; i < report->projection_count; i++) {
        const struct poly_projection_status *p = &report->projections[i];

        if (p->state <= POLY_STATE_OPENING) /* it answers, after a while */
            continue;
        poly_buffer_printf(out, "%.*s: %s", (int)p->store.size, p->store.data,
                           poly_state_name(p->state));
        return;
    }
    if (report->state >= POLY_STATE_STOPPED)
        poly_buffer_printf(out, "the log: %s", poly_state_name(report->state));
}

enum poly_status api_ready(struct api_context *context, struct poly_error *err)
{
    struct poly_status_report report;
    enum poly_status status = poly_status_read(context->session, &report, err);

    if (status != POLY_OK)
        return status;

    struct poly_buffer reason;

    poly_buffer_init(&reason, REASON_MAX);
    print_reason(&reason, &report);

    bool ready = poly_buffer_ok(&reason) && reason.size == 0;

    context->head.http = ready ? 200 : 503;
    poly_buffer_char(&context->out, '{');
    api_put_bool(&context->out, "ready", ready);
    api_put_bool(&context->out, "writes_refused", report.writes_refused);
    put_state(&context->out, report.state);
    if (!ready)
        api_put_text(&context->out, "reason", (struct poly_text){reason.data, reason.size});
    poly_buffer_release(&reason);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_openapi_json(struct api_context *context, struct poly_error *err)
{
    api_openapi(&context->out, NULL);
    return api_answer_finish(context, err);
}

/* --- metrics --- */

static void head(struct poly_buffer *out, const char *name, const char *type, const char *help)
{
    poly_buffer_printf(out, "# HELP polystore_%s %s\n# TYPE polystore_%s %s\n", name, help, name,
                       type);
}

static void single(struct poly_buffer *out, const char *name, const char *type, const char *help,
                   double value)
{
    head(out, name, type, help);
    poly_buffer_printf(out, "polystore_%s ", name);
    poly_json_number(out, value);
    poly_buffer_char(out, '\n');
}

/* Backslash, quote and line break are escaped: what Prometheus' text form asks for. */
void api_put_label(struct poly_buffer *out, const char *name, struct poly_text value)
{
    poly_buffer_printf(out, "%s=\"", name);
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '\\' || value.data[i] == '"')
            poly_buffer_char(out, '\\');
        if (value.data[i] == '\n')
            poly_buffer_text(out, "\\n");
        else
            poly_buffer_char(out, value.data[i]);
    }
    poly_buffer_char(out, '"');
}

/* One line for each projection, of a value that get() takes out of it. */
typedef double projection_value_fn(const struct poly_projection_status *p);

static double value_applied(const struct poly_projection_status *p)
{
    return (double)p->applied;
}
static double value_lag(const struct poly_projection_status *p)
{
    return (double)p->lag_records;
}
static double value_lag_seconds(const struct poly_projection_status *p)
{
    return seconds(p->lag_us);
}
static double value_documents(const struct poly_projection_status *p)
{
    return (double)p->documents;
}
static double value_opened(const struct poly_projection_status *p)
{
    return p->opened;
}
static double value_skipped(const struct poly_projection_status *p)
{
    return (double)p->skipped;
}
static double value_generation(const struct poly_projection_status *p)
{
    return (double)p->generation;
}
static double value_checked(const struct poly_projection_status *p)
{
    return seconds(p->checked);
}

static const struct {
    const char *name, *type, *help;
    projection_value_fn *get;
} projection_metrics[] = {
    {"projection_applied_position", "gauge", "Everything up to here is applied.", value_applied},
    {"projection_lag_records", "gauge", "Records that are not applied.", value_lag},
    {"projection_lag_seconds", "gauge", "Age of the oldest one of them.", value_lag_seconds},
    {"projection_documents", "gauge", "Documents in the store.", value_documents},
    {"projection_opened_ratio", "gauge", "Share of its saved index that has been read.",
     value_opened},
    {"projection_skipped_total", "counter", "Records an operator has left out.", value_skipped},
    {"projection_generation", "gauge", "Generation that serves.", value_generation},
    {"projection_checked_timestamp_seconds", "gauge", "When it last applied or looked.",
     value_checked},
};

static void projection_lines(struct poly_buffer *out, const struct poly_status_report *report)
{
    for (size_t m = 0; m < sizeof(projection_metrics) / sizeof(projection_metrics[0]); m++) {
        const char *name = projection_metrics[m].name;

        head(out, name, projection_metrics[m].type, projection_metrics[m].help);
        for (size_t i = 0; i < report->projection_count; i++) {
            const struct poly_projection_status *p = &report->projections[i];

            poly_buffer_printf(out, "polystore_%s{", name);
            api_put_label(out, "store", p->store);
            poly_buffer_char(out, ',');
            api_put_label(out, "driver", p->driver);
            poly_buffer_text(out, "} ");
            poly_json_number(out, projection_metrics[m].get(p));
            poly_buffer_char(out, '\n');
        }
    }
}

/* A state as a set of 0 and 1: what alerts are easily written on. by: "store", or NULL. */
static void state_lines(struct poly_buffer *out, const char *metric, const char *by,
                        struct poly_text name, enum poly_state now)
{
    for (int state = POLY_STATE_OK; state <= POLY_STATE_FAILED; state++) {
        poly_buffer_printf(out, "polystore_%s{", metric);
        if (by != NULL) {
            api_put_label(out, by, name);
            poly_buffer_char(out, ',');
        }
        api_put_label(out, "state", poly_text(poly_state_name((enum poly_state)state)));
        poly_buffer_printf(out, "} %d\n", now == (enum poly_state)state);
    }
}

static const struct {
    const char *name, *type, *help;
} view_metrics[] = {
    {"view_position", "gauge", "The materialised view has every change up to here."},
    {"view_behind_seconds", "gauge", "Age of the oldest change that it has not."},
    {"view_staleness_seconds", "gauge", "How old it may be."},
    {"view_within", "gauge", "1 when it is not older than that."},
    {"view_refreshes_total", "counter", "Refreshes, ever."},
    {"view_refresh_seconds", "gauge", "How long the last one took."},
};

static void view_lines(struct poly_buffer *out, const struct poly_status_report *report)
{
    for (size_t m = 0; m < sizeof(view_metrics) / sizeof(view_metrics[0]); m++) {
        head(out, view_metrics[m].name, view_metrics[m].type, view_metrics[m].help);
        for (size_t i = 0; i < report->view_count; i++) {
            const struct poly_view_status *v = &report->views[i];
            const double values[] = {(double)v->position,      seconds(v->behind_us),
                                     seconds(v->staleness_us), v->within,
                                     (double)v->refreshes,     seconds(v->duration_us)};

            poly_buffer_printf(out, "polystore_%s{", view_metrics[m].name);
            api_put_label(out, "view", v->name);
            poly_buffer_text(out, "} ");
            poly_json_number(out, values[m]);
            poly_buffer_char(out, '\n');
        }
    }
    head(out, "view_state", "gauge", "1 for the state it is in.");
    for (size_t i = 0; i < report->view_count; i++)
        state_lines(out, "view_state", "view", report->views[i].name, report->views[i].state);
}

static void subscription_lines(struct poly_buffer *out, const struct poly_status_report *report)
{
    head(out, "subscription_lag_records", "gauge", "Records that are not acknowledged.");
    for (size_t i = 0; i < report->subscription_count; i++) {
        const struct poly_subscription_status *s = &report->subscriptions[i];

        poly_buffer_text(out, "polystore_subscription_lag_records{");
        api_put_label(out, "name", s->name);
        poly_buffer_char(out, ',');
        api_put_label(out, "tenant", s->tenant);
        poly_buffer_text(out, "} ");
        poly_json_number(out, (double)s->lag_records);
        poly_buffer_char(out, '\n');
    }
}

/* Of each store that has a server of its own. */
static void pool_line(struct poly_buffer *out, const struct poly_projection_status *p,
                      const char *name, double value)
{
    poly_buffer_printf(out, "polystore_projection_pool_%s{", name);
    api_put_label(out, "store", p->store);
    poly_buffer_char(out, ',');
    api_put_label(out, "driver", p->driver);
    poly_buffer_text(out, "} ");
    poly_json_number(out, value);
    poly_buffer_char(out, '\n');
}

static void pool_lines(struct poly_buffer *out, const struct poly_status_report *report)
{
#define ONE(member, kind, meaning)                                                                 \
    head(out, "projection_pool_" #member, #kind, meaning);                                         \
    for (size_t i = 0; i < report->projection_count; i++)                                          \
        if (report->projections[i].pool != NULL)                                                   \
            pool_line(out, &report->projections[i], #member,                                       \
                      (double)report->projections[i].pool->member);
    API_POOL_COUNTS(ONE)
#undef ONE
#define ONE(member, kind, meaning)                                                                 \
    head(out, "projection_pool_" #member "_seconds", #kind, meaning);                              \
    for (size_t i = 0; i < report->projection_count; i++)                                          \
        if (report->projections[i].pool != NULL)                                                   \
            pool_line(out, &report->projections[i], #member "_seconds",                            \
                      seconds(report->projections[i].pool->member));
    API_POOL_TIMES(ONE)
#undef ONE
}

static void server_lines(struct poly_buffer *out, const struct poly_server_status *s)
{
    if (s == NULL)
        return;
    single(out, "server_up", "gauge", "1 when the server can be reached.", s->up);
    single(out, "server_answers", "gauge", "1 when it has said its numbers now.", s->answers);
    single(out, "server_sample_timestamp_seconds", "gauge", "When it said them; 0: never.",
           seconds(s->sampled));
#define ONE(member, kind, meaning)                                                                 \
    single(out, "server_pool_" #member, #kind, meaning, (double)s->pool.member);
    API_POOL_COUNTS(ONE)
#undef ONE
#define ONE(member, kind, meaning)                                                                 \
    single(out, "server_pool_" #member "_seconds", #kind, meaning, seconds(s->pool.member));
    API_POOL_TIMES(ONE)
#undef ONE
#define ONE(member, kind, meaning)                                                                 \
    single(out, "server_" #member, #kind, meaning, (double)s->member);
    API_SERVER_COUNTS(ONE)
#undef ONE
#define ONE(member, kind, meaning)                                                                 \
    single(out, "server_" #member "_seconds", #kind, meaning, seconds(s->member));
    API_SERVER_TIMES(ONE)
#undef ONE
    if (!isnan(s->hit_ratio))
        single(out, "server_hit_ratio", "gauge", "what the server found in its buffers",
               s->hit_ratio);
}

static void log_lines(struct poly_buffer *out, const struct poly_status_report *r)
{
    server_lines(out, r->server);
    single(out, "log_head_position", "gauge", "Position of the last record.", (double)r->head);
    single(out, "log_sealed_position", "gauge", "Position of the last seal.", (double)r->sealed);
    single(out, "log_epoch", "gauge", "Changes with every restore.", (double)r->epoch);
    single(out, "start_timestamp_seconds", "gauge", "When it started.", seconds(r->started));
    single(out, "database_bytes", "gauge", "Size of the database.", (double)r->database_bytes);
    single(out, "wal_bytes", "gauge", "Size of the write-ahead log.", (double)r->wal_bytes);
    single(out, "commits_total", "counter", "Group commits.", (double)r->commits);
    single(out, "transactions_total", "counter", "Transactions in them.", (double)r->requests);
    single(out, "replays_total", "counter", "Answered from an idempotency key.",
           (double)r->replays);
    single(out, "writes_refused", "gauge", "1 when the last writes were.", r->writes_refused);
    single(out, "writer_held_seconds", "gauge", "How long an interactive transaction has it.",
           seconds(r->writer_held_us));
}

enum poly_status api_metrics(struct poly_session *session, struct poly_buffer *out,
                             struct poly_error *err)
{
    struct poly_status_report report;
    enum poly_status status = poly_status_read(session, &report, err);

    if (status != POLY_OK)
        return status;
    head(out, "state", "gauge", "1 for the state it is in.");
    state_lines(out, "state", NULL, poly_text(""), report.state);
    log_lines(out, &report);
    head(out, "projection_state", "gauge", "1 for the state it is in.");
    for (size_t i = 0; i < report.projection_count; i++)
        state_lines(out, "projection_state", "store", report.projections[i].store,
                    report.projections[i].state);
    projection_lines(out, &report);
    pool_lines(out, &report);
    subscription_lines(out, &report);
    view_lines(out, &report);
    api_embeddings_metrics(out, &report);
    status = api_vector_metrics(session, out, err);
    if (status != POLY_OK)
        return status;
    return poly_buffer_ok(out) ? POLY_OK : poly_no_memory(err);
}

enum poly_status api_metrics_text(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = api_metrics(context->session, &context->out, err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}
