#include "script/args.h"

#include "base/limits.h"
#include "base/mem.h"
#include "script/co.h"
#include "script/fetch.h"
#include "script/json_lua.h"
#include "script/modules.h"
#include "script/secrets_lua.h"

enum { TIMEOUT_MS = 1500, MAX_TIMEOUT_MS = 30000, HEADERS = 32, ORIGINS = 64 };

enum kind { ONE, ALL, RACE };

struct call {
    struct mg_fetch fetch;
    struct mg_fetch_request request;   /* its strings are in the operation's arena */
    struct mg_header headers[HEADERS];
    struct mg_fetch_secret secrets[MG_FETCH_SECRETS];
    const char *secret_origins[MG_FETCH_SECRETS][MG_SECRET_ORIGINS + 1];
    struct http *op;
};

/* One wait of a hook: a request, or several at once. */
struct http {
    struct mg_wait wait;
    struct mg_loop *loop;
    enum kind kind;
    struct mg_arena arena;
    const char *origins[ORIGINS + 1];  /* borrowed from the instance */
    struct call *calls;                /* owned */
    int count, started, done;
    int winner;                        /* of a race; -1: nobody yet */
};

/* ---- arguments, copied before anything waits. A box on the Lua stack owns the operation until then. */

static void http_free(struct mg_wait *wait)
{
    struct http *op = mg_container_of(wait, struct http, wait);
    for (int i = 0; i < op->count; i++)
        mg_fetch_fini(&op->calls[i].fetch);
    mg_free(op->calls);
    mg_arena_fini(&op->arena);
    mg_free(op);
}

static int box_gc(lua_State *L)
{
    struct http **box = lua_touserdata(L, 1);
    if (*box)
        http_free(&(*box)->wait);
    *box = NULL;
    return 0;
}

static void read_grants(const struct mg_instance *instance, struct http *op)
{
    int count = 0;
    for (size_t i = 0; instance && instance->grants && instance->grants[i] && count < ORIGINS; i++)
        if (strncmp(instance->grants[i], "net:", 4) == 0)
            op->origins[count++] = instance->grants[i] + 4;
}

static struct http **box_new(lua_State *L, enum kind kind, int count)
{
    struct http **box = lua_newuserdata(L, sizeof(struct http *));
    *box = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    struct http *op = mg_new(struct http);
    mg_arena_init(&op->arena, 1024);
    op->kind = kind;
    op->winner = -1;
    op->calls = mg_new_array(struct call, (size_t)count);
    op->count = count;
    read_grants(mg_lua_of(L)->run->instance, op);
    return *box = op, box;
}

static mg_view keep(struct http *op, mg_view text)
{
    return mg_arena_dup(&op->arena, text);
}

/* A handle: the secret itself is put in when the request is written. */
static void read_secret(lua_State *L, struct http *op, struct call *call, const struct mg_lua_secret *secret, const char *what)
{
    struct mg_fetch_request *request = &call->request;
    if (request->secret_count == MG_FETCH_SECRETS)
        luaL_error(L, "%s: at most %d headers with secrets", what, MG_FETCH_SECRETS);
    mg_view name = mg_lua_text(L, -2, "moongate.http: a header's name");
    struct mg_secret_slot *slot = mg_lua_secret_slot(L, secret, what);
    const char **origins = call->secret_origins[request->secret_count];
    mg_lua_secret_origins(mg_lua_of(L)->run->instance, secret->name, origins);
    call->secrets[request->secret_count++] = (struct mg_fetch_secret){
        .header = keep(op, name), .prefix = keep(op, mg_view_cstr(secret->prefix)), .name = keep(op, mg_view_cstr(secret->name)),
        .secret = {.slot = slot}, .origins = origins};
    request->secrets = call->secrets;
}

/* The table of headers is on top of the stack. */
static void read_headers(lua_State *L, struct http *op, struct call *call, const char *what)
{
    int at = lua_gettop(L);
    if (lua_isnil(L, at))
        return;
    mg_lua_table(L, at, "moongate.http: field 'headers'");
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        const struct mg_lua_secret *secret = mg_lua_to_secret(L, -1);
        if (secret) {
            read_secret(L, op, call, secret, what);
            continue;
        }
        if (call->request.header_count == HEADERS)
            luaL_error(L, "%s: at most %d headers", what, HEADERS);
        mg_view name = mg_lua_text(L, -2, "moongate.http: a header's name");
        mg_view value = mg_lua_text(L, -1, "moongate.http: a header's value");
        call->headers[call->request.header_count++] = (struct mg_header){keep(op, name), keep(op, value)};
    }
}

