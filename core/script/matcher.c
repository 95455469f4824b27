#include "script/matcher.h"

#include <string.h>

#include "base/mem.h"

enum {
    CAPTURES = 32,
    NESTING = 200,                     /* of match(); deeper patterns are refused */
    STEPS = 1024,
    OPEN = -1,                         /* length of a capture that has not ended */
    POSITION = -2,                     /* length of a position capture "()" */
};

struct matcher {
    lua_State *L;
    struct mg_lua *lua;
    const char *subject, *subject_end;
    const char *pattern_end;
    int depth;
    unsigned steps;
    int count;                         /* captures begun */
    struct {
        const char *start;
        ptrdiff_t len;                 /* or OPEN, POSITION */
    } captures[CAPTURES];
};

/* A growing string in a userdata at a fixed stack index. */
struct scratch {
    int index;
    size_t len, cap;
};

static const char *match(struct matcher *m, const char *s, const char *p);
static const char *match_special(struct matcher *m, const char *s, const char *p, const char **out_next);
static const char *repeat_most(struct matcher *m, const char *s, const char *p, const char *end);
static const char *repeat_least(struct matcher *m, const char *s, const char *p, const char *end);
static const char *open_capture(struct matcher *m, const char *s, const char *p, ptrdiff_t len);
static const char *close_capture(struct matcher *m, const char *s, const char *p);
static const char *balanced(struct matcher *m, const char *s, const char *p);
static const char *back_reference(struct matcher *m, const char *s, char digit);
static const char *item_end(struct matcher *m, const char *p);
static bool item_matches(struct matcher *m, const char *s, const char *p, const char *end);
static bool set_matches(struct matcher *m, unsigned char c, const char *p, const char *last);
static bool class_matches(unsigned char c, unsigned char class);
static void push_capture(struct matcher *m, int i, const char *s, const char *e);
static int push_captures(struct matcher *m, const char *s, const char *e, bool whole);
static int find_or_match(lua_State *L, bool find);
static int gmatch_next(lua_State *L);
static void replace(struct matcher *m, struct scratch *out, const char *s, const char *e);
static void replace_by_string(struct matcher *m, struct scratch *out, const char *s, const char *e);
static void put(lua_State *L, struct scratch *out, const char *ptr, size_t len);

static inline void tick(struct matcher *m, size_t steps)
{
    m->steps += (unsigned)MG_MIN(steps, (size_t)STEPS);
    if (m->steps >= STEPS) {
        m->steps = 0;
        if (m->lua->stop)
            mg_lua_poll(m->L);
    }
}

static void begin(struct matcher *m, lua_State *L, mg_view subject, mg_view pattern)
{
    m->L = L;
    m->lua = mg_lua_of(L);
    m->subject = subject.ptr;
    m->subject_end = subject.ptr + subject.len;
    m->pattern_end = pattern.ptr + strnlen(pattern.ptr, pattern.len);   /* a NUL ends it, as ever: %z stands for one */
    m->depth = 0;
    m->steps = 0;
    m->count = 0;
}

static const char *attempt(struct matcher *m, const char *s, const char *p)
{
    m->count = 0;
    m->depth = 0;
    return match(m, s, p);
}

static mg_view check_view(lua_State *L, int index)
{
    size_t len;
    const char *ptr = luaL_checklstring(L, index, &len);
    return mg_view_of(ptr, len);
}

int mg_lua_find(lua_State *L)
{
    return find_or_match(L, true);
}

int mg_lua_match(lua_State *L)
{
    return find_or_match(L, false);
}

static bool is_plain(mg_view pattern)
{
    return mg_view_find(pattern, "^$*+?.([%-") == pattern.len;
}

/* The optional third argument as an offset within the subject. */
static size_t start_offset(lua_State *L, size_t len)
{
    ptrdiff_t start = luaL_optinteger(L, 3, 1);
    if (start < 0)
        start += (ptrdiff_t)len;
    else
        start--;
    if (start < 0)
        start = 0;
    return MG_MIN((size_t)start, len);
}

static int push_found(lua_State *L, size_t first, size_t len)
{
    lua_pushinteger(L, (lua_Integer)first + 1);
    lua_pushinteger(L, (lua_Integer)(first + len));
    return 2;
}

static int find_plain(lua_State *L, mg_view subject, mg_view pattern, size_t start)
{
    mg_view rest = mg_view_skip(subject, start);
    const char *at = pattern.len ? memmem(rest.ptr, rest.len, pattern.ptr, pattern.len) : rest.ptr;
    if (at)
        return push_found(L, (size_t)(at - subject.ptr), pattern.len);
    lua_pushnil(L);
    return 1;
}

