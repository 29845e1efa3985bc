/*
 * Every length, depth, count and queue has its maximum here. Over it is
 * POLY_LIMIT (or POLY_INVALID for a name), never growth. docs/limits.md is
 * checked against this file by tools/check.
 */
#ifndef POLY_BASE_LIMITS_H
#define POLY_BASE_LIMITS_H

#define POLY_MAX_NAME 128                    /* bytes: domain, event type, subscription, tenant */
#define POLY_MAX_KEY 1024                    /* bytes: record key, stream name, idempotency key */
#define POLY_MAX_VALUE (16 * 1024 * 1024)    /* bytes: one value, one event's data */
#define POLY_MAX_META 8192                   /* bytes: metadata of a record, as JSON */
#define POLY_MAX_OPERATIONS 10000            /* operations and events in one transaction */
#define POLY_MAX_TXN_BYTES (64 * 1024 * 1024) /* of one transaction, staged */
#define POLY_MAX_QUEUE 4096                  /* transactions waiting for the writer */
#define POLY_MAX_COLUMNS 256                 /* of a domain's table */
#define POLY_MAX_DOMAINS 256
#define POLY_MAX_COLLECTION_NAME 48    /* bytes: it is the name of a table, too */
#define POLY_MAX_COLLECTIONS 256       /* domains that were made while running */
#define POLY_MAX_COLLECTIONS_MADE 4096 /* … in the life of one process, dropped ones too */
#define POLY_MAX_VIEWS 64
#define POLY_MAX_VIEW_NAME 48                /* bytes: name of a materialised view */
#define POLY_MAX_VIEW_KEY 16                 /* columns of its key */
#define POLY_MAX_SEARCH_FIELDS 32            /* of a domain */
#define POLY_MAX_VECTORS 16                  /* of a domain */
#define POLY_MAX_VECTOR_NAME 48              /* bytes: name of one of a domain's vectors */
#define POLY_MAX_EMBEDDERS 16
#define POLY_MAX_FAILURES 1000               /* texts that an embedder refuses, in one answer */
#define POLY_MAX_SEARCH_TEXT 65536           /* bytes of a text whose vector is looked for */
#define POLY_MAX_MATCHES 1000                /* of one vector search */
#define POLY_MAX_MATCHES_OFFSET 10000
#define POLY_MAX_VECTOR_SEARCHES 256         /* in one call */
#define POLY_MAX_EF 10000                    /* candidates that a vector search keeps */
#define POLY_MAX_REPLICAS 16                 /* of one server */
#define POLY_MAX_FILTERS 32                  /* of one query */
#define POLY_MAX_KEPT_FILTERS 256            /* conditions whose answer an index of vectors keeps */
#define POLY_MAX_KEPT_FILTER_BYTES (64UL * 1024 * 1024) /* of those answers together */
#define POLY_MAX_WHERE (1024 * 1024)         /* bytes of a condition on vectors, as JSON */
#define POLY_MAX_WHERE_PARTS 128             /* comparisons and groups of one */
#define POLY_MAX_IN 1000                     /* values of one IN */
#define POLY_MAX_PAGE 10000                  /* rows of one page, records of one read */
#define POLY_MAX_SQL 1000000                 /* bytes of one statement */
#define POLY_MAX_SQL_MEMORY (128UL * 1024 * 1024) /* bytes of SQLite's for one statement */
#define POLY_MAX_SQL_VALUES 1000             /* parameters of one statement */
#define POLY_MAX_QUERY 4096                  /* bytes of a search query */
#define POLY_MAX_QUERY_TERMS 64              /* words and phrases of a search query */
#define POLY_MAX_QUERY_DEPTH 16              /* nested groups of a search query */
#define POLY_MAX_HITS 1000                   /* of one search */
#define POLY_MAX_HITS_OFFSET 10000
#define POLY_MAX_PATH 256                    /* bytes: a JSON path in a filter */
#define POLY_MAX_DIMENSIONS 16000            /* of a vector */
#define POLY_MAX_MATCHES 1000                /* of one vector search */
#define POLY_MAX_MATCHES_OFFSET 10000
#define POLY_MAX_CANDIDATES 10000            /* ef of a vector search */
#define POLY_MAX_SEARCHES 256                /* vector searches in one request */
#define POLY_MAX_JSON_DEPTH 64
#define POLY_MAX_JSON_TREE (64 * 1024 * 1024) /* bytes of memory for one JSON text's values */
#define POLY_MAX_SESSION_MEMORY (64UL * 1024 * 1024) /* bytes of one answer, by default */
#define POLY_MAX_ANSWER (128UL * 1024 * 1024) /* bytes of an answer that are held back at a time */
#define POLY_MAX_SUBSCRIPTIONS 1024          /* open at a time */
#define POLY_MAX_NAMED 10000                 /* subscriptions of a tenant whose position is kept */
#define POLY_MAX_READERS 64                  /* idle read connections kept */
#define POLY_MAX_MIGRATION (4 * 1024 * 1024) /* bytes of one migration file */
#define POLY_MAX_CONFIG (1024 * 1024)        /* bytes of polystore.yaml */
#define POLY_MAX_CONFIG_DEPTH 16             /* nested mappings and lists of polystore.yaml */
#define POLY_MAX_CONFIG_ENTRIES 1024         /* of one mapping or list there */
#define POLY_MAX_IMAGE (1000UL * 1000 * 1000) /* bytes of a row as JSON: SQLite's own limit */
#define POLY_LARGE_VALUE 4096                /* bytes: larger row images are kept once */

