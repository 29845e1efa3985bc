/*
 * One row of counters for each operation of the table, and one for requests
 * that found none. Statuses that are not listed are counted as "other", so
 * that nothing a client sends can make a new series.
 */
#include "server/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/log.h"
#include "server/server.h"
#include "server/worker.h"

static const int statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412,
                               413, 415, 428, 429, 431, 500, 501, 503, 504, 507};
static const int64_t bounds[] = {50,    100,   250,    500,    1000,   2500,    5000,   10000,
                                 25000, 50000, 100000, 250000, 500000, 1000000, 5000000};
enum {
    STATUSES = sizeof(statuses) / sizeof(statuses[0]),
    BOUNDS = sizeof(bounds) / sizeof(bounds[0])
};

struct row {
    atomic_ullong by_status[STATUSES + 1];
    atomic_ullong by_time[BOUNDS + 1];
    atomic_ullong microseconds;
};

struct server_metrics {
    size_t operations;
    struct row rows[]; /* operations + 1 */
};

struct server_metrics *server_metrics_new(void)
{
    size_t n = 0;
    while (api_operations[n].name != NULL)
        n++;
    struct server_metrics *metrics = calloc(1, sizeof(*metrics) + (n + 1) * sizeof(struct row));
    if (metrics != NULL)
        metrics->operations = n;
    return metrics;
}

void server_metrics_free(struct server_metrics *metrics)
{
    free(metrics);
}

static void add(atomic_ullong *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void server_metrics_count(struct server_metrics *metrics, const struct api_operation *operation,
                          int http, int64_t microseconds)
{
    size_t i = operation == NULL ? metrics->operations : (size_t)(operation - api_operations);
    struct row *row = &metrics->rows[i];
    size_t status = 0, bound = 0;

    while (status < STATUSES && statuses[status] != http)
        status++;
    while (bound < BOUNDS && microseconds > bounds[bound])
        bound++;
    add(&row->by_status[status], 1);
    add(&row->by_time[bound], 1);
    add(&row->microseconds, (uint64_t)microseconds);
}

static const char *row_name(struct server_metrics *metrics, size_t i)
{
    return i < metrics->operations ? api_operations[i].name : "none";
}

static void print_requests(struct server_metrics *metrics, struct poly_buffer *out)
{
    poly_buffer_text(out, "# HELP polystore_http_requests_total Requests answered.\n"
                          "# TYPE polystore_http_requests_total counter\n");
    for (size_t i = 0; i <= metrics->operations; i++)
        for (size_t s = 0; s <= STATUSES; s++) {
            uint64_t n = get(&metrics->rows[i].by_status[s]);
            char status[8] = "other";
            if (n == 0)
                continue;
            if (s < STATUSES)
                snprintf(status, sizeof(status), "%d", statuses[s]);
            poly_buffer_printf(out,
                               "polystore_http_requests_total{operation=\"%s\",status=\"%s\"} "
                               "%" PRIu64 "\n",
                               row_name(metrics, i), status, n);
        }
}

static void print_histogram(struct row *row, const char *name, struct poly_buffer *out)
{
    uint64_t sum = 0;
    for (size_t b = 0; b < BOUNDS; b++) {
        sum += get(&row->by_time[b]);
        poly_buffer_printf(out,
                           "polystore_http_request_seconds_bucket{operation=\"%s\",le=\"%g\"} "
                           "%" PRIu64 "\n",
                           name, (double)bounds[b] / 1e6, sum);
    }
    sum += get(&row->by_time[BOUNDS]);
    poly_buffer_printf(out,
                       "polystore_http_request_seconds_bucket{operation=\"%s\",le=\"+Inf\"} "
                       "%" PRIu64 "\n"
                       "polystore_http_request_seconds_sum{operation=\"%s\"} %.6f\n"
                       "polystore_http_request_seconds_count{operation=\"%s\"} %" PRIu64 "\n",
                       name, sum, name, (double)get(&row->microseconds) / 1e6, name, sum);
}

static void print_times(struct server_metrics *metrics, struct poly_buffer *out)
{
    poly_buffer_text(out, "# HELP polystore_http_request_seconds Time from the headers of a "
                          "request to the end of its answer.\n"
                          "# TYPE polystore_http_request_seconds histogram\n");
    for (size_t i = 0; i <= metrics->operations; i++) {
        struct row *row = &metrics->rows[i];
        bool used = false;
        for (size_t b = 0; b <= BOUNDS && !used; b++)
            used = get(&row->by_time[b]) > 0;
        if (used)
            print_histogram(row, row_name(metrics, i), out);
    }
}

static void print_gauge(struct poly_buffer *out, const char *name, const char *help, double value)
{
    poly_buffer_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.17g\n", name, help, name, name,
                       value);
}

static void print_counter(struct poly_buffer *out, const char *name, const char *help, double value)
{
    poly_buffer_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %.17g\n", name, help, name, name,
                       value);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void server_metrics_print(struct server *server, struct poly_buffer *out)
{
    struct server_worker_counts workers = server_workers_count(server->workers);

    print_requests(server->metrics, out);
    print_times(server->metrics, out);
    print_gauge(out, "polystore_http_connections", "Open connections.",
                atomic_load(&server->connections));
    print_gauge(out, "polystore_http_in_flight", "Requests that are being served.",
                atomic_load(&server->in_flight));
    print_gauge(out, "polystore_http_held_bytes", "Bodies and answers held in memory.",
                (double)atomic_load(&server->bytes));
    print_gauge(out, "polystore_http_streams", "Open event streams.", (double)workers.streams);
    print_gauge(out, "polystore_http_workers", "Threads for long requests.",
                (double)workers.threads);
    print_gauge(out, "polystore_http_waiting", "Long requests that wait for a thread.",
                (double)workers.waiting);
    print_counter(out, "polystore_log_lines_dropped_total", "Log lines that found no room.",
                  (double)server_log_dropped(server->log));
    print_gauge(out, "process_resident_memory_bytes", "Resident memory of the daemon.",
                resident_bytes());
    print_counter(out, "process_cpu_seconds_total", "Processor time of the daemon.", cpu_seconds());
}
