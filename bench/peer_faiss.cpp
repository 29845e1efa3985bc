/* The side of faiss: its HNSW on vectors as they are, as Debian builds it. */
#include "vector_side.h"

#include <faiss/IndexHNSW.h>
#include <omp.h>

#include <vector>

namespace
{
faiss::IndexHNSWFlat *graph;

void build(const struct vector_set *set)
{
    omp_set_num_threads(1);
    graph = new faiss::IndexHNSWFlat(static_cast<int>(set->dimensions), VECTOR_M);
    graph->hnsw.efConstruction = VECTOR_EF_CONSTRUCTION;
    graph->add(set->count, set->base);
}

uint64_t bytes()
{
    return graph->ntotal * graph->d * sizeof(float) +
           graph->hnsw.neighbors.size() * sizeof(graph->hnsw.neighbors[0]) +
           graph->hnsw.offsets.size() * sizeof(graph->hnsw.offsets[0]) +
           graph->hnsw.levels.size() * sizeof(graph->hnsw.levels[0]);
}

/* Without filters. */
uint64_t search(const float *query, uint32_t ef, uint32_t, uint32_t *ids)
{
    float distances[VECTOR_K];
    faiss::Index::idx_t found[VECTOR_K];

    graph->hnsw.efSearch = static_cast<int>(ef);
    graph->search(1, query, VECTOR_K, distances, found);
    for (size_t i = 0; i < VECTOR_K; i++)
        ids[i] = static_cast<uint32_t>(found[i]);
    return 0;
}
} // namespace

int main(int argc, char **argv)
{
    const struct vector_side side = {false, build, bytes, search};

    return vector_main(argc, argv, &side);
}
