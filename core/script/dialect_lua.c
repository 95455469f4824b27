/* The translator over lua/dialects: each function of a dialect is called in the worker's trusted state with the decoded
 * document and a context, and what it returns is encoded. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meter/models.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/trusted.h"

enum { KEEP_BYTES = 65536, BURST_US = 100000, MAX_RAW_PATHS = 32, EVENT_BYTES = MG_MAX_TRANSLATED_BYTES };

struct mg_translated {
    struct mg_trusted *trusted;
    const struct mg_lua_dialect *client, *provider;
    int writer, reader;                /* registry references: state of each side */
    int deltas;                        /* … of the list that read returned last; its texts are borrowed by C */
    struct mg_buf scratch;             /* JSON strings of those deltas */
};

/* One stay in Lua. */
struct job {
    struct mg_trusted *trusted;
    const struct mg_translation *what;
    const struct mg_lua_dialect *from, *to;
    struct mg_arena *arena;
    struct mg_lua_document document;
    mg_view out_body;
    struct mg_translation_report *report;
    bool refused;
    struct mg_translated *stream;
    mg_view event;                     /* its name */
    struct mg_delta *deltas;
    int delta_count;
    const struct mg_write_call *call;
    struct mg_buf *out;
    const char *name;                  /* of a dialect to load */
};

/* Places in a frame, as lua/moongate/dialect.lua numbers them. */
enum { PLACE_TEXT = 1, PLACE_SEQ = 2 };

static mg_err run(struct job *job, lua_CFunction body, const char *what)
{
    struct mg_lua *lua = &job->trusted->lua;
    struct mg_lua_run stay = {.phase = MG_LUA_PHASE_load, .load_name = "lua/dialects"};
    enum mg_lua_end end = mg_lua_enter(lua, &stay, BURST_US, body, job);
    if (lua->late) {
        lua->late = 0;
        mg_log_warn("lua.slow", "dialect=%s", what);
    }
    if (end == MG_LUA_ENDED)
        return MG_OK;
    if (job->refused)
        return MG_E_BAD_REQUEST;
    mg_log_error("dialect.failed", "%s: %s", what, lua->trace);
    return MG_E_SCRIPT;
}

/* ---- loading ----------------------------------------------------------------------------------- */

static void get_field(lua_State *L, int table, const char *name, int type, const char *what)
{
    lua_getfield(L, table, name);
    if (lua_type(L, -1) != type)
        luaL_error(L, "%s: field '%s' is a %s", what, name, luaL_typename(L, -1));
}

static struct mg_json_paths *read_raw(lua_State *L, int table, const char *name, const char *what)
{
    const char *texts[MAX_RAW_PATHS];
    size_t count = 0;
    lua_getfield(L, table, name);
    int list = lua_gettop(L);
    for (; lua_istable(L, list) && count < lua_objlen(L, list); count++) {
        if (count == MAX_RAW_PATHS)
            luaL_error(L, "%s: more than %d paths of 'raw.%s'", what, (int)MAX_RAW_PATHS, name);
        lua_rawgeti(L, list, (int)count + 1);
        texts[count] = luaL_checkstring(L, -1);
        lua_pop(L, 1);                 /* the list keeps it */
    }
    lua_pop(L, 1);
    return count ? mg_json_paths_try_new(texts, count) : NULL;
}

