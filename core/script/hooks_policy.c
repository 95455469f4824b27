/* route, on_attempt, classify, accept, offline and on_log: hooks that may not wait, as the relay's policy. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json.h"
#include "script/accept.h"
#include "script/answers_lua.h"
#include "script/args.h"
#include "script/instance.h"
#include "script/trusted.h"
#include "script/views.h"

enum { MAX_ANSWER_BYTES = 65536 };     /* as many as offline.text may have */

struct question {
    struct mg_script *script;
    struct mg_call *call;
    const struct mg_candidate *candidates;
    int count;
    const struct mg_attempt_facts *facts;
    struct mg_plan *plan;
    struct mg_verdict *verdict;
    struct mg_attempt_patch *patch;
    const struct mg_call_response *response;
    const struct mg_exhausted *exhausted;
    mg_view text;                      /* why accept said no; what offline.answer said */
    bool answered;
    bool dropped;                      /* on_log said so */
};

static int push_route(lua_State *L, void *arg);
static void read_route(lua_State *L, int index, void *arg);
static int push_attempt(lua_State *L, void *arg);
static void read_attempt(lua_State *L, int index, void *arg);
static int push_classify(lua_State *L, void *arg);
static void read_classify(lua_State *L, int index, void *arg);
static int push_accept(lua_State *L, void *arg);
static void read_accept(lua_State *L, int index, void *arg);
static int push_offline(lua_State *L, void *arg);
static void read_offline(lua_State *L, int index, void *arg);
static int push_log(lua_State *L, void *arg);
static void read_log(lua_State *L, int index, void *arg);

/* Asks the instances in order until one answers. */
static bool ask_in_order(struct question *question, enum mg_hook hook, int (*push)(lua_State *, void *),
                         void (*read)(lua_State *, int, void *))
{
    struct mg_script *script = question->script;
    for (int i = 0; i < script->count && !question->answered; i++) {
        struct mg_plugged *plugged = &script->instances[i];
        if (mg_plugged_ready(script, plugged, hook, question->call) != MG_READY)
            continue;
        struct mg_hook_call call = {.script = script, .plugged = plugged, .hook = hook, .call = question->call,
                                    .push = push, .read = read, .arg = question};
        if (!mg_hook_sync(&call))
            question->answered = false;
    }
    return question->answered;
}

/* `nil, err`: the function could not answer; the next one is asked, and the timeline tells why. */
static void check_declined(lua_State *L, int index)
{
    if (!lua_isnil(L, index + 1))
        luaL_error(L, "%s", mg_lua_error_text(L, index + 1));
}

/* --- route ----------------------------------------------------------------------------------- */

static mg_err route(void *policy, struct mg_call *call, const struct mg_candidate *candidates, int count,
                    struct mg_plan *out_plan)
{
    struct mg_script *script = policy;
    struct question question = {
        .script = script, .call = call, .candidates = candidates, .count = count, .plan = out_plan};
    if (ask_in_order(&question, MG_HOOK_ROUTE, push_route, read_route))
        return MG_OK;
    memset(out_plan, 0, sizeof(*out_plan));
    return mg_trusted_policy.route(script->trusted, call, candidates, count, out_plan);
}

static int push_route(lua_State *L, void *arg)
{
    struct question *question = arg;
    mg_lua_push_request(L, question->call);
    mg_lua_push_candidates(L, question->candidates, question->count);
    mg_lua_push_flow(L, question->call);
    return 3;
}

static void read_route(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_isnil(L, index)) {
        check_declined(L, index);
        return;
    }
    memset(question->plan, 0, sizeof(*question->plan));
    mg_lua_read_plan(L, index, question->call, question->candidates, question->count, question->plan);
    question->answered = true;
}

/* --- on_attempt ------------------------------------------------------------------------------ */

