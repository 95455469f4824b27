/* json_pieces_fuzz.c - whatever the cut, the verdict is the same; what the strict scanner takes is complete, what is
 * called broken the scanner refuses; inside a JSON string it reads the same. The first byte chooses the cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/json_pieces.h"
#include "http/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

/* 0 broken, 1 growing, 2 complete */
static int judge(mg_view in, size_t cut, size_t step)
{
    struct mg_json_pieces pieces = {.depth = 0};
    bool good = mg_json_pieces_feed(&pieces, mg_view_head(in, cut));
    for (mg_view rest = mg_view_skip(in, cut); rest.len > 0; rest = mg_view_skip(rest, step))
        good = mg_json_pieces_feed(&pieces, mg_view_head(rest, step));
    must(good || !mg_json_pieces_complete(&pieces), "broken and complete\n");
    return !good ? 0 : mg_json_pieces_complete(&pieces) ? 2 : 1;
}

static void check_string(mg_view in, int verdict)
{
    struct mg_buf span;
    mg_buf_init(&span, in.len * 6 + 2);
    must(mg_buf_putc(&span, '"') == MG_OK && mg_buf_put_json(&span, in) == MG_OK && mg_buf_putc(&span, '"') == MG_OK,
         "no room\n");
    struct mg_json_pieces pieces = {.depth = 0};
    bool good = mg_json_pieces_feed_string(&pieces, mg_buf_view(&span));
    must((!good ? 0 : mg_json_pieces_complete(&pieces) ? 2 : 1) == verdict, "it reads otherwise inside a string\n");
    mg_buf_fini(&span);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mg_view in = mg_view_skip(mg_view_of((const char *)data, size), 1);
    int verdict = judge(in, 0, SIZE_MAX / 2);
    must(judge(in, size ? data[0] : 0, SIZE_MAX / 2) == verdict && judge(in, 0, 1) == verdict, "a cut changed the verdict\n");
    bool valid = mg_json_scan(in, NULL, NULL, NULL, NULL) == MG_OK;
    must(!valid || verdict == 2, "valid JSON is not complete\n");
    if (mg_view_utf8(in, NULL))
        check_string(in, verdict);
    return 0;
}
