#include "http/json_members.h"

#include "http/json_bytes.h"
#include "http/json_scan.h"

static size_t skip_blanks(mg_view v, size_t at)
{
    while (at < v.len && (v.ptr[at] == ' ' || v.ptr[at] == '\t' || v.ptr[at] == '\n' || v.ptr[at] == '\r'))
        at++;
    return at;
}

/* `at` is on the opening quote; the result is behind the closing one. */
static size_t skip_string(mg_view v, size_t at)
{
    mg_bytes begin = (mg_bytes)v.ptr, end = begin + v.len;
    mg_bytes quote = mg_skip_to_quote(begin + at + 1, end);
    return quote < end ? (size_t)(quote - begin) + 1 : v.len;
}

static size_t skip_container(mg_view v, size_t at)
{
    int depth = 0;
    while (at < v.len) {
        char c = v.ptr[at];
        if (c == '"') {
            at = skip_string(v, at);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        at++;
        if (depth == 0)
            return at;
    }
    return v.len;
}

static size_t skip_value(mg_view v, size_t at)
{
    if (at >= v.len)
        return v.len;
    if (v.ptr[at] == '"')
        return skip_string(v, at);
    if (v.ptr[at] == '{' || v.ptr[at] == '[')
        return skip_container(v, at);
    return at + mg_view_find(mg_view_skip(v, at), ",}] \t\r\n");
}

static mg_view slice(mg_view v, size_t from, size_t to)
{
    return mg_view_of(v.ptr + from, to > from ? to - from : 0);
}

bool mg_json_next_member(mg_view container, size_t *at, struct mg_json_member *out_member)
{
    if (container.len < 2 || (container.ptr[0] != '{' && container.ptr[0] != '['))
        return false;
    bool object = container.ptr[0] == '{';
    size_t i = skip_blanks(container, *at ? *at : 1);
    if (*at && i < container.len && container.ptr[i] == ',')
        i = skip_blanks(container, i + 1);
    if (i >= container.len || container.ptr[i] == '}' || container.ptr[i] == ']')
        return false;

    struct mg_json_member m = {0};
    size_t start = i;
    if (object) {
        size_t end = skip_string(container, i);
        m.key = slice(container, i + 1, end > i + 1 ? end - 1 : i + 1);
        i = skip_blanks(container, end);
        i = skip_blanks(container, i + 1);
    }
    size_t end = skip_value(container, i);
    m.value = slice(container, i < end ? i : end, end);
    m.member = slice(container, start, end);
    *at = end;
    *out_member = m;
    return m.value.len > 0;
}

/* `spelt` stands between quotes; it may spell the key with escapes. */
static bool is_key(mg_view spelt, mg_view key)
{
    if (spelt.len == 0 || !memchr(spelt.ptr, '\\', spelt.len))
        return mg_view_eq(spelt, key);
    struct mg_buf text;
    mg_buf_init(&text, spelt.len);
    bool same = mg_json_unescape(mg_view_of(spelt.ptr - 1, spelt.len + 2), &text) == MG_OK &&
                mg_view_eq(mg_buf_view(&text), key);
    mg_buf_fini(&text);
    return same;
}

mg_view mg_json_member(mg_view object, mg_view key)
{
    struct mg_json_member m;
    if (object.len == 0 || object.ptr[0] != '{')
        return MG_VIEW_NONE;
    for (size_t at = 0; mg_json_next_member(object, &at, &m);)
        if (is_key(m.key, key))
            return m.value;
    return MG_VIEW_NONE;
}

mg_view mg_json_plain(mg_view string)
{
    if (string.len < 2 || string.ptr[0] != '"' || memchr(string.ptr, '\\', string.len))
        return MG_VIEW_NONE;
    return mg_view_of(string.ptr + 1, string.len - 2);
}
