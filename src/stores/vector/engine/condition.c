/*
 * A condition over blocks of slots, as bitmaps. NOT is pushed down to the comparisons (De Morgan
 * holds with unknowns, too), so a comparison only ever says "surely true" or "surely false" of a
 * value, and AND and OR are those of words.
 *
 * A comparison is decided for each number of its column's dictionary beforehand when more slots are
 * asked for than there are values; else for each slot, so that a few new slots cost a few
 * decisions however many values there are. "=" and "in" look up what they are about instead, so one
 * identifier among millions is found without asking the others.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"
#include "stores/vector/engine/catalog_inside.h"
#include "stores/vector/engine/matcher.h"

enum node_kind { ALL, NONE, LEAF, AND, OR };

struct node {
    enum node_kind kind;
    /* LEAF */
    struct poly_catalog_column *column;
    struct poly_matcher *matcher;
    enum poly_truth wanted; /* TRUE, or below a NOT FALSE */
    uint64_t *decided;      /* a bit for each value; NULL: not decided beforehand */
    uint32_t values;        /* of the column, that are published */
    size_t named;           /* values that it compares with */
    /* AND, OR */
    struct node *parts;
    size_t count;
};

struct poly_condition {
    struct node root;
};

/* --- is it one? --- */

struct count {
    unsigned parts, comparisons;
};

static struct poly_catalog_column *column_of(const struct poly_catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->column_count; i++)
        if (strcmp(catalog->columns[i].name, name) == 0)
            return &catalog->columns[i];
    return NULL;
}

static enum poly_status check_leaf(const struct poly_catalog *catalog,
                                   const struct poly_filter *filter, struct poly_error *err)
{
    enum poly_status status;

    if (filter == NULL)
        return poly_fail(err, POLY_INVALID, "a condition without a comparison");
    status = poly_filter_sound(filter, err);
    if (status == POLY_OK && column_of(catalog, filter->column) == NULL)
        status = poly_fail(err, POLY_INVALID, "'%.64s' is no column that vectors are filtered by",
                           filter->column);
    return status;
}

static enum poly_status check(const struct poly_catalog *catalog, const struct poly_where *where,
                              unsigned depth, struct count *count, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (depth > POLY_MAX_QUERY_DEPTH)
        return poly_fail(err, POLY_LIMIT, "a condition of more than %d levels",
                         POLY_MAX_QUERY_DEPTH);
    if (++count->parts > POLY_MAX_WHERE_PARTS)
        return poly_fail(err, POLY_LIMIT, "a condition of more than %d parts",
                         POLY_MAX_WHERE_PARTS);
    if (where->kind == POLY_WHERE_COMPARE) {
        if (++count->comparisons > POLY_MAX_FILTERS)
            return poly_fail(err, POLY_LIMIT, "a condition of more than %d comparisons",
                             POLY_MAX_FILTERS);
        return check_leaf(catalog, where->compare, err);
    }
    if (where->kind > POLY_WHERE_NOT || (where->kind == POLY_WHERE_NOT && where->part_count != 1))
        return poly_fail(err, POLY_INVALID, "a condition is of no kind, or 'not' of several parts");
    if (where->part_count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "a condition of more than %d together", POLY_MAX_FILTERS);
    for (size_t i = 0; i < where->part_count && status == POLY_OK; i++)
        status = check(catalog, where->parts[i], depth + 1, count, err);
    return status;
}

enum poly_status poly_condition_check(const struct poly_catalog *catalog,
                                      const struct poly_where *where, struct poly_error *err)
{
    struct count count = {0};

    return where == NULL ? POLY_OK : check(catalog, where, 0, &count, err);
}

/* --- making it ready --- */

static enum poly_status build(const struct poly_catalog *catalog, const struct poly_where *where,
                              bool negated, struct node *node, struct poly_error *err);

static enum poly_status build_parts(const struct poly_catalog *catalog,
                                    const struct poly_where *where, bool negated, struct node *node,
                                    struct poly_error *err)
{
    bool all = (where->kind == POLY_WHERE_AND) != negated;
    enum poly_status status = POLY_OK;

    node->kind = all ? ALL : NONE;
    if (where->part_count == 0)
        return POLY_OK;
    node->parts = calloc(where->part_count, sizeof(*node->parts));
    if (node->parts == NULL)
        return poly_no_memory(err);
    node->kind = all ? AND : OR;
    for (size_t i = 0; i < where->part_count && status == POLY_OK; i++) {
        node->count++;
        status = build(catalog, where->parts[i], negated, &node->parts[i], err);
    }
    return status;
}

static enum poly_status build(const struct poly_catalog *catalog, const struct poly_where *where,
                              bool negated, struct node *node, struct poly_error *err)
{
    if (where->kind == POLY_WHERE_NOT)
        return build(catalog, where->parts[0], !negated, node, err);
    if (where->kind != POLY_WHERE_COMPARE)
        return build_parts(catalog, where, negated, node, err);
    node->kind = LEAF;
    node->column = column_of(catalog, where->compare->column);
    node->wanted = negated ? POLY_FALSE : POLY_TRUE;
    node->named = where->compare->value_count;
    return poly_matcher_new(where->compare, &node->matcher, err);
}

static void release(struct node *node)
{
    for (size_t i = 0; i < node->count; i++)
        release(&node->parts[i]);
    free(node->parts);
    free(node->decided);
    poly_matcher_free(node->matcher);
}

