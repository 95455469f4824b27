#include <stdlib.h>

#include "base/mem.h"
#include "script/modules.h"
#include "script/pattern_lua.h"
#include "script/text.h"

enum { OUT_BYTES = 16777216, NAME_BYTES = 64 };

/* A pattern or word of a set, on its way to being compiled. */
struct part {
    struct mg_pattern pattern;
    mg_view name;                      /* of a named pattern; empty otherwise */
};

enum { PART_BYTES = MG_PATTERN_SET * (int)sizeof(struct part) };

static size_t part_count(const struct mg_buf *parts)
{
    return parts->len / sizeof(struct part);
}

static struct part *part_at(const struct mg_buf *parts, size_t i)
{
    return (struct part *)(void *)(parts->ptr + parts->start) + i;
}

/* The string on top of the stack is anchored in the table it came from. */
static void add_part(lua_State *L, struct mg_buf *parts, mg_view name, const char *what, bool word, bool caseless)
{
    struct part part = {{mg_lua_text(L, -1, what), word, caseless}, name};
    if (mg_buf_put(parts, mg_view_of((const char *)&part, sizeof part)) != MG_OK)
        luaL_error(L, "%s: a set has at most %d patterns and words", what, MG_PATTERN_SET);
}

static int by_name(const void *a, const void *b)
{
    mg_view x = ((const struct part *)a)->name, y = ((const struct part *)b)->name;
    int order = x.len && y.len ? memcmp(x.ptr, y.ptr, MG_MIN(x.len, y.len)) : 0;
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static void add_list(lua_State *L, int index, struct mg_buf *parts, const char *what, bool word, bool caseless)
{
    for (int i = 1; i <= (int)lua_objlen(L, index); i++) {
        lua_rawgeti(L, index, i);
        add_part(L, parts, MG_VIEW_NONE, what, word, caseless);
        lua_pop(L, 1);
    }
}

/* A list of patterns, or name → pattern, which is put into the order of names. */
static void add_patterns(lua_State *L, int index, struct mg_buf *parts, bool caseless)
{
    const char *what = "moongate.text.redactor: a pattern";
    size_t from = part_count(parts);
    if (lua_objlen(L, index) > 0) {
        add_list(L, index, parts, what, false, caseless);
        return;
    }
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        mg_view name = mg_lua_text(L, -2, "moongate.text.redactor: a pattern's name");
        if (name.len == 0 || name.len > NAME_BYTES)
            luaL_error(L, "moongate.text.redactor: a pattern's name has from 1 to %d bytes", NAME_BYTES);
        add_part(L, parts, name, what, false, caseless);
    }
    if (part_count(parts) > from)
        qsort(part_at(parts, from), part_count(parts) - from, sizeof(struct part), by_name);
}

