#include "http/json_scan.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_bytes.h"
#include "http/json_keys.h"
#include "http/json_paths.h"

enum {
    SAFE_DIGITS = 300,       /* a number with fewer of them before the point and no exponent is in range */
    MAX_EXPONENT10 = 308     /* of a double */
};

/* A container the scan is inside of. */
struct frame {
    const char *begin;       /* its bracket */
    const char *member;      /* the current member's key, or the current element */
    size_t begun;            /* values begun in it, the current one included */
    int node;                /* where paths lead, or MG_JSON_NOWHERE */
    bool is_object;
    bool unique;             /* its keys are checked */
    struct mg_json_key_scope keys;     /* when unique */
};

struct scan {
    mg_bytes at;
    mg_bytes end;
    mg_bytes begin;
    const struct mg_json_paths *paths; /* borrowed; NULL for none */
    mg_json_hit_cb cb;
    void *arg;
    bool all_unique;         /* check keys of every object */
    size_t depth;            /* frames in use */
    struct mg_json_error error;
    struct mg_json_keys keys;
    struct frame frames[MG_MAX_JSON_DEPTH];
};

static mg_err run(struct scan *s);
static mg_err next(struct scan *s);
static mg_err member(struct scan *s, struct frame *in);
static mg_err key(struct scan *s, struct frame *in, int *out_node);
static mg_err value(struct scan *s, int node);
static mg_err open(struct scan *s, int node, bool is_object);
static mg_err close(struct scan *s);
static mg_err string(struct scan *s, bool *out_escaped);
static mg_err escape(struct scan *s);
static mg_err number(struct scan *s);
static mg_err literal(struct scan *s, const char *word);
static mg_err hit(struct scan *s, int node, enum mg_json_type type, const char *begin);
static mg_err wrong(struct scan *s, const void *where, const char *reason);

static mg_err scan(mg_view doc, const struct mg_json_paths *paths, mg_json_hit_cb cb, void *arg, bool all_unique,
                   struct mg_json_error *out_err)
{
    static const char nothing[1];
    struct scan s;           /* 12 KiB that are not worth zeroing */
    s.begin = s.at = (mg_bytes)(doc.ptr ? doc.ptr : nothing);
    s.end = s.begin + doc.len;
    s.paths = paths;
    s.cb = cb;
    s.arg = arg;
    s.all_unique = all_unique;
    s.depth = 0;
    s.error = (struct mg_json_error){0, NULL};
    mg_json_keys_init(&s.keys, doc.len);

    mg_err err = run(&s);
    while (s.depth-- > 0)
        if (s.frames[s.depth].unique)
            mg_json_keys_close(&s.keys, &s.frames[s.depth].keys);
    mg_json_keys_fini(&s.keys);
    if (s.error.reason && out_err)
        *out_err = s.error;
    return err;
}

mg_err mg_json_scan(mg_view doc, const struct mg_json_paths *paths, mg_json_hit_cb cb, void *arg,
                    struct mg_json_error *out_err)
{
    return scan(doc, paths, cb, arg, false, out_err);
}

mg_err mg_json_check(mg_view doc, struct mg_json_error *out_err)
{
    return scan(doc, NULL, NULL, NULL, true, out_err);
}

const char *mg_json_type_name(enum mg_json_type type)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    return names[type];
}

static inline void skip_blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static mg_err run(struct scan *s)
{
    skip_blanks(s);
    if (s->end - s->at >= 3 && memcmp(s->at, "\xef\xbb\xbf", 3) == 0)
        return wrong(s, s->at, "a byte order mark is not allowed");
    MG_TRY(value(s, s->paths ? 0 : MG_JSON_NOWHERE));
    while (s->depth > 0)
        MG_TRY(next(s));
    skip_blanks(s);
    return s->at == s->end ? MG_OK : wrong(s, s->at, "something follows the end of the document");
}

/* One member, element or the end of the innermost container. */
static mg_err next(struct scan *s)
{
    struct frame *in = &s->frames[s->depth - 1];
    skip_blanks(s);
    if (s->at < s->end && *s->at == (in->is_object ? '}' : ']'))
        return close(s);
    if (in->begun > 0) {
        if (s->at == s->end || *s->at != ',')
            return wrong(s, s->at, in->is_object ? "expected ',' or '}'" : "expected ',' or ']'");
        s->at++;
        skip_blanks(s);
    }
    in->begun++;
    in->member = (const char *)s->at;
    if (in->is_object)
        return member(s, in);
    return value(s, in->node < 0 ? MG_JSON_NOWHERE : s->paths->nodes[in->node].element);
}

