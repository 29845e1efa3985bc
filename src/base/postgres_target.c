/*
 * Where to connect to. libpq waits connect_timeout for each address only in its blocking
 * call, which in turn knows no deadline of ours; so the addresses are
 * taken apart here, and each is an attempt of its own: postgres.c polls it.
 *
 * What libpq says about a wrong connection text may quote the password in it;
 * it is never passed on.
 */
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/postgres_inside.h"
#include "base/secret.h"

enum { KEYWORDS = 96, LISTED = 64 }; /* libpq 15 knows 44 keywords */

struct poly_pg_target {
    PQconninfoOption *given;
    char *password_env, *password_file, *application, *options;
    char *hosts, *hostaddrs, *ports, *attrs; /* of given; not owned */
    int connect_ms;
    _Atomic unsigned found;
};

/* What a connection has, unless the text says otherwise. */
static const char *const defaults[][2] = {
    {"keepalives_idle", "30"},     {"keepalives_interval", "10"}, {"keepalives_count", "3"},
    {"tcp_user_timeout", "15000"}, {"gssencmode", "disable"},
};

static char *given(const struct poly_pg_target *target, const char *keyword)
{
    for (PQconninfoOption *option = target->given; option->keyword != NULL; option++)
        if (strcmp(option->keyword, keyword) == 0)
            return option->val != NULL && *option->val != '\0' ? option->val : NULL;
    return NULL;
}

/* Spaces and backslashes have a meaning in "options". */
static void add_setting(struct poly_buffer *options, const char *name, const char *value)
{
    poly_buffer_printf(options, " -c %s=", name);
    for (; *value != '\0'; value++) {
        if (*value == ' ' || *value == '\\')
            poly_buffer_char(options, '\\');
        poly_buffer_char(options, *value);
    }
}

static char *settings(const struct poly_pg_target *target, const struct poly_pg_options *options)
{
    struct poly_buffer text;
    const char *theirs = given(target, "options");
    char number[16];

    poly_buffer_init(&text, POLY_MAX_CONFIG);
    poly_buffer_text(&text, theirs == NULL ? "" : theirs);
    add_setting(&text, "standard_conforming_strings", "on");
    add_setting(&text, "TimeZone", "UTC");
    add_setting(&text, "DateStyle", "ISO");
    add_setting(&text, "IntervalStyle", "postgres");
    add_setting(&text, "bytea_output", "hex");
    /* The server, too, is to find out that we are gone: an open transaction of ours would hold up
     * whoever reads the log. */
    add_setting(&text, "tcp_keepalives_idle", "30");
    add_setting(&text, "tcp_keepalives_interval", "10");
    add_setting(&text, "tcp_keepalives_count", "3");
    if (options->search_path != NULL)
        add_setting(&text, "search_path", options->search_path);
    if (options->statement_ms > 0) {
        snprintf(number, sizeof(number), "%d", options->statement_ms);
        add_setting(&text, "statement_timeout", number);
    }
    if (poly_buffer_ok(&text))
        return text.data;
    poly_buffer_release(&text);
    return NULL;
}

static bool copy(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL;
}

static enum poly_status fill(struct poly_pg_target *target, const struct poly_pg_options *options,
                             struct poly_error *err)
{
    char *words = NULL;

    target->given = PQconninfoParse(options->url == NULL ? "" : options->url, &words);
    if (target->given == NULL && words == NULL)
        return poly_no_memory(err);
    if (words != NULL)
        explicit_bzero(words, strlen(words));
    PQfreemem(words);
    if (target->given == NULL)
        return poly_fail(err, POLY_INVALID,
                         "the connection text for PostgreSQL is wrong (it is not shown: it may "
                         "hold a password); it looks like postgresql://user@host:5432/database, "
                         "or key=value pairs, with special characters as %%XX in the first");
    target->hosts = given(target, "host");
    target->hostaddrs = given(target, "hostaddr");
    target->ports = given(target, "port");
    target->attrs = given(target, "target_session_attrs");
    target->connect_ms = options->connect_ms > 0 ? options->connect_ms : 2000;
    target->options = settings(target, options);
    if (target->options == NULL || !copy(&target->password_env, options->password_env) ||
        !copy(&target->password_file, options->password_file) ||
        !copy(&target->application,
              options->application_name == NULL ? "polystore" : options->application_name))
        return poly_no_memory(err);
    return POLY_OK;
}

