/* on_request and on_response: order, outcomes, waiting, cancellation, fail modes. */
#include "script_world.h"

#include "base/clock.h"
#include "base/limits.h"
#include "check.h"
#include "script/co.h"
#include "script/instance.h"

TEST(hooks_run_down_the_list_and_edit_the_request)
{
    struct mg_json_error error;
    world_open("on_request = function(req) req.messages:set(1, 'flow') end",
               "on_request = function(req) assert(req.messages[1]:text() == 'flow') req.messages:append_system('project') end,\n"
               "plugins = { { as = 'last', on_request = function(self, req)\n"
               "  local n = 0 for i, message in ipairs(req.messages) do n = n + 1 end\n"
               "  assert(n == 2, n) req.params.temperature = 1 end } }");

    world_on_request();

    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    CHECK_OK(mg_request_render(&world.call.request, &error));
    CHECK_INT(world.call.request.message_count, 2);
    CHECK(mg_view_search(world.call.request.body, MG_VIEW("flow")) < world.call.request.body.len);
    CHECK(mg_view_search(world.call.request.body, MG_VIEW("project")) < world.call.request.body.len);
    CHECK(mg_view_search(world.call.request.body, MG_VIEW("\"temperature\":1")) < world.call.request.body.len);
    CHECK(!strstr(world_notes(), "test.lua"));
    world_close();
}

TEST(the_first_that_denies_or_responds_ends_the_chain)
{
    world_open("", "on_request = function(req) return req:deny { status = 402, code = 'broke', message = 'no money' } end,\n"
                   "plugins = { { as = 'later', on_request = function() error 'never' end } }");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_INT(world.outcome.status, 402);
    CHECK_VIEW(world.outcome.code, MG_VIEW("broke"));
    CHECK_VIEW(world.outcome.message, MG_VIEW("no money"));
    world_close();

    world_open("", "on_request = function(req) return req:respond { text = 'canned' } end");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_RESPOND);
    CHECK_VIEW(world.outcome.text, MG_VIEW("canned"));
    world_close();
}

TEST(answers_run_up_the_list_and_see_what_was_replaced)
{
    struct mg_call_response response = {.status = 200, .text = MG_VIEW("raw")};
    world_open("", "on_response = function(res) return res:replace { text = res:text() .. ' top' } end,\n"
                   "plugins = { { as = 'low', on_response = function(self, res) return res:replace { text = res:text() .. ' low' } end } }");

    world_on_response(&response);

    CHECK_INT(world.outcome.kind, MG_HOOK_REPLACE);
    CHECK_VIEW(world.outcome.text, MG_VIEW("raw low top"));
    world_close();
}

TEST(only_what_the_views_make_is_an_outcome)
{
    static const char *const bad[] = {"return 5", "return {}", "return setmetatable({}, {__tostring = function() end})", "return nil, 'why'", "return true"};
    for (size_t i = 0; i < MG_COUNT(bad); i++) {
        char code[256];
        snprintf(code, sizeof(code), "on_request = function(req) %s end", bad[i]);
        world_open("", code);
        world_on_request();
        CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);    /* inline code fails open */
        CHECK(strstr(world_notes(), i == 3 ? "why" : "on_request must return nothing"));
        world_close();
    }
}

/* --- waiting --------------------------------------------------------------------------------- */

