/*
 * What a database has, as a configuration that it could be adopted with. A
 * table is judged by the code that will load it, so what is proposed is what
 * will work; whose its rows are and what is worth searching nobody can read
 * from a catalogue, so these are comments for who knows.
 */
#include <ctype.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/limits.h"
#include "core/config.h"
#include "core/config_options.h"
#include "core/lock.h"
#include "stores/relational/adopt.h"

enum { ARENA_MAX = 256 * 1024 * 1024, CONFIG_MAX = POLY_MAX_CONFIG };

struct adoption {
    struct poly_adoption base; /* first: poly_adoption_free() is given this */
    struct poly_arena *arena;
};

struct report {
    struct poly_adopt_report base; /* the same */
    struct poly_arena *arena;
};

/* --- what was found --- */

struct poly_adopt_found *poly_adopt_add(struct poly_adopt_survey *survey, const char *schema,
                                        const char *name)
{
    struct poly_adopt_found *found = poly_arena_alloc(survey->arena, sizeof(*found));

    if (found == NULL)
        return NULL;
    found->schema = schema == NULL ? NULL : poly_arena_copy(survey->arena, schema, strlen(schema));
    found->name = poly_arena_copy(survey->arena, name, strlen(name));
    found->rows = -1;
    if (found->name == NULL || (schema != NULL && found->schema == NULL))
        return NULL;
    *survey->end = found;
    survey->end = &found->next;
    return found;
}

static bool matches(const char *const *patterns, const struct poly_adopt_found *found)
{
    char full[2 * POLY_MAX_NAME + 2];

    snprintf(full, sizeof(full), "%s.%s", found->schema == NULL ? "main" : found->schema,
             found->name);
    for (; *patterns != NULL; patterns++) {
        if (fnmatch(*patterns, strchr(*patterns, '.') == NULL ? found->name : full, 0) == 0)
            return true;
    }
    return false;
}

static bool is_schema(const char *const *patterns, const struct poly_adopt_found *found)
{
    for (; *patterns != NULL; patterns++) {
        if (fnmatch(*patterns, found->schema == NULL ? "main" : found->schema, 0) == 0)
            return true;
    }
    return false;
}

static bool is_wanted(const struct poly_adopt_options *options,
                      const struct poly_adopt_found *found)
{
    return (options->schemas == NULL || is_schema(options->schemas, found)) &&
           (options->only == NULL || matches(options->only, found)) &&
           (options->exclude == NULL || !matches(options->exclude, found));
}

/* --- names --- */

struct surveying {
    const struct poly_adopt_driver *driver;
    struct poly_adopt_survey *survey;
    struct poly_db *db;
    struct poly_arena *arena;
    struct poly_adopt_table *tables;
    size_t count, domains;
};

static bool name_is_taken(const struct surveying *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->tables[i].reason.size == 0 && strcasecmp(s->tables[i].name.data, name) == 0)
            return true;
    }
    return false;
}

static bool domain_is_taken(const struct surveying *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->tables[i].domain.data, name) == 0)
            return true;
    }
    return false;
}

/* As the configuration can name it. NULL: it cannot. */
static const char *name_of(const struct surveying *s, const struct poly_adopt_found *found)
{
    if (!poly_config_is_name(found->name) ||
        (found->schema != NULL && !poly_config_is_name(found->schema)))
        return NULL;
    if (found->plain && !name_is_taken(s, found->name))
        return found->name;
    if (found->schema == NULL)
        return NULL;

    char *full = poly_arena_printf(s->arena, "%s.%s", found->schema, found->name);

    return full == NULL || name_is_taken(s, full) ? NULL : full;
}

/* "Order Items" → "order_items"; taken: with its schema, then with a number. */
static const char *domain_of(const struct surveying *s, const struct poly_adopt_found *found)
{
    char name[POLY_MAX_NAME + 1];

    for (int try = 0; try < 1000; try++) {
        if (try == 0 || found->schema == NULL)
            snprintf(name, sizeof(name), "%.*s", POLY_MAX_NAME - 5, found->name);
        else
            snprintf(name, sizeof(name), "%.50s_%.70s", found->schema, found->name);
        if (try > 1)
            snprintf(name + strlen(name), sizeof(name) - strlen(name), "_%d", try);
        for (char *c = name; *c != '\0'; c++)
            *c = isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '_';
        if (!domain_is_taken(s, name))
            break;
    }
    return poly_arena_copy(s->arena, name, strlen(name));
}

