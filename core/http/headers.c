#include "http/headers.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

/* Which bytes may stand where; one table, one bit per question. */
enum { TCHAR = 1, FIELD = 2, TARGET = 4 };
enum { NAMES = TCHAR | FIELD | TARGET, OTHERS = FIELD | TARGET };
static const unsigned char classes[256] = {
    ['\t'] = FIELD,           [' '] = FIELD,
    ['!'] = NAMES,            ['"'] = OTHERS,
    ['#'] = TCHAR | FIELD,    ['$'... '\''] = NAMES,
    ['('... ')'] = OTHERS,    ['*'... '+'] = NAMES,
    [','] = OTHERS,           ['-'... '.'] = NAMES,
    ['/'] = OTHERS,           ['0'... '9'] = NAMES,
    [':'... '@'] = OTHERS,    ['A'... 'Z'] = NAMES,
    ['['... ']'] = OTHERS,    ['^'... 'z'] = NAMES,
    ['{'] = OTHERS,           ['|'] = NAMES,
    ['}'] = OTHERS,           ['~'] = NAMES,
    [0x80 ... 0xff] = FIELD,
};

struct known {
    mg_view text;            /* in small letters */
    unsigned traits;
};

#define UPSTREAM(text) {MG_VIEW(text), MG_HEADER_NOT_UPSTREAM},
#define DOWNSTREAM(text) {MG_VIEW(text), MG_HEADER_NOT_DOWNSTREAM},
static const struct known names[] = {
    MG_DENIED_UPSTREAM_LIST(UPSTREAM)
    MG_DENIED_DOWNSTREAM_LIST(DOWNSTREAM)
    {MG_VIEW("connection"), MG_HEADER_HOP | MG_HEADER_CONNECTION},
    {MG_VIEW("keep-alive"), MG_HEADER_HOP},
    {MG_VIEW("proxy-connection"), MG_HEADER_HOP},
    {MG_VIEW("te"), MG_HEADER_HOP},
    {MG_VIEW("trailer"), MG_HEADER_HOP},
    {MG_VIEW("transfer-encoding"), MG_HEADER_HOP},
    {MG_VIEW("upgrade"), MG_HEADER_HOP},
};
static const struct known prefixes[] = {
    MG_DENIED_UPSTREAM_PREFIX_LIST(UPSTREAM)
    MG_DENIED_DOWNSTREAM_PREFIX_LIST(DOWNSTREAM)
};

/* The names by length and both ends: most headers there are fall onto an empty slot. */
enum { SLOTS = 256 };
static struct known slots[SLOTS];

/* The prefixes by their first four letters, each once. */
static struct family {
    uint32_t head;
    struct known prefix;
} families[MG_COUNT(prefixes)];
static size_t family_count;
static uint64_t family_heads;          /* a bit for each hash of a head: nearly every name fails here */
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;

static void fill_slots(void);
static unsigned traits_of(mg_view name);
static bool same_name(mg_view a, mg_view b);
static bool all_of(mg_view text, unsigned char class);
static bool list_has(mg_view list, mg_view token);
static void add_named(mg_view list, struct mg_header *items, size_t count);
static char *put(char *at, mg_view bytes);
static char *put_line(char *at, mg_view name, mg_view value);

const mg_view *mg_headers_find(struct mg_headers headers, mg_view name)
{
    for (size_t i = 0; i < headers.count; i++)
        if (same_name(headers.items[i].name, name))
            return &headers.items[i].value;
    return NULL;
}

mg_view mg_headers_get(struct mg_headers headers, mg_view name)
{
    const mg_view *found = mg_headers_find(headers, name);
    return found ? *found : MG_VIEW_NONE;
}

size_t mg_headers_count(struct mg_headers headers, mg_view name)
{
    size_t count = 0;
    for (size_t i = 0; i < headers.count; i++)
        count += same_name(headers.items[i].name, name);
    return count;
}

bool mg_headers_has_token(struct mg_headers headers, mg_view name, mg_view token)
{
    for (size_t i = 0; i < headers.count; i++)
        if (same_name(headers.items[i].name, name) && list_has(headers.items[i].value, token))
            return true;
    return false;
}