enum poly_status poly_pg_target_new(const struct poly_pg_options *options,
                                    struct poly_pg_target **target, struct poly_error *err)
{
    struct poly_pg_target *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    status = fill(self, options, err);
    if (status != POLY_OK) {
        poly_pg_target_free(self);
        return status;
    }
    *target = self;
    return POLY_OK;
}

void poly_pg_target_free(struct poly_pg_target *target)
{
    if (target == NULL)
        return;
    if (target->given != NULL) {
        char *password = given(target, "password");

        if (password != NULL)
            explicit_bzero(password, strlen(password));
        PQconninfoFree(target->given);
    }
    free(target->password_env);
    free(target->password_file);
    free(target->application);
    free(target->options);
    free(target);
}

const char *poly_pg_target_attrs(const struct poly_pg_target *target)
{
    return target->attrs;
}

int poly_pg_target_connect_ms(const struct poly_pg_target *target)
{
    return target->connect_ms;
}

unsigned poly_pg_target_first(const struct poly_pg_target *target)
{
    bool ordered = target->attrs == NULL || strcmp(target->attrs, "any") == 0 ||
                   strcmp(target->attrs, "prefer-standby") == 0;

    return ordered ? 0 : atomic_load(&target->found);
}

void poly_pg_target_found(const struct poly_pg_target *target, unsigned index)
{
    atomic_store(&((struct poly_pg_target *)target)->found, index);
}

/* --- the password --- */

/* NULL: none of ours, libpq looks where it always does. */
static enum poly_status find_password(const struct poly_pg_target *target, struct poly_arena *arena,
                                      char **password, struct poly_error *err)
{
    const struct poly_secret secret = {target->password_env, target->password_file, "password",
                                       "PostgreSQL"};

    *password = NULL;
    if (secret.env == NULL && secret.file == NULL)
        return POLY_OK;
    return poly_secret_read(&secret, arena, password, err);
}

/* --- what a connection is made with --- */