static int find_or_match(lua_State *L, bool find)
{
    mg_view subject = check_view(L, 1), pattern = check_view(L, 2);
    size_t start = start_offset(L, subject.len);
    if (find && (lua_toboolean(L, 4) || is_plain(pattern)))
        return find_plain(L, subject, pattern, start);

    struct matcher m;
    begin(&m, L, subject, pattern);
    bool anchored = pattern.len > 0 && pattern.ptr[0] == '^';
    for (const char *s = subject.ptr + start; s <= m.subject_end; s++) {
        const char *e = attempt(&m, s, pattern.ptr + anchored);
        if (e && find) {
            push_found(L, (size_t)(s - subject.ptr), (size_t)(e - s));
            return 2 + push_captures(&m, s, e, false);
        }
        if (e)
            return push_captures(&m, s, e, true);
        if (anchored)
            break;
    }
    lua_pushnil(L);
    return 1;
}

int mg_lua_gmatch(lua_State *L)
{
    check_view(L, 1);
    check_view(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

static int gmatch_next(lua_State *L)
{
    mg_view subject = check_view(L, lua_upvalueindex(1)), pattern = check_view(L, lua_upvalueindex(2));
    size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(3));
    struct matcher m;

    begin(&m, L, subject, pattern);
    for (; at <= subject.len; at++) {
        const char *s = subject.ptr + at;
        const char *e = attempt(&m, s, pattern.ptr);
        if (!e)
            continue;
        lua_pushinteger(L, (lua_Integer)(e - subject.ptr) + (e == s));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, s, e, true);
    }
    return 0;
}

int mg_lua_gsub(lua_State *L)
{
    mg_view subject = check_view(L, 1), pattern = check_view(L, 2);
    int type = lua_type(L, 3);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TTABLE && type != LUA_TFUNCTION)
        return luaL_error(L, "bad argument #3 to 'gsub' (string/function/table expected, got %s)",
                          lua_typename(L, type));
    if (type == LUA_TNUMBER)
        lua_tostring(L, 3);            /* converts in place, once */
    lua_Integer left = luaL_optinteger(L, 4, (lua_Integer)subject.len + 1);
    lua_settop(L, 3);

    struct scratch out = {.index = 4, .cap = subject.len + 16};
    lua_newuserdata(L, out.cap);
    struct matcher m;
    begin(&m, L, subject, pattern);
    bool anchored = pattern.len > 0 && pattern.ptr[0] == '^';
    const char *s = subject.ptr;
    lua_Integer done = 0;

    mg_lua_callback_enter(L, __builtin_frame_address(0));
    while (done < left) {
        const char *e = attempt(&m, s, pattern.ptr + anchored);
        if (e) {
            done++;
            replace(&m, &out, s, e);
        }
        if (e && e > s)
            s = e;
        else if (s < m.subject_end)
            put(L, &out, s++, 1);
        else
            break;
        if (anchored)
            break;
    }
    mg_lua_callback_leave(L);
    put(L, &out, s, (size_t)(m.subject_end - s));
    lua_pushlstring(L, lua_touserdata(L, out.index), out.len);
    lua_pushinteger(L, done);
    return 2;
}

/* --- the matcher ----------------------------------------------------------------------------- */

/* Matches the pattern from p at s; returns the end of the match or NULL. Loops over what needs no
 * way back and recurses for what does. */
static const char *match(struct matcher *m, const char *s, const char *p)
{
    if (++m->depth > NESTING)
        luaL_error(m->L, "pattern too complex");
    while (s && p < m->pattern_end) {
        tick(m, 1);
        if (*p == '(') {
            bool position = p + 1 < m->pattern_end && p[1] == ')';
            s = position ? open_capture(m, s, p + 2, POSITION) : open_capture(m, s, p + 1, OPEN);
            break;
        }
        if (*p == ')') {
            s = close_capture(m, s, p + 1);
            break;
        }
        if (*p == '$' && p + 1 == m->pattern_end) {
            s = s == m->subject_end ? s : NULL;
            break;
        }
        const char *next = NULL;
        const char *after = *p == '%' && p + 1 < m->pattern_end ? match_special(m, s, p, &next) : NULL;
        if (next) {
            s = after;
            p = next;
            continue;
        }
        const char *end = item_end(m, p);
        char suffix = end < m->pattern_end ? *end : '\0';
        if (suffix == '*' || suffix == '+') {
            if (suffix == '*')
                s = repeat_most(m, s, p, end);
            else
                s = item_matches(m, s, p, end) ? repeat_most(m, s + 1, p, end) : NULL;
            break;
        }
        if (suffix == '-') {
            s = repeat_least(m, s, p, end);
            break;
        }
        bool here = item_matches(m, s, p, end);
        if (suffix == '?') {
            const char *with = here ? match(m, s + 1, end + 1) : NULL;
            if (with) {
                s = with;
                break;
            }
            p = end + 1;
            continue;
        }
        s = here ? s + 1 : NULL;
        p = end;
    }
    m->depth--;
    return s;
}

