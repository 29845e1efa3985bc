/*
 * What the database says about the domains' tables: columns and types, key,
 * tenant. A driver embeds struct poly_table in one of its own, with every SQL
 * text that it needs for it, built once.
 *
 * A table is immutable and lives until the instance closes, because prepared
 * statements are cached under the address of their text. A schema is a list of
 * tables, one for each domain, and is replaced whole after a migration.
 */
#ifndef POLY_STORES_RELATIONAL_TABLE_H
#define POLY_STORES_RELATIONAL_TABLE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/limits.h"
#include "base/sql.h"
#include "core/domain.h"
#include "polystore/value.h"

struct poly_column {
    const char *name;
    enum poly_type type;     /* POLY_NULL: whatever a value is (a type we do not know) */
    const char *default_sql; /* expression; NULL: none */
    bool not_null, generated;
    bool binary; /* compared byte for byte */
    bool array;  /* of the database's own, which we read and write as text: {1,2} */
};

struct poly_table {
    const struct poly_domain *domain;
    struct poly_arena *arena; /* owns everything here */
    struct poly_table *next;  /* of all that the instance has ever known */
    const char *signature;    /* equal: the same table, nothing to replace */
    enum poly_status status;  /* POLY_OK: usable; else what operations answer */
    const char *problem;      /* for the status; NULL: none. May stand beside POLY_OK */
    bool exists;
    bool published; /* in the instance's list, which frees it */

    struct poly_column *columns; /* all but the tenant's, in the table's order */
    size_t column_count;
    size_t key;                 /* index into columns */
    bool key_made;              /* the database gives a number */
    enum poly_type tenant_type; /* POLY_NULL: the domain has no tenants */
    bool tenant_in_key;         /* the primary key has the tenant's column */
    bool typed;                 /* the database has types: times are stored as times */
};

struct poly_schema {
    struct poly_schema *next;
    const struct poly_schema *base; /* the one that was published when it was begun */
    uint64_t number;                /* grows with every reading */
    _Atomic int
        version; /* the database's, when it was read: whoever changes the schema changes that */
    size_t count;
    struct poly_table *tables[]; /* as config->domains; NULL: a stream's */
};

void poly_table_free(struct poly_table *table); /* NULL is accepted */

/* While it is read: the first thing that is wrong with it stays. text NULL: there was no memory. */
void poly_table_problem(struct poly_table *table, enum poly_status status, const char *text);
/* keys: columns of its primary key, without the tenant's. Says whether there is one. */
bool poly_table_check_keys(struct poly_table *table, size_t keys);
/* found: has it the tenant's column? exact: compared byte for byte? */
void poly_table_check_tenant(struct poly_table *table, bool found, bool exact);
/* Has it room for another column? */
bool poly_table_check_columns(struct poly_table *table);

/* Index of the column, or column_count. */
size_t poly_table_find(const struct poly_table *table, const char *name);
/* "id, title, body": for messages. Cut when long. */
void poly_table_columns(const struct poly_table *table, char *text, size_t size);
const char *poly_type_name(enum poly_type type); /* "an integer", … for messages */

/* "name" with quotes doubled; 'text' likewise. */
void poly_sql_name(struct poly_buffer *out, const char *name);
void poly_sql_text(struct poly_buffer *out, const char *text);

#endif
