#include "http/json_scan.h"

#include <math.h>

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "http/json_bytes.h"

/* In memory of its own size, so that a sanitizer sees a read past the end. */
static mg_err scan_copy(mg_view doc, const struct mg_json_paths *paths, mg_json_hit_cb cb, void *arg,
                        struct mg_json_error *error)
{
    char *copy = mg_alloc(doc.len);
    if (doc.len)
        memcpy(copy, doc.ptr, doc.len);
    mg_err err = mg_json_scan(mg_view_of(copy, doc.len), paths, cb, arg, error);
    mg_free(copy);
    return err;
}

static void accepted(mg_view doc)
{
    struct mg_json_error error = {0, ""};
    if (scan_copy(doc, NULL, NULL, NULL, &error) != MG_OK)
        check_failed(__FILE__, __LINE__, "refused %.*s at byte %zu: %s", MG_FMT(doc), error.offset, error.reason);
}

static void refused(mg_view doc, size_t offset, const char *reason)
{
    struct mg_json_error error = {0, NULL};
    mg_err err = scan_copy(doc, NULL, NULL, NULL, &error);
    if (err != MG_E_BAD_REQUEST || !error.reason)
        check_failed(__FILE__, __LINE__, "%s for %.*s", mg_err_name(err), MG_FMT(doc));
    if (error.offset != offset || (reason && strcmp(error.reason, reason) != 0))
        check_failed(__FILE__, __LINE__, "%.*s: at byte %zu: %s", MG_FMT(doc), error.offset, error.reason);
}

TEST(accepts_what_rfc_8259_allows)
{
    static const mg_view docs[] = {
        MG_VIEW("{}"), MG_VIEW("[]"), MG_VIEW("null"), MG_VIEW("true"), MG_VIEW("false"), MG_VIEW("\"\""), MG_VIEW("0"), MG_VIEW("-0"),
        MG_VIEW("-0.0e-0"), MG_VIEW("1E+2"), MG_VIEW("123.456e78"), MG_VIEW(" \t\r\n[ 1 , 2 ] \n"),
        MG_VIEW("{\"a\":{\"a\":[{\"a\":null}]}}"), MG_VIEW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uABCD\\uabcd\""),
        MG_VIEW("\"\\ud83d\\ude00\\uD834\\uDD1E\""), MG_VIEW("\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""),
        MG_VIEW("{\"\":1,\" \":2}"), MG_VIEW("{\"a\":[{\"b\":1,\"b\":2}]}"), MG_VIEW("[{\"b\":1,\"b\":2}]"),
        MG_VIEW("1e308"), MG_VIEW("1.7976931348623157e308"), MG_VIEW("1.797693134862315807e308"), MG_VIEW("1e-999999999999999999999"),
        MG_VIEW("0e999999999999999999999"), MG_VIEW("0.00e400"), MG_VIEW("0.0001e311"), MG_VIEW("100e306"), MG_VIEW("-1e308"),
    };
    for (size_t i = 0; i < MG_COUNT(docs); i++)
        accepted(docs[i]);
}