/* servers that we call */
#define POLY_MAX_HTTP_CALLS 8                /* requests of one client under way at a time */
#define POLY_MAX_HTTP_HEADERS 65536          /* bytes of the headers of an answer */
#define POLY_MAX_HTTP_ERROR 65536            /* bytes that are read of an error's body */
#define POLY_MAX_SECRET 4096                 /* bytes of a password or key */
#define POLY_MAX_EMBEDDING_ANSWER (64 * 1024 * 1024) /* bytes of an embedder's answer */

/* the daemon */
#define POLY_MAX_HTTP_HEADER 16384           /* bytes of request line and headers together */
#define POLY_MAX_HTTP_POOL (24 * 1024)       /* bytes of one connection's own memory */
#define POLY_MAX_PER_ADDRESS 512             /* connections from one address */
#define POLY_MAX_SERVER_BYTES (256UL * 1024 * 1024) /* bodies and answers held at a time */
#define POLY_MAX_WORKERS 16                  /* threads for requests that may take long */
#define POLY_MAX_WORK 256                    /* requests that wait for one of them */
#define POLY_MAX_STREAMS 256                 /* server-sent event streams, a thread each */
#define POLY_MAX_SENDERS 64                  /* answers that are sent while they are made */
#define POLY_MAX_STREAM_BUFFER 65536         /* bytes between a streamed answer and its client */
#define POLY_MAX_CALLERS 1024                /* API keys (and tenants named with them) remembered */
#define POLY_MAX_IDLE_SESSIONS 256           /* kept open for the next request */
#define POLY_MAX_RATED 4096                  /* tenants with a rate of their own */
#define POLY_MAX_CREDENTIAL 256              /* bytes of an Authorization header's value */
#define POLY_MAX_REQUEST_ID 64               /* bytes of a request id that a client sends */
#define POLY_MAX_LOG_LINE 1024               /* bytes of one line of the daemon's log */
#define POLY_MAX_LOG_BUFFER (256 * 1024)     /* bytes of lines that wait to be written */
#define POLY_HEADER_TIMEOUT_MS 10000         /* from the first byte to the end of the headers */
#define POLY_IDLE_TIMEOUT_MS 75000           /* between two requests of a connection */
#define POLY_STALL_TIMEOUT_MS 30000          /* a client that reads nothing of its answer */
#define POLY_DRAIN_TIMEOUT_MS 10000          /* what is under way at a shutdown may take */

#endif
