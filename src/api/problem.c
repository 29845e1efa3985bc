/* RFC 9457: errors as JSON, from the one table of statuses. */
#include <ctype.h>

#include "api/context.h"

void api_status_kind(enum poly_status status, char kind[24])
{
    const char *name = poly_status_name(status);
    size_t i = 0;

    for (; name[i] != '\0' && i < 23; i++)
        kind[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    kind[i] = '\0';
}

static void open_problem(struct poly_buffer *out, const char *kind, const char *title, int http)
{
    poly_buffer_text(out, "{\"type\":\"urn:polystore:error:");
    poly_buffer_text(out, kind);
    poly_buffer_text(out, "\",\"title\":");
    poly_json_string(out, title, strlen(title));
    poly_buffer_printf(out, ",\"status\":%d", http);
}

void api_problem(struct poly_buffer *out, const struct poly_error *error, const char *instance)
{
    char kind[24];

    api_status_kind(error->status, kind);
    open_problem(out, kind, poly_status_meaning(error->status), poly_status_http(error->status));
    api_put_text(out, "detail", poly_text(error->message));
    if (instance != NULL)
        api_put_text(out, "instance", poly_text(instance));
    if (error->position >= 0)
        api_put_integer(out, "position", (uint64_t)error->position);
    if (error->unknown)
        api_put_text(out, "outcome", poly_text("unknown"));
    poly_buffer_char(out, '}');
}

void api_problem_http(struct poly_buffer *out, int http, const char *kind, const char *detail,
                      const char *instance)
{
    open_problem(out, kind, "the request was not taken", http);
    api_put_text(out, "detail", poly_text(detail));
    if (instance != NULL)
        api_put_text(out, "instance", poly_text(instance));
    poly_buffer_char(out, '}');
}
