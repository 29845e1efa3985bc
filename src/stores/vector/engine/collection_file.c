/*
 * The folder. Every file is written under a name of its own and never changed afterwards, but for
 * originals, to which only is appended; "head" says which of them belong together. When they are
 * durable, names and all, it is written beside itself, made durable and renamed. Whatever a crash
 * leaves that head does not name is removed when the folder is opened next.
 *
 * What is here was made from the log and can be made again: so what is damaged is thrown away as a
 * whole, and nobody has to guess which part of it can be believed.
 */
#include "stores/vector/engine/collection_inside.h"

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

#include "base/status.h"
#include "stores/vector/engine/section.h"

#define HEAD "head"
#define HEAD_NEW "head.new"

static const char index_name[] = "index", catalog_name[] = "catalog",
                  originals_name[] = "originals";

struct head {
    uint64_t save, originals, position;
    uint64_t index_sum, catalog_sum; /* of their first pages, which have the sums of the others */
};

enum { HEAD_SIZE = 256 };

static enum poly_status cannot(const char *what, const char *path, struct poly_error *err)
{
    return poly_fail(err, errno == ENOMEM ? POLY_NO_MEMORY : POLY_UNAVAILABLE,
                     "vector collection '%s': cannot %s: %s", path, what,
                     errno == ENOSPC ? "the disk is full" : strerror(errno));
}

/* --- names --- */

static enum poly_status join(const char *folder, const char *name, char path[PATH_MAX],
                             struct poly_error *err)
{
    int size = snprintf(path, PATH_MAX, "%s/%s", folder, name);

    if (size > 0 && size < PATH_MAX)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID, "vector collection: the path of its folder is too long");
}

static enum poly_status numbered(const char *folder, const char *name, uint64_t number,
                                 char path[PATH_MAX], struct poly_error *err)
{
    char full[64];

    snprintf(full, sizeof(full), "%s.%" PRIu64, name, number);
    return join(folder, full, path, err);
}

enum poly_status poly_collection_shape(const struct poly_collection *c, uint64_t number,
                                       char path[PATH_MAX], struct poly_index_options *shape,
                                       struct poly_error *err)
{
    *shape = c->shape;
    if (number == 0)
        return POLY_OK;
    shape->originals = path;
    return numbered(c->folder, originals_name, number, path, err);
}

/* One of our files, and which; number 0: the head. */
static bool ours(const char *name, const char **kind, uint64_t *number)
{
    static const char *const kinds[] = {index_name, catalog_name, originals_name};
    char *end;

    *kind = HEAD;
    *number = 0;
    if (strcmp(name, HEAD) == 0 || strcmp(name, HEAD_NEW) == 0)
        return true;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t size = strlen(kinds[i]);

        if (strncmp(name, kinds[i], size) != 0 || name[size] != '.' || name[size + 1] < '1' ||
            name[size + 1] > '9')
            continue;
        errno = 0;
        *kind = kinds[i];
        *number = strtoull(name + size + 1, &end, 10);
        return *end == '\0' && errno == 0;
    }
    return false;
}

/* --- head --- */

static int print_head(const struct head *head, char text[HEAD_SIZE])
{
    int size =
        snprintf(text, HEAD_SIZE,
                 "polystore vectors 1\nsave %" PRIu64 "\noriginals %" PRIu64 "\nposition %" PRIu64
                 "\nindex %016" PRIx64 "\ncatalog %016" PRIx64 "\n",
                 head->save, head->originals, head->position, head->index_sum, head->catalog_sum);
    uint64_t sum = XXH3_64bits(text, (size_t)size);

    return size + snprintf(text + size, HEAD_SIZE - (size_t)size, "sum %016" PRIx64 "\n", sum);
}

/* Only what is byte for byte as it would be printed is believed. */
static bool parse_head(const char *text, size_t size, struct head *head)
{
    char again[HEAD_SIZE];

    if (sscanf(text,
               "polystore vectors 1\nsave %" SCNu64 "\noriginals %" SCNu64 "\nposition %" SCNu64
               "\nindex %" SCNx64 "\ncatalog %" SCNx64,
               &head->save, &head->originals, &head->position, &head->index_sum,
               &head->catalog_sum) != 5)
        return false;
    return head->save > 0 && head->originals > 0 && (size_t)print_head(head, again) == size &&
           memcmp(text, again, size) == 0;
}

/* POLY_NOT_FOUND: there is none. */
static enum poly_status read_head(const char *folder, struct head *head, struct poly_error *err)
{
    char path[PATH_MAX], text[HEAD_SIZE + 1];
    enum poly_status status = join(folder, HEAD, path, err);
    ssize_t size;
    int fd;

