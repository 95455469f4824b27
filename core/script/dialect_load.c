/* What C executes of a file of lua/dialects: the text of its errors. */
#include <stdio.h>

#include "base/mem.h"
#include "chat/dialect.h"
#include "script/args.h"
#include "script/sandbox.h"
#include "script/trusted.h"

struct loader {
    const char *file;
    struct mg_arena *arena;
    struct mg_dialect *out;
};

static const char *keep(lua_State *L, struct loader *loader, int index, const char *what)
{
    return mg_arena_dup(loader->arena, mg_lua_text(L, index, what)).ptr;
}

static void read_frame(lua_State *L, struct loader *loader, int error, const char *name, struct mg_error_frame *out)
{
    mg_lua_field(L, error, name);
    int list = lua_gettop(L);
    size_t count = lua_istable(L, list) ? lua_objlen(L, list) : 0;
    if (count > MG_ERROR_PIECES)
        luaL_error(L, "%s: error.%s has more than %d pieces", loader->file, name, (int)MG_ERROR_PIECES);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        bool is_place = lua_type(L, -1) == LUA_TNUMBER;
        out->pieces[i].place = is_place ? (enum mg_error_place)mg_lua_integer(L, -1, name, MG_ERROR_SEQ, MG_ERROR_STATUS)
                                        : MG_ERROR_LITERAL;
        out->pieces[i].literal = is_place ? NULL : keep(L, loader, lua_gettop(L), name);
        lua_pop(L, 1);
    }
    out->count = (int)count;
    lua_pop(L, 1);
}

static void read_types(lua_State *L, struct loader *loader, int error)
{
    struct mg_dialect *out = loader->out;
    mg_lua_field(L, error, "types");
    int types = lua_gettop(L);
    mg_lua_table(L, types, "error.types");
    for (lua_pushnil(L); lua_next(L, types); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TNUMBER)
            continue;
        if (out->type_count == MG_ERROR_TYPES)
            luaL_error(L, "%s: more than %d types of errors", loader->file, (int)MG_ERROR_TYPES);
        out->types[out->type_count].status = (int)lua_tointeger(L, -2);
        out->types[out->type_count++].word = keep(L, loader, lua_gettop(L), "error.types");
    }
    mg_lua_field(L, types, "default4");
    out->type4 = keep(L, loader, lua_gettop(L), "error.types.default4");
    mg_lua_field(L, types, "default5");
    out->type5 = keep(L, loader, lua_gettop(L), "error.types.default5");
    lua_settop(L, types - 1);
}

static void read_statuses(lua_State *L, struct loader *loader, int error)
{
    struct mg_dialect *out = loader->out;
    mg_lua_field(L, error, "statuses");
    int list = lua_gettop(L);
    if (lua_istable(L, list))
        for (lua_pushnil(L); lua_next(L, list) && out->status_count < MG_ERROR_TYPES; lua_pop(L, 1)) {
            out->statuses[out->status_count].status = (int)lua_tointeger(L, -2);
            out->statuses[out->status_count++].instead = (int)lua_tointeger(L, -1);
        }
    lua_settop(L, list - 1);
}

static void read_stream(lua_State *L, struct loader *loader, int dialect)
{
    mg_lua_field(L, dialect, "stream");
    int stream = lua_gettop(L);
    if (lua_istable(L, stream)) {
        loader->out->no_comments = !mg_lua_field_boolean(L, stream, "comments", "stream.comments", true);
        mg_lua_field(L, stream, "sequence");
        if (!lua_isnil(L, -1))
            loader->out->sequence = keep(L, loader, lua_gettop(L), "stream.sequence");
    }
    lua_settop(L, stream - 1);
}

static void read_texts(lua_State *L, struct loader *loader, int dialect, const char *name, const char **out, size_t most)
{
    mg_lua_field(L, dialect, name);
    int list = lua_gettop(L);
    size_t count = lua_istable(L, list) ? lua_objlen(L, list) : 0;
    if (count > most)
        luaL_error(L, "%s: more than %d texts in '%s'", loader->file, (int)most, name);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        out[i] = keep(L, loader, lua_gettop(L), name);
    }
    lua_settop(L, list - 1);
}

static int load(lua_State *L)
{
    struct loader *loader = mg_lua_of(L)->body_arg;
    mg_trusted_run_file(L, loader->file);
    mg_lua_table(L, lua_gettop(L), "a dialect");
    read_stream(L, loader, lua_gettop(L));
    read_texts(L, loader, lua_gettop(L), "headers", loader->out->headers, MG_DIALECT_HEADERS);
    read_texts(L, loader, lua_gettop(L), "references", loader->out->references, MG_DIALECT_REFERENCES);
    mg_lua_field(L, lua_gettop(L), "error");
    int error = lua_gettop(L);
    mg_lua_table(L, error, "error");
    read_frame(L, loader, error, "body", &loader->out->body);
    read_frame(L, loader, error, "stream", &loader->out->stream);
    read_types(L, loader, error);
    read_statuses(L, loader, error);
    mg_lua_field(L, error, "event");
    if (!lua_isnil(L, -1))
        loader->out->error_event = keep(L, loader, lua_gettop(L), "error.event");
    return 0;
}

mg_err mg_dialect_load(const char *name, struct mg_arena *arena, struct mg_dialect *out_dialect, struct mg_diag *diag)
{
    char file[64];
    snprintf(file, sizeof file, "dialects/%s.lua", name);
    *out_dialect = (struct mg_dialect){.name = mg_arena_strdup(arena, name)};
    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = file};
    struct loader loader = {.file = file, .arena = arena, .out = out_dialect};
    MG_TRY(mg_sandbox_open(&lua, "moongate", diag));
    mg_err err = MG_OK;
    if (mg_lua_enter(&lua, &run, MG_LUA_SETUP_US, load, &loader) != MG_LUA_ENDED)
        err = mg_diag_set(diag, MG_E_CONFIG, file, 0, "%.*s", (int)strcspn(lua.trace, "\n"), lua.trace);
    mg_sandbox_close(&lua);
    return err;
}
