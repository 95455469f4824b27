/* The translator over lua/dialects: streams. Lua reads rare events and writes where a block begins or ends. */
#include "base/mem.h"
#include "script/args.h"
#include "script/dialect_call.h"
#include "script/json_lua.h"

enum { EVENT_BYTES = MG_MAX_TRANSLATED_BYTES };

struct mg_translated {
    struct mg_trusted *trusted;
    const struct mg_lua_dialect *client, *provider;
    int writer, reader;                /* registry references: state of each side */
    int deltas;                        /* … of the list that read returned last */
    struct mg_buf scratch;             /* the JSON string being written */
    struct mg_arena texts;             /* of those deltas */
};

/* Places in a frame, as lua/moongate/dialect.lua numbers them. */
enum { PLACE_TEXT = 1, PLACE_SEQ = 2 };

struct mg_translated_side mg_translated_client(const struct mg_translated *stream)
{
    return (struct mg_translated_side){stream->trusted, stream->client, stream->writer};
}

static int open_stream(lua_State *L)
{
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    mg_dialect_push_ctx(L, job);
    int writer = lua_gettop(L);
    mg_dialect_set_number(L, "seq", 0);
    if (job->stream->client->wants_request) {
        mg_dialect_push_method(L, job->stream->client, "read_request");
        mg_dialect_push(L, job);
        mg_dialect_push_ctx(L, job);
        lua_call(L, 2, 1);
        lua_setfield(L, writer, "request");
    }
    lua_pushvalue(L, writer);
    job->stream->writer = luaL_ref(L, LUA_REGISTRYINDEX);
    mg_dialect_push_ctx(L, job);
    job->stream->reader = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

void mg_dialect_stream_end(struct mg_translated *stream)
{
    if (!stream)
        return;
    lua_State *L = stream->trusted->lua.L;
    luaL_unref(L, LUA_REGISTRYINDEX, stream->writer);
    luaL_unref(L, LUA_REGISTRYINDEX, stream->reader);
    luaL_unref(L, LUA_REGISTRYINDEX, stream->deltas);
    mg_buf_fini(&stream->scratch);
    mg_arena_fini(&stream->texts);
    mg_free(stream);
}

mg_err mg_dialect_stream_begin(void *arg, const struct mg_translation *what, struct mg_translated **out_stream,
                           struct mg_stream_style *out_style)
{
    struct mg_arena arena;
    struct mg_translated *stream = mg_new(struct mg_translated);
    *stream = (struct mg_translated){.trusted = arg, .client = mg_dialect_of(arg, what->client),
                                     .provider = mg_dialect_of(arg, what->provider),
                                     .writer = LUA_NOREF, .reader = LUA_NOREF, .deltas = LUA_NOREF};
    mg_buf_init(&stream->scratch, EVENT_BYTES);
    mg_arena_init(&stream->texts, 256);
    mg_arena_init(&arena, 1024);
    struct mg_dialect_job job = {.trusted = arg, .what = what, .arena = &arena, .stream = stream};
    mg_err err = stream->client && stream->provider ? MG_OK : MG_E_SCRIPT;
    if (err == MG_OK && stream->client->wants_request)
        err = mg_dialect_take(&job, what->request, stream->client->raw_request);
    if (err == MG_OK)
        err = mg_dialect_run(&job, open_stream, what->client);
    mg_arena_fini(&arena);
    if (err != MG_OK) {
        mg_dialect_stream_end(stream);
        return err;
    }
    *out_stream = stream;
    *out_style = stream->client->style;
    return MG_OK;
}

/* ---- reading a rare event */

static const struct {
    const char *name;
    enum mg_delta_kind kind;
} delta_kinds[] = {
    {"text", MG_DELTA_TEXT}, {"reasoning", MG_DELTA_REASONING}, {"refusal", MG_DELTA_REFUSAL},
    {"tool", MG_DELTA_TOOL}, {"finish", MG_DELTA_FINISH},
};

static enum mg_delta_kind kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof delta_kinds / sizeof delta_kinds[0]; i++)
        if (strcmp(delta_kinds[i].name, name) == 0)
            return delta_kinds[i].kind;
    return MG_DELTA_OPAQUE;
}

