/*
 * Generations as folders. A folder is never used again: that of a dropped generation may still be
 * read and closed while another one gets its number, so each has a name of its own. What is damaged
 * or missing makes a generation unusable as a whole: it is filled again from the log, which is seen
 * in the status, rather than answered from in part.
 *
 * A collection that nothing has changed is not saved again only because the log goes on. How far
 * what it has saved reaches stands in a small file: "DOMAIN.NAME SAVED REACHES SUM" is true for
 * ever, so it need not be on disk for certain, and where it is missing, or a line of it is not what
 * was written, more of the log is read again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "core/config.h"
#include "core/model.h"
#include "stores/vector/embedded.h"

enum { PATH = 4096, NAME = 256, LINE = 3 * NAME, MADE = '+' };

static enum poly_status disk_problem(const char *what, const char *path, struct poly_error *err)
{
    return poly_fail(err, POLY_UNAVAILABLE, "vector: cannot %s '%.300s': %s", what, path,
                     strerror(errno));
}

static bool make_path(char path[PATH], const char *folder, const char *name)
{
    return snprintf(path, PATH, "%s/%s", folder, name) < PATH;
}

/* The folder of a collection: the domain's name, and the vector's where there are several; where
 * the domain was made, since when, for its name may be used again. */
static bool set_path(char path[PATH], const char *folder, const struct poly_vector_set *set)
{
    const struct poly_made *made = set->domain->made;
    char change[16] = "", since[24] = "";

    if (made != NULL)
        snprintf(since, sizeof(since), "%c%" PRIu64, MADE, made->since);
    if (set->vector->change > 0)
        snprintf(change, sizeof(change), "@%u", set->vector->change);
    return snprintf(path, PATH, "%s/%s%s%s%s%s", folder, set->domain->name,
                    *set->vector->name == '\0' ? "" : ".", set->vector->name, since, change) < PATH;
}

static bool exists(const char *folder, const char *name)
{
    char path[PATH];

    return make_path(path, folder, name) && access(path, F_OK) == 0;
}

/* --- removing --- */

/* A generation's folder, with all collections in it. What cannot be removed stays for the next
 * start. */
static void remove_folder(const char *folder)
{
    struct poly_error ignored;
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    char path[PATH];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        struct stat what;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "dropped") == 0 || !make_path(path, folder, entry->d_name) ||
            lstat(path, &what) != 0)
            continue;
        if (S_ISDIR(what.st_mode))
            (void)poly_collection_destroy(path, &ignored);
        else
            unlink(path);
    }
    if (directory != NULL)
        closedir(directory);
    if (make_path(path, folder, "dropped")) /* the mark goes last */
        unlink(path);
    rmdir(folder);
}

struct poly_vector_body *poly_vectors_hold(struct poly_vectors *self, struct poly_vector_set *set,
                                           const struct poly_domain_vector **shape)
{
    struct poly_vector_body *body;

    pthread_rwlock_rdlock(&self->turn);
    body = set->body;
    *shape = set->vector;
    atomic_fetch_add(&body->users, 1);
    pthread_rwlock_unlock(&self->turn);
    return body;
}

void poly_vectors_let(struct poly_vector_body *body)
{
    struct poly_error ignored;

    if (body == NULL || atomic_fetch_sub(&body->users, 1) > 1)
        return;
    poly_collection_close(body->collection);
    if (body->destroy)
        (void)poly_collection_destroy(body->folder, &ignored);
    free(body->folder);
    free(body);
}

static void generation_free(struct poly_vector_generation *generation)
{
    if (generation == NULL)
        return;
    for (size_t i = 0; i < generation->set_count; i++) {
        poly_vectors_let(generation->sets[i].body);
        free(generation->sets[i].names);
    }
    if (generation->destroy)
        remove_folder(generation->folder);
    free(generation->sets);
    free(generation->folder);
    free(generation);
}

void poly_vectors_leave(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    bool last;

    pthread_mutex_lock(&self->lock);
    last = --generation->users == 0;
    pthread_mutex_unlock(&self->lock);
    if (last)
        generation_free(generation);
}

