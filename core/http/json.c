#include "http/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/json_bytes.h"

/* A value is a cJSON node. A number whose digits a double would not print again is a cJSON_Raw
 * node that holds them as text; valuedouble is filled in for both.
 *
 * Nodes are made here and not by cJSON_Parse: it takes forms that are no JSON, cuts numbers after
 * 63 characters and strings at a NUL. Validity was decided before, so that reading cannot fail. */
enum { SAFE_DIGITS = 15 };             /* an integer of so many is printed again as it was */

struct reader {
    const char *at;          /* borrowed from a document that mg_json_check() accepted */
    const char *end;
    struct mg_buf scratch;   /* the string being unescaped */
};

static cJSON *node_of(const struct mg_json *value);
static struct mg_json *json_of(cJSON *node);
static bool is_number(const cJSON *node);
static const char *find_null_escape(mg_view doc);
static cJSON *read_value(struct reader *r);
static cJSON *read_children(struct reader *r);
static char *read_string(struct reader *r);
static cJSON *read_number(struct reader *r);
static cJSON *string_node(char *text);
static struct mg_json *step(const struct mg_json *value, mg_view *path);
static cJSON *member(const cJSON *object, mg_view key);
static char *clean(mg_view text);
static mg_err print(const cJSON *node, struct mg_buf *out);
static mg_err print_children(const cJSON *node, struct mg_buf *out);
static mg_err print_string(const char *text, struct mg_buf *out);
static mg_err print_number(double value, struct mg_buf *out);

/* cJSON's memory is ours: it aborts instead of handing out NULL. */
__attribute__((constructor)) static void use_our_memory(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = mg_alloc, .free_fn = mg_free});
}

mg_err mg_json_parse(mg_view doc, size_t max_bytes, struct mg_json **out, struct mg_json_error *out_err)
{
    struct mg_json_error ignored, *error = out_err ? out_err : &ignored;
    if (doc.len > max_bytes) {
        *error = (struct mg_json_error){max_bytes, "the document is too large"};
        return MG_E_TOO_LARGE;
    }
    MG_TRY(mg_json_check(doc, error));
    const char *null_escape = find_null_escape(doc);
    if (null_escape) {
        *error = (struct mg_json_error){(size_t)(null_escape - doc.ptr), "\\u0000 is not supported here"};
        return MG_E_BAD_REQUEST;
    }

    struct reader reader = {.at = doc.ptr, .end = doc.ptr + doc.len};
    mg_buf_init(&reader.scratch, doc.len + 1);
    mg_err err = mg_buf_reserve(&reader.scratch, doc.len);       /* unescaping never needs more */
    if (!err)
        *out = json_of(read_value(&reader));
    mg_buf_fini(&reader.scratch);
    return err;
}

void mg_json_free(struct mg_json *value)
{
    cJSON_Delete(node_of(value));
}

enum mg_json_type mg_json_type(const struct mg_json *value)
{
    const cJSON *node = node_of(value);
    if (cJSON_IsObject(node))
        return MG_JSON_OBJECT;
    if (cJSON_IsArray(node))
        return MG_JSON_ARRAY;
    if (cJSON_IsString(node))
        return MG_JSON_STRING;
    if (cJSON_IsBool(node))
        return MG_JSON_BOOL;
    return is_number(node) ? MG_JSON_NUMBER : MG_JSON_NULL;
}

bool mg_json_is(const struct mg_json *value, enum mg_json_type type)
{
    return value && mg_json_type(value) == type;
}

struct mg_json *mg_json_get(const struct mg_json *object, const char *key)
{
    return json_of(member(node_of(object), mg_view_cstr(key)));
}

struct mg_json *mg_json_at(const struct mg_json *array, size_t index)
{
    struct mg_json *item = mg_json_is(array, MG_JSON_ARRAY) ? mg_json_first(array) : NULL;
    while (item && index-- > 0)
        item = mg_json_next(item);
    return item;
}

struct mg_json *mg_json_path(const struct mg_json *value, const char *path)
{
    mg_view rest = mg_view_cstr(path);
    struct mg_json *at = json_of(node_of(value));
    while (at && rest.len > 0)
        at = step(at, &rest);
    return at;
}

