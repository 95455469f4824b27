/* Every module and view, with each allocation of Lua failing in turn, and with deadlines that fall at any moment. What
 * matters is what does not happen: no crash, no leak, no lock left behind, and the state works afterwards. */
#include "api.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"

static struct api api;

static const char *const setup =
    "keep.re = moongate.re.compile 'sk-[a-z0-9]+' keep.matcher = moongate.text.matcher { 'word' } "
    "keep.redactor = moongate.text.redactor { patterns = { key = 'sk-[a-z0-9]+' }, words = { 'brief' } }";

static const char *const snippets[] = {
    "local t = moongate.json.decode '{\"a\":[1,{\"b\":\"c\\\\u00e9\"},[]],\"d\":null}' return moongate.json.encode(t)",
    "return moongate.json.encode { b = { 1, 2, { c = moongate.json.array() } }, a = 'x', [('k'):rep(50)] = 1.5 }",
    "return moongate.json.patch('{\"a\":{\"b\":1},\"c\":2}', { ['a.b'] = { 1 }, ['a.x'] = 'y' }, { 'c' })",
    "return moongate.kv.set('t', 'value'), moongate.kv.get 't', moongate.kv.incr 'n', #moongate.kv.scan '', moongate.kv.del 't'",
    "return moongate.kv.cas('u', nil, 1), moongate.kv.cas('u', 1, nil), moongate.kv.get 'shared:x'",
    "return keep.re:gsub('a sk-abc b sk-d', function(m) return '<' .. m .. '>' end)",
    "return #keep.re:matches 'sk-a sk-b', keep.re:match 'sk-a', keep.re:find 'sk-a', keep.re:test 'x'",
    "return keep.redactor:redact 'a brief sk-abc text'",
    "return keep.matcher:find 'a word', keep.matcher:count 'word word', keep.matcher:test 'x'",
    "local c = moongate.crypto return c.hex(c.sha256 'x'), c.unbase64(c.base64 'abc'), c.unhex '6162', c.uuid(), #c.random(8)",
    "local c = moongate.crypto return c.hmac('sha256', 'k', 'd'), c.equal('a', 'b'), c.unbase64 '?'",
    "return moongate.time.format(0), moongate.time.parse 'x', moongate.time.cron_next('@daily', 0)",
    "return moongate.text.truncate('abc', 2), moongate.text.utf8.sub('abc', 2), moongate.text.count_tokens('m', 'abc')",
    "return moongate.stats.target('a/b').calls",
    "moongate.log.debug('x', { a = 1, b = { 2 } })",
    "return req.id, req.workflow, req.metadata.tier, req.headers['x-team'], req.params.stop[1], req.tools[1].type",
    "local out = {} for i, m in ipairs(req.messages) do out[i] = m.role .. m:text() .. m.hash end return #out",
    "return candidates['local/qwen'].id, candidates[1].p95_ms, #candidates, tostring(candidates[1])",
    "return att.error.message, att.headers['retry-after'], att.body_head, att.hint",
    "return rec.metadata.team, rec.attempts[1].usage.input_tokens, rec.notes",
};
static const char *const edits[] = {
    "req.messages:set(2, 'new') req.messages:append_system 'more' req.params.x = { 1 }",
    "req.messages:insert(1, { role = 'user', text = 'x' }) req.messages:remove(1)",
    "return req:respond { body = { a = { 1 } } }",
    "return req:deny { code = 'x', message = 'y' }",
};
static const char *const build[] = {
    "return moongate.re.compile 'abc+' ~= nil",
    "return moongate.text.redactor { patterns = { a = 'x+', b = 'y' }, words = { 'z' }, mask = { a = '1' } } ~= nil",
    "return moongate.text.matcher { 'q', 'r' } ~= nil",
};

