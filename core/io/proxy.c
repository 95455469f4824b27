#include "io/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static size_t base64(mg_view in, char *out);
static int hex_digit(char c);
static bool percent_decode(mg_view in, char *out, size_t size);
static bool excluded(const char *list, const char *host, int port);
static bool entry_matches(mg_view entry, const char *host, int port);

size_t mg_proxy_request(const struct mg_proxy *proxy, const char *host, int port,
                        char out[MG_PROXY_REQUEST_BYTES])
{
    bool v6 = strchr(host, ':') != NULL;
    char origin[300];
    snprintf(origin, sizeof(origin), v6 ? "[%.255s]:%d" : "%.255s:%d", host, port);
    int length = snprintf(out, MG_PROXY_REQUEST_BYTES, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n",
                          origin, origin);
    if (proxy->auth[0]) {
        char token[(sizeof(proxy->auth) + 2) / 3 * 4 + 1];
        base64(mg_view_cstr(proxy->auth), token);
        length += snprintf(out + length, MG_PROXY_REQUEST_BYTES - (size_t)length,
                           "Proxy-Authorization: Basic %s\r\n", token);
        mg_wipe(token, sizeof(token));
    }
    length += snprintf(out + length, MG_PROXY_REQUEST_BYTES - (size_t)length, "\r\n");
    return (size_t)length;
}

/* The origin waits for us to speak, so bytes behind the head come from something that is not a
 * tunnel. */
int mg_proxy_answer(mg_view answer)
{
    size_t head = mg_view_search(answer, MG_VIEW("\r\n\r\n"));
    mg_view start = mg_view_head(MG_VIEW("HTTP/1."), answer.len);
    if (!mg_view_starts(answer, start))
        return MG_PROXY_BROKEN;
    if (head == answer.len)
        return MG_PROXY_MORE;
    uint64_t status = 0;
    mg_view code = mg_view_head(mg_view_skip(answer, 9), 3);
    if (head < 12 || answer.ptr[8] != ' ' || !mg_view_u64(code, &status) || status < 100)
        return MG_PROXY_BROKEN;
    if (status / 100 != 2)
        return (int)status;
    return head + 4 == answer.len ? MG_PROXY_OK : MG_PROXY_BROKEN;
}

bool mg_proxy_parse(mg_view url, struct mg_proxy *out_proxy)
{
    struct mg_proxy proxy = {.port = 80};
    uint64_t port;
    if (mg_view_search(url, MG_VIEW("://")) < url.len && !mg_view_starts(url, MG_VIEW("http://")))
        return false;
    if (mg_view_starts(url, MG_VIEW("http://")))
        url = mg_view_skip(url, 7);
    url = mg_view_head(url, mg_view_find(url, "/?#"));

    size_t at = url.len;
    while (at > 0 && url.ptr[at - 1] != '@')
        at--;
    if (at > 0 && !percent_decode(mg_view_head(url, at - 1), proxy.auth, sizeof(proxy.auth)))
        return false;

    mg_view host = mg_view_skip(url, at), rest;
    if (mg_view_starts(host, MG_VIEW("["))) {
        size_t end = mg_view_find(host, "]");
        rest = mg_view_skip(host, end + 1);
        host = mg_view_skip(mg_view_head(host, end), 1);
    } else {
        size_t end = mg_view_find(host, ":");
        rest = mg_view_skip(host, end);
        host = mg_view_head(host, end);
    }
    if (rest.len > 0) {
        if (rest.ptr[0] != ':' || !mg_view_u64(mg_view_skip(rest, 1), &port) || port == 0 ||
            port > 65535)
            return false;
        proxy.port = (int)port;
    }
    if (host.len == 0 || host.len >= sizeof(proxy.host))
        return false;
    memcpy(proxy.host, host.ptr, host.len);
    *out_proxy = proxy;
    return true;
}

static const char *first_env(const char *const *names)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return value;
    }
    return NULL;
}

bool mg_proxy_from_env(bool https, const char *host, int port, struct mg_proxy *out_proxy)
{
    static const char *const for_https[] = {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
                                            NULL};
    static const char *const for_http[] = {"http_proxy", "ALL_PROXY", "all_proxy", NULL};
    static const char *const for_none[] = {"NO_PROXY", "no_proxy", NULL};
    const char *url = first_env(https ? for_https : for_http);
    const char *none = first_env(for_none);
    if (!url || (none && excluded(none, host, port)))
        return false;
    return mg_proxy_parse(mg_view_cstr(url), out_proxy);
}

static bool excluded(const char *list, const char *host, int port)
{
    for (mg_view rest = mg_view_cstr(list); rest.len > 0;)
        if (entry_matches(mg_view_trim(mg_view_cut(&rest, ',')), host, port))
            return true;
    return false;
}

/* The name itself or a name below it; an IPv6 address with a port stands in brackets. */
static bool entry_matches(mg_view entry, const char *host, int port)
{
    uint64_t wanted;
    if (mg_view_eq(entry, MG_VIEW("*")))
        return true;
    size_t end = mg_view_starts(entry, MG_VIEW("[")) ? mg_view_find(entry, "]") + 1
                                                     : mg_view_find(entry, ":");
    bool has_port = end < entry.len && entry.ptr[end] == ':' &&
                    mg_view_u64(mg_view_skip(entry, end + 1), &wanted);
    if (has_port && wanted != (uint64_t)port)
        return false;
    if (has_port)
        entry = mg_view_head(entry, end);
    if (mg_view_starts(entry, MG_VIEW("[")) && mg_view_ends(entry, MG_VIEW("]")))
        entry = mg_view_head(mg_view_skip(entry, 1), entry.len - 2);
    if (mg_view_starts(entry, MG_VIEW(".")))
        entry = mg_view_skip(entry, 1);

    mg_view name = mg_view_cstr(host);
    if (entry.len == 0 || entry.len > name.len)
        return false;
    mg_view tail = mg_view_skip(name, name.len - entry.len);
    return mg_view_ieq(tail, entry) &&
           (tail.len == name.len || name.ptr[name.len - entry.len - 1] == '.');
}

static size_t base64(mg_view in, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        uint32_t bits = (uint32_t)(unsigned char)in.ptr[i] << 16;
        if (i + 1 < in.len)
            bits |= (uint32_t)(unsigned char)in.ptr[i + 1] << 8;
        if (i + 2 < in.len)
            bits |= (unsigned char)in.ptr[i + 2];
        out[length++] = digits[bits >> 18];
        out[length++] = digits[bits >> 12 & 63];
        out[length++] = i + 1 < in.len ? digits[bits >> 6 & 63] : '=';
        out[length++] = i + 2 < in.len ? digits[bits & 63] : '=';
    }
    out[length] = '\0';
    return length;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Control characters are refused: a line end in a password would be one in our request. */
static bool percent_decode(mg_view in, char *out, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < in.len; i++) {
        int c = (unsigned char)in.ptr[i];
        if (c == '%') {
            int high = i + 2 < in.len ? hex_digit(in.ptr[i + 1]) : -1;
            int low = i + 2 < in.len ? hex_digit(in.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || length + 1 >= size)
            return false;
        out[length++] = (char)c;
    }
    out[length] = '\0';
    return true;
}