static bool read_flag(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static int load_dialect(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    struct mg_trusted *trusted = job->trusted;
    struct mg_lua_dialect *dialect = &trusted->dialects[trusted->dialect_count];
    char file[64];
    snprintf(file, sizeof file, "dialects/%s.lua", job->name);
    mg_trusted_run_file(L, file);
    int table = lua_gettop(L);
    luaL_checktype(L, table, LUA_TTABLE);
    *dialect = (struct mg_lua_dialect){.ref = LUA_NOREF};
    snprintf(dialect->name, sizeof dialect->name, "%s", job->name);
    get_field(L, table, "raw", LUA_TTABLE, file);
    int raw = lua_gettop(L);
    dialect->raw_request = read_raw(L, raw, "request", file);
    dialect->raw_answer = read_raw(L, raw, "answer", file);
    dialect->raw_event = read_raw(L, raw, "event", file);
    lua_getfield(L, table, "stream");
    if (lua_istable(L, -1)) {
        int stream = lua_gettop(L);
        dialect->style = (struct mg_stream_style){read_flag(L, stream, "one_block"), read_flag(L, stream, "wants_text")};
        dialect->wants_request = read_flag(L, stream, "wants_request");
    }
    lua_pushvalue(L, table);
    dialect->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    trusted->dialect_count++;
    return 0;
}

static const struct mg_lua_dialect *find(struct mg_trusted *trusted, const char *name)
{
    for (int i = 0; i < trusted->dialect_count; i++)
        if (strcmp(trusted->dialects[i].name, name) == 0)
            return &trusted->dialects[i];
    return NULL;
}

/* NULL: there is none of that name, or it does not load. */
static const struct mg_lua_dialect *dialect_of(struct mg_trusted *trusted, const char *name)
{
    const struct mg_lua_dialect *dialect = find(trusted, name);
    if (dialect)
        return dialect;
    if (trusted->dialect_count == MG_DIALECTS)
        return NULL;
    struct job job = {.trusted = trusted, .name = name};
    return run(&job, load_dialect, name) == MG_OK ? find(trusted, name) : NULL;
}

void mg_trusted_dialects_free(struct mg_trusted *trusted)
{
    for (int i = 0; i < trusted->dialect_count; i++) {
        mg_json_paths_free(trusted->dialects[i].raw_request);
        mg_json_paths_free(trusted->dialects[i].raw_answer);
        mg_json_paths_free(trusted->dialects[i].raw_event);
    }
    trusted->dialect_count = 0;
    mg_buf_fini(&trusted->written);
}

/* ---- documents --------------------------------------------------------------------------------- */

struct raw_spans {
    struct mg_arena *arena;
    mg_view *items;
    size_t count, cap;
};

/* Hits come in the order of their ends: what stands inside this one came before it, and goes. */
static mg_err on_raw(void *arg, const struct mg_json_hit *hit)
{
    struct raw_spans *spans = arg;
    while (spans->count && spans->items[spans->count - 1].ptr >= hit->value.ptr)
        spans->count--;
    if (spans->count == spans->cap) {
        size_t cap = spans->cap ? spans->cap * 2 : 16;
        mg_view *grown = mg_arena_array(spans->arena, mg_view, cap);
        if (spans->count)
            memcpy(grown, spans->items, spans->count * sizeof *grown);
        spans->items = grown;
        spans->cap = cap;
    }
    spans->items[spans->count++] = hit->value;
    return MG_OK;
}

mg_err mg_lua_take_document(struct mg_arena *arena, mg_view body, const struct mg_json_paths *raw, struct mg_lua_document *out_document)
{
    struct raw_spans spans = {.arena = arena};
    MG_TRY(mg_json_scan(body, raw, on_raw, &spans, NULL));
    *out_document = (struct mg_lua_document){body, spans.items, spans.count};
    return MG_OK;
}

/* Checks the document and finds what stays text in it. */
static mg_err take_document(struct job *job, mg_view body, const struct mg_json_paths *raw)
{
    return mg_lua_take_document(job->arena, body, raw, &job->document);
}

static void push_document(lua_State *L, const struct job *job)
{
    mg_lua_push_json_exact(L, job->document.body, job->document.raw, job->document.raw_count);
}

static void push_method(lua_State *L, const struct mg_lua_dialect *dialect, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, dialect->ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1))
        luaL_error(L, "dialect %s has no %s", dialect->name, name);
}

/* … or what it does with a task. */
static void push_task(lua_State *L, const struct mg_lua_dialect *dialect, const char *task, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, dialect->ref);
    const char *const at[] = {"tasks", task, name};
    for (size_t i = 0; i < MG_COUNT(at) && lua_istable(L, -1); i++) {
        lua_getfield(L, -1, at[i]);
        lua_remove(L, -2);
    }
    if (!lua_isfunction(L, -1))
        luaL_error(L, "dialect %s has no tasks.%s.%s", dialect->name, task, name);
}

static void push_function(lua_State *L, const struct mg_lua_dialect *dialect, const struct job *job, const char *name)
{
    if (job->what->task)
        push_task(L, dialect, job->what->task, name);
    else
        push_method(L, dialect, name);
}

