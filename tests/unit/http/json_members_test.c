#include "http/json_members.h"

#include "base/mem.h"
#include "check.h"
#include "http/json_scan.h"

/* Members as text: "key=value(member);" */
static void walks(mg_view container, mg_view want)
{
    struct mg_json_member m;
    struct mg_buf text;
    mg_buf_init(&text, 1000);
    for (size_t at = 0; mg_json_next_member(container, &at, &m);) {
        CHECK(mg_view_ends(m.member, m.value));
        CHECK_OK(mg_buf_putf(&text, "%.*s=%.*s;", MG_FMT(m.key), MG_FMT(m.value)));
    }
    CHECK_VIEW(mg_buf_view(&text), want);
    mg_buf_fini(&text);
}

TEST(walks_members_and_elements)
{
    walks(MG_VIEW("{}"), MG_VIEW(""));
    walks(MG_VIEW("[ ]"), MG_VIEW(""));
    walks(MG_VIEW("{\"a\":1,\"b\":[1,{\"c\":2}],\"d\":\"x,}]\\\"{\"}"), MG_VIEW("a=1;b=[1,{\"c\":2}];d=\"x,}]\\\"{\";"));
    walks(MG_VIEW("{ \"a\" : true ,\n \"b\" : null }"), MG_VIEW("a=true;b=null;"));
    walks(MG_VIEW("[1 , \"\\\\\", {}, [[]] ,-2.5e1]"), MG_VIEW("=1;=\"\\\\\";={};=[[]];=-2.5e1;"));
    walks(MG_VIEW("[\"a text of more than sixteen bytes, \xc3\xa9\xe2\x82\xac and \\ud83d\\ude00\",2]"),
          MG_VIEW("=\"a text of more than sixteen bytes, \xc3\xa9\xe2\x82\xac and \\ud83d\\ude00\";=2;"));
    walks(MG_VIEW("{\"\\\"}\":\"\\\\\\\"]\"}"), MG_VIEW("\\\"}=\"\\\\\\\"]\";"));
    walks(MG_VIEW("12"), MG_VIEW(""));
    walks(MG_VIEW("\"{}\""), MG_VIEW(""));
    walks(MG_VIEW_NONE, MG_VIEW(""));
}

TEST(finds_a_member_however_its_key_is_spelt)
{
    const mg_view object = MG_VIEW("{\"ab\":1,\"r\\u006fle\":\"user\",\"\":3,\"a\\/b\":4}");
    CHECK_VIEW(mg_json_member(object, MG_VIEW("ab")), MG_VIEW("1"));
    CHECK_VIEW(mg_json_member(object, MG_VIEW("role")), MG_VIEW("\"user\""));
    CHECK_VIEW(mg_json_member(object, MG_VIEW("")), MG_VIEW("3"));
    CHECK_VIEW(mg_json_member(object, MG_VIEW("a/b")), MG_VIEW("4"));
    CHECK(mg_json_member(object, MG_VIEW("r\\u006fle")).ptr == NULL);
    CHECK(mg_json_member(object, MG_VIEW("a")).ptr == NULL);
    CHECK(mg_json_member(MG_VIEW("[1]"), MG_VIEW("")).ptr == NULL);
    CHECK(mg_json_member(MG_VIEW_NONE, MG_VIEW("a")).ptr == NULL);
}

TEST(never_reads_outside_a_document_that_is_cut_short)
{
    const mg_view doc = MG_VIEW("{\"a\":[1,\"x\\\\\"],\"b\":\"long text with an escape \\u0041 and \xc3\xa9\",\"c\":{}}");
    for (size_t cut = 0; cut <= doc.len; cut++) {
        struct mg_json_member m;
        char *copy = mg_alloc(cut);
        memcpy(copy, doc.ptr, cut);
        size_t steps = 0;
        for (size_t at = 0; mg_json_next_member(mg_view_of(copy, cut), &at, &m) && steps < 100; steps++)
            CHECK(m.value.ptr >= copy && m.value.ptr + m.value.len <= copy + cut);
        CHECK(steps <= 3);
        (void)mg_json_member(mg_view_of(copy, cut), MG_VIEW("b"));
        mg_free(copy);
    }
}

TEST(gives_the_inside_of_strings_without_escapes)
{
    CHECK_VIEW(mg_json_plain(MG_VIEW("\"user\"")), MG_VIEW("user"));
    CHECK(mg_json_plain(MG_VIEW("\"us\\u0065r\"")).ptr == NULL);
    CHECK(mg_json_plain(MG_VIEW("12")).ptr == NULL);
    CHECK(mg_json_plain(MG_VIEW("\"")).ptr == NULL);
}

MG_TEST_MAIN()
