/* lua_bench.c - what Lua costs: states, and one call of each kind of hook.
 *
 * usage: lua_bench [ROUNDS]   Prints the least of ROUNDS (7) timings of each, in nanoseconds. */
#include <stdio.h>

#include "base/clock.h"
#include "check.h"
#include "script/enter.h"
#include "script/instance.h"
#include "script/sandbox.h"
#include "script_world.h"

static int rounds = 7;

static double best(void (*fn)(int calls), int calls)
{
    double least = 1e18;
    for (int i = 0; i < rounds; i++) {
        uint64_t began_us = mg_mono_us();
        fn(calls);
        double ns = (double)(mg_mono_us() - began_us) * 1000 / calls;
        least = ns < least ? ns : least;
    }
    return least;
}

static void print(const char *what, double ns)
{
    printf("%-58s %10.0f ns\n", what, ns);
}

static int nothing(lua_State *L)
{
    (void)L;
    return 0;
}

static void enter_empty(int calls)
{
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_route};
    for (int i = 0; i < calls; i++)
        if (mg_lua_enter(&world.script->lua, &run, 2000, nothing, NULL) != MG_LUA_ENDED)
            abort();
}

static void route(int calls)
{
    static struct mg_plan plan;
    for (int i = 0; i < calls; i++) {
        if (mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan) != MG_OK)
            abort();
        world.timeline.note_bytes = 0;
    }
    mg_arena_reset(&world.arena);
    world_request("{\"model\":\"chat\",\"messages\":[],\"stream\":true}");
}

static void route_default(int calls)
{
    static struct mg_plan plan;
    for (int i = 0; i < calls; i++)
        if (mg_trusted_policy.route(world.trusted, &world.call, world.candidates, world.candidate_count, &plan) != MG_OK)
            abort();
    world_request("{\"model\":\"chat\",\"messages\":[],\"stream\":true}");
}

static void classify(int calls)
{
    static const struct mg_headers none;
    struct mg_attempt_facts facts = {.candidate = &world.candidates[0], .headers = &none, .hint = MG_CLASS_network, .number = 1};
    static struct mg_verdict verdict;
    for (int i = 0; i < calls; i++) {
        if (mg_script_policy.classify(world.script, &world.call, &facts, &verdict) != MG_OK)
            abort();
        world.timeline.note_bytes = 0;
    }
    world_request("{\"model\":\"chat\",\"messages\":[],\"stream\":true}");
}

static void on_request(int calls)
{
    for (int i = 0; i < calls; i++) {
        world_on_request();
        world.timeline.note_bytes = 0;
    }
}

static void on_chunk(int calls)
{
    struct mg_filter *filter = mg_filter_new(world.script, &world.call);
    struct mg_hook_outcome outcome;
    mg_view out;
    for (int i = 0; i < calls; i++)
        if (mg_filter_feed(filter, 0, MG_CHANNEL_CONTENT,
                           MG_VIEW("sixty-four bytes of text, so that each of them is one call, yes."), false, &out, &outcome) != MG_OK)
            abort();
    world_request("{\"model\":\"chat\",\"messages\":[],\"stream\":true}");
}

static void open_state(int calls)
{
    for (int i = 0; i < calls; i++) {
        struct mg_lua lua = {.kind = MG_LUA_PROJECT};
        if (mg_sandbox_open(&lua, "bench", NULL) != MG_OK)
            abort();
        mg_sandbox_close(&lua);
    }
}

static void build_script(int calls)
{
    for (int i = 0; i < calls; i++) {
        struct mg_script *script;
        if (mg_script_build(world.config, &script, NULL) != MG_OK)
            abort();
        mg_script_free(script);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = (int)strtol(argv[1], NULL, 10);
    if (rounds < 1 || setjmp(check_abort) != 0)
        return 1;
    world_open("route = function(req, candidates)\n"
               "  local best\n"
               "  for _, candidate in ipairs(candidates) do\n"
               "    if not best or candidate.inflight < best.inflight then best = candidate end\n"
               "  end\n"
               "  return { attempts = { { target = best.id }, { target = candidates[1].id } }, explain = req.workflow }\n"
               "end,\n"
               "classify = function(att) if att.status == 418 then return { class = 'overloaded' } end end,\n"
               "on_request = function(req) if req.metadata.tier == 'none' then return req:deny {} end end,\n"
               "on_chunk = function(c) end, stream = { hold = 8 }",
               "");
    print("enter and leave, nothing inside", best(enter_empty, 200000));
    print("route: a policy over three candidates, JIT off", best(route, 20000));
    print("route: the default policy, JIT on", best(route_default, 20000));
    print("classify: passes, then the default taxonomy", best(classify, 50000));
    print("on_request: a coroutine that reads one field", best(on_request, 50000));
    print("on_chunk: 64 bytes, window of 8", best(on_chunk, 50000));
    print("state: sandbox opened and closed", best(open_state, 100));
    print("state: project with one workflow's functions", best(build_script, 100));
    lua_gc(world.script->lua.L, LUA_GCCOLLECT, 0);
    printf("%-58s %10zu bytes\n", "memory of that state", world.script->lua.used_bytes);
    world_close();
    return 0;
}
