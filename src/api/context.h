/*
 * What a handler works with: the request, checked by the table; an arena for
 * the time of the call; and the answer, which is buffered until it is 16 KiB,
 * so that most failures still become a problem document.
 */
#ifndef POLY_API_CONTEXT_H
#define POLY_API_CONTEXT_H

#include "api/operations.h"
#include "base/json.h"
#include "base/json_floats.h"

struct api_context {
    struct poly_session *session;
    const struct api_request *request;
    struct api_sink *sink; /* NULL while a write is staged */
    struct poly_arena *arena;
    json_t *body; /* checked; NULL when the operation takes none or lines */
    struct poly_floats_taken taken; /* out of the body: what is API_FLOATS in its schema */
    struct poly_buffer out;
    struct api_head head;
    bool begun;   /* head and some bytes are out */
    bool stopped; /* the other side is gone */
};

/* --- parameters (check.c). They have passed the table: what is there is right. --- */

enum poly_status api_check_parameters(const struct api_request *request, struct poly_error *err);
const char *api_text(const struct api_context *context, const char *name); /* NULL: not given */
int64_t api_integer(const struct api_context *context, const char *name, int64_t otherwise);
bool api_true(const struct api_context *context, const char *name);
/* Of a repeated one: NULL-terminated, in the arena; NULL when it was not given. */
enum poly_status api_texts(const struct api_context *context, const char *name,
                           const char *const **texts, struct poly_error *err);
/* The parameter "filter"; none: count 0. */
struct poly_filter;
enum poly_status api_filters(const struct api_context *context, const struct poly_filter **filters,
                             size_t *count, struct poly_error *err);

/* --- bodies (check.c) --- */

enum poly_status api_check_object(const json_t *json, const struct api_schema *schema,
                                  struct poly_error *err);
/* Member of a checked object as text; NULL: not there. */
const char *api_member(const json_t *object, const char *name);
/* A checked API_EXPECTED: POLY_ANY, POLY_NONE or a version. NULL: POLY_ANY. */
int64_t api_expected(const json_t *json);
/* An array into values, in the arena. NULL: none. */
enum poly_status api_values(const struct api_context *context, const json_t *array,
                            const struct poly_value **values, size_t *count,
                            struct poly_error *err);
/* A checked API_FLOATS, in the arena. NULL: none. */
enum poly_status api_floats(const struct api_context *context, const json_t *array,
                            struct poly_floats *floats, struct poly_error *err);
/* JSON text of a value, in the arena; NULL: out of memory. */
const char *api_dump(const struct api_context *context, const json_t *json);

/* --- the answer (answer.c) --- */

/* Takes over how fresh the session's last read was. */
void api_answer_fresh(struct api_context *context);
/* Sends what is there if that is 16 KiB, or all the same. False: stop, nobody listens. */
bool api_answer_flush(struct api_context *context, bool now);
/* The end of a good answer. */
enum poly_status api_answer_finish(struct api_context *context, struct poly_error *err);
/* The end of one that went wrong: in band when it has begun; else nothing is sent. Returns
 * err's status. before: what closes the open array ("]"); NULL: JSON lines. */
enum poly_status api_answer_fail(struct api_context *context, const char *before,
                                 struct poly_error *err);
/* Line breaks in what was printed since "from" become spaces: JSON lines and events must not
 * break inside of a value, and in JSON they stand between tokens only. */
void api_one_line(struct poly_buffer *out, size_t from);

/* --- printing objects: each adds a comma unless the object has just been opened --- */

void api_name(struct poly_buffer *out, const char *name);
void api_put_text(struct poly_buffer *out, const char *name, struct poly_text text);
void api_put_integer(struct poly_buffer *out, const char *name, uint64_t integer);
void api_put_number(struct poly_buffer *out, const char *name, double number);
void api_put_bool(struct poly_buffer *out, const char *name, bool truth);
/* Nothing is printed for an empty text or a time of 0. */
void api_put_some(struct poly_buffer *out, const char *name, struct poly_text text);
void api_put_time(struct poly_buffer *out, const char *name, int64_t microseconds);
void api_put_rights(struct poly_buffer *out, const char *name, unsigned rights);

/* name="value" of a metric */
void api_put_label(struct poly_buffer *out, const char *name, struct poly_text value);

/* {"position": …, …}, on one line */
struct poly_record;
void api_put_record(struct poly_buffer *out, const struct poly_record *record);
/* {"key": …, "version": …, "row": …} */
struct poly_document;
void api_put_document(struct poly_buffer *out, const struct poly_document *document);

#endif
