/* hnswlib's side of the vector measurement: the library as it is, with its own instructions for
 * this processor. */
#include "vector_side.h"

#include "hnswlib/hnswlib.h"

#include <vector>

namespace
{
hnswlib::L2Space *space;
hnswlib::HierarchicalNSW<float> *graph;
std::vector<bool> fitting;
uint32_t last = VECTOR_ALL;

struct filter : hnswlib::BaseFilterFunctor {
    bool operator()(hnswlib::labeltype id) override
    {
        return fitting[id];
    }
};

void build(const struct vector_set *set)
{
    space = new hnswlib::L2Space(set->dimensions);
    graph =
        new hnswlib::HierarchicalNSW<float>(space, set->count, VECTOR_M, VECTOR_EF_CONSTRUCTION);
    for (size_t i = 0; i < set->count; i++)
        graph->addPoint(set->base + i * set->dimensions, i);
    fitting.resize(set->count);
}

/* What it allocates for vectors and links; the map of labels and the locks are not counted. */
uint64_t bytes()
{
    uint64_t sum = graph->max_elements_ * (graph->size_data_per_element_ + sizeof(void *));

    for (size_t i = 0; i < graph->max_elements_; i++)
        sum += graph->element_levels_[i] * graph->size_links_per_element_;
    return sum;
}

uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    filter let;

    for (size_t i = 0; i < fitting.size() && permille != last; i++)
        fitting[i] = vector_fits(static_cast<uint32_t>(i), permille);
    last = permille;
    graph->setEf(ef);
    auto found = graph->searchKnn(query, VECTOR_K, permille < VECTOR_ALL ? &let : nullptr);
    for (size_t i = 0; i < VECTOR_K; i++)
        ids[i] = UINT32_MAX;
    for (size_t i = found.size(); i-- > 0; found.pop())
        ids[i] = static_cast<uint32_t>(found.top().second);
    return 0;
}
} // namespace

int main(int argc, char **argv)
{
    const struct vector_side side = {false, build, bytes, search};

    return vector_main(argc, argv, &side);
}
