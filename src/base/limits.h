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
#define POLY_MAX_GROUP 1024                  /* transactions in one group commit */
#define POLY_MAX_GROUP_RECORDS 20000         /* records after which a group is committed */
#define POLY_MAX_COLUMNS 256                 /* of a domain's table */
#define POLY_MAX_DOMAINS 256
#define POLY_MAX_SEARCH_FIELDS 32            /* of a domain */
#define POLY_MAX_FILTERS 32                  /* of one query */
#define POLY_MAX_IN 1000                     /* values of one IN */
#define POLY_MAX_PAGE 10000                  /* rows of one page, records of one read */
#define POLY_MAX_SQL 1000000                 /* bytes of one statement */
#define POLY_MAX_SQL_VALUES 1000             /* parameters of one statement */
#define POLY_MAX_QUERY 4096                  /* bytes of a search query */
#define POLY_MAX_QUERY_TERMS 64              /* words and phrases of a search query */
#define POLY_MAX_QUERY_DEPTH 16              /* nested groups of a search query */
#define POLY_MAX_HITS 1000                   /* of one search */
#define POLY_MAX_HITS_OFFSET 10000
#define POLY_MAX_JSON_DEPTH 64
#define POLY_MAX_SESSION_MEMORY (64UL * 1024 * 1024) /* bytes of one answer, by default */
#define POLY_MAX_ANSWER (128UL * 1024 * 1024) /* bytes of an answer that are held back at a time */
#define POLY_MAX_SUBSCRIPTIONS 1024          /* open at a time */
#define POLY_MAX_READERS 64                  /* idle read connections kept */
#define POLY_MAX_MIGRATION (4 * 1024 * 1024) /* bytes of one migration file */
#define POLY_MAX_CONFIG (1024 * 1024)        /* bytes of polystore.yaml */
#define POLY_MAX_CONFIG_DEPTH 16             /* nested mappings and lists of polystore.yaml */
#define POLY_MAX_CONFIG_ENTRIES 1024         /* of one mapping or list there */
#define POLY_LARGE_VALUE 4096                /* bytes: larger row images are kept once */

#endif
