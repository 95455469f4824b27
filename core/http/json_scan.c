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
    int element;             /* and its elements, or MG_JSON_NOWHERE */
    bool is_object;
    bool unique;             /* its keys are checked */
    struct mg_json_key_scope keys;     /* when unique */
};

struct scan {
    mg_bytes begin;
    mg_bytes end;
    const struct mg_json_paths *paths; /* borrowed; NULL for none */
    mg_json_hit_cb cb;
    void *arg;
    bool all_unique;         /* check keys of every object */
    size_t depth;            /* frames in use */
    mg_err failed;           /* why a step returned NULL */
    struct mg_json_error error;
    struct mg_json_keys keys;
    struct frame frames[MG_MAX_JSON_DEPTH];
};

/* Every step takes the place where it begins and returns the one behind it, or NULL when s->failed says why not: the
 * place stays in a register. */
static mg_err run(struct scan *s);
static mg_bytes next(struct scan *s, mg_bytes at);
static mg_bytes member(struct scan *s, struct frame *in, mg_bytes at);
static mg_bytes key(struct scan *s, struct frame *in, mg_bytes at, int *out_node);
static mg_bytes value(struct scan *s, mg_bytes at, int node);
static mg_bytes open(struct scan *s, mg_bytes at, int node, bool is_object);
static mg_bytes close(struct scan *s, mg_bytes at);
static mg_bytes string(struct scan *s, mg_bytes at, bool *out_escaped);
static mg_bytes odd_string(struct scan *s, mg_bytes at, bool *out_escaped);
static mg_bytes escape(struct scan *s, mg_bytes at);
static mg_bytes number(struct scan *s, mg_bytes at);
static mg_bytes literal(struct scan *s, mg_bytes at, const char *word, size_t len);
static mg_bytes hit(struct scan *s, int node, enum mg_json_type type, const char *begin, mg_bytes end);
static mg_bytes wrong(struct scan *s, const void *where, const char *reason);

