/* origin_fuzz.c - a URL that is read has a clean host and a target, and its origin reads back as itself; a redirect that is
 * followed leads to a URL. The URL is the first line, the Location the second. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void check_origin(const struct mg_origin *origin, mg_view target)
{
    char text[MG_ORIGIN_BYTES];
    struct mg_origin again;
    mg_view ignored;
    must(origin->port > 0 && origin->port < 65536 && origin->host[0], "an odd origin\n");
    for (const char *c = origin->host; *c; c++)
        must(*c > 0x20 && *c < 0x7f && *c != '@' && *c != '/' && *c != '\\' && !(*c >= 'A' && *c <= 'Z'), "an odd host\n");
    must(target.len > 0 && (target.ptr[0] == '/' || target.ptr[0] == '?'), "an odd target\n");
    for (size_t i = 0; i < target.len; i++)
        must(target.ptr[i] > 0x20 && target.ptr[i] < 0x7f, "a target that ends a line\n");
    mg_origin_text(origin, text);
    must(mg_origin_parse(mg_view_cstr(text), &again, &ignored) && mg_origin_eq(origin, &again), "an origin changes\n");
    must(mg_origin_right(origin, (const char *[]){text, NULL}) >= MG_ORIGIN_PRIVATE, "an origin does not allow itself\n");
    must(mg_origin_right(origin, (const char *[]){"https://other.example:1", NULL}) == MG_ORIGIN_REFUSED ||
             origin->port == 1, "an origin that is not listed is allowed\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mg_view in = mg_view_of((const char *)data, size);
    mg_view url = mg_view_head(in, mg_view_find(in, "\n")), location = mg_view_skip(in, url.len + 1), target;
    struct mg_origin origin;
    struct mg_buf out;
    mg_buf_init(&out, MG_URL_BYTES);
    if (mg_origin_parse(url, &origin, &target))
        check_origin(&origin, target);
    if (mg_origin_redirect(url, location, &out)) {
        must(mg_origin_parse(mg_buf_view(&out), &origin, &target), "a redirect leads nowhere\n");
        check_origin(&origin, target);
    }
    mg_buf_fini(&out);
    return 0;
}