static mg_err on_attempt(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_attempt_patch *out_patch)
{
    struct question question = {.script = policy, .call = call, .facts = facts, .patch = out_patch};
    ask_in_order(&question, MG_HOOK_ON_ATTEMPT, push_attempt, read_attempt);
    return MG_OK;
}

static int push_attempt(lua_State *L, void *arg)
{
    struct question *question = arg;
    mg_lua_push_request(L, question->call);
    mg_lua_push_attempt(L, question->call, question->facts);
    return 2;
}

/* Only a model that the project has at the same provider: a patch is no way around the targets. */
static void check_model(lua_State *L, const struct question *question, mg_view model)
{
    const struct mg_config_project *config = question->script->config;
    int provider = question->facts->candidate->target->provider;
    for (int i = 0; i < config->target_count; i++) {
        const struct mg_config_target *target = &config->targets[i];
        if (target->provider == provider && mg_view_eq(mg_view_cstr(target->model), model))
            return;
    }
    luaL_error(L, "patch: the project has no target with the model \"%.80s\" at this provider", model.ptr);
}

/* Members of `second` win. */
static mg_view merged(struct mg_call *call, mg_view first, mg_view second)
{
    struct mg_json *into = NULL, *from = NULL;
    struct mg_buf text;
    mg_view out = second;
    mg_buf_init(&text, 2 * MG_MAX_LUA_SOURCE_BYTES);
    if (first.len && mg_json_parse(first, first.len, &into, NULL) == MG_OK &&
        mg_json_parse(second, second.len, &from, NULL) == MG_OK) {
        for (struct mg_json *m = mg_json_first(from); m; m = mg_json_next(m))
            mg_json_set(into, mg_json_key(m), mg_json_copy(m));
        if (mg_json_print(into, &text) == MG_OK)
            out = mg_arena_dup(call->arena, mg_buf_view(&text));
    }
    mg_json_free(into);
    mg_json_free(from);
    mg_buf_fini(&text);
    return out;
}

static void read_attempt(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_isnil(L, index)) {
        check_declined(L, index);
        return;
    }
    struct mg_attempt_patch patch = *question->patch;
    mg_view before = patch.params;
    patch.params = MG_VIEW_NONE;
    mg_lua_read_patch(L, index, question->call, &patch);
    if (patch.model.len)
        check_model(L, question, patch.model);
    patch.params = patch.params.len ? merged(question->call, before, patch.params) : before;
    *question->patch = patch;          /* all or nothing */
}

/* --- classify -------------------------------------------------------------------------------- */

static mg_err classify(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                       struct mg_verdict *out_verdict)
{
    struct mg_script *script = policy;
    struct question question = {.script = script, .call = call, .facts = facts, .verdict = out_verdict};
    if (ask_in_order(&question, MG_HOOK_CLASSIFY, push_classify, read_classify))
        return MG_OK;
    return mg_trusted_policy.classify(script->trusted, call, facts, out_verdict);
}

static int push_classify(lua_State *L, void *arg)
{
    struct question *question = arg;
    mg_lua_push_attempt(L, question->call, question->facts);
    return 1;
}

static void read_classify(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_isnil(L, index)) {
        check_declined(L, index);
        return;
    }
    struct mg_verdict verdict = {.class_ = question->facts->hint};
    mg_lua_read_verdict(L, index, question->call, question->facts, &verdict);
    *question->verdict = verdict;
    question->answered = true;
}

/* --- accept ---------------------------------------------------------------------------------- */

/* A predicate that fails lets the answer through: its mistake is no reason to throw a good one away. */
static mg_err accept_answer(void *policy, struct mg_call *call, const struct mg_call_response *response, mg_view *out_reason)
{
    struct question question = {.script = policy, .call = call, .response = response};
    MG_TRY(mg_accept_schema(call, response, out_reason));
    if (!ask_in_order(&question, MG_HOOK_ACCEPT, push_accept, read_accept))
        return MG_OK;
    *out_reason = question.text;
    return MG_E_DENIED;
}