void poly_vectors_forget(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    struct poly_vector_generation **link = &self->generations;

    pthread_mutex_lock(&self->lock);
    while (*link != generation)
        link = &(*link)->next;
    *link = generation->next;
    generation->next = self->graves;
    generation->destroy = true;
    self->graves = generation;
    pthread_mutex_unlock(&self->lock);
    poly_vectors_stir(self);
}

enum poly_status poly_vectors_mark(struct poly_vector_generation *generation, bool dropped,
                                   struct poly_error *err)
{
    char path[PATH];
    int file;

    if (!make_path(path, generation->folder, "dropped"))
        return poly_fail(err, POLY_INVALID, "vector: the path of its folder is too long");
    if (!dropped) {
        unlink(path);
        return POLY_OK;
    }
    file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return disk_problem("write", path, err);
    close(file);
    return POLY_OK;
}

/* --- what is in memory --- */

static size_t count_sets(const struct poly_config *config)
{
    /* What nobody writes costs nothing. */
    size_t count = (size_t)POLY_MAX_COLLECTIONS_MADE * POLY_MAX_VECTORS;

    for (size_t i = 0; i < config->domain_count; i++)
        count += config->domains[i].vector_count;
    return count;
}

static bool fill_set(struct poly_vector_set *set, const struct poly_domain *domain,
                     const struct poly_domain_vector *vector)
{
    memset(set, 0, sizeof(*set));
    set->domain = domain;
    set->declared = vector;
    set->vector = poly_vector_now(vector);
    set->saved_at = poly_clock_monotonic();
    set->names = calloc(vector->filter_count + 1, sizeof(*set->names));
    if (set->names == NULL)
        return false;
    for (size_t i = 0; i < vector->filter_count; i++)
        set->names[i] = vector->filters[i];
    set->names[vector->filter_count] = vector->field;
    return true;
}

static struct poly_vector_generation *generation_new(struct poly_vectors *self, uint64_t number,
                                                     const char *folder)
{
    const struct poly_config *config = self->config;
    struct poly_vector_generation *generation = calloc(1, sizeof(*generation));

    if (generation == NULL)
        return NULL;
    generation->number = number;
    generation->users = 1;
    generation->folder = strdup(folder);
    generation->sets = calloc(count_sets(config) + 1, sizeof(*generation->sets));
    bool good = generation->folder != NULL && generation->sets != NULL;

    for (size_t i = 0; i < config->domain_count; i++)
        for (size_t v = 0; v < config->domains[i].vector_count && good; v++)
            good = fill_set(&generation->sets[generation->set_count++], &config->domains[i],
                            &config->domains[i].vectors[v]);
    atomic_store(&generation->domains, config->domain_count);
    if (good)
        return generation;
    generation_free(generation);
    return NULL;
}

static void add(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    pthread_mutex_lock(&self->lock);
    generation->next = self->generations;
    self->generations = generation;
    pthread_mutex_unlock(&self->lock);
}

struct poly_vector_generation *poly_vectors_find(struct poly_vectors *self, uint64_t number)
{
    struct poly_vector_generation *generation;

    pthread_mutex_lock(&self->lock);
    generation = self->generations;
    while (generation != NULL && (generation->number != number || generation->dropping))
        generation = generation->next;
    pthread_mutex_unlock(&self->lock);
    return generation;
}

/* --- how far it reaches --- */

/* Of what was before its model was changed it needs nothing. */
static uint64_t begins(const struct poly_domain_vector *shape)
{
    return shape->since == 0 ? 0 : shape->since - 1;
}

uint64_t poly_vectors_saved(struct poly_vectors *self,
                            const struct poly_vector_generation *generation,
                            struct poly_vector_set *set)
{
    uint64_t published = atomic_load(&generation->published), saved;
    const struct poly_domain_vector *shape;
    struct poly_vector_body *body = poly_vectors_hold(self, set, &shape);
    bool all = atomic_load(&body->changes) == 0;

    saved = poly_collection_saved(body->collection);
    poly_vectors_let(body);
    if (all)
        return published;
    return saved > begins(shape) ? saved : begins(shape);
}