TEST(waits_without_blocking_and_inside_pcall_iterators_and_coroutines)
{
    world_open("", "on_request = function(req)\n"
                   "  local sleep, trail = moongate.time.sleep, {}\n"
                   "  sleep(1) trail[1] = 'plain'\n"
                   "  local ok, why = pcall(function() sleep(1) trail[2] = 'pcall' error('x', 0) end)\n"
                   "  assert(not ok and why == 'x')\n"
                   "  local co = coroutine.create(function(a)\n"
                   "    sleep(1) local b = coroutine.yield(a + 1) sleep(1)\n"
                   "    return coroutine.wrap(function() sleep(1) return b * 2 end)()\n"
                   "  end)\n"
                   "  local _, got = coroutine.resume(co, 1) assert(got == 2)\n"
                   "  assert(coroutine.status(co) == 'suspended')\n"
                   "  _, got = coroutine.resume(co, 21) assert(got == 42, got)\n"
                   "  assert(coroutine.status(co) == 'dead')\n"
                   "  for i in (function() sleep(1) if #trail < 4 then trail[#trail + 1] = 'iterator' return 1 end end) do end\n"
                   "  local t = setmetatable({}, { __index = function(_, k) sleep(1) return k end })\n"
                   "  trail[5] = t.meta\n"
                   "  xpcall(function() sleep(1) error 'x' end, function() sleep(1) trail[6] = 'handler' end)\n"
                   "  return req:deny { code = table.concat(trail, ' ') }\n"
                   "end");
    world_on_request();
    CHECK(world.run != NULL);
    world_wait();
    if (world.outcome.kind != MG_HOOK_DENY)
        check_failed(__FILE__, __LINE__, "%s", world_notes());
    CHECK_VIEW(world.outcome.code, MG_VIEW("plain pcall iterator iterator meta handler"));
    world_close();
}

TEST(waiting_where_it_cannot_be_is_a_clean_error)
{
    static const struct {
        const char *code, *says;
    } rows[] = {
        {"on_request = function() local _ = ('x'):gsub('x', function() moongate.time.sleep(1) end) end", "callback of gsub"},
        {"on_request = function() table.sort({ 1, 2 }, function() moongate.time.sleep(1) end) end", "callback of gsub"},
        {"on_request = function() local f = coroutine.wrap(function() moongate.time.sleep(1) end) local _ = ('x'):gsub('x', f) end", "C-call boundary"},
        {"on_request = function() coroutine.yield(1) end", "yielded outside a coroutine"},
        {"on_request = function() coroutine.yield() end", "yielded outside a coroutine"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        world_open("", rows[i].code);
        world_on_request();
        world_wait();
        CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
        if (!strstr(world_notes(), rows[i].says))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].code, world_notes());
        world_close();
    }
}

TEST(a_sync_hook_that_waits_is_told_so)
{
    struct mg_plan plan;
    world_open("route = function() moongate.time.sleep(1) end", "");
    CHECK_OK(mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan));
    CHECK(strstr(world_notes(), "sleep waits, and route may not wait"));
    world_close();
}

static void now_is(uint64_t now_us)
{
    mg_clock_fake(now_us);
    mg_loop_turn(&world.loop, 0);
    mg_wheel_advance(&world.loop.wheel, now_us);
}

TEST(a_hook_that_waits_too_long_is_ended)
{
    uint64_t now_us = 5000000000;
    mg_clock_fake(now_us);
    world_open("", "on_request = function() moongate.time.sleep(60000) end, inline = { fail = { on_request = 'closed' } }");
    world_on_request();
    CHECK(world.run != NULL);

    now_is(now_us + 1900000);
    CHECK(world.run != NULL);
    now_is(now_us + 2100000);

    CHECK(world.run == NULL);
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_INT(world.outcome.status, 503);
    CHECK(strstr(world_notes(), "did not finish within 2000 ms"));
    mg_clock_fake(0);
    world_close();
}

TEST(a_cancelled_hook_runs_no_more_whatever_it_catches)
{
    world_open("", "on_request = function()\n"
                   "  while true do pcall(function() moongate.time.sleep(1) end) count = (count or 0) + 1 end\n"
                   "end,\n"
                   "on_log = function() return count == nil end");
    world_on_request();
    CHECK(world.run != NULL);

    mg_hook_cancel(world.run);
    for (int i = 0; i < 5; i++)
        mg_loop_turn(&world.loop, 2);

    CHECK_INT(world.outcomes, 0);
    CHECK(mg_script_on_log(world.script, &world.call));
    world_close();
}