static void read_json(lua_State *L, struct http *op, struct call *call, const char *what)
{
    struct mg_buf *out = mg_lua_scratch(L, MG_MAX_LUA_HTTP_BYTES);
    mg_lua_must_json(L, -2, out, what);
    call->request.body = keep(op, mg_buf_view(out));
    mg_lua_scratch_end(out);
    lua_pop(L, 1);
    for (size_t i = 0; i < call->request.header_count; i++)
        if (mg_view_ieq(call->headers[i].name, MG_VIEW("content-type")))
            return;
    if (call->request.header_count < HEADERS)
        call->headers[call->request.header_count++] =
            (struct mg_header){MG_VIEW("Content-Type"), MG_VIEW("application/json")};
}

static void read_body(lua_State *L, int index, struct http *op, struct call *call, const char *what)
{
    mg_view body = mg_lua_field_text(L, index, "body", what, MG_VIEW_NONE);
    if (body.len > MG_MAX_LUA_HTTP_BYTES)
        luaL_error(L, "%s: a body has at most %d bytes", what, MG_MAX_LUA_HTTP_BYTES);
    mg_lua_field(L, index, "json");
    if (!lua_isnil(L, -1)) {
        if (body.ptr)
            luaL_error(L, "%s: give body or json, not both", what);
        read_json(L, op, call, what);
    } else {
        call->request.body = keep(op, body);
    }
    lua_pop(L, 1);
}

static void read_request(lua_State *L, int index, struct http *op, struct call *call, const char *what)
{
    static const char *const names[] = {"method", "url", "headers", "body", "json", "timeout_ms", "max_bytes", NULL};
    mg_lua_table(L, index, what);
    mg_lua_only(L, index, what, names);
    struct mg_fetch_request *request = &call->request;
    call->op = op;
    request->headers = call->headers;
    request->origins = op->origins;
    request->url = keep(op, mg_lua_field_text(L, index, "url", what, MG_VIEW_NONE));
    if (request->url.len == 0)
        luaL_error(L, "%s: field 'url' is missing", what);
    request->timeout_ms = (uint32_t)mg_lua_field_integer(L, index, "timeout_ms", what, 1, MAX_TIMEOUT_MS, TIMEOUT_MS);
    request->max_bytes = (size_t)mg_lua_field_integer(L, index, "max_bytes", what, 1, MG_MAX_LUA_HTTP_BYTES,
                                                      MG_MAX_LUA_HTTP_BYTES);
    mg_lua_field(L, index, "headers");
    read_headers(L, op, call, what);
    lua_pop(L, 1);
    read_body(L, index, op, call, what);
    mg_view method = request->body.len ? MG_VIEW("POST") : MG_VIEW("GET");
    request->method = keep(op, mg_lua_field_text(L, index, "method", what, method));
}

/* ---- running */

static void start_more(struct http *op);

/* Those who lost a race are dropped with the operation, which ends right behind this. */
static void finish(struct http *op)
{
    mg_co_run(op->wait.co)->http_parallel = 0;
    mg_co_done(&op->wait);
}

static void on_fetched(struct mg_fetch *fetch)
{
    struct call *call = mg_container_of(fetch, struct call, fetch);
    struct http *op = call->op;
    op->done++;
    mg_co_run(op->wait.co)->http_parallel--;
    if (op->kind == RACE && fetch->fail == MG_FETCH_none && op->winner < 0)
        op->winner = (int)(call - op->calls);
    if (op->winner >= 0 || op->done == op->count)
        finish(op);
    else
        start_more(op);
}

static void start_more(struct http *op)
{
    while (op->started < op->count && op->started - op->done < MG_MAX_LUA_HTTP_PARALLEL) {
        struct call *call = &op->calls[op->started++];
        mg_co_run(op->wait.co)->http_parallel++;
        mg_fetch_start(&call->fetch, op->loop, &call->request, on_fetched);
    }
}

static void http_start(struct mg_wait *wait, struct mg_loop *loop)
{
    struct http *op = mg_container_of(wait, struct http, wait);
    op->loop = loop;
    start_more(op);
}

static void http_cancel(struct mg_wait *wait)
{
    struct http *op = mg_container_of(wait, struct http, wait);
    for (int i = 0; i < op->count; i++)
        mg_fetch_fini(&op->calls[i].fetch);
    mg_co_run(op->wait.co)->http_parallel = 0;
}

/* ---- results */

static void push_header_name(lua_State *L, mg_view name)
{
    char lower[128];
    size_t len = MG_MIN(name.len, sizeof lower);
    for (size_t i = 0; i < len; i++)
        lower[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] - 'A' + 'a') : name.ptr[i];
    lua_pushlstring(L, lower, len);
}

