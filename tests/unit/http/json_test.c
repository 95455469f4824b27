#include "http/json.h"

#include <math.h>

#include "base/mem.h"
#include "check.h"

static struct mg_json *parse(mg_view doc)
{
    struct mg_json *value = NULL;
    struct mg_json_error error = {0, ""};
    char *copy = mg_alloc(doc.len);          /* no NUL behind it */
    if (doc.len)
        memcpy(copy, doc.ptr, doc.len);
    mg_err err = mg_json_parse(mg_view_of(copy, doc.len), 1 << 20, &value, &error);
    mg_free(copy);
    if (err)
        check_failed(__FILE__, __LINE__, "%.*s: %s at byte %zu", MG_FMT(doc), error.reason, error.offset);
    return value;
}

static void prints(struct mg_json *value, mg_view want)
{
    struct mg_buf out;
    mg_buf_init(&out, 10000);
    CHECK_OK(mg_json_print(value, &out));
    CHECK_VIEW(mg_buf_view(&out), want);
    CHECK_OK(mg_json_check(mg_buf_view(&out), NULL));
    mg_buf_fini(&out);
    mg_json_free(value);
}

TEST(prints_what_it_read_without_blanks)
{
    static const struct {
        mg_view doc, want;
    } rows[] = {
        {MG_VIEW(" { \"a\" : [ 1 , true , null , \"x\" ] } "), MG_VIEW("{\"a\":[1,true,null,\"x\"]}")},
        {MG_VIEW("{}"), MG_VIEW("{}")},
        {MG_VIEW("[]"), MG_VIEW("[]")},
        {MG_VIEW("\"\""), MG_VIEW("\"\"")},
        {MG_VIEW("12"), MG_VIEW("12")},
        {MG_VIEW("-0"), MG_VIEW("-0")},
        {MG_VIEW("1.0"), MG_VIEW("1.0")},
        {MG_VIEW("[1e5,1E+5,0.10,123456789012345,1234567890123456,9007199254740993,-9223372036854775808,18446744073709551616]"),
         MG_VIEW("[1e5,1E+5,0.10,123456789012345,1234567890123456,9007199254740993,-9223372036854775808,18446744073709551616]")},
        {MG_VIEW("{\"1\":\"2e5\",\"\\\"3.5\":[\"\\\\\",4.50,{\"x\":\"6\\\"7.0\",\"y\":8.0}],\"z\":9.00}"),
         MG_VIEW("{\"1\":\"2e5\",\"\\\"3.5\":[\"\\\\\",4.50,{\"x\":\"6\\\"7.0\",\"y\":8.0}],\"z\":9.00}")},
        {MG_VIEW("[0.10000000000000000000000000000000000000000000000000000000000000000000000000000001]"),
         MG_VIEW("[0.10000000000000000000000000000000000000000000000000000000000000000000000000000001]")},
        {MG_VIEW("\"\\u0041\\/\\n\\u001f\\ud83d\\ude00\\\\u0000\""), MG_VIEW("\"A/\\n\\u001f\xf0\x9f\x98\x80\\\\u0000\"")},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        prints(parse(rows[i].doc), rows[i].want);
}

TEST(reads_values_by_type)
{
    struct mg_json *v = parse(MG_VIEW("{\"s\":\"t\",\"n\":-1.5,\"i\":9007199254740993,\"b\":true,\"f\":false,\"z\":null,\"a\":[1,2,3],\"o\":{\"k\":{\"l\":[{\"m\":5}]}}}"));
    int64_t integer;
    CHECK_VIEW(mg_json_string(mg_json_get(v, "s")), MG_VIEW("t"));
    CHECK(mg_json_double(mg_json_get(v, "n"), 0) == -1.5);
    CHECK(mg_json_i64(mg_json_get(v, "i"), &integer) && integer == INT64_C(9007199254740993));
    CHECK(mg_json_bool(mg_json_get(v, "b"), false) && !mg_json_bool(mg_json_get(v, "f"), true));
    CHECK(mg_json_is(mg_json_get(v, "z"), MG_JSON_NULL) && mg_json_is(mg_json_get(v, "i"), MG_JSON_NUMBER));
    CHECK(mg_json_is(mg_json_get(v, "b"), MG_JSON_BOOL) && mg_json_is(v, MG_JSON_OBJECT) && mg_json_is(mg_json_get(v, "a"), MG_JSON_ARRAY));
    CHECK_INT(mg_json_count(mg_json_get(v, "a")), 3);
    CHECK(mg_json_i64(mg_json_at(mg_json_get(v, "a"), 2), &integer) && integer == 3);
    CHECK(mg_json_i64(mg_json_path(v, "o.k.l[0].m"), &integer) && integer == 5);
    CHECK(mg_json_i64(mg_json_path(v, "a[1]"), &integer) && integer == 2);
    CHECK(mg_json_path(v, "") == v);
    CHECK(!mg_json_path(v, "o.x.l") && !mg_json_path(v, "a[3]") && !mg_json_path(v, "a[x]") && !mg_json_path(v, "s.t") && !mg_json_path(v, "a[0"));
    mg_json_free(v);
}

TEST(answers_for_missing_values_and_wrong_types)
{
    struct mg_json *v = parse(MG_VIEW("{\"s\":\"t\"}"));
    int64_t integer;
    CHECK(mg_json_get(NULL, "a") == NULL && mg_json_get(mg_json_get(v, "s"), "a") == NULL && mg_json_at(v, 0) == NULL);
    CHECK(mg_json_string(NULL).ptr == NULL && mg_json_string(v).ptr == NULL);
    CHECK(mg_json_bool(NULL, true) && mg_json_double(v, 7) == 7 && !mg_json_i64(NULL, &integer));
    CHECK(!mg_json_is(NULL, MG_JSON_NULL) && mg_json_type(NULL) == MG_JSON_NULL);
    CHECK_INT(mg_json_count(NULL), 0);
    CHECK(mg_json_first(mg_json_get(v, "s")) == NULL && mg_json_next(NULL) == NULL);
    CHECK_INT(mg_json_key(NULL).len, 0);
    mg_json_free(v);
    mg_json_free(NULL);
}

TEST(walks_children_in_order)
{
    struct mg_json *v = parse(MG_VIEW("{\"b\":1,\"a\":2}"));
    struct mg_json *child = mg_json_first(v);
    CHECK_VIEW(mg_json_key(child), MG_VIEW("b"));
    child = mg_json_next(child);
    CHECK_VIEW(mg_json_key(child), MG_VIEW("a"));
    CHECK(mg_json_next(child) == NULL);
    mg_json_free(v);
}

TEST(knows_integers_up_to_their_limits)
{
    static const struct {
        mg_view doc;
        bool fits;
        int64_t want;
    } rows[] = {
        {MG_VIEW("0"), true, 0}, {MG_VIEW("-7"), true, -7}, {MG_VIEW("9223372036854775807"), true, INT64_MAX},
        {MG_VIEW("-9223372036854775808"), true, INT64_MIN}, {MG_VIEW("9223372036854775808"), false, 0}, {MG_VIEW("-9223372036854775809"), false, 0},
        {MG_VIEW("1.0"), false, 0}, {MG_VIEW("1e2"), false, 0}, {MG_VIEW("\"1\""), false, 0}, {MG_VIEW("99999999999999999999"), false, 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_json *v = parse(rows[i].doc);
        int64_t got = 0;
        CHECK_INT(mg_json_i64(v, &got), rows[i].fits);
        CHECK(!rows[i].fits || got == rows[i].want);
        mg_json_free(v);
    }
}

TEST(refuses_invalid_repeated_large_and_unholdable_documents)
{
    static const struct {
        mg_view doc;
        mg_err err;
        size_t offset;
    } rows[] = {
        {MG_VIEW("{\"a\":}"), MG_E_BAD_REQUEST, 5},
        {MG_VIEW("[{\"a\":1,\"a\":2}]"), MG_E_BAD_REQUEST, 8},
        {MG_VIEW("[\"x\\u0000\"]"), MG_E_BAD_REQUEST, 3},
        {MG_VIEW("[\"\\\\\\u0000\"]"), MG_E_BAD_REQUEST, 4},
        {MG_VIEW("[1,2,3,4,5,6,7,8,9,0]"), MG_E_TOO_LARGE, 20},
        {MG_VIEW(""), MG_E_BAD_REQUEST, 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_json *v = NULL;
        struct mg_json_error error;
        CHECK_INT(mg_json_parse(rows[i].doc, 20, &v, &error), rows[i].err);
        CHECK_INT(error.offset, rows[i].offset);
        CHECK(v == NULL && error.reason[0]);
        CHECK_INT(mg_json_parse(rows[i].doc, 20, &v, NULL), rows[i].err);
    }
}

TEST(builds_documents)
{
    struct mg_json *o = mg_json_new_object(), *a = mg_json_new_array();
    mg_json_append(a, mg_json_new_i64(INT64_MIN));
    mg_json_append(a, mg_json_new_i64(42));
    mg_json_append(a, mg_json_new_double(0.1));
    mg_json_append(a, mg_json_new_double(1e300));
    mg_json_append(a, mg_json_new_double(1.0 / 3));
    mg_json_append(a, mg_json_new_double(NAN));
    mg_json_append(a, mg_json_new_double(INFINITY));
    mg_json_append(a, mg_json_new_bool(true));
    mg_json_append(a, mg_json_new_null());
    mg_json_add(o, MG_VIEW("list"), a);
    mg_json_add(o, MG_VIEW("te\"xt"), mg_json_new_string(MG_VIEW("a\n\"\xc3\xa9")));
    mg_json_set(o, MG_VIEW("n"), mg_json_new_i64(1));
    mg_json_set(o, MG_VIEW("n"), mg_json_new_object());
    prints(o, MG_VIEW("{\"list\":[-9223372036854775808,42,0.1,1e+300,0.3333333333333333,null,null,true,null],\"te\\\"xt\":\"a\\n\\\"\xc3\xa9\",\"n\":{}}"));
}

TEST(replaces_and_removes_members)
{
    struct mg_json *o = parse(MG_VIEW("{\"a\":1,\"b\":2,\"c\":3}"));
    mg_json_set(o, MG_VIEW("a"), mg_json_new_string(MG_VIEW("x")));
    mg_json_set(o, MG_VIEW("c"), mg_json_new_null());
    mg_json_remove(o, "b");
    mg_json_remove(o, "absent");
    mg_json_add(o, MG_VIEW("d"), mg_json_new_bool(false));
    prints(o, MG_VIEW("{\"a\":\"x\",\"c\":null,\"d\":false}"));
    o = parse(MG_VIEW("{\"a\":1}"));
    mg_json_set(o, MG_VIEW("a"), mg_json_new_i64(2));
    mg_json_set(o, MG_VIEW("b"), mg_json_new_i64(3));
    prints(o, MG_VIEW("{\"a\":2,\"b\":3}"));
}

TEST(makes_text_fit_to_print)
{
    prints(mg_json_new_string(MG_VIEW("a\0b")), MG_VIEW("\"a\xef\xbf\xbd" "b\""));
    prints(mg_json_new_string(MG_VIEW("\xff\xc3")), MG_VIEW("\"\xef\xbf\xbd\xef\xbf\xbd\""));
    prints(mg_json_new_string(MG_VIEW_NONE), MG_VIEW("\"\""));
}

TEST(copies_deeply)
{
    struct mg_json *a = parse(MG_VIEW("{\"x\":[1.50,{\"y\":\"z\"}]}")), *b = mg_json_copy(a);
    mg_json_set(mg_json_at(mg_json_get(a, "x"), 1), MG_VIEW("y"), mg_json_new_null());
    prints(b, MG_VIEW("{\"x\":[1.50,{\"y\":\"z\"}]}"));
    prints(a, MG_VIEW("{\"x\":[1.50,{\"y\":null}]}"));
}

TEST(tells_what_can_stand_in_a_document_that_everybody_reads)
{
    CHECK(mg_json_can_be_part(MG_VIEW("{\"a\":[{\"b\":\"[[[[\\\"{{\"}]}"), 3));
    CHECK(!mg_json_can_be_part(MG_VIEW("{\"a\":[{\"b\":1}]}"), 2));
    CHECK(!mg_json_can_be_part(MG_VIEW("{\"a\":\"x\\u0000\"}"), 3));
    CHECK(mg_json_can_be_part(MG_VIEW("{\"a\":\"x\\\\u0000\"}"), 3));
    CHECK(mg_json_can_be_part(MG_VIEW("{\"a\\\\\":{}}"), 2));
    CHECK(!mg_json_can_be_part(MG_VIEW(""), 3));
}

TEST(stops_printing_at_the_buffers_maximum)
{
    struct mg_json *v = parse(MG_VIEW("[\"0123456789\"]"));
    struct mg_buf out;
    mg_buf_init(&out, 13);
    CHECK_INT(mg_json_print(v, &out), MG_E_TOO_LARGE);
    mg_buf_fini(&out);
    mg_json_free(v);
}

MG_TEST_MAIN()