/* The first one stays. */
static void add(struct poly_pg_conninfo *info, const char *keyword, const char *value)
{
    if (value == NULL)
        return;
    for (int i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return;
    if (info->count < KEYWORDS - 1) {
        info->keywords[info->count] = keyword;
        info->values[info->count++] = value;
    }
}

static bool of_address(const char *keyword)
{
    return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
           strcmp(keyword, "port") == 0;
}

enum poly_status poly_pg_target_conninfo(const struct poly_pg_target *target,
                                         const struct poly_pg_address *address, const char *attrs,
                                         struct poly_arena *arena, struct poly_pg_conninfo *info,
                                         struct poly_error *err)
{
    enum poly_status status;

    *info = (struct poly_pg_conninfo){poly_arena_array(arena, KEYWORDS, sizeof(char *)),
                                      poly_arena_array(arena, KEYWORDS, sizeof(char *)), 0, NULL};
    if (info->keywords == NULL || info->values == NULL)
        return poly_no_memory(err);
    status = find_password(target, arena, &info->password, err);
    if (status != POLY_OK)
        return status;
    add(info, "host", address->host);
    add(info, "hostaddr", address->hostaddr);
    add(info, "port", address->port);
    add(info, "target_session_attrs", attrs);
    add(info, "password", info->password);
    add(info, "options", target->options);
    add(info, "client_encoding", "UTF8");
    add(info, "fallback_application_name", target->application);
    for (PQconninfoOption *option = target->given; option->keyword != NULL; option++)
        if (!of_address(option->keyword))
            add(info, option->keyword, option->val);
    for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
        add(info, defaults[i][0], defaults[i][1]);
    return POLY_OK;
}

/* --- addresses --- */

struct addresses {
    struct poly_arena *arena;
    struct poly_pg_address *all;
    int count;
    const char *trouble; /* why a name gave none */
    char name[80];
    bool no_memory;
};

static void add_address(struct addresses *to, const char *host, const char *hostaddr,
                        const char *port)
{
    if (to->count == LISTED)
        return;

    struct poly_pg_address *address = &to->all[to->count++];

    *address = (struct poly_pg_address){.host = host, .hostaddr = hostaddr, .port = port};
    snprintf(address->where, sizeof(address->where), "%s:%s",
             host != NULL       ? host
             : hostaddr != NULL ? hostaddr
                                : "localhost",
             port != NULL ? port : "5432");
}

/* A name can have several addresses; each has its own time. */
static void resolve(struct addresses *to, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char text[NI_MAXHOST];
    int code = getaddrinfo(host, NULL, &hints, &found);

    to->no_memory = to->no_memory || code == EAI_MEMORY;
    if (code != 0) {
        to->trouble = gai_strerror(code);
        snprintf(to->name, sizeof(to->name), "%s", host);
        return;
    }
    for (struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        const char *copied;

        if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        copied = poly_arena_copy(to->arena, text, strlen(text));
        if (copied == NULL)
            to->no_memory = true;
        else
            add_address(to, host, copied, port);
    }
    freeaddrinfo(found);
}

/* The nth of a list with commas; NULL: it is empty, or there is no memory, which is remembered:
 * what is taken for empty would lead to another server. *last: there are no more. */
static const char *part(struct addresses *to, const char *list, int index, bool *last)
{
    const char *from = list, *end, *copied;

    *last = true;
    if (list == NULL)
        return NULL;
    for (int i = 0; i < index; i++) {
        from = strchr(from, ',');
        if (from == NULL)
            return NULL;
        from++;
    }
    end = strchrnul(from, ',');
    *last = *end == '\0';
    if (end == from)
        return NULL;
    copied = poly_arena_copy(to->arena, from, (size_t)(end - from));
    to->no_memory = to->no_memory || copied == NULL;
    return copied;
}

/* One port stands for all hosts. */
static const char *port_of(const struct poly_pg_target *target, struct addresses *to, int index)
{
    bool last, single = target->ports == NULL || strchr(target->ports, ',') == NULL;

    return part(to, target->ports, single ? 0 : index, &last);
}

enum poly_status poly_pg_target_addresses(const struct poly_pg_target *target,
                                          struct poly_arena *arena,
                                          struct poly_pg_address **addresses, int *count,
                                          struct poly_error *err)
{
    struct addresses to = {.arena = arena};
    bool last_host = false, last_addr = false;

    to.all = poly_arena_array(arena, LISTED, sizeof(*to.all));
    if (to.all == NULL)
        return poly_no_memory(err);
    for (int i = 0; i < LISTED && !(last_host && last_addr); i++) {
        const char *host = part(&to, target->hosts, i, &last_host);
        const char *hostaddr = part(&to, target->hostaddrs, i, &last_addr);
        const char *port = port_of(target, &to, i);

        if (to.no_memory)
            return poly_no_memory(err);
        if (hostaddr != NULL || host == NULL || *host == '/' || *host == '@')
            add_address(&to, host, hostaddr, port);
        else
            resolve(&to, host, port);
    }
    if (to.no_memory)
        return poly_no_memory(err);
    if (to.count == 0)
        return poly_fail(err, POLY_UNAVAILABLE, "PostgreSQL's host '%s' cannot be found: %s",
                         to.name, to.trouble == NULL ? "no address" : to.trouble);
    *addresses = to.all;
    *count = to.count;
    return POLY_OK;
}