/* Pushes the mask of a part: the set's own, by its name, "[name]", or "[redacted]". */
static void push_mask(lua_State *L, mg_view name)
{
    mg_lua_field(L, 1, "mask");
    if (lua_istable(L, -1)) {
        mg_lua_push_view(L, name);
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    if (!lua_isnil(L, -1)) {
        mg_lua_text(L, -1, "moongate.text.redactor: a mask");
        return;
    }
    lua_pop(L, 1);
    if (name.len)
        lua_pushfstring(L, "[%s]", name.ptr);
    else
        lua_pushliteral(L, "[redacted]");
}

static void push_set(lua_State *L, const struct mg_lua_class *class_, const char *what, struct mg_buf *parts)
{
    size_t count = part_count(parts);
    struct mg_buf *list = mg_lua_scratch(L, PART_BYTES);
    for (size_t i = 0; i < count; i++) {
        const struct mg_pattern *pattern = &part_at(parts, i)->pattern;
        mg_lua_check(L, mg_buf_put(list, mg_view_of((const char *)pattern, sizeof *pattern)), what);
    }
    lua_insert(L, -2);                 /* the environment on top */
    mg_lua_push_patterns(L, class_, what, (const struct mg_pattern *)(const void *)mg_buf_view(list).ptr, count);
    mg_lua_scratch_end(list);
    mg_lua_scratch_end(parts);
}

static int text_redactor(lua_State *L)
{
    static const char *const names[] = {"patterns", "words", "mask", "caseless", NULL};
    const char *what = "moongate.text.redactor";
    mg_lua_table(L, 1, "moongate.text.redactor: set");
    lua_settop(L, 1);
    mg_lua_only(L, 1, what, names);
    bool caseless = mg_lua_field_boolean(L, 1, "caseless", what, false);
    struct mg_buf *parts = mg_lua_scratch(L, PART_BYTES);
    mg_lua_field(L, 1, "patterns");
    if (!lua_isnil(L, -1)) {
        mg_lua_table(L, 3, "moongate.text.redactor: patterns");
        add_patterns(L, 3, parts, caseless);
    }
    mg_lua_field(L, 1, "words");
    if (!lua_isnil(L, -1)) {
        mg_lua_table(L, 4, "moongate.text.redactor: words");
        add_list(L, 4, parts, "moongate.text.redactor: a word", true, caseless);
    }
    lua_createtable(L, (int)part_count(parts), 0);
    for (size_t i = 0; i < part_count(parts); i++) {
        push_mask(L, part_at(parts, i)->name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    push_set(L, &mg_lua_redactor, what, parts);
    return 1;
}

/* Pushes the text with masks in place of its regions. */
static void push_masked(lua_State *L, mg_view text, const struct mg_buf *regions)
{
    const char *what = "redactor:redact";
    size_t at = 0;
    struct mg_buf *out = mg_lua_scratch(L, OUT_BYTES);
    lua_getfenv(L, 1);
    for (size_t i = 0; i < mg_region_count(regions); i++) {
        const struct mg_region *region = mg_region_at(regions, i);
        lua_rawgeti(L, -1, (int)region->pattern + 1);
        mg_lua_check(L, mg_buf_put(out, mg_view_of(text.ptr + at, region->from - at)), what);
        mg_lua_check(L, mg_buf_put(out, mg_lua_text(L, -1, what)), what);
        lua_pop(L, 1);
        at = region->to;
        if (i % 1024 == 1023)
            mg_lua_poll(L);
    }
    mg_lua_check(L, mg_buf_put(out, mg_view_of(text.ptr + at, text.len - at)), what);
    mg_lua_push_view(L, mg_buf_view(out));
    mg_lua_scratch_end(out);
}

static int redactor_redact(lua_State *L)
{
    static const char *const names[] = {"more", NULL};
    mg_view text;
    size_t tail = 0;
    bool more = false;
    if (!lua_isnoneornil(L, 3)) {
        mg_lua_table(L, 3, "redactor:redact: options");
        mg_lua_only(L, 3, "redactor:redact", names);
        more = mg_lua_field_boolean(L, 3, "more", "redactor:redact", false);
    }
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_redactor, "redactor:redact", MG_REGION_UNION, 0, &text);
    if (!regions)
        return 2;
    bool told = more && mg_lua_pending(L, &mg_lua_redactor, "redactor:redact", regions, &tail);
    size_t count = mg_region_count(regions);
    if (count > 0)
        push_masked(L, text, regions);
    else
        lua_pushvalue(L, 2);
    mg_lua_scratch_end(regions);
    lua_pushinteger(L, (lua_Integer)count);
    if (!told)
        return 2;
    lua_pushinteger(L, (lua_Integer)mg_text_length(mg_view_skip(text, tail), &mg_lua_of(L)->stop));
    return 3;
}

static int redactor_max_length(lua_State *L)
{
    return mg_lua_max_length(L, &mg_lua_redactor, "redactor:max_length");
}

static int text_matcher(lua_State *L)
{
    static const char *const names[] = {"caseless", NULL};
    const char *what = "moongate.text.matcher";
    bool caseless = true;
    mg_lua_table(L, 1, "moongate.text.matcher: words");
    if (!lua_isnoneornil(L, 2)) {
        mg_lua_table(L, 2, "moongate.text.matcher: options");
        mg_lua_only(L, 2, what, names);
        caseless = mg_lua_field_boolean(L, 2, "caseless", what, true);
    }
    lua_settop(L, 1);
    struct mg_buf *parts = mg_lua_scratch(L, PART_BYTES);
    add_list(L, 1, parts, "moongate.text.matcher: a word", true, caseless);
    lua_createtable(L, (int)part_count(parts), 0);
    for (size_t i = 0; i < part_count(parts); i++) {
        mg_lua_push_view(L, part_at(parts, i)->pattern.text);
        lua_rawseti(L, -2, (int)i + 1);
    }
    push_set(L, &mg_lua_matcher, what, parts);
    return 1;
}

/* word, start, end of the first one; its spelling is the list's, not the text's. */
static int matcher_find(lua_State *L)
{
    mg_view text;
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_matcher, "matcher:find", MG_REGION_LONGEST, 0, &text);
    if (!regions)
        return 2;
    bool found = mg_region_count(regions) > 0;
    struct mg_region region = found ? *mg_region_at(regions, 0) : (struct mg_region){0};
    mg_lua_scratch_end(regions);
    if (!found)
        return 0;
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, (int)region.pattern + 1);
    lua_pushinteger(L, (lua_Integer)region.from + 1);
    lua_pushinteger(L, (lua_Integer)region.to);
    return 3;
}