/* A text as a JSON string. */
static mg_view quoted(lua_State *L, struct mg_translated *stream, int table, const char *name)
{
    size_t len = 0;
    lua_getfield(L, table, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    mg_buf_clear(&stream->scratch);
    mg_err err = MG_OK;
    if (text) {
        err = mg_buf_putc(&stream->scratch, '"');
        if (err == MG_OK)
            err = mg_buf_put_json(&stream->scratch, mg_view_of(text, len));
        if (err == MG_OK)
            err = mg_buf_putc(&stream->scratch, '"');
    }
    lua_pop(L, 1);
    mg_lua_check(L, err, "a delta");
    return text ? mg_arena_dup(&stream->texts, mg_buf_view(&stream->scratch)) : MG_VIEW_NONE;
}

static int small(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    int number = lua_type(L, -1) == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return number;
}

static void read_delta(lua_State *L, struct mg_translated *stream, int number, struct mg_delta *out)
{
    int table = lua_gettop(L);
    luaL_checktype(L, table, LUA_TTABLE);
    lua_getfield(L, table, "kind");
    enum mg_delta_kind kind = kind_of(luaL_checkstring(L, -1));
    lua_pop(L, 1);
    *out = (struct mg_delta){.kind = kind, .opaque = number, .choice = small(L, table, "choice"), .tool = small(L, table, "tool")};
    const char *text = kind == MG_DELTA_TOOL ? "arguments" : kind == MG_DELTA_FINISH ? "reason" : "text";
    out->text = quoted(L, stream, table, text);
    out->id = quoted(L, stream, table, "id");
    out->name = quoted(L, stream, table, "name");
    out->signature = quoted(L, stream, table, "signature");
}

static int read_event(lua_State *L)
{
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    struct mg_translated *stream = job->stream;
    mg_dialect_push_method(L, stream->provider, "read_event");
    mg_lua_push_view(L, job->event);
    mg_dialect_push(L, job);
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->reader);
    lua_call(L, 3, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, stream->deltas);
    stream->deltas = LUA_NOREF;
    if (lua_isnil(L, -1))
        return 0;
    luaL_checktype(L, -1, LUA_TTABLE);
    int list = lua_gettop(L), count = (int)lua_objlen(L, list);
    if (count > MG_DELTAS)
        luaL_error(L, "more than %d deltas of one event", (int)MG_DELTAS);
    mg_arena_reset(&stream->texts);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, list, i + 1);
        read_delta(L, stream, i + 1, &job->deltas[i]);
        lua_pop(L, 1);
    }
    job->delta_count = count;
    lua_pushvalue(L, list);
    stream->deltas = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

mg_err mg_dialect_stream_read(struct mg_translated *stream, mg_view name, mg_view data, struct mg_delta *deltas, int *out_count)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 1024);
    struct mg_dialect_job job = {.trusted = stream->trusted, .arena = &arena, .stream = stream, .event = name, .deltas = deltas};
    mg_err err = mg_dialect_take(&job, data, stream->provider->raw_event);
    if (err == MG_OK)
        err = mg_dialect_run(&job, read_event, stream->provider->name);
    mg_arena_fini(&arena);
    *out_count = job.delta_count;
    return err;
}

/* ---- writing the client's events */

static void push_string(lua_State *L, mg_view json)
{
    struct mg_buf *scratch = mg_lua_scratch(L, json.len + 1);
    mg_view text = MG_VIEW_NONE;
    mg_err err = mg_json_span_text(json, scratch, &text);
    mg_lua_push_view(L, err == MG_OK ? text : MG_VIEW_NONE);
    mg_lua_scratch_end(scratch);
    lua_remove(L, -2);
}

static void set_string(lua_State *L, const char *name, mg_view json)
{
    if (!json.len)
        return;
    push_string(L, json);
    lua_setfield(L, -2, name);
}

static void push_block(lua_State *L, const struct mg_block *block)
{
    lua_createtable(L, 0, 8);
    for (size_t i = 0; i < sizeof delta_kinds / sizeof delta_kinds[0]; i++)
        if (delta_kinds[i].kind == block->kind)
            mg_dialect_set_text(L, "kind", mg_view_cstr(delta_kinds[i].name));
    mg_dialect_set_number(L, "choice", block->choice);
    mg_dialect_set_number(L, "index", block->index);
    mg_dialect_set_number(L, "tool", block->tool);
    set_string(L, "id", block->id);
    set_string(L, "name", block->name);
    set_string(L, "signature", block->signature);
    mg_dialect_set_text(L, "json", block->text);
}

static void push_usage(lua_State *L, const struct mg_usage *usage)
{
    if (!usage->reported) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 8);
    mg_dialect_set_number(L, "input", (double)usage->input_tokens);
    mg_dialect_set_number(L, "output", (double)usage->output_tokens);
    mg_dialect_set_number(L, "cached_read", (double)usage->cached_read_tokens);
    mg_dialect_set_number(L, "cached_write", (double)usage->cached_write_tokens);
    mg_dialect_set_number(L, "reasoning", (double)usage->reasoning_tokens);
    mg_dialect_set_number(L, "input_audio", (double)usage->input_audio_tokens);
    mg_dialect_set_number(L, "output_audio", (double)usage->output_audio_tokens);
}

