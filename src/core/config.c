/*
 * Reads polystore.yaml: the tree of base/yaml is walked along the paths of the
 * option table (config_options.c). Nothing here knows a scalar option by name;
 * what is by hand is what an option alone cannot say: which options of a
 * domain go together, and which domains do.
 */
#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "core/config_options.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

static const char *const stores[CONFIG_STORES] = {
    [CONFIG_RELATIONAL] = "relational", [CONFIG_EVENTS] = "events", [CONFIG_SEARCH] = "search",
    [CONFIG_VECTOR] = "vector"};

static const struct poly_config_option *find_option(const char *path)
{
    for (size_t i = 0; i < poly_config_option_count; i++) {
        if (strcmp(poly_config_options[i].path, path) == 0)
            return &poly_config_options[i];
    }
    return NULL;
}

/* Do options stand under this path? */
static bool is_section(const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < poly_config_option_count; i++) {
        if (strncmp(poly_config_options[i].path, path, size) == 0 &&
            poly_config_options[i].path[size] == '.')
            return true;
    }
    return false;
}

/* --- defaults and environment --- */

static enum poly_status set_text(struct poly_config_reader *reader,
                                 const struct poly_config_option *option, const char *text,
                                 int line)
{
    struct poly_yaml value = {.line = line, .quoted = true, .text = text};

    return poly_config_set(reader, option, &value);
}

/* section: "domains." for one domain, "" for the whole configuration. */
static enum poly_status set_defaults(struct poly_config_reader *reader, const char *section)
{
    bool named = *section != '\0';

    enum poly_status status = POLY_OK;

    for (size_t i = 0; status == POLY_OK && i < poly_config_option_count; i++) {
        const struct poly_config_option *option = &poly_config_options[i];

        if (option->fallback != NULL && (strchr(option->path, '*') != NULL) == named &&
            strncmp(option->path, section, strlen(section)) == 0)
            status = set_text(reader, option, option->fallback, 1);
    }
    return status;
}

static enum poly_status read_environment(struct poly_config_reader *reader)
{
    enum poly_status status = POLY_OK;
    char variable[64];

    for (size_t i = 0; status == POLY_OK && i < poly_config_option_count; i++) {
        const struct poly_config_option *option = &poly_config_options[i];
        const char *text =
            poly_config_variable(option, variable) ? secure_getenv(variable) : NULL;

        if (text == NULL || *text == '\0')
            continue;
        text = poly_arena_copy(reader->arena, text, strlen(text));
        if (text == NULL)
            return poly_no_memory(reader->err);
        memcpy(reader->path, variable, sizeof(variable));
        status = set_text(reader, option, text, 0);
    }
    return status;
}

/* --- domains --- */

static enum poly_status check_owner(struct poly_config_reader *reader, int line)
{
    struct poly_domain *domain = &reader->domain;
    const char *table = domain->table;

    if ((table == NULL) == (domain->stream == NULL))
        return poly_config_fail(reader, line,
                                table == NULL ? "needs 'table' or 'stream': who owns it"
                                              : "has both 'table' and 'stream'; one is the owner");
    if (table != NULL && (strncasecmp(table, "poly_", 5) == 0 ||
                          strncasecmp(table, "sqlite_", 7) == 0))
        return poly_config_fail(reader, line, "table '%s': names with 'poly_' and 'sqlite_' in "
                                              "front are reserved", table);
    if (table != NULL && domain->tenant == NULL)
        return poly_config_fail(reader, line, "needs 'tenant': the column with the tenant of a "
                                              "row, or none");
    if (domain->stream != NULL && domain->tenant != NULL &&
        strcmp(domain->tenant, "session") != 0 && strcmp(domain->tenant, "none") != 0)
        return poly_config_fail(reader, line, "tenant of a stream is 'session' or 'none', not '%s'",
                                domain->tenant);
    if (domain->tenant != NULL && strcmp(domain->tenant, "none") == 0)
        domain->tenant = NULL;
    return POLY_OK;
}

static enum poly_status check_search(struct poly_config_reader *reader, int line, bool given)
{
    struct poly_domain_search *search = &reader->domain.search;
    bool trigram = strcmp(search->tokenizer, "trigram") == 0;

