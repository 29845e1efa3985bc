/* Files of vectors: what they hold, and every way in which one can be broken or lie. */
#include "test.h"

#include <unistd.h>

#include "base/limits.h"
#include "cli/vector_files.h"

struct opened {
    char path[32];
    struct cli_source source;
    struct cli_import import;
};

static void write_file(char path[32], const void *data, size_t size)
{
    int fd;

    strncpy(path, "/tmp/poly-vector-XXXXXX", 32);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static void open_bytes(struct opened *opened, const struct cli_format *format,
                       const struct cli_vector_options *options, const void *data, size_t size)
{
    struct poly_error err;

    write_file(opened->path, data, size);
    assert_ok(cli_source_open(&opened->source, opened->path, &err));
    cli_import_open(&opened->import, format, &opened->source);
    opened->import.vectors = options;
}

static void close_bytes(struct opened *opened)
{
    cli_import_close(&opened->import);
    cli_source_close(&opened->source);
    unlink(opened->path);
}

static const struct cli_vector_options plain = {.field = "e"};

/* Its rows as "key:row" lines; what is wrong after them as its message. */
static void assert_reads(const struct cli_format *format, const struct cli_vector_options *options,
                         const void *data, size_t size, const char *wanted)
{
    struct opened opened;
    struct poly_buffer rows;
    struct poly_error err = {.status = POLY_OK};
    bool more = true;

    open_bytes(&opened, format, options, data, size);
    poly_buffer_init(&rows, 65536);
    poly_buffer_text(&rows, "");
    while (more && format->next(&opened.import, &more, &err) == POLY_OK) {
        if (more)
            poly_buffer_printf(&rows, "%s:%s\n",
                               opened.import.key.size == 0 ? "" : opened.import.key.data,
                               opened.import.row.data);
    }
    if (err.status != POLY_OK) {
        const char *after = strstr(err.message, opened.path);

        assert_int_equal(err.status, POLY_INVALID);
        poly_buffer_text(&rows, after == NULL ? err.message : after + strlen(opened.path));
    }
    if (strncmp(rows.data, wanted, strlen(wanted)) != 0)
        fail_msg("'%s' does not begin with '%s'", rows.data, wanted);
    if (err.status == POLY_OK)
        assert_string_equal(rows.data, wanted);
    poly_buffer_release(&rows);
    close_bytes(&opened);
}

#define READS(format, data, wanted) assert_reads(format, &plain, data, sizeof(data) - 1, wanted)

/* --- .fvecs --- */

#define ONE_TWO "\2\0\0\0\0\0\x80\x3f\0\0\0\x40"

static void fvecs(void **state)
{
    (void)state;
    READS(&cli_format_fvecs, ONE_TWO ONE_TWO, "0:{\"e\":[1,2]}\n1:{\"e\":[1,2]}\n");
    READS(&cli_format_fvecs, "", "");
}

static void broken_fvecs(void **state)
{
    (void)state;
    READS(&cli_format_fvecs, ONE_TWO "\2\0", "0:{\"e\":[1,2]}\n: vector 1: the file ends in its");
    READS(&cli_format_fvecs, ONE_TWO "\2\0\0\0\0\0",
          "0:{\"e\":[1,2]}\n: vector 1: the file ends in "
          "it, after 2 of 8 bytes");
    READS(&cli_format_fvecs, "\xff\xff\xff\xff",
          ": vector 0: its length is 4294967295; 1 to 16000");
    READS(&cli_format_fvecs, "\0\0\0\0", ": vector 0: its length is 0");
    READS(&cli_format_fvecs, "\x81\x3e\0\0", ": vector 0: its length is 16001");
    READS(&cli_format_fvecs, ONE_TWO "\1\0\0\0\0\0\x80\x3f",
          "0:{\"e\":[1,2]}\n: vector 1: it has 1 numbers, those before have 2");
    READS(&cli_format_fvecs, "\1\0\0\0\0\0\xc0\x7f", ": vector 0: number 0 is not finite");
    READS(&cli_format_fvecs, "\1\0\0\0\0\0\x80\xff", ": vector 0: number 0 is not finite");
}

/* --- .npy --- */

/* Version 1, with a header of so many bytes. */
#define NPY(length, header) "\x93NUMPY\1\0" length "\0" header
#define F4 NPY("\x3c", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n")
#define F4_ONE NPY("\x3b", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } \n")
#define F8 NPY("\x3c", "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }\n")
#define F2 NPY("\x3c", "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 6), }\n")
#define NUMBERS "\0\0\x80\x3f\0\0\0\x40\0\0\0\0\0\0\x80\xbf"

static void npy(void **state)
{
    (void)state;
    READS(&cli_format_npy, F4 NUMBERS, "0:{\"e\":[1,2]}\n1:{\"e\":[0,-1]}\n");
    READS(&cli_format_npy, F4_ONE "\0\0\x80\x3f\0\0\0\x40", "0:{\"e\":[1,2]}\n");
    READS(&cli_format_npy, F8 "\x9a\x99\x99\x99\x99\x99\xb9\x3f", "0:{\"e\":[0.1]}\n");
    READS(&cli_format_npy, F2 "\0\x3c\0\xc0\xff\x7b\1\0\0\x80\0\4",
          "0:{\"e\":[1,-2,65504,5.9604645e-8,-0,0.000061035156]}\n");
    READS(&cli_format_npy,
          "\x93NUMPY\2\0\x3b\0\0\0{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}\n "
          "\0\0\x80\x3f",
          "0:{\"e\":[1]}\n");
}

static void broken_npy(void **state)
{
    (void)state;
    READS(&cli_format_npy, "", ": this is no .npy");
    READS(&cli_format_npy, "\x93NUMPY\1\0", ": this is no .npy");
    READS(&cli_format_npy, "\x93NUMPZ\1\0\0\0", ": this is no .npy");
    READS(&cli_format_npy, "\x93NUMPY\4\0\0\0", ": this is no .npy of version 1, 2 or 3");
    READS(&cli_format_npy, NPY("\x3c", "{'descr'"), ": its header is none");
    READS(&cli_format_npy, NPY("\x02", "{}"), ": its header is none");
    READS(&cli_format_npy, NPY("\x05", "{'a\0}"), ": its header is none");
    READS(&cli_format_npy, "\x93NUMPY\2\0\xff\xff\xff\xff{", ": its header is longer than 65536");
    READS(&cli_format_npy, F4 "\0\0\x80\x3f",
          ": its header promises 2 vectors of 2 numbers, 16 bytes, and 4 follow");
    READS(&cli_format_npy, F4 NUMBERS "x",
          ": its header promises 2 vectors of 2 numbers, 16 bytes, and 17 follow");
}

/* The rest of the header for a text in place of one of its values. */
static void assert_header(const char *descr, const char *order, const char *shape,
                          const char *wanted)
{
    char file[300];
    int size;

    size = snprintf(file + 10, sizeof(file) - 10,
                    "{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr, order, shape);
    memcpy(file, "\x93NUMPY\1", 8);
    file[8] = (char)size;
    file[9] = 0;
    memcpy(file + 10 + size, "\0\0\x80\x3f", 4);
    assert_reads(&cli_format_npy, &plain, file, (size_t)size + 14, wanted);
}

static void headers_that_lie(void **state)
{
    (void)state;
    assert_header("'<f4'", "False", "(1, 1)", "0:{\"e\":[1]}\n");
    assert_header("'>f4'", "False", "(1, 1)", ": its numbers are '>f4'; <f4, <f8 and <f2");
    assert_header("'<i4'", "False", "(1, 1)", ": its numbers are '<i4'");
    assert_header("[('a', '<f4')]", "False", "(1, 1)", ": its header is none");
    assert_header("'<f4'", "True", "(1, 1)", ": its numbers lie column by column");
    assert_header("'<f4'", "Maybe", "(1, 1)", ": its header is none");
    assert_header("'<f4'", "False", "()", ": it has 0 axes");
    assert_header("'<f4'", "False", "(1, 1, 1)", ": it has 3 axes");
    assert_header("'<f4'", "False", "(1, 0)", ": its vectors have 0 numbers");
    assert_header("'<f4'", "False", "(1, 16001)", ": its vectors have 16001 numbers");
    assert_header("'<f4'", "False", "(-1, 1)", ": its header is none");
    assert_header("'<f4'", "False", "(1 1)", ": its header is none");
    assert_header("'<f4'", "False", "(99999999999999999999, 1)", ": its header is none");
    assert_header("'<f4'", "False", "(18446744073709551615, 16000)",
                  ": its header promises 18446744073709551615 vectors of 16000 numbers, "
                  "18446744073709551615 bytes, and 4 follow");
}

/* --- keys --- */

static void assert_keys(const char *keys, const char *wanted)
{
    struct cli_source source;
    struct cli_vector_options options = {.field = "e", .prefix = "p-", .keys = &source};
    struct poly_error err;
    char path[32];

    write_file(path, keys, strlen(keys));
    assert_ok(cli_source_open(&source, path, &err));
    source.name = "KEYS";
    assert_reads(&cli_format_npy, &options, F4 NUMBERS, sizeof(F4 NUMBERS) - 1, wanted);
    cli_source_close(&source);
    unlink(path);
}

static void keys_of_a_file(void **state)
{
    static const struct cli_vector_options bytes = {.field = "e", .bytes = true, .prefix = "v"};

    (void)state;
    assert_keys("a\nb\n", "p-a:{\"e\":[1,2]}\np-b:{\"e\":[0,-1]}\n");
    assert_keys("a\n",
                "p-a:{\"e\":[1,2]}\n: vector 1: 'KEYS' has no key for it: its line 2 is not");
    assert_keys("\nb\n", ": vector 0: 'KEYS' has no key for it: its line 1 is empty");
    assert_keys("a\nb\nc\n", "p-a:{\"e\":[1,2]}\np-b:{\"e\":[0,-1]}\n has vectors: 2");
    assert_reads(&cli_format_fvecs, &bytes, ONE_TWO, sizeof(ONE_TWO) - 1,
                 "v0:{\"e\":{\"$bytes\":\"0000803f00000040\"}}\n");
}

/* --- lines --- */

static void json_lines(void **state)
{
    (void)state;
    READS(&cli_format_vector_lines,
          "{\"key\": \"a\", \"vector\": [1, 2], \"t\": \"x\"}\n\n{\"vector\":[0.5],\"key\":7}\n"
          "{\"id\":\"b\",\"e\":[1]}\n",
          "a:{\"t\":\"x\",\"e\":[1,2]}\n7:{\"e\":[0.5]}\n:{\"id\":\"b\",\"e\":[1]}\n");
    READS(&cli_format_vector_lines, "{}\n[1]\n", ":{}\n:2: must be a JSON object");
    READS(&cli_format_vector_lines, "{\"vector\":[1}\n", ":1: JSON, line 1, column 13");
    READS(&cli_format_vector_lines, "{\"vector\":[1,null]}\n", ":1: 'vector' must be an array of");
    READS(&cli_format_vector_lines, "{\"vector\":[1e99]}\n", ":1: 'vector' must be an array of");
    READS(&cli_format_vector_lines, "{\"key\":[],\"vector\":[1]}\n", ":1: 'key' must be a text or");
    READS(&cli_format_vector_lines, "{\"e\":3,\"vector\":[1]}\n",
          ":1: it has 'vector', and the col");
}

static const struct cli_vector_options copied = {.field = "e", .columns = "id,t,e", .key = "id"};
#define COPIES(data, wanted) assert_reads(&cli_format_copy, &copied, data, sizeof(data) - 1, wanted)

static void copy(void **state)
{
    (void)state;
    COPIES("1\tsay \\\"hi\\\"\\t\\x41\\101\\\\\t[1, -2.5]\n2\t\\N\t\\N\n\\.\nnot read\n",
           "1:{\"id\":\"1\",\"t\":\"say \\\"hi\\\"\\tAA\\\\\",\"e\":[1,-2.5]}\n"
           "2:{\"id\":\"2\",\"t\":null,\"e\":null}\n");
    COPIES("1\t\\\\N\t[1]\n", "1:{\"id\":\"1\",\"t\":\"\\\\N\",\"e\":[1]}\n");
    COPIES("1\ta\n", ":1: it has fewer fields than --columns has names");
    COPIES("1\ta\t[1]\tb\n", ":1: it has more fields than --columns has names");
    COPIES("1\ta\t[1\n", ":1: the vector is none");
    COPIES("1\ta\t[1,]\n", ":1: the vector is none");
    COPIES("1\ta\t[]\n", ":1: the vector is none");
    COPIES("1\ta\t{1:0.5}/3\n", ":1: the vector is none");
    COPIES("1\ta\t[NaN]\n", ":1: the vector is none");
    COPIES("1\ta\t\n", ":1: the vector is none");
    COPIES("\\N\ta\t[1]\n", ":1: the key is null");
    COPIES("1\ta\t[1]\n1\ta\\", "1:{\"id\":\"1\",\"t\":\"a\",\"e\":[1]}\n:2: it has fewer fields");
    COPIES("\t\t\n", ":1: the key is null, empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fvecs),
        cmocka_unit_test(broken_fvecs),
        cmocka_unit_test(npy),
        cmocka_unit_test(broken_npy),
        cmocka_unit_test(headers_that_lie),
        cmocka_unit_test(keys_of_a_file),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
