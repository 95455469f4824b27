/* How policies choose, hedge and punish: the default's rules for each `balance`, and what a project's own may say. */
#include "script_world.h"

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
    facts.candidate = &world.candidates[0];
    facts.headers = &none;
    facts.number = facts.try_number = facts.tries = 1;
    memset(&verdict, 0, sizeof(verdict));
    CHECK_OK(mg_script_policy.classify(world.script, &world.call, &facts, &verdict));
}

/* --- the default policy ---------------------------------------------------------------------- */

TEST(the_default_policy_obeys_every_balance)
{
    static const struct {
        const char *flow, *targets, *explain;
        enum mg_pick pick;
    } rows[] = {
        {"balance = 'order'", "a/one b/two a/three", "default policy: in order", MG_PICK_WEIGHTED},
        {"balance = 'weighted'", "a/one|b/two|a/three a/one|b/two|a/three a/one|b/two|a/three", "default policy: drawn by weight", MG_PICK_WEIGHTED},
        {"balance = 'least_inflight'", "a/one|b/two|a/three a/one|b/two|a/three a/one|b/two|a/three", "default policy: the least busy", MG_PICK_LEAST_INFLIGHT},
        {"balance = 'p2c'", "a/one|b/two|a/three a/one|b/two|a/three a/one|b/two|a/three", "default policy: the faster of two", MG_PICK_P2C},
        {"balance = 'sticky'", "a/one|b/two|a/three a/one|b/two|a/three a/one|b/two|a/three", "default policy: by session", MG_PICK_HASH},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_open(rows[i].flow, "on_log = function() end");
        route();
        CHECK_STR(targets(), rows[i].targets);
        CHECK_VIEW(plan.explain, mg_view_cstr(rows[i].explain));
        CHECK_INT(plan.entries[0].pick, rows[i].pick);
        CHECK_INT(plan.entries[0].tries, 1);
        CHECK_INT(plan.entries[2].tries, 3);
        CHECK_INT(plan.entries[0].hedge_after_ms, 0);
        CHECK_VIEW(plan.cache_key, MG_VIEW("default:chat"));
        world_close();
    }
}

TEST(the_cheapest_are_bound_by_latency_and_an_arm_without_weight_comes_last)
{
    world_file("projects/cheap.lua", "return { providers = { a = { kind = 'simulated' } }, on_log = function() end, workflows = { chat = {\n"
                                     "  { 'a/one', price_usd = { input = 2 } }, 'a/two', { 'a/three', weight = 0 }, balance = 'cheapest', latency_bound_ms = 1500 } } }");
    CHECK(world_open_file("projects/cheap.lua"));

    route();

    CHECK_STR(targets(), "a/one|a/two a/one|a/two a/three");
    CHECK_INT(plan.entries[0].pick, MG_PICK_CHEAPEST);
    CHECK_INT(plan.entries[0].latency_bound_ms, 1500);
    CHECK_INT(plan.entries[1].latency_bound_ms, 1500);
    CHECK_INT(plan.entries[2].latency_bound_ms, 0);
    world_close();
}

TEST(more_targets_than_a_group_holds_are_still_reached)
{
    char text[2048] = "return { providers = { a = { kind = 'simulated' } }, on_log = function() end, workflows = { chat = { balance = 'p2c'";
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), ", 'a/m%d'", i);
    strcat(text, " } } }");
    world_file("projects/many.lua", text);
    CHECK(world_open_file("projects/many.lua"));

    route();

    CHECK_INT(plan.count, 8);
    CHECK_INT(plan.entries[0].choice_count, 16);
    CHECK_INT(plan.entries[7].choice_count, 1);
    CHECK_INT(plan.entries[7].choices[0].candidate, 19);
    world_close();
}

TEST(the_default_policy_hedges_every_entry_but_the_last)
{
    world_open("hedge = { after_ms = 'p95', max = 2 }", "on_log = function() end");
    route();
    CHECK(plan.entries[0].hedge_after_ms == MG_HEDGE_P95 && plan.entries[1].hedge_after_ms == MG_HEDGE_P95);
    CHECK_INT(plan.entries[2].hedge_after_ms, 0);
    CHECK_INT(plan.max_hedges, 2);
    world_close();

    world_open("hedge = 700", "on_log = function() end");
    route();
    CHECK_INT(plan.entries[0].hedge_after_ms, 700);
    CHECK_INT(plan.max_hedges, 1);
    world_close();
}

TEST(a_call_of_which_no_workflow_is_known_is_routed_in_order)
{
    world_open("balance = 'p2c'", "on_log = function() end");
    world.call.flow = NULL;

    route();

    CHECK_STR(targets(), "a/one b/two a/three");
    world_close();
}

/* --- a project's own ------------------------------------------------------------------------- */

