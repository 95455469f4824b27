/* The translator over lua/dialects: whole bodies. Each function of a dialect is called in the worker's trusted state with
 * the decoded document and a context, and what it returns is encoded. Streams are dialect_stream.c's. */
#include "script/args.h"
#include "script/dialect_call.h"
#include "script/json_lua.h"

enum { KEEP_BYTES = 65536 };

static mg_view value_json(lua_State *L, int index, struct mg_arena *arena, const char *what)
{
    const struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
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
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    mg_dialect_push_ctx(L, job);
    int ctx = lua_gettop(L);
    mg_dialect_push_function(L, job->from, job, read);
    mg_dialect_push(L, job);
    lua_pushvalue(L, ctx);
    lua_call(L, 2, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    int neutral = lua_gettop(L);
    mg_dialect_push_function(L, job->to, job, write);
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
    struct mg_dialect_job job = {.trusted = arg, .what = what, .arena = arena, .report = report,
                      .from = mg_dialect_of(arg, what->client), .to = mg_dialect_of(arg, what->provider)};
    *report = (struct mg_translation_report){.dropped = MG_VIEW_NONE};
    if (!job.from || !job.to)
        return MG_E_SCRIPT;
    MG_TRY(mg_dialect_take(&job, what->request, job.from->raw_request));
    MG_TRY(mg_dialect_run(&job, map_request, what->client));
    *out_body = job.out_body;
    return MG_OK;
}

static mg_err translate_answer(void *arg, const struct mg_translation *what, struct mg_arena *arena, mg_view body, mg_view *out_body)
{
    struct mg_dialect_job job = {.trusted = arg, .what = what, .arena = arena,
                      .from = mg_dialect_of(arg, what->provider), .to = mg_dialect_of(arg, what->client)};
    if (!job.from || !job.to)
        return MG_E_SCRIPT;
    if (mg_dialect_take(&job, body, job.from->raw_answer) != MG_OK)
        return MG_E_PROTOCOL;
    MG_TRY(mg_dialect_run(&job, map_answer, what->provider));
    *out_body = job.out_body;
    return MG_OK;
}

const struct mg_translator_ops mg_trusted_translator = {
    .request = translate_request, .answer = translate_answer,
    .begin = mg_dialect_stream_begin, .end = mg_dialect_stream_end,
    .read = mg_dialect_stream_read, .write = mg_dialect_stream_write, .resume = mg_translated_resume};
