#include "script/json_lua.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_scan.h"
#include "script/args.h"
#include "script/json_patch.h"

/* Lists carry a metatable, found in the registry under this number, so that an empty one stays a list. */
enum { ARRAY_META = 0x6d670002 };

/* Of tables whose one element is JSON text that is written as it stands. */
enum { RAW_META = 0x6d670700 };

/* Objects of at most FEW members, FEW_DEPTH levels deep at most, are written from the stack. */
enum { STACK_PER_LEVEL = 4, ENCODE_BYTES = 8388608, PATCHES = 32, FEW = 16, FEW_DEPTH = 12, WORD = 32 };

static const char NEITHER[] = "a table that is neither a list nor an object";

struct member {                        /* of an object being written: where it stands in `out` */
    mg_view key;                       /* borrowed from the table */
    size_t offset, len;
};

struct few {                           /* the same of an object of few members */
    mg_view key;
    int value;                         /* its place on the stack */
};

struct writer {
    lua_State *L;
    struct mg_lua *lua;
    struct mg_buf *out;
    const char *why;
    uint32_t steps;
};

struct reader {
    lua_State *L;
    mg_view rest;
    struct mg_buf *scratch;
    const mg_view *raw;                /* spans left that stay JSON text, in order, none inside another */
    size_t raw_count;
    bool exact;                        /* numbers that a double cannot hold stay text, and members that are null go */
};

static mg_err put_value(struct writer *w, int index, int depth);
static void push_value(struct reader *r, int depth);

static mg_err refuse(struct writer *w, mg_err err, const char *why)
{
    w->why = why;
    return err;
}

/* ---- Lua to JSON */

static bool has_meta(lua_State *L, int index, int meta)
{
    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, meta);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static mg_err put_whole(struct writer *w, long long number)
{
    char text[24], *at = text + sizeof text;
    unsigned long long left = number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--at = '-';
    return mg_buf_put(w->out, mg_view_of(at, (size_t)(text + sizeof text - at)));
}

static mg_err put_number(struct writer *w, double number)
{
    char text[40];
    if (!isfinite(number))
        return refuse(w, MG_E_BAD_REQUEST, "a number that is not finite");
    if (number == floor(number) && fabs(number) < 9007199254740992.0)
        return put_whole(w, (long long)number);
    for (int digits = 15; digits <= 17; digits++) {
        int len = snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number || digits == 17)
            return mg_buf_put(w->out, mg_view_of(text, (size_t)len));
    }
    return MG_OK;
}

/* Most strings are names and words: they are copied as they are looked at. */
static bool put_plain(struct mg_buf *out, mg_view text)
{
    char *at = mg_buf_tail(out);
    *at++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            return false;
        *at++ = (char)c;
    }
    *at = '"';
    mg_buf_grew(out, text.len + 2);
    return true;
}

static mg_err put_string(struct writer *w, mg_view text)
{
    MG_TRY(mg_buf_reserve(w->out, text.len + 2));
    if (text.len <= WORD && put_plain(w->out, text))
        return MG_OK;
    MG_TRY(mg_buf_putc(w->out, '"'));
    MG_TRY(mg_buf_put_json(w->out, text));
    return mg_buf_putc(w->out, '"');
}

/* Counts the members; false when a key is not of that type. */
static bool measure(lua_State *L, int index, int type, size_t *out_count)
{
    *out_count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != type) {
            lua_pop(L, 2);
            return false;
        }
        ++*out_count;
    }
    return true;
}

static mg_err put_list(struct writer *w, int index, int depth)
{
    size_t count = 0;
    if (!measure(w->L, index, LUA_TNUMBER, &count))
        return refuse(w, MG_E_BAD_REQUEST, NEITHER);
    if (lua_objlen(w->L, index) != count)
        return refuse(w, MG_E_BAD_REQUEST, "a list with holes");
    MG_TRY(mg_buf_putc(w->out, '['));
    for (size_t i = 1; i <= count; i++) {
        if (i > 1)
            MG_TRY(mg_buf_putc(w->out, ','));
        lua_rawgeti(w->L, index, (int)i);
        mg_err err = lua_isnil(w->L, -1) ? refuse(w, MG_E_BAD_REQUEST, "a list with holes")
                                         : put_value(w, lua_gettop(w->L), depth + 1);
        lua_pop(w->L, 1);
        MG_TRY(err);
    }
    return mg_buf_putc(w->out, ']');
}

