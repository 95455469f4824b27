#include "http/json_scan.h"

#include "base/mem.h"
#include "check.h"

TEST(unescapes_strings)
{
    static const struct {
        mg_view span, want;
    } rows[] = {
        {MG_VIEW("\"\""), MG_VIEW("")},
        {MG_VIEW("\"plain\""), MG_VIEW("plain")},
        {MG_VIEW("\"a\\\"b\\\\c\\/d\""), MG_VIEW("a\"b\\c/d")},
        {MG_VIEW("\"\\b\\f\\n\\r\\t\""), MG_VIEW("\b\f\n\r\t")},
        {MG_VIEW("\"x\\u0000y\""), MG_VIEW("x\0y")},
        {MG_VIEW("\"\\u0041\\u00e9\\u20AC\\uffff\""), MG_VIEW("A\xc3\xa9\xe2\x82\xac\xef\xbf\xbf")},
        {MG_VIEW("\"\\ud83d\\ude00\\ud800\\udc00\\udbff\\udfff\""), MG_VIEW("\xf0\x9f\x98\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {MG_VIEW("\"\xc3\xa9\\n\""), MG_VIEW("\xc3\xa9\n")},
    };
    struct mg_buf out, scratch;
    mg_view text;
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_buf_init(&out, 100);
        mg_buf_init(&scratch, 100);
        CHECK_OK(mg_buf_put(&out, MG_VIEW(">")));
        CHECK_OK(mg_json_unescape(rows[i].span, &out));
        CHECK_VIEW(mg_view_skip(mg_buf_view(&out), 1), rows[i].want);
        CHECK_OK(mg_json_span_text(rows[i].span, &scratch, &text));
        CHECK_VIEW(text, rows[i].want);
        mg_buf_fini(&out);
        mg_buf_fini(&scratch);
    }
}

TEST(refuses_to_unescape_what_no_scan_accepts)
{
    static const mg_view rows[] = {MG_VIEW(""), MG_VIEW("\""), MG_VIEW("x"), MG_VIEW("12"), MG_VIEW("\"\\\""), MG_VIEW("\"\\x\""), MG_VIEW("\"\\u12\""),
                                   MG_VIEW("\"\\u12g4\""), MG_VIEW("\"\\ud800\""), MG_VIEW("\"\\ud800\\u0041\""), MG_VIEW("\"\\udc00\""),
                                   MG_VIEW("\"\\ud800\\u\""), MG_VIEW("\"\\u:::: \"")};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_buf out;
        mg_buf_init(&out, 100);
        CHECK_INT(mg_json_unescape(rows[i], &out), MG_E_BAD_REQUEST);
        mg_buf_fini(&out);
    }
}

TEST(returns_plain_text_without_copying_it)
{
    const mg_view span = MG_VIEW("\"abc\"");
    struct mg_buf scratch;
    mg_view text;
    mg_buf_init(&scratch, 1);
    CHECK_OK(mg_json_span_text(span, &scratch, &text));
    CHECK(text.ptr == span.ptr + 1 && text.len == 3);
    CHECK_INT(mg_json_span_text(MG_VIEW("\"\\n\\n\""), &scratch, &text), MG_E_TOO_LARGE);
    mg_buf_fini(&scratch);
}

