#include "script/view_class.h"

#include "base/mem.h"
#include "config/config.h"
#include "relay/rates.h"
#include "relay/stats.h"

/* The metatable of the candidates' list stands in the registry under this number. */
enum { LIST_META = 0x6d670003 };

static const struct mg_candidate *candidate_of(const struct mg_lua_view *view)
{
    return view->thing;
}

/* ---- candidates */

/* candidates["openai/gpt-5"]: the list is short, so it is searched; an index built per call would cost more. */
static int list_index(lua_State *L)
{
    size_t len = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *id = lua_tolstring(L, 2, &len);
    for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
        lua_rawgeti(L, 1, i);
        const struct mg_lua_view *view = mg_view_self(L, -1, MG_VIEW_candidate, "candidates");
        if (mg_view_eq(mg_view_cstr(candidate_of(view)->target->id), mg_view_of(id, len)))
            return 1;
        lua_pop(L, 1);
    }
    return 0;
}

static void push_list_metatable(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LIST_META);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, list_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LIST_META);
}

/* The call is that of the run: routing has no other. */
void mg_lua_push_candidates(lua_State *L, const struct mg_candidate *candidates, int count)
{
    struct mg_call *call = mg_lua_of(L)->run->call;
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        mg_view_push(L, MG_VIEW_candidate, call, &candidates[i], (uint32_t)i);
        lua_rawseti(L, -2, i + 1);
    }
    push_list_metatable(L);
    lua_setmetatable(L, -2);
}

static struct mg_stats_figures figures_of(const struct mg_lua_view *view)
{
    struct mg_stats_figures figures;
    mg_view id = mg_view_cstr(candidate_of(view)->target->id);
    mg_stats_read(mg_stats_peek(view->call->project, id), &figures);
    return figures;
}

static int push_count(lua_State *L, uint64_t count)
{
    lua_pushnumber(L, (double)count);
    return 1;
}

static int push_known(lua_State *L, uint64_t count)
{
    if (count == 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (double)count);
    return 1;
}

static int push_ms(lua_State *L, uint64_t us)
{
    lua_pushnumber(L, (double)us / 1000.0);
    return 1;
}

static int get_id(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->target->id);
}

static int get_provider(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->provider);
}

static int get_model(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->target->model);
}

static int get_arm(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->arm);
}

static int get_region(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->target->region);
}

static int get_weight(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, candidate_of(view)->weight);
    return 1;
}

static int get_context_window(lua_State *L, const struct mg_lua_view *view)
{
    return push_known(L, candidate_of(view)->target->context_window);
}

static int get_max_output(lua_State *L, const struct mg_lua_view *view)
{
    return push_known(L, candidate_of(view)->target->max_output);
}

static int get_inflight(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, candidate_of(view)->inflight);
}

static int get_ewma_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_ms(L, candidate_of(view)->ewma_us);
}

static int get_err_rate(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, candidate_of(view)->error_rate);
    return 1;
}

static int get_p50_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_ms(L, figures_of(view).p50_us);
}

static int get_p95_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_ms(L, figures_of(view).p95_us);
}

static int get_p99_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_ms(L, figures_of(view).p99_us);
}

static int get_rate_limit_remaining(lua_State *L, const struct mg_lua_view *view)
{
    struct mg_stats_figures figures = figures_of(view);
    if (!figures.rate_limit_known)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (double)figures.rate_limit_remaining);
    return 1;
}

/* Prices of a target whose price is not known are nil. */
static int push_price(lua_State *L, const struct mg_lua_view *view, bool of_input)
{
    struct mg_candidate candidate = *candidate_of(view);
    double in, out;
    if (mg_candidate_rates(&candidate, view->call, &in, &out))
        lua_pushnumber(L, of_input ? in : out);
    else
        lua_pushnil(L);
    return 1;
}

static int get_price_in(lua_State *L, const struct mg_lua_view *view)
{
    return push_price(L, view, true);
}

static int get_price_out(lua_State *L, const struct mg_lua_view *view)
{
    return push_price(L, view, false);
}

static int get_prefill(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, candidate_of(view)->target->prefill);
    return 1;
}

static int get_state(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, candidate_of(view)->state);
}

static const struct mg_view_field candidate_fields[] = {
    {"id", get_id, NULL},
    {"provider", get_provider, NULL},
    {"model", get_model, NULL},
    {"arm", get_arm, NULL},
    {"weight", get_weight, NULL},
    {"region", get_region, NULL},
    {"context_window", get_context_window, NULL},
    {"max_output", get_max_output, NULL},
    {"prefill", get_prefill, NULL},
    {"price_in_microusd", get_price_in, NULL},
    {"price_out_microusd", get_price_out, NULL},
    {"inflight", get_inflight, NULL},
    {"ewma_ms", get_ewma_ms, NULL},
    {"p50_ms", get_p50_ms, NULL},
    {"p95_ms", get_p95_ms, NULL},
    {"p99_ms", get_p99_ms, NULL},
    {"err_rate", get_err_rate, NULL},
    {"rate_limit_remaining", get_rate_limit_remaining, NULL},
    {"state", get_state, NULL},
    {NULL, NULL, NULL},
};
const struct mg_view_class mg_view_candidate = {
    "moongate.Candidate", "candidate", candidate_fields, NULL, NULL, NULL, NULL};

/* ---- flow */

