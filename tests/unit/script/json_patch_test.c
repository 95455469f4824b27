#include "script/json_patch.h"

#include "base/mem.h"
#include "check.h"

static struct mg_buf out;
static struct mg_json_error error;
static const char *culprit;

static mg_err patch(const char *doc, const struct mg_json_edit *edits, size_t count)
{
    mg_buf_clear(&out);
    return mg_json_patch(mg_view_cstr(doc), edits, count, &out, &error, &culprit);
}

static struct mg_json_edit set(const char *path, const char *json)
{
    return (struct mg_json_edit){path, mg_view_cstr(json)};
}

static struct mg_json_edit removal(const char *path)
{
    return (struct mg_json_edit){path, MG_VIEW_NONE};
}

TEST(sets_adds_and_removes_without_touching_other_bytes)
{
    const struct {
        const char *doc;
        struct mg_json_edit edits[3];
        size_t count;
        const char *want;
    } rows[] = {
        {"{ \"a\" : 1 , \"b\":2}", {set("a", "[1]")}, 1, "{ \"a\" : [1] , \"b\":2}"},
        {"{}", {set("a", "1"), set("b", "2")}, 2, "{\"a\":1,\"b\":2}"},
        {"{ }", {set("a", "1")}, 1, "{ \"a\":1}"},
        {"{\"a\":1}", {removal("a"), set("b", "2")}, 2, "{\"b\":2}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {removal("b"), removal("a")}, 2, "{\"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {removal("a"), removal("b"), removal("c")}, 3, "{}"},
        {"{\"a\":{\"x\":1},\"b\":[{},{\"x\":2}]}", {set("b[*].x", "0"), set("a.y", "3")}, 2,
         "{\"a\":{\"x\":1,\"y\":3},\"b\":[{\"x\":0},{\"x\":0}]}"},
        {"[1,2,3]", {set("[*]", "0")}, 1, "[0,0,0]"},
        {"[1,2,3]", {removal("[*]")}, 1, "[]"},
        {"{\"a\":1}", {removal("nothing.here")}, 1, "{\"a\":1}"},
        {"5", {set("", "{\"a\":1}")}, 1, "{\"a\":1}"},
        {"{\"a\":1}", {set("q\"u", "2")}, 1, "{\"a\":1,\"q\\\"u\":2}"},
        {"{\"\\u0061\":1}", {set("a", "2")}, 1, "{\"\\u0061\":2}"},
        {"{}", {set("a[*].b", "1")}, 1, NULL},
    };
    mg_buf_init(&out, 4096);

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_err err = patch(rows[i].doc, rows[i].edits, rows[i].count);
        CHECK_INT(err, rows[i].want ? MG_OK : MG_E_NOT_FOUND);
        if (rows[i].want)
            CHECK_VIEW(mg_buf_view(&out), mg_view_cstr(rows[i].want));
    }
    mg_buf_fini(&out);
}

TEST(paths_that_are_none_equal_or_nested_are_refused_by_name)
{
    const struct {
        struct mg_json_edit edits[2];
        size_t count;
        const char *culprit;
    } rows[] = {
        {{set("a[", "1")}, 1, "a["},
        {{set("a", "1"), set("a", "2")}, 2, "a"},
        {{set("a", "1"), removal("a.b")}, 2, "a.b"},
        {{set("a[*].x", "1"), set("a", "2")}, 2, "a[*].x"},
        {{set("", "1"), set("a", "2")}, 2, "a"},
    };
    mg_buf_init(&out, 4096);

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_INT(patch("{\"a\":{}}", rows[i].edits, rows[i].count), MG_E_CONFIG);
        CHECK_STR(culprit, rows[i].culprit);
    }
    const struct mg_json_edit alike[] = {set("ab", "1"), set("a", "2")};
    CHECK_OK(patch("{}", alike, 2));
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("{\"ab\":1,\"a\":2}"));
    mg_buf_fini(&out);
}

TEST(a_document_cut_anywhere_is_refused)
{
    mg_view doc = MG_VIEW("{\"a\":{\"b\":[1,\"x\"]},\"c\":null}");
    const struct mg_json_edit edits[] = {set("a.b", "2"), removal("c")};
    mg_buf_init(&out, 4096);

    for (size_t cut = 0; cut < doc.len; cut++) {
        mg_buf_clear(&out);
        CHECK_INT(mg_json_patch(mg_view_head(doc, cut), edits, 2, &out, &error, &culprit), MG_E_BAD_REQUEST);
        CHECK(error.offset <= cut);
    }
    mg_buf_fini(&out);
}

TEST(what_does_not_fit_is_refused)
{
    const struct mg_json_edit edits[] = {set("a", "\"123456\"")};
    mg_buf_init(&out, 12);

    CHECK_INT(patch("{}", edits, 1), MG_E_TOO_LARGE);
    mg_buf_fini(&out);
}

MG_TEST_MAIN()
