#include "script/bill.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/mem.h"
#include "script/bill_parts.h"
#include "script/plugins.h"
#include "script/sandbox.h"

struct mg_bill {
    lua_State *L;
    const char *path;                  /* borrowed */
    struct mg_bill_plugin *plugin;     /* owned; NULL: it is a script */
};

enum { SCRIPT_AT = 1 };                /* stack place of the table that the file returned */

/* What reaches outside or runs what is no text is taken away. */
static void open_language(lua_State *L)
{
    static const luaL_Reg libraries[] = {
        {"", luaopen_base}, {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math}};
    static const char *const gone[] = {"dofile", "loadfile", "load", "loadstring", "require", "module", "newproxy", "collectgarbage", "print"};
    for (size_t i = 0; i < MG_COUNT(libraries); i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    for (size_t i = 0; i < MG_COUNT(gone); i++) {
        lua_pushnil(L);
        lua_setglobal(L, gone[i]);
    }
}

void mg_bill_push(lua_State *L, const struct mg_json *value)
{
    luaL_checkstack(L, 4, "an event is nested too deep");
    switch (mg_json_type(value)) {
    case MG_JSON_NULL: lua_pushnil(L); return;
    case MG_JSON_BOOL: lua_pushboolean(L, mg_json_bool(value, false)); return;
    case MG_JSON_NUMBER: lua_pushnumber(L, mg_json_double(value, 0)); return;
    case MG_JSON_STRING: lua_pushlstring(L, mg_json_string(value).ptr, mg_json_string(value).len); return;
    case MG_JSON_ARRAY:
    case MG_JSON_OBJECT: break;
    }
    bool is_object = mg_json_is(value, MG_JSON_OBJECT);
    int index = 0;
    lua_newtable(L);
    for (const struct mg_json *member = mg_json_first(value); member; member = mg_json_next(member)) {
        if (is_object)
            lua_pushlstring(L, mg_json_key(member).ptr, mg_json_key(member).len);
        else
            lua_pushinteger(L, ++index);
        mg_bill_push(L, member);
        lua_rawset(L, -3);
    }
}

static mg_err failed(const struct mg_bill *bill, struct mg_diag *diag)
{
    const char *words = lua_isstring(bill->L, -1) ? lua_tostring(bill->L, -1) : "it raised something that is no text";
    mg_diag_set(diag, MG_E_SCRIPT, NULL, 0, "%s", words);
    lua_pop(bill->L, 1);
    return MG_E_SCRIPT;
}

static int run_file(lua_State *L)
{
    const struct mg_buf *text = lua_touserdata(L, 1);
    const char *path = lua_touserdata(L, 2);
    mg_view bytes = mg_buf_view(text);
    lua_pushfstring(L, "@%s", path);
    if (luaL_loadbufferx(L, bytes.ptr, bytes.len, lua_tostring(L, -1), "t") != 0)
        return lua_error(L);
    lua_call(L, 0, 1);
    static const char *const functions[] = {"event", "invoice"};
    for (size_t i = 0; i < MG_COUNT(functions); i++) {
        if (lua_istable(L, -1))
            lua_getfield(L, -1, functions[i]);
        if (!lua_isfunction(L, -1))
            return luaL_error(L, "%s: it must return { event = function(event), invoice = function() }", path);
        lua_pop(L, 1);
    }
    return 1;
}

static mg_err load(struct mg_bill *bill, struct mg_buf *text, struct mg_diag *diag)
{
    int line = mg_sandbox_foreign_literal(mg_buf_view(text));
    if (line > 0)
        return mg_diag_set(diag, MG_E_SCRIPT, bill->path, line, "number literals such as 1LL are not for scripts");
    lua_pushcfunction(bill->L, run_file);
    lua_pushlightuserdata(bill->L, text);
    lua_pushlightuserdata(bill->L, (void *)bill->path);
    return lua_pcall(bill->L, 2, 1, 0) == 0 ? MG_OK : failed(bill, diag);
}

mg_err mg_bill_open(const char *path, struct mg_bill **out_bill, struct mg_diag *diag)
{
    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = mg_read_file(path, &text);
    if (err != MG_OK) {
        mg_buf_fini(&text);
        return mg_diag_set(diag, err, path, 0, "cannot be read");
    }
    struct mg_bill *bill = mg_new(struct mg_bill);
    *bill = (struct mg_bill){.L = luaL_newstate(), .path = path};
    err = bill->L ? MG_OK : MG_E_MEMORY;
    if (err == MG_OK) {
        open_language(bill->L);
        err = load(bill, &text, diag);
    }
    mg_buf_fini(&text);
    if (err != MG_OK) {
        mg_bill_close(bill);
        return err;
    }
    *out_bill = bill;
    return MG_OK;
}

static int call_event(lua_State *L)
{
    const struct mg_json *event = lua_touserdata(L, 2);
    lua_getfield(L, 1, "event");
    mg_bill_push(L, event);
    lua_call(L, 1, 0);
    return 0;
}

mg_err mg_bill_open_plugin(const struct mg_config_project *project, const char *name, struct mg_bill **out_bill, struct mg_diag *diag)
{
    struct mg_bill_plugin *plugin;
    MG_TRY(mg_bill_plugin_open(project, name, &plugin, diag));
    *out_bill = mg_new(struct mg_bill);
    (*out_bill)->plugin = plugin;
    return MG_OK;
}

mg_err mg_bill_event(struct mg_bill *bill, const struct mg_json *event, struct mg_diag *diag)
{
    if (bill->plugin)
        return mg_bill_plugin_event(bill->plugin, event, diag);
    lua_pushcfunction(bill->L, call_event);
    lua_pushvalue(bill->L, SCRIPT_AT);
    lua_pushlightuserdata(bill->L, (void *)event);
    return lua_pcall(bill->L, 2, 0, 0) == 0 ? MG_OK : failed(bill, diag);
}

mg_err mg_bill_invoice(struct mg_bill *bill, struct mg_buf *out, struct mg_diag *diag)
{
    size_t len = 0;
    if (bill->plugin)
        return mg_bill_plugin_invoice(bill->plugin, out, diag);
    lua_getfield(bill->L, SCRIPT_AT, "invoice");
    if (lua_pcall(bill->L, 0, 1, 0) != 0)
        return failed(bill, diag);
    const char *text = lua_type(bill->L, -1) == LUA_TSTRING ? lua_tolstring(bill->L, -1, &len) : NULL;
    mg_err err = text ? mg_buf_put(out, mg_view_of(text, len)) : mg_diag_set(diag, MG_E_SCRIPT, bill->path, 0, "invoice() must return a text");
    lua_pop(bill->L, 1);
    return err;
}

void mg_bill_close(struct mg_bill *bill)
{
    if (!bill)
        return;
    if (bill->L)
        lua_close(bill->L);
    mg_bill_plugin_close(bill->plugin);
    mg_free(bill);
}
