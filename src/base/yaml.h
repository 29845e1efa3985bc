/*
 * YAML as configuration files need it: one document of mappings, lists and
 * scalars, as a tree in an arena. Anchors, aliases and tags are refused, and
 * so are names that stand twice in a mapping: nothing is expanded, replaced or
 * guessed.
 */
#ifndef POLY_BASE_YAML_H
#define POLY_BASE_YAML_H

#include "base/arena.h"
#include "base/status.h"

enum poly_yaml_kind { POLY_YAML_SCALAR, POLY_YAML_MAPPING, POLY_YAML_LIST };

struct poly_yaml {
    enum poly_yaml_kind kind;
    int line;         /* from 1: of the name, where there is one */
    bool quoted;      /* scalar: written in quotes */
    const char *name; /* in a mapping; else NULL */
    const char *text; /* scalar: UTF-8 without NUL; else NULL */
    struct poly_yaml *next;
    struct poly_yaml *child; /* first of a mapping or list */
};

/*
 * *root is a mapping, empty for an empty text. file is for messages:
 * "polystore.yaml:12: what is wrong" (POLY_INVALID). POLY_NO_MEMORY: also when
 * the arena's maximum is reached.
 */
enum poly_status poly_yaml_read(const char *file, struct poly_text text, struct poly_arena *arena,
                                struct poly_yaml **root, struct poly_error *err);

#endif
