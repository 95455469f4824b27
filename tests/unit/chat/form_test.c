#include "chat/form.h"

#include "base/mem.h"
#include "check.h"

#define FIELD(name, value) "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define AUDIO "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\r\n--\r\n"
#define END "--b--\r\n"

static struct mg_arena arena;
static struct mg_form form;
static struct mg_request request;

/* Fed as [0, cut) and the rest; the window is what was fed before it was sealed. */
static mg_err read_form(mg_view wire, size_t cut, bool seals)
{
    CHECK(mg_form_init(&form, &arena, MG_VIEW("multipart/form-data; boundary=b")));
    mg_err err = mg_form_feed(&form, mg_view_head(wire, cut));
    form.sealed = seals;
    return err == MG_OK ? mg_form_feed(&form, mg_view_skip(wire, cut)) : err;
}

static const char *joined(const struct mg_body *body, char *out, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < body->count; i++)
        at += (size_t)snprintf(out + at, size - at, "%.*s", MG_FMT(body->parts[i]));
    CHECK_INT(at, body->length);
    return out;
}

/* What is sent of the form when its fields became these. */
static mg_err sent(mg_view wire, const char *fields, char *out, size_t size)
{
    struct mg_json_error error;
    struct mg_body body;
    CHECK_OK(read_form(wire, wire.len, false));
    CHECK_OK(mg_form_scan(&form, wire, &request, &arena, &error));
    mg_err err = mg_form_body(&form, wire, mg_view_cstr(fields), &arena, &body);
    if (err == MG_OK)
        joined(&body, out, size);
    mg_form_fini(&form);
    return err;
}

TEST(the_fields_of_a_form_are_shown_as_one_object)
{
    struct mg_json_error error;
    mg_view wire = MG_VIEW(FIELD("model", "whisper-1") FIELD("t[]", "word") AUDIO FIELD("t[]", "seg\"ment") FIELD("stream", "true") END);
    mg_arena_init(&arena, 4096);
    for (size_t cut = 0; cut <= wire.len; cut++) {
        CHECK_OK(read_form(wire, cut, false));
        CHECK_OK(mg_form_scan(&form, wire, &request, &arena, &error));
        CHECK_STR(form.json.ptr, "{\"model\":\"whisper-1\",\"t[]\":[\"word\",\"seg\\\"ment\"],\"stream\":true}");
        CHECK(mg_view_eq(request.model, MG_VIEW("whisper-1")) && request.stream && request.form == &form);
        mg_form_fini(&form);
    }
    mg_arena_fini(&arena);
}

TEST(what_nobody_changed_keeps_every_byte_and_what_changed_keeps_its_place)
{
    static const struct {
        const char *fields, *wire;
    } rows[] = {
        {"{\"model\":\"m\",\"t[]\":[\"a\",\"b\"],\"language\":\"en\"}",
         FIELD("model", "m") FIELD("t[]", "a") AUDIO FIELD("t[]", "b") FIELD("language", "en") END},
        {"{\"model\":\"gpt-4o-transcribe\",\"t[]\":[\"a\",\"b\"],\"language\":\"en\"}",
         FIELD("model", "gpt-4o-transcribe") FIELD("t[]", "a") AUDIO FIELD("t[]", "b") FIELD("language", "en") END},
        {"{\"t[]\":[\"a\",\"b\"],\"language\":null}", FIELD("t[]", "a") AUDIO FIELD("t[]", "b") END},
        {"{\"model\":\"m\",\"t[]\":\"c\",\"language\":\"\\u0064e\",\"temperature\":0.5}",
         FIELD("t[]", "c") FIELD("temperature", "0.5") FIELD("model", "m") AUDIO FIELD("language", "de") END},
        {"{\"model\":\"m\",\"t[]\":[\"c\",\"d\"]}", FIELD("t[]", "c") FIELD("t[]", "d") FIELD("model", "m") AUDIO END},
    };
    char out[4096];
    mg_view wire = MG_VIEW(FIELD("model", "m") FIELD("t[]", "a") AUDIO FIELD("t[]", "b") FIELD("language", "en") END);
    mg_arena_init(&arena, 4096);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_OK(sent(wire, rows[i].fields, out, sizeof out));
        CHECK_STR(out, rows[i].wire);
    }
    CHECK_INT(sent(wire, "{\"model\":\"m\",\"prompt\":\"x\\r\\n--b\\r\\n\"}", out, sizeof out), MG_E_BAD_REQUEST);
    mg_arena_fini(&arena);
}

TEST(what_decides_about_the_request_comes_once_in_plain_and_in_time)
{
    mg_view twice = MG_VIEW(FIELD("model", "cheap") AUDIO FIELD("model", "dear") END);
    mg_view file = MG_VIEW("--b\r\nContent-Disposition: form-data; name=\"model\"; filename=\"x\"\r\n\r\nm\r\n" END);
    mg_view late = MG_VIEW(AUDIO FIELD("stream", "true") END);
    mg_arena_init(&arena, 4096);
    for (size_t cut = 0; cut <= twice.len; cut++) {
        CHECK_INT(read_form(twice, cut, cut > 120), MG_E_BAD_REQUEST);
        CHECK_STR(mg_form_reason(&form), "'model' or 'stream' stands in the form twice");
        mg_form_fini(&form);
    }
    CHECK_INT(read_form(file, 0, false), MG_E_BAD_REQUEST);
    CHECK_STR(mg_form_reason(&form), "'model' or 'stream' is a file in the form");
    mg_form_fini(&form);
    CHECK_INT(read_form(late, sizeof AUDIO - 20, true), MG_E_BAD_REQUEST);
    CHECK_STR(mg_form_reason(&form), "'model' or 'stream' comes too late in the form: send it before the file");
    mg_form_fini(&form);
    CHECK(!mg_form_init(&form, &arena, MG_VIEW("application/json")));
    mg_arena_fini(&arena);
}

TEST(a_field_that_the_window_cuts_off_is_not_shown)
{
    struct mg_json_error error;
    mg_view wire = MG_VIEW(FIELD("model", "m") FIELD("prompt", "half of it") END);
    size_t cut = sizeof FIELD("model", "m") + 60;
    mg_arena_init(&arena, 4096);
    CHECK_OK(read_form(wire, cut, true));
    CHECK_OK(mg_form_scan(&form, mg_view_head(wire, cut), &request, &arena, &error));
    CHECK_STR(form.json.ptr, "{\"model\":\"m\"}");
    mg_form_fini(&form);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
