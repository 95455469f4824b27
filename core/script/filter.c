/* Streaming filters: per logical output (choice × channel) a chain of panes, one per instance.
 *
 *   text ─▶ pane of the last instance ─▶ … ─▶ pane of the first ─▶ client
 *
 *   a pane   |<-- sent -->|<---------- held: what on_chunk sees ---------->|
 *                         |<- released ->|<- the last `hold` characters  ->|
 *
 * on_chunk gets all held text and may replace it; what stands before the last `hold` characters of
 * the result is released. Calls are coalesced: at most one in 16 ms unless 64 bytes wait. */
#include "script/filter.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "script/args.h"
#include "script/instance.h"

enum { COALESCE_US = 16000, COALESCE_BYTES = 64, OUTPUTS = 32 };

/* One instance's window on one output. */
struct pane {
    struct mg_buf held;                /* text not released yet */
    size_t seen;                       /* bytes of it that on_chunk has seen */
    uint64_t held_since_us;            /* when the oldest of it came, or the last release left it */
    uint64_t called_us;                /* the last on_chunk */
    struct mg_buf released;            /* what the last feed let through */
    int state;                         /* c.state; registry reference */
};

struct output {
    int choice;
    enum mg_channel channel;
    struct pane *panes;                /* one per stage */
};

struct mg_filter {
    struct mg_script *script;
    struct mg_call *call;
    struct mg_plugged **stages;        /* in the order text passes them */
    int stage_count;
    struct output outputs[OUTPUTS];
    int output_count;
    bool denied;                       /* nothing passes any more, for the reason in outcome */
    struct mg_hook_outcome outcome;
};

/* One call of on_chunk. */
struct chunk {
    struct mg_filter *filter;
    struct output *output;
    struct pane *pane;
    bool final;
    bool stopped;
};

static void close_filter(void *arg);
static struct output *find_output(struct mg_filter *filter, int choice, enum mg_channel channel);
static mg_err pass(struct mg_filter *filter, struct output *output, int stage, mg_view text, bool final, mg_view *out_text);
static bool due(const struct mg_plugged *plugged, const struct pane *pane, uint64_t now_us, bool final);
static mg_err call_on_chunk(struct mg_filter *filter, struct output *output, struct mg_plugged *plugged, struct pane *pane,
                            bool final);
static int push_chunk(lua_State *L, void *arg);
static void read_chunk(lua_State *L, int index, void *arg);
static mg_err release(struct mg_filter *filter, const struct mg_plugged *plugged, struct pane *pane, bool final);
static mg_err deny(struct mg_filter *filter, const struct mg_plugged *plugged, const char *why);

/* --- which mode ------------------------------------------------------------------------------ */

/* What would rather end the answer than let something slip through. */
static bool guards(const struct mg_plugged *plugged, enum mg_hook hook)
{
    return plugged->guard || plugged->closed[hook];
}

/* Without a word on streams an on_chunk sees the whole answer, and a guard's on_response has it held back. */
static enum mg_filter_mode mode_of(const struct mg_plugged *plugged)
{
    if (plugged->stream.mode != MG_FILTER_NONE)
        return plugged->stream.mode;
    if (plugged->function[MG_HOOK_ON_CHUNK] != LUA_NOREF)
        return MG_FILTER_BUFFER;
    bool checks_answers = plugged->function[MG_HOOK_ON_RESPONSE] != LUA_NOREF && guards(plugged, MG_HOOK_ON_RESPONSE);
    return checks_answers ? MG_FILTER_BUFFER : MG_FILTER_NONE;
}

static bool concerned(const struct mg_script *script, const struct mg_plugged *plugged, const struct mg_call *call)
{
    return mg_plugged_ready(script, plugged, MG_HOOK_ON_CHUNK, call) != MG_NOT_CONCERNED ||
           mg_plugged_ready(script, plugged, MG_HOOK_ON_RESPONSE, call) != MG_NOT_CONCERNED;
}

enum mg_filter_mode mg_script_filter_mode(const struct mg_script *script, const struct mg_call *call)
{
    enum mg_filter_mode strictest = MG_FILTER_NONE;
    for (int i = 0; i < script->count; i++) {
        const struct mg_plugged *plugged = &script->instances[i];
        if (concerned(script, plugged, call))
            strictest = MG_MAX(strictest, mode_of(plugged));
    }
    return strictest;
}

