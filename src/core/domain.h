/* The configuration, as structs: what polystore.yaml says, checked, with defaults filled in. */
#ifndef POLY_CORE_DOMAIN_H
#define POLY_CORE_DOMAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore/status.h"

struct poly_search_field {
    const char *name; /* column, or name in the event's data */
    double weight;    /* > 0 */
};

struct poly_domain_search {
    const struct poly_search_field *fields;
    size_t field_count; /* 0: the domain is not searchable */
    const char *const *filters; /* columns that a search may filter by */
    size_t filter_count;
    const char *in;        /* a column with JSON, of which fields and filters are fields; or NULL */
    const char *tokenizer; /* "words" or "trigram" */
    const char *language;  /* "english" (Porter stemmer) or "none" */
};

/* One vector of a domain's records. */
struct poly_domain_vector {
    const char *name;  /* tells it from the domain's others; "" where there is one */
    const char *field; /* column, or name in the event's data */
    uint32_t dimensions;
    const char *metric;  /* "cosine", "inner", "l2" or "hamming" */
    const char *element; /* "f32", "f16", "int8" or "binary" */
    const char *index;   /* "hnsw" or "ivfflat" */
    uint32_t m, ef_construction, ef;
    uint32_t lists, probes;     /* of ivfflat */
    const char *model;          /* that makes the vectors; NULL: not said */
    const char *const *filters; /* columns that a search may filter by */
    size_t filter_count;
    const char *filters_in; /* a column with JSON, of which the filters are fields; or NULL */
    /* What it is after changes of its model is another one of these: core/model.h. */
    uint32_t change;                   /* 0: as the configuration has it; then 1, 2 … */
    uint64_t since, upto;              /* positions: the log's vectors from there on are of it; the
                                        * last record that the change itself wrote */
    struct poly_vector_family *family; /* NULL: of no domain, it never changes */
    const char *embedder;     /* name of what makes it of the record's text; NULL: who writes */
    const char *const *texts; /* columns with that text, in order */
    size_t text_count;
};

/* Not yet committed; its table stands; dropped. */
enum poly_made_state { POLY_MADE_PENDING, POLY_MADE_LIVE, POLY_MADE_DROPPED };

/* What is known beside the domain of one that was made while running. */
struct poly_made {
    struct poly_config *config; /* has the domain's texts */
    const char *definition;     /* it was read from */
    uint64_t since;             /* records up to there are of an earlier one of its name … */
    _Atomic uint64_t until;     /* … and beyond there of a later one */
    _Atomic enum poly_made_state state;
};

/* Exactly one of table and stream is set: it is the owner. */
struct poly_domain {
    const char *name;
    const char *table;  /* relational */
    const char *stream; /* event category */
    const char *tenant; /* tenant column; NULL: "none". A stream: "session" or NULL */
    struct poly_domain_search search;
    const struct poly_domain_vector *vectors;
    size_t vector_count; /* 0: the domain has none */
    struct poly_made *made; /* NULL: it is declared */
};

/* May it be used? */
static inline bool poly_domain_is_live(const struct poly_domain *domain)
{
    return domain->made == NULL || atomic_load(&domain->made->state) == POLY_MADE_LIVE;
}

/* 0: it is declared. */
static inline uint64_t poly_domain_since(const struct poly_domain *domain)
{
    return domain->made == NULL ? 0 : domain->made->since;
}

/* Is a record of its name at that position its own? */
static inline bool poly_domain_has(const struct poly_domain *domain, uint64_t position)
{
    return domain->made == NULL ||
           (position > domain->made->since && position <= atomic_load(&domain->made->until));
}

/* A server that makes vectors of texts: see stores/vector/embedder.h. */
struct poly_embedder_config {
    const char *name;
    const char *url, *key_env, *key_file, *ca_file; /* NULL: none, but for url */
    uint32_t batch;                                 /* texts in a request */
    uint32_t requests_per_minute, texts_per_minute; /* 0: any number */
    uint32_t connect_ms, timeout_ms;
    bool base64, shorten;
};

/* A materialised view of the relational store. */
struct poly_view_config {
    const char *name;
    const char *query;            /* one SELECT … */
    const char *query_postgresql; /* … and instead of it, where the records are there; or NULL */
    const char *const *key;       /* columns that tell its rows apart */
    size_t key_count;
    const char *tenant;     /* column; NULL: tenants have no view of it */
    uint32_t staleness_ms; /* how old it may be */
};

/* Where a server is, and how many connections to it there may be. */
struct poly_server {
    const char *url;           /* NULL: none is needed */
    const char *password_env;  /* name of an environment variable */
    const char *password_file; /* … or a file, whose first line it is */
    const char *const *replicas; /* urls of standbys that may be read from */
    size_t replica_count;
    uint32_t replica_wait_ms;
    uint32_t pool_min, pool_max, pool_idle_ms, pool_connect_ms, pool_acquire_ms;
};

struct poly_store_config {
    const char *name;   /* "search" */
    const char *driver; /* "embedded" */
    const char *placement; /* "colocated" or "follower"; NULL: as the driver does by default */
    bool follower;         /* it, or a part of it, is kept in step by a thread of its own */
    bool in_tables;        /* the records' own tables are its data, where there are some */
    struct poly_server server;
};

struct poly_config {
    const char *data;
    /* daemon */
    const char *listen_http; /* "127.0.0.1:7430" */
    const char *tls_certificate, *tls_key;
    bool listen_insecure; /* plain HTTP on other addresses than loopback */
    /* log */
    int64_t change_retention_s; /* seconds; 0: for ever */
    int64_t idempotency_s;      /* seconds */
    const struct poly_store_config *stores; /* every known store, defaults filled in */
    size_t store_count;
    const struct poly_domain *domains; /* those that are declared, then those that were made */
    size_t domain_count;               /* that are declared */
    _Atomic size_t *domains_all;       /* grows: see poly_config_make() */
    const struct poly_view_config *views;
    size_t view_count;
    const struct poly_embedder_config *embedders;
    size_t embedder_count;
    const char *migrations; /* folder; NULL: none */
    /* server limits: see config.c */
    uint32_t connections_max, body_max_kib, request_timeout_ms, rows_max, rate_per_tenant;
};

#endif
