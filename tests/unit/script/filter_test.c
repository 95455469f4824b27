/* Streaming filters: what on_chunk sees, what the client gets, and when. */
#include "script_world.h"

#include "base/clock.h"
#include "check.h"

static struct mg_filter *filter;
static char got[4096];
static struct mg_hook_outcome outcome;
static uint64_t now_us;

static void open_filter(const char *in_project)
{
    now_us = 7000000000;
    mg_clock_fake(now_us);
    world_open("", in_project);
    filter = mg_filter_new(world.script, &world.call);
    got[0] = '\0';
}

static void pass_time(uint64_t ms)
{
    mg_clock_fake(now_us += ms * 1000);
    mg_loop_turn(&world.loop, 0);
}

static mg_err feed_to(int choice, enum mg_channel channel, mg_view text, bool final)
{
    mg_view out = MG_VIEW_NONE;
    mg_err err = mg_filter_feed(filter, choice, channel, text, final, &out, &outcome);
    if (err == MG_OK)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s", MG_FMT(out));
    pass_time(20);
    return err;
}

static mg_err feed(const char *text, bool final)
{
    return feed_to(0, MG_CHANNEL_CONTENT, mg_view_cstr(text), final);
}

static void close_filter(void)
{
    world_close();
    mg_clock_fake(0);
}

static const char *const mask =
    "on_chunk = function(c)\n"
    "  local text = c.text:gsub('%w+@%w+%.%w+([^%w])', '[email]%1')\n"     /* one that the held text ends in may go on */
    "  return c.final and text:gsub('%w+@%w+%.%w+$', '[email]') or text\n"
    "end, stream = { hold = 20, channels = { 'content' } }";

TEST(masks_a_match_at_every_cut)
{
    const mg_view text = MG_VIEW("mail bob@example.com now, or ann@b.org. \xc3\xa9t\xc3\xa9 \xf0\x9f\x98\x80 bye to all of you out there");
    for (size_t cut = 0; cut <= text.len; cut++) {
        for (size_t second = cut; second <= text.len; second += 7) {
            open_filter(mask);
            CHECK_OK(feed_to(0, MG_CHANNEL_CONTENT, mg_view_head(text, cut), false));
            CHECK(!strstr(got, "bob@"));
            CHECK_OK(feed_to(0, MG_CHANNEL_CONTENT, mg_view_of(text.ptr + cut, second - cut), false));
            CHECK_OK(feed_to(0, MG_CHANNEL_CONTENT, mg_view_skip(text, second), true));
            CHECK_STR(got, "mail [email] now, or [email]. \xc3\xa9t\xc3\xa9 \xf0\x9f\x98\x80 bye to all of you out there");
            close_filter();
        }
    }
}

TEST(holds_the_last_characters_and_cuts_between_characters)
{
    open_filter("on_chunk = function(c) end, stream = { hold = 3 }");

    CHECK_OK(feed("abcdef", false));
    CHECK_STR(got, "abc");
    CHECK_OK(feed("\xc3\xa9\xc3\xa9", false));
    CHECK_STR(got, "abcde");
    CHECK_OK(feed("", true));
    CHECK_STR(got, "abcdef\xc3\xa9\xc3\xa9");
    close_filter();
}

TEST(tells_where_the_new_part_begins_and_keeps_state_per_output)
{
    open_filter("on_chunk = function(c)\n"
                "  c.state.n = (c.state.n or 0) + 1\n"
                "  if c.final then return ('%d %s %d %s|'):format(c.choice, c.channel, c.state.n, c.text:sub(c.new)) end\n"
                "end, stream = { hold = 100 }");

    CHECK_OK(feed_to(0, MG_CHANNEL_CONTENT, MG_VIEW("one "), false));
    CHECK_OK(feed_to(1, MG_CHANNEL_CONTENT, MG_VIEW("other "), false));
    CHECK_OK(feed_to(0, MG_CHANNEL_REASONING, MG_VIEW("why"), false));
    CHECK_OK(feed_to(0, MG_CHANNEL_CONTENT, MG_VIEW("two"), true));
    CHECK_OK(feed_to(1, MG_CHANNEL_CONTENT, MG_VIEW("more"), true));
    CHECK_OK(feed_to(0, MG_CHANNEL_REASONING, MG_VIEW(""), true));
    CHECK_STR(got, "0 content 2 two|1 content 2 more|0 reasoning 2 |");
    close_filter();
}

TEST(other_channels_pass_untouched)
{
    open_filter(mask);
    CHECK_OK(feed_to(0, MG_CHANNEL_REASONING, MG_VIEW("bob@example.com"), false));
    CHECK_STR(got, "bob@example.com");
    close_filter();
}

TEST(an_observer_holds_and_changes_nothing)
{
    open_filter("on_chunk = function(c) return 'changed' end, stream = { mode = 'observe' }");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_OBSERVE);
    CHECK_OK(feed("hello ", false));
    CHECK_OK(feed("world", true));
    CHECK_STR(got, "hello world");
    close_filter();
}

TEST(without_a_word_on_streams_the_whole_answer_is_seen_at_once)
{
    open_filter("on_chunk = function(c) return c.text:upper() .. tostring(c.final) end");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_BUFFER);
    CHECK_OK(feed("hello ", false));
    CHECK_OK(feed("world", false));
    CHECK_STR(got, "");
    CHECK_INT(mg_filter_flush_in_ms(filter), 0);
    CHECK_OK(feed("", true));
    CHECK_STR(got, "HELLO WORLDtrue");
    close_filter();
}

