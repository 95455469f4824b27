/* json_patch_fuzz.c - a patched document is JSON, holds what was set and lacks what was removed; other documents are refused
 * exactly when the scanner refuses them. Lines "path=json" and "path" come first, then an empty line and the document. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "script/json_patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EDITS = 6 };

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

struct edits {
    struct mg_json_edit list[EDITS];
    char *paths[EDITS];      /* owned */
    size_t count;
};

static bool is_value(mg_view value)
{
    bool blank = value.len && ((unsigned char)value.ptr[0] <= ' ' || (unsigned char)value.ptr[value.len - 1] <= ' ');
    return !blank && mg_json_check(value, NULL) == MG_OK;
}

/* Values that are no JSON, or have blanks around them, are left out: the caller promises them. */
static void read_edit(struct edits *edits, mg_view line)
{
    size_t equals = mg_view_find(line, "=");
    mg_view value = mg_view_skip(line, equals + 1);
    if (edits->count == EDITS || memchr(line.ptr, '\0', line.len) || (equals < line.len && !is_value(value)))
        return;
    char *path = mg_strndup(line.ptr, equals);
    edits->paths[edits->count] = path;
    edits->list[edits->count++] = (struct mg_json_edit){path, value};
}

static mg_view read_edits(struct edits *edits, mg_view in)
{
    while (in.len > 0) {
        mg_view line = mg_view_head(in, mg_view_find(in, "\n"));
        in = mg_view_skip(in, line.len + 1);
        if (line.len == 0)
            break;
        read_edit(edits, line);
    }
    return in;
}

struct found {
    mg_view value;
    size_t same, all;
};

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct found *found = arg;
    found->all++;
    found->same += mg_view_eq(hit->value, found->value);
    return MG_OK;
}

static void check_result(const struct edits *edits, mg_view doc)
{
    must(mg_json_scan(doc, NULL, NULL, NULL, NULL) == MG_OK, "the result is no JSON\n");
    for (size_t i = 0; i < edits->count; i++) {
        struct found found = {edits->list[i].value, 0, 0};
        struct mg_json_paths *paths = mg_json_paths_new(&edits->list[i].path, 1);
        must(mg_json_scan(doc, paths, on_hit, &found, NULL) == MG_OK, "the result cannot be scanned\n");
        must(found.all == (edits->list[i].value.len ? found.same : 0), "a value is not what was set\n");
        mg_json_paths_free(paths);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct edits edits = {.count = 0};
    struct mg_json_error error = {0, NULL};
    const char *culprit = NULL;
    struct mg_buf out;
    mg_buf_init(&out, 1 << 20);
    mg_view doc = read_edits(&edits, mg_view_of((const char *)data, size));
    mg_err err = mg_json_patch(doc, edits.list, edits.count, &out, &error, &culprit);
    if (err == MG_OK)
        check_result(&edits, mg_buf_view(&out));
    else if (err == MG_E_BAD_REQUEST)
        must(error.reason && error.offset <= doc.len, "a refusal without a place\n");
    else
        must(err == MG_E_TOO_LARGE || culprit, "a refusal without a culprit\n");
    for (size_t i = 0; i < edits.count; i++)
        mg_free(edits.paths[i]);
    mg_buf_fini(&out);
    return 0;
}