bool mg_script_guards_stream(const struct mg_script *script, const struct mg_call *call)
{
    for (int i = 0; i < script->count; i++) {
        const struct mg_plugged *plugged = &script->instances[i];
        if (concerned(script, plugged, call) && mode_of(plugged) >= MG_FILTER_WINDOW &&
            (guards(plugged, MG_HOOK_ON_CHUNK) || guards(plugged, MG_HOOK_ON_RESPONSE)))
            return true;
    }
    return false;
}

/* --- life ------------------------------------------------------------------------------------ */

struct mg_filter *mg_filter_new(struct mg_script *script, struct mg_call *call)
{
    struct mg_filter *filter = mg_arena_new(call->arena, struct mg_filter);
    filter->script = script;
    filter->call = call;
    filter->stages = mg_arena_array(call->arena, struct mg_plugged *, (size_t)script->count + 1);
    for (int i = script->count - 1; i >= 0; i--) {
        struct mg_plugged *plugged = &script->instances[i];
        if (mg_plugged_ready(script, plugged, MG_HOOK_ON_CHUNK, call) != MG_NOT_CONCERNED)
            filter->stages[filter->stage_count++] = plugged;
    }
    mg_arena_cleanup(call->arena, close_filter, filter);
    script->filters++;
    return filter;
}

static void close_filter(void *arg)
{
    struct mg_filter *filter = arg;
    for (int i = 0; i < filter->output_count; i++) {
        for (int k = 0; k < filter->stage_count; k++) {
            struct pane *pane = &filter->outputs[i].panes[k];
            mg_buf_fini(&pane->held);
            mg_buf_fini(&pane->released);
            luaL_unref(filter->script->lua.L, LUA_REGISTRYINDEX, pane->state);
        }
    }
    if (--filter->script->filters == 0 && filter->script->dying)
        mg_script_free(filter->script);
}

static struct output *find_output(struct mg_filter *filter, int choice, enum mg_channel channel)
{
    for (int i = 0; i < filter->output_count; i++) {
        struct output *output = &filter->outputs[i];
        if (output->choice == choice && output->channel == channel)
            return output;
    }
    if (filter->output_count == OUTPUTS)
        return NULL;
    struct output *output = &filter->outputs[filter->output_count++];
    output->choice = choice;
    output->channel = channel;
    output->panes = mg_arena_array(filter->call->arena, struct pane, (size_t)filter->stage_count + 1);
    for (int k = 0; k < filter->stage_count; k++) {
        mg_buf_init(&output->panes[k].held, MG_MAX_HELD_BYTES);
        mg_buf_init(&output->panes[k].released, 2 * MG_MAX_HELD_BYTES);
        output->panes[k].state = LUA_NOREF;
    }
    return output;
}

/* --- feeding --------------------------------------------------------------------------------- */

mg_err mg_filter_feed(struct mg_filter *filter, int choice, enum mg_channel channel, mg_view text, bool final,
                      mg_view *out_text, struct mg_hook_outcome *out_outcome)
{
    mg_err err = filter->denied ? MG_E_DENIED : MG_OK;
    struct output *output = err == MG_OK && filter->stage_count > 0 ? find_output(filter, choice, channel) : NULL;
    if (err == MG_OK && filter->stage_count > 0 && !output)
        err = deny(filter, filter->stages[0], "cannot follow so many outputs at once");
    for (int k = 0; err == MG_OK && k < filter->stage_count; k++)
        err = pass(filter, output, k, text, final, &text);
    if (err == MG_OK)
        *out_text = text;
    else
        *out_outcome = filter->outcome;
    return err;
}

static bool sees(const struct mg_plugged *plugged, enum mg_channel channel)
{
    bool both = plugged->stream.mode == MG_FILTER_NONE;
    return both || (channel == MG_CHANNEL_CONTENT ? plugged->stream.content : plugged->stream.reasoning);
}

/* Text through one pane. *out_text is valid until the next feed. */
static mg_err pass(struct mg_filter *filter, struct output *output, int stage, mg_view text, bool final, mg_view *out_text)
{
    struct mg_plugged *plugged = filter->stages[stage];
    struct pane *pane = &output->panes[stage];
    uint64_t now_us = mg_script_now_us(filter->script);
    if (!sees(plugged, output->channel)) {
        *out_text = text;
        return MG_OK;
    }

    mg_buf_clear(&pane->released);
    if (pane->held.len == 0)
        pane->held_since_us = now_us;
    if (mg_buf_put(&pane->held, text) != MG_OK)
        return deny(filter, plugged, "cannot hold so much text");
    if (due(plugged, pane, now_us, final)) {
        pane->called_us = now_us;
        MG_TRY(call_on_chunk(filter, output, plugged, pane, final));
        MG_TRY(release(filter, plugged, pane, final));
    }
    if (mode_of(plugged) == MG_FILTER_OBSERVE)
        *out_text = text;
    else
        *out_text = mg_buf_view(&pane->released);
    return MG_OK;
}

