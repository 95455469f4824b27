/* A redactor on a stream, with the real filter around it: what comes out is what the whole would be, and what need not wait
 * does not. */
#include "script_world.h"

#include "base/clock.h"
#include "check.h"

static const char project[] =
    "local redactor = moongate.text.redactor { patterns = { key = 'sk-[a-z0-9]{4,}', pin = [[\\b[0-9]{4}\\b]] }, words = { 'Project X' } }\n"
    "return {\n"
    "  providers = { a = { base_url = 'http://127.0.0.1:1/v1' } },\n"
    "  workflows = { chat = 'a/one' },\n"
    "  on_chunk = function(chunk)\n"
    "    local text, _, hold = redactor:redact(chunk.text, { more = not chunk.final })\n"
    "    chunk:keep(hold or 0)\n"
    "    return text\n"
    "  end,\n"
    "  stream = { mode = 'filter', hold = 0, channels = { 'content' } },\n"
    "  inline = { fail = { on_chunk = 'closed' } },\n"
    "}\n";

static const char text[] = "use sk-ab12 or 1234, not 12345 in Project X; Project Y is fine \xc3\xa9t\xc3\xa9 sk-99.";
static const char want[] = "use [key] or [pin], not 12345 in [redacted]; Project Y is fine \xc3\xa9t\xc3\xa9 sk-99.";

static struct mg_filter *filter;
static char got[1024];
static uint64_t now_us = 7000000000;

static void open_stream(void)
{
    mg_clock_fake(now_us);
    world_file("projects/p.lua", project);
    CHECK(world_open_file("projects/p.lua"));
    filter = mg_filter_new(world.script, &world.call);
    got[0] = '\0';
}

static void close_stream(void)
{
    world_close();
    mg_clock_fake(0);
}

static const char *feed(mg_view piece, bool final)
{
    mg_view out = MG_VIEW_NONE;
    struct mg_hook_outcome outcome;
    CHECK_OK(mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT, piece, final, &out, &outcome));
    snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s", MG_FMT(out));
    mg_clock_fake(now_us += 20000);
    mg_loop_turn(&world.loop, 0);
    return got;
}

TEST(a_cut_stream_is_hidden_as_the_whole_would_be)
{
    mg_view all = mg_view_cstr(text);
    open_stream();
    for (size_t cut = 0; cut <= all.len; cut++) {
        if (mg_view_utf8_floor(mg_view_head(all, cut)) != cut)
            continue;
        filter = mg_filter_new(world.script, &world.call);
        got[0] = '\0';
        feed(mg_view_head(all, cut), false);
        CHECK_STR(feed(mg_view_skip(all, cut), true), want);
    }
    close_stream();
}

TEST(what_need_not_wait_does_not)
{
    open_stream();

    CHECK_STR(feed(MG_VIEW("Hello there. "), false), "Hello there. ");
    CHECK_STR(feed(MG_VIEW("A sk-a"), false), "Hello there. A ");
    CHECK_STR(feed(MG_VIEW("b12"), false), "Hello there. A ");
    CHECK_STR(feed(MG_VIEW(" and Pro"), false), "Hello there. A [key] and ");
    CHECK_STR(feed(MG_VIEW("fit "), false), "Hello there. A [key] and Profit ");
    close_stream();
}

MG_TEST_MAIN()