/* What a set is called in the file of positions. */
static int set_label(const struct poly_vector_set *set, const struct poly_domain_vector *shape,
                     char label[LINE])
{
    const struct poly_made *made = set->domain->made;

    if (made != NULL && *shape->name == '\0' && shape->change == 0)
        return snprintf(label, LINE, "%s%c%" PRIu64 " ", set->domain->name, MADE, made->since);
    if (made != NULL)
        return snprintf(label, LINE, "%s.%s%c%" PRIu64 "@%u ", set->domain->name, shape->name, MADE,
                        made->since, shape->change);
    return snprintf(label, LINE, "%s.%s@%u ", set->domain->name, shape->name, shape->change);
}

/* text: room for LINE; size: of the label that it begins with. */
static bool print_position(FILE *file, char *text, int size, uint64_t saved, uint64_t reaches)
{
    size += snprintf(text + size, LINE - (size_t)size, "%" PRIu64 " %" PRIu64 " ", saved, reaches);
    return fprintf(file, "%s%016" PRIx64 "\n", text, XXH3_64bits(text, (size_t)size)) > 0;
}

/* Of a line without its label; false: it is not as it was written. */
static bool read_position(const char *line, int label, uint64_t *saved, uint64_t *reaches)
{
    char *end;
    uint64_t sum;

    *saved = strtoull(line + label, &end, 10);
    *reaches = strtoull(end, &end, 10);
    if (*end != ' ')
        return false;
    sum = XXH3_64bits(line, (size_t)(++end - line));
    return strtoull(end, &end, 16) == sum && *end == '\n';
}

void poly_vectors_note(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    char path[PATH], fresh[PATH], text[LINE];
    uint64_t reaches = atomic_load(&generation->published);
    FILE *file;
    bool written = true;

    if (generation->destroy || !make_path(path, generation->folder, "positions") ||
        !make_path(fresh, generation->folder, "positions.new"))
        return;
    file = fopen(fresh, "we");
    if (file == NULL)
        return;
    for (size_t i = 0; i < generation->set_count && written; i++) {
        struct poly_vector_set *set = &generation->sets[i];
        const struct poly_domain_vector *shape;
        struct poly_vector_body *body = poly_vectors_hold(self, set, &shape);

        if (atomic_load(&body->changes) == 0)
            written = print_position(file, text, set_label(set, shape, text),
                                     poly_collection_saved(body->collection), reaches);
        poly_vectors_let(body);
    }
    written = fclose(file) == 0 && written;
    if (written && rename(fresh, path) == 0)
        generation->noted = reaches;
    else
        unlink(fresh);
}

/* saved: of the collection now. Says how far that reaches. */
static uint64_t noted_position(const struct poly_vector_generation *generation,
                               const struct poly_vector_set *set, uint64_t saved)
{
    char path[PATH], line[LINE], wanted[LINE];
    uint64_t reaches = saved, of, upto;
    int size = set_label(set, set->vector, wanted);
    FILE *file = make_path(path, generation->folder, "positions") ? fopen(path, "re") : NULL;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, wanted, (size_t)size) == 0 && read_position(line, size, &of, &upto) &&
            of == saved && upto > reaches)
            reaches = upto;
    }
    if (file != NULL)
        fclose(file);
    return reaches;
}

/* --- loading and making --- */

static enum poly_element element_of(const struct poly_domain_vector *vector)
{
    static const char *const names[] = {
        [POLY_F32] = "f32", [POLY_F16] = "f16", [POLY_INT8] = "int8", [POLY_BINARY] = "binary"};
    size_t i = 0;

    while (i < POLY_BINARY && strcmp(names[i], vector->element) != 0)
        i++;
    return (enum poly_element)i;
}

/* path: room for its folder, which the options point to. */
static enum poly_status set_options(const struct poly_vector_generation *generation,
                                    const struct poly_vector_set *set, char path[PATH],
                                    struct poly_collection_options *options, struct poly_error *err)
{
    const struct poly_domain_vector *vector = set->vector;

    *options =
        (struct poly_collection_options){.index = {.element = element_of(vector),
                                                   .metric = poly_vector_metric(vector),
                                                   .dimensions = vector->dimensions,
                                                   .m = vector->m,
                                                   .ef_construction = vector->ef_construction},
                                         .columns = vector->filters,
                                         .column_count = vector->filter_count,
                                         .folder = path};
    return set_path(path, generation->folder, set)
               ? POLY_OK
               : poly_fail(err, POLY_INVALID, "vector: the path of its folder is too long");
}

