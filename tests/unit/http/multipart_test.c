#include "http/multipart.h"

#include "base/mem.h"
#include "check.h"

struct told {
    struct mg_buf text;
    mg_view wire;
};

static mg_err on_part(void *arg, const struct mg_multipart_part *part)
{
    struct told *told = arg;
    return mg_buf_putf(&told->text, "%.*s%s", MG_FMT(part->name), part->file ? " (file)" : "");
}

static mg_err on_end(void *arg, const struct mg_multipart_part *part)
{
    struct told *told = arg;
    mg_view value = mg_view_head(mg_view_skip(told->wire, part->value), part->end - part->value);
    CHECK(mg_view_starts(mg_view_skip(told->wire, part->start), MG_VIEW("--")));
    return mg_buf_putf(&told->text, "=[%.*s];", MG_FMT(value));
}

static const struct mg_multipart_ops ops = {.on_part = on_part, .on_end = on_end};

/* What is told of the form and how it ended, fed as [0, cut) and then in pieces. */
static mg_err scan(mg_view wire, size_t cut, size_t step, const struct mg_multipart_limits *limits, char *out, size_t size)
{
    struct told told = {.wire = wire};
    struct mg_multipart multipart;
    mg_buf_init(&told.text, 65536);
    mg_multipart_init(&multipart, MG_VIEW("xYz"), limits, &ops, &told);
    mg_err err = mg_multipart_feed(&multipart, mg_view_head(wire, cut));
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_multipart_feed(&multipart, mg_view_head(rest, step));
    if (err == MG_OK && !mg_multipart_complete(&multipart))
        CHECK_OK(mg_buf_put(&told.text, MG_VIEW("…")));
    CHECK((err == MG_OK) == (mg_multipart_reason(&multipart)[0] == '\0'));
    snprintf(out, size, "%s%s", mg_buf_cstr(&told.text), mg_multipart_reason(&multipart));
    CHECK_INT(mg_multipart_feed(&multipart, MG_VIEW_NONE), err);
    mg_multipart_fini(&multipart);
    mg_buf_fini(&told.text);
    return err;
}

#define FIELD(name, value) "--xYz\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define END "--xYz--\r\n"