/* --- one table --- */

static bool may_be_tenant(const struct poly_column *column)
{
    static const char *const stems[] = {"tenant",       "org",     "organization", "organisation",
                                        "account",      "company", "workspace",    "customer",
                                        "organization", "team"};
    const char *name = column->name;
    size_t size = strlen(name);

    if ((column->type != POLY_INT && column->type != POLY_UUID &&
         (column->type != POLY_TEXT || !column->binary)) ||
        !poly_config_is_name(name))
        return false;
    if (size > 3 && strcasecmp(name + size - 3, "_id") == 0)
        size -= 3;
    else if (size > 2 && strcmp(name + size - 2, "Id") == 0)
        size -= 2;
    else if (strcasecmp(name, "tenant") != 0)
        return false;
    for (size_t i = 0; i < sizeof(stems) / sizeof(stems[0]); i++) {
        if (strlen(stems[i]) == size && strncasecmp(stems[i], name, size) == 0)
            return true;
    }
    return false;
}

static enum poly_status load(struct surveying *s, const char *name, const char *tenant,
                             struct poly_table **table, struct poly_error *err)
{
    struct poly_domain *domain = poly_arena_alloc(s->arena, sizeof(*domain));

    if (domain == NULL)
        return poly_no_memory(err);
    domain->name = "domain";
    domain->table = name;
    domain->tenant = tenant;
    return s->driver->driver->load(s->db, domain, table, err);
}

static struct poly_text keep(struct surveying *s, const char *text)
{
    const char *copy = text == NULL ? NULL : poly_arena_copy(s->arena, text, strlen(text));

    return copy == NULL ? poly_text("") : poly_text(copy);
}

/* The columns of the loaded table that may be its tenant, or may be searched. */
static enum poly_status note_columns(struct surveying *s, const struct poly_table *table,
                                     struct poly_adopt_table *made, struct poly_error *err)
{
    struct poly_text *names = poly_arena_array(s->arena, 2 * POLY_MAX_COLUMNS, sizeof(*names));
    struct poly_text *texts = names + POLY_MAX_COLUMNS;

    if (names == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct poly_column *column = &table->columns[i];
        bool key = table->problem == NULL && i == table->key;

        if (!key && may_be_tenant(column))
            names[made->tenant_count++] = keep(s, column->name);
        else if (!key && column->type == POLY_TEXT && column->binary &&
                 made->text_count < POLY_MAX_SEARCH_FIELDS && poly_config_is_name(column->name))
            texts[made->text_count++] = keep(s, column->name);
    }
    made->tenants = names;
    made->texts = texts;
    return POLY_OK;
}

/* A key of several columns may be one column beside the tenant's. */
static enum poly_status try_tenants(struct surveying *s, struct poly_adopt_table *made,
                                    struct poly_error *err)
{
    struct poly_text *fit = poly_arena_array(s->arena, made->tenant_count + 1, sizeof(*fit));
    enum poly_status status = fit == NULL ? poly_no_memory(err) : POLY_OK;
    size_t count = 0;

    for (size_t i = 0; i < made->tenant_count && status == POLY_OK; i++) {
        struct poly_table *table;

        status = load(s, made->name.data, made->tenants[i].data, &table, err);
        if (status != POLY_OK)
            break;
        if (table->problem == NULL && table->tenant_in_key) {
            fit[count++] = made->tenants[i];
            made->key = keep(s, table->columns[table->key].name);
        }
        poly_table_free(table);
    }
    made->tenant_needed = count > 0;
    made->tenants = fit;
    made->tenant_count = count;
    return status;
}

static enum poly_status judge(struct surveying *s, struct poly_adopt_table *made,
                              struct poly_error *err)
{
    struct poly_table *table;
    enum poly_status status = load(s, made->name.data, NULL, &table, err);