static int compare(mg_view x, mg_view y)
{
    int order = memcmp(x.ptr, y.ptr, MG_MIN(x.len, y.len));
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static int by_key(const void *a, const void *b)
{
    return compare(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* Members are written as the table gives them and then put into order: a value is looked up once, by position, which
 * needs no string made and so cannot fail. */
static mg_err put_members(struct writer *w, int index, struct member *members, size_t count, int depth)
{
    size_t at = 0;
    for (lua_pushnil(w->L); lua_next(w->L, index); lua_pop(w->L, 1)) {
        size_t len = 0;
        const char *key = lua_tolstring(w->L, -2, &len);
        struct member *member = &members[at++];
        *member = (struct member){mg_view_of(key, len), w->out->len, 0};
        mg_err err = put_string(w, member->key);
        if (err == MG_OK)
            err = mg_buf_putc(w->out, ':');
        if (err == MG_OK)
            err = put_value(w, lua_gettop(w->L), depth + 1);
        if (err == MG_OK)
            err = mg_buf_putc(w->out, ',');
        if (err != MG_OK) {
            lua_pop(w->L, 2);
            return err;
        }
        member->len = w->out->len - member->offset;
    }
    return MG_OK;
}

static void sort_members(struct writer *w, struct member *members, size_t count, size_t from)
{
    char *base = w->out->ptr + w->out->start;
    size_t len = w->out->len - from, at = 0;
    char *sorted = mg_alloc(len);
    qsort(members, count, sizeof *members, by_key);
    for (size_t i = 0; i < count; i++) {
        memcpy(sorted + at, base + members[i].offset, members[i].len);
        at += members[i].len;
    }
    memcpy(base + from, sorted, len);
    mg_free(sorted);
}

static mg_err put_many(struct writer *w, int index, int depth)
{
    size_t count = 0, from = w->out->len + 1;
    if (!measure(w->L, index, LUA_TSTRING, &count))
        return refuse(w, MG_E_BAD_REQUEST, NEITHER);
    MG_TRY(mg_buf_putc(w->out, '{'));
    struct member *members = mg_new_array(struct member, count);
    mg_err err = put_members(w, index, members, count, depth);
    if (err == MG_OK) {
        sort_members(w, members, count, from);
        w->out->ptr[w->out->start + w->out->len - 1] = '}';    /* was the last comma */
    }
    mg_free(members);
    return err;
}

/* The values of an object of few members, left on the stack in the table's order; `out_few` in the order of keys. The
 * first key and its value are there already. False, with nothing left, when there are more or other keys. */
static bool take_few(lua_State *L, int index, struct few *out_few, int *out_count)
{
    int base = lua_gettop(L) - 2, count = 0;
    do {
        if (count == FEW || lua_type(L, -2) != LUA_TSTRING) {
            lua_settop(L, base);
            return false;
        }
        size_t len = 0;
        const char *key = lua_tolstring(L, -2, &len);
        struct few few = {mg_view_of(key, len), base + count + 1};
        int at = count++;
        for (; at > 0 && compare(out_few[at - 1].key, few.key) > 0; at--)
            out_few[at] = out_few[at - 1];
        out_few[at] = few;
        lua_insert(L, -2);             /* the value stays, the key is for lua_next */
    } while (lua_next(L, index));
    *out_count = count;
    return true;
}

static mg_err put_few(struct writer *w, const struct few *few, int count, int depth)
{
    for (int i = 0; i < count; i++) {
        MG_TRY(put_string(w, few[i].key));
        MG_TRY(mg_buf_putc(w->out, ':'));
        MG_TRY(put_value(w, few[i].value, depth + 1));
        MG_TRY(mg_buf_putc(w->out, i + 1 < count ? ',' : '}'));
    }
    return MG_OK;
}

/* The first key and its value are on the stack; they go. */
static mg_err put_object(struct writer *w, int index, int depth)
{
    struct few few[FEW];
    int count = 0, base = lua_gettop(w->L) - 2;
    if (depth > FEW_DEPTH || !take_few(w->L, index, few, &count)) {
        lua_settop(w->L, base);
        return put_many(w, index, depth);
    }
    MG_TRY(mg_buf_putc(w->out, '{'));
    mg_err err = put_few(w, few, count, depth);
    lua_settop(w->L, base);
    return err;
}

static mg_err put_raw(struct writer *w, int index)
{
    size_t len = 0;
    lua_rawgeti(w->L, index, 1);
    const char *text = lua_tolstring(w->L, -1, &len);
    mg_err err = mg_buf_put(w->out, mg_view_of(text, len));
    lua_pop(w->L, 1);
    return err;
}

static mg_err put_table(struct writer *w, int index, int depth)
{
    if (has_meta(w->L, index, RAW_META))
        return put_raw(w, index);
    if (depth > MG_MAX_JSON_DEPTH)
        return refuse(w, MG_E_BAD_REQUEST, "a table nested too deeply, or in itself");
    lua_pushnil(w->L);
    if (!lua_next(w->L, index))
        return mg_buf_put(w->out, has_meta(w->L, index, ARRAY_META) ? MG_VIEW("[]") : MG_VIEW("{}"));
    if (lua_type(w->L, -2) != LUA_TNUMBER)
        return put_object(w, index, depth);
    lua_pop(w->L, 2);
    return put_list(w, index, depth);
}

static mg_err put_value(struct writer *w, int index, int depth)
{
    size_t len = 0;
    if (++w->steps % 1024 == 0 && mg_lua_fatal(w->lua))
        return refuse(w, MG_E_TIMEOUT, "too much for the time that is left");
    switch (lua_type(w->L, index)) {
    case LUA_TNUMBER:
        return put_number(w, lua_tonumber(w->L, index));
    case LUA_TBOOLEAN:
        return mg_buf_put(w->out, lua_toboolean(w->L, index) ? MG_VIEW("true") : MG_VIEW("false"));
    case LUA_TSTRING: {
        const char *text = lua_tolstring(w->L, index, &len);
        return put_string(w, mg_view_of(text, len));
    }
    case LUA_TTABLE:
        return put_table(w, index, depth);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(w->L, index))
            return mg_buf_put(w->out, MG_VIEW("null"));
        /* fall through */
    default:
        return refuse(w, MG_E_BAD_REQUEST, "a value JSON has no word for (a function, userdata or nil)");
    }
}

mg_err mg_lua_put_json(lua_State *L, int index, struct mg_buf *out, const char **out_why)
{
    struct writer w = {L, mg_lua_of(L), out, "it is too large", 0};
    int top = lua_gettop(L);
    if (index < 0)
        index = top + index + 1;
    luaL_checkstack(L, STACK_PER_LEVEL * (MG_MAX_JSON_DEPTH + 2) + FEW * FEW_DEPTH, "JSON");
    mg_err err = put_value(&w, index, 1);
    lua_settop(L, top);
    if (err != MG_OK && out_why)
        *out_why = w.why;
    return err;
}

void mg_lua_must_json(lua_State *L, int index, struct mg_buf *scratch, const char *what)
{
    const char *why = NULL;
    if (mg_lua_put_json(L, index, scratch, &why) == MG_OK)
        return;
    mg_lua_scratch_end(scratch);
    mg_lua_poll(L);
    luaL_error(L, "%s: %s", what, why);
}

/* ---- JSON to Lua: the document was checked, so the walk only has to follow it */

static char next_char(struct reader *r)
{
    while (r->rest.len > 0 && (*r->rest.ptr == ' ' || *r->rest.ptr == '\t' || *r->rest.ptr == '\n' || *r->rest.ptr == '\r'))
        r->rest = mg_view_skip(r->rest, 1);
    return r->rest.len > 0 ? *r->rest.ptr : '\0';
}

static void skip(struct reader *r, size_t count)
{
    r->rest = mg_view_skip(r->rest, count);
}

static void skip_if(struct reader *r, char c)
{
    if (next_char(r) == c)
        skip(r, 1);
}

static mg_view string_span(mg_view rest)
{
    for (size_t at = 1; at < rest.len; at++) {
        const char *quote = memchr(rest.ptr + at, '"', rest.len - at);
        at = quote ? (size_t)(quote - rest.ptr) : rest.len;
        size_t escapes = 0;
        while (rest.ptr[at - 1 - escapes] == '\\')
            escapes++;
        if (escapes % 2 == 0)
            return mg_view_head(rest, at + 1);
    }
    return rest;
}

static void push_string(struct reader *r)
{
    mg_view span = string_span(r->rest), text = MG_VIEW_NONE;
    skip(r, span.len);
    mg_lua_check(r->L, mg_json_span_text(span, r->scratch, &text), "JSON text");
    mg_lua_push_view(r->L, text);
}

static void push_list(struct reader *r, int depth)
{
    lua_State *L = r->L;
    skip(r, 1);
    lua_createtable(L, next_char(r) == ']' ? 0 : 2, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ARRAY_META);
    lua_setmetatable(L, -2);
    for (int i = 1; next_char(r) != ']'; i++) {
        push_value(r, depth + 1);
        lua_rawseti(L, -2, i);
        if (i % 1024 == 0)
            mg_lua_poll(L);
        skip_if(r, ',');
    }
    skip(r, 1);
}

static void set_member(struct reader *r)
{
    bool gone = r->exact && lua_islightuserdata(r->L, -1);
    if (gone)
        lua_pop(r->L, 2);
    else
        lua_rawset(r->L, -3);
}

/* Room for the members of a usual object: growing a table costs more than filling it. */
static int members_hint(int depth)
{
    return depth == 1 ? 8 : 4;
}

static void push_object(struct reader *r, int depth)
{
    lua_State *L = r->L;
    skip(r, 1);
    lua_createtable(L, 0, next_char(r) == '}' ? 0 : members_hint(depth));
    for (int i = 1; next_char(r) != '}'; i++) {
        push_string(r);
        skip_if(r, ':');
        push_value(r, depth + 1);
        set_member(r);
        if (i % 1024 == 0)
            mg_lua_poll(L);
        skip_if(r, ',');
    }
    skip(r, 1);
}

static void push_raw(lua_State *L, mg_view text)
{
    lua_createtable(L, 1, 0);
    mg_lua_push_view(L, text);
    lua_rawseti(L, -2, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, RAW_META);
    lua_setmetatable(L, -2);
}

/* Would it be written as it came? Fifteen digits always survive, and sixteen of a whole number below 2^53. */
static bool is_exact(mg_view span, double number)
{
    size_t digits = 0;
    for (size_t i = 0; i < span.len; i++) {
        if (span.ptr[i] == 'e' || span.ptr[i] == 'E')
            return false;
        digits += span.ptr[i] >= '0' && span.ptr[i] <= '9';
    }
    return digits <= 15 || (number == floor(number) && fabs(number) < 9007199254740992.0);
}

static void push_number(struct reader *r)
{
    mg_view span = mg_view_head(r->rest, mg_view_find(r->rest, ",]} \t\r\n"));
    double number = 0;
    mg_json_span_double(span, &number);
    skip(r, span.len);
    if (r->exact && !is_exact(span, number))
        push_raw(r->L, span);
    else
        lua_pushnumber(r->L, number);
}

static bool push_if_raw(struct reader *r)
{
    if (!r->raw_count || r->rest.ptr != r->raw->ptr)
        return false;
    mg_view text = *r->raw++;
    r->raw_count--;
    push_raw(r->L, text);
    skip(r, text.len);
    return true;
}

static void push_value(struct reader *r, int depth)
{
    lua_State *L = r->L;
    luaL_checkstack(L, STACK_PER_LEVEL, "JSON");
    char first = next_char(r);
    if (push_if_raw(r))
        return;
    switch (first) {
    case '{': push_object(r, depth); return;
    case '[': push_list(r, depth); return;
    case '"': push_string(r); return;
    case 't':
        skip(r, 4);
        lua_pushboolean(L, true);
        return;
    case 'f':
        skip(r, 5);
        lua_pushboolean(L, false);
        return;
    case 'n':
        skip(r, 4);
        lua_pushlightuserdata(L, NULL);
        return;
    default: push_number(r);
    }
}

static void push_checked(lua_State *L, mg_view text)
{
    struct reader reader = {.L = L, .rest = text, .scratch = mg_lua_scratch(L, text.len + 1)};
    push_value(&reader, 1);
    mg_lua_scratch_end(reader.scratch);
    lua_replace(L, -2);                /* the value instead of the scratch */
}

void mg_lua_push_json_exact(lua_State *L, mg_view text, const mg_view *raw, size_t raw_count)
{
    struct reader reader = {.L = L, .rest = text, .scratch = mg_lua_scratch(L, text.len + 1), .raw = raw,
                            .raw_count = raw_count, .exact = true};
    push_value(&reader, 1);
    mg_lua_scratch_end(reader.scratch);
    lua_replace(L, -2);
}

void mg_lua_push_raw_json(lua_State *L, mg_view text)
{
    push_raw(L, text);
}

mg_view mg_lua_raw_json(lua_State *L, int index)
{
    size_t len = 0;
    if (!lua_istable(L, index) || !has_meta(L, index, RAW_META))
        return MG_VIEW_NONE;
    lua_rawgeti(L, index, 1);
    const char *text = lua_tolstring(L, -1, &len);
    lua_pop(L, 1);                     /* the table keeps it */
    return mg_view_of(text, len);
}

void mg_lua_push_json(lua_State *L, mg_view text)
{
    struct mg_json_error error = {0, ""};
    if (mg_view_empty(text)) {
        lua_pushnil(L);
        return;
    }
    if (mg_json_check(text, &error) != MG_OK)
        luaL_error(L, "not JSON: at byte %d: %s", (int)error.offset, error.reason);
    push_checked(L, text);
}

/* ---- moongate.json */

static int json_encode(lua_State *L)
{
    const char *why = NULL;
    if (lua_isnone(L, 1))
        mg_lua_bad(L, 1, "moongate.json.encode: value", "given");
    struct mg_buf *out = mg_lua_scratch(L, ENCODE_BYTES);
    mg_err err = mg_lua_put_json(L, 1, out, &why);
    if (err != MG_OK)
        mg_lua_scratch_end(out);
    mg_lua_poll(L);
    if (err == MG_E_TOO_LARGE)
        return mg_lua_fail(L, "too_large", false, "moongate.json.encode: more than %d bytes", ENCODE_BYTES);
    if (err != MG_OK)
        return luaL_error(L, "moongate.json.encode: %s", why);
    mg_lua_push_view(L, mg_buf_view(out));
    mg_lua_scratch_end(out);
    return 1;
}

/* Depth of a valid document: brackets outside strings. */
static int depth_of(mg_view text)
{
    int depth = 0, most = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            i += string_span(mg_view_skip(text, i)).len - 1;
        else if (text.ptr[i] == '{' || text.ptr[i] == '[')
            depth++;
        else if (text.ptr[i] == '}' || text.ptr[i] == ']')
            depth--;
        most = MG_MAX(most, depth);
    }
    return most;
}

static int json_decode(lua_State *L)
{
    static const char *const options[] = {"max_depth", "max_bytes", NULL};
    mg_view text = mg_lua_text(L, 1, "moongate.json.decode: text");
    struct mg_json_error error = {0, ""};
    int64_t max_depth = MG_MAX_JSON_DEPTH, max_bytes = ENCODE_BYTES;
    if (!lua_isnoneornil(L, 2)) {
        mg_lua_table(L, 2, "moongate.json.decode: options");
        mg_lua_only(L, 2, "moongate.json.decode", options);
        max_depth = mg_lua_field_integer(L, 2, "max_depth", "moongate.json.decode", 0, MG_MAX_JSON_DEPTH, max_depth);
        max_bytes = mg_lua_field_integer(L, 2, "max_bytes", "moongate.json.decode", 1, ENCODE_BYTES, max_bytes);
    }
    if (text.len > (size_t)max_bytes)
        return mg_lua_fail(L, "too_large", false, "moongate.json.decode: more than %lld bytes", (long long)max_bytes);
    mg_err err = mg_json_check(text, &error);
    if (err != MG_OK)
        return mg_lua_fail(L, "invalid_json", false, "at byte %zu: %s", error.offset, error.reason);
    if (depth_of(text) > max_depth)
        return mg_lua_fail(L, "too_deep", false, "nested deeper than %lld", (long long)max_depth);
    mg_lua_poll(L);
    push_checked(L, text);
    return 1;
}

static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    mg_lua_table(L, 1, "moongate.json.array: t");
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) {
        if (!has_meta(L, 1, ARRAY_META))
            luaL_error(L, "moongate.json.array: t has a metatable already");
        lua_pop(L, 1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, ARRAY_META);
    lua_setmetatable(L, 1);
    return 1;
}