static const char *reason_of(enum mg_finish end)
{
    switch (end) {
    case MG_FINISH_CUT: return "length";
    case MG_FINISH_FILTERED:
    case MG_FINISH_REFUSED: return "filtered";
    case MG_FINISH_FAILED: return "error";
    default: return "stop";
    }
}

/* The provider's word as the neutral one. A call was made: some say "stop" all the same. */
static void push_reason(lua_State *L, const struct mg_translated *stream, const struct mg_write_call *call)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->provider->ref);
    lua_getfield(L, -1, "finish_reasons");
    lua_remove(L, -2);
    if (lua_istable(L, -1) && call->reason.len) {
        push_string(L, call->reason);
        lua_rawget(L, -2);
    } else {
        lua_pushnil(L);
    }
    lua_remove(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushstring(L, reason_of(call->end));
    }
    if (call->has_tools && strcmp(lua_tostring(L, -1), "stop") == 0) {
        lua_pop(L, 1);
        lua_pushliteral(L, "tool");
    }
}

static void push_finish(lua_State *L, const struct mg_translated *stream, const struct mg_write_call *call)
{
    lua_createtable(L, 0, 4);
    mg_dialect_set_number(L, "choice", call->choice);
    push_reason(L, stream, call);
    lua_setfield(L, -2, "reason");
    push_usage(L, call->usage);
    lua_setfield(L, -2, "usage");
}

static void push_opaque(lua_State *L, const struct mg_translated *stream, int number)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->deltas);
    lua_rawgeti(L, -1, number);
    lua_remove(L, -2);
}

static void put_piece(lua_State *L, struct mg_frame *frame)
{
    struct mg_frame_piece *piece = &frame->pieces[frame->count++];
    size_t len = 0;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &len);
        mg_lua_check(L, mg_buf_put(&frame->text, mg_view_of(text, len)), "a frame");
        *piece = (struct mg_frame_piece){MG_PIECE_LITERAL, (uint32_t)len};
    } else if (lua_tonumber(L, -1) == PLACE_TEXT) {
        *piece = (struct mg_frame_piece){MG_PIECE_TEXT, 0};
    } else if (lua_tonumber(L, -1) == PLACE_SEQ) {
        *piece = (struct mg_frame_piece){MG_PIECE_SEQ, 0};
    } else {
        luaL_error(L, "a frame holds texts, dialect.TEXT and dialect.SEQ");
    }
}

static void read_frame(lua_State *L, int index, struct mg_frame *frame)
{
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_objlen(L, index);
    if (count > MG_FRAME_PIECES)
        luaL_error(L, "a frame has at most %d pieces", (int)MG_FRAME_PIECES);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        put_piece(L, frame);
        lua_pop(L, 1);
    }
}

static int push_arguments(lua_State *L, const struct mg_translated *stream, const struct mg_write_call *call)
{
    switch (call->what) {
    case MG_WRITE_START: return 0;
    case MG_WRITE_OPEN:
    case MG_WRITE_CLOSE: push_block(L, call->block); return 1;
    case MG_WRITE_OPAQUE: push_opaque(L, stream, call->opaque); return 1;
    case MG_WRITE_FINISH: push_finish(L, stream, call); return 1;
    case MG_WRITE_DONE: push_usage(L, call->usage); return 1;
    }
    return 0;
}

static int write_events(lua_State *L)
{
    static const char *const names[] = {"start", "open", "close", "opaque", "finish", "done"};
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    struct mg_translated *stream = job->stream;
    const struct mg_write_call *call = job->call;
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->client->ref);
    lua_getfield(L, -1, "stream");
    lua_getfield(L, -1, names[call->what]);
    if (lua_isnil(L, -1))
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->writer);
    mg_dialect_set_number(L, "seq", (double)*call->seq);
    int writer = lua_gettop(L);
    lua_pushvalue(L, writer - 1);
    lua_pushvalue(L, writer);
    lua_call(L, 1 + push_arguments(L, stream, call), 2);
    if (lua_type(L, -2) == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(L, -2, &len);
        mg_lua_check(L, mg_buf_put(job->out, mg_view_of(text, len)), "an event");
    }
    if (call->frame && !lua_isnil(L, -1))
        read_frame(L, lua_gettop(L), call->frame);
    lua_getfield(L, writer, "seq");
    *call->seq = (uint64_t)lua_tonumber(L, -1);
    return 0;
}

mg_err mg_dialect_stream_write(struct mg_translated *stream, const struct mg_write_call *call, struct mg_buf *out)
{
    struct mg_dialect_job job = {.trusted = stream->trusted, .stream = stream, .call = call, .out = out};
    return mg_dialect_run(&job, write_events, stream->client->name);
}