static const char *balance_name(enum mg_config_balance balance)
{
    static const char *const names[] = {
        [MG_BALANCE_AUTO] = "auto",
        [MG_BALANCE_ORDER] = "order",
        [MG_BALANCE_WEIGHTED] = "weighted",
        [MG_BALANCE_LEAST_INFLIGHT] = "least_inflight",
        [MG_BALANCE_P2C] = "p2c",
        [MG_BALANCE_STICKY] = "sticky",
        [MG_BALANCE_CHEAPEST] = "cheapest",
    };
    return names[balance];
}

static void set_known(lua_State *L, const char *name, uint64_t value)
{
    push_known(L, value);
    lua_setfield(L, -2, name);
}

void mg_lua_push_flow(lua_State *L, const struct mg_call *call)
{
    static const struct mg_config_workflow unknown = {.max_hedges = 1};
    const struct mg_config_workflow *flow = call->flow ? call->flow : &unknown;
    lua_createtable(L, 0, 6);
    lua_pushstring(L, balance_name(flow->balance));
    lua_setfield(L, -2, "balance");
    set_known(L, "latency_bound_ms", flow->latency_bound_ms);
    if (flow->hedge_after_ms == MG_HEDGE_P95)
        lua_pushliteral(L, "p95");
    else
        push_known(L, flow->hedge_after_ms);
    lua_setfield(L, -2, "hedge_after_ms");
    push_count(L, flow->max_hedges);
    lua_setfield(L, -2, "max_hedges");
    push_count(L, call->default_max_attempts);
    lua_setfield(L, -2, "max_attempts");
    set_known(L, "max_cost_microusd", flow->max_cost_microusd);
}

/* ---- att */

void mg_lua_push_attempt(lua_State *L, struct mg_call *call, const struct mg_attempt_facts *facts)
{
    mg_view_push(L, MG_VIEW_attempt, call, facts, 0);
}

static const struct mg_attempt_facts *facts_of(const struct mg_lua_view *view)
{
    return view->thing;
}

static int att_target(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->candidate->target->id);
}

static int att_provider(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->candidate->provider);
}

static int att_model(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, facts_of(view)->model);
}

static int att_arm(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->candidate->arm);
}

static int att_workflow(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, view->call->workflow);
}

static int att_n(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->number);
}

static int att_try(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->try_number);
}

static int att_tries(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->tries);
}

static int att_reason(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, mg_reason_name(facts_of(view)->reason));
}

static int att_phase(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->phase);
}

static int att_timeout(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->timeout);
}

static int att_transport(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, facts_of(view)->transport);
}

static int att_status(lua_State *L, const struct mg_lua_view *view)
{
    return push_known(L, (uint64_t)facts_of(view)->status);
}

static int att_headers(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_push(L, MG_VIEW_headers, view->call, facts_of(view)->headers, 0);
    return 1;
}

static int att_error(lua_State *L, const struct mg_lua_view *view)
{
    const struct mg_attempt_facts *facts = facts_of(view);
    lua_createtable(L, 0, 3);
    mg_view_push_text(L, facts->error_type);
    lua_setfield(L, -2, "type");
    mg_view_push_text(L, facts->error_code);
    lua_setfield(L, -2, "code");
    mg_view_push_text(L, facts->error_message);
    lua_setfield(L, -2, "message");
    return 1;
}

static int att_hint(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, mg_class_name(facts_of(view)->hint));
}

static int att_retry_after_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_known(L, facts_of(view)->retry_after_ms);
}

static int att_credential(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, facts_of(view)->credential);
}

static int att_tokens_in(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->tokens_in);
}

static int att_context_window(lua_State *L, const struct mg_lua_view *view)
{
    return push_known(L, facts_of(view)->candidate->target->context_window);
}

static int att_repair(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, facts_of(view)->repair);
}

static int att_larger_window_left(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, facts_of(view)->larger_window_left);
    return 1;
}

static int att_repeatable(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, facts_of(view)->repeatable);
    return 1;
}

static int att_elapsed_ms(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->elapsed_ms);
}

static int att_bytes_to_client(lua_State *L, const struct mg_lua_view *view)
{
    return push_count(L, facts_of(view)->bytes_to_client);
}

static int att_in_stream(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, facts_of(view)->in_stream);
    return 1;
}

static int att_body_head(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_need_content(L, "att.body_head", "response");
    return mg_view_push_text(L, facts_of(view)->body_head);
}

static const struct mg_view_field attempt_fields[] = {
    {"target", att_target, NULL},
    {"provider", att_provider, NULL},
    {"model", att_model, NULL},
    {"arm", att_arm, NULL},
    {"workflow", att_workflow, NULL},
    {"n", att_n, NULL},
    {"try", att_try, NULL},
    {"tries", att_tries, NULL},
    {"reason", att_reason, NULL},
    {"phase", att_phase, NULL},
    {"timeout", att_timeout, NULL},
    {"transport", att_transport, NULL},
    {"status", att_status, NULL},
    {"headers", att_headers, NULL},
    {"error", att_error, NULL},
    {"hint", att_hint, NULL},
    {"credential", att_credential, NULL},
    {"tokens_in", att_tokens_in, NULL},
    {"context_window", att_context_window, NULL},
    {"larger_window_left", att_larger_window_left, NULL},
    {"repair", att_repair, NULL},
    {"repeatable", att_repeatable, NULL},
    {"retry_after_ms", att_retry_after_ms, NULL},
    {"elapsed_ms", att_elapsed_ms, NULL},
    {"bytes_to_client", att_bytes_to_client, NULL},
    {"in_stream", att_in_stream, NULL},
    {"body_head", att_body_head, NULL},
    {NULL, NULL, NULL},
};
const struct mg_view_class mg_view_attempt = {
    "moongate.Attempt", "att", attempt_fields, NULL, NULL, NULL, NULL};
