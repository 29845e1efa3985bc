/* Schemas, as in schemas.c: vectors that embedders make. */
#include "api/schemas_inside.h"
#include "base/limits.h"

const struct api_schema api_schema_embedding = {
    .name = "Embedding",
    .meaning = "a vector of a domain that an embedder makes of the records' text",
    .fields = FIELDS(
        STRING("domain", "its domain"),
        STRING("name", "which of its vectors; empty: it has one, without a name"),
        FLAG("next", "it is to take the place of that vector: a change of model is under way"),
        STRING("embedder", "what makes it"), STRING("model", "its model"),
        MEMBER("state", API_CHOICE, "behind: records wait; retrying: requests fail", REQUIRED,
               .choices = API_STATES),
        COUNT("position", "of the log: what comes after it has not been looked at"),
        COUNT("lag_records", "so many"), COUNT("waiting", "records whose text has no vector yet"),
        COUNT("refused", "records whose text cannot be embedded"),
        MEMBER("behind_seconds", API_NUMBER, "age of the oldest record that waits", REQUIRED),
        COUNT("made", "vectors, by this daemon since its start"),
        COUNT("failures", "requests that failed and texts that were refused, the same"),
        FLAG("leads", "this daemon makes them"), MEMBER("error", API_TEXT, "why requests fail"),
        MEMBER("error_time", API_TIME, "since when")),
};

const struct api_schema api_schema_embedding_refusal = {
    .name = "EmbeddingRefusal",
    .meaning = "a record whose text cannot be embedded",
    .fields =
        FIELDS(MEMBER("tenant", API_TEXT, "whose record; missing: nobody's"),
               STRING("key", "of the record"), COUNT("version", "of the record"),
               MEMBER("time", API_TIME, "when it was refused", REQUIRED), STRING("error", "why")),
};

const struct api_schema api_schema_embedding_refusals = {
    .name = "EmbeddingRefusals",
    .meaning = "a page of the records whose text cannot be embedded",
    .fields = FIELDS(ITEMS("refused", embedding_refusal, "by tenant and key"),
                     MEMBER("cursor", API_TEXT, "for the next page; missing: this was the last")),
};

const struct api_schema api_schema_embedding_retry = {
    .name = "EmbeddingRetry",
    .meaning = "what will be tried again",
    .fields = FIELDS(COUNT("waiting", "records that had been refused")),
};