TEST(refuses_what_rfc_8259_forbids_and_names_the_byte)
{
    static const struct {
        mg_view doc;
        size_t offset;
        const char *reason;
    } rows[] = {
        {MG_VIEW(""), 0, "the document ends too early"},
        {MG_VIEW(" "), 1, "the document ends too early"},
        {MG_VIEW("\xef\xbb\xbf{}"), 0, "a byte order mark is not allowed"},
        {MG_VIEW("{}x"), 2, "something follows the end of the document"},
        {MG_VIEW("{} {}"), 3, NULL},
        {MG_VIEW("1 2"), 2, NULL},
        {MG_VIEW("{}\0"), 2, NULL},
        {MG_VIEW("\0"), 0, "expected a value"},
        {MG_VIEW("[1,]"), 3, "expected a value"},
        {MG_VIEW("[,1]"), 1, "expected a value"},
        {MG_VIEW("[1 2]"), 3, "expected ',' or ']'"},
        {MG_VIEW("[1}"), 2, "expected ',' or ']'"},
        {MG_VIEW("[1"), 2, "expected ',' or ']'"},
        {MG_VIEW("["), 1, "the document ends too early"},
        {MG_VIEW("]"), 0, "expected a value"},
        {MG_VIEW("{"), 1, "expected a key or '}'"},
        {MG_VIEW("{,}"), 1, "expected a key or '}'"},
        {MG_VIEW("{\"a\":1,}"), 7, "expected a key"},
        {MG_VIEW("{\"a\" 1}"), 5, "expected ':'"},
        {MG_VIEW("{\"a\":}"), 5, "expected a value"},
        {MG_VIEW("{\"a\"}"), 4, "expected ':'"},
        {MG_VIEW("{\"a\":1 \"b\":2}"), 7, "expected ',' or '}'"},
        {MG_VIEW("{a:1}"), 1, NULL},
        {MG_VIEW("{'a':1}"), 1, NULL},
        {MG_VIEW("{1:1}"), 1, NULL},
        {MG_VIEW("nul"), 3, "expected a value"},
        {MG_VIEW("nulL"), 3, NULL},
        {MG_VIEW("True"), 0, NULL},
        {MG_VIEW("NaN"), 0, NULL},
        {MG_VIEW("-Infinity"), 1, "expected a digit"},
        {MG_VIEW("/* */1"), 0, NULL},
        {MG_VIEW("\v1"), 0, NULL},
        {MG_VIEW("\f1"), 0, NULL},
        {MG_VIEW("\xc2\xa0" "1"), 0, NULL},
        {MG_VIEW("01"), 0, "a number has no leading zeros"},
        {MG_VIEW("-01"), 1, NULL},
        {MG_VIEW("00"), 0, NULL},
        {MG_VIEW("+1"), 0, NULL},
        {MG_VIEW("-"), 1, "expected a digit"},
        {MG_VIEW("1."), 2, "expected a digit"},
        {MG_VIEW(".5"), 0, NULL},
        {MG_VIEW("1e"), 2, "expected a digit"},
        {MG_VIEW("1e+"), 3, NULL},
        {MG_VIEW("1.e1"), 2, NULL},
        {MG_VIEW("0x1"), 1, NULL},
        {MG_VIEW("1_0"), 1, NULL},
        {MG_VIEW("[1e309]"), 1, "the number is out of range"},
        {MG_VIEW("-1e309"), 0, NULL},
        {MG_VIEW("1.7976931348623159e308"), 0, NULL},
        {MG_VIEW("1.797693134862315808e308"), 0, NULL},
        {MG_VIEW("1e999999999999999999999"), 0, NULL},
        {MG_VIEW("0.0001e313"), 0, NULL},
        {MG_VIEW("100e307"), 0, NULL},
        {MG_VIEW("\"a"), 2, "the document ends inside a string"},
        {MG_VIEW("\"a\\"), 3, "the document ends inside a string"},
        {MG_VIEW("\"\\"), 2, NULL},
        {MG_VIEW("\"\\x\""), 1, "there is no such escape"},
        {MG_VIEW("\"\\'\""), 1, NULL},
        {MG_VIEW("\"\\\0\""), 1, NULL},
        {MG_VIEW("\"\\U0041\""), 1, NULL},
        {MG_VIEW("\"\\u004\""), 1, "\\u needs four hexadecimal digits"},
        {MG_VIEW("\"\\u004g\""), 1, NULL},
        {MG_VIEW("\"\\u-041\""), 1, NULL},
        {MG_VIEW("\"\\u00"), 1, NULL},
        {MG_VIEW("\"\\ud800\""), 1, "a surrogate stands alone"},
        {MG_VIEW("\"\\udc00\""), 1, "a surrogate stands alone"},
        {MG_VIEW("\"\\ud800\\u0041\""), 1, NULL},
        {MG_VIEW("\"\\ud800\\ud800\""), 1, NULL},
        {MG_VIEW("\"\\ud800x\""), 1, NULL},
        {MG_VIEW("\"\\ude00\\ud83d\""), 1, NULL},
        {MG_VIEW("\"a\nb\""), 2, "control characters in strings must be escaped"},
        {MG_VIEW("\"\t\""), 1, NULL},
        {MG_VIEW("\"a\0\""), 2, NULL},
        {MG_VIEW("\"0123456789abcdef\x1f\""), 17, NULL},
        {MG_VIEW("{\"a\n\":1}"), 3, NULL},
        {MG_VIEW("\"a\x80\""), 2, "the text is not valid UTF-8"},
        {MG_VIEW("\"\xc0\x80\""), 1, NULL},
        {MG_VIEW("\"\xc1\xbf\""), 1, NULL},
        {MG_VIEW("\"\xe0\x9f\xbf\""), 1, NULL},
        {MG_VIEW("\"\xed\xa0\x80\""), 1, NULL},
        {MG_VIEW("\"\xf0\x8f\xbf\xbf\""), 1, NULL},
        {MG_VIEW("\"\xf4\x90\x80\x80\""), 1, NULL},
        {MG_VIEW("\"\xf5\x80\x80\x80\""), 1, NULL},
        {MG_VIEW("\"\xff\""), 1, NULL},
        {MG_VIEW("\"\xc3\""), 1, NULL},
        {MG_VIEW("\"\xe2\x82\""), 1, NULL},
        {MG_VIEW("\"\xe2\x82"), 1, NULL},
        {MG_VIEW("\"\xf0\x9f\x98\""), 1, NULL},
        {MG_VIEW("{\"\xff\":1}"), 2, NULL},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        refused(rows[i].doc, rows[i].offset, rows[i].reason);
}

static void nested(struct mg_buf *doc, size_t depth)
{
    mg_buf_clear(doc);
    for (size_t i = 0; i < depth; i++)
        CHECK_OK(mg_buf_put(doc, i % 2 ? MG_VIEW("{\"a\":") : MG_VIEW("[")));
    CHECK_OK(mg_buf_putc(doc, '1'));
    for (size_t i = depth; i-- > 0;)
        CHECK_OK(mg_buf_putc(doc, i % 2 ? '}' : ']'));
}

TEST(stops_at_the_deepest_nesting_allowed)
{
    struct mg_buf doc;
    mg_buf_init(&doc, 10000);
    nested(&doc, MG_MAX_JSON_DEPTH);
    accepted(mg_buf_view(&doc));
    nested(&doc, MG_MAX_JSON_DEPTH + 1);
    struct mg_json_error error;
    CHECK_INT(mg_json_scan(mg_buf_view(&doc), NULL, NULL, NULL, &error), MG_E_BAD_REQUEST);
    CHECK_STR(error.reason, "the document is nested too deep");
    mg_buf_fini(&doc);
}

TEST(judges_very_long_numbers_by_their_value)
{
    struct mg_buf doc;
    static const struct {
        int zeros;
        const char *after;
        bool valid;
    } rows[] = {{308, "", true}, {309, "", false}, {2000, "e-1800", true}, {2000, "e-1691", false}, {2000, "e-1692", true}, {308, ".5e0", true}};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_buf_init(&doc, 10000);
        CHECK_OK(mg_buf_putc(&doc, '1'));
        for (int zero = 0; zero < rows[i].zeros; zero++)
            CHECK_OK(mg_buf_putc(&doc, '0'));
        CHECK_OK(mg_buf_put(&doc, mg_view_cstr(rows[i].after)));
        CHECK_INT(mg_json_scan(mg_buf_view(&doc), NULL, NULL, NULL, NULL), rows[i].valid ? MG_OK : MG_E_BAD_REQUEST);
        CHECK_INT(isfinite(strtod(mg_buf_cstr(&doc), NULL)), rows[i].valid);
        mg_buf_fini(&doc);
    }
}