/* %b, %f and %1: *out_next is set when p stood at one of them. */
static const char *match_special(struct matcher *m, const char *s, const char *p, const char **out_next)
{
    char kind = p[1];
    if (kind == 'b') {
        *out_next = p + 4;
        return balanced(m, s, p + 2);
    }
    if (kind >= '0' && kind <= '9') {
        *out_next = p + 2;
        return back_reference(m, s, kind);
    }
    if (kind != 'f')
        return NULL;

    p += 2;
    if (p >= m->pattern_end || *p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const char *end = item_end(m, p);
    unsigned char before = s == m->subject ? 0 : (unsigned char)s[-1];
    unsigned char here = s == m->subject_end ? 0 : (unsigned char)*s;
    *out_next = end;
    return !set_matches(m, before, p, end - 1) && set_matches(m, here, p, end - 1) ? s : NULL;
}

static const char *repeat_most(struct matcher *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t n = 0;
    while (item_matches(m, s + n, p, end)) {
        tick(m, 1);
        n++;
    }
    for (; n >= 0; n--) {
        tick(m, 1);
        const char *e = match(m, s + n, end + 1);
        if (e)
            return e;
    }
    return NULL;
}

static const char *repeat_least(struct matcher *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        tick(m, 1);
        const char *e = match(m, s, end + 1);
        if (e)
            return e;
        if (!item_matches(m, s, p, end))
            return NULL;
    }
}

static const char *open_capture(struct matcher *m, const char *s, const char *p, ptrdiff_t len)
{
    if (m->count >= CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->count].start = s;
    m->captures[m->count].len = len;
    m->count++;
    const char *e = match(m, s, p);
    if (!e)
        m->count--;
    return e;
}

static const char *close_capture(struct matcher *m, const char *s, const char *p)
{
    int i = m->count - 1;
    while (i >= 0 && m->captures[i].len != OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].start;
    const char *e = match(m, s, p);
    if (!e)
        m->captures[i].len = OPEN;
    return e;
}

static const char *balanced(struct matcher *m, const char *s, const char *p)
{
    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "unbalanced pattern");
    if (s >= m->subject_end || *s != *p)
        return NULL;
    char open = p[0], close = p[1];
    int level = 1;
    while (++s < m->subject_end) {
        tick(m, 1);
        if (*s == close && --level == 0)
            return s + 1;
        if (*s == open && *s != close)
            level++;
    }
    return NULL;
}

static const char *back_reference(struct matcher *m, const char *s, char digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->count || m->captures[i].len == OPEN)
        luaL_error(m->L, "invalid capture index");
    if (m->captures[i].len == POSITION)
        return NULL;                   /* stock code compares with a huge length, which never fits */
    size_t len = (size_t)m->captures[i].len;
    if ((size_t)(m->subject_end - s) < len)
        return NULL;
    tick(m, len / 16);
    return memcmp(m->captures[i].start, s, len) == 0 ? s + len : NULL;
}