/* Fails the 1st, the 2nd, … allocation until the snippet gets through. */
static void starve(enum mg_lua_phase phase, const char *code)
{
    bool through = false;
    for (int nth = 1; !through; nth++) {
        mg_fault_arm(MG_FAULT_LUA_ALLOC, nth);
        const char *got = api_run(&api, phase, code);
        through = mg_fault_armed[MG_FAULT_LUA_ALLOC] > 0;
        mg_fault_arm(MG_FAULT_LUA_ALLOC, 0);
        if (!through && !strstr(got, "error: "))
            check_failed(__FILE__, __LINE__, "allocation %d failed unnoticed: %s\n  %s", nth, code, got);
        if (through && strstr(got, "error: "))
            check_failed(__FILE__, __LINE__, "%s\n  %s", code, got);
        CHECK(nth < 20000);
    }
}

TEST(every_allocation_may_fail)
{
    api_open(&api);
    api.instance.name = "torture";
    CHECK_STR(api_run(&api, MG_LUA_PHASE_new, setup), "");
    for (size_t i = 0; i < MG_COUNT(snippets); i++)
        starve(MG_LUA_PHASE_route, snippets[i]);
    for (size_t i = 0; i < MG_COUNT(edits); i++)
        starve(MG_LUA_PHASE_on_request, edits[i]);
    for (size_t i = 0; i < MG_COUNT(build); i++)
        starve(MG_LUA_PHASE_new, build[i]);
    CHECK_STR(api_run(&api, MG_LUA_PHASE_route, "return moongate.json.encode { 1 }"), "[1]");
    api_close(&api);
}

TEST(a_deadline_may_fall_anywhere)
{
    char code[1024];
    api_open(&api);
    api.instance.name = "torture";
    mg_log_level(MG_LOG_OFF);
    CHECK_STR(api_run(&api, MG_LUA_PHASE_new, setup), "");
    for (size_t i = 0; i < MG_COUNT(snippets); i++) {
        snprintf(code, sizeof code, "local f = function() %s end while true do pcall(f) end", snippets[i]);
        for (uint32_t budget_us = 300; budget_us < 2500; budget_us += 237) {
            api.budget_us = budget_us;
            const char *got = api_run(&api, MG_LUA_PHASE_route, code);
            if (!strstr(got, "deadline"))
                check_failed(__FILE__, __LINE__, "%s\n  %s", code, got);
        }
    }
    api.budget_us = 0;
    CHECK_STR(api_run(&api, MG_LUA_PHASE_route, "return moongate.json.encode { 1 }, moongate.kv.get 'nothing'"), "[1],nil");
    api_close(&api);
    mg_log_level(MG_LOG_INFO);
}

/* One long call each: C that does not look at the clock would be late by far more than this. */
TEST(long_calls_look_at_the_deadline)
{
    static const char *const calls[] = {
        "return moongate.json.encode(keep.list)",
        "return moongate.json.decode(keep.json)",
        "return moongate.crypto.sha256(keep.text)",
        "return moongate.text.utf8.len(keep.text)",
        "return moongate.text.count_tokens('m', keep.text)",
        "return keep.redactor:redact(keep.text)",
        "return moongate.json.patch(keep.json, { ['[*].a'] = 1 })",
    };
    char code[256];
    api_open(&api);
    api_run(&api, MG_LUA_PHASE_new, setup);
    CHECK_STR(api_run(&api, MG_LUA_PHASE_new,
                      "keep.text = ('x sk-a '):rep(150000) keep.list = {} for i = 1, 60000 do keep.list[i] = i end "
                      "keep.json = moongate.json.encode(keep.list)"), "");
    mg_log_level(MG_LOG_OFF);
    for (size_t i = 0; i < MG_COUNT(calls); i++) {
        snprintf(code, sizeof code, "while true do pcall(function() %s end) end", calls[i]);
        api.budget_us = 1000;
        uint64_t began_us = mg_thread_cpu_us();
        api_run(&api, MG_LUA_PHASE_route, code);
        uint64_t took_us = mg_thread_cpu_us() - began_us;
        if (took_us > 150000)
            check_failed(__FILE__, __LINE__, "%s took %llu us", calls[i], (unsigned long long)took_us);
        if (getenv("VERBOSE"))
            printf("  %-60s %llu us\n", calls[i], (unsigned long long)took_us);
    }
    api_close(&api);
    mg_log_level(MG_LOG_INFO);
}

MG_TEST_MAIN()