/* Time to look at what is held? */
static bool due(const struct mg_plugged *plugged, const struct pane *pane, uint64_t now_us, bool final)
{
    size_t fresh = pane->held.len - pane->seen;
    if (final)
        return true;
    if (mode_of(plugged) >= MG_FILTER_BUFFER)
        return false;
    bool expired = !guards(plugged, MG_HOOK_ON_CHUNK) && pane->held.len > 0 &&
                   now_us - pane->held_since_us >= (uint64_t)plugged->stream.max_hold_ms * 1000;
    return expired || (fresh > 0 && (fresh >= COALESCE_BYTES || now_us - pane->called_us >= COALESCE_US));
}

uint32_t mg_filter_flush_in_ms(const struct mg_filter *filter)
{
    uint64_t now_us = mg_script_now_us(filter->script), next_us = UINT64_MAX;
    for (int i = 0; i < filter->output_count; i++) {
        for (int k = 0; k < filter->stage_count; k++) {
            const struct mg_plugged *plugged = filter->stages[k];
            const struct pane *pane = &filter->outputs[i].panes[k];
            if (pane->held.len == 0 || mode_of(plugged) >= MG_FILTER_BUFFER)
                continue;
            if (pane->held.len > pane->seen)
                next_us = MG_MIN(next_us, pane->called_us + COALESCE_US);
            if (!guards(plugged, MG_HOOK_ON_CHUNK) && mode_of(plugged) == MG_FILTER_WINDOW)
                next_us = MG_MIN(next_us, pane->held_since_us + (uint64_t)plugged->stream.max_hold_ms * 1000);
        }
    }
    if (next_us == UINT64_MAX)
        return 0;
    return next_us <= now_us ? 1 : (uint32_t)((next_us - now_us + 999) / 1000);
}

static mg_err deny(struct mg_filter *filter, const struct mg_plugged *plugged, const char *why)
{
    filter->denied = true;
    filter->outcome = (struct mg_hook_outcome){
        .kind = MG_HOOK_DENY,
        .status = 503,
        .code = MG_VIEW("plugin_failed"),
        .message = mg_arena_printf(filter->call->arena, "The plugin %s %s, and nothing passes without it.",
                                   plugged->base.name, why),
    };
    return MG_E_DENIED;
}

/* --- one call -------------------------------------------------------------------------------- */

static mg_err call_on_chunk(struct mg_filter *filter, struct output *output, struct mg_plugged *plugged, struct pane *pane,
                            bool final)
{
    struct chunk chunk = {.filter = filter, .output = output, .pane = pane, .final = final};
    struct mg_hook_call call = {.script = filter->script, .plugged = plugged, .hook = MG_HOOK_ON_CHUNK, .call = filter->call,
                                .push = push_chunk, .read = read_chunk, .arg = &chunk};
    filter->script->chunk_keep = 0;
    enum mg_ready ready = mg_plugged_ready(filter->script, plugged, MG_HOOK_ON_CHUNK, filter->call);
    bool ran = ready == MG_READY && mg_hook_sync(&call);
    pane->seen = pane->held.len;
    if (chunk.stopped)
        return MG_E_DENIED;
    if (!ran && plugged->closed[MG_HOOK_ON_CHUNK])
        return deny(filter, plugged, ready == MG_READY ? "failed" : mg_plugged_why_not(plugged, ready, filter->call->arena));
    return MG_OK;
}

/* c = {text, new, final, choice, channel, state} with keep and stop */
static int push_chunk(lua_State *L, void *arg)
{
    const struct chunk *chunk = arg;
    struct pane *pane = chunk->pane;
    mg_view text = mg_buf_view(&pane->held);

    lua_createtable(L, 0, 6);
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, (lua_Integer)pane->seen + 1);
    lua_setfield(L, -2, "new");
    lua_pushboolean(L, chunk->final);
    lua_setfield(L, -2, "final");
    lua_pushinteger(L, chunk->output->choice);
    lua_setfield(L, -2, "choice");
    lua_pushstring(L, chunk->output->channel == MG_CHANNEL_CONTENT ? "content" : "reasoning");
    lua_setfield(L, -2, "channel");
    if (pane->state == LUA_NOREF) {
        lua_newtable(L);
        pane->state = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, pane->state);
    lua_setfield(L, -2, "state");
    lua_rawgeti(L, LUA_REGISTRYINDEX, chunk->filter->script->on_chunk_class);
    lua_setmetatable(L, -2);
    return 1;
}