static mg_err scan(mg_view doc, const struct mg_json_paths *paths, mg_json_hit_cb cb, void *arg, bool all_unique,
                   struct mg_json_error *out_err)
{
    static const char nothing[1];
    struct scan s;           /* 12 KiB that are not worth zeroing */
    s.begin = (mg_bytes)(doc.ptr ? doc.ptr : nothing);
    s.end = s.begin + doc.len;
    s.paths = paths;
    s.cb = cb;
    s.arg = arg;
    s.all_unique = all_unique;
    s.depth = 0;
    s.failed = MG_OK;
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

static inline mg_bytes skip_blanks(mg_bytes at, mg_bytes end)
{
    while (at < end && *at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

static mg_err run(struct scan *s)
{
    mg_bytes at = skip_blanks(s->begin, s->end);
    if (s->end - at >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
        at = wrong(s, at, "a byte order mark is not allowed");
    else
        at = value(s, at, s->paths ? 0 : MG_JSON_NOWHERE);
    while (at && s->depth > 0)
        at = next(s, at);
    if (at && (at = skip_blanks(at, s->end)) != s->end)
        wrong(s, at, "something follows the end of the document");
    return s->failed;
}

/* One member, element or the end of the innermost container. */
static mg_bytes next(struct scan *s, mg_bytes at)
{
    struct frame *in = &s->frames[s->depth - 1];
    at = skip_blanks(at, s->end);
    if (at < s->end && *at == (in->is_object ? '}' : ']'))
        return close(s, at);
    if (in->begun > 0) {
        if (at == s->end || *at != ',')
            return wrong(s, at, in->is_object ? "expected ',' or '}'" : "expected ',' or ']'");
        at = skip_blanks(at + 1, s->end);
    }
    in->begun++;
    in->member = (const char *)at;
    return in->is_object ? member(s, in, at) : value(s, at, in->element);
}

static mg_bytes member(struct scan *s, struct frame *in, mg_bytes at)
{
    int node = MG_JSON_NOWHERE;
    if (at == s->end || *at != '"')
        return wrong(s, at, in->begun > 1 ? "expected a key" : "expected a key or '}'");
    at = key(s, in, at, &node);
    if (!at)
        return NULL;
    at = skip_blanks(at, s->end);
    if (at == s->end || *at != ':')
        return wrong(s, at, "expected ':'");
    return value(s, skip_blanks(at + 1, s->end), node);
}

static mg_bytes refuse_key(struct scan *s, mg_bytes begin, mg_err err)
{
    wrong(s, begin, err == MG_E_EXISTS      ? "this key was there before"
                    : err == MG_E_TOO_LARGE ? "there are too many keys in one object"
                                            : "out of memory");
    s->failed = err == MG_E_EXISTS ? MG_E_BAD_REQUEST : err;
    return NULL;
}

static mg_bytes key(struct scan *s, struct frame *in, mg_bytes at, int *out_node)
{
    bool escaped = false;
    mg_bytes begin = at;
    at = string(s, at, &escaped);
    if (!at || !in->unique)
        return at;

    struct mg_json_name name;
    mg_err err = mg_json_keys_add(&s->keys, &in->keys, mg_view_of((const char *)begin, (size_t)(at - begin)), escaped,
                                  (const char *)s->end, &name);
    if (err)
        return refuse_key(s, begin, err);
    if (in->node >= 0)
        *out_node = mg_json_paths_member(s->paths, in->node, &name);
    return at;
}

static mg_bytes value(struct scan *s, mg_bytes at, int node)
{
    const char *begin = (const char *)at;
    enum mg_json_type type;
    bool escaped;
    if (at == s->end)
        return wrong(s, at, "the document ends too early");
    switch (*at) {
    case '{':
    case '[':
        return open(s, at, node, *at == '{');
    case '"':
        type = MG_JSON_STRING;
        at = string(s, at, &escaped);
        break;
    case 't':
    case 'f':
        type = MG_JSON_BOOL;
        at = *at == 't' ? literal(s, at, "true", 4) : literal(s, at, "false", 5);
        break;
    case 'n':
        type = MG_JSON_NULL;
        at = literal(s, at, "null", 4);
        break;
    default:
        type = MG_JSON_NUMBER;
        at = number(s, at);
    }
    return node < 0 || !at ? at : hit(s, node, type, begin, at);
}

static mg_bytes open(struct scan *s, mg_bytes at, int node, bool is_object)
{
    if (s->depth == MG_MAX_JSON_DEPTH)
        return wrong(s, at, "the document is nested too deep");
    struct frame *frame = &s->frames[s->depth];
    bool on_way = node >= 0 && s->paths->nodes[node].edges >= 0;
    frame->begin = frame->member = (const char *)at;
    frame->begun = 0;
    frame->node = node;
    frame->element = node < 0 ? MG_JSON_NOWHERE : s->paths->nodes[node].element;
    frame->is_object = is_object;
    frame->unique = is_object && (s->depth == 0 || on_way || s->all_unique);
    if (frame->unique)
        mg_json_keys_open(&s->keys, &frame->keys);
    s->depth++;
    return at + 1;
}

static mg_bytes close(struct scan *s, mg_bytes at)
{
    struct frame *frame = &s->frames[--s->depth];
    if (frame->unique)
        mg_json_keys_close(&s->keys, &frame->keys);
    at++;
    if (frame->node < 0)
        return at;
    return hit(s, frame->node, frame->is_object ? MG_JSON_OBJECT : MG_JSON_ARRAY, frame->begin, at);
}

/* Nearly every string is plain ASCII from quote to quote. */
static inline mg_bytes string(struct scan *s, mg_bytes at, bool *out_escaped)
{
    *out_escaped = false;
    at = mg_skip_plain(at + 1, s->end);
    if (at < s->end && *at == '"')
        return at + 1;
    return odd_string(s, at, out_escaped);
}

/* `at` is behind the plain beginning of a string. */
static mg_bytes odd_string(struct scan *s, mg_bytes at, bool *out_escaped)
{
    for (;; at = mg_skip_plain(at, s->end)) {
        if (at == s->end)
            return wrong(s, at, "the document ends inside a string");
        if (*at == '"')
            return at + 1;
        if (*at == '\\') {
            *out_escaped = true;
            at = escape(s, at);
            if (!at)
                return NULL;
        } else if (*at < 0x20) {
            return wrong(s, at, "control characters in strings must be escaped");
        }
        while (at < s->end && *at >= 0x80) {
            size_t len = mg_utf8_sequence(at, s->end);
            if (len == 0)
                return wrong(s, at, "the text is not valid UTF-8");
            at += len;
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

static mg_bytes escape(struct scan *s, mg_bytes at)
{
    if (s->end - at < 2)
        return wrong(s, s->end, "the document ends inside a string");
    if (at[1] != 'u')
        return memchr("\"\\/bfnrt", at[1], 8) ? at + 2 : wrong(s, at, "there is no such escape");
    int unit = code_unit(at, s->end);
    if (unit < 0)
        return wrong(s, at, "\\u needs four hexadecimal digits");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return wrong(s, at, "a surrogate stands alone");
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int low = code_unit(at + 6, s->end);
        if (low < 0xdc00 || low > 0xdfff)
            return wrong(s, at, "a surrogate stands alone");
        at += 6;
    }
    return at + 6;
}

static inline mg_bytes skip_digits(mg_bytes at, mg_bytes end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static bool in_range(mg_bytes at, mg_bytes end);

static mg_bytes number(struct scan *s, mg_bytes at)
{
    mg_bytes begin = at, end = s->end;
    bool negative = *at == '-', scientific = false;
    mg_bytes whole = at + negative;
    at = skip_digits(whole, end);
    size_t count = (size_t)(at - whole);
    if (count == 0)
        return wrong(s, at, negative ? "expected a digit" : "expected a value");
    if (*whole == '0' && count > 1)
        return wrong(s, whole, "a number has no leading zeros");

    if (at < end && *at == '.') {
        mg_bytes fraction = at + 1;
        at = skip_digits(fraction, end);
        if (at == fraction)
            return wrong(s, at, "expected a digit");
    }
    if (at < end && (*at | 0x20) == 'e') {
        scientific = true;
        at++;
        mg_bytes exponent = at < end && (*at == '+' || *at == '-') ? at + 1 : at;
        at = skip_digits(exponent, end);
        if (at == exponent)
            return wrong(s, at, "expected a digit");
    }
    if ((scientific || count > SAFE_DIGITS) && !in_range(begin, at))
        return wrong(s, begin, "the number is out of range");
    return at;
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

static mg_bytes literal(struct scan *s, mg_bytes at, const char *word, size_t len)
{
    if ((size_t)(s->end - at) >= len && memcmp(at, word, len) == 0)
        return at + len;
    while (at < s->end && *at == (unsigned char)*word)
        at++, word++;
    return wrong(s, at, "expected a value");
}

static mg_bytes hit(struct scan *s, int node, enum mg_json_type type, const char *begin, mg_bytes end)
{
    int path = s->paths->nodes[node].path;
    if (path < 0)
        return end;
    const struct frame *in = s->depth ? &s->frames[s->depth - 1] : NULL;
    const char *from = in ? in->member : begin;
    struct mg_json_hit found = {
        .path = (size_t)path,
        .type = type,
        .first = !in || in->begun == 1,
        .value = mg_view_of(begin, (size_t)((const char *)end - begin)),
        .member = mg_view_of(from, (size_t)((const char *)end - from)),
    };
    for (size_t i = 0; i < s->depth && found.index_count < MG_JSON_INDEXES; i++)
        if (!s->frames[i].is_object)
            found.index[found.index_count++] = s->frames[i].begun - 1;
    s->failed = s->cb(s->arg, &found);
    return s->failed ? NULL : end;
}

static mg_bytes wrong(struct scan *s, const void *where, const char *reason)
{
    s->error = (struct mg_json_error){(size_t)((mg_bytes)where - s->begin), reason};
    s->failed = MG_E_BAD_REQUEST;
    return NULL;
}