static mg_err member(struct scan *s, struct frame *in)
{
    int node = MG_JSON_NOWHERE;
    if (s->at == s->end || *s->at != '"')
        return wrong(s, s->at, in->begun > 1 ? "expected a key" : "expected a key or '}'");
    MG_TRY(key(s, in, &node));
    skip_blanks(s);
    if (s->at == s->end || *s->at != ':')
        return wrong(s, s->at, "expected ':'");
    s->at++;
    skip_blanks(s);
    return value(s, node);
}

static mg_err key(struct scan *s, struct frame *in, int *out_node)
{
    const char *begin = (const char *)s->at;
    bool escaped = false;
    MG_TRY(string(s, &escaped));
    if (!in->unique)
        return MG_OK;

    mg_view text, quoted = mg_view_of(begin, (size_t)((const char *)s->at - begin));
    mg_err err = mg_json_keys_add(&s->keys, &in->keys, quoted, escaped, &text);
    if (err == MG_E_EXISTS)
        return wrong(s, begin, "this key was there before");
    if (err) {
        (void)wrong(s, begin, err == MG_E_TOO_LARGE ? "there are too many keys in one object" : "out of memory");
        return err;
    }
    if (in->node >= 0)
        *out_node = mg_json_paths_member(s->paths, in->node, text);
    return MG_OK;
}

static mg_err value(struct scan *s, int node)
{
    const char *begin = (const char *)s->at;
    enum mg_json_type type;
    bool escaped;
    if (s->at == s->end)
        return wrong(s, s->at, "the document ends too early");
    switch (*s->at) {
    case '{':
    case '[':
        return open(s, node, *s->at == '{');
    case '"':
        type = MG_JSON_STRING;
        MG_TRY(string(s, &escaped));
        break;
    case 't':
    case 'f':
        type = MG_JSON_BOOL;
        MG_TRY(literal(s, *s->at == 't' ? "true" : "false"));
        break;
    case 'n':
        type = MG_JSON_NULL;
        MG_TRY(literal(s, "null"));
        break;
    default:
        type = MG_JSON_NUMBER;
        MG_TRY(number(s));
    }
    return node < 0 ? MG_OK : hit(s, node, type, begin);
}

static mg_err open(struct scan *s, int node, bool is_object)
{
    if (s->depth == MG_MAX_JSON_DEPTH)
        return wrong(s, s->at, "the document is nested too deep");
    struct frame *frame = &s->frames[s->depth];
    bool on_way = node >= 0 && s->paths->nodes[node].edges >= 0;
    frame->begin = frame->member = (const char *)s->at;
    frame->begun = 0;
    frame->node = node;
    frame->is_object = is_object;
    frame->unique = is_object && (s->depth == 0 || on_way || s->all_unique);
    if (frame->unique)
        mg_json_keys_open(&s->keys, &frame->keys);
    s->depth++;
    s->at++;
    return MG_OK;
}

static mg_err close(struct scan *s)
{
    struct frame *frame = &s->frames[--s->depth];
    if (frame->unique)
        mg_json_keys_close(&s->keys, &frame->keys);
    s->at++;
    if (frame->node < 0)
        return MG_OK;
    return hit(s, frame->node, frame->is_object ? MG_JSON_OBJECT : MG_JSON_ARRAY, frame->begin);
}

static mg_err string(struct scan *s, bool *out_escaped)
{
    s->at++;
    *out_escaped = false;
    for (;;) {
        s->at = mg_skip_plain(s->at, s->end);
        if (s->at == s->end)
            return wrong(s, s->at, "the document ends inside a string");
        if (*s->at == '"') {
            s->at++;
            return MG_OK;
        }
        if (*s->at == '\\') {
            *out_escaped = true;
            MG_TRY(escape(s));
        } else if (*s->at < 0x20) {
            return wrong(s, s->at, "control characters in strings must be escaped");
        }
        while (s->at < s->end && *s->at >= 0x80) {
            size_t len = mg_utf8_sequence(s->at, s->end);
            if (len == 0)
                return wrong(s, s->at, "the text is not valid UTF-8");
            s->at += len;
        }
    }
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The code unit of "\uXXXX" at `at`, -1 when it is none. */
static int code_unit(mg_bytes at, mg_bytes end)
{
    int unit = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static mg_err escape(struct scan *s)
{
    if (s->end - s->at < 2)
        return wrong(s, s->end, "the document ends inside a string");
    if (s->at[1] != 'u') {
        if (!memchr("\"\\/bfnrt", s->at[1], 8))
            return wrong(s, s->at, "there is no such escape");
        s->at += 2;
        return MG_OK;
    }
    int unit = code_unit(s->at, s->end);
    if (unit < 0)
        return wrong(s, s->at, "\\u needs four hexadecimal digits");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return wrong(s, s->at, "a surrogate stands alone");
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int low = code_unit(s->at + 6, s->end);
        if (low < 0xdc00 || low > 0xdfff)
            return wrong(s, s->at, "a surrogate stands alone");
        s->at += 6;
    }
    s->at += 6;
    return MG_OK;
}

/* How many digits stand at s->at; skips them. */
static size_t digits(struct scan *s)
{
    mg_bytes begin = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - begin);
}

