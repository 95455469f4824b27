#include "http/ndjson.h"

#include "base/mem.h"
#include "check.h"

static mg_err on_line(void *arg, mg_view line)
{
    return mg_buf_putf(arg, "[%.*s]", MG_FMT(line));
}

static mg_err decode(const char *wire, size_t cut, size_t step, size_t most, const char *wanted)
{
    struct mg_buf told;
    mg_buf_init(&told, 4096);
    struct mg_ndjson *lines = mg_ndjson_new(most, on_line, &told);
    mg_view text = mg_view_cstr(wire);
    mg_err err = mg_ndjson_feed(lines, mg_view_head(text, cut));
    for (mg_view rest = mg_view_skip(text, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_ndjson_feed(lines, mg_view_head(rest, step));
    if (err == MG_OK)
        err = mg_ndjson_finish(lines);
    CHECK(mg_view_eq(mg_buf_view(&told), mg_view_cstr(wanted)));
    mg_ndjson_free(lines);
    mg_buf_fini(&told);
    return err;
}

TEST(lines_come_out_the_same_at_every_cut_and_the_last_needs_no_end)
{
    const char *wire = "{\"a\":1}\r\n\n  \n{\"b\": 2}\n{\"c\":3}", *wanted = "[{\"a\":1}][{\"b\": 2}][{\"c\":3}]";
    for (size_t cut = 0; cut <= strlen(wire); cut++)
        CHECK_OK(decode(wire, cut, 100, 100, wanted));
    for (size_t step = 1; step < 12; step++)
        CHECK_OK(decode(wire, 0, step, 100, wanted));
}

TEST(a_line_that_is_too_long_ends_it_whole_or_cut)
{
    CHECK_INT(decode("{}\n123456789\n", 100, 1, 8, "[{}]"), MG_E_TOO_LARGE);
    CHECK_INT(decode("{}\n123456789\n", 0, 1, 8, "[{}]"), MG_E_TOO_LARGE);
    CHECK_INT(decode("{}\n123456789", 100, 1, 8, "[{}]"), MG_E_TOO_LARGE);
}

MG_TEST_MAIN()