size_t mg_json_count(const struct mg_json *container)
{
    size_t count = 0;
    for (struct mg_json *item = mg_json_first(container); item; item = mg_json_next(item))
        count++;
    return count;
}

struct mg_json *mg_json_first(const struct mg_json *container)
{
    const cJSON *node = node_of(container);
    return json_of(cJSON_IsObject(node) || cJSON_IsArray(node) ? node->child : NULL);
}

struct mg_json *mg_json_next(const struct mg_json *value)
{
    const cJSON *node = node_of(value);
    return json_of(node ? node->next : NULL);
}

mg_view mg_json_key(const struct mg_json *value)
{
    const cJSON *node = node_of(value);
    return mg_view_cstr(node ? node->string : NULL);
}

mg_view mg_json_string(const struct mg_json *value)
{
    const cJSON *node = node_of(value);
    return mg_view_cstr(cJSON_IsString(node) ? node->valuestring : NULL);
}

bool mg_json_bool(const struct mg_json *value, bool otherwise)
{
    const cJSON *node = node_of(value);
    return cJSON_IsBool(node) ? cJSON_IsTrue(node) : otherwise;
}

double mg_json_double(const struct mg_json *value, double otherwise)
{
    const cJSON *node = node_of(value);
    return is_number(node) ? node->valuedouble : otherwise;
}

bool mg_json_is_integer(const struct mg_json *value)
{
    const cJSON *node = node_of(value);
    if (cJSON_IsRaw(node))
        return strpbrk(node->valuestring, ".eE") == NULL;
    return cJSON_IsNumber(node) && node->valuedouble == floor(node->valuedouble) && fabs(node->valuedouble) < 1e15;
}

bool mg_json_i64(const struct mg_json *value, int64_t *out_value)
{
    const cJSON *node = node_of(value);
    if (!mg_json_is_integer(value))
        return false;
    if (cJSON_IsNumber(node)) {
        *out_value = (int64_t)node->valuedouble;
        return true;
    }
    bool negative = node->valuestring[0] == '-';
    uint64_t digits;
    if (!mg_view_u64(mg_view_cstr(node->valuestring + negative), &digits) || digits > (uint64_t)INT64_MAX + negative)
        return false;
    *out_value = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return true;
}

struct mg_json *mg_json_new_null(void)
{
    return json_of(cJSON_CreateNull());
}

struct mg_json *mg_json_new_bool(bool value)
{
    return json_of(cJSON_CreateBool(value));
}

struct mg_json *mg_json_new_i64(int64_t value)
{
    char text[24];
    cJSON *node = cJSON_CreateNumber((double)value);
    if (value > INT64_C(-1000000000000000) && value < INT64_C(1000000000000000))
        return json_of(node);
    snprintf(text, sizeof text, "%lld", (long long)value);
    node->type = cJSON_Raw;
    node->valuestring = mg_strdup(text);
    return json_of(node);
}

struct mg_json *mg_json_new_double(double value)
{
    return isfinite(value) ? json_of(cJSON_CreateNumber(value)) : mg_json_new_null();
}

struct mg_json *mg_json_new_string(mg_view text)
{
    return json_of(string_node(clean(text)));
}

struct mg_json *mg_json_new_array(void)
{
    return json_of(cJSON_CreateArray());
}

struct mg_json *mg_json_new_object(void)
{
    return json_of(cJSON_CreateObject());
}

struct mg_json *mg_json_copy(const struct mg_json *value)
{
    return json_of(cJSON_Duplicate(node_of(value), true));
}

void mg_json_append(struct mg_json *array, struct mg_json *item)
{
    cJSON_AddItemToArray(node_of(array), node_of(item));
}

void mg_json_add(struct mg_json *object, mg_view key, struct mg_json *item)
{
    cJSON *node = node_of(item);
    mg_free(node->string);
    node->string = clean(key);
    cJSON_AddItemToArray(node_of(object), node);
}