TEST(many_hooks_wait_at_once_and_their_coroutines_are_used_again)
{
    enum { COUNT = 300 };
    static struct mg_hook_run *runs[COUNT];
    world_open("", "on_request = function(req) local id = {} moongate.time.sleep(1) n = (n or 0) + 1 end,\n"
                   "route = function() error('n is ' .. tostring(n), 0) end");
    int before_pool = world.script->lua.co_pooled;
    for (int i = 0; i < COUNT; i++) {
        world_on_request();
        runs[i] = world.run;
        CHECK(runs[i] != NULL);
    }
    for (int turns = 0; world.outcomes < COUNT && turns < 1000; turns++)
        mg_loop_turn(&world.loop, 10);

    CHECK_INT(world.outcomes, COUNT);
    CHECK_INT(before_pool, 0);
    CHECK_INT(world.script->lua.co_pooled, MG_MAX_LUA_COROUTINES);
    struct mg_plan plan;
    CHECK_OK(mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan));
    CHECK(strstr(world_notes(), "n is 300") || world.timeline.note_bytes > 1900);
    world_close();
}

TEST(another_request_cannot_resume_a_coroutine_that_waits)
{
    world_open("", "on_request = function(req)\n"
                   "  if not co then\n"
                   "    co = coroutine.create(function() moongate.time.sleep(5) return 'slept' end)\n"
                   "    local ok, got = coroutine.resume(co) first = got\n"
                   "  else\n"
                   "    local ok, why = coroutine.resume(co, 'forged') second = why\n"
                   "  end\n"
                   "end,\n"
                   "on_log = function() return first == 'slept' and second:find 'runs or waits' ~= nil end");
    world_on_request();
    struct mg_hook_run *first = world.run;
    CHECK(first != NULL);
    world_on_request();
    world.run = first;
    world_wait();
    CHECK(mg_script_on_log(world.script, &world.call));
    world_close();
}

/* --- failing --------------------------------------------------------------------------------- */

TEST(a_closed_hook_that_fails_ends_the_request_and_an_open_one_does_not)
{
    world_open("", "on_request = function() error 'x' end, inline = { fail = { on_request = 'closed' } }");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_INT(world.outcome.status, 503);
    CHECK_VIEW(world.outcome.code, MG_VIEW("plugin_failed"));
    CHECK(mg_view_search(world.outcome.message, MG_VIEW("The plugin inline failed")) == 0);
    for (int i = 0; i < 6; i++)
        world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);         /* quarantined is closed too */
    CHECK(mg_view_search(world.outcome.message, MG_VIEW("quarantined")) < world.outcome.message.len);
    world_close();
}

TEST(a_runaway_hook_ends_within_its_burst)
{
    world_open("", "on_request = function() moongate.time.sleep(1) while true do pcall(function() while true do end end) end end");
    uint64_t began_us = mg_thread_cpu_us();
    world_on_request();
    world_wait();
    CHECK(mg_thread_cpu_us() - began_us < 1000000);
    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    CHECK(strstr(world_notes(), "ran past its deadline"));
    CHECK(mg_script_tainted(world.script));
    world_on_request();                /* the state still works */
    world_wait();
    CHECK_INT(world.outcomes, 2);
    world_close();
}

TEST(a_memory_bomb_in_a_hook_is_refused_whatever_it_catches)
{
    world_open("", "on_request = function() moongate.time.sleep(1) local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(100000) .. #t end end) end end");
    world_on_request();
    world_wait();
    CHECK(strstr(world_notes(), "ran out of memory") || strstr(world_notes(), "deadline"));
    CHECK(mg_script_tainted(world.script));
    world_close();
}

TEST(costs_nothing_where_no_instance_is_concerned)
{
    world_open("", "plugins = {\n"
                   "  { as = 'other', when = { workflows = { 'x-*' } }, on_request = function() error 'x' end },\n"
                   "  { as = 'whole', when = { stream = false }, on_request = function() error 'x' end },\n"
                   "}");
    CHECK(!mg_script_has(world.script, MG_HOOK_ON_REQUEST, &world.call));
    CHECK(!mg_script_has(world.script, MG_HOOK_ROUTE, &world.call));
    world.call.workflow = MG_VIEW("x-1");
    CHECK(mg_script_has(world.script, MG_HOOK_ON_REQUEST, &world.call));
    world_close();
}

MG_TEST_MAIN()