static int json_is_array(lua_State *L)
{
    size_t count = 0;
    bool list = lua_istable(L, 1) && measure(L, 1, LUA_TNUMBER, &count) && lua_objlen(L, 1) == count;
    lua_pushboolean(L, list && (count > 0 || has_meta(L, 1, ARRAY_META)));
    return 1;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct mg_json_edit *)a)->path, ((const struct mg_json_edit *)b)->path);
}

/* Values are rendered into one scratch buffer; views into it are made when it no longer moves. In the order of their
 * paths, so that what is added comes out the same every time. */
static size_t read_sets(lua_State *L, int index, struct mg_buf *values, struct mg_json_edit *edits)
{
    size_t count = 0, from = 0;
    const char *why = NULL;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (count == PATCHES)
            luaL_error(L, "moongate.json.patch: at most %d changes", PATCHES);
        struct mg_json_edit *edit = &edits[count++];
        edit->path = mg_lua_text(L, -2, "moongate.json.patch: a path").ptr;
        if (mg_lua_put_json(L, -1, values, &why) != MG_OK)
            luaL_error(L, "moongate.json.patch: %s: %s", edit->path, why);
        edit->value = mg_view_of(NULL, values->len - from);
        from = values->len;
    }
    for (size_t i = 0, at = 0; i < count; i++) {
        edits[i].value.ptr = mg_buf_view(values).ptr + at;
        at += edits[i].value.len;
    }
    qsort(edits, count, sizeof *edits, by_path);
    return count;
}