void poly_condition_free(struct poly_condition *c)
{
    if (c == NULL)
        return;
    release(&c->root);
    free(c);
}

/* --- deciding --- */

static bool fits(struct node *leaf, uint32_t code)
{
    return poly_matcher_decide(leaf->matcher, poly_dictionary_at(&leaf->column->values, code)) ==
           leaf->wanted;
}

/* A value that fits; it may not be in the dictionary, or have come since. */
static void mark(void *arg, const struct poly_value *value)
{
    struct node *leaf = arg;
    uint32_t number = poly_dictionary_find(&leaf->column->values, value);

    if (number < leaf->values)
        leaf->decided[number / 64] |= UINT64_C(1) << (number % 64);
}

/* Is it worth it, for so many slots? A bit to clear for each value costs next to nothing. */
static bool worth_naming(const struct node *leaf, uint32_t slots)
{
    return leaf->wanted == POLY_TRUE && poly_matcher_is_equal(leaf->matcher) &&
           leaf->values / 512 <= slots && leaf->named * 16 <= slots;
}

static enum poly_status decide_all(struct node *leaf, uint32_t slots, struct poly_error *err)
{
    bool naming = worth_naming(leaf, slots);

    if (!naming && leaf->values > slots)
        return POLY_OK;
    leaf->decided = calloc(leaf->values / 64 + 1, sizeof(*leaf->decided));
    if (leaf->decided == NULL)
        return poly_no_memory(err);
    if (naming)
        poly_matcher_equals(leaf->matcher, mark, leaf);
    for (uint32_t i = 0; !naming && i < leaf->values; i++)
        leaf->decided[i / 64] |= (uint64_t)fits(leaf, i) << (i % 64);
    return POLY_OK;
}

static enum poly_status prepare(struct node *node, uint32_t slots, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < node->count && status == POLY_OK; i++)
        status = prepare(&node->parts[i], slots, err);
    if (node->kind != LEAF)
        return status;
    node->values = atomic_load_explicit(&node->column->values.published, memory_order_acquire);
    return decide_all(node, slots, err);
}

enum poly_status poly_condition_new(const struct poly_catalog *catalog,
                                    const struct poly_where *where, uint32_t slots,
                                    struct poly_condition **condition, struct poly_error *err)
{
    struct poly_condition *c = calloc(1, sizeof(*c));
    enum poly_status status = POLY_OK;

    if (c == NULL)
        return poly_no_memory(err);
    c->root.kind = ALL;
    if (where != NULL)
        status = build(catalog, where, false, &c->root, err);
    if (status == POLY_OK)
        status = prepare(&c->root, slots, err);
    if (status == POLY_OK)
        *condition = c;
    else
        poly_condition_free(c);
    return status;
}

static bool failed(const struct node *node)
{
    if (node->kind == LEAF && poly_matcher_failed(node->matcher))
        return true;
    for (size_t i = 0; i < node->count; i++)
        if (failed(&node->parts[i]))
            return true;
    return false;
}

bool poly_condition_failed(const struct poly_condition *c)
{
    return failed(&c->root);
}

/* --- blocks --- */

static void fetch(const struct poly_array *codes, const struct poly_block *block, uint32_t *out)
{
    if (block->list != NULL) {
        for (uint32_t i = 0; i < block->count; i++)
            out[i] = *(const uint32_t *)poly_array_at(codes, block->list[i]);
        return;
    }
    for (uint32_t i = 0, run; i < block->count; i += run) {
        run = poly_array_run(block->first + i, block->first + block->count);
        memcpy(out + i, poly_array_at(codes, block->first + i), run * sizeof(*out));
    }
}

static void evaluate_leaf(struct node *node, const struct poly_block *block, uint64_t *bits)
{
    uint32_t codes[POLY_BLOCK];

    fetch(&node->column->codes, block, codes);
    for (uint32_t i = 0; i < block->count; i += 64) {
        uint32_t count = block->count - i < 64 ? block->count - i : 64;
        uint64_t word = 0;

        if (node->decided != NULL)
            for (uint32_t j = 0; j < count; j++) {
                uint32_t code = codes[i + j];

                word |= (node->decided[code / 64] >> (code % 64) & 1) << j;
            }
        else
            for (uint32_t j = 0; j < count; j++)
                word |= (uint64_t)fits(node, codes[i + j]) << j;
        bits[i / 64] = word;
    }
}

static void fill(uint64_t *bits, uint32_t count)
{
    memset(bits, 0xff, count / 64 * sizeof(*bits));
    if (count % 64 != 0)
        bits[count / 64] = (UINT64_C(1) << (count % 64)) - 1;
}

static void evaluate(struct node *node, const struct poly_block *block, uint64_t *bits)
{
    uint64_t part[POLY_BLOCK_WORDS];

    memset(bits, 0, POLY_BLOCK_WORDS * sizeof(*bits));
    if (node->kind == LEAF)
        evaluate_leaf(node, block, bits);
    else if (node->kind == ALL)
        fill(bits, block->count);
    for (size_t i = 0; i < node->count; i++) {
        evaluate(&node->parts[i], block, i == 0 ? bits : part);
        for (size_t w = 0; i > 0 && w < POLY_BLOCK_WORDS; w++)
            bits[w] = node->kind == AND ? bits[w] & part[w] : bits[w] | part[w];
    }
}

void poly_condition_block(struct poly_condition *c, const struct poly_block *block,
                          uint64_t bits[POLY_BLOCK_WORDS])
{
    evaluate(&c->root, block, bits);
}