bool mg_header_is_hop_by_hop(struct mg_headers headers, mg_view name)
{
    return mg_header_traits(name) & MG_HEADER_HOP || mg_headers_has_token(headers, MG_VIEW("connection"), name);
}

unsigned mg_header_traits(mg_view name)
{
    pthread_once(&slots_once, fill_slots);
    return traits_of(name);
}

void mg_headers_classify(struct mg_header *items, size_t count)
{
    unsigned all = 0;
    pthread_once(&slots_once, fill_slots);
    for (size_t i = 0; i < count; i++)
        all |= items[i].traits |= traits_of(items[i].name);
    if (!(all & MG_HEADER_CONNECTION))
        return;
    for (size_t i = 0; i < count; i++)
        if (items[i].traits & MG_HEADER_CONNECTION)
            add_named(items[i].value, items, count);
}

bool mg_header_is_denied_upstream(mg_view name)
{
    return mg_header_traits(name) & MG_HEADER_NOT_UPSTREAM;
}

bool mg_header_is_denied_downstream(mg_view name)
{
    return mg_header_traits(name) & MG_HEADER_NOT_DOWNSTREAM;
}

bool mg_http_is_token(mg_view text)
{
    return text.len > 0 && all_of(text, TCHAR);
}

bool mg_http_is_field_value(mg_view text)
{
    return all_of(text, FIELD);
}

bool mg_http_is_target(mg_view text)
{
    return text.len > 0 && all_of(text, TARGET);
}

const char *mg_http_status_text(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 424: return "Failed Dependency";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 529: return "Overloaded";
    default: return "";
    }
}

mg_err mg_http_put_request_line(struct mg_buf *buf, mg_view method, mg_view target)
{
    if (!mg_http_is_token(method) || !mg_http_is_target(target))
        return MG_E_BAD_REQUEST;
    const mg_view version = MG_VIEW(" HTTP/1.1\r\n");
    MG_TRY(mg_buf_reserve(buf, method.len + 1 + target.len + version.len));
    char *begin = mg_buf_tail(buf), *at = put(begin, method);
    *at++ = ' ';
    at = put(put(at, target), version);
    mg_buf_grew(buf, (size_t)(at - begin));
    return MG_OK;
}

mg_err mg_http_put_status_line(struct mg_buf *buf, int status)
{
    if (status < 100 || status > 999)
        return MG_E_BAD_REQUEST;
    const mg_view text = mg_view_cstr(mg_http_status_text(status));
    const char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), ' '};
    MG_TRY(mg_buf_reserve(buf, 9 + sizeof digits + text.len + 2));
    char *begin = mg_buf_tail(buf), *at = put(begin, MG_VIEW("HTTP/1.1 "));
    at = put(put(put(at, mg_view_of(digits, sizeof digits)), text), MG_VIEW("\r\n"));
    mg_buf_grew(buf, (size_t)(at - begin));
    return MG_OK;
}

mg_err mg_http_put_header(struct mg_buf *buf, mg_view name, mg_view value)
{
    if (!mg_http_is_token(name) || !mg_http_is_field_value(value))
        return MG_E_BAD_REQUEST;
    return mg_http_put_own(buf, name, value);
}

mg_err mg_http_put_own(struct mg_buf *buf, mg_view name, mg_view value)
{
    MG_TRY(mg_buf_reserve(buf, name.len + value.len + 4));
    char *begin = mg_buf_tail(buf);
    mg_buf_grew(buf, (size_t)(put_line(begin, name, value) - begin));
    return MG_OK;
}

mg_err mg_http_put_line(struct mg_buf *buf, const struct mg_header *header)
{
    assert(header->traits & MG_HEADER_LINE);
    return mg_buf_put(buf, mg_view_of(header->name.ptr, header->name.len + header->value.len + 4));
}

mg_err mg_http_put_header_u64(struct mg_buf *buf, mg_view name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return mg_http_put_own(buf, name, mg_view_of(digits + at, sizeof digits - at));
}