    if (status != POLY_OK)
        return status;
    if (table->problem != NULL)
        made->reason = keep(s, table->problem);
    else
        made->key = keep(s, table->columns[table->key].name);
    if (table->columns != NULL)
        status = note_columns(s, table, made, err);
    poly_table_free(table);
    return status == POLY_OK && made->reason.size > 0 ? try_tenants(s, made, err) : status;
}

static enum poly_status add_table(struct surveying *s, const struct poly_adopt_found *found,
                                  struct poly_error *err)
{
    struct poly_adopt_table *made = &s->tables[s->count];
    const char *name = name_of(s, found);
    enum poly_status status = POLY_OK;

    *made = (struct poly_adopt_table){.rows = found->rows};
    made->domain = made->reason = made->key = poly_text("");
    if (name != NULL)
        made->name = poly_text(name);
    else
        made->name = keep(s, found->schema == NULL ? found->name
                                                   : poly_arena_printf(s->arena, "%s.%s",
                                                                       found->schema, found->name));
    if (found->reason != NULL)
        made->reason = poly_text(found->reason);
    else if (name == NULL)
        made->reason = poly_text("a configuration cannot name it: letters, digits and '_' only, "
                                 "and no two that differ in the case of letters");
    else if (s->domains == POLY_MAX_DOMAINS)
        made->reason = poly_text("there are more tables than domains can be: choose some");
    else
        status = judge(s, made, err);
    if (status == POLY_OK && made->reason.size == 0) {
        made->domain = keep(s, domain_of(s, found));
        s->domains++;
    }
    s->count++;
    return status;
}

static enum poly_status add_all(struct surveying *s, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    size_t room = 0;

    for (const struct poly_adopt_found *found = s->survey->first; found != NULL;
         found = found->next)
        room++;
    s->tables = poly_arena_array(s->arena, room + 1, sizeof(*s->tables));
    if (s->tables == NULL)
        return poly_no_memory(err);
    for (const struct poly_adopt_found *found = s->survey->first;
         found != NULL && status == POLY_OK; found = found->next) {
        if (is_wanted(s->survey->options, found))
            status = add_table(s, found, err);
    }
    return status;
}

/* --- as a configuration --- */

void poly_adopt_quote(struct poly_buffer *yaml, const char *text, size_t size)
{
    poly_buffer_char(yaml, '"');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"' || text[i] == '\\')
            poly_buffer_char(yaml, '\\');
        poly_buffer_char(yaml, text[i]);
    }
    poly_buffer_char(yaml, '"');
}

static void add_names(struct poly_buffer *b, const struct poly_text *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        poly_buffer_printf(b, "%s%s", i == 0 ? "" : ", ", names[i].data);
}

static void add_domain(struct poly_buffer *b, const struct poly_adopt_table *table)
{
    poly_buffer_printf(b, "  %s:\n    table: %s\n    tenant: none", table->domain.data,
                       table->name.data);
    if (table->tenant_count > 0) {
        poly_buffer_text(b, "  # or the column that says whose a row is: ");
        add_names(b, table->tenants, table->tenant_count);
    }
    if (table->text_count > 0) {
        poly_buffer_text(b, "\n    # search: {fields: [");
        add_names(b, table->texts, table->text_count);
        poly_buffer_text(b, "]}");
    }
    poly_buffer_char(b, '\n');
}

/* On one line: a name may have a line feed in it. */
static void add_comment(struct poly_buffer *b, struct poly_text text)
{
    for (size_t i = 0; i < text.size; i++)
        poly_buffer_char(b, (unsigned char)text.data[i] < 0x20 ? ' ' : text.data[i]);
}

static void add_refused(struct poly_buffer *b, const struct poly_adopt_table *table)
{
    poly_buffer_text(b, "  # ");
    add_comment(b, table->name);
    poly_buffer_text(b, ": ");
    add_comment(b, table->reason);
    poly_buffer_char(b, '\n');
    for (size_t i = 0; i < table->tenant_count; i++)
        poly_buffer_printf(b, "  #   with a tenant it can: {table: %s, tenant: %s}\n",
                           table->name.data, table->tenants[i].data);
}

static enum poly_status add_config(struct surveying *s, struct poly_buffer *b,
                                   struct poly_error *err)
{
    enum poly_status status;