TEST(calls_are_coalesced)
{
    mg_view out;
    open_filter("on_chunk = function(c) calls = (calls or 0) + 1 if c.final then return c.text .. calls end end, stream = { hold = 0 }");
    CHECK_OK(mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT, MG_VIEW("a"), false, &out, &outcome));
    CHECK_VIEW(out, MG_VIEW("a"));
    for (int i = 0; i < 10; i++) {
        CHECK_OK(mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT, MG_VIEW("b"), false, &out, &outcome));
        CHECK_INT(out.len, 0);
    }
    CHECK_INT(mg_filter_flush_in_ms(filter), 16);
    pass_time(17);
    CHECK_OK(mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT, MG_VIEW(""), false, &out, &outcome));
    CHECK_VIEW(out, MG_VIEW("bbbbbbbbbb"));
    CHECK_INT(mg_filter_flush_in_ms(filter), 0);
    CHECK_OK(mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT, MG_VIEW(""), true, &out, &outcome));
    CHECK_VIEW(out, MG_VIEW("3"));
    close_filter();
}

TEST(a_transform_lets_go_after_max_hold_ms)
{
    open_filter("on_chunk = function(c) end, stream = { hold = 50, max_hold_ms = 300 }");
    CHECK_OK(feed("hello", false));
    CHECK_STR(got, "");
    CHECK_INT(mg_filter_flush_in_ms(filter), 280);
    pass_time(280);
    CHECK_OK(feed("", false));
    CHECK_STR(got, "hello");
    CHECK_INT(mg_filter_flush_in_ms(filter), 0);
    close_filter();
}

TEST(a_guard_keeps_holding)
{
    open_filter("on_chunk = function(c) end, stream = { hold = 50, max_hold_ms = 300 }, inline = { fail = { on_chunk = 'closed' } }");
    CHECK_OK(feed("hello", false));
    CHECK_INT(mg_filter_flush_in_ms(filter), 0);
    pass_time(5000);
    CHECK_OK(feed("", false));
    CHECK_STR(got, "");
    CHECK_OK(feed("", true));
    CHECK_STR(got, "hello");
    close_filter();
}

TEST(a_closed_on_response_has_streams_held_back)
{
    open_filter("on_response = function() end, inline = { fail = { on_response = 'closed' } }");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_BUFFER);
    close_filter();
    open_filter("on_response = function() end");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_NONE);
    close_filter();
}

TEST(keep_enlarges_the_hold_for_one_turn)
{
    open_filter("on_chunk = function(c) if c.text:find '<' then c:keep(100) end end, stream = { hold = 1 }");
    CHECK_OK(feed("a <b", false));
    CHECK_STR(got, "");
    CHECK_OK(feed("old> c", true));
    CHECK_STR(got, "a <bold> c");
    close_filter();
}

TEST(stop_ends_the_stream_with_its_reason)
{
    open_filter("on_chunk = function(c) if c.text:find 'bomb' then return c:stop { code = 'topic', message = 'not here' } end end, stream = { hold = 4 }");
    CHECK_OK(feed("how to build a b", false));
    CHECK_INT(feed("omb", false), MG_E_DENIED);
    CHECK_VIEW(outcome.code, MG_VIEW("topic"));
    CHECK_VIEW(outcome.message, MG_VIEW("not here"));
    CHECK_INT(feed("more", true), MG_E_DENIED);
    CHECK_STR(got, "how to build");
    close_filter();
}

TEST(filters_run_up_the_list_and_their_holds_add_up)
{
    open_filter("on_chunk = function(c) return (c.text:gsub('B', 'C')) end, stream = { hold = 1 },\n"
                "plugins = { { as = 'low', stream = { hold = 2 }, on_chunk = function(self, c) return (c.text:gsub('A', 'B')) end } }");
    CHECK_OK(feed("AAAAA", false));
    CHECK_STR(got, "CC");
    CHECK_OK(feed("A", true));
    CHECK_STR(got, "CCCCCC");
    close_filter();
}

TEST(a_filter_that_fails_passes_text_on_or_ends_the_stream_as_declared)
{
    open_filter("on_chunk = function(c) error 'x' end, stream = { hold = 2 }");
    CHECK_OK(feed("hello", false));
    CHECK_STR(got, "hel");
    CHECK(strstr(world_notes(), "on_chunk"));
    close_filter();

    open_filter("on_chunk = function(c) error 'x' end, stream = { hold = 2 }, inline = { fail = { on_chunk = 'closed' } }");
    CHECK_INT(feed("hello", false), MG_E_DENIED);
    CHECK_VIEW(outcome.code, MG_VIEW("plugin_failed"));
    close_filter();

    open_filter("on_chunk = function(c) return {} end, stream = { hold = 2 }");
    CHECK_OK(feed("hello", true));
    CHECK_STR(got, "hello");
    CHECK(strstr(world_notes(), "what on_chunk returns must be a string"));
    close_filter();
}

TEST(modes_add_up_to_the_strictest)
{
    open_filter("on_chunk = function(c) end, stream = { hold = 2 },\n"
                "plugins = { { as = 'no', stream = { mode = 'reject' }, when = { workflows = { 'other' } }, on_chunk = function() end } }");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_WINDOW);
    world.call.workflow = MG_VIEW("other");
    CHECK_INT(mg_script_filter_mode(world.script, &world.call), MG_FILTER_REJECT);
    close_filter();
}

TEST(a_filter_may_outlive_its_script_a_little)
{
    open_filter(mask);
    CHECK_OK(feed("hello", false));
    mg_script_free(world.script);      /* the arena, and with it the filter, goes later */
    world.script = NULL;
    close_filter();
}

MG_TEST_MAIN()