    if (status != POLY_OK)
        return status;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return POLY_NOT_FOUND;
    size = fd < 0 ? -1 : read(fd, text, HEAD_SIZE);
    if (size < 0)
        status = cannot("read", path, err);
    if (fd >= 0)
        close(fd);
    if (status != POLY_OK)
        return status;
    text[size] = '\0';
    if (!parse_head(text, (size_t)size, head))
        return poly_fail(err, POLY_CORRUPT, "vector collection '%s': is damaged", path);
    return POLY_OK;
}

static enum poly_status write_file(const char *path, const char *text, size_t size,
                                   struct poly_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum poly_status status = POLY_OK;
    ssize_t written;

    if (fd < 0)
        return cannot("make", path, err);
    written = write(fd, text, size);
    if (written >= 0 && (size_t)written != size)
        errno = ENOSPC; /* a short write of a few bytes has no other reason */
    if (written < 0 || (size_t)written != size)
        status = cannot("write", path, err);
    else if (fsync(fd) != 0)
        status = cannot("make durable", path, err);
    close(fd);
    return status;
}

static enum poly_status sync_folder(const char *folder, struct poly_error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum poly_status status = POLY_OK;

    if (fd < 0)
        return cannot("open", folder, err);
    if (fsync(fd) != 0)
        status = cannot("make durable", folder, err);
    close(fd);
    return status;
}

/* *renamed: it may have taken effect, whatever the status says. */
static enum poly_status put_head(const char *folder, const struct head *head, bool *renamed,
                                 struct poly_error *err)
{
    char from[PATH_MAX], to[PATH_MAX], text[HEAD_SIZE];
    int size = print_head(head, text);
    enum poly_status status = join(folder, HEAD_NEW, from, err);

    if (status == POLY_OK)
        status = join(folder, HEAD, to, err);
    if (status == POLY_OK)
        status = write_file(from, text, (size_t)size, err);
    if (status == POLY_OK && rename(from, to) != 0)
        status = cannot("replace", to, err);
    *renamed = status == POLY_OK;
    return status == POLY_OK ? sync_folder(folder, err) : status;
}

/* --- tidying --- */

/* Calls visit for each of our files. */
typedef void file_fn(void *arg, const char *path, const char *kind, uint64_t number);

static void each_file(const char *folder, file_fn *visit, void *arg)
{
    DIR *open = opendir(folder);
    struct dirent *entry;
    char path[PATH_MAX];
    uint64_t number;
    const char *kind;

    while (open != NULL && (entry = readdir(open)) != NULL) {
        if (ours(entry->d_name, &kind, &number) &&
            join(folder, entry->d_name, path, NULL) == POLY_OK)
            visit(arg, path, kind, number);
    }
    if (open != NULL)
        closedir(open);
}

/* What is to stay, by number; 0: none. */
struct keep {
    uint64_t save, originals[3];
};

static bool needed(const struct keep *keep, const char *path, const char *kind, uint64_t number)
{
    if (number == 0) /* head.new is nobody's once a save is over */
        return keep->save > 0 && strcmp(strrchr(path, '/') + 1, HEAD) == 0;
    if (kind != originals_name)
        return number == keep->save;
    for (size_t i = 0; i < 3; i++) {
        if (number == keep->originals[i])
            return true;
    }
    return false;
}

static void tidy_one(void *arg, const char *path, const char *kind, uint64_t number)
{
    if (!needed(arg, path, kind, number))
        unlink(path);
}

/* Removes what neither head nor a part needs. */
static void tidy(struct poly_collection *c)
{
    struct keep keep = {.originals = {atomic_load(&c->saved_originals)}};

    keep.save = keep.originals[0] == 0 ? 0 : c->saves;
    pthread_mutex_lock(&c->state);
    keep.originals[1] = c->part == NULL ? 0 : c->part->originals;
    keep.originals[2] = c->next == NULL ? 0 : c->next->originals;
    pthread_mutex_unlock(&c->state);
    each_file(c->folder, tidy_one, &keep);
}

static void add_size(void *arg, const char *path, const char *kind, uint64_t number)
{
    struct stat info;

    (void)kind;
    (void)number;
    if (stat(path, &info) == 0)
        *(uint64_t *)arg += (uint64_t)info.st_blocks * 512;
}

uint64_t poly_collection_file_bytes(const struct poly_collection *c)
{
    uint64_t bytes = 0;

    if (c->folder != NULL)
        each_file(c->folder, add_size, &bytes);
    return bytes;
}

/* --- which files belong together --- */

static enum poly_status sum_page(const char *path, uint64_t *sum, struct poly_error *err)
{
    char page[POLY_SECTION_PAGE];
    enum poly_status status = POLY_OK;
    ssize_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return poly_fail(err, POLY_NOT_FOUND, "vector collection: '%s' is not there", path);
    size = fd < 0 ? -1 : read(fd, page, sizeof(page));
    if (size < 0)
        status = cannot("read", path, err);
    else
        *sum = XXH3_64bits(page, (size_t)size);
    if (fd >= 0)
        close(fd);
    return status;
}