static int push_accept(lua_State *L, void *arg)
{
    struct question *question = arg;
    mg_lua_push_response(L, question->call, (struct mg_call_response *)question->response);
    return 1;
}

/* false or nil is no, with the reason behind it; `nil, err` says that it could not tell. */
static void read_accept(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_toboolean(L, index))
        return;
    if (lua_isnil(L, index))
        check_declined(L, index);
    mg_view why = lua_isnil(L, index + 1) ? MG_VIEW("it said no") : mg_lua_text(L, index + 1, "accept: the reason");
    question->text = mg_arena_printf(question->call->arena, "accept: %.*s", (int)MG_MIN(why.len, (size_t)400), why.ptr);
    question->answered = true;
}

/* --- offline.answer -------------------------------------------------------------------------- */

static mg_err offline_answer(void *policy, struct mg_call *call, const struct mg_exhausted *exhausted, mg_view *out_text)
{
    struct question question = {.script = policy, .call = call, .exhausted = exhausted};
    if (!ask_in_order(&question, MG_HOOK_OFFLINE, push_offline, read_offline))
        return MG_E_NOT_FOUND;
    *out_text = question.text;
    return MG_OK;
}

static void set_text(lua_State *L, const char *name, mg_view text)
{
    lua_pushlstring(L, text.len ? text.ptr : "", text.len);
    lua_setfield(L, -2, name);
}

static int push_offline(lua_State *L, void *arg)
{
    const struct question *question = arg;
    const struct mg_exhausted *exhausted = question->exhausted;
    mg_lua_push_request(L, question->call);
    lua_createtable(L, 0, 5);
    set_text(L, "class", mg_view_cstr(mg_class_name(exhausted->class_)));
    set_text(L, "code", exhausted->code);
    set_text(L, "message", exhausted->message);
    lua_pushinteger(L, exhausted->status);
    lua_setfield(L, -2, "status");
    lua_pushinteger(L, (lua_Integer)exhausted->attempts);
    lua_setfield(L, -2, "attempts");
    return 2;
}

static void read_offline(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_isnil(L, index)) {
        check_declined(L, index);
        return;
    }
    mg_view text = mg_lua_text(L, index, "offline.answer: what it returns");
    if (text.len > MAX_ANSWER_BYTES)
        luaL_error(L, "offline.answer: the text has more than %d bytes", (int)MAX_ANSWER_BYTES);
    question->text = mg_arena_dup(question->call->arena, text);
    question->answered = text.len > 0;
}

const struct mg_policy_ops mg_script_policy = {
    .route = route, .on_attempt = on_attempt, .classify = classify, .accept = accept_answer, .offline = offline_answer};

/* --- on_log ---------------------------------------------------------------------------------- */

bool mg_script_on_log(struct mg_script *script, struct mg_call *call)
{
    struct question question = {.script = script, .call = call};
    bool keep = true;
    for (int i = 0; i < script->count; i++) {
        struct mg_plugged *plugged = &script->instances[i];
        enum mg_ready ready = mg_plugged_ready(script, plugged, MG_HOOK_ON_LOG, call);
        if (ready == MG_NOT_CONCERNED)
            continue;
        struct mg_hook_call hook = {.script = script, .plugged = plugged, .hook = MG_HOOK_ON_LOG, .call = call,
                                    .push = push_log, .read = read_log, .arg = &question};
        bool ran = ready == MG_READY && mg_hook_sync(&hook);
        if (!ran && plugged->closed[MG_HOOK_ON_LOG])
            keep = false;              /* what could not be redacted is not kept */
    }
    return keep && !question.dropped;
}

static int push_log(lua_State *L, void *arg)
{
    struct question *question = arg;
    mg_lua_push_record(L, question->call);
    return 1;
}

static void read_log(lua_State *L, int index, void *arg)
{
    struct question *question = arg;
    if (lua_type(L, index) == LUA_TBOOLEAN && !lua_toboolean(L, index))
        question->dropped = true;
}
