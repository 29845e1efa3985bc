/*
 * Vectors and words together: each side gives its best candidates, as many as poly_vector_depth()
 * says, and one list is made of both.
 *
 *   rank       weight / (60 + rank) of each side that has found it, ranks from 1
 *   weighted   weight * score of each side, the best of its candidates 1, the last one 0
 *
 * Source of the first: Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and
 * individual rank learning methods (2009).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "polystore/search.h"
#include "stores/vector/store.h"

enum { RANK = 60, TIMES = 5, LEAST = 100 };

/* One candidate. */
struct both {
    struct poly_match match;
    double vector, text; /* what each side adds */
};

uint32_t poly_vector_depth(const struct poly_vector_lookup *l)
{
    uint32_t depth = TIMES * (l->query->offset + l->limit);

    depth = depth < LEAST ? LEAST : depth;
    return depth > POLY_MAX_HITS ? POLY_MAX_HITS : depth;
}

enum poly_status poly_vector_check_hybrid(const struct poly_vector_lookup *l)
{
    const struct poly_hybrid *hybrid = &l->query->hybrid;

    if (!(hybrid->weight >= 0 && hybrid->weight <= 1))
        return poly_fail(l->err, POLY_INVALID, "hybrid: the weight %g is none of 0 to 1",
                         hybrid->weight);
    if (l->query->group != NULL)
        return poly_fail(l->err, POLY_INVALID, "hybrid: answers of both sides cannot be grouped");
    if (l->query->offset + l->limit > POLY_MAX_HITS)
        return poly_fail(l->err, POLY_LIMIT, "hybrid: offset and limit together are at most %d",
                         POLY_MAX_HITS);
    return POLY_OK;
}

static enum poly_status find_words(struct poly_vector_lookup *l, struct poly_hits *hits)
{
    const struct poly_search_query search = {.query = l->query->hybrid.query,
                                             .domains = l->query->domains,
                                             .where = l->query->where,
                                             .limit = poly_vector_depth(l)};

    return poly_search(l->session, &search, hits, l->err);
}

/* --- one list of two --- */

static int compare_text(struct poly_text a, struct poly_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *left, const void *right)
{
    const struct both *a = left, *b = right;
    int order = compare_text(a->match.domain, b->match.domain);

    return order != 0 ? order : compare_text(a->match.key, b->match.key);
}

static int by_score(const void *left, const void *right)
{
    const struct both *a = left, *b = right;

    if (a->match.score != b->match.score)
        return a->match.score > b->match.score ? -1 : 1;
    return by_key(left, right);
}

/* What a side adds: rank from 0, of count; its score, and those of the best and the last. */
static double part(const struct poly_hybrid *hybrid, double weight, size_t rank,
                   const double scores[3])
{
    double range = scores[1] - scores[2];

    if (hybrid->fusion == POLY_FUSION_RANK)
        return weight / (double)(RANK + rank + 1);
    return weight * (range > 0 ? (scores[0] - scores[2]) / range : 1);
}

static size_t gather(const struct poly_vector_lookup *l, const struct poly_matches *matches,
                     const struct poly_hits *hits, struct both *list)
{
    const struct poly_hybrid *hybrid = &l->query->hybrid;
    double weight = hybrid->weight == 0 ? 0.5 : hybrid->weight;
    size_t count = 0;

    for (size_t i = 0; i < matches->count; i++) {
        const struct poly_match *match = &matches->matches[i];
        const double scores[3] = {match->score, matches->matches[0].score,
                                  matches->matches[matches->count - 1].score};

        list[count++] = (struct both){.match = *match, .vector = part(hybrid, weight, i, scores)};
    }
    for (size_t i = 0; i < hits->count; i++) {
        const struct poly_hit *hit = &hits->hits[i];
        const double scores[3] = {hit->score, hits->hits[0].score,
                                  hits->hits[hits->count - 1].score};

        list[count++] = (struct both){.match = {.domain = hit->domain,
                                                .key = hit->key,
                                                .version = hit->version,
                                                .distance = (double)NAN,
                                                .similarity = (double)NAN},
                                      .text = part(hybrid, 1 - weight, i, scores)};
    }
    return count;
}

/* The two entries of what both sides have found become one. */
static size_t join(struct both *list, size_t count)
{
    size_t kept = 0;

    qsort(list, count, sizeof(*list), by_key);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || by_key(&list[kept - 1], &list[i]) != 0) {
            list[kept++] = list[i];
            continue;
        }
        if (isnan(list[kept - 1].match.distance))
            list[kept - 1].match = list[i].match;
        list[kept - 1].vector += list[i].vector;
        list[kept - 1].text += list[i].text;
    }
    return kept;
}

/* With a threshold, what was found by its text only is not known to reach it. */
static size_t leave_out(const struct poly_vector_query *query, struct both *list, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        list[i].match.score = list[i].vector + list[i].text;
        if (!query->has_threshold || !isnan(list[i].match.distance))
            list[kept++] = list[i];
    }
    return kept;
}

enum poly_status poly_vector_fuse(struct poly_vector_lookup *l, struct poly_matches *matches)
{
    struct poly_hits hits;
    struct poly_match *out;
    struct both *list;
    size_t count, first = l->query->offset;
    enum poly_status status = find_words(l, &hits);

    if (status != POLY_OK)
        return poly_fail_in(l->err, status, "hybrid");
    list = poly_arena_array(l->arena, matches->count + hits.count + 1, sizeof(*list));
    if (list == NULL)
        return poly_no_memory(l->err);
    count = join(list, gather(l, matches, &hits, list));
    count = leave_out(l->query, list, count);
    qsort(list, count, sizeof(*list), by_score);
    first = first > count ? count : first;
    count = count - first > l->limit ? l->limit : count - first;
    out = poly_arena_array(l->arena, count + 1, sizeof(*out));
    if (out == NULL)
        return poly_no_memory(l->err);
    for (size_t i = 0; i < count; i++)
        out[i] = list[first + i].match;
    matches->matches = out;
    matches->count = count;
    return POLY_OK;
}
