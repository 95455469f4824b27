/* json_scan_fuzz.c - what the scanner accepts, cJSON accepts too, and at every path both see the same values;
 * cutting hits out leaves a valid document without them. */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const path_list[] = {
    "", "model", "stream", "messages[*]", "messages[*].role", "messages[*].content", "usage.prompt_tokens",
    "usage.prompt_tokens_details.cached_tokens", "choices[*].delta.content", "tools[*].function.name", "[*]", "[*][*]", "a", "a.b",
};
enum { PATHS = MG_COUNT(path_list), MAX_HITS = 256 };

struct seen {
    const cJSON *root;       /* NULL: only collect */
    struct mg_json_hit hits[MAX_HITS];
    size_t count;
    size_t per_path[PATHS];
};

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static mg_err collect(void *arg, const struct mg_json_hit *hit)
{
    struct seen *seen = arg;
    seen->per_path[hit->path]++;
    if (seen->count < MAX_HITS)
        seen->hits[seen->count++] = *hit;
    return MG_OK;
}

static const cJSON *member(const cJSON *node, mg_view key)
{
    char name[64] = "";
    must(key.len < sizeof name, "a path is too long\n");
    memcpy(name, key.ptr, key.len);
    return cJSON_IsObject(node) ? cJSON_GetObjectItemCaseSensitive(node, name) : NULL;
}

/* The node a path leads to, with the indexes of a hit. */
static const cJSON *lookup(const cJSON *node, const char *path, const size_t *index)
{
    mg_view rest = mg_view_cstr(path);
    while (node && rest.len > 0) {
        if (mg_view_starts(rest, MG_VIEW("[*]"))) {
            node = cJSON_IsArray(node) ? cJSON_GetArrayItem(node, (int)*index++) : NULL;
            rest = mg_view_skip(rest, 3);
            continue;
        }
        rest = mg_view_skip(rest, rest.ptr[0] == '.');
        size_t len = mg_view_find(rest, ".[");
        node = member(node, mg_view_head(rest, len));
        rest = mg_view_skip(rest, len);
    }
    return node;
}

/* How many values of a parsed document a path leads to. */
static size_t count(const cJSON *node, mg_view path)
{
    size_t total = 0;
    if (!node || path.len == 0)
        return node != NULL;
    if (mg_view_starts(path, MG_VIEW("[*]"))) {
        const cJSON *child = NULL;
        if (cJSON_IsArray(node))
            cJSON_ArrayForEach(child, node) total += count(child, mg_view_skip(path, 3));
        return total;
    }
    path = mg_view_skip(path, path.ptr[0] == '.');
    size_t len = mg_view_find(path, ".[");
    return count(member(node, mg_view_head(path, len)), mg_view_skip(path, len));
}

static void same_value(const struct mg_json_hit *hit, const cJSON *node)
{
    static const int types[] = {cJSON_NULL, cJSON_True | cJSON_False, cJSON_Number, cJSON_String, cJSON_Array, cJSON_Object};
    must(node && node->type & types[hit->type], "cJSON sees another type\n");
    if (hit->type == MG_JSON_STRING) {
        struct mg_buf text;
        mg_buf_init(&text, hit->value.len);
        must(mg_json_unescape(hit->value, &text) == MG_OK, "a string cannot be unescaped\n");
        must(mg_view_eq(mg_buf_view(&text), mg_view_cstr(node->valuestring)), "cJSON sees another string\n");
        mg_buf_fini(&text);
    } else if (hit->type == MG_JSON_NUMBER) {
        double value;
        must(mg_json_span_double(hit->value, &value) && value == node->valuedouble, "cJSON sees another number\n");
    } else if (hit->type == MG_JSON_BOOL) {
        bool yes;
        must(mg_json_span_bool(hit->value, &yes) && yes == cJSON_IsTrue(node), "cJSON sees another boolean\n");
    } else if (hit->type != MG_JSON_NULL) {
        must(mg_json_span_is_empty(hit->value) == (node->child == NULL), "cJSON sees another container\n");
    }
}

