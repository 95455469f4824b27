/* multipart_fuzz.c - however a form is cut, the same parts and the same end come out, and each stands where it says: its
 * delimiter before it, the line end and a delimiter behind it. The first byte chooses the cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    struct mg_buf text;
    mg_view in;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static mg_err on_part(void *arg, const struct mg_multipart_part *part)
{
    struct told *told = arg;
    return mg_buf_putf(&told->text, "%.*s%d", MG_FMT(part->name), part->file);
}

static mg_err on_end(void *arg, const struct mg_multipart_part *part)
{
    struct told *told = arg;
    check(part->start < part->value && part->value <= part->end && part->end <= told->in.len, "a part is out of order");
    mg_view value = mg_view_head(mg_view_skip(told->in, part->value), part->end - part->value);
    check(mg_view_starts(mg_view_skip(told->in, part->start), MG_VIEW("--b")), "a part begins without a delimiter");
    check(mg_view_starts(mg_view_skip(told->in, part->end), MG_VIEW("\r\n--b")), "a part ends without a delimiter");
    check(mg_view_search(value, MG_VIEW("\r\n--b")) == value.len, "a value has a delimiter in it");
    return mg_buf_putf(&told->text, "[%zu:%llu]", value.len, (unsigned long long)part->start);
}

static mg_err scan(mg_view in, size_t step, struct told *told)
{
    static const struct mg_multipart_limits limits = {.parts = 8, .header_bytes = 128, .name_bytes = 16};
    static const struct mg_multipart_ops ops = {.on_part = on_part, .on_end = on_end};
    struct mg_multipart multipart;
    told->in = in;
    mg_buf_init(&told->text, 8 * in.len + 256);
    mg_multipart_init(&multipart, MG_VIEW("b"), &limits, &ops, told);
    mg_err err = MG_OK;
    for (mg_view rest = in; !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_multipart_feed(&multipart, mg_view_head(rest, step));
    if (mg_buf_putf(&told->text, "%s%d", mg_multipart_reason(&multipart), mg_multipart_complete(&multipart)) != MG_OK)
        abort();
    mg_multipart_fini(&multipart);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole, cut;
    if (size < 2)
        return 0;
    mg_view in = mg_view_of((const char *)data + 1, size - 1);
    (void)mg_multipart_boundary(in);
    mg_err err = scan(in, in.len, &whole);
    check(scan(in, 1u + data[0] % 64, &cut) == err && mg_view_eq(mg_buf_view(&whole.text), mg_buf_view(&cut.text)),
          "a cut changed what came out");
    mg_buf_fini(&whole.text);
    mg_buf_fini(&cut.text);
    return 0;
}
