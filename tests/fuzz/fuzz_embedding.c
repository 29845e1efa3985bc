/* What an embedder answers: whatever is taken as vectors is whole and finite, in both readings of
 * an answer nothing is read or written beyond it, and no piece of the key gets into a message. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "stores/vector/embedder_answer.h"

enum { COUNT = 3, DIMENSIONS = 2 };

static void read_vectors(struct poly_text text)
{
    float *vectors = malloc(COUNT * DIMENSIONS * sizeof(*vectors)); /* its ends are watched */
    struct poly_embeddings room = {vectors, COUNT, DIMENSIONS};
    struct poly_error err = {.position = 0};
    enum poly_status status;

    poly_assert(vectors != NULL);
    status = poly_embeddings_read(text, &room, &err);
    poly_assert(status == POLY_OK || status == POLY_UNSUPPORTED);
    poly_assert((status == POLY_OK) == (err.message[0] == '\0'));
    for (int i = 0; i < COUNT * DIMENSIONS && status == POLY_OK; i++)
        poly_assert(isfinite(vectors[i]));
    free(vectors);
}

static void read_problem(struct poly_text text)
{
    static const char secret[] = "sk-0123456789";
    char problem[POLY_EMBEDDER_PROBLEM];

    poly_embedder_problem(text, secret, problem);
    poly_assert(poly_utf8_valid(problem, strlen(problem)));
    for (size_t i = 0; i + 6 < sizeof(secret); i++)
        poly_assert(memmem(problem, strlen(problem), secret + i, 6) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size);

    poly_assert(copy != NULL);
    memcpy(copy, data, size);
    read_vectors((struct poly_text){copy, size});
    read_problem((struct poly_text){copy, size});
    free(copy);
    return 0;
}