/* cJSON ends strings at a NUL and numbers after 63 characters: such documents are not compared. */
static bool comparable(mg_view doc)
{
    size_t run = 0;
    for (size_t i = 0; i < doc.len; i++) {
        run = memchr("0123456789+-.eE", doc.ptr[i], 15) ? run + 1 : 0;
        if (run > 60 || (doc.len - i >= 6 && memcmp(doc.ptr + i, "\\u0000", 6) == 0))
            return false;
    }
    return true;
}

static void compare(mg_view doc, const struct seen *seen)
{
    cJSON *root = cJSON_ParseWithLength(doc.ptr, doc.len);
    must(root, "cJSON refuses what the scanner accepts\n");
    for (size_t i = 0; i < seen->count; i++)
        same_value(&seen->hits[i], lookup(root, path_list[seen->hits[i].path], seen->hits[i].index));
    for (size_t path = 0; path < PATHS; path++)
        must(seen->per_path[path] == count(root, mg_view_cstr(path_list[path])), "cJSON sees another number of values\n");
    cJSON_Delete(root);
}

/* Without the hits of one path the document is still valid and that path leads nowhere. */
static void cut(mg_view doc, const struct mg_json_paths *paths, const struct seen *seen, size_t path)
{
    static struct mg_json_hit hits[MAX_HITS];
    static struct mg_splice splices[MAX_HITS];
    static struct seen left;
    size_t n = 0;
    for (size_t i = 0; i < seen->count; i++)
        if (seen->hits[i].path == path)
            hits[n++] = seen->hits[i];
    if (n == 0 || seen->count == MAX_HITS || path_list[path][0] == '\0')
        return;

    struct mg_buf out;
    mg_buf_init(&out, doc.len + 1);
    must(mg_splice_apply(doc, splices, mg_json_cuts(doc, hits, n, splices), &out) == MG_OK, "splicing failed\n");
    memset(&left, 0, sizeof left);
    must(mg_json_scan(mg_buf_view(&out), paths, collect, &left, NULL) == MG_OK, "cutting broke the document\n");
    must(left.per_path[path] == 0, "something was not cut\n");
    mg_buf_fini(&out);
}

static void tree_agrees(mg_view doc)
{
    struct mg_json *tree = NULL, *again = NULL;
    if (mg_json_parse(doc, SIZE_MAX, &tree, NULL) != MG_OK)
        return;
    struct mg_buf out;
    mg_buf_init(&out, 8 * doc.len + 64);
    must(mg_json_print(tree, &out) == MG_OK && mg_json_parse(mg_buf_view(&out), SIZE_MAX, &again, NULL) == MG_OK, "a printed tree is refused\n");
    size_t len = out.len;
    must(mg_json_print(again, &out) == MG_OK, "a tree cannot be printed\n");
    must(mg_view_eq(mg_view_head(mg_buf_view(&out), len), mg_view_skip(mg_buf_view(&out), len)), "a tree prints otherwise the second time\n");
    mg_json_free(tree);
    mg_json_free(again);
    mg_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mg_json_paths *paths;
    static struct seen seen;
    if (!paths)
        paths = mg_json_paths_new(path_list, PATHS);
    mg_view doc = mg_view_of((const char *)data, size);
    struct mg_json_error error = {SIZE_MAX, NULL};
    memset(&seen, 0, sizeof seen);
    mg_err err = mg_json_scan(doc, paths, collect, &seen, &error);
    must(err == MG_OK || (error.reason && error.offset <= size), "an error without a place\n");
    must(err || mg_json_scan(doc, NULL, NULL, NULL, NULL) == MG_OK, "paths widened what is valid\n");
    must(mg_json_check(doc, NULL) != MG_OK || err == MG_OK, "paths narrowed what is valid\n");
    if (err)
        return 0;
    if (comparable(doc))
        compare(doc, &seen);
    for (size_t path = 0; path < PATHS; path++)
        cut(doc, paths, &seen, path);
    tree_agrees(doc);
    return 0;
}