mg_err mg_http_put_end(struct mg_buf *buf)
{
    return mg_buf_put(buf, MG_VIEW("\r\n"));
}

size_t mg_http_chunk_head(char out[MG_HTTP_CHUNK_HEAD], size_t len)
{
    size_t digits = 1, n = 0;
    while (digits < 2 * sizeof len && len >> (4 * digits))
        digits++;
    while (digits-- > 0)
        out[n++] = "0123456789abcdef"[len >> (4 * digits) & 15];
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}

static bool all_of(mg_view text, unsigned char class)
{
    for (size_t i = 0; i < text.len; i++)
        if (!(classes[(unsigned char)text.ptr[i]] & class))
            return false;
    return true;
}

static bool list_has(mg_view list, mg_view token)
{
    while (list.len > 0)
        if (same_name(mg_view_trim(mg_view_cut(&list, ',')), token))
            return true;
    return false;
}

/* Length and first letter sort out nearly every pair before a call is made. */
static bool same_name(mg_view a, mg_view b)
{
    return a.len == b.len && (a.len == 0 || ((a.ptr[0] ^ b.ptr[0]) & 0xdf) == 0) && mg_view_ieq(a, b);
}

static unsigned slot_of(mg_view name)
{
    unsigned first = (unsigned char)name.ptr[0] | 0x20, last = (unsigned char)name.ptr[name.len - 1] | 0x20;
    return ((unsigned)name.len * 7 + first * 31 + last) % SLOTS;
}

/* The first four letters of at least as many; small, as far as they are letters. */
static uint32_t head_of(mg_view name)
{
    uint32_t head;
    memcpy(&head, name.ptr, sizeof head);
    return head | 0x20202020;
}

static uint64_t head_bit(uint32_t head)
{
    return UINT64_C(1) << (head * 0x9e3779b1u >> 26);
}

/* A name or prefix that stands in two tables has the traits of both. */
static void fill_slots(void)
{
    for (size_t i = 0; i < MG_COUNT(names); i++) {
        unsigned at = slot_of(names[i].text);
        while (slots[at].text.len && !mg_view_eq(slots[at].text, names[i].text))
            at = (at + 1) % SLOTS;
        slots[at].text = names[i].text;
        slots[at].traits |= names[i].traits;
    }
    for (size_t i = 0; i < MG_COUNT(prefixes); i++) {
        size_t at = 0;
        while (at < family_count && !mg_view_eq(families[at].prefix.text, prefixes[i].text))
            at++;
        family_count = MG_MAX(family_count, at + 1);
        families[at].head = head_of(prefixes[i].text);
        family_heads |= head_bit(families[at].head);
        families[at].prefix.text = prefixes[i].text;
        families[at].prefix.traits |= prefixes[i].traits;
    }
}

static unsigned family_traits(mg_view name)
{
    if (name.len < sizeof(uint32_t))
        return 0;
    uint32_t head = head_of(name);
    if (!(family_heads & head_bit(head)))
        return 0;
    for (size_t i = 0; i < family_count; i++)
        if (head == families[i].head && same_name(mg_view_head(name, families[i].prefix.text.len), families[i].prefix.text))
            return families[i].prefix.traits;
    return 0;
}

static unsigned traits_of(mg_view name)
{
    unsigned traits = 0;
    if (name.len == 0)
        return 0;
    for (unsigned at = slot_of(name); slots[at].text.len; at = (at + 1) % SLOTS)
        if (same_name(name, slots[at].text)) {
            traits = slots[at].traits;
            break;
        }
    return traits | family_traits(name);
}

static void add_named(mg_view list, struct mg_header *items, size_t count)
{
    while (list.len > 0) {
        mg_view named = mg_view_trim(mg_view_cut(&list, ','));
        for (size_t i = 0; i < count; i++)
            if (same_name(items[i].name, named))
                items[i].traits |= MG_HEADER_HOP;
    }
}

static char *put(char *at, mg_view bytes)
{
    if (bytes.len)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

static char *put_line(char *at, mg_view name, mg_view value)
{
    at = put(put(at, name), MG_VIEW(": "));
    return put(put(at, value), MG_VIEW("\r\n"));
}