static void set_text(lua_State *L, const char *name, mg_view text)
{
    if (!text.len)
        return;
    mg_lua_push_view(L, text);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool is)
{
    lua_pushboolean(L, is);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

/* ---- the context ------------------------------------------------------------------------------- */

static void join(struct mg_arena *arena, mg_view *list, mg_view name)
{
    if (list->len + name.len + 1 <= MG_WARNING_BYTES)
        *list = mg_arena_printf(arena, "%.*s%s%.*s", MG_FMT(*list), list->len ? "," : "", MG_FMT(name));
}

/* Names go into a header line. */
static bool is_name(mg_view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= 0x20 || name.ptr[i] > 0x7e || name.ptr[i] == ',')
            return false;
    return name.len > 0 && name.len <= 64;
}

static int ctx_drop(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    mg_view name = mg_lua_text(L, 1, "drop: field");
    if (job->report && is_name(name))
        join(job->arena, &job->report->dropped, name);
    return 0;
}

static int ctx_refuse(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    mg_view param = mg_lua_opt_text(L, 1, "refuse: param", MG_VIEW_NONE);
    mg_view message = mg_lua_text(L, 2, "refuse: message");
    bool always = lua_toboolean(L, 3);
    mg_view code = mg_lua_opt_text(L, 4, "refuse: code", MG_VIEW_NONE);
    if (!job->report)
        return 0;
    if (job->what->lenient && !always) {
        if (is_name(param))
            join(job->arena, &job->report->dropped, param);
        return 0;
    }
    job->report->param = mg_arena_dup(job->arena, param);
    job->report->message = mg_arena_dup(job->arena, message);
    job->report->always = always;
    job->report->code = mg_arena_dup(job->arena, code);
    job->refused = true;
    return luaL_error(L, "refused");
}

/* What the catalogue does not say is absent: the dialect then goes by what it knows of names itself, or tries. */
static void push_caps(lua_State *L, const struct mg_translation *what)
{
    const struct mg_model *known = what->known;
    lua_createtable(L, 0, 4);
    set_flag(L, "prefill", what->prefill);
    if (what->max_output)
        set_number(L, "max_output", what->max_output);
    if (known && known->can[MG_ABILITY_reasoning] != MG_NOT_KNOWN)
        set_flag(L, "reasoning", known->can[MG_ABILITY_reasoning] == MG_KNOWN_YES);
    if (known && known->refuses) {
        lua_pushfstring(L, "%s%s", known->refuses, known->can[MG_ABILITY_prefill] == MG_KNOWN_NO ? " prefill" : "");
        lua_setfield(L, -2, "refuses");
    }
}

static void push_ctx(lua_State *L, const struct job *job)
{
    const struct mg_translation *what = job->what;
    lua_createtable(L, 0, 12);
    set_text(L, "model", what->model);
    set_text(L, "asked_model", what->asked_model);
    set_text(L, "vendor", mg_view_cstr(what->vendor));
    set_text(L, "id", what->id);
    set_text(L, "client", mg_view_cstr(what->client));
    set_text(L, "provider", mg_view_cstr(what->provider));
    set_flag(L, "stream", what->stream);
    set_flag(L, "lenient", what->lenient);
    set_flag(L, "include_usage", what->include_usage);
    set_number(L, "created", (double)what->created_s);
    if (what->memo.len) {
        mg_lua_push_json_exact(L, what->memo, NULL, 0);
        lua_setfield(L, -2, "memo");
    }
    push_caps(L, what);
    lua_setfield(L, -2, "caps");
    lua_pushcfunction(L, ctx_drop);
    lua_setfield(L, -2, "drop");
    lua_pushcfunction(L, ctx_drop);
    lua_setfield(L, -2, "warn");
    lua_pushcfunction(L, ctx_refuse);
    lua_setfield(L, -2, "refuse");
}

/* ---- whole bodies ------------------------------------------------------------------------------ */

static mg_view value_json(lua_State *L, int index, struct mg_arena *arena, const char *what)
{
    const struct job *job = mg_lua_of(L)->body_arg;
    struct mg_buf *out = &job->trusted->written;
    const char *why = NULL;
    mg_buf_shrink(out, KEEP_BYTES);
    if (mg_lua_put_json(L, index, out, &why) != MG_OK)
        luaL_error(L, "%s: %s", what, why);
    return mg_arena_dup(arena, mg_buf_view(out));
}

