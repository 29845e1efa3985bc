/* Of fake_polystore.c, which includes it: the indexes of vectors, and what embedders refuse. */
#ifndef FAKE_VECTORS_H
#define FAKE_VECTORS_H

enum poly_status poly_vector_stats(struct poly_session *session,
                                   const struct poly_vector_stats **stats, size_t *count,
                                   struct poly_error *err)
{
    static struct poly_vector_stats some[] = {
        {.domain = {"d", 1},
         .name = {"embedding", 9},
         .model = {"m", 1},
         .dimensions = 2,
         .metric = POLY_L2,
         .element = "f32",
         .m = 16,
         .ef_construction = 64,
         .ef = 100,
         .vectors = 10,
         .dead = 1,
         .linked = 9, .unlinked = 3,
         .memory_bytes = 4096,
         .file_bytes = 2048,
         .saved_position = 17,
         .searches = 5,
         .visited = 50,
         .recall = 0.995,
         .samples = 2},
        {.domain = {"e\"", 2}, .name = {"v", 1}, .element = "int8"},
    };

    (void)session;
    some[1].recall = NAN;
    *stats = some;
    *count = 2;
    return answer("vector_stats", err);
}

enum poly_status poly_vector_refused(struct poly_session *session,
                                     const struct poly_refused_query *query,
                                     struct poly_refused_page *page, struct poly_error *err)
{
    static const struct poly_vector_refusal one = {
        .tenant = {"t", 1}, .key = {"7", 1}, .version = 12, .time = 1, .error = {"too long", 8}};

    (void)session;
    note("refused %s %s %d %u %s;", query->domain, query->name == NULL ? "-" : query->name,
         query->next, query->limit, query->cursor == NULL ? "-" : query->cursor);
    *page = (struct poly_refused_page){&one, 1, query->limit == 1 ? "more" : NULL};
    return answer("refused", err);
}

enum poly_status poly_vector_retry(struct poly_session *session, const char *domain,
                                   const char *name, uint64_t *count, struct poly_error *err)
{
    (void)session;
    note("again %s %s;", domain, name == NULL ? "-" : name);
    *count = 3;
    return answer("again", err);
}

#endif
