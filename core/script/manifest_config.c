/* A plugin's settings against the JSON Schema subset of its manifest:
 *
 *   type properties required additionalProperties items enum const default deprecated
 *   minimum maximum minLength maxLength minItems maxItems            other keywords are refused
 *
 * `check` walks schema and value together and completes the value by defaults as it goes. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "script/manifest.h"

enum { DEPTH = 16, POINTER_BYTES = 160 };

struct checker {
    struct mg_diag *diag;
    char pointer[POINTER_BYTES];       /* "/kinds/0" */
};

static mg_err check(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth);
static mg_err check_object(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth);
static mg_err check_array(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth);
static mg_err check_range(struct checker *checker, const struct mg_json *schema, const struct mg_json *value);
static bool equal(const struct mg_json *a, const struct mg_json *b);

static mg_err bad(struct checker *checker, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static mg_err bad(struct checker *checker, const char *fmt, ...)
{
    struct mg_diag said = {.line = 0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(said.text, sizeof(said.text), fmt, args);
    va_end(args);
    if (checker->diag) {               /* it is written, so its parts are copied */
        snprintf(said.file, sizeof(said.file), "%s", checker->diag->file);
        said.line = checker->diag->line;
    }
    return mg_diag_set(checker->diag, MG_E_CONFIG, said.file, said.line, "config%s %s", checker->pointer, said.text);
}

mg_err mg_manifest_config(const struct mg_manifest *manifest, mg_view config, struct mg_arena *arena, mg_view *out_config,
                          struct mg_diag *diag)
{
    struct checker checker = {.diag = diag};
    struct mg_json *value = NULL;
    const struct mg_json *schema = mg_json_get(manifest->json, "config");
    if (mg_view_eq(config, MG_VIEW("[]")))
        config = MG_VIEW("{}");        /* an empty Lua table is both */
    if (mg_json_parse(config, MG_MAX_LUA_SOURCE_BYTES, &value, NULL) != MG_OK || !mg_json_is(value, MG_JSON_OBJECT)) {
        mg_json_free(value);
        return bad(&checker, "must be a table of settings");
    }

    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = MG_OK;
    if (schema)
        err = check(&checker, schema, value, 0);
    else if (mg_json_first(value))
        err = bad(&checker, "must be empty: the plugin declares no settings");
    if (err == MG_OK)
        err = mg_json_print(value, &text);
    if (err == MG_OK)
        *out_config = mg_arena_dup(arena, mg_buf_view(&text));
    mg_buf_fini(&text);
    mg_json_free(value);
    return err;
}

static bool keyword_is_known(mg_view key)
{
    static const char *const known[] = {"type",    "properties", "required",   "additionalProperties", "items",    "enum",
                                        "const",   "default",    "deprecated", "minimum",              "maximum",  "minLength",
                                        "maxLength", "minItems", "maxItems",   "title",                "description", "format"};
    for (size_t i = 0; i < MG_COUNT(known); i++) {
        if (mg_view_eq(key, mg_view_cstr(known[i])))
            return true;
    }
    return false;
}

static bool type_matches(mg_view type, const struct mg_json *value)
{
    if (mg_view_eq(type, MG_VIEW("integer")))
        return mg_json_is(value, MG_JSON_NUMBER) && mg_json_is_integer(value);
    if (mg_view_eq(type, MG_VIEW("boolean")))
        return mg_json_is(value, MG_JSON_BOOL);
    bool container = mg_json_is(value, MG_JSON_ARRAY) || mg_json_is(value, MG_JSON_OBJECT);
    if (container && !mg_json_first(value))    /* an empty Lua table is both */
        return mg_view_eq(type, MG_VIEW("array")) || mg_view_eq(type, MG_VIEW("object"));
    return mg_view_eq(type, mg_view_cstr(mg_json_type_name(mg_json_type(value))));
}

static bool is_secret_reference(const struct mg_json *value)
{
    return mg_json_is(value, MG_JSON_OBJECT) && mg_json_get(value, "$secret");
}

static mg_err check(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    if (depth > DEPTH)
        return bad(checker, "nests too deep");
    for (struct mg_json *k = mg_json_first(schema); k; k = mg_json_next(k)) {
        if (!keyword_is_known(mg_json_key(k)))
            return bad(checker, "has the schema keyword \"%.*s\", which is not supported", MG_FMT(mg_json_key(k)));
    }
    mg_view type = mg_json_string(mg_json_get(schema, "type"));
    bool secret = mg_view_eq(mg_json_string(mg_json_get(schema, "format")), MG_VIEW("secret-ref"));
    if (secret && is_secret_reference(value))
        return MG_OK;
    if (type.len && !type_matches(type, value))
        return bad(checker, "must be of type %.*s", MG_FMT(type));

    const struct mg_json *only = mg_json_get(schema, "const"), *list = mg_json_get(schema, "enum");
    if (only && !equal(only, value))
        return bad(checker, "has a value that is not allowed");
    bool listed = list == NULL;
    for (struct mg_json *item = mg_json_first(list); item && !listed; item = mg_json_next(item))
        listed = equal(item, value);
    if (!listed)
        return bad(checker, "is none of the values that are allowed");
    MG_TRY(check_range(checker, schema, value));
    if (mg_json_is(value, MG_JSON_OBJECT))
        return check_object(checker, schema, value, depth);
    return mg_json_is(value, MG_JSON_ARRAY) ? check_array(checker, schema, value, depth) : MG_OK;
}

static mg_err check_child(struct checker *checker, const struct mg_json *schema, struct mg_json *value, mg_view key, int depth)
{
    size_t len = strlen(checker->pointer);
    snprintf(checker->pointer + len, sizeof(checker->pointer) - len, "/%.*s", MG_FMT(key));
    MG_TRY(check(checker, schema, value, depth + 1));
    checker->pointer[len] = '\0';
    return MG_OK;
}

static mg_err check_object(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    const struct mg_json *properties = mg_json_get(schema, "properties");
    const struct mg_json *more = mg_json_get(schema, "additionalProperties");
    bool open = !more || mg_json_is(more, MG_JSON_OBJECT) || mg_json_bool(more, true);

    for (struct mg_json *p = mg_json_first(properties); p; p = mg_json_next(p)) {
        const char *key = mg_json_key(p).ptr;
        const struct mg_json *otherwise = mg_json_get(p, "default");
        if (!mg_json_get(value, key) && otherwise)
            mg_json_add(value, mg_json_key(p), mg_json_copy(otherwise));
        struct mg_json *child = mg_json_get(value, key);
        if (child)
            MG_TRY(check_child(checker, p, child, mg_json_key(p), depth));
    }
    for (struct mg_json *m = mg_json_first(value); m; m = mg_json_next(m)) {
        if (mg_json_get(properties, mg_json_key(m).ptr))
            continue;
        if (!open)
            return bad(checker, "has the unknown key \"%.*s\"", MG_FMT(mg_json_key(m)));
        if (mg_json_is(more, MG_JSON_OBJECT))
            MG_TRY(check_child(checker, more, m, mg_json_key(m), depth));
    }
    for (struct mg_json *r = mg_json_first(mg_json_get(schema, "required")); r; r = mg_json_next(r)) {
        if (!mg_json_get(value, mg_json_string(r).ptr))
            return bad(checker, "lacks \"%.*s\"", MG_FMT(mg_json_string(r)));
    }
    return MG_OK;
}

static mg_err check_array(struct checker *checker, const struct mg_json *schema, struct mg_json *value, int depth)
{
    const struct mg_json *items = mg_json_get(schema, "items");
    int i = 0;
    for (struct mg_json *item = mg_json_first(value); items && item; item = mg_json_next(item), i++) {
        char index[16];
        int len = snprintf(index, sizeof(index), "%d", i);
        MG_TRY(check_child(checker, items, item, mg_view_of(index, (size_t)len), depth));
    }
    return MG_OK;
}

static size_t characters(mg_view text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static mg_err within(struct checker *checker, const struct mg_json *schema, const char *min, const char *max, double got)
{
    const struct mg_json *low = mg_json_get(schema, min), *high = mg_json_get(schema, max);
    if (low && got < mg_json_double(low, 0))
        return bad(checker, "must be at least %g", mg_json_double(low, 0));
    if (high && got > mg_json_double(high, 0))
        return bad(checker, "must be at most %g", mg_json_double(high, 0));
    return MG_OK;
}

static mg_err check_range(struct checker *checker, const struct mg_json *schema, const struct mg_json *value)
{
    if (mg_json_is(value, MG_JSON_NUMBER))
        return within(checker, schema, "minimum", "maximum", mg_json_double(value, 0));
    if (mg_json_is(value, MG_JSON_STRING))
        return within(checker, schema, "minLength", "maxLength", (double)characters(mg_json_string(value)));
    if (mg_json_is(value, MG_JSON_ARRAY))
        return within(checker, schema, "minItems", "maxItems", (double)mg_json_count(value));
    return MG_OK;
}

/* Scalars only: what enum and const are used for. */
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
    return type == MG_JSON_NULL;
}