static size_t read_removals(lua_State *L, int index, struct mg_json_edit *edits, size_t count)
{
    for (int i = 1; i <= (int)lua_objlen(L, index); i++) {
        if (count == PATCHES)
            luaL_error(L, "moongate.json.patch: at most %d changes", PATCHES);
        lua_rawgeti(L, index, i);
        edits[count++] = (struct mg_json_edit){mg_lua_text(L, -1, "moongate.json.patch: a path to remove").ptr, MG_VIEW_NONE};
        lua_pop(L, 1);
    }
    return count;
}

static int json_patch(lua_State *L)
{
    struct mg_json_edit edits[PATCHES];
    struct mg_json_error error = {0, ""};
    mg_view text = mg_lua_text(L, 1, "moongate.json.patch: text");
    mg_lua_table(L, 2, "moongate.json.patch: changes");
    lua_settop(L, 3);
    struct mg_buf *values = mg_lua_scratch(L, MG_MAX_BODY_BYTES), *out = mg_lua_scratch(L, MG_MAX_BODY_BYTES);
    size_t count = read_sets(L, 2, values, edits);
    if (!lua_isnil(L, 3)) {
        mg_lua_table(L, 3, "moongate.json.patch: removals");
        count = read_removals(L, 3, edits, count);
    }
    const char *culprit = "";
    mg_err err = mg_json_patch(text, edits, count, out, &error, &culprit);
    mg_lua_scratch_end(values);
    if (err != MG_OK)
        mg_lua_scratch_end(out);
    mg_lua_poll(L);
    if (err == MG_E_CONFIG)
        return luaL_error(L, "moongate.json.patch: '%s' is no path, or is given twice", culprit);
    if (err == MG_E_NOT_FOUND)
        return mg_lua_fail(L, "not_found", false, "moongate.json.patch: %s: there is no object to put it into", culprit);
    if (err == MG_E_TOO_LARGE || err == MG_E_MEMORY)
        return mg_lua_fail(L, "too_large", false, "moongate.json.patch: too many values to change, or too long a document");
    if (err != MG_OK)
        return mg_lua_fail(L, "invalid_json", false, "at byte %zu: %s", error.offset, error.reason);
    mg_lua_push_view(L, mg_buf_view(out));
    mg_lua_scratch_end(out);
    return 1;
}