static void read_chunk(lua_State *L, int index, void *arg)
{
    struct chunk *chunk = arg;
    const struct mg_hook_outcome *outcome = mg_lua_outcome(L, index);
    if (outcome) {
        chunk->stopped = chunk->filter->denied = true;
        chunk->filter->outcome = *outcome;
        return;
    }
    if (lua_isnil(L, index)) {
        if (!lua_isnil(L, index + 1))
            luaL_error(L, "%s", mg_lua_error_text(L, index + 1));
        return;
    }
    mg_view text = mg_lua_text(L, index, "what on_chunk returns");
    if (text.len > MG_MAX_HELD_BYTES)
        luaL_error(L, "on_chunk returned more than %d bytes", (int)MG_MAX_HELD_BYTES);
    mg_buf_clear(&chunk->pane->held);
    if (mg_buf_put(&chunk->pane->held, text) != MG_OK)
        luaL_error(L, "no memory for what on_chunk returned");
}

/* Where the last `count` characters of a text begin. */
static size_t tail_start(mg_view text, uint32_t count)
{
    size_t at = text.len;
    while (at > 0 && count > 0) {
        at--;
        if (((unsigned char)text.ptr[at] & 0xc0) != 0x80)
            count--;
    }
    return at;
}

/* Lets go of what need not be held. */
static mg_err release(struct mg_filter *filter, const struct mg_plugged *plugged, struct pane *pane, bool final)
{
    uint64_t now_us = mg_script_now_us(filter->script);
    mg_view held = mg_buf_view(&pane->held);
    uint32_t hold = MG_MAX(plugged->stream.hold, filter->script->chunk_keep);
    bool expired = !guards(plugged, MG_HOOK_ON_CHUNK) && now_us - pane->held_since_us >= (uint64_t)plugged->stream.max_hold_ms * 1000;
    bool all = final || expired || mode_of(plugged) == MG_FILTER_OBSERVE;
    size_t len = all ? held.len : tail_start(held, hold);
    if (len == 0)
        return MG_OK;
    if (mg_buf_put(&pane->released, mg_view_head(held, len)) != MG_OK)
        return deny(filter, plugged, "cannot hold so much text");
    mg_buf_consume(&pane->held, len);
    pane->seen = pane->held.len;
    pane->held_since_us = now_us;
    return MG_OK;
}

/* --- the object's methods -------------------------------------------------------------------- */

/* c:keep(n): hold at least n characters back this turn. */
static int chunk_keep(lua_State *L)
{
    struct mg_lua *lua = mg_lua_of(L);
    struct mg_script *script = mg_container_of(lua, struct mg_script, lua);
    script->chunk_keep = (uint32_t)mg_lua_integer(L, 2, "c:keep: number of characters", 0, MG_MAX_HELD_BYTES);
    return 0;
}

static mg_view kept_text(lua_State *L, int table, const char *name, mg_view otherwise)
{
    struct mg_call *call = mg_lua_of(L)->run->call;
    return mg_arena_dup(call->arena, mg_lua_field_text(L, table, name, "c:stop", otherwise));
}

/* c:stop{code, message}: return it, and the stream ends with an error. */
static int chunk_stop(lua_State *L)
{
    static const char *const names[] = {"status", "code", "message", NULL};
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_DENY};
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    mg_lua_table(L, 2, "c:stop: reason");
    mg_lua_only(L, 2, "c:stop", names);
    outcome.status = (int)mg_lua_field_integer(L, 2, "status", "c:stop", 400, 599, 403);
    outcome.code = kept_text(L, 2, "code", MG_VIEW("stopped"));
    outcome.message = kept_text(L, 2, "message", MG_VIEW("The answer was stopped by a policy."));
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

int mg_filter_make_class(lua_State *L)
{
    static const struct mg_lua_function methods[] = {
        {"keep", chunk_keep, MG_LUA_IN(on_chunk), NULL, false},
        {"stop", chunk_stop, MG_LUA_IN(on_chunk), NULL, false},
        {NULL, NULL, 0, NULL, false},
    };
    lua_createtable(L, 0, 2);
    lua_createtable(L, 0, 2);
    for (const struct mg_lua_function *f = methods; f->name; f++) {
        mg_lua_push_function(L, f);
        lua_setfield(L, -2, f->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    return luaL_ref(L, LUA_REGISTRYINDEX);
}
