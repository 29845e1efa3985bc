/*
 * What an operation is. Fields describe parameters and the members of JSON
 * bodies alike: requests are checked by them, and OpenAPI and docs/http.md
 * are printed from them, so that none of the three can say anything else.
 */
#ifndef POLY_API_OPERATIONS_H
#define POLY_API_OPERATIONS_H

#include "api/api.h"

enum api_kind {
    API_TEXT,    /* min and max: bytes */
    API_INTEGER, /* min and max: range */
    API_NUMBER,
    API_BOOLEAN,  /* "true" or "false" */
    API_CHOICE,   /* one of choices */
    API_TIME,     /* RFC 3339 text */
    API_EXPECTED, /* "any", "none" or a version */
    API_VALUE,    /* any JSON value, in the forms of polystore/value.h */
    API_MAP,      /* object of names and values: a row, metadata */
    API_OBJECT,   /* as schema says */
    API_LIST,     /* of schema; min and max: items */
    API_TEXTS,    /* list of texts; choices: of these only */
    API_VALUES,   /* list of values */
    API_FLOATS,   /* list of numbers, read as singles (api_floats()); min and max: of them */
};

enum api_field_flag {
    API_REQUIRED = 1 << 0,
    API_IN_PATH = 1 << 1,  /* otherwise in the query (parameters) */
    API_REPEATED = 1 << 2, /* may come again, and holds a comma list */
    API_AS_JSON = 1 << 3,  /* a parameter whose value is JSON text */
    API_LOCAL = 1 << 4,    /* only for our own command line on the same machine */
};

/* How often a parameter with API_REPEATED may come; several of them fit into API_PARAMETERS_MAX. */
enum { API_REPEATS_MAX = 16 };

struct api_schema;

struct api_field {
    const char *name; /* NULL: the end of the list */
    enum api_kind kind;
    unsigned flags;
    int64_t min, max;     /* both 0: no bounds */
    const char *choices;  /* "json|ndjson" */
    const char *fallback; /* as JSON; NULL: none */
    const struct api_schema *schema;
    const char *example; /* as JSON; NULL: none */
    const char *meaning;
};

/* A JSON object. Either fields, or variants that the first field of each ("op") tells apart. */
struct api_schema {
    const char *name;
    const char *meaning;
    const struct api_field *fields;
    const struct api_schema *const *variants; /* NULL-terminated; NULL: none */
    bool open;                                /* other names are allowed: a row */
    const char *example;
};

enum api_flag {
    API_READS = 1 << 0,       /* changes nothing; takes a token */
    API_STREAMS = 1 << 1,     /* answers in pieces, in constant memory */
    API_STAGED = 1 << 2,      /* api_stage() and api_commit_reply() serve it */
    API_IDEMPOTENT = 1 << 3,  /* takes an idempotency key */
    API_LONG = 1 << 4,        /* may take long: no deadline of the server's */
    API_OPEN = 1 << 5,        /* needs no API key: in a session with READ */
    API_CONDITIONAL = 1 << 6, /* takes If-Match and If-None-Match, answers with an ETag */
    API_LINES = 1 << 7,       /* the body is JSON lines of the schema */
    API_EVENTS = 1 << 8,      /* answers with server-sent events, for as long as the client stays */
    API_WIDE = 1 << 9,        /* may look at many rows, or wait for a store */
    API_READY = 1 << 10,      /* asks whether requests can be sent here */
    API_METRICS = 1 << 11,    /* whoever serves adds metrics of its own */
    API_REVOKES = 1 << 12,    /* API keys that were good may be so no more */
    API_STATUS = 1 << 13,     /* answers although the server that keeps the log is away */
};

struct api_context;
typedef enum poly_status api_handler_fn(struct api_context *context, struct poly_error *err);
typedef enum poly_status api_stage_fn(struct api_context *context, struct poly_txn *txn,
                                      struct poly_error *err);

struct api_operation {
    const char *name; /* "records.get": also in metrics and logs */
    const char *method;
    const char *path;
    const char *summary;
    const char *description;
    unsigned rights; /* enum poly_right, all of them; ADMIN has all */
    unsigned flags;  /* enum api_flag */
    int success;     /* HTTP status */
    unsigned errors; /* 1 << enum poly_status; what every operation may answer is not listed */
    const struct api_field *parameters; /* NULL: none */
    const struct api_schema *body;      /* NULL: none is taken */
    const struct api_schema *answer;    /* NULL: none of JSON */
    const char *answer_type;            /* NULL: application/json */
    api_handler_fn *run;                /* NULL: staged */
    api_stage_fn *stage;
};

/* Every path is longer than this, and none has a parameter before. */
enum { API_SHARED = sizeof("/v1/") - 1 };

/* The table; the entry after the last has no name. */
extern const struct api_operation api_operations[];

/* Names of rights, in the order of their bits: "read", "write", "sql", "admin"; NULL at the end. */
extern const char *const api_right_names[];

#endif