static const struct {
    const char *wire, *told;
} rows[] = {
    {FIELD("model", "whisper-1") END, "model=[whisper-1];"},
    {FIELD("a", "") FIELD("b", "\r\n") "--xYz--", "a=[];b=[\r\n];"},
    {"--xYz\r\ncontent-DISPOSITION:form-data;filename=\"a;\\\"b\";name=file\r\nContent-Type: audio/wav\r\n\r\n\r\n-\r\r\n--xY\r\n--xYz--",
     "file (file)=[\r\n-\r\r\n--xY];"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"f\"; filename*=UTF-8''x\r\nContent-Transfer-Encoding: binary\r\n\r\nx\r\n" END,
     "f (file)=[x];"},
    {"--xYz--\r\n", ""},
    {FIELD("a", "1") "--xYz", "a=[1];…"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nthe connection bro", "a…"},

    {"\r\n" FIELD("a", "1") END, "the body does not begin with the boundary of its Content-Type"},
    {"preamble\r\n" FIELD("a", "1") END, "the body does not begin with the boundary of its Content-Type"},
    {FIELD("a", "1") "--xYz--\r\nmore", "a=[1];there are bytes behind the end of the form"},
    {FIELD("a", "1") "--xYz--\n", "a=[1];there are bytes behind the end of the form"},
    {FIELD("a", "1") "--xYzz\r\n", "a=[1];the boundary stands in the form without ending a part of it"},
    {FIELD("a", "1") "--xYz \r\n", "a=[1];the boundary stands in the form without ending a part of it"},
    {FIELD("a", "1") "--xYz-\r\n", "a=[1];the boundary stands in the form without ending a part of it"},
    {FIELD("a", "1") "--xYz\n", "a=[1];the boundary stands in the form without ending a part of it"},
    {FIELD("a", "--xYz\r\n"), "aa value begins with the boundary"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"\n\r\n\r\n1\r\n" END, "a header line of a part of the form does not end in CRLF"},
    {"--xYz\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n" END, "the Content-Disposition of a part of the form cannot be read"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n folded\r\n\r\n1\r\n" END, "a header line of a part of the form is none"},
    {"--xYz\r\nContent-Type: text/plain\r\n\r\n1\r\n" END, "a part of the form has no name"},
    {"--xYz\r\n\r\n1\r\n" END, "a part of the form has no name"},
    {"--xYz\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END, "a part of the form has no name"},
    {"--xYz\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n" END, "a part of the form is not form-data"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"; name=\"model\"\r\n\r\n1\r\n" END, "a part of the form has two names"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"; name*=UTF-8''model\r\n\r\n1\r\n" END, "the name of a part of the form is encoded"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"mo\\del\"\r\n\r\n1\r\n" END, "the name of a part of the form is empty or has a backslash in it"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1\r\n" END, "the name of a part of the form is empty or has a backslash in it"},
    {"--xYz\r\nContent-Disposition: form-data\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n" END,
     "a part of the form has two Content-Disposition headers"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"x\r\n\r\n1\r\n" END, "the Content-Disposition of a part of the form cannot be read"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n" END, "the Content-Disposition of a part of the form cannot be read"},
    {"--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\n1\r\n" END,
     "a part of the form has a transfer encoding"},
};

TEST(every_form_is_read_the_same_at_every_cut)
{
    char whole[4096], cut_up[4096];
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_view wire = mg_view_cstr(rows[i].wire);
        mg_err err = scan(wire, wire.len, 1, &mg_multipart_limits_default, whole, sizeof whole);
        CHECK_STR(whole, rows[i].told);
        for (size_t cut = 0; cut <= wire.len; cut++) {
            CHECK_INT(scan(wire, cut, wire.len, &mg_multipart_limits_default, cut_up, sizeof cut_up), err);
            CHECK_STR(cut_up, rows[i].told);
        }
        for (size_t step = 1; step < 9; step++) {
            CHECK_INT(scan(wire, 0, step, &mg_multipart_limits_default, cut_up, sizeof cut_up), err);
            CHECK_STR(cut_up, rows[i].told);
        }
    }
}

TEST(what_a_form_may_have_is_bounded)
{
    struct mg_multipart_limits few = {.parts = 2, .header_bytes = 60, .name_bytes = 4};
    char out[4096];
    mg_view three = MG_VIEW(FIELD("a", "1") FIELD("b", "2") FIELD("c", "3") END), name = MG_VIEW(FIELD("model", "1") END);
    mg_view header = MG_VIEW("--xYz\r\nContent-Disposition: form-data; name=\"a\"; filename=\"aaaaaaaaaaaaaaaa\"\r\n\r\n1\r\n" END);

    CHECK_INT(scan(three, 0, 7, &few, out, sizeof out), MG_E_TOO_LARGE);
    CHECK_STR(out, "a=[1];b=[2];the form has too many parts");
    CHECK_INT(scan(name, 0, 7, &few, out, sizeof out), MG_E_TOO_LARGE);
    CHECK_STR(out, "the name of a part of the form is too long");
    CHECK_INT(scan(header, 0, 7, &few, out, sizeof out), MG_E_TOO_LARGE);
    CHECK_STR(out, "the header of a part of the form is too long");
}

TEST(only_one_boundary_that_everybody_reads_alike_is_taken)
{
    static const struct {
        const char *type, *boundary;
    } types[] = {
        {"multipart/form-data; boundary=xYz", "xYz"},
        {"Multipart/Form-Data;BOUNDARY=\"x Y:z\"; charset=utf-8", "x Y:z"},
        {"multipart/form-data", ""},
        {"multipart/form-data; boundary=", ""},
        {"multipart/form-data; boundary=a; boundary=b", ""},
        {"multipart/form-data; boundary=\"a", ""},
        {"multipart/form-data; boundary=\"a\\\"b\"", ""},
        {"multipart/form-data; boundary=\"a \"", ""},
        {"multipart/form-data; boundary=x; nonsense", ""},
        {"multipart/mixed; boundary=x", ""},
        {"application/json", ""},
        {"multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789",
         "0123456789012345678901234567890123456789012345678901234567890123456789"},
        {"multipart/form-data; boundary=01234567890123456789012345678901234567890123456789012345678901234567890", ""},
    };
    for (size_t i = 0; i < MG_COUNT(types); i++)
        CHECK(mg_view_eq(mg_multipart_boundary(mg_view_cstr(types[i].type)), mg_view_cstr(types[i].boundary)));
}

MG_TEST_MAIN()
