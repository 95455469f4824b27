/* Routing policies and failure taxonomies: the default policy, inline functions, and what bad answers lead to. */
#include "script_world.h"

#include "base/clock.h"
#include "check.h"

static struct mg_plan plan;
static struct mg_verdict verdict;

static void route(void)
{
    memset(&plan, 0xff, sizeof(plan));
    CHECK_OK(mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan));
}

static const char *targets(void)
{
    static char text[512];
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < plan.count; i++) {
        const struct mg_plan_entry *entry = &plan.entries[i];
        for (int k = 0; k < entry->choice_count; k++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", k ? "|" : i ? " " : "",
                                   world.candidates[entry->choices[k].candidate].target->id);
    }
    return text;
}

static void classify(struct mg_attempt_facts facts)
{
    static const struct mg_headers none;
    if (!facts.candidate)
        facts.candidate = &world.candidates[0];
    if (!facts.headers)
        facts.headers = &none;
    facts.number = facts.try_number = facts.tries = 1;
    memset(&verdict, 0, sizeof(verdict));
    CHECK_OK(mg_script_policy.classify(world.script, &world.call, &facts, &verdict));
}

/* --- defaults -------------------------------------------------------------------------------- */

TEST(the_default_policy_tries_the_arms_in_order)
{
    world_open("", "on_log = function() end");

    route();

    CHECK_STR(targets(), "a/one b/two a/three");
    CHECK_INT(plan.entries[0].tries, 1);
    CHECK_INT(plan.entries[2].tries, 3);
    CHECK(plan.entries[0].timeouts.connect_ms > 0 && plan.entries[0].timeouts.total_ms > 0);
    CHECK_INT(plan.deadline_ms, UINT32_MAX);
    CHECK_INT(plan.max_attempts, 4);
    CHECK_VIEW(plan.cache_key, MG_VIEW("default:chat"));
    CHECK(plan.cache_ttl_ms > 0);
    CHECK_VIEW(plan.explain, MG_VIEW("default policy: in order"));
    world_close();
}

TEST(the_default_policy_draws_by_weight_when_there_are_weights)
{
    world_open("", "on_log = function() end");
    world.candidates[0].weight = 70;
    world.candidates[1].weight = 30;
    world.candidates[2].weight = 0;

    route();

    CHECK_STR(targets(), "a/one|b/two a/one|b/two a/three");
    CHECK(plan.entries[0].pick == MG_PICK_WEIGHTED);
    CHECK(plan.entries[0].choices[0].weight == 70 && plan.entries[0].choices[1].weight == 30);
    CHECK_INT(plan.entries[2].tries, 3);
    world_close();
}

/* --- a project's own ------------------------------------------------------------------------- */

TEST(an_inline_route_makes_the_plan)
{
    world_open("route = function(req, candidates)\n"
               "  assert(req.workflow == 'chat' and #candidates == 3 and candidates['b/two'].provider == 'b')\n"
               "  return {\n"
               "    attempts = {\n"
               "      { target = 'b/two', tries = 2, timeouts_ms = { first_token = 1500 }, backoff = { base_ms = 10, max_ms = 20, jitter = 0 } },\n"
               "      { pick = 'hash', of = { { target = 'a/one' }, { target = 'a/three', weight = 3 } }, patch = { max_tokens = 5 } },\n"
               "    },\n"
               "    budget = { deadline_ms = 1000, max_attempts = 100 }, sticky = req.session,\n"
               "    cache = { key = 'k' }, on_exhausted = { status = 503, retry_after_s = 7 }, explain = 'mine',\n"
               "  }\n"
               "end",
               "");

    route();

    CHECK_STR(targets(), "b/two a/one|a/three");
    CHECK_INT(plan.entries[0].tries, 2);
    CHECK_INT(plan.entries[0].timeouts.first_token_ms, 1500);
    CHECK(plan.entries[0].timeouts.idle_ms > 0);
    CHECK_INT(plan.entries[0].backoff_base_ms, 10);
    CHECK(plan.entries[1].pick == MG_PICK_HASH && plan.entries[1].choices[1].weight == 3);
    CHECK_VIEW(plan.entries[1].patch, MG_VIEW("{\"max_tokens\":5}"));
    CHECK_INT(plan.deadline_ms, 1000);
    CHECK_INT(plan.max_attempts, 4);   /* a plan cannot widen the budget */
    CHECK_VIEW(plan.sticky, MG_VIEW("s-1"));
    CHECK_INT(plan.cache_ttl_ms, 250);
    CHECK_INT(plan.exhausted_status, 503);
    CHECK_VIEW(plan.exhausted_code, MG_VIEW("no_target"));
    CHECK_INT(plan.exhausted_retry_after_s, 7);
    CHECK_VIEW(plan.explain, MG_VIEW("mine"));
    CHECK(strstr(world_notes(), "inline:chat route"));
    CHECK(world.timeline.plugin_us > 0);
    world_close();
}