/* read(document, ctx) of one side, then write(neutral, ctx) of the other, which may also return a memo. */
static int map_document(lua_State *L, const char *read, const char *write)
{
    struct job *job = mg_lua_of(L)->body_arg;
    push_ctx(L, job);
    int ctx = lua_gettop(L);
    push_function(L, job->from, job, read);
    push_document(L, job);
    lua_pushvalue(L, ctx);
    lua_call(L, 2, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    int neutral = lua_gettop(L);
    push_function(L, job->to, job, write);
    lua_pushvalue(L, neutral);
    lua_pushvalue(L, ctx);
    lua_call(L, 2, 2);
    int memo = lua_gettop(L);
    job->out_body = value_json(L, memo - 1, job->arena, write);
    if (job->report && lua_istable(L, memo))
        job->report->memo = value_json(L, memo, job->arena, write);
    return 0;
}

static int map_request(lua_State *L)
{
    return map_document(L, "read_request", "write_request");
}

static int map_answer(lua_State *L)
{
    return map_document(L, "read_answer", "write_answer");
}

static mg_err translate_request(void *arg, const struct mg_translation *what, struct mg_arena *arena, mg_view *out_body,
                                struct mg_translation_report *report)
{
    struct job job = {.trusted = arg, .what = what, .arena = arena, .report = report,
                      .from = dialect_of(arg, what->client), .to = dialect_of(arg, what->provider)};
    *report = (struct mg_translation_report){.dropped = MG_VIEW_NONE};
    if (!job.from || !job.to)
        return MG_E_SCRIPT;
    MG_TRY(take_document(&job, what->request, job.from->raw_request));
    MG_TRY(run(&job, map_request, what->client));
    *out_body = job.out_body;
    return MG_OK;
}

static mg_err translate_answer(void *arg, const struct mg_translation *what, struct mg_arena *arena, mg_view body, mg_view *out_body)
{
    struct job job = {.trusted = arg, .what = what, .arena = arena,
                      .from = dialect_of(arg, what->provider), .to = dialect_of(arg, what->client)};
    if (!job.from || !job.to)
        return MG_E_SCRIPT;
    if (take_document(&job, body, job.from->raw_answer) != MG_OK)
        return MG_E_PROTOCOL;
    MG_TRY(run(&job, map_answer, what->provider));
    *out_body = job.out_body;
    return MG_OK;
}

/* ---- streams ----------------------------------------------------------------------------------- */

static int open_stream(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    push_ctx(L, job);
    int writer = lua_gettop(L);
    set_number(L, "seq", 0);
    if (job->stream->client->wants_request) {
        push_method(L, job->stream->client, "read_request");
        push_document(L, job);
        push_ctx(L, job);
        lua_call(L, 2, 1);
        lua_setfield(L, writer, "request");
    }
    lua_pushvalue(L, writer);
    job->stream->writer = luaL_ref(L, LUA_REGISTRYINDEX);
    push_ctx(L, job);
    job->stream->reader = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void end_stream(struct mg_translated *stream)
{
    if (!stream)
        return;
    lua_State *L = stream->trusted->lua.L;
    luaL_unref(L, LUA_REGISTRYINDEX, stream->writer);
    luaL_unref(L, LUA_REGISTRYINDEX, stream->reader);
    luaL_unref(L, LUA_REGISTRYINDEX, stream->deltas);
    mg_buf_fini(&stream->scratch);
    mg_free(stream);
}

static mg_err begin_stream(void *arg, const struct mg_translation *what, struct mg_translated **out_stream,
                           struct mg_stream_style *out_style)
{
    struct mg_arena arena;
    struct mg_translated *stream = mg_new(struct mg_translated);
    *stream = (struct mg_translated){.trusted = arg, .client = dialect_of(arg, what->client),
                                     .provider = dialect_of(arg, what->provider),
                                     .writer = LUA_NOREF, .reader = LUA_NOREF, .deltas = LUA_NOREF};
    mg_buf_init(&stream->scratch, EVENT_BYTES);
    mg_arena_init(&arena, 1024);
    struct job job = {.trusted = arg, .what = what, .arena = &arena, .stream = stream};
    mg_err err = stream->client && stream->provider ? MG_OK : MG_E_SCRIPT;
    if (err == MG_OK && stream->client->wants_request)
        err = take_document(&job, what->request, stream->client->raw_request);
    if (err == MG_OK)
        err = run(&job, open_stream, what->client);
    mg_arena_fini(&arena);
    if (err != MG_OK) {
        end_stream(stream);
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

/* A text as a JSON string in the scratch buffer; for now the view holds its offset there: the buffer may still move. */
static mg_view quoted(lua_State *L, struct mg_translated *stream, int table, const char *name)
{
    size_t len = 0, from = stream->scratch.len;
    lua_getfield(L, table, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
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
    return mg_view_of((const char *)from, stream->scratch.len - from);
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

static mg_view settled(const struct mg_translated *stream, mg_view at)
{
    return mg_view_head(mg_view_skip(mg_buf_view(&stream->scratch), (size_t)at.ptr), at.len);
}

static void settle_deltas(struct mg_translated *stream, struct mg_delta *deltas, int count)
{
    for (int i = 0; i < count; i++) {
        deltas[i].text = settled(stream, deltas[i].text);
        deltas[i].id = settled(stream, deltas[i].id);
        deltas[i].name = settled(stream, deltas[i].name);
        deltas[i].signature = settled(stream, deltas[i].signature);
    }
}

static int read_event(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    struct mg_translated *stream = job->stream;
    push_method(L, stream->provider, "read_event");
    mg_lua_push_view(L, job->event);
    push_document(L, job);
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
    mg_buf_clear(&stream->scratch);
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

static mg_err translate_event(struct mg_translated *stream, mg_view name, mg_view data, struct mg_delta *deltas, int *out_count)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 1024);
    struct job job = {.trusted = stream->trusted, .arena = &arena, .stream = stream, .event = name, .deltas = deltas};
    mg_err err = take_document(&job, data, stream->provider->raw_event);
    if (err == MG_OK)
        err = run(&job, read_event, stream->provider->name);
    if (err == MG_OK)
        settle_deltas(stream, deltas, job.delta_count);
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
            set_text(L, "kind", mg_view_cstr(delta_kinds[i].name));
    set_number(L, "choice", block->choice);
    set_number(L, "index", block->index);
    set_number(L, "tool", block->tool);
    set_string(L, "id", block->id);
    set_string(L, "name", block->name);
    set_string(L, "signature", block->signature);
    set_text(L, "json", block->text);
}

static void push_usage(lua_State *L, const struct mg_usage *usage)
{
    if (!usage->reported) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 8);
    set_number(L, "input", (double)usage->input_tokens);
    set_number(L, "output", (double)usage->output_tokens);
    set_number(L, "cached_read", (double)usage->cached_read_tokens);
    set_number(L, "cached_write", (double)usage->cached_write_tokens);
    set_number(L, "reasoning", (double)usage->reasoning_tokens);
    set_number(L, "input_audio", (double)usage->input_audio_tokens);
    set_number(L, "output_audio", (double)usage->output_audio_tokens);
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
    set_number(L, "choice", call->choice);
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
    struct job *job = mg_lua_of(L)->body_arg;
    struct mg_translated *stream = job->stream;
    const struct mg_write_call *call = job->call;
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->client->ref);
    lua_getfield(L, -1, "stream");
    lua_getfield(L, -1, names[call->what]);
    if (lua_isnil(L, -1))
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, stream->writer);
    set_number(L, "seq", (double)*call->seq);
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

static mg_err translate_write(struct mg_translated *stream, const struct mg_write_call *call, struct mg_buf *out)
{
    struct job job = {.trusted = stream->trusted, .stream = stream, .call = call, .out = out};
    return run(&job, write_events, stream->client->name);
}

struct mg_translated_side mg_translated_client(const struct mg_translated *stream)
{
    return (struct mg_translated_side){stream->trusted, stream->client, stream->writer};
}

const struct mg_translator_ops mg_trusted_translator = {
    .request = translate_request, .answer = translate_answer, .begin = begin_stream, .end = end_stream,
    .read = translate_event, .write = translate_write, .resume = mg_translated_resume};