void mg_json_set(struct mg_json *object, mg_view key, struct mg_json *item)
{
    cJSON *node = node_of(item), *old = member(node_of(object), key);
    if (!old) {
        mg_json_add(object, key, item);
        return;
    }
    mg_free(node->string);
    node->string = clean(key);
    cJSON_ReplaceItemViaPointer(node_of(object), old, node);
}

void mg_json_remove(struct mg_json *object, const char *key)
{
    cJSON *old = member(node_of(object), mg_view_cstr(key));
    if (old)
        cJSON_Delete(cJSON_DetachItemViaPointer(node_of(object), old));
}

mg_err mg_json_print(const struct mg_json *value, struct mg_buf *out)
{
    return print(node_of(value), out);
}

static cJSON *node_of(const struct mg_json *value)
{
    return (cJSON *)(uintptr_t)value;
}

static struct mg_json *json_of(cJSON *node)
{
    return (struct mg_json *)(void *)node;
}

static bool is_number(const cJSON *node)
{
    return cJSON_IsNumber(node) || cJSON_IsRaw(node);
}

/* Outside strings there is no backslash, and inside an even number of them is text. */
static const char *find_null_escape(mg_view doc)
{
    const char *end = doc.ptr + doc.len;
    for (const char *at = doc.ptr; (at = memchr(at, '\\', (size_t)(end - at))) != NULL; at += 2)
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)
            return at;
    return NULL;
}

/* Behind the text that begins at `at`. */
static const char *skip_text(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at + 1;
}

