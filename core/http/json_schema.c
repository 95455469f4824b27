#include "http/json_schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    DEPTH = 64,
    WORK = 50000,                      /* members looked at: some 10 ms, and a client may have written the schema */
};

struct checker {
    const struct mg_json *root;        /* of the schema, for $ref */
    unsigned flags;
    long work;                         /* left */
    struct mg_schema_fault *fault;
};

static bool check(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth);

/* ---- faults */

static bool bad(struct checker *checker, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool bad(struct checker *checker, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(checker->fault->text, sizeof checker->fault->text, fmt, args);
    va_end(args);
    return false;
}

/* Adds a step to the pointer, escaped as RFC 6901 has it; returns the length to go back to. */
static size_t step_into(struct checker *checker, mg_view key)
{
    char *pointer = checker->fault->pointer;
    size_t before = strlen(pointer), at = before, room = sizeof checker->fault->pointer;
    if (at + 1 < room)
        pointer[at++] = '/';
    for (size_t i = 0; i < key.len && at + 3 < room; i++) {
        bool special = key.ptr[i] == '~' || key.ptr[i] == '/';
        if (special)
            pointer[at++] = '~';
        pointer[at++] = !special ? key.ptr[i] : key.ptr[i] == '~' ? '0' : '1';
    }
    pointer[at] = '\0';
    return before;
}

static void step_back(struct checker *checker, size_t length)
{
    checker->fault->pointer[length] = '\0';
}

static bool check_at(struct checker *checker, const struct mg_json *schema, struct mg_json *value, mg_view key, int depth)
{
    size_t before = step_into(checker, key);
    if (!check(checker, schema, value, depth + 1))
        return false;
    step_back(checker, before);
    return true;
}

/* ---- keywords */

static const char *const known_types[] = {"string", "number", "integer", "boolean", "null", "array", "object"};

/* Kind of what stands behind each keyword. */
enum shape { TYPES, SCHEMAS_BY_NAME, SCHEMA_LIST, SCHEMA_OR_BOOL, NAMES, LIST, NUMBER, REFERENCE, ANYTHING };

static const struct keyword {
    const char *name;
    enum shape shape;
} keywords[] = {
    {"type", TYPES},
    {"properties", SCHEMAS_BY_NAME},
    {"required", NAMES},
    {"additionalProperties", SCHEMA_OR_BOOL},
    {"items", SCHEMA_OR_BOOL},
    {"enum", LIST},
    {"const", ANYTHING},
    {"anyOf", SCHEMA_LIST},
    {"allOf", SCHEMA_LIST},
    {"oneOf", SCHEMA_LIST},
    {"$ref", REFERENCE},
    {"$defs", SCHEMAS_BY_NAME},
    {"definitions", SCHEMAS_BY_NAME},
    {"minimum", NUMBER},
    {"maximum", NUMBER},
    {"exclusiveMinimum", NUMBER},
    {"exclusiveMaximum", NUMBER},
    {"minLength", NUMBER},
    {"maxLength", NUMBER},
    {"minItems", NUMBER},
    {"maxItems", NUMBER},
    {"title", ANYTHING},
    {"description", ANYTHING},
    {"default", ANYTHING},
    {"deprecated", ANYTHING},
    {"examples", ANYTHING},
    {"format", ANYTHING},
    {"readOnly", ANYTHING},
    {"writeOnly", ANYTHING},
    {"$schema", ANYTHING},
    {"$id", ANYTHING},
    {"$comment", ANYTHING},
};

static const struct keyword *find_keyword(mg_view name)
{
    for (size_t i = 0; i < MG_COUNT(keywords); i++)
        if (mg_view_eq(name, mg_view_cstr(keywords[i].name)))
            return &keywords[i];
    return NULL;
}

static bool check_keywords(struct checker *checker, const struct mg_json *schema)
{
    if (checker->flags & MG_SCHEMA_LENIENT)
        return true;
    for (struct mg_json *k = mg_json_first(schema); k; k = mg_json_next(k))
        if (!find_keyword(mg_json_key(k)))
            return bad(checker, "has the schema keyword \"%.*s\", which is not supported", MG_FMT(mg_json_key(k)));
    return true;
}

/* What "#/$defs/item" leads to; NULL: nothing. */
static const struct mg_json *resolve(const struct mg_json *root, mg_view reference)
{
    const struct mg_json *at = root;
    if (!reference.len || reference.ptr[0] != '#')
        return NULL;
    mg_view rest = mg_view_skip(reference, 1);
    while (rest.len) {
        if (rest.ptr[0] != '/')
            return NULL;
        rest = mg_view_skip(rest, 1);
        size_t len = mg_view_find(rest, "/");
        char key[128];
        size_t n = 0;
        for (size_t i = 0; i < len && n + 1 < sizeof key; i++) {
            bool escaped = rest.ptr[i] == '~' && i + 1 < len;
            key[n++] = !escaped ? rest.ptr[i] : rest.ptr[++i] == '1' ? '/' : '~';
        }
        key[n] = '\0';
        at = mg_json_get(at, key);
        rest = mg_view_skip(rest, len);
    }
    return at;
}

/* ---- type, enum, const */

static bool is_type(const struct checker *checker, mg_view type, const struct mg_json *value)
{
    if (mg_view_eq(type, MG_VIEW("integer")))
        return mg_json_is(value, MG_JSON_NUMBER) && fmod(mg_json_double(value, 0.5), 1) == 0;
    if (mg_view_eq(type, MG_VIEW("boolean")))
        return mg_json_is(value, MG_JSON_BOOL);
    bool container = mg_json_is(value, MG_JSON_ARRAY) || mg_json_is(value, MG_JSON_OBJECT);
    if ((checker->flags & MG_SCHEMA_LUA) && container && !mg_json_first(value))
        return mg_view_eq(type, MG_VIEW("array")) || mg_view_eq(type, MG_VIEW("object"));
    return mg_view_eq(type, mg_view_cstr(mg_json_type_name(mg_json_type(value))));
}

static bool check_type(struct checker *checker, const struct mg_json *type, const struct mg_json *value)
{
    char wanted[128] = "";
    const char *found = mg_json_is(value, MG_JSON_BOOL) ? "boolean" : mg_json_type_name(mg_json_type(value));
    if (mg_json_is(type, MG_JSON_STRING) && !is_type(checker, mg_json_string(type), value))
        return bad(checker, "must be of type %.*s, not %s", MG_FMT(mg_json_string(type)), found);
    if (!mg_json_is(type, MG_JSON_ARRAY))
        return true;
    for (struct mg_json *t = mg_json_first(type); t; t = mg_json_next(t)) {
        size_t at = strlen(wanted);
        if (is_type(checker, mg_json_string(t), value))
            return true;
        snprintf(wanted + at, sizeof wanted - at, "%s%.*s", at ? " or " : "", MG_FMT(mg_json_string(t)));
    }
    return bad(checker, "must be of type %s, not %s", wanted, found);
}

static bool equal(const struct mg_json *a, const struct mg_json *b)
{
    enum mg_json_type type = mg_json_type(a);
    if (type != mg_json_type(b))
        return false;
    if (type == MG_JSON_STRING)
        return mg_view_eq(mg_json_string(a), mg_json_string(b));
    if (type == MG_JSON_NUMBER)
        return mg_json_double(a, 0) == mg_json_double(b, 1);
    if (type == MG_JSON_BOOL)
        return mg_json_bool(a, false) == mg_json_bool(b, false);
    struct mg_json *x = mg_json_first(a), *y = mg_json_first(b);
    for (; x && y; x = mg_json_next(x), y = mg_json_next(y)) {
        const struct mg_json *other = type == MG_JSON_OBJECT ? mg_json_get(b, mg_json_key(x).ptr) : y;
        if (!other || !equal(x, other))
            return false;
    }
    return !x && !y;
}

static bool check_values(struct checker *checker, const struct mg_json *schema, const struct mg_json *value)
{
    const struct mg_json *only = mg_json_get(schema, "const"), *list = mg_json_get(schema, "enum");
    if (only && !equal(only, value))
        return bad(checker, "has a value that is not allowed");
    bool listed = list == NULL;
    for (struct mg_json *item = mg_json_first(list); item && !listed; item = mg_json_next(item))
        listed = equal(item, value);
    return listed || bad(checker, "is none of the values that are allowed");
}

/* ---- numbers, lengths */

static size_t characters(mg_view text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static bool within(struct checker *checker, const struct mg_json *schema, const char *min, const char *max, double got,
                   const char *unit)
{
    const struct mg_json *low = mg_json_get(schema, min), *high = mg_json_get(schema, max);
    if (mg_json_is(low, MG_JSON_NUMBER) && got < mg_json_double(low, 0))
        return bad(checker, "must be at least %g%s", mg_json_double(low, 0), unit);
    if (mg_json_is(high, MG_JSON_NUMBER) && got > mg_json_double(high, 0))
        return bad(checker, "must be at most %g%s", mg_json_double(high, 0), unit);
    return true;
}

static bool strictly_within(struct checker *checker, const struct mg_json *schema, double got)
{
    const struct mg_json *low = mg_json_get(schema, "exclusiveMinimum"), *high = mg_json_get(schema, "exclusiveMaximum");
    if (mg_json_is(low, MG_JSON_NUMBER) && got <= mg_json_double(low, 0))
        return bad(checker, "must be above %g", mg_json_double(low, 0));
    if (mg_json_is(high, MG_JSON_NUMBER) && got >= mg_json_double(high, 0))
        return bad(checker, "must be below %g", mg_json_double(high, 0));
    return true;
}

static bool check_range(struct checker *checker, const struct mg_json *schema, const struct mg_json *value)
{
    if (mg_json_is(value, MG_JSON_NUMBER))
        return within(checker, schema, "minimum", "maximum", mg_json_double(value, 0), "") &&
               strictly_within(checker, schema, mg_json_double(value, 0));
    if (mg_json_is(value, MG_JSON_STRING))
        return within(checker, schema, "minLength", "maxLength", (double)characters(mg_json_string(value)), " characters long");
    if (mg_json_is(value, MG_JSON_ARRAY))
        return within(checker, schema, "minItems", "maxItems", (double)mg_json_count(value), " items long");
    return true;
}

/* ---- containers */

static bool check_properties(struct checker *checker, const struct mg_json *properties, struct mg_json *value, int depth)
{
    long members = (long)mg_json_count(value);
    for (struct mg_json *p = mg_json_first(properties); p; p = mg_json_next(p)) {
        const char *key = mg_json_key(p).ptr;
        const struct mg_json *otherwise = mg_json_get(p, "default");
        struct mg_json *child = mg_json_get(value, key);
        checker->work -= members;
        if (!child && otherwise && (checker->flags & MG_SCHEMA_LUA)) {
            mg_json_add(value, mg_json_key(p), mg_json_copy(otherwise));
            child = mg_json_get(value, key);
        }
        if (child && !check_at(checker, p, child, mg_json_key(p), depth))
            return false;
    }
    return true;
}

static bool check_others(struct checker *checker, const struct mg_json *properties, const struct mg_json *more,
                         struct mg_json *value, int depth)
{
    long declared = (long)mg_json_count(properties);
    if (!more || mg_json_bool(more, false))
        return true;
    for (struct mg_json *m = mg_json_first(value); m; m = mg_json_next(m)) {
        checker->work -= declared;
        if (mg_json_get(properties, mg_json_key(m).ptr))
            continue;
        if (mg_json_is(more, MG_JSON_BOOL))
            return bad(checker, "has the unknown key \"%.*s\"", MG_FMT(mg_json_key(m)));
        if (!check_at(checker, more, m, mg_json_key(m), depth))
            return false;
    }
    return true;
}

static bool check_object(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    const struct mg_json *properties = mg_json_get(schema, "properties");
    if (!check_properties(checker, properties, value, depth) ||
        !check_others(checker, properties, mg_json_get(schema, "additionalProperties"), value, depth))
        return false;
    for (struct mg_json *r = mg_json_first(mg_json_get(schema, "required")); r; r = mg_json_next(r)) {
        checker->work -= (long)mg_json_count(value);
        if (mg_json_is(r, MG_JSON_STRING) && !mg_json_get(value, mg_json_string(r).ptr))
            return bad(checker, "lacks \"%.*s\"", MG_FMT(mg_json_string(r)));
    }
    return true;
}

static bool check_array(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    const struct mg_json *items = mg_json_get(schema, "items");
    int i = 0;
    for (struct mg_json *item = mg_json_first(value); items && item; item = mg_json_next(item), i++) {
        char index[16];
        int len = snprintf(index, sizeof index, "%d", i);
        if (!check_at(checker, items, item, mg_view_of(index, (size_t)len), depth))
            return false;
    }
    return true;
}

/* ---- combinations */

/* How many of the list the value fits, at most `enough`; what does not fit leaves no fault. */
static int fitting(struct checker *checker, const struct mg_json *list, struct mg_json *value, int depth, int enough)
{
    size_t before = strlen(checker->fault->pointer);
    int count = 0;
    for (struct mg_json *s = mg_json_first(list); s && count < enough; s = mg_json_next(s)) {
        count += check(checker, s, value, depth + 1);
        step_back(checker, before);
    }
    return count;
}

static bool check_combinations(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    const struct mg_json *any = mg_json_get(schema, "anyOf"), *one = mg_json_get(schema, "oneOf");
    for (struct mg_json *s = mg_json_first(mg_json_get(schema, "allOf")); s; s = mg_json_next(s))
        if (!check(checker, s, value, depth + 1))
            return false;
    if (any && fitting(checker, any, value, depth, 1) == 0)
        return bad(checker, "must fit one of %zu alternatives", mg_json_count(any));
    if (one && fitting(checker, one, value, depth, 2) != 1)
        return bad(checker, "must fit exactly one of %zu alternatives", mg_json_count(one));
    return true;
}

static bool check_reference(struct checker *checker, const struct mg_json *reference, struct mg_json *value, int depth)
{
    if (!reference)
        return true;
    const struct mg_json *target = resolve(checker->root, mg_json_string(reference));
    if (target)
        return check(checker, target, value, depth + 1);
    return (checker->flags & MG_SCHEMA_LENIENT) || bad(checker, "has a $ref to something that is not in the schema");
}

static bool is_secret(const struct checker *checker, const struct mg_json *schema, const struct mg_json *value)
{
    return (checker->flags & MG_SCHEMA_LUA) && mg_json_get(value, "$secret") &&
           mg_view_eq(mg_json_string(mg_json_get(schema, "format")), MG_VIEW("secret-ref"));
}

static bool check(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    bool lenient = checker->flags & MG_SCHEMA_LENIENT;
    if (mg_json_is(schema, MG_JSON_BOOL))
        return mg_json_bool(schema, true) || bad(checker, "is not allowed");
    if (depth > DEPTH || --checker->work < 0)
        return lenient || bad(checker, "%s", depth > DEPTH ? "nests too deep" : "takes too long to check");
    if (!check_keywords(checker, schema))
        return false;
    if (is_secret(checker, schema, value))
        return true;
    if (!check_type(checker, mg_json_get(schema, "type"), value) || !check_values(checker, schema, value) ||
        !check_range(checker, schema, value))
        return false;
    if (!check_reference(checker, mg_json_get(schema, "$ref"), value, depth) ||
        !check_combinations(checker, schema, value, depth))
        return false;
    if (mg_json_is(value, MG_JSON_OBJECT))
        return check_object(checker, schema, value, depth);
    return !mg_json_is(value, MG_JSON_ARRAY) || check_array(checker, schema, value, depth);
}

bool mg_schema_allows(const struct mg_json *schema, struct mg_json *value, unsigned flags, struct mg_schema_fault *out_fault)
{
    struct checker checker = {.root = schema, .flags = flags, .work = WORK, .fault = out_fault};
    *out_fault = (struct mg_schema_fault){"", ""};
    return check(&checker, schema, value, 0);
}

/* ---- schemas of ours */

static bool understand(struct checker *checker, const struct mg_json *schema, int depth);

static bool understand_at(struct checker *checker, const struct mg_json *schema, mg_view key, int depth)
{
    size_t before = step_into(checker, key);
    if (!understand(checker, schema, depth + 1))
        return false;
    step_back(checker, before);
    return true;
}

static bool is_known_type(const struct mg_json *type)
{
    for (size_t i = 0; i < MG_COUNT(known_types); i++)
        if (mg_view_eq(mg_json_string(type), mg_view_cstr(known_types[i])))
            return true;
    return false;
}

static bool understand_types(struct checker *checker, const struct mg_json *types)
{
    bool list = mg_json_is(types, MG_JSON_ARRAY) && mg_json_first(types);
    if (!list && !is_known_type(types))
        return bad(checker, "must be one of string, number, integer, boolean, null, array, object, or a list of them");
    for (struct mg_json *t = mg_json_first(types); t; t = mg_json_next(t))
        if (!is_known_type(t))
            return bad(checker, "has an entry that is no type");
    return true;
}

static bool understand_schemas(struct checker *checker, const struct mg_json *schemas, int depth)
{
    int i = 0;
    for (struct mg_json *s = mg_json_first(schemas); s; s = mg_json_next(s), i++) {
        char index[16];
        int len = snprintf(index, sizeof index, "%d", i);
        bool named = mg_json_is(schemas, MG_JSON_OBJECT);
        if (!understand_at(checker, s, named ? mg_json_key(s) : mg_view_of(index, (size_t)len), depth))
            return false;
    }
    return true;
}

/* An empty Lua table is an object: so an object may stand where an empty list is meant. */
static bool is_list(const struct mg_json *value)
{
    return mg_json_is(value, MG_JSON_ARRAY) || (mg_json_is(value, MG_JSON_OBJECT) && !mg_json_first(value));
}

static bool understand_names(struct checker *checker, const struct mg_json *names)
{
    if (!is_list(names))
        return bad(checker, "must be a list of names");
    for (struct mg_json *n = mg_json_first(names); n; n = mg_json_next(n))
        if (!mg_json_is(n, MG_JSON_STRING))
            return bad(checker, "must be a list of names");
    return true;
}

static bool understand_value(struct checker *checker, enum shape shape, const struct mg_json *value, int depth)
{
    switch (shape) {
    case TYPES:
        return understand_types(checker, value);
    case SCHEMAS_BY_NAME:
        return mg_json_is(value, MG_JSON_OBJECT) ? understand_schemas(checker, value, depth)
                                                 : bad(checker, "must be a table of schemas by name");
    case SCHEMA_LIST:
        return mg_json_is(value, MG_JSON_ARRAY) ? understand_schemas(checker, value, depth)
                                                : bad(checker, "must be a list of schemas");
    case SCHEMA_OR_BOOL:
        return mg_json_is(value, MG_JSON_BOOL) || understand(checker, value, depth + 1);
    case NAMES:
        return understand_names(checker, value);
    case LIST:
        return is_list(value) || bad(checker, "must be a list");
    case NUMBER:
        return mg_json_is(value, MG_JSON_NUMBER) || bad(checker, "must be a number");
    case REFERENCE:
        return resolve(checker->root, mg_json_string(value)) || bad(checker, "must lead to a place in this schema, as \"#/$defs/name\"");
    default:
        return true;
    }
}

static bool understand(struct checker *checker, const struct mg_json *schema, int depth)
{
    if (depth > DEPTH)
        return bad(checker, "nests too deep");
    if (!mg_json_is(schema, MG_JSON_OBJECT))
        return bad(checker, "must be a schema, which is a table");
    for (struct mg_json *k = mg_json_first(schema); k; k = mg_json_next(k)) {
        const struct keyword *keyword = find_keyword(mg_json_key(k));
        size_t before = step_into(checker, mg_json_key(k));
        if (!keyword)
            return bad(checker, "is a keyword that is not supported here");
        if (!understand_value(checker, keyword->shape, k, depth))
            return false;
        step_back(checker, before);
    }
    return true;
}

bool mg_schema_understood(const struct mg_json *schema, struct mg_schema_fault *out_fault)
{
    struct checker checker = {.root = schema, .work = WORK, .fault = out_fault};
    *out_fault = (struct mg_schema_fault){"", ""};
    return understand(&checker, schema, 0);
}