enum poly_status poly_vectors_open_set(const struct poly_vector_generation *generation,
                                       struct poly_vector_set *set, struct poly_loading *watch,
                                       uint64_t *saved, bool *damaged, struct poly_error *err)
{
    char path[PATH];
    struct poly_collection_options options;
    struct poly_vector_body *body = calloc(1, sizeof(*body));
    enum poly_status status;

    if (body == NULL)
        return poly_no_memory(err);
    atomic_store(&body->users, 1);
    status = set_options(generation, set, path, &options, err);
    options.watch = watch;
    if (status == POLY_OK && (body->folder = strdup(path)) == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = poly_collection_open(&options, &body->collection, saved, damaged, err);
    if (status != POLY_OK) {
        poly_vectors_let(body);
        return status;
    }
    set->body = body;
    return POLY_OK;
}

/* What is saved of it reaches as far as that, and what the file of positions adds. */
static void reach(const struct poly_vector_generation *generation, struct poly_vector_set *set,
                  uint64_t saved)
{
    set->position = noted_position(generation, set, saved);
    if (set->position < begins(set->vector))
        set->position = begins(set->vector);
    if (set->domain->made != NULL && set->position < set->domain->made->since)
        set->position = set->domain->made->since;
}

/* Of a set that nothing is waiting for: it is empty, or small. */
static enum poly_status open_now(const struct poly_vector_generation *generation,
                                 struct poly_vector_set *set, struct poly_error *err)
{
    uint64_t saved = 0;
    bool damaged;
    enum poly_status status = poly_vectors_open_set(generation, set, NULL, &saved, &damaged, err);

    if (status == POLY_OK)
        reach(generation, set, saved);
    return status;
}

static enum poly_status look_at_set(const struct poly_vector_generation *generation,
                                    struct poly_vector_set *set, bool *damaged,
                                    struct poly_error *err)
{
    char path[PATH];
    struct poly_collection_options options;
    struct poly_collection_saved saved;
    enum poly_status status = set_options(generation, set, path, &options, err);

    if (status == POLY_OK)
        status = poly_collection_peek(&options, &saved, err);
    if (status != POLY_OK)
        return status;
    *damaged = saved.damaged;
    set->found = saved.position;
    set->bytes = saved.bytes;
    reach(generation, set, saved.position);
    return POLY_OK;
}

/* A folder of that name may be there from a log that has been put back. */
enum poly_status poly_vectors_follow_model(struct poly_vectors *self,
                                           struct poly_vector_generation *generation,
                                           struct poly_vector_set *set, struct poly_error *err)
{
    struct poly_vector_set next = {.domain = set->domain, .vector = poly_vector_now(set->declared)};
    struct poly_vector_body *last = set->body;
    char path[PATH];
    enum poly_status status;

    if (next.vector == set->vector)
        return POLY_OK;
    if (set_path(path, generation->folder, &next))
        (void)poly_collection_destroy(path, err);
    status = open_now(generation, &next, err);
    if (status != POLY_OK)
        return status;
    pthread_rwlock_wrlock(&self->turn);
    set->body = next.body;
    set->vector = next.vector;
    set->position = next.position;
    set->pending = 0;
    pthread_rwlock_unlock(&self->turn);
    last->destroy = true;
    poly_vectors_let(last);
    poly_vectors_stir(self);
    return POLY_OK;
}

/* What a change of model, or a collection that was dropped, has left. */
void poly_vectors_sweep(const struct poly_vector_generation *generation)
{
    DIR *directory = opendir(generation->folder);
    const struct dirent *entry;
    struct poly_error ignored;
    char path[PATH], own[PATH];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        bool ours = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                    !make_path(path, generation->folder, entry->d_name);
        struct stat what;

        for (size_t i = 0; i < generation->set_count && !ours; i++)
            ours =
                set_path(own, generation->folder, &generation->sets[i]) && strcmp(own, path) == 0;
        if (!ours && lstat(path, &what) == 0 && S_ISDIR(what.st_mode))
            (void)poly_collection_destroy(path, &ignored);
    }
    if (directory != NULL)
        closedir(directory);
}