static int matcher_test(lua_State *L)
{
    mg_view text;
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_matcher, "matcher:test", MG_REGION_ANY, 0, &text);
    if (!regions)
        return 2;
    lua_pushboolean(L, mg_region_count(regions) > 0);
    mg_lua_scratch_end(regions);
    return 1;
}

static int matcher_count(lua_State *L)
{
    mg_view text;
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_matcher, "matcher:count", MG_REGION_LONGEST, 0, &text);
    if (!regions)
        return 2;
    lua_pushinteger(L, (lua_Integer)mg_region_count(regions));
    mg_lua_scratch_end(regions);
    return 1;
}

static const struct mg_lua_function redactor_methods[] = {
    {"redact", redactor_redact, MG_LUA_ANYWHERE, NULL, false},
    {"max_length", redactor_max_length, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_lua_class mg_lua_redactor = {"moongate.Redactor", redactor_methods, 0x6d670006};

static const struct mg_lua_function matcher_methods[] = {
    {"find", matcher_find, MG_LUA_ANYWHERE, NULL, false},
    {"test", matcher_test, MG_LUA_ANYWHERE, NULL, false},
    {"count", matcher_count, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_lua_class mg_lua_matcher = {"moongate.Matcher", matcher_methods, 0x6d670007};

/* ---- plain text */

static int text_count_tokens(lua_State *L)
{
    mg_lua_text(L, 1, "moongate.text.count_tokens: model");
    mg_view text = mg_lua_text(L, 2, "moongate.text.count_tokens: text");
    uint64_t tokens = mg_text_tokens(text, &mg_lua_of(L)->stop);
    mg_lua_poll(L);
    lua_pushnumber(L, (double)tokens);
    return 1;
}

static int text_truncate(lua_State *L)
{
    mg_view text = mg_lua_text(L, 1, "moongate.text.truncate: text");
    size_t n = (size_t)mg_lua_integer(L, 2, "moongate.text.truncate: n", 0, INT32_MAX);
    mg_lua_push_view(L, mg_text_truncate(text, n));
    return 1;
}

static int text_utf8_valid(lua_State *L)
{
    size_t bad = 0;
    bool valid = mg_view_utf8(mg_lua_text(L, 1, "moongate.text.utf8.valid: text"), &bad);
    lua_pushboolean(L, valid);
    if (valid)
        return 1;
    lua_pushinteger(L, (lua_Integer)bad + 1);
    return 2;
}

static int text_utf8_len(lua_State *L)
{
    size_t length = mg_text_length(mg_lua_text(L, 1, "moongate.text.utf8.len: text"), &mg_lua_of(L)->stop);
    mg_lua_poll(L);
    lua_pushinteger(L, (lua_Integer)length);
    return 1;
}

static int text_utf8_sub(lua_State *L)
{
    mg_view text = mg_lua_text(L, 1, "moongate.text.utf8.sub: text");
    int64_t i = mg_lua_integer(L, 2, "moongate.text.utf8.sub: i", INT32_MIN, INT32_MAX);
    int64_t j = lua_isnoneornil(L, 3) ? -1 : mg_lua_integer(L, 3, "moongate.text.utf8.sub: j", INT32_MIN, INT32_MAX);
    mg_view part = mg_text_sub(text, i, j, &mg_lua_of(L)->stop);
    mg_lua_poll(L);
    mg_lua_push_view(L, part);
    return 1;
}

/* lua/moongate/text.lua makes moongate.text.utf8 of the last three. */
static const struct mg_lua_function functions[] = {
    {"redactor", text_redactor, MG_LUA_SETUP, NULL, false},
    {"matcher", text_matcher, MG_LUA_SETUP, NULL, false},
    {"count_tokens", text_count_tokens, MG_LUA_ANYWHERE, NULL, false},
    {"truncate", text_truncate, MG_LUA_ANYWHERE, NULL, false},
    {"utf8_valid", text_utf8_valid, MG_LUA_ANYWHERE, NULL, false},
    {"utf8_len", text_utf8_len, MG_LUA_ANYWHERE, NULL, false},
    {"utf8_sub", text_utf8_sub, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_text_module = {"text", functions, NULL};
