/* The end of the hash chain, in memory, and how it grows. For one thread at a time. */
#ifndef POLY_CORE_CHAIN_H
#define POLY_CORE_CHAIN_H

#include "base/sql.h"
#include "polystore/log.h"

enum { POLY_LEAF = 16, POLY_HASH = 32, POLY_SALT = 16, POLY_SEAL_MAX = 4096 };

struct poly_instance;

struct poly_chain {
    uint64_t sealed;         /* last position in the chain */
    uint64_t leafed;         /* leaves[] covers sealed + 1 … leafed */
    uint8_t hash[POLY_HASH]; /* head of the chain */
    uint8_t *leaves;
    size_t capacity; /* records */
};

/* Leaf of one record, and the chain's next hash: the canonical form stands in seal.c. */
void poly_seal_leaf(const struct poly_record *record, const uint8_t *salt, size_t salt_size,
                    uint8_t leaf[POLY_LEAF]);
void poly_seal_next(uint8_t hash[POLY_HASH], uint64_t first, uint64_t last, const uint8_t *leaves,
                    size_t size);

bool poly_chain_init(struct poly_chain *chain); /* of zeros. false: out of memory */
void poly_chain_release(struct poly_chain *chain);
/* As the database has it. */
enum poly_status poly_chain_load(struct poly_chain *chain, struct poly_db *db,
                                 struct poly_error *err);
/* The leaf of the next record. Without memory for it, it is made later, from the row. */
void poly_chain_add(struct poly_chain *chain, const struct poly_record *record, const uint8_t *salt,
                    size_t salt_size);
/* Records beyond head have been rolled back. */
void poly_chain_rewind(struct poly_chain *chain, uint64_t head);

struct poly_chain_seal {
    struct poly_instance *instance;
    struct poly_db *db; /* in a transaction */
    uint64_t head;      /* no record beyond it is sealed */
    uint64_t max;       /* records, at most */
    bool sparse;        /* there may be no record at head: positions that were rolled back */
};
/* Adds what is beyond sealed to the chain. */
enum poly_status poly_chain_seal(struct poly_chain *chain, const struct poly_chain_seal *seal,
                                 struct poly_error *err);

#endif
