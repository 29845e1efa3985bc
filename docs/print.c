/*
 * Prints the pages that come from tables in the code: "print http", "print
 * configuration". With a file it compares instead, and says what to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "core/config.h"
#include "core/driver.h"
#include "core/owner.h"
#include "stores/relational/driver.h"

static void print_configuration(FILE *out)
{
    fputs("# Configuration\n\n"
          "<!-- Printed by build/docs/print configuration > docs/configuration.md -->\n\n"
          "Everything stands in one file, `polystore.yaml`. `polystore config check` reads it as "
          "the daemon would.\n\n",
          out);
    poly_config_print_reference(out);
}

static void print_declared_by(FILE *out, const char *store, const char *driver,
                              const struct poly_capability *capabilities)
{
    for (const struct poly_capability *c = capabilities; c->name != NULL; c++)
        fprintf(out, "%s\t%s\t%s\t%s\t%s\n", store, c->name, driver,
                c->supported ? "supported" : "not supported", c->how);
}

/* For tools/conformance: what every driver declares, a line each. */
static void print_declared(FILE *out)
{
    static const struct poly_relational_driver *const relational[] = {&poly_relational_embedded,
                                                                      &poly_relational_postgresql};

    for (size_t i = 0; poly_owners[i] != NULL; i++)
        print_declared_by(out, "log", poly_owners[i]->name, poly_owners[i]->capabilities);
    for (size_t i = 0; i < sizeof(relational) / sizeof(relational[0]); i++)
        print_declared_by(out, "records", relational[i]->name, relational[i]->capabilities);
    for (size_t i = 0; poly_drivers[i] != NULL; i++)
        print_declared_by(out, poly_drivers[i]->store, poly_drivers[i]->name,
                          poly_drivers[i]->capabilities);
}

static const struct {
    const char *name;
    void (*print)(FILE *out);
} pages[] = {
    {"http", api_print_reference},
    {"configuration", print_configuration},
    {"declared", print_declared},
};

static char *read_file(const char *path)
{
    enum { MOST = 4 * 1024 * 1024 };
    FILE *file = fopen(path, "r");
    char *text = calloc(1, MOST);

    if (file != NULL && text != NULL)
        text[fread(text, 1, MOST - 1, file)] = '\0';
    if (file != NULL)
        fclose(file);
    return text;
}

static int compare(void (*print)(FILE *out), const char *name, const char *path)
{
    char *printed = NULL, *there = read_file(path);
    size_t size;
    FILE *out = open_memstream(&printed, &size);
    int differs = 1;

    if (out != NULL && there != NULL) {
        print(out);
        fclose(out);
        differs = strcmp(printed, there) != 0;
    }
    if (differs)
        fprintf(stderr, "%s is not what the code prints: build/docs/print %s > docs/%s.md\n", path,
                name, name);
    free(printed);
    free(there);
    return differs;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (argc < 2 || strcmp(argv[1], pages[i].name) != 0)
            continue;
        if (argc > 2)
            return compare(pages[i].print, pages[i].name, argv[2]);
        pages[i].print(stdout);
        return 0;
    }
    fputs("usage: print http|configuration|declared [FILE]\n", stderr);
    return 2;
}