    poly_buffer_text(b, "# What 'polystore adopt' has found. Look through it, then run\n"
                        "# 'polystore adopt --apply': until then nothing is changed.\n\n");
    status = s->driver->where(s->survey->options, b, err);
    if (status != POLY_OK)
        return status;
    poly_buffer_text(b, s->domains == 0 ? "\ndomains: {}\n" : "\ndomains:\n");
    for (size_t i = 0; i < s->count; i++) {
        if (s->tables[i].reason.size == 0)
            add_domain(b, &s->tables[i]);
    }
    if (s->domains < s->count)
        poly_buffer_text(b, "\n  # These cannot be domains:\n");
    for (size_t i = 0; i < s->count; i++) {
        if (s->tables[i].reason.size > 0)
            add_refused(b, &s->tables[i]);
    }
    return poly_buffer_ok(b) ? POLY_OK : poly_no_memory(err);
}

/* --- reading: public --- */

/* A url, or else names and values, host=…; but a path may have anything in it. */
static const struct poly_adopt_driver *driver_of(const char *place)
{
    bool url = strncmp(place, "postgresql://", 13) == 0 || strncmp(place, "postgres://", 11) == 0;

    return url || (strchr(place, '=') != NULL && access(place, F_OK) != 0) ? &poly_adopt_postgresql
                                                                           : &poly_adopt_embedded;
}

static enum poly_status survey(struct surveying *s, struct adoption *made, struct poly_error *err)
{
    struct poly_buffer config;
    enum poly_status status = s->driver->open(s->survey->options, &s->db, err);

    if (status != POLY_OK)
        return status;
    status = s->driver->list(s->db, s->survey, err);
    if (status == POLY_OK)
        status = add_all(s, err);
    s->driver->close(s->db);
    poly_buffer_init(&config, CONFIG_MAX);
    if (status == POLY_OK)
        status = add_config(s, &config, err);
    if (status == POLY_OK)
        made->base = (struct poly_adoption){
            .tables = s->tables,
            .count = s->count,
            .domains = s->domains,
            .config = keep(s, config.data),
            .note = keep(s, s->survey->note),
        };
    poly_buffer_release(&config);
    if (status == POLY_OK && made->base.config.size == 0)
        return poly_no_memory(err);
    return status;
}

enum poly_status poly_adopt_read(const struct poly_adopt_options *options,
                                 struct poly_adoption **adoption, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct adoption *made = arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*made));
    struct poly_adopt_survey found = {.options = options, .arena = arena};
    struct surveying s = {.survey = &found, .arena = arena};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (made == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    found.end = &found.first;
    made->arena = arena;
    s.driver = driver_of(options->place);
    status = survey(&s, made, err);
    if (status == POLY_OK)
        *adoption = &made->base;
    else
        poly_arena_free(arena);
    return status;
}

void poly_adoption_free(struct poly_adoption *adoption)
{
    if (adoption != NULL)
        poly_arena_free(((struct adoption *)adoption)->arena);
}

/* --- putting in and taking out --- */

struct poly_adopt_item *poly_adopt_item(struct poly_adopt_job *job, const char *domain,
                                        const char *table)
{
    if (job->count == job->room) {
        size_t room = job->room == 0 ? 16 : job->room * 2;
        struct poly_adopt_item *more = poly_arena_array(job->arena, room, sizeof(*more));

        if (more == NULL)
            return NULL;
        if (job->count > 0)
            memcpy(more, job->items, job->count * sizeof(*more));
        job->items = more;
        job->room = room;
    }

    struct poly_adopt_item *item = &job->items[job->count];
    const char *name = poly_arena_copy(job->arena, table, strlen(table));
    const char *whose = poly_arena_copy(job->arena, domain, domain == NULL ? 0 : strlen(domain));

    if (name == NULL || whose == NULL)
        return NULL;
    *item = (struct poly_adopt_item){.table = poly_text(name),
                                     .domain = poly_text(whose),
                                     .status = POLY_UNAVAILABLE,
                                     .problem = poly_text("was not come to"),
                                     .rows = -1,
                                     .written = -1};
    job->count++;
    return item;
}

void poly_adopt_done(struct poly_adopt_job *job, struct poly_adopt_item *item,
                     enum poly_status status, const char *problem)
{
    const char *copy = poly_arena_copy(job->arena, problem, problem == NULL ? 0 : strlen(problem));