/* Nothing of a collection that was made is older than that: where its folder is missing or damaged,
 * the log has the rest. */
static enum poly_status add_set(struct poly_vector_generation *generation,
                                const struct poly_domain *domain,
                                const struct poly_domain_vector *vector, struct poly_error *err)
{
    struct poly_vector_set *set = &generation->sets[generation->set_count];
    char path[PATH];
    bool damaged = false;
    enum poly_status status = fill_set(set, domain, vector) ? POLY_OK : poly_no_memory(err);

    if (status == POLY_OK)
        status = atomic_load(&generation->loaded) ? open_now(generation, set, err)
                                                  : look_at_set(generation, set, &damaged, err);
    if (status == POLY_OK && damaged && set_path(path, generation->folder, set))
        status = poly_collection_destroy(path, err);
    if (status != POLY_OK) {
        free(set->names);
        return status;
    }
    atomic_fetch_add(&generation->set_count, 1);
    return POLY_OK;
}

/* Some of its vectors may have been added before it failed. */
static enum poly_status add_sets(struct poly_vector_generation *generation,
                                 const struct poly_domain *domain, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < domain->vector_count && status == POLY_OK; i++) {
        bool there = false;

        for (size_t s = generation->set_count; s > 0 && !there; s--)
            there = generation->sets[s - 1].declared == &domain->vectors[i];
        if (!there)
            status = add_set(generation, domain, &domain->vectors[i], err);
    }
    return status;
}

enum poly_status poly_vectors_grow(struct poly_vectors *self,
                                   struct poly_vector_generation *generation,
                                   struct poly_error *err)
{
    const struct poly_config *config = self->config;
    enum poly_status status = POLY_OK;