/* Hits as text: "path:index,index=value(member) " */
struct hits {
    struct mg_buf text;
    struct mg_json_hit list[64];
    size_t count;
    mg_err says;
};

static mg_err note_hit(void *arg, const struct mg_json_hit *hit)
{
    struct hits *hits = arg;
    CHECK_OK(mg_buf_putf(&hits->text, "%zu", hit->path));
    for (size_t i = 0; i < hit->index_count; i++)
        CHECK_OK(mg_buf_putf(&hits->text, "%c%zu", i ? ',' : ':', hit->index[i]));
    CHECK_OK(mg_buf_putf(&hits->text, "=%.*s%s ", MG_FMT(hit->value), hit->first ? "!" : ""));
    CHECK(mg_view_ends(hit->member, hit->value));
    CHECK_INT(hit->type, mg_json_span_type(hit->value));
    if (hits->count < MG_COUNT(hits->list))
        hits->list[hits->count++] = *hit;
    return hits->says;
}

static mg_err find(const char *const *list, size_t count, mg_view doc, struct hits *hits)
{
    mg_buf_init(&hits->text, 1 << 20);
    hits->count = 0;
    struct mg_json_paths *paths = mg_json_paths_new(list, count);
    mg_err err = mg_json_scan(doc, paths, note_hit, hits, NULL);
    mg_json_paths_free(paths);
    return err;
}

