/*
 * Prints the pages that come from tables in the code: "print http", "print
 * configuration". With a file it compares instead, and says what to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "core/config.h"

static void print_configuration(FILE *out)
{
    fputs("# Configuration\n\n"
          "<!-- Printed by build/docs/print configuration > docs/configuration.md -->\n\n"
          "Everything stands in one file, `polystore.yaml`. `polystore config check` reads it as "
          "the daemon would.\n\n",
          out);
    poly_config_print_reference(out);
}

static const struct {
    const char *name;
    void (*print)(FILE *out);
} pages[] = {
    {"http", api_print_reference},
    {"configuration", print_configuration},
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
    fputs("usage: print http|configuration [FILE]\n", stderr);
    return 2;
}
