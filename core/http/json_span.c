#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/json_bytes.h"
#include "http/json_scan.h"

static bool is_string(mg_view span);
static mg_err put_escape(mg_view *rest, struct mg_buf *out);
static uint32_t code_unit(const char *digits);
static size_t encode_utf8(uint32_t code, char out[4]);

mg_err mg_json_unescape(mg_view string, struct mg_buf *out)
{
    if (!is_string(string))
        return MG_E_BAD_REQUEST;
    mg_view rest = mg_view_of(string.ptr + 1, string.len - 2);
    MG_TRY(mg_buf_reserve(out, rest.len));       /* an escape is never shorter than what it means */
    while (rest.len > 0) {
        const char *backslash = memchr(rest.ptr, '\\', rest.len);
        size_t plain = backslash ? (size_t)(backslash - rest.ptr) : rest.len;
        MG_TRY(mg_buf_put(out, mg_view_head(rest, plain)));
        rest = mg_view_skip(rest, plain);
        if (backslash)
            MG_TRY(put_escape(&rest, out));
    }
    return MG_OK;
}

mg_err mg_json_span_text(mg_view string, struct mg_buf *scratch, mg_view *out_text)
{
    if (!is_string(string))
        return MG_E_BAD_REQUEST;
    if (!memchr(string.ptr, '\\', string.len)) {
        *out_text = mg_view_of(string.ptr + 1, string.len - 2);
        return MG_OK;
    }
    mg_buf_clear(scratch);
    MG_TRY(mg_json_unescape(string, scratch));
    *out_text = mg_buf_view(scratch);
    return MG_OK;
}

bool mg_json_span_u64(mg_view number, uint64_t *out_value)
{
    double value;
    if (mg_view_u64(number, out_value))
        return true;
    if (mg_view_find(number, ".eE") == number.len || !mg_json_span_double(number, &value))
        return false;
    if (value < 0 || value > 9007199254740992.0 || floor(value) != value)
        return false;        /* beyond 2^53 a double no longer knows its last digit */
    *out_value = (uint64_t)value;
    return true;
}

bool mg_json_span_double(mg_view number, double *out_value)
{
    char small[64];
    if (number.len == 0 || mg_json_span_type(number) != MG_JSON_NUMBER)
        return false;
    char *text = number.len < sizeof small ? small : mg_alloc(number.len + 1), *end;
    memcpy(text, number.ptr, number.len);
    text[number.len] = '\0';
    double value = strtod(text, &end);
    bool whole = (size_t)(end - text) == number.len;
    if (text != small)
        mg_free(text);
    if (!whole || !isfinite(value))
        return false;
    *out_value = value;
    return true;
}

bool mg_json_span_bool(mg_view literal, bool *out_value)
{
    bool yes = mg_view_eq(literal, MG_VIEW("true"));
    if (!yes && !mg_view_eq(literal, MG_VIEW("false")))
        return false;
    *out_value = yes;
    return true;
}

enum mg_json_type mg_json_span_type(mg_view value)
{
    switch (value.len ? value.ptr[0] : 'n') {
    case '{': return MG_JSON_OBJECT;
    case '[': return MG_JSON_ARRAY;
    case '"': return MG_JSON_STRING;
    case 't':
    case 'f': return MG_JSON_BOOL;
    case 'n': return MG_JSON_NULL;
    default: return MG_JSON_NUMBER;
    }
}

bool mg_json_span_is_empty(mg_view container)
{
    for (size_t i = 1; i + 1 < container.len; i++)
        if (!strchr(" \t\r\n", container.ptr[i]) || container.ptr[i] == '\0')
            return false;
    return true;
}

static bool is_string(mg_view span)
{
    return span.len >= 2 && span.ptr[0] == '"' && span.ptr[span.len - 1] == '"';
}

/* *rest begins with a backslash. What a scan would have refused is refused here too. */
static mg_err put_escape(mg_view *rest, struct mg_buf *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = rest->len > 1 ? memchr(names, rest->ptr[1], sizeof names - 1) : NULL;
    char bytes[4];
    if (name) {
        *rest = mg_view_skip(*rest, 2);
        return mg_buf_putc(out, values[name - names]);
    }
    if (rest->len < 6 || rest->ptr[1] != 'u')
        return MG_E_BAD_REQUEST;
    uint32_t code = code_unit(rest->ptr + 2);
    *rest = mg_view_skip(*rest, 6);
    if (code >= 0xd800 && code <= 0xdbff) {
        uint32_t low = rest->len >= 6 && rest->ptr[0] == '\\' && rest->ptr[1] == 'u' ? code_unit(rest->ptr + 2) : 0;
        if (low < 0xdc00 || low > 0xdfff)
            return MG_E_BAD_REQUEST;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *rest = mg_view_skip(*rest, 6);
    }
    size_t len = encode_utf8(code, bytes);
    return len ? mg_buf_put(out, mg_view_of(bytes, len)) : MG_E_BAD_REQUEST;
}

/* UINT32_MAX when they are not four hexadecimal digits. */
static uint32_t code_unit(const char *digits)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (uint32_t)((c | 0x20) - 'a' + 10);
        if (digit > 15 || ((c < '0' || c > '9') && digit < 10))
            return UINT32_MAX;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* 0 for what is no character: lone surrogates and UINT32_MAX. */
static size_t encode_utf8(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    size_t len = code < 0x10000 ? 3 : 4;
    out[0] = (char)(len == 3 ? 0xe0 | code >> 12 : 0xf0 | code >> 18);
    for (size_t i = 1; i < len; i++)
        out[i] = (char)(0x80 | (code >> (6 * (len - 1 - i)) & 0x3f));
    return len;
}
