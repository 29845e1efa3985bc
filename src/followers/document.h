/* From a record of the log to a document: what every store does alike that keeps one for each. */
#ifndef POLY_FOLLOWERS_DOCUMENT_H
#define POLY_FOLLOWERS_DOCUMENT_H

#include "base/arena.h"
#include "core/driver.h"

/* Do records of that name concern the domain: its own, or the category of its streams? */
bool poly_document_of(const struct poly_domain *domain, struct poly_text name);
/* Does a record make or remove a document of an index? source: the domain's name, or a stream's
 * category. Changes belong to the domain of their name, events to those that follow their category.
 */
bool poly_document_concerns(const char *source, bool stream, const struct poly_record *record);
bool poly_document_removes(const struct poly_record *record);
/* Has it an object of fields? Else the document is empty. */
bool poly_document_has_json(const struct poly_record *record);

/* The document's key: the record's; an event is a document of its own: "order-42@7". A view, or in
 * the arena. */
enum poly_status poly_document_key(const struct poly_record *record, bool stream,
                                   struct poly_arena *arena, struct poly_text *key,
                                   struct poly_error *err);

/* The batch stops at this record; puts its name and the store's before the message that is there.
 */
enum poly_status poly_document_poison(const char *store, struct poly_batch *batch,
                                      const struct poly_record *record, enum poly_status status,
                                      struct poly_error *err);
/* Poisons a record whose data is no JSON. */
enum poly_status poly_document_check(const char *store, struct poly_batch *batch,
                                     const struct poly_record *record, struct poly_error *err);

#endif
