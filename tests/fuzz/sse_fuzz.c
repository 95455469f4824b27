/* sse_fuzz.c - however a stream is cut, the same events come out and their raw bytes in a row are the
 * stream; what is written from an event reads back as that event. The first byte chooses the cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_EVENT = 512 };

struct run {
    struct mg_buf log;       /* names and data of events that are no comments */
    struct mg_buf raw;
    struct mg_buf written;   /* the same events by mg_sse_put_event() */
};

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct run *run = arg;
    must(event->raw.len > 0 && event->raw.len <= MAX_EVENT + 1, "an odd block\n");
    must(event->data.len <= event->raw.len && event->name.len <= event->raw.len, "more came out than went in\n");
    must(mg_buf_put(&run->raw, event->raw) == MG_OK, "log is full\n");
    must(!event->data_in_raw || (event->data.ptr >= event->raw.ptr &&
                                 event->data.ptr + event->data.len <= event->raw.ptr + event->raw.len), "data is elsewhere\n");
    if (event->is_comment)
        return MG_OK;
    must(mg_buf_putf(&run->log, "%zu:", event->name.len) == MG_OK && mg_buf_put(&run->log, event->name) == MG_OK, "log is full\n");
    must(mg_buf_putf(&run->log, "%zu:", event->data.len) == MG_OK && mg_buf_put(&run->log, event->data) == MG_OK, "log is full\n");
    must(mg_sse_put_event(&run->written, event->name, event->data) == MG_OK, "an event cannot be written\n");
    return MG_OK;
}

static mg_err decode(mg_view in, size_t max, size_t cut, size_t step, struct run *run)
{
    mg_buf_init(&run->log, 64 * in.len + 64);
    mg_buf_init(&run->raw, in.len + 1);
    mg_buf_init(&run->written, 64 * in.len + 64);
    struct mg_sse *sse = mg_sse_new(max, on_event, run);
    mg_err err = mg_sse_feed(sse, mg_view_head(in, cut));
    for (mg_view rest = mg_view_skip(in, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_sse_feed(sse, mg_view_head(rest, step));
    if (!err)
        must(mg_buf_put(&run->raw, mg_sse_finish(sse)) == MG_OK && mg_view_eq(mg_buf_view(&run->raw), in), "bytes were lost\n");
    must(err == MG_OK || err == MG_E_TOO_LARGE, "an odd error\n");
    mg_sse_free(sse);
    return err;
}

static void fini(struct run *run)
{
    mg_buf_fini(&run->log);
    mg_buf_fini(&run->raw);
    mg_buf_fini(&run->written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mg_view in = mg_view_skip(mg_view_of((const char *)data, size), 1);
    size_t cuts[] = {0, size ? data[0] : 0, 0}, steps[] = {SIZE_MAX / 2, SIZE_MAX / 2, 1};
    struct run runs[3], again;
    mg_err errs[3];
    for (size_t i = 0; i < 3; i++)
        errs[i] = decode(in, MAX_EVENT, cuts[i], steps[i], &runs[i]);
    for (size_t i = 1; i < 3; i++)
        must(errs[i] == errs[0] && mg_view_eq(mg_buf_view(&runs[i].log), mg_buf_view(&runs[0].log)), "a cut changed what was read\n");

    must(decode(mg_buf_view(&runs[0].written), 64 * MAX_EVENT, 0, SIZE_MAX / 2, &again) == MG_OK, "what was written is refused\n");
    must(mg_view_eq(mg_buf_view(&again.log), mg_buf_view(&runs[0].log)), "what was written reads otherwise\n");
    fini(&again);
    for (size_t i = 0; i < 3; i++)
        fini(&runs[i]);
    return 0;
}
