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

#include <stdatomic.h>
#include <stdbool.h>
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

/* Reading that takes long, as others see it. Any thread. */
struct poly_loading {
    atomic_bool stop;      /* it is to end soon; what it was for fails */
    _Atomic uint64_t done; /* bytes that were read and compared */
};

/* So many bytes more, or only a look: is it to go on? watch NULL: it is. */
bool poly_loading_step(struct poly_loading *watch, uint64_t bytes);
/* POLY_UNAVAILABLE: it was told to stop. */
enum poly_status poly_loading_stopped(const char *path, struct poly_error *err);

/* Control: tests hold all reading where so many bytes are done. */
extern _Atomic uint64_t poly_control_loading;

struct poly_sections;

/* Reads the whole file once and checks it. watch: NULL: nobody looks. POLY_NOT_FOUND: there is
 * none; POLY_CORRUPT: a byte is not as it was written, or it is of another kind or version;
 * POLY_UNAVAILABLE: the system's reason, or it was to stop. */
enum poly_status poly_sections_open(const char *path, uint32_t kind, struct poly_loading *watch,
                                    struct poly_sections **sections, struct poly_error *err);
/* Reads the first page and, number > 0, that section, which is of that size: both are checked, the
 * others are not. *bytes: the whole file's. Errors as of poly_sections_open(). */
enum poly_status poly_sections_peek(const char *path, uint32_t kind, uint32_t number, void *data,
                                    size_t size, uint64_t *bytes, struct poly_error *err);
/* Mapped, aligned to a page, until the file is closed; what is changed there stays in memory.
 * POLY_CORRUPT: there is no such section. */
enum poly_status poly_sections_get(const struct poly_sections *sections, uint32_t number,
                                   void **data, size_t *size, struct poly_error *err);
void poly_sections_close(struct poly_sections *sections); /* NULL is accepted */

#endif