    if (given && search->field_count == 0)
        return poly_config_fail(reader, line, "search needs 'fields', like [title, body]");
    if (trigram && search->language != NULL && strcmp(search->language, "none") != 0)
        return poly_config_fail(reader, line, "search: the tokenizer 'trigram' knows no words, so "
                                              "the language can only be 'none'");
    if (search->language == NULL)
        search->language = trigram ? "none" : "english";
    return POLY_OK;
}

static bool same_table(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* In the log a record carries the name of its domain, an event its stream's category. */
static enum poly_status check_others(struct poly_config_reader *reader, int line)
{
    const struct poly_domain *domain = &reader->domain;

    for (size_t i = 0; i < reader->config.domain_count; i++) {
        const struct poly_domain *other = &reader->domains[i];

        if (same_table(other->table, domain->table))
            return poly_config_fail(reader, line, "table '%s' belongs to the domain '%s' already",
                                    domain->table, other->name);
        if (same_text(other->stream, domain->stream))
            return poly_config_fail(reader, line, "stream '%s' belongs to the domain '%s' already",
                                    domain->stream, other->name);
        if ((other->table != NULL && same_text(other->name, domain->stream)) ||
            (domain->table != NULL && same_text(domain->name, other->stream)))
            return poly_config_fail(reader, line,
                                    "the log could not tell the streams '%s' from the records of "
                                    "the domain of that name; rename one",
                                    domain->stream != NULL ? domain->stream : other->stream);
    }
    return POLY_OK;
}

static enum poly_status walk(struct poly_config_reader *reader, const struct poly_yaml *section,
                             const char *pattern);

static enum poly_status check_entry(struct poly_config_reader *reader,
                                    const struct poly_yaml *entry, const char *what, int most)
{
    if (poly_config_is_name(entry->name) && strlen(entry->name) <= (size_t)most &&
        strpbrk(entry->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL)
        return POLY_OK;
    return poly_config_fail(reader, entry->line,
                            "no name of a %s: up to %d small letters, digits and '_', "
                            "not a digit first",
                            what, most);
}

static bool has_child(const struct poly_yaml *entry, const char *name)
{
    const struct poly_yaml *child = entry->child;

    while (child != NULL && !same_text(child->name, name))
        child = child->next;
    return child != NULL;
}

/* One of several: the options of 'vector' under a name. */
static enum poly_status read_vector(struct poly_config_reader *reader,
                                    const struct poly_yaml *entry)
{
    size_t length = strlen(reader->path);
    enum poly_status status = check_entry(reader, entry, "vector", POLY_MAX_VECTOR_NAME);

    if (status != POLY_OK)
        return status;
    reader->vector = (struct poly_domain_vector){.field = NULL};
    status = set_defaults(reader, "domains.*.vector.");
    if (status == POLY_OK)
        status = walk(reader, entry, "domains.*.vector");
    reader->path[length] = '\0';
    return status == POLY_OK ? poly_config_add_vector(reader, entry->name, entry->line) : status;
}

/* The only one, if there is one; then the domain gets what was read. */
static enum poly_status take_vectors(struct poly_config_reader *reader,
                                     const struct poly_yaml *entry)
{
    struct poly_domain *domain = &reader->domain;
    struct poly_domain_vector *vectors;
    enum poly_status status = POLY_OK;

    if (has_child(entry, "vector") && has_child(entry, "vectors"))
        return poly_config_fail(reader, entry->line,
                                "has both 'vector' and 'vectors'; give each of them a name, under "
                                "'vectors'");
    if (has_child(entry, "vector"))
        status = poly_config_add_vector(reader, "", entry->line);
    vectors = poly_arena_array(reader->arena, domain->vector_count + 1, sizeof(*vectors));
    if (status == POLY_OK && vectors == NULL)
        status = poly_no_memory(reader->err);
    if (status == POLY_OK && domain->vector_count > 0)
        memcpy(vectors, reader->vectors, domain->vector_count * sizeof(*vectors));
    domain->vectors = vectors;
    return status;
}

static enum poly_status read_domain(struct poly_config_reader *reader,
                                    const struct poly_yaml *entry)
{
    size_t length = strlen(reader->path);
    enum poly_status status = check_entry(reader, entry, "domain", POLY_MAX_NAME);

    if (status != POLY_OK)
        return status;
    reader->domain = (struct poly_domain){.name = entry->name};
    reader->vector = (struct poly_domain_vector){.field = NULL};
    status = set_defaults(reader, "domains.");
    if (status == POLY_OK)
        status = walk(reader, entry, "domains.*");
    reader->path[length] = '\0';
    if (status == POLY_OK)
        status = check_owner(reader, entry->line);
    if (status == POLY_OK)
        status = check_search(reader, entry->line, has_child(entry, "search"));
    if (status == POLY_OK)
        status = take_vectors(reader, entry);
    if (status == POLY_OK)
        status = check_others(reader, entry->line);
    if (status == POLY_OK)
        reader->domains[reader->config.domain_count++] = reader->domain;
    return status;
}

static enum poly_status read_view(struct poly_config_reader *reader, const struct poly_yaml *entry)
{
    size_t length = strlen(reader->path);
    enum poly_status status = check_entry(reader, entry, "view", POLY_MAX_VIEW_NAME);

    if (status != POLY_OK)
        return status;
    reader->view = (struct poly_view_config){.name = entry->name};
    status = set_defaults(reader, "views.");
    if (status == POLY_OK)
        status = walk(reader, entry, "views.*");
    reader->path[length] = '\0';
    if (status == POLY_OK)
        status = poly_config_check_view(reader, entry->line);
    if (status == POLY_OK) {
        reader->view_lines[reader->config.view_count] = entry->line;
        reader->views[reader->config.view_count++] = reader->view;
    }
    return status;
}

static enum poly_status read_embedder(struct poly_config_reader *reader,
                                      const struct poly_yaml *entry)
{
    size_t length = strlen(reader->path);
    enum poly_status status = check_entry(reader, entry, "embedder", POLY_MAX_NAME);

    if (status != POLY_OK)
        return status;
    reader->embedder = (struct poly_embedder_config){.name = entry->name};
    status = set_defaults(reader, "embedders.");
    if (status == POLY_OK)
        status = walk(reader, entry, "embedders.*");
    reader->path[length] = '\0';
    if (status == POLY_OK)
        status = poly_config_check_embedder(reader, entry->line);
    if (status == POLY_OK)
        reader->embedders[reader->config.embedder_count++] = reader->embedder;
    return status;
}

/* The sections whose entries have names of the user's. */
struct named {
    const char *path;
    int most;
    enum poly_status (*read)(struct poly_config_reader *reader, const struct poly_yaml *entry);
};

static const struct named named[] = {{"domains", POLY_MAX_DOMAINS, read_domain},
                                     {"domains.*.vectors", POLY_MAX_VECTORS, read_vector},
                                     {"embedders", POLY_MAX_EMBEDDERS, read_embedder},
                                     {"views", POLY_MAX_VIEWS, read_view}};

static enum poly_status make_room(struct poly_config_reader *reader, const struct named *section,
                                  size_t count)
{
    if (section->read == read_vector)
        return POLY_OK;
    if (section->read == read_domain) {
        reader->domains = poly_arena_array(reader->arena, count, sizeof(*reader->domains));
        reader->config.domains = reader->domains;
        return reader->domains == NULL ? poly_no_memory(reader->err) : POLY_OK;
    }
    if (section->read == read_embedder) {
        reader->embedders = poly_arena_array(reader->arena, count, sizeof(*reader->embedders));
        reader->config.embedders = reader->embedders;
        return reader->embedders == NULL ? poly_no_memory(reader->err) : POLY_OK;
    }
    reader->views = poly_arena_array(reader->arena, count, sizeof(*reader->views));
    reader->view_lines = poly_arena_array(reader->arena, count, sizeof(*reader->view_lines));
    reader->config.views = reader->views;
    return reader->views == NULL || reader->view_lines == NULL ? poly_no_memory(reader->err)
                                                               : POLY_OK;
}

static enum poly_status read_named(struct poly_config_reader *reader, const struct named *how,
                                   const struct poly_yaml *section)
{
    size_t length = strlen(reader->path), count = 0;
    enum poly_status status;

    for (const struct poly_yaml *entry = section->child; entry != NULL; entry = entry->next)
        count++;
    if (count > (size_t)how->most)
        return poly_config_fail(reader, section->line, "%zu %s; %d are the most", count,
                                strrchr(how->path, '.') == NULL ? how->path
                                                                : strrchr(how->path, '.') + 1,
                                how->most);
    status = make_room(reader, how, count);
    for (const struct poly_yaml *entry = section->child; status == POLY_OK && entry != NULL;
         entry = entry->next) {
        snprintf(reader->path + length, sizeof(reader->path) - length, ".%.140s", entry->name);
        status = how->read(reader, entry);
    }
    reader->path[length] = '\0';
    return status;
}

/* --- the walk --- */

static enum poly_status read_entry(struct poly_config_reader *reader,
                                   const struct poly_yaml *entry, const char *pattern)
{
    char path[128], hint[300];
    const struct poly_config_option *option;

    snprintf(path, sizeof(path), "%s%s%.60s", pattern, *pattern == '\0' ? "" : ".", entry->name);
    option = strchr(entry->name, '.') == NULL && strchr(entry->name, '*') == NULL
                 ? find_option(path)
                 : NULL;
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (strcmp(path, named[i].path) == 0 && entry->kind == POLY_YAML_MAPPING)
            return read_named(reader, &named[i], entry);
    }
    if (option != NULL)
        return poly_config_set(reader, option, entry);
    if (strpbrk(entry->name, ".*") == NULL && is_section(path))
        return walk(reader, entry, path);
    poly_config_suggest(pattern, entry->name, hint, sizeof(hint));
    return poly_config_fail(reader, entry->line, "unknown option%s", hint);
}

/* section: a mapping whose options begin with pattern in the table; reader->path is its path as
 * the file has it. Recursive as deep as the table's paths are long. */
static enum poly_status walk(struct poly_config_reader *reader, const struct poly_yaml *section,
                             const char *pattern)
{
    size_t length = strlen(reader->path);
    enum poly_status status = POLY_OK;
    bool empty = section->kind == POLY_YAML_SCALAR && !section->quoted && *section->text == '\0';

    if (section->kind != POLY_YAML_MAPPING && !empty)
        return poly_config_fail(reader, section->line, "wants a mapping of options");
    for (const struct poly_yaml *entry = section->child; status == POLY_OK && entry != NULL;
         entry = entry->next) {
        snprintf(reader->path + length, sizeof(reader->path) - length, "%s%.60s",
                 length == 0 ? "" : ".", entry->name);
        status = read_entry(reader, entry, pattern);
    }
    reader->path[length] = '\0';
    return status;
}

/* --- loading --- */

static enum poly_status read_file(struct poly_config_reader *reader, struct poly_buffer *text)
{
    int file = open(reader->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char chunk[4096];
    ssize_t got = -1;

    while (file >= 0 && poly_buffer_ok(text) && (got = read(file, chunk, sizeof(chunk))) > 0)
        poly_buffer_add(text, chunk, (size_t)got);

    int problem = errno;

    if (file >= 0)
        close(file);
    if (got < 0)
        return poly_fail(reader->err, POLY_INVALID, "configuration '%.200s' cannot be read: %s",
                         reader->file, strerror(problem));
    if (text->over)
        return poly_fail(reader->err, POLY_INVALID, "%.200s: larger than %d bytes", reader->file,
                         POLY_MAX_CONFIG);
    return poly_buffer_ok(text) ? POLY_OK : poly_no_memory(reader->err);
}

static enum poly_status read_text(struct poly_config_reader *reader, struct poly_text text)
{
    struct poly_yaml *root;

    if (text.size > POLY_MAX_CONFIG)
        return poly_fail(reader->err, POLY_INVALID, "%.200s: larger than %d bytes", reader->file,
                         POLY_MAX_CONFIG);

    enum poly_status status = poly_yaml_read(reader->file, text, reader->arena, &root, reader->err);

    return status == POLY_OK ? walk(reader, root, "") : status;
}

static enum poly_status take_file(struct poly_config_reader *reader, const char *file)
{
    const char *slash = strrchr(file, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - file);

    reader->folder = poly_arena_copy(reader->arena, file, slash == file ? 1 : size);
    reader->file = poly_arena_copy(reader->arena, file, strlen(file));
    return reader->folder == NULL || reader->file == NULL ? poly_no_memory(reader->err) : POLY_OK;
}

static enum poly_status check_pool(struct poly_config_reader *reader,
                                   const struct poly_store_config *store)
{
    if (store->server.pool_min > store->server.pool_max)
        return poly_fail(reader->err, POLY_INVALID,
                         "%.200s: stores.%s.pool: min is %u, over max, which is %u", reader->file,
                         store->name, store->server.pool_min, store->server.pool_max);
    return POLY_OK;
}

/* Records and events are in one database: a change and its record are one transaction. */
static enum poly_status check_stores(struct poly_config_reader *reader)
{
    struct poly_store_config *relational = &reader->stores[CONFIG_RELATIONAL];
    struct poly_store_config *events = &reader->stores[CONFIG_EVENTS];
    bool server = strcmp(relational->driver, "embedded") != 0;

    if (events->driver == NULL)
        events->driver = relational->driver;
    if (strcmp(events->driver, relational->driver) != 0)
        return poly_fail(reader->err, POLY_INVALID,
                         "%.200s: stores.events.driver is '%s', but the events are where the "
                         "records are: '%s'",
                         reader->file, events->driver, relational->driver);
    if (server && relational->server.url == NULL)
        return poly_fail(reader->err, POLY_INVALID,
                         "%.200s: stores.relational.driver is '%s': it needs stores.relational.url",
                         reader->file, relational->driver);
    /* What is not in the log's own database can only follow it. */
    for (size_t i = CONFIG_SEARCH; i < CONFIG_STORES; i++) {
        const char *placement = reader->stores[i].placement;

        reader->stores[i].follower = server || strcmp(reader->stores[i].driver, "embedded") != 0 ||
                                     (placement != NULL && strcmp(placement, "follower") == 0);
    }
    return check_pool(reader, relational);
}

/* Said in so many words, for by default vectors on a server follow the log. */
static enum poly_status check_in_tables(struct poly_config_reader *reader)
{
    struct poly_store_config *vector = &reader->stores[CONFIG_VECTOR];

    if (strcmp(vector->driver, "postgresql") != 0 || vector->placement == NULL ||
        strcmp(vector->placement, "colocated") != 0)
        return POLY_OK;
    vector->in_tables = true;
    if (strcmp(reader->stores[CONFIG_RELATIONAL].driver, "postgresql") == 0 &&
        vector->server.url == NULL)
        return POLY_OK;
    return poly_fail(reader->err, POLY_INVALID,
                     "%.200s: stores.vector.placement is 'colocated': the vectors are then in the "
                     "records' own tables, which have to be on PostgreSQL, and there is no "
                     "stores.vector.url",
                     reader->file);
}

static enum poly_status check_indexes(struct poly_config_reader *reader)
{
    for (size_t i = 0; i < reader->config.domain_count; i++) {
        const struct poly_domain *domain = &reader->domains[i];

        for (size_t j = 0; j < domain->vector_count; j++)
            if (strcmp(domain->vectors[j].index, "ivfflat") == 0 &&
                strcmp(reader->stores[CONFIG_VECTOR].driver, "postgresql") != 0)
                return poly_fail(reader->err, POLY_INVALID,
                                 "%.200s: domain '%s': the index 'ivfflat' is pgvector's, and "
                                 "stores.vector.driver is '%s'",
                                 reader->file, domain->name, reader->stores[CONFIG_VECTOR].driver);
    }
    return POLY_OK;
}

/* A store on a server is on that of the records, if there is one and no other is named. */
static enum poly_status check_server(struct poly_config_reader *reader,
                                     struct poly_store_config *store)
{
    const struct poly_server *records = &reader->stores[CONFIG_RELATIONAL].server;

    if (strcmp(store->driver, "embedded") == 0)
        return POLY_OK;
    if (store->server.url == NULL) {
        bool password = store->server.password_env != NULL || store->server.password_file != NULL;

        if (strcmp(reader->stores[CONFIG_RELATIONAL].driver, store->driver) != 0)
            return poly_fail(reader->err, POLY_INVALID,
                             "%.200s: stores.%s.driver is '%s': it needs stores.%s.url",
                             reader->file, store->name, store->driver, store->name);
        store->server.url = records->url;
        if (!password) {
            store->server.password_env = records->password_env;
            store->server.password_file = records->password_file;
        }
    }
    return check_pool(reader, store);
}

/* Defaults, and what the text says. */
static enum poly_status read_given(struct poly_config_reader *reader, const char *file,
                                   const char *text)
{
    struct poly_buffer buffer;
    enum poly_status status = file == NULL ? POLY_OK : take_file(reader, file);

    poly_buffer_init(&buffer, POLY_MAX_CONFIG);
    for (size_t i = 0; i < CONFIG_STORES; i++)
        reader->stores[i].name = stores[i];
    reader->config.stores = reader->stores;
    reader->config.store_count = CONFIG_STORES;
    if (status == POLY_OK)
        status = set_defaults(reader, "");
    if (status == POLY_OK && file != NULL)
        status = read_file(reader, &buffer);
    if (status == POLY_OK)
        status = read_text(reader, file == NULL
                                       ? poly_text(text)
                                       : (struct poly_text){buffer.data, buffer.size});
    poly_buffer_release(&buffer);
    return status;
}

static enum poly_status load(struct poly_config_reader *reader, const char *file, const char *text)
{
    enum poly_status status = read_given(reader, file, text);

    if (status == POLY_OK)
        status = read_environment(reader);
    if (status == POLY_OK &&
        (reader->config.tls_certificate == NULL) != (reader->config.tls_key == NULL))
        status = poly_fail(reader->err, POLY_INVALID,
                           "%.200s: listen.tls needs both 'certificate' and 'key'", reader->file);
    if (status == POLY_OK)
        status = check_stores(reader);
    if (status == POLY_OK)
        status = poly_config_check_views(reader);
    if (status == POLY_OK)
        status = check_in_tables(reader);
    if (status == POLY_OK)
        status = check_indexes(reader);
    if (status == POLY_OK)
        status = poly_config_check_embedded(reader);
    for (size_t i = CONFIG_SEARCH; i < CONFIG_STORES && status == POLY_OK; i++)
        status = check_server(reader, &reader->stores[i]);
    return status;
}

typedef enum poly_status read_fn(struct poly_config_reader *reader, const char *file,
                                 const char *text);

static enum poly_status open_reader(read_fn *read, const char *file, const char *text,
                                    struct poly_config **config, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct poly_config_reader *reader =
        arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*reader));

    if (reader == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    *reader = (struct poly_config_reader){
        .arena = arena, .file = "configuration", .folder = "", .err = err};

    enum poly_status status = read(reader, file, text);

    reader->config.domains_all = poly_arena_alloc(arena, sizeof(*reader->config.domains_all));
    if (status == POLY_OK && reader->config.domains_all == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        atomic_init(reader->config.domains_all, reader->config.domain_count);
    reader->err = NULL; /* the caller's, and soon gone */
    if (status == POLY_OK)
        *config = &reader->config;
    else
        poly_arena_free(arena);
    return status;
}

enum poly_status poly_config_load(const char *file, const char *text, struct poly_config **config,
                                  struct poly_error *err)
{
    if (file != NULL && text != NULL)
        return poly_fail(err, POLY_INVALID,
                         "the configuration is given as a file and as a text; give one");
    return open_reader(load, file, text, config, err);
}

enum poly_status poly_config_define(const char *text, struct poly_config **config,
                                    struct poly_error *err)
{
    return open_reader(read_given, NULL, text, config, err);
}

const struct poly_embedder_config *poly_config_embedder(const struct poly_config *config,
                                                        const char *name)
{
    for (size_t i = 0; i < config->embedder_count; i++) {
        if (strcmp(config->embedders[i].name, name) == 0)
            return &config->embedders[i];
    }
    return NULL;
}

const struct poly_store_config *poly_config_store(const struct poly_config *config,
                                                  const char *name)
{
    for (size_t i = 0; i < config->store_count; i++) {
        if (strcmp(config->stores[i].name, name) == 0)
            return &config->stores[i];
    }
    return NULL;
}

/* Of bits no column is that a record could be read from and written to; a collection's is bytes. */
bool poly_config_in_table(const struct poly_config *config, const struct poly_domain *domain,
                          const struct poly_domain_vector *vector)
{
    const struct poly_store_config *store = poly_config_store(config, "vector");

    return store != NULL && store->in_tables && domain->table != NULL && domain->made == NULL &&
           strcmp(vector->element, "binary") != 0;
}