static bool in_range(mg_bytes at, mg_bytes end);

static mg_err number(struct scan *s)
{
    mg_bytes begin = s->at;
    bool negative = *s->at == '-', scientific = false;
    s->at += negative;
    mg_bytes whole = s->at;
    size_t count = digits(s);
    if (count == 0)
        return wrong(s, s->at, negative ? "expected a digit" : "expected a value");
    if (*whole == '0' && count > 1)
        return wrong(s, whole, "a number has no leading zeros");

    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (digits(s) == 0)
            return wrong(s, s->at, "expected a digit");
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        scientific = true;
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (digits(s) == 0)
            return wrong(s, s->at, "expected a digit");
    }
    if ((scientific || count > SAFE_DIGITS) && !in_range(begin, s->at))
        return wrong(s, begin, "the number is out of range");
    return MG_OK;
}

/* Where the first digit that is not zero stands: its power of ten plus 1, before the exponent is
 * applied. False when there is none: the number is zero. */
static bool magnitude(mg_bytes *at, mg_bytes end, int64_t *out_power)
{
    mg_bytes point = *at;
    while (point < end && *point != '.' && (*point | 0x20) != 'e')
        point++;
    for (; *at < end && (*(*at) | 0x20) != 'e'; (*at)++)
        if (*(*at) >= '1' && *(*at) <= '9') {
            *out_power = *at < point ? point - *at : point - *at + 1;
            return true;
        }
    return false;
}

/* The written exponent; a huge one is as good as any other huge one. */
static int64_t exponent_of(mg_bytes at, mg_bytes end)
{
    int64_t exponent = 0;
    while (at < end && (*at | 0x20) != 'e')
        at++;
    if (at == end)
        return 0;
    bool negative = *++at == '-';
    at += *at == '-' || *at == '+';
    for (; at < end && exponent < INT64_C(1000000000000000); at++)
        exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

/* True when a valid number rounds to a finite double. Only between 1e308 and 1e309 are digits
 * looked at; the first 400 decide, for the border itself has 309. */
static bool in_range(mg_bytes at, mg_bytes end)
{
    char text[420];
    size_t n = 0;
    int64_t power;
    if (!magnitude(&at, end, &power))
        return true;
    power += exponent_of(at, end);
    if (power != MAX_EXPONENT10 + 1)
        return power <= MAX_EXPONENT10;

    text[n++] = (char)*at++;
    text[n++] = '.';
    for (; at < end && n < 400 && (*at | 0x20) != 'e'; at++)
        if (*at != '.')
            text[n++] = (char)*at;
    memcpy(text + n, "e308", 5);
    return strtod(text, NULL) <= 1.7976931348623157e308;
}

static mg_err literal(struct scan *s, const char *word)
{
    for (const char *c = word; *c; c++, s->at++)
        if (s->at == s->end || *s->at != (unsigned char)*c)
            return wrong(s, s->at, "expected a value");
    return MG_OK;
}

static mg_err hit(struct scan *s, int node, enum mg_json_type type, const char *begin)
{
    int path = s->paths->nodes[node].path;
    if (path < 0)
        return MG_OK;
    const char *end = (const char *)s->at;
    const struct frame *in = s->depth ? &s->frames[s->depth - 1] : NULL;
    const char *from = in ? in->member : begin;
    struct mg_json_hit found = {
        .path = (size_t)path,
        .type = type,
        .first = !in || in->begun == 1,
        .value = mg_view_of(begin, (size_t)(end - begin)),
        .member = mg_view_of(from, (size_t)(end - from)),
    };
    for (size_t i = 0; i < s->depth && found.index_count < MG_JSON_INDEXES; i++)
        if (!s->frames[i].is_object)
            found.index[found.index_count++] = s->frames[i].begun - 1;
    return s->cb(s->arg, &found);
}

static mg_err wrong(struct scan *s, const void *where, const char *reason)
{
    s->error = (struct mg_json_error){(size_t)((mg_bytes)where - s->begin), reason};
    return MG_E_BAD_REQUEST;
}