/* Fields of one name are joined as RFC 9110 has it. */
static void push_headers(lua_State *L, const struct mg_fetch *fetch)
{
    lua_createtable(L, 0, (int)fetch->header_count);
    for (size_t i = 0; i < fetch->header_count; i++) {
        push_header_name(L, fetch->headers[i].name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            mg_lua_push_view(L, fetch->headers[i].value);
        } else {
            lua_pushliteral(L, ", ");
            mg_lua_push_view(L, fetch->headers[i].value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void push_response(lua_State *L, const struct mg_fetch *fetch)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, fetch->status);
    lua_setfield(L, -2, "status");
    push_headers(L, fetch);
    lua_setfield(L, -2, "headers");
    mg_lua_push_view(L, mg_buf_view(&fetch->body));
    lua_setfield(L, -2, "body");
}

static int push_failure(lua_State *L, const struct mg_fetch *fetch)
{
    return mg_lua_fail(L, mg_fetch_fail_name(fetch->fail), mg_fetch_fail_retryable(fetch->fail), "%s", fetch->detail);
}

static int push_all(lua_State *L, const struct http *op)
{
    lua_createtable(L, op->count, 0);
    for (int i = 0; i < op->count; i++) {
        const struct mg_fetch *fetch = &op->calls[i].fetch;
        if (fetch->fail == MG_FETCH_none) {
            push_response(L, fetch);
        } else {
            lua_createtable(L, 0, 1);
            push_failure(L, fetch);
            lua_setfield(L, -3, "error");
            lua_pop(L, 1);             /* the nil in front of it */
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int http_push(struct mg_wait *wait, lua_State *L)
{
    struct http *op = mg_container_of(wait, struct http, wait);
    const struct mg_fetch *fetch = &op->calls[op->winner >= 0 ? op->winner : op->count - 1].fetch;
    if (op->kind == ALL)
        return push_all(L, op);
    if (fetch->fail != MG_FETCH_none)
        return push_failure(L, fetch);
    push_response(L, fetch);
    if (op->kind == ONE)
        return 1;
    lua_pushinteger(L, op->winner + 1);
    return 2;
}

/* ---- moongate.http */

static int wait_for(lua_State *L, struct http **box)
{
    struct http *op = *box;
    op->wait = (struct mg_wait){http_start, http_cancel, http_push, http_free, NULL, false};
    *box = NULL;                       /* from here on co.c owns it */
    return mg_co_wait(L, &op->wait);
}

static bool over_limit(lua_State *L, int count)
{
    struct mg_lua_run *run = mg_lua_of(L)->run;
    if (run->http_calls + (uint32_t)count > MG_MAX_LUA_HTTP_CALLS)
        return true;
    run->http_calls += (uint32_t)count;
    return false;
}

static int fail_limit(lua_State *L, const char *what)
{
    return mg_lua_fail(L, "limit", false, "%s: a hook makes at most %d calls", what, MG_MAX_LUA_HTTP_CALLS);
}

static int http_request(lua_State *L)
{
    lua_settop(L, 1);
    struct http **box = box_new(L, ONE, 1);
    read_request(L, 1, *box, &(*box)->calls[0], "moongate.http.request");
    return over_limit(L, 1) ? fail_limit(L, "moongate.http.request") : wait_for(L, box);
}

static int several(lua_State *L, enum kind kind, const char *what)
{
    mg_lua_table(L, 1, what);
    lua_settop(L, 1);
    int count = (int)lua_objlen(L, 1);
    if (count < 1 || count > MG_MAX_LUA_HTTP_CALLS)
        return luaL_error(L, "%s: from 1 to %d requests", what, MG_MAX_LUA_HTTP_CALLS);
    struct http **box = box_new(L, kind, count);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 1, i + 1);
        read_request(L, 3, *box, &(*box)->calls[i], what);
        lua_settop(L, 2);
    }
    return over_limit(L, count) ? fail_limit(L, what) : wait_for(L, box);
}

static int http_all(lua_State *L)
{
    return several(L, ALL, "moongate.http.all");
}

static int http_race(lua_State *L)
{
    return several(L, RACE, "moongate.http.race");
}

static const struct mg_lua_function functions[] = {
    {"request", http_request, MG_LUA_WAITING, "net", true},
    {"all", http_all, MG_LUA_WAITING, "net", true},
    {"race", http_race, MG_LUA_WAITING, "net", true},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_http = {"http", functions, NULL};