static void finds(const char *path_list[4], mg_view doc, mg_view want)
{
    struct hits hits = {0};
    size_t count = 0;
    while (count < 4 && path_list[count])
        count++;
    CHECK_OK(find(path_list, count, doc, &hits));
    CHECK_VIEW(mg_buf_view(&hits.text), want);
    mg_buf_fini(&hits.text);
}

#define FINDS(doc, want, ...) finds((const char *[4]){__VA_ARGS__}, MG_VIEW(doc), MG_VIEW(want))

TEST(finds_the_values_that_paths_name)
{
    FINDS("{\"model\":\"m\",\"n\":1}", "0=\"m\"! 1=1 ", "model", "n");
    FINDS("{\"a\":{\"b\":{\"c\":[1,{}]}},\"b\":2}", "0=[1,{}]! ", "a.b.c");
    FINDS("{\"messages\":[{\"role\":\"u\"},{\"x\":0,\"role\":\"a\"}]}",
          "1:0=\"u\"! 0:0={\"role\":\"u\"}! 1:1=\"a\" 0:1={\"x\":0,\"role\":\"a\"} ", "messages[*]", "messages[*].role");
    FINDS("[[1,2],[],[3]]", "0:0,0=1! 0:0,1=2 0:2,0=3! ", "[*][*]");
    FINDS("[[[[[7]]]]]", "0:0,0,0,0=7! ", "[*][*][*][*][*]");
    FINDS(" [ 1 ] ", "1:0=1! 0=[ 1 ]! ", "", "[*]");
    FINDS("true", "0=true! ", "");
    FINDS("{\"a\":[{\"b\":[{\"c\":1},{\"c\":2}]},{\"b\":[{\"c\":3}]}]}", "0:0,0=1! 0:0,1=2! 0:1,0=3! ", "a[*].b[*].c");
    FINDS("{\"a\":1,\"ab\":2,\"b\":3}", "0=2 ", "ab");
    FINDS("{\"a\":[1],\"b\":{\"a\":2}}", "", "a.b", "b[*]", "a[*][*]", "b.b");
    FINDS("{\"m\\u006fdel\":1,\"\\ud83d\\ude00\":2}", "0=1! 1=2 ", "model", "\xf0\x9f\x98\x80");
    FINDS("{}", "", "model");
}

TEST(spans_members_from_their_key_on)
{
    struct hits hits = {0};
    const char *const paths[] = {"a", "l[*]"};
    CHECK_OK(find(paths, 2, MG_VIEW("{ \"a\" : { \"x\": 1 } , \"l\":[ 5 ] }"), &hits));
    CHECK_VIEW(hits.list[0].member, MG_VIEW("\"a\" : { \"x\": 1 }"));
    CHECK_VIEW(hits.list[1].member, MG_VIEW("5"));
    CHECK_INT(mg_json_hit_index(&hits.list[0]), 0);
    mg_buf_fini(&hits.text);
}

TEST(refuses_duplicate_keys_where_paths_lead_and_on_top)
{
    static const struct {
        mg_view doc;
        size_t offset;
    } rows[] = {
        {MG_VIEW("{\"a\":1,\"b\":2,\"a\":3}"), 13},
        {MG_VIEW("{\"a\":1,\"\\u0061\":2}"), 7},
        {MG_VIEW("{\"\\u0061\":1,\"a\":2}"), 12},
        {MG_VIEW("{\"\\u0061\":1,\"\\u0061\":2}"), 12},
        {MG_VIEW("{\"a\\/b\":1,\"a/b\":2}"), 10},
        {MG_VIEW("{\"\":1,\"\":2}"), 6},
        {MG_VIEW("{\"x\":{\"y\":1,\"z\":0,\"y\":2}}"), 18},
        {MG_VIEW("{\"m\":[{\"r\":1},{\"r\":1,\"r\":2}]}"), 21},
        {MG_VIEW("{\"0123456789abcdefX\":1,\"0123456789abcdefY\":2,\"0123456789abcdefX\":3}"), 45},
        {MG_VIEW("{\"abcdefgh\":1,\"abcdefghi\":1,\"abcdefgh\":1}"), 28},
    };
    const char *const list[] = {"x.y", "m[*].r"};
    struct mg_json_paths *paths = mg_json_paths_new(list, 2);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct hits hits = {0};
        struct mg_json_error error = {0, NULL};
        mg_buf_init(&hits.text, 1000);
        CHECK_INT(scan_copy(rows[i].doc, paths, note_hit, &hits, &error), MG_E_BAD_REQUEST);
        CHECK_STR(error.reason, "this key was there before");
        CHECK_INT(error.offset, rows[i].offset);
        mg_buf_fini(&hits.text);
    }
    mg_json_paths_free(paths);
}