    if (atomic_load(&generation->domains) == poly_config_domains(config))
        return POLY_OK;
    pthread_mutex_lock(&self->lock);
    for (size_t i = generation->domains; i < poly_config_domains(config) && status == POLY_OK;
         i++) {
        if (atomic_load(&config->domains[i].made->state) != POLY_MADE_DROPPED)
            status = add_sets(generation, &config->domains[i], err);
        if (status == POLY_OK)
            atomic_store(&generation->domains, i + 1);
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

static enum poly_status look_at_sets(struct poly_vector_generation *generation,
                                     struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    char path[PATH];

    for (size_t i = 0; i < generation->set_count && status == POLY_OK; i++) {
        struct poly_vector_set *set = &generation->sets[i];
        bool damaged = false;

        if (set->domain->made != NULL) /* add_set() has looked */
            continue;
        /* That of a changed model begins with the log from there on. */
        if (!set_path(path, generation->folder, set) ||
            (set->vector->change == 0 && access(path, F_OK) != 0))
            return poly_fail(err, POLY_NOT_FOUND, "vector: '%.200s' is missing", path);
        status = look_at_set(generation, set, &damaged, err);
        if (status == POLY_OK && damaged)
            return poly_fail(err, POLY_NOT_FOUND, "vector: '%.200s' was damaged", path);
    }
    return status;
}

enum poly_status poly_vectors_ask(struct poly_vectors *self,
                                  struct poly_vector_generation *generation, struct poly_error *err)
{
    uint64_t least = UINT64_MAX;
    enum poly_status status = POLY_OK;

    if (atomic_load(&generation->lost))
        return poly_fail(err, POLY_NOT_FOUND, "%s", generation->why);
    if (atomic_load(&generation->loaded) || generation->asked > 0)
        return POLY_OK;
    status = poly_vectors_grow(self, generation, err);
    if (status == POLY_OK)
        status = look_at_sets(generation, err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < generation->set_count; i++) {
        const struct poly_vector_set *set = &generation->sets[i];

        least = set->position < least ? set->position : least;
        generation->bytes += set->bytes;
    }
    if (generation->set_count == 0) /* all that it held were dropped */
        least = 0;
    generation->applied = least;
    atomic_store(&generation->published, least);
    generation->noted = least;
    pthread_mutex_lock(&self->lock);
    generation->asked = ++self->asked;
    pthread_mutex_unlock(&self->lock);
    poly_vectors_stir(self);
    return POLY_OK;
}

enum poly_status poly_vectors_make(struct poly_vectors *self, uint64_t number,
                                   struct poly_vector_generation **generation,
                                   struct poly_error *err)
{
    struct poly_vector_generation *made;
    char path[PATH];
    enum poly_status status = POLY_OK;

    if (snprintf(path, PATH, "%s/%" PRIu64 "-%" PRIx64, self->folder, number,
                 (uint64_t)poly_clock_wall()) >= PATH)
        return poly_fail(err, POLY_INVALID, "vector: the path of its folder is too long");
    if (mkdir(path, 0700) != 0)
        return disk_problem("make", path, err);
    made = generation_new(self, number, path);
    if (made == NULL) {
        rmdir(path);
        return poly_no_memory(err);
    }
    for (size_t i = 0; i < made->set_count && status == POLY_OK; i++)
        status = open_now(made, &made->sets[i], err);
    atomic_store(&made->loaded, true);
    if (status == POLY_OK)
        status = poly_vectors_grow(self, made, err);
    made->destroy = status != POLY_OK;
    if (status != POLY_OK) {
        generation_free(made);
        return status;
    }
    add(self, made);
    *generation = made;
    return POLY_OK;
}

/* --- at the start --- */

/* Is the folder this instance's? */
static bool is_ours(const char *folder, const uint8_t id[16])
{
    char path[PATH];
    uint8_t other[16];
    FILE *file = make_path(path, folder, "instance") ? fopen(path, "re") : NULL;
    bool same = file != NULL && fread(other, 1, 16, file) == 16 && memcmp(id, other, 16) == 0;

    if (file != NULL)
        fclose(file);
    return same;
}

static enum poly_status make_ours(const char *folder, const uint8_t id[16], struct poly_error *err)
{
    char path[PATH];
    FILE *file = make_path(path, folder, "instance") ? fopen(path, "we") : NULL;
    bool written = file != NULL && fwrite(id, 1, 16, file) == 16;

    written = file != NULL && fclose(file) == 0 && written;
    return written ? POLY_OK : disk_problem("write", folder, err);
}

/* 0: it is no generation's folder. */
static uint64_t number_of(const char *name)
{
    char *end;
    uint64_t number = strtoull(name, &end, 10);

    if (*name < '1' || *name > '9' || *end != '-' || end[1] == '\0' ||
        end[1 + strspn(end + 1, "0123456789abcdef")] != '\0')
        return 0;
    return number;
}

static enum poly_status look_at(struct poly_vectors *self, const char *name, bool ours,
                                struct poly_error *err)
{
    uint64_t number = number_of(name);
    struct poly_vector_generation *generation;
    char path[PATH];

    if (number == 0 || !make_path(path, self->folder, name))
        return POLY_OK;
    /* Two of one number: no mark has got to the disk. Both can be had again. */
    generation = poly_vectors_find(self, number);
    if (generation != NULL)
        poly_vectors_forget(self, generation);
    if (!ours || generation != NULL || exists(path, "dropped")) {
        remove_folder(path);
        return POLY_OK;
    }
    generation = generation_new(self, number, path);
    if (generation == NULL)
        return poly_no_memory(err);
    add(self, generation);
    return POLY_OK;
}

enum poly_status poly_vectors_scan(struct poly_vectors *self, const uint8_t id[16],
                                   struct poly_error *err)
{
    const struct dirent *entry;
    enum poly_status status = POLY_OK;
    DIR *directory;
    bool ours;

    if (mkdir(self->folder, 0700) != 0 && errno != EEXIST)
        return disk_problem("make", self->folder, err);
    directory = opendir(self->folder);
    if (directory == NULL)
        return disk_problem("read", self->folder, err);
    ours = is_ours(self->folder, id);
    while (status == POLY_OK && (entry = readdir(directory)) != NULL)
        status = look_at(self, entry->d_name, ours, err);
    closedir(directory);
    return status == POLY_OK && !ours ? make_ours(self->folder, id, err) : status;
}