TEST(a_route_sees_what_the_workflow_says_and_what_targets_cost)
{
    world_file("projects/own.lua",
               "return { providers = { a = { kind = 'simulated' } }, workflows = { chat = {\n"
               "  { 'a/one', price_usd = { input = 2.5, output = 10 }, prefill = true }, { 'a/two', price_usd = { input = 1 } }, balance = 'cheapest',\n"
               "  latency_bound_ms = 900, hedge = { after_ms = 300, max = 3 }, max_cost_usd = 0.5,\n"
               "  route = function(req, candidates, flow)\n"
               "    assert(flow.balance == 'cheapest' and flow.latency_bound_ms == 900 and flow.hedge_after_ms == 300 and flow.max_hedges == 3)\n"
               "    assert(flow.max_attempts == 4 and flow.max_cost_microusd == 500000)\n"
               "    local one, two = candidates['a/one'], candidates['a/two']\n"
               "    assert(one.price_in_microusd == 2500000 and one.price_out_microusd == 10000000 and one.prefill == true)\n"
               "    assert(two.price_out_microusd == 1000000 and two.prefill == false and one.state == 'closed')\n"
               "    return { explain = 'mine', budget = { max_cost_microusd = 1000, max_hedges = 0 }, attempts = {\n"
               "      { pick = 'cheapest', latency_bound_ms = 500, of = { { target = one.id }, { target = two.id } }, hedge_after_ms = 'p95' },\n"
               "      { pick = 'p2c', of = { { target = one.id }, { target = two.id } }, hedge_after_ms = 250 } } }\n"
               "  end } } }");
    CHECK(world_open_file("projects/own.lua"));

    route();

    CHECK_VIEW(plan.explain, MG_VIEW("mine"));
    CHECK_INT(plan.entries[0].pick, MG_PICK_CHEAPEST);
    CHECK_INT(plan.entries[0].latency_bound_ms, 500);
    CHECK(plan.entries[0].hedge_after_ms == MG_HEDGE_P95);
    CHECK_INT(plan.entries[1].pick, MG_PICK_P2C);
    CHECK_INT(plan.entries[1].hedge_after_ms, 250);
    CHECK_INT(plan.max_hedges, 0);
    CHECK_INT(plan.max_cost_microusd, 1000);
    world_close();
}

TEST(a_price_that_is_not_known_is_nil)
{
    world_open("route = function(req, candidates) assert(candidates[1].price_in_microusd == nil and candidates[1].price_out_microusd == nil)\n"
               "  return { attempts = { { target = 'b/two' } } } end", "");
    route();
    CHECK_STR(targets(), "b/two");
    CHECK_INT(plan.max_hedges, 1);
    CHECK_INT(plan.max_cost_microusd, 0);
    world_close();
}

TEST(a_verdict_takes_another_key_repairs_and_punishes)
{
    world_open("classify = function(att)\n"
               "  if att.status == 429 then\n"
               "    assert(att.credential == 'spare' and att.tokens_in == 1200 and att.context_window == nil and att.larger_window_left and not att.repeatable)\n"
               "    return { class = 'rate_limited', action = 'next_key', penalise = { scope = 'credential_model', for_ms = 20000, weight = 0, reason = '429' } }\n"
               "  end\n"
               "  return { class = 'invalid_request', action = 'retry', repair = att.repair, penalise = { weight = 0.25 } }\n"
               "end", "");

    classify((struct mg_attempt_facts){.hint = MG_CLASS_rate_limited, .status = 429, .credential = MG_VIEW("spare"), .tokens_in = 1200,
                                       .larger_window_left = true});
    CHECK_INT(verdict.action, MG_ACTION_next_key);
    CHECK_INT(verdict.penalise.scope, MG_PENALTY_CREDENTIAL_MODEL);
    CHECK_INT(verdict.penalise.for_ms, 20000);
    CHECK(verdict.penalise.weight == 0);
    CHECK_VIEW(verdict.penalise.reason, MG_VIEW("429"));

    classify((struct mg_attempt_facts){.hint = MG_CLASS_invalid_request, .status = 400, .repair = MG_VIEW("max_completion_tokens")});
    CHECK_VIEW(verdict.repair, MG_VIEW("max_completion_tokens"));
    CHECK_INT(verdict.penalise.scope, MG_PENALTY_TARGET);
    CHECK_INT(verdict.penalise.for_ms, 0);
    CHECK(verdict.penalise.weight == 0.25);
    world_close();
}

TEST(a_verdict_that_punishes_nobody_leaves_the_weight_to_the_class)
{
    world_open("classify = function(att) return { action = 'fallback' } end", "");
    classify((struct mg_attempt_facts){.hint = MG_CLASS_server_error, .status = 500});
    CHECK_INT(verdict.penalise.scope, MG_PENALTY_NONE);
    CHECK(verdict.penalise.weight < 0);
    world_close();
}

TEST(a_bad_verdict_is_a_fault_with_a_sentence)
{
    static const struct {
        const char *code, *says;
    } rows[] = {
        {"return { billable = false }", "verdict: billable: what an attempt cost follows from the usage"},
        {"return { action = 'nextkey' }", "\"next_key\" or \"fail\", got \"nextkey\""},
        {"return { action = 'fallback', repair = 'x' }", "verdict: repair goes with action = \"retry\""},
        {"return { penalise = { scope = 'world' } }", "verdict: penalise: scope must be \"target\", \"provider\""},
        {"return { penalise = { for_ms = 600001 } }", "for_ms"},
        {"return { penalise = { weight = 1.5 } }", "verdict: penalise: weight must be from 0 to 1"},
        {"return { penalise = { weight = -1 } }", "verdict: penalise: weight must be from 0 to 1"},
        {"return { penalise = 'target' }", "penalise"},
        {"return { penalise = { until_ms = 1 } }", "until_ms"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char code[512];
        snprintf(code, sizeof(code), "classify = function(att) %s end", rows[i].code);
        world_open(code, "");
        classify((struct mg_attempt_facts){.hint = MG_CLASS_timeout_idle, .status = 200});
        CHECK_INT(verdict.class_, MG_CLASS_timeout_idle);
        if (!strstr(world_notes(), rows[i].says))
            check_failed(__FILE__, __LINE__, "%s: notes are %s", rows[i].code, world_notes());
        world_close();
    }
}

MG_TEST_MAIN()