TEST(checks_the_keys_of_every_object_when_asked_to)
{
    struct mg_json_error error;
    CHECK_INT(mg_json_check(MG_VIEW("[{\"b\":1,\"b\":2}]"), &error), MG_E_BAD_REQUEST);
    CHECK_INT(error.offset, 8);
    CHECK_OK(mg_json_check(MG_VIEW("[{\"b\":1},{\"b\":2,\"c\":{\"b\":1}}]"), &error));
}

/* {"k0":0,"k1":0,…} and at the end once more the key `again`, if it is not negative. */
static void many_keys(struct mg_buf *doc, int count, int again)
{
    mg_buf_clear(doc);
    for (int i = 0; i < count; i++)
        CHECK_OK(mg_buf_putf(doc, "%c\"k%d\":{\"v\":0}", i ? ',' : '{', i));
    if (again >= 0)
        CHECK_OK(mg_buf_putf(doc, ",\"\\u006b%d\":0", again));
    CHECK_OK(mg_buf_putc(doc, '}'));
}

TEST(finds_duplicates_among_any_number_of_keys)
{
    struct mg_buf doc;
    mg_buf_init(&doc, 1 << 24);
    static const int counts[] = {1, 63, 64, 65, 66, 127, 128, 129, 130, 1000, 5000};
    for (size_t i = 0; i < MG_COUNT(counts); i++) {
        many_keys(&doc, counts[i], -1);
        accepted(mg_buf_view(&doc));
        CHECK_OK(mg_json_check(mg_buf_view(&doc), NULL));
        for (int again = 0; again < counts[i]; again += counts[i] / 3 + 1) {
            many_keys(&doc, counts[i], again);
            CHECK_INT(mg_json_scan(mg_buf_view(&doc), NULL, NULL, NULL, NULL), MG_E_BAD_REQUEST);
        }
    }
    mg_buf_fini(&doc);
}

TEST(holds_a_bounded_number_of_keys)
{
    struct mg_buf doc;
    struct mg_json_error error;
    mg_buf_init(&doc, 1 << 24);
    many_keys(&doc, MG_JSON_KEYS, -1);
    CHECK_OK(mg_json_scan(mg_buf_view(&doc), NULL, NULL, NULL, &error));
    many_keys(&doc, MG_JSON_KEYS + 1, -1);
    CHECK_INT(mg_json_scan(mg_buf_view(&doc), NULL, NULL, NULL, &error), MG_E_TOO_LARGE);
    CHECK_STR(error.reason, "there are too many keys in one object");
    mg_buf_fini(&doc);
}

TEST(keeps_the_keys_of_nested_objects_apart)
{
    struct mg_buf doc;
    mg_buf_init(&doc, 1 << 20);
    for (int depth = 0; depth < 20; depth++)
        for (int i = 0; i < 12; i++)
            CHECK_OK(mg_buf_putf(&doc, "%c\"k%d\":%s", i ? ',' : '{', i, i < 11 ? "0" : ""));
    CHECK_OK(mg_buf_put(&doc, MG_VIEW("1")));
    for (int depth = 0; depth < 20; depth++)
        CHECK_OK(mg_buf_put(&doc, MG_VIEW(",\"last\":0}")));
    CHECK_OK(mg_json_check(mg_buf_view(&doc), NULL));
    doc.len--;
    CHECK_OK(mg_buf_put(&doc, MG_VIEW(",\"k0\":0}")));
    CHECK_INT(mg_json_check(mg_buf_view(&doc), NULL), MG_E_BAD_REQUEST);
    mg_buf_fini(&doc);
}

