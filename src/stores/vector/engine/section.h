/*
 * Files of checked sections: what an index or a catalog is saved as. The first page says what
 * sections there are, each begins on a page, and every byte of the file belongs to one checksum
 * (XXH3): a file that is opened is the one that was written, to the bit.
 *
 * A checksum finds damage, not malice, and not a program that writes nonsense: readers check every
 * number they take from a section all the same.
 *
 * Threads: one at a time for each writer; an open file may be read by several.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_SECTION_H
#define POLY_STORES_VECTOR_ENGINE_SECTION_H

#include <stddef.h>
#include <stdint.h>

#include "polystore/status.h"

enum { POLY_SECTION_PAGE = 4096, POLY_SECTIONS_MAX = 64 };

struct poly_section_writer;

/* Makes the file, or empties it. kind: what it is; opening asks for the same. POLY_UNAVAILABLE:
 * the system's reason. */
enum poly_status poly_section_create(const char *path, uint32_t kind,
                                     struct poly_section_writer **writer, struct poly_error *err);
/* What is written from here on is section number (unique in the file). */
enum poly_status poly_section_begin(struct poly_section_writer *writer, uint32_t number,
                                    struct poly_error *err);
enum poly_status poly_section_write(struct poly_section_writer *writer, const void *data,
                                    size_t size, struct poly_error *err);
/* Writes the first page and makes the file durable, its name too. The writer is gone; when it
 * failed, so is the file. */
enum poly_status poly_section_finish(struct poly_section_writer *writer, struct poly_error *err);
/* Removes the file. NULL is accepted. */
void poly_section_abandon(struct poly_section_writer *writer);

struct poly_sections;

/* Reads the whole file once and checks it. POLY_NOT_FOUND: there is none; POLY_CORRUPT: a byte is
 * not as it was written, or it is of another kind or version; POLY_UNAVAILABLE: the system's
 * reason. */
enum poly_status poly_sections_open(const char *path, uint32_t kind,
                                    struct poly_sections **sections, struct poly_error *err);
/* Mapped, aligned to a page, until the file is closed; what is changed there stays in memory.
 * POLY_CORRUPT: there is no such section. */
enum poly_status poly_sections_get(const struct poly_sections *sections, uint32_t number,
                                   void **data, size_t *size, struct poly_error *err);
void poly_sections_close(struct poly_sections *sections); /* NULL is accepted */

#endif