/* The sums of the two files of a save, as they are. */
static enum poly_status sum_files(const char *folder, struct head *head, struct poly_error *err)
{
    char path[PATH_MAX];
    enum poly_status status = numbered(folder, index_name, head->save, path, err);

    if (status == POLY_OK)
        status = sum_page(path, &head->index_sum, err);
    if (status == POLY_OK)
        status = numbered(folder, catalog_name, head->save, path, err);
    return status == POLY_OK ? sum_page(path, &head->catalog_sum, err) : status;
}

static enum poly_status check_files(const char *folder, const struct head *head,
                                    struct poly_error *err)
{
    struct head there = *head;
    enum poly_status status = sum_files(folder, &there, err);

    if (status != POLY_OK ||
        (there.index_sum == head->index_sum && there.catalog_sum == head->catalog_sum))
        return status;
    return poly_fail(err, POLY_CORRUPT, "vector collection '%s': has files of different saves",
                     folder);
}

/* --- opening --- */

static enum poly_status make_folder(const char *folder, struct poly_error *err)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(folder, '/');
    int size = slash == NULL ? 0 : (int)(slash - folder);

    if (mkdir(folder, 0700) != 0)
        return errno == EEXIST ? POLY_OK : cannot("make", folder, err);
    if (slash == NULL)
        return sync_folder(".", err);
    if (snprintf(parent, sizeof(parent), "%.*s/", size, folder) >= PATH_MAX)
        return poly_fail(err, POLY_INVALID,
                         "vector collection: the path of its folder is too long");
    return sync_folder(parent, err);
}

static enum poly_status load_part(struct poly_collection *c, const struct head *head,
                                  struct poly_loading *watch, struct poly_part *part,
                                  struct poly_error *err)
{
    struct poly_index_options shape;
    char originals[PATH_MAX], path[PATH_MAX];
    const struct poly_catalog_file file = {.path = path,
                                           .columns = (const char *const *)c->columns,
                                           .column_count = c->column_count,
                                           .watch = watch};
    enum poly_status status = poly_collection_shape(c, head->originals, originals, &shape, err);

    part->held = 1;
    part->originals = head->originals;
    if (status == POLY_OK)
        status = check_files(c->folder, head, err);
    if (status == POLY_OK)
        status = numbered(c->folder, index_name, head->save, path, err);
    if (status == POLY_OK)
        status = poly_index_load(&shape, path, watch, &part->index, err);
    if (status == POLY_OK)
        status = numbered(c->folder, catalog_name, head->save, path, err);
    if (status == POLY_OK)
        status = poly_catalog_load(&file, part->index, &part->catalog, err);
    return status;
}

static enum poly_status load_saved(struct poly_collection *c, const struct head *head,
                                   struct poly_loading *watch, struct poly_error *err)
{
    struct poly_part *part = calloc(1, sizeof(*part));
    enum poly_status status;

    if (part == NULL)
        return poly_no_memory(err);
    status = load_part(c, head, watch, part, err);
    if (status != POLY_OK) {
        poly_part_free(part);
        return status;
    }
    c->part = part;
    c->position = head->position;
    c->saves = head->save;
    c->files = head->originals;
    atomic_store(&c->saved_originals, head->originals);
    atomic_store(&c->saved, head->position);
    return POLY_OK;
}

/* The head goes first: without it nothing else is looked at. */
static enum poly_status throw_away(const char *folder, struct poly_error *err)
{
    char path[PATH_MAX];
    enum poly_status status = join(folder, HEAD, path, err);

    if (status == POLY_OK && unlink(path) != 0 && errno != ENOENT)
        status = cannot("remove", path, err);
    return status == POLY_OK ? sync_folder(folder, err) : status;
}

enum poly_status poly_collection_load(struct poly_collection *c, struct poly_loading *watch,
                                      bool *damaged, struct poly_error *err)
{
    enum poly_status status = make_folder(c->folder, err);
    bool none = false;
    struct head head;

    if (status == POLY_OK) {
        status = read_head(c->folder, &head, err);
        none = status == POLY_NOT_FOUND;
    }
    if (status == POLY_OK)
        status = load_saved(c, &head, watch, err);
    *damaged = !none && (status == POLY_CORRUPT || status == POLY_NOT_FOUND);
    if (*damaged)
        status = throw_away(c->folder, err);
    else if (none)
        status = POLY_OK;
    if (status == POLY_OK)
        tidy(c);
    return status;
}

/* --- looking --- */

