/* detail_fuzz.c - the packed records of an exchange, as the store keeps them: whatever the bytes
 * are, they decode or are refused, and what decodes prints as JSON that our own strict reader
 * accepts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/ledger.h"
#include "watch/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void check_json(const struct mg_timeline *timeline)
{
    static struct mg_timeline again;
    struct mg_json_error error = {0};
    struct mg_json *tree;
    struct mg_buf out;
    bool interrupted;
    mg_buf_init(&out, 8 * MG_TRACE_JSON_BYTES);
    must(mg_watch_timeline_json(timeline, false, &out) == MG_OK, "a timeline does not print\n");
    must(mg_json_parse(mg_buf_view(&out), 8 * MG_TRACE_JSON_BYTES, &tree, &error) == MG_OK,
         "what printed is not JSON\n");
    /* replacing what is not UTF-8 may make an id too long */
    if (timeline->id[0] && mg_view_utf8(mg_view_cstr(timeline->id), NULL))
        must(mg_watch_timeline_parse(tree, &again, &interrupted) == MG_OK,
             "what printed is no timeline\n");
    mg_json_free(tree);
    mg_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mg_timeline timeline;
    if (size > MG_TRACE_DETAIL_BYTES)
        return 0;
    if (mg_ledger_decode(mg_view_of((const char *)data, size), &timeline) == MG_OK) {
        must(timeline.attempt_count <= MG_MAX_ATTEMPTS, "more attempts than there can be\n");
        must(timeline.note_bytes <= sizeof timeline.note, "more notes than there is room\n");
        check_json(&timeline);
    }
    return 0;
}