bool mg_json_can_be_part(mg_view doc, unsigned max_depth)
{
    const char *end = doc.ptr + doc.len;
    unsigned depth = 0;
    if (doc.len == 0 || find_null_escape(doc))
        return false;
    for (const char *at = doc.ptr; at < end && depth <= max_depth;) {
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        at = *at == '"' ? skip_text(at, end) : at + 1;
    }
    return depth == 0;
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static cJSON *read_value(struct reader *r)
{
    skip_blanks(r);
    switch (*r->at) {
    case '{':
    case '[':
        return read_children(r);
    case '"':
        return string_node(read_string(r));
    case 't':
        r->at += 4;
        return cJSON_CreateTrue();
    case 'f':
        r->at += 5;
        return cJSON_CreateFalse();
    case 'n':
        r->at += 4;
        return cJSON_CreateNull();
    default:
        return read_number(r);
    }
}

static cJSON *read_children(struct reader *r)
{
    bool object = *r->at++ == '{';
    cJSON *node = object ? cJSON_CreateObject() : cJSON_CreateArray();
    for (;;) {
        skip_blanks(r);
        char c = *r->at;
        r->at += c == ',' || c == '}' || c == ']';
        if (c == '}' || c == ']')
            return node;
        if (c == ',')
            continue;
        char *key = NULL;
        if (object) {
            key = read_string(r);
            skip_blanks(r);
            r->at++;         /* the colon */
        }
        cJSON *child = read_value(r);
        child->string = key;
        cJSON_AddItemToArray(node, child);
    }
}

static char *read_string(struct reader *r)
{
    const char *begin = r->at;
    r->at = (const char *)mg_skip_to_quote((mg_bytes)begin + 1, (mg_bytes)r->end) + 1;
    mg_view text = MG_VIEW_NONE;
    mg_err err = mg_json_span_text(mg_view_of(begin, (size_t)(r->at - begin)), &r->scratch, &text);
    assert(!err);
    return mg_strndup(text.ptr, text.len);
}

static cJSON *read_number(struct reader *r)
{
    const char *begin = r->at;
    while (r->at < r->end && ((*r->at >= '0' && *r->at <= '9') || memchr("-+.eE", *r->at, 5)))
        r->at++;
    mg_view number = mg_view_of(begin, (size_t)(r->at - begin));
    double value = 0;
    bool finite = mg_json_span_double(number, &value);
    assert(finite);

    cJSON *node = cJSON_CreateNumber(value);
    bool integer = mg_view_find(number, ".eE") == number.len && !mg_view_eq(number, MG_VIEW("-0"));
    if (!integer || number.len > SAFE_DIGITS) {
        node->type = cJSON_Raw;
        node->valuestring = mg_strndup(number.ptr, number.len);
    }
    return node;
}

static cJSON *string_node(char *text)
{
    cJSON *node = cJSON_CreateNull();
    node->type = cJSON_String;
    node->valuestring = text;
    return node;
}

/* Follows ".key", "key" or "[7]" at the front of *path and takes it off; NULL when it leads nowhere. */
static struct mg_json *step(const struct mg_json *value, mg_view *path)
{
    uint64_t index;
    if (path->ptr[0] == '[') {
        size_t end = mg_view_find(*path, "]");
        bool valid = end < path->len && mg_view_u64(mg_view_skip(mg_view_head(*path, end), 1), &index);
        *path = mg_view_skip(*path, end + 1);
        return valid ? mg_json_at(value, index) : NULL;
    }
    *path = mg_view_skip(*path, path->ptr[0] == '.');
    mg_view key = mg_view_head(*path, mg_view_find(*path, ".["));
    *path = mg_view_skip(*path, key.len);
    return json_of(member(node_of(value), key));
}

static cJSON *member(const cJSON *object, mg_view key)
{
    if (!cJSON_IsObject(object))
        return NULL;
    cJSON *child = object->child;
    while (child && !mg_view_eq(mg_view_cstr(child->string), key))
        child = child->next;
    return child;
}

/* A C string of it, which can hold neither NUL nor what is not UTF-8. */
static char *clean(mg_view text)
{
    struct mg_buf buf;
    size_t bad;
    if (mg_view_utf8(text, NULL) && !(text.len && memchr(text.ptr, 0, text.len)))
        return mg_strndup(text.ptr, text.len);
    mg_buf_init(&buf, 3 * text.len + 1);
    while (text.len > 0) {
        const char *null = memchr(text.ptr, 0, text.len);
        size_t good = null ? (size_t)(null - text.ptr) : text.len;
        if (!mg_view_utf8(mg_view_head(text, good), &bad))
            good = bad;
        mg_err err = mg_buf_put(&buf, mg_view_head(text, good));
        if (!err && good < text.len)
            err = mg_buf_put(&buf, MG_VIEW("\xef\xbf\xbd"));
        assert(!err);
        text = mg_view_skip(text, good + 1);
    }
    char *copy = mg_strdup(mg_buf_cstr(&buf));
    mg_buf_fini(&buf);
    return copy;
}

static mg_err print(const cJSON *node, struct mg_buf *out)
{
    if (cJSON_IsObject(node) || cJSON_IsArray(node))
        return print_children(node, out);
    if (cJSON_IsString(node))
        return print_string(node->valuestring, out);
    if (cJSON_IsRaw(node))
        return mg_buf_put(out, mg_view_cstr(node->valuestring));
    if (cJSON_IsNumber(node))
        return print_number(node->valuedouble, out);
    if (cJSON_IsBool(node))
        return mg_buf_put(out, cJSON_IsTrue(node) ? MG_VIEW("true") : MG_VIEW("false"));
    return mg_buf_put(out, MG_VIEW("null"));
}

static mg_err print_children(const cJSON *node, struct mg_buf *out)
{
    bool object = cJSON_IsObject(node);
    MG_TRY(mg_buf_putc(out, object ? '{' : '['));
    for (const cJSON *child = node->child; child; child = child->next) {
        if (child != node->child)
            MG_TRY(mg_buf_putc(out, ','));
        if (object) {
            MG_TRY(print_string(child->string, out));
            MG_TRY(mg_buf_putc(out, ':'));
        }
        MG_TRY(print(child, out));
    }
    return mg_buf_putc(out, object ? '}' : ']');
}

static mg_err print_string(const char *text, struct mg_buf *out)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

/* The shortest spelling that reads back as the same double. */
static mg_err print_number(double value, struct mg_buf *out)
{
    char text[32];
    if (value == floor(value) && fabs(value) < 1e15)
        return mg_buf_putf(out, "%.0f", value);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return mg_buf_put(out, mg_view_cstr(text));
}