static enum poly_status look_at(const struct poly_collection_options *options,
                                const struct head *head, uint64_t *bytes, struct poly_error *err)
{
    struct poly_index_options shape = options->index;
    const char *folder = options->folder;
    char path[PATH_MAX], originals[PATH_MAX];
    uint64_t index = 0, catalog = 0;
    enum poly_status status = check_files(folder, head, err);

    shape.originals = originals;
    if (status == POLY_OK)
        status = numbered(folder, originals_name, head->originals, originals, err);
    if (status == POLY_OK)
        status = numbered(folder, index_name, head->save, path, err);
    if (status == POLY_OK)
        status = poly_index_peek(&shape, path, &index, err);
    if (status == POLY_OK)
        status = numbered(folder, catalog_name, head->save, path, err);
    if (status == POLY_OK)
        status = poly_catalog_peek(path, &catalog, err);
    *bytes = index + catalog;
    return status;
}

enum poly_status poly_collection_peek(const struct poly_collection_options *options,
                                      struct poly_collection_saved *saved, struct poly_error *err)
{
    struct head head;
    uint64_t bytes = 0;
    enum poly_status status = read_head(options->folder, &head, err);

    *saved = (struct poly_collection_saved){.position = 0};
    if (status == POLY_NOT_FOUND)
        return POLY_OK;
    if (status == POLY_OK)
        status = look_at(options, &head, &bytes, err);
    saved->damaged = status == POLY_CORRUPT || status == POLY_NOT_FOUND;
    if (saved->damaged)
        return POLY_OK;
    if (status == POLY_OK)
        *saved = (struct poly_collection_saved){.position = head.position, .bytes = bytes};
    return status;
}

/* --- saving --- */

static enum poly_status write_parts(const char *folder, const struct poly_part *part, uint32_t end,
                                    struct head *head, struct poly_error *err)
{
    char path[PATH_MAX];
    enum poly_status status = numbered(folder, index_name, head->save, path, err);

    if (status == POLY_OK)
        status = poly_index_save(part->index, end, path, err);
    if (status == POLY_OK)
        status = numbered(folder, catalog_name, head->save, path, err);
    if (status == POLY_OK)
        status = poly_catalog_save(part->catalog, end, path, err);
    return status == POLY_OK ? sum_files(folder, head, err) : status;
}

/* What a save has written that came to nothing. */
static void take_back(const char *folder, uint64_t save)
{
    char path[PATH_MAX];

    if (numbered(folder, index_name, save, path, NULL) == POLY_OK)
        unlink(path);
    if (numbered(folder, catalog_name, save, path, NULL) == POLY_OK)
        unlink(path);
    if (join(folder, HEAD_NEW, path, NULL) == POLY_OK)
        unlink(path);
}

static enum poly_status save(struct poly_collection *c, const struct poly_part *part, uint32_t end,
                             struct head *head, struct poly_error *err)
{
    enum poly_status status = write_parts(c->folder, part, end, head, err);
    bool renamed = false;

    if (status == POLY_OK)
        status = put_head(c->folder, head, &renamed, err);
    if (status == POLY_OK) {
        atomic_store(&c->saved_originals, head->originals);
        atomic_store(&c->saved, head->position);
        tidy(c);
    } else if (!renamed) {
        take_back(c->folder, head->save);
    }
    return status;
}

static bool is_unsaved(const struct poly_collection *c, const struct poly_part *part,
                       uint64_t position)
{
    return c->folder != NULL && position != 0 &&
           (position != atomic_load(&c->saved) ||
            part->originals != atomic_load(&c->saved_originals));
}

bool poly_collection_unsaved(struct poly_collection *c)
{
    uint64_t position;
    uint32_t end;
    struct poly_part *part = poly_part_hold(c, &end, &position);
    bool unsaved = is_unsaved(c, part, position);

    poly_part_release(c, part);
    return unsaved;
}

enum poly_status poly_collection_save(struct poly_collection *c, struct poly_error *err)
{
    struct head head;
    uint32_t end;
    struct poly_part *part = poly_part_hold(c, &end, &head.position);
    enum poly_status status = POLY_OK;

    if (is_unsaved(c, part, head.position)) {
        head.originals = part->originals;
        head.save = ++c->saves;
        status = save(c, part, end, &head, err);
    }
    poly_part_release(c, part);
    return status;
}

static void remove_one(void *arg, const char *path, const char *kind, uint64_t number)
{
    (void)arg;
    (void)kind;
    (void)number;
    unlink(path);
}

enum poly_status poly_collection_destroy(const char *folder, struct poly_error *err)
{
    enum poly_status status;

    if (access(folder, F_OK) != 0 && errno == ENOENT)
        return POLY_OK;
    status = throw_away(folder, err);
    if (status != POLY_OK)
        return status;
    each_file(folder, remove_one, NULL);
    return rmdir(folder) == 0 || errno == ENOENT ? POLY_OK : cannot("remove", folder, err);
}