TEST(reads_whole_numbers_however_they_are_spelt)
{
    static const struct {
        const char *span;
        bool valid;
        uint64_t want;
    } rows[] = {
        {"0", true, 0}, {"12", true, 12}, {"12.0", true, 12}, {"1.2e1", true, 12}, {"120E-1", true, 12}, {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0}, {"-1", false, 0}, {"1.5", false, 0}, {"1e300", false, 0}, {"\"1\"", false, 0}, {"null", false, 0}, {"", false, 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        uint64_t value = 0;
        CHECK_INT(mg_json_span_u64(mg_view_cstr(rows[i].span), &value), rows[i].valid);
        CHECK(!rows[i].valid || value == rows[i].want);
    }
}

TEST(reads_doubles_and_booleans)
{
    double number;
    bool yes;
    CHECK(mg_json_span_double(MG_VIEW("-1.5e1"), &number) && number == -15.0);
    CHECK(mg_json_span_double(MG_VIEW("0.1000000000000000000000000000000000000000000000000000000000000000000000000000000000000"), &number) && number == 0.1);
    CHECK(!mg_json_span_double(MG_VIEW("true"), &number) && !mg_json_span_double(MG_VIEW(""), &number));
    CHECK(!mg_json_span_double(MG_VIEW("{}"), &number) && !mg_json_span_double(MG_VIEW("1e999"), &number));
    CHECK(mg_json_span_bool(MG_VIEW("true"), &yes) && yes);
    CHECK(mg_json_span_bool(MG_VIEW("false"), &yes) && !yes);
    CHECK(!mg_json_span_bool(MG_VIEW("null"), &yes) && !mg_json_span_bool(MG_VIEW("\"true\""), &yes));
}

TEST(knows_empty_containers)
{
    CHECK(mg_json_span_is_empty(MG_VIEW("{}")) && mg_json_span_is_empty(MG_VIEW("[ \n\t\r]")));
    CHECK(!mg_json_span_is_empty(MG_VIEW("[0]")) && !mg_json_span_is_empty(MG_VIEW("{\"a\":1}")));
}

struct cut_list {
    struct mg_json_hit hits[16];
    size_t count;
};

static mg_err collect(void *arg, const struct mg_json_hit *hit)
{
    struct cut_list *list = arg;
    list->hits[list->count++] = *hit;
    return MG_OK;
}

static void cuts(const char *const *list, size_t count, mg_view doc, mg_view want)
{
    struct cut_list found = {.count = 0};
    struct mg_splice splices[16];
    struct mg_buf out;
    struct mg_json_paths *paths = mg_json_paths_new(list, count);
    CHECK_OK(mg_json_scan(doc, paths, collect, &found, NULL));
    mg_json_paths_free(paths);

    size_t n = mg_json_cuts(doc, found.hits, found.count, splices);
    mg_buf_init(&out, 1000);
    CHECK_OK(mg_splice_apply(doc, splices, n, &out));
    CHECK_VIEW(mg_buf_view(&out), want);
    CHECK_INT(out.len, mg_splice_length(doc, splices, n));
    CHECK_OK(mg_json_scan(mg_buf_view(&out), NULL, NULL, NULL, NULL));
    if (found.count == 1) {
        mg_view span = mg_json_cut_span(doc, &found.hits[0]);
        CHECK(span.ptr == doc.ptr + splices[0].offset && span.len == splices[0].len);
    }
    mg_buf_fini(&out);
}

#define CUTS(doc, want, ...) cuts((const char *const[]){__VA_ARGS__}, MG_COUNT(((const char *const[]){__VA_ARGS__})), MG_VIEW(doc), MG_VIEW(want))

TEST(cuts_members_with_exactly_one_comma)
{
    CUTS("{\"a\":1}", "{}", "a");
    CUTS("{ \"a\" : 1 }", "{  }", "a");
    CUTS("{\"a\":1,\"b\":2}", "{\"b\":2}", "a");
    CUTS("{\"a\":1,\"b\":2}", "{\"a\":1}", "b");
    CUTS("{\"a\":1 , \"b\":2 , \"c\":3}", "{\"a\":1  , \"c\":3}", "b");
    CUTS("{\"a\":1,\n \"b\":2}", "{\"b\":2}", "a");
    CUTS("[1,2,3]", "[]", "[*]");
    CUTS("{\"a\":1,\"b\":2,\"c\":3}", "{}", "a", "b", "c");
    CUTS("{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3}", "a", "b");
    CUTS("{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1}", "b", "c");
    CUTS("{\"a\":1,\"b\":2,\"c\":3}", "{\"b\":2}", "a", "c");
    CUTS("{\"a\":1,\"b\":{\"c\":3,\"d\":4},\"e\":5}", "{\"b\":{\"c\":3}}", "a", "b.d", "e");
    CUTS("{\"x\":[{\"a\":1},{\"a\":2}]}", "{\"x\":[{},{}]}", "x[*].a");
}

TEST(splices_replace_insert_and_delete)
{
    const mg_view doc = MG_VIEW("0123456789");
    const struct mg_splice splices[] = {
        {0, 0, MG_VIEW("<")}, {0, 0, MG_VIEW("(")}, {2, 3, MG_VIEW("abcde")}, {5, 1, MG_VIEW_NONE}, {10, 0, MG_VIEW(">")}};
    struct mg_buf out;
    mg_buf_init(&out, 100);
    CHECK_OK(mg_buf_put(&out, MG_VIEW("= ")));
    CHECK_OK(mg_splice_apply(doc, splices, MG_COUNT(splices), &out));
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("= <(01abcde6789>"));
    CHECK_INT(mg_splice_length(doc, splices, MG_COUNT(splices)), 14);

    mg_buf_clear(&out);
    CHECK_OK(mg_splice_apply(doc, NULL, 0, &out));
    CHECK_VIEW(mg_buf_view(&out), doc);
    mg_buf_fini(&out);

    mg_buf_init(&out, 9);
    CHECK_INT(mg_splice_apply(doc, NULL, 0, &out), MG_E_TOO_LARGE);
    mg_buf_fini(&out);
}

MG_TEST_MAIN()