/* Behind the single-character item at p: a character, %x, or a set. */
static const char *item_end(struct matcher *m, const char *p)
{
    if (*p == '%') {
        if (p + 1 >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p != '[')
        return p + 1;

    p++;
    if (p < m->pattern_end && *p == '^')
        p++;
    bool first = true;                 /* a ']' here is an ordinary character */
    while (first || p >= m->pattern_end || *p != ']') {
        if (p >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        first = false;
        tick(m, 1);
        p += *p == '%' && p + 1 < m->pattern_end ? 2 : 1;
    }
    return p + 1;
}

static bool item_matches(struct matcher *m, const char *s, const char *p, const char *end)
{
    if (s >= m->subject_end)
        return false;
    unsigned char c = (unsigned char)*s;
    if (*p == '.')
        return true;
    if (*p == '%')
        return class_matches(c, (unsigned char)p[1]);
    if (*p == '[')
        return set_matches(m, c, p, end - 1);
    return (unsigned char)*p == c;
}

/* p at '[', last at its ']'. */
static bool set_matches(struct matcher *m, unsigned char c, const char *p, const char *last)
{
    p++;
    bool wanted = *p != '^';
    if (!wanted)
        p++;
    tick(m, (size_t)(last - p) / 8);
    while (p < last) {
        if (*p == '%' && p + 1 <= last) {
            if (class_matches(c, (unsigned char)p[1]))
                return wanted;
            p += 2;
        } else if (p + 2 < last && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return wanted;
            p += 3;
        } else {
            if ((unsigned char)*p == c)
                return wanted;
            p++;
        }
    }
    return !wanted;
}

static bool is_letter(unsigned char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* ASCII, whatever the locale. */
static bool class_matches(unsigned char c, unsigned char class)
{
    bool in;
    switch (class | 32) {
    case 'a': in = is_letter(c); break;
    case 'c': in = c < 32 || c == 127; break;
    case 'd': in = is_digit(c); break;
    case 'g': in = c > 32 && c < 127; break;
    case 'l': in = c >= 'a' && c <= 'z'; break;
    case 'p': in = c > 32 && c < 127 && !is_letter(c) && !is_digit(c); break;
    case 's': in = c == ' ' || (c >= 9 && c <= 13); break;
    case 'u': in = c >= 'A' && c <= 'Z'; break;
    case 'w': in = is_letter(c) || is_digit(c); break;
    case 'x': in = is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f'); break;
    case 'z': in = c == 0; break;
    default: return c == class;
    }
    if (!is_letter(class))
        return c == class;
    return (class & 32) ? in : !in;
}

/* --- results --------------------------------------------------------------------------------- */

/* Capture i of the match s..e; without captures, 0 is the whole match. */
static void push_capture(struct matcher *m, int i, const char *s, const char *e)
{
    if (i >= m->count) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, s, (size_t)(e - s));
    } else if (m->captures[i].len == POSITION) {
        lua_pushinteger(m->L, m->captures[i].start - m->subject + 1);
    } else if (m->captures[i].len == OPEN) {
        luaL_error(m->L, "unfinished capture");
    } else {
        lua_pushlstring(m->L, m->captures[i].start, (size_t)m->captures[i].len);
    }
}

static int push_captures(struct matcher *m, const char *s, const char *e, bool whole)
{
    int count = m->count == 0 && whole ? 1 : m->count;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, e);
    return count;
}

static void replace(struct matcher *m, struct scratch *out, const char *s, const char *e)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING) {
        replace_by_string(m, out, s, e);
        return;
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e, true), 1);
    } else {
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
    }

    if (!lua_toboolean(L, -1)) {
        put(L, out, s, (size_t)(e - s));
    } else if (lua_isstring(L, -1)) {
        size_t len;
        const char *ptr = lua_tolstring(L, -1, &len);
        put(L, out, ptr, len);
    } else {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    lua_pop(L, 1);
}

static void replace_by_string(struct matcher *m, struct scratch *out, const char *s, const char *e)
{
    size_t len;
    const char *with = lua_tolstring(m->L, 3, &len);
    for (size_t i = 0; i < len; i++) {
        tick(m, 1);
        if (with[i] != '%' || ++i == len) {
            put(m->L, out, i == len ? "" : with + i, 1);   /* a lone '%' at the end is a NUL, as ever */
        } else if (!is_digit((unsigned char)with[i])) {
            put(m->L, out, with + i, 1);
        } else if (with[i] == '0') {
            put(m->L, out, s, (size_t)(e - s));
        } else {
            push_capture(m, with[i] - '1', s, e);
            size_t size;
            const char *ptr = lua_tolstring(m->L, -1, &size);
            put(m->L, out, ptr, size);
            lua_pop(m->L, 1);
        }
    }
}

/* Appends; the bytes are reachable from the stack, so a collection on the way cannot free them. */
static void put(lua_State *L, struct scratch *out, const char *ptr, size_t len)
{
    if (out->cap - out->len < len) {
        size_t cap = MG_MAX(out->cap * 2, out->len + len);
        char *bigger = lua_newuserdata(L, cap);
        memcpy(bigger, lua_touserdata(L, out->index), out->len);
        lua_replace(L, out->index);
        out->cap = cap;
    }
    if (len)
        memcpy((char *)lua_touserdata(L, out->index) + out->len, ptr, len);
    out->len += len;
}
