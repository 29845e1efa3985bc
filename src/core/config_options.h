/*
 * The options of polystore.yaml: what config.c reads, config_value.c checks
 * and the reference prints. Internal to core/config*.c.
 */
#ifndef POLY_CORE_CONFIG_OPTIONS_H
#define POLY_CORE_CONFIG_OPTIONS_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/yaml.h"
#include "core/domain.h"

enum { CONFIG_RELATIONAL, CONFIG_EVENTS, CONFIG_SEARCH, CONFIG_VECTOR, CONFIG_STORES };

/* All that one load works on. It lives in its own arena, and is what poly_config_free() finds
 * behind the configuration that it was given. */
struct poly_config_reader {
    struct poly_config config; /* first */
    struct poly_arena *arena;
    struct poly_store_config stores[CONFIG_STORES];
    struct poly_domain domain; /* the one being read */
    struct poly_domain *domains;
    struct poly_domain *room;         /* poly_config_room(): theirs, and of those that are made */
    struct poly_domain_vector vector; /* the one being read … */
    struct poly_domain_vector vectors[POLY_MAX_VECTORS]; /* … and all of the domain */
    struct poly_embedder_config embedder; /* the one being read */
    struct poly_embedder_config *embedders;
    struct poly_view_config view; /* the one being read */
    struct poly_view_config *views;
    int *view_lines;
    const char *file;   /* for messages */
    const char *folder; /* relative paths begin here; empty: the working directory */
    char path[256];     /* of the option being read, "domains.users.table"; or the variable */
    struct poly_error *err;
};

enum poly_config_kind {
    CONFIG_PATH,
    CONFIG_ADDRESS,
    CONFIG_SWITCH,
    CONFIG_COUNT,        /* uint32_t */
    CONFIG_SIZE,         /* uint32_t, KiB */
    CONFIG_SECONDS,      /* int64_t; "forever" is 0 */
    CONFIG_MILLISECONDS, /* uint32_t */
    CONFIG_CHOICE,       /* const char *, one of .choices */
    CONFIG_NAME,         /* const char * */
    CONFIG_TEXT,         /* the same, any text */
    CONFIG_FIELDS,
    CONFIG_FILTERS,
    CONFIG_KEY,
    CONFIG_COLUMNS,
    CONFIG_VECTORS, /* names of the user's, each with the options of 'vector' */
    CONFIG_REPLICAS,
};

struct poly_config_option {
    const char *path; /* "listen.http"; '*' stands for any name: "domains.*.table" */
    enum poly_config_kind kind;
    size_t offset;          /* in struct poly_config_reader */
    const char *fallback;   /* as it would stand in the file; NULL: none */
    const char *min, *max;  /* the same; NULL: no bound */
    const char *choices;    /* "words, trigram" */
    const char *meaning;    /* one line */
};

extern const struct poly_config_option poly_config_options[];
extern const size_t poly_config_option_count;

/* Options that stand under prefix ("" or "domains.*"), of which name may be meant: fills text with
 * "; did you mean 'tenant'?" or "; known here: …". */
void poly_config_suggest(const char *prefix, const char *name, char *text, size_t size);

/* "POLYSTORE_LISTEN_HTTP" into variable; false: the option has none. */
bool poly_config_variable(const struct poly_config_option *option, char variable[64]);

/* "polystore.yaml:12: listen.http: message". */
enum poly_status poly_config_fail(struct poly_config_reader *reader, int line, const char *format,
                                  ...) __attribute__((format(printf, 3, 4)));

/* Checks the value and puts it where the option says. */
enum poly_status poly_config_set(struct poly_config_reader *reader,
                                 const struct poly_config_option *option,
                                 const struct poly_yaml *value);
/* What an option alone cannot say of one of a domain's vectors, which is added to them. */
enum poly_status poly_config_add_vector(struct poly_config_reader *reader, const char *name,
                                        int line);
/* What an option alone cannot say of an embedder; and, when everything is read, of the vectors that
 * one makes. */
enum poly_status poly_config_check_embedder(struct poly_config_reader *reader, int line);
enum poly_status poly_config_check_embedded(struct poly_config_reader *reader);
/* What an option alone cannot say of a view; and, when everything is read, of all of them. */
enum poly_status poly_config_check_view(struct poly_config_reader *reader, int line);
enum poly_status poly_config_check_views(struct poly_config_reader *reader);
/* Is it a name of a domain, table, stream category, column or field? */
bool poly_config_is_name(const char *text);

#endif