static int json_raw(lua_State *L)
{
    mg_view text = mg_lua_text(L, 1, "moongate.json.raw: text");
    struct mg_json_error error = {0, ""};
    if (mg_json_check(text, &error) != MG_OK)
        luaL_error(L, "moongate.json.raw: at byte %d: %s", (int)error.offset, error.reason);
    push_raw(L, text);
    return 1;
}

static int json_text(lua_State *L)
{
    mg_view text = mg_lua_raw_json(L, 1);
    if (text.ptr)
        mg_lua_push_view(L, text);
    else
        lua_pushnil(L);
    return 1;
}

static void json_open(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_rawseti(L, LUA_REGISTRYINDEX, ARRAY_META);
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_rawseti(L, LUA_REGISTRYINDEX, RAW_META);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}

static const struct mg_lua_function functions[] = {
    {"encode", json_encode, MG_LUA_ANYWHERE, NULL, false},
    {"decode", json_decode, MG_LUA_ANYWHERE, NULL, false},
    {"array", json_array, MG_LUA_ANYWHERE, NULL, false},
    {"is_array", json_is_array, MG_LUA_ANYWHERE, NULL, false},
    {"patch", json_patch, MG_LUA_ANYWHERE, NULL, false},
    {"raw", json_raw, MG_LUA_ANYWHERE, NULL, false},
    {"text", json_text, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_json = {"json", functions, json_open};