    item->status = status;
    item->problem = poly_text(copy == NULL ? "out of memory" : copy);
}

void poly_adopt_note(struct poly_adopt_job *job, const char *format, ...)
{
    char text[600];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);

    const char *copy = poly_arena_copy(job->arena, text, strlen(text));

    if (copy != NULL && job->note_count < POLY_ADOPT_NOTES)
        job->notes[job->note_count++] = poly_text(copy);
}

bool poly_adopt_tell(const struct poly_adopt_job *job, const struct poly_adopt_item *item,
                     uint64_t done, uint64_t total)
{
    return job->run->progress == NULL ||
           job->run->progress(job->run->arg, item->table.data, done, total);
}

/* What a data folder has of ours beside the database. */
static void clear_folder(const char *data)
{
    static const char *const names[] = {"admin.key",     "node",          "search.db",
                                        "search.db-wal", "search.db-shm", "lock"};
    char path[4096];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", data, names[i]) < sizeof(path))
            (void)unlink(path);
    }
    (void)rmdir(data); /* when nothing else is in it */
}

static bool is_done(const struct poly_adopt_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        if (job->items[i].status != POLY_OK)
            return false;
    }
    return true;
}

/* Nobody may open the folder meanwhile. */
static enum poly_status release(const struct poly_adopt_driver *driver, struct poly_adopt_job *job,
                                struct poly_error *err)
{
    const char *data = job->options->data != NULL ? job->options->data : job->config->data;
    enum poly_status status = POLY_OK;
    int lock = -1;

    if (access(data, F_OK) == 0)
        status = poly_lock_take(data, "release", 0, &lock, err);
    if (status != POLY_OK)
        return status;
    status = driver->release(job, err);
    if (status == POLY_OK && lock >= 0 && is_done(job))
        clear_folder(data);
    poly_lock_give(lock);
    return status;
}

static enum poly_status work(struct poly_adopt_job *job, bool releasing, struct poly_error *err)
{
    struct poly_config *config;
    const struct poly_adopt_driver *driver = &poly_adopt_embedded;
    enum poly_status status =
        poly_config_load(job->options->config_file, job->options->config_text, &config, err);

    if (status != POLY_OK)
        return status;
    if (strcmp(poly_config_store(config, "relational")->driver, "embedded") != 0)
        driver = &poly_adopt_postgresql;
    job->config = config;
    status = releasing ? release(driver, job, err) : driver->apply(job, err);
    poly_config_free(config);
    return status;
}

static enum poly_status run_job(const struct poly_options *options,
                                const struct poly_adopt_run *run, bool releasing,
                                struct poly_adopt_report **report, struct poly_error *err)
{
    static const struct poly_adopt_run plain = {.wait_ms = 60000};
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct report *made = arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*made));
    struct poly_adopt_job job = {
        .options = options, .run = run == NULL ? &plain : run, .arena = arena};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (made != NULL)
        job.notes = poly_arena_array(arena, POLY_ADOPT_NOTES, sizeof(*job.notes));
    status = job.notes == NULL ? poly_no_memory(err) : work(&job, releasing, err);
    if (status != POLY_OK) {
        poly_arena_free(arena);
        return status;
    }
    made->arena = arena;
    made->base = (struct poly_adopt_report){
        .items = job.items, .count = job.count, .notes = job.notes, .note_count = job.note_count};
    for (size_t i = 0; i < job.count; i++)
        made->base.problems += job.items[i].status != POLY_OK;
    *report = &made->base;
    return POLY_OK;
}

enum poly_status poly_adopt_apply(const struct poly_options *options,
                                  const struct poly_adopt_run *run,
                                  struct poly_adopt_report **report, struct poly_error *err)
{
    return run_job(options, run, false, report, err);
}

enum poly_status poly_release(const struct poly_options *options, const struct poly_adopt_run *run,
                              struct poly_adopt_report **report, struct poly_error *err)
{
    return run_job(options, run, true, report, err);
}

void poly_adopt_report_free(struct poly_adopt_report *report)
{
    if (report != NULL)
        poly_arena_free(((struct report *)report)->arena);
}