TEST(hands_back_what_the_callback_returned)
{
    struct hits hits = {.says = MG_E_BUSY};
    const char *const paths[] = {"a"};
    CHECK_INT(find(paths, 1, MG_VIEW("{\"a\":1,\"b\":}"), &hits), MG_E_BUSY);
    mg_buf_fini(&hits.text);
}

TEST(refuses_every_document_that_is_cut_short)
{
    const mg_view doc = MG_VIEW("{\"model\":\"gpt\",\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 \\ud83d\\ude00 \xf0\x9f\x98\x80 and a long tail\"}],"
                                "\"n\":-1.5e+3,\"t\":true,\"f\":false,\"x\":null,\"e\":{},\"l\":[]}");
    accepted(doc);
    for (size_t cut = 0; cut < doc.len; cut++) {
        struct mg_json_error error = {0, NULL};
        CHECK_INT(scan_copy(mg_view_head(doc, cut), NULL, NULL, NULL, &error), MG_E_BAD_REQUEST);
        CHECK(error.offset <= cut);
    }
}

TEST(compiles_only_well_formed_paths)
{
    static const char *const bad[] = {"a..b", ".a", "a.", "a[0]", "a[*]b", "a[", "[*", "a.[*]", "a[*]."};
    for (size_t i = 0; i < MG_COUNT(bad); i++)
        CHECK(mg_json_paths_try_new(&bad[i], 1) == NULL);

    const char *const twice[] = {"a.b", "a", "a.b"};
    CHECK(mg_json_paths_try_new(twice, 3) == NULL);
    const char *many[MG_JSON_PATHS + 1];
    char names[MG_JSON_PATHS + 1][8];
    for (size_t i = 0; i <= MG_JSON_PATHS; i++) {
        snprintf(names[i], sizeof names[i], "p%zu", i);
        many[i] = names[i];
    }
    CHECK(mg_json_paths_try_new(many, MG_JSON_PATHS + 1) == NULL);
    struct mg_json_paths *full = mg_json_paths_try_new(many, MG_JSON_PATHS);
    CHECK(full != NULL);
    mg_json_paths_free(full);
    mg_json_paths_free(NULL);
}

TEST(skips_plain_text_and_lines_alike_with_and_without_sse2)
{
    static const unsigned char odd[] = {'"', '\\', 0, 0x1f, 0x80, 0xff, '\n', '\r', 0x20, 0x7f, 0x21, 0x23, 0x5b, 0x5d};
    unsigned char text[70];
    for (size_t len = 0; len <= sizeof text; len++)
        for (size_t at = 0; at < len; at++)
            for (size_t o = 0; o < sizeof odd; o++) {
                memset(text, 'x', len);
                text[at] = odd[o];
                text[len - 1] = odd[(o + at) % sizeof odd];
                mg_bytes end = text + len, plain = text, line = text;
                while (plain < end && *plain >= 0x20 && *plain < 0x80 && *plain != '"' && *plain != '\\')
                    plain++;
                while (line < end && *line != '\n' && *line != '\r')
                    line++;
                CHECK(mg_skip_plain(text, end) == plain);
                CHECK(mg_skip_plain_portable(text, end) == plain);
                CHECK(mg_skip_line(text, end) == line);
                CHECK(mg_skip_line_portable(text, end) == line);
            }
}

TEST(knows_utf8_sequences_alike_by_words_and_by_bytes)
{
    static const unsigned char later[] = {0x00, 0x22, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned lead = 0x80; lead <= 0xff; lead++)
        for (unsigned second = 0; second <= 0xff; second++)
            for (size_t i = 0; i < sizeof later * sizeof later; i++) {
                const unsigned char text[6] = {(unsigned char)lead, (unsigned char)second, later[i / sizeof later], later[i % sizeof later], 0x80, 0x80};
                for (size_t len = 1; len <= sizeof text; len++) {
                    size_t got = mg_utf8_sequence(text, text + len), bad = 0;
                    CHECK_INT(got, mg_utf8_sequence_portable(text, text + len));
                    bool valid = mg_view_utf8(mg_view_of((const char *)text, len), &bad);
                    CHECK(got ? mg_view_utf8(mg_view_of((const char *)text, got), NULL) : !valid && bad == 0);
                }
            }
}

MG_TEST_MAIN()
