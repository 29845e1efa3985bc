/* The command line's parts that need no Polystore: formats, sources, arguments, tables, events. */
#include "test.h"

#include <unistd.h>

#include "cli/events.h"
#include "cli/import.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"

struct opened {
    char path[32];
    struct cli_source source;
    struct cli_import import;
};

static void open_text(struct opened *opened, const struct cli_format *format, const char *text,
                      size_t size)
{
    struct poly_error err;
    int fd;

    strncpy(opened->path, "/tmp/poly-import-XXXXXX", sizeof(opened->path));
    fd = mkstemp(opened->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    assert_ok(cli_source_open(&opened->source, opened->path, &err));
    cli_import_open(&opened->import, format, &opened->source);
}

static void close_text(struct opened *opened)
{
    cli_import_close(&opened->import);
    cli_source_close(&opened->source);
    unlink(opened->path);
}

/* The rows, joined by line feeds, each as "line:row". */
static void assert_rows(const struct cli_format *format, const char *text, const char *wanted)
{
    struct opened opened;
    struct poly_buffer rows;
    struct poly_error err;
    bool more;

    open_text(&opened, format, text, strlen(text));
    poly_buffer_init(&rows, 65536);
    for (;;) {
        assert_ok(format->next(&opened.import, &more, &err));
        if (!more)
            break;
        poly_buffer_printf(&rows, "%llu:%s\n", (unsigned long long)opened.import.line,
                           opened.import.row.data);
    }
    assert_string_equal(rows.data == NULL ? "" : rows.data, wanted);
    poly_buffer_release(&rows);
    close_text(&opened);
}

/* Reading it up to the end fails, and the message holds that. */
static void assert_bad(const struct cli_format *format, const char *text, const char *says)
{
    struct opened opened;
    struct poly_error err = {.status = POLY_OK};
    enum poly_status status = POLY_OK;
    bool more = true;

    open_text(&opened, format, text, strlen(text));
    while (status == POLY_OK && more)
        status = format->next(&opened.import, &more, &err);
    assert_int_equal(status, POLY_INVALID);
    if (strstr(err.message, says) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, says);
    close_text(&opened);
}

static void csv_reads_quotes_and_line_feeds(void **state)
{
    (void)state;
    assert_rows(&cli_format_csv, "a,b\n1,x\n", "2:{\"a\":\"1\",\"b\":\"x\"}\n");
    assert_rows(&cli_format_csv, "\xef\xbb\xbf\"a\",b\r\n\"say \"\"hi\"\"\",\"1\n2\"\r\n\r\nx,\n",
                "2:{\"a\":\"say \\\"hi\\\"\",\"b\":\"1\\n2\"}\n5:{\"a\":\"x\",\"b\":null}\n");
    assert_rows(&cli_format_csv, "a\n\"\"\n", "2:{\"a\":\"\"}\n");
    assert_rows(&cli_format_csv, "a,b", "");
    assert_rows(&cli_format_csv, "", "");
}

static void csv_names_the_bad_line(void **state)
{
    (void)state;
    assert_bad(&cli_format_csv, "a,b\n1,2\n1,2,3\n", ":3: 3 fields, but the header names 2");
    assert_bad(&cli_format_csv, "a,b\n1,2\n1\n", ":3: 1 fields");
    assert_bad(&cli_format_csv, "a,b\n1,\"2\n\n", ":2: a quote is never closed");
    assert_bad(&cli_format_csv, "a,b\n1,x\"2\"\n", ":2: a quote stands where none may");
    assert_bad(&cli_format_csv, "a,b\n\"1\"x,2\n", ":2: a quote stands where none may");
    assert_bad(&cli_format_csv, "a,,b\n", ":1: a column has no name");
}

static void jsonl_takes_objects_only(void **state)
{
    (void)state;
    assert_rows(&cli_format_jsonl, "{\"a\": 1}\n\n  {\"a\":2}\n", "1:{\"a\": 1}\n3:  {\"a\":2}\n");
    assert_bad(&cli_format_jsonl, "{}\n[1]\n", ":2: must be a JSON object");
    assert_bad(&cli_format_jsonl, "{}\n{\"a\":}\n", ":2: ");
    assert_bad(&cli_format_jsonl, "{\"a\":1}{\"b\":2}\n", ":1: ");
}

static void debian_reads_paragraphs(void **state)
{
    (void)state;
    assert_rows(&cli_format_deb,
                "Package: bash\nVersion: 5.2\nInstalled-Size: 07164\nX-Other: no\n  more of it\n"
                "Depends: base-files (>= 2.1), a:any | b [amd64]\n"
                "Description: GNU shell\n It is \"a\" shell.\n .\n  indented\n\n\n"
                "package: tar\nversion: 1\n",
                "1:{\"name\":\"bash\",\"version\":\"5.2\",\"installed_size\":7164,"
                "\"summary\":\"GNU shell\",\"description\":"
                "\"It is \\\"a\\\" shell.\\n\\n indented\","
                "\"depends\":[\"base-files\",\"a\",\"b\"]}\n"
                "13:{\"name\":\"tar\",\"version\":\"1\"}\n");
}

static void debian_takes_the_first_of_several_versions(void **state)
{
    static const char text[] = "Package: a\nVersion: 2\n\nPackage: b\nVersion: 1\n\n"
                               "Package: a\nVersion: 1\n";
    struct opened opened;
    struct poly_error err;
    bool more = true;
    int rows = 0;

    (void)state;
    open_text(&opened, &cli_format_deb, text, sizeof(text) - 1);
    for (;; rows++) {
        assert_ok(cli_format_deb.next(&opened.import, &more, &err));
        if (!more)
            break;
    }
    assert_int_equal(rows, 2);
    assert_int_equal(opened.import.left_out, 1);
    close_text(&opened);
}

static void debian_names_the_bad_line(void **state)
{
    (void)state;
    assert_bad(&cli_format_deb, "Package: a\nVersion: 1\n\nVersion: 1\n",
               ":4: the paragraph has no Package");
    assert_bad(&cli_format_deb, "Package: a\n", ":1: the paragraph has no Version");
    assert_bad(&cli_format_deb, "Package: a\nrubbish\n", ":2: must be 'Field: value'");
    assert_bad(&cli_format_deb, "\n b\n", ":2: a paragraph cannot begin");
    assert_bad(&cli_format_deb, "Package: a\nVersion: 1\nPackage: a\n",
               ":3: the field stands twice");
    assert_bad(&cli_format_deb, "Package: a\nVersion: 1\nInstalled-Size: -4\n",
               ":1: Installed-Size is no number");
}

static void a_nul_is_no_text(void **state)
{
    struct opened opened;
    struct poly_error err;
    bool more;

    (void)state;
    open_text(&opened, &cli_format_jsonl, "{}\n{\0}\n", 7);
    assert_ok(cli_format_jsonl.next(&opened.import, &more, &err));
    assert_fails(cli_format_jsonl.next(&opened.import, &more, &err), POLY_INVALID);
    close_text(&opened);
}

static void formats_are_found_by_name(void **state)
{
    const struct cli_format *format = NULL;
    struct poly_error err;

    (void)state;
    assert_ok(cli_format_find(cli_formats, NULL, "x/y.csv", &format, &err));
    assert_ptr_equal(format, &cli_format_csv);
    assert_ok(cli_format_find(cli_formats, NULL, "y.ndjson", &format, &err));
    assert_ptr_equal(format, &cli_format_jsonl);
    assert_ok(cli_format_find(cli_formats, "debian", "-", &format, &err));
    assert_ptr_equal(format, &cli_format_deb);
    assert_fails(cli_format_find(cli_formats, NULL, "-", &format, &err), POLY_INVALID);
}

/* --- arguments --- */

static void assert_row(const char *wanted, int count, char **words)
{
    struct poly_buffer json;
    struct poly_error err;

    poly_buffer_init(&json, 65536);
    assert_ok(cli_read_row(words, count, &json, &err));
    assert_string_equal(json.data, wanted);
    poly_buffer_release(&json);
}

static void assert_no_row(int count, char **words)
{
    struct poly_buffer json;
    struct poly_error err;

    poly_buffer_init(&json, 65536);
    assert_fails(cli_read_row(words, count, &json, &err), POLY_INVALID);
    poly_buffer_release(&json);
}

static void rows_are_made_of_words(void **state)
{
    (void)state;
    assert_row("{\"a\":\"1\",\"b\":[1],\"c\":\"x=y:=z\"}", 3,
               (char *[]){"a=1", "b:=[1]", "c=x=y:=z"});
    assert_row("{\"a\":1}", 1, (char *[]){"{\"a\":1}"});
    assert_row("{\"a\":\"\"}", 1, (char *[]){"a="});
    assert_no_row(1, (char *[]){"a"});
    assert_no_row(1, (char *[]){"=1"});
    assert_no_row(1, (char *[]){"a:=x"});
    assert_no_row(2, (char *[]){"a=1", "a=2"});
    assert_no_row(1, (char *[]){"{\"a\":}"});
}

static void parse(struct cli *cli, int count, const char **words, enum poly_status wanted)
{
    struct poly_error err;

    *cli = (struct cli){.verb = NULL};
    if (wanted == POLY_OK)
        assert_ok(cli_parse(cli, count, (char **)words, &err));
    else
        assert_fails(cli_parse(cli, count, (char **)words, &err), wanted);
}

static void assert_filter(const char *filter, const char *wanted)
{
    const char *words[] = {"polystore", "list", "x", "--where", filter};
    struct poly_buffer json;
    struct poly_error err;
    struct cli cli;

    parse(&cli, 5, words, POLY_OK);
    poly_buffer_init(&json, 65536);
    if (wanted != NULL) {
        assert_ok(cli_read_filters(&cli, false, &json, &err));
        assert_string_equal(json.data, wanted);
    } else {
        assert_fails(cli_read_filters(&cli, false, &json, &err), POLY_INVALID);
    }
    poly_buffer_release(&json);
}

static void filters_are_made_of_words(void **state)
{
    (void)state;
    assert_filter("a=1", "[{\"column\":\"a\",\"compare\":\"eq\",\"values\":[\"1\"]}]");
    assert_filter("a >= x y", "[{\"column\":\"a\",\"compare\":\"ge\",\"values\":[\"x y\"]}]");
    assert_filter("a!= ", "[{\"column\":\"a\",\"compare\":\"ne\",\"values\":[\" \"]}]");
    assert_filter("a^=li", "[{\"column\":\"a\",\"compare\":\"prefix\",\"values\":[\"li\"]}]");
    assert_filter("a in x,y", "[{\"column\":\"a\",\"compare\":\"in\",\"values\":[\"x\",\"y\"]}]");
    assert_filter("a is null", "[{\"column\":\"a\",\"compare\":\"is_null\",\"values\":[]}]");
    assert_filter("a is not null", "[{\"column\":\"a\",\"compare\":\"not_null\",\"values\":[]}]");
    assert_filter("a$.b[0]=7", "[{\"column\":\"a\",\"path\":\"$.b[0]\",\"compare\":\"eq\","
                               "\"values\":[7]}]");
    assert_filter("a", NULL);
    assert_filter("=1", NULL);
    assert_filter("a ~ 1", NULL);
}

static void options_stand_anywhere(void **state)
{
    const char *words[] = {"polystore", "--json", "get", "d", "-q", "k", "--tenant", "t"};
    struct cli cli;

    (void)state;
    parse(&cli, 8, words, POLY_OK);
    assert_string_equal(cli.verb->name, "get");
    assert_true(cli.json && cli.quiet && !cli.help);
    assert_int_equal(cli.argument_count, 2);
    assert_string_equal(cli.arguments[1], "k");
    assert_string_equal(cli_option(&cli, "tenant"), "t");
    parse(&cli, 4, (const char *[]){"polystore", "migrate", "up", "--quiet"}, POLY_OK);
    assert_string_equal(cli.group->name, "migrate");
    parse(&cli, 4, (const char *[]){"polystore", "search", "--", "-x"}, POLY_OK);
    assert_string_equal(cli.arguments[0], "-x");
}

static void wrong_words_are_refused(void **state)
{
    struct cli cli;

    (void)state;
    parse(&cli, 2, (const char *[]){"polystore", "nothing"}, POLY_INVALID);
    parse(&cli, 2, (const char *[]){"polystore", "migrate"}, POLY_INVALID);
    parse(&cli, 3, (const char *[]){"polystore", "migrate", "x"}, POLY_INVALID);
    parse(&cli, 2, (const char *[]){"polystore", "get"}, POLY_INVALID);
    parse(&cli, 3, (const char *[]){"polystore", "status", "x"}, POLY_INVALID);
    parse(&cli, 3, (const char *[]){"polystore", "status", "--tenant"}, POLY_INVALID);
    parse(&cli, 3, (const char *[]){"polystore", "status", "--nothing"}, POLY_INVALID);
    parse(&cli, 4, (const char *[]){"polystore", "status", "--consistency", "x"}, POLY_INVALID);
    parse(&cli, 3, (const char *[]){"polystore", "get", "--help"}, POLY_OK);
    parse(&cli, 3, (const char *[]){"polystore", "migrate", "--help"}, POLY_OK);
    assert_true(cli.help);
}

/* --- output --- */

static void no_control_character_is_printed(void **state)
{
    static const char text[] = "a\x1b[2J\n\t\x7f\xc2\x9b\xff é";
    struct poly_buffer out;

    (void)state;
    poly_buffer_init(&out, 1024);
    cli_escape(&out, text, sizeof(text) - 1);
    assert_string_equal(out.data, "a\\x1b[2J\\n\\t\\x7f\\xc2\\x9b\\xff é");
    poly_buffer_release(&out);
}

static void tables_are_aligned(void **state)
{
    struct cli_table *table = cli_table_new();
    struct poly_error err;
    char text[256] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");

    (void)state;
    cli_table_column(table, "NAME");
    cli_table_column(table, "N");
    cli_table_text(table, "日本");
    cli_table_number(table, 7);
    cli_table_text(table, "longer");
    cli_table_number(table, 1234);
    assert_ok(cli_table_print(table, out, &err));
    fclose(out);
    assert_string_equal(text, "NAME       N\n日本       7\nlonger  1234\n");
    cli_table_free(table);
}

static void progress_is_drawn(void **state)
{
    char text[40];

    (void)state;
    cli_progress_format(text, sizeof(text), 5, 10, 10);
    assert_string_equal(text, "[#####.....]  50 %");
    cli_progress_format(text, sizeof(text), 20, 10, 10);
    assert_string_equal(text, "[##########] 100 %");
    cli_progress_format(text, 6, 1, 2, 10);
    assert_int_equal(strlen(text), 5);
}

/* --- events --- */

static bool collect(void *arg, const char *event, const char *data, size_t size)
{
    char *all = arg;

    snprintf(all + strlen(all), 200 - strlen(all), "<%s %.*s>", event, (int)size, data);
    return strcmp(event, "error") != 0;
}

static void events_come_whole_however_cut(void **state)
{
    static const char text[] =
        ": hi\n\nid: 1\ndata: a\r\ndata: b\n\nevent: error\ndata:c\n\ndata: d\n\n";

    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct cli_events events;
        char all[200] = "";

        cli_events_open(&events, collect, all);
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t size = sizeof(text) - 1 - at < piece ? sizeof(text) - 1 - at : piece;

            cli_events_feed(&events, text + at, size);
        }
        assert_string_equal(all, "<message a\nb><error c>");
        cli_events_close(&events);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_quotes_and_line_feeds),
        cmocka_unit_test(csv_names_the_bad_line),
        cmocka_unit_test(jsonl_takes_objects_only),
        cmocka_unit_test(debian_reads_paragraphs),
        cmocka_unit_test(debian_takes_the_first_of_several_versions),
        cmocka_unit_test(debian_names_the_bad_line),
        cmocka_unit_test(a_nul_is_no_text),
        cmocka_unit_test(formats_are_found_by_name),
        cmocka_unit_test(rows_are_made_of_words),
        cmocka_unit_test(filters_are_made_of_words),
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(no_control_character_is_printed),
        cmocka_unit_test(tables_are_aligned),
        cmocka_unit_test(progress_is_drawn),
        cmocka_unit_test(events_come_whole_however_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