TEST(asks_workflow_then_project_then_list_then_the_default)
{
    world_file("projects/policies/route.lua", "local seen = ...\nreturn function(req, candidates)\n"
                                              "  if req.metadata.tier == 'file' then return { attempts = { { target = 'a/three' } }, explain = 'file' } end\nend\n");
    world_open("route = function(req) if req.metadata.tier == 'flow' then return { attempts = { { target = 'a/one' } }, explain = 'flow' } end end",
               "route = file 'policies/route.lua',\n"
               "plugins = { { as = 'mine', route = function(self, req)\n"
               "  self.calls = (self.calls or 0) + 1\n"
               "  if req.metadata.tier == 'list' then return { attempts = { { target = 'b/two' } }, explain = 'list ' .. self.calls } end\n"
               "end } }");
    static const struct {
        const char *metadata, *explain;
    } rows[] = {{"{\"tier\":\"flow\"}", "flow"},
                {"{\"tier\":\"file\"}", "file"},
                {"{\"tier\":\"list\"}", "list 1"},
                {"{\"tier\":\"none\"}", "default policy: in order"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world.call.metadata = mg_view_cstr(rows[i].metadata);
        route();
        CHECK_VIEW(plan.explain, mg_view_cstr(rows[i].explain));
    }
    world_close();
}

TEST(a_bad_plan_is_a_fault_with_a_sentence_and_the_default_answers)
{
    static const struct {
        const char *code, *says;
    } rows[] = {
        {"return 5", "plan must be a table, got number"},
        {"return {}", "plan: field 'attempts' must be a table, got nil"},
        {"return { attempts = {} }", "plan: attempts must have from 1 to 8 entries, got 0"},
        {"local t = {} for i = 1, 9 do t[i] = { target = 'a/one' } end return { attempts = t }", "got 9"},
        {"return { attempts = { { target = 'c/x' } } }",
         "plan: attempts[1]: no candidate is called \"c/x\"; there are a/one, b/two, a/three"},
        {"return { attempts = { { target = 'a/one' }, {} } }", "plan: attempts[2]: target must be the id of a candidate"},
        {"return { attempts = { { target = 'a/one', tires = 2 } } }", "plan: attempts[1]"},
        {"return { attempts = { { target = 'a/one', tries = 0 } } }", "tries"},
        {"return { attempts = { { target = 'a/one', hedge_after_ms = 'p99' } } }", "hedge_after_ms must be a number or \"p95\", got \"p99\""},
        {"return { attempts = { { target = 'a/one', hedge_after_ms = 0 } } }", "hedge_after_ms"},
        {"return { attempts = { { target = 'a/one', latency_bound_ms = 5 } } }", "unknown field 'latency_bound_ms'"},
        {"return { attempts = { { pick = 'p2c', latency_bound_ms = 5, of = { { target = 'a/one' } } } } }", "goes with pick = \"cheapest\""},
        {"return { attempts = { { pick = 'best', of = { { target = 'a/one' } } } } }", "pick must be"},
        {"return { attempts = { { of = { { target = 'a/one', weight = 0 } } } } }", "all weights are 0"},
        {"return { attempts = { { target = 'a/one', timeouts_ms = { frist_token = 1 } } } }", "timeouts_ms"},
        {"return { attempts = { { target = 'a/one', patch = { f = print } } } }", "plan: attempts[1]"},
        {"return { attempts = { { target = 'a/one' } }, cache = { ttl_ms = 5 } }", "plan: cache: key"},
        {"return { attempts = { { target = 'a/one' } }, budget = { max_cost = 1 } }", "plan: budget"},
        {"return { attempts = { { target = 'a/one' } }, budget = { max_hedges = 9 } }", "max_hedges"},
        {"return nil, 'no idea'", "no idea"},
        {"error('boom')", "test.lua:4: boom"},
        {"local x = nil return x.y", "attempt to index local 'x'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char code[512];
        snprintf(code, sizeof(code), "route = function(req, candidates) %s end", rows[i].code);
        world_open(code, "");
        route();
        CHECK_STR(targets(), "a/one b/two a/three");
        if (!strstr(world_notes(), rows[i].says))
            check_failed(__FILE__, __LINE__, "%s: notes are %s", rows[i].code, world_notes());
        world_close();
    }
}

TEST(an_inline_classify_decides_and_may_pass)
{
    world_open("classify = function(att)\n"
               "  if att.status == 418 then return { class = 'overloaded', delay_ms = 5, action = 'retry', explain = 'teapot' } end\n"
               "  if att.status == 451 then return { class = 'content_filter', action = 'fail', client = { status = 451, code = 'law', message = 'no' } } end\n"
               "  if att.status == 500 then return { action = 'fallback' } end\n"
               "  if att.status == 599 then return { class = 'nonsense' } end\n"
               "end",
               "");

    classify((struct mg_attempt_facts){.hint = MG_CLASS_server_error, .status = 418});
    CHECK(verdict.class_ == MG_CLASS_overloaded && verdict.action == MG_ACTION_retry && verdict.delay_ms == 5);
    CHECK_VIEW(verdict.explain, MG_VIEW("teapot"));
    classify((struct mg_attempt_facts){.hint = MG_CLASS_server_error, .status = 451});
    CHECK(verdict.action == MG_ACTION_fail && verdict.client_status == 451);
    CHECK_VIEW(verdict.client_code, MG_VIEW("law"));
    classify((struct mg_attempt_facts){.hint = MG_CLASS_server_error, .status = 500});
    CHECK(verdict.class_ == MG_CLASS_server_error && verdict.action == MG_ACTION_fallback);
    classify((struct mg_attempt_facts){.hint = MG_CLASS_auth, .status = 401});
    CHECK(verdict.class_ == MG_CLASS_auth && verdict.action == MG_ACTION_next_key);
    classify((struct mg_attempt_facts){.hint = MG_CLASS_network, .status = 599});
    CHECK(verdict.class_ == MG_CLASS_network && verdict.action == MG_ACTION_retry);
    CHECK(strstr(world_notes(), "there is no class \"nonsense\""));
    world_close();
}

TEST(on_attempt_patches_model_parameters_and_headers)
{
    struct mg_attempt_patch patch = {.header_count = 0};
    world_open("", "on_attempt = function(req, att)\n"
                   "  return { model = 'three', params = { temperature = 0, user = 'x' }, headers = { ['x-team'] = 'blue' } }\n"
                   "end,\n"
                   "plugins = {\n"
                   "  { as = 'second', on_attempt = function(self, req, att) return { params = { temperature = 1 } } end },\n"
                   "  { as = 'thief', on_attempt = function(self, req, att) return { headers = { authorization = 'mine' } } end },\n"
                   "  { as = 'stray', on_attempt = function(self, req, att) return { model = 'two' } end },\n"
                   "}");
    struct mg_attempt_facts facts = {.candidate = &world.candidates[0], .number = 1, .try_number = 1, .tries = 1};

    CHECK_OK(mg_script_policy.on_attempt(world.script, &world.call, &facts, &patch));

    CHECK_VIEW(patch.model, MG_VIEW("three"));
    CHECK_VIEW(patch.params, MG_VIEW("{\"temperature\":1,\"user\":\"x\"}"));
    CHECK_INT(patch.header_count, 1);
    CHECK_VIEW(patch.headers[0].name, MG_VIEW("x-team"));
    CHECK(strstr(world_notes(), "thief on_attempt") && strstr(world_notes(), "may not be set here"));
    CHECK(strstr(world_notes(), "no target with the model \"two\""));
    world_close();
}

TEST(on_log_edits_or_drops_what_is_kept)
{
    world_open("", "on_log = function(rec) if rec.metadata.tier == 'secret' then return false end end");

    CHECK(mg_script_on_log(world.script, &world.call));
    world.call.metadata = world.timeline.metadata = MG_VIEW("{\"tier\":\"secret\"}");
    CHECK(!mg_script_on_log(world.script, &world.call));
    world_close();
}

TEST(what_on_log_could_not_look_at_is_not_kept)
{
    world_open("", "on_log = function(rec) error 'x' end");
    CHECK(!mg_script_on_log(world.script, &world.call));
    world_close();

    world_open("", "on_log = function(rec) error 'x' end, inline = { fail = { on_log = 'open' } }");
    CHECK(mg_script_on_log(world.script, &world.call));
    world_close();
}

/* --- faults ---------------------------------------------------------------------------------- */

TEST(a_runaway_policy_ends_and_taints_the_state)
{
    world_open("route = function() while true do pcall(function() while true do end end) end end", "");

    route();

    CHECK_STR(targets(), "a/one b/two a/three");
    CHECK(strstr(world_notes(), "ran past its deadline at projects/test.lua:"));
    CHECK(mg_script_tainted(world.script));
    route();                           /* and it still answers */
    CHECK_STR(targets(), "a/one b/two a/three");
    world_close();
}

TEST(an_instance_that_fails_five_times_is_left_alone_for_a_while)
{
    uint64_t start_us = 1000000000;
    mg_clock_fake(start_us);
    world_open("", "plugins = { { as = 'bad', route = function(self) self.n = (self.n or 0) + 1 if self.n ~= 7 then error('n is ' .. self.n) end end } }");
    for (int i = 0; i < 20; i++) {
        route();
        mg_clock_fake(start_us += 1000);
        mg_loop_turn(&world.loop, 0);
    }
    CHECK(strstr(world_notes(), "n is 5"));
    CHECK(!strstr(world_notes(), "n is 6"));

    mg_clock_fake(start_us += 31000000);
    mg_loop_turn(&world.loop, 0);
    route();                           /* the trial fails: twice as long */
    CHECK(strstr(world_notes(), "n is 6"));
    mg_clock_fake(start_us += 31000000);
    mg_loop_turn(&world.loop, 0);
    world.timeline.note_bytes = 0;
    route();
    CHECK_STR(world_notes(), "");

    mg_clock_fake(start_us += 30000000);
    mg_loop_turn(&world.loop, 0);
    route();                           /* the second trial goes well: healthy again */
    CHECK(strstr(world_notes(), "bad route"));
    world.timeline.note_bytes = 0;
    route();
    CHECK(strstr(world_notes(), "n is 8"));
    route();
    CHECK(strstr(world_notes(), "n is 9"));
    mg_clock_fake(0);
    world_close();
}

TEST(views_do_not_outlive_the_call)
{
    world_open("route = function(req, candidates)\n"
               "  if kept then local ok, why = pcall(function() return kept.workflow end) error(why, 0) end\n"
               "  kept = req\n"
               "end",
               "");
    route();
    CHECK(!strstr(world_notes(), "finished"));
    route();
    CHECK(strstr(world_notes(), "request is finished"));
    world_close();
}

MG_TEST_MAIN()
