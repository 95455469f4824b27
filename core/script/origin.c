#include "script/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/mem.h"

/* ---- URLs */

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* `star` allows '*' too, for list entries. */
static bool take_host(mg_view text, bool star, struct mg_origin *origin)
{
    struct in6_addr address;
    if (text.len == 0 || text.len >= sizeof origin->host)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = lower(text.ptr[i]);
        origin->host[i] = c;
        if (!origin->ipv6 && !is_host_byte(c) && !(star && c == '*'))
            return false;
    }
    origin->host[text.len] = '\0';
    return !origin->ipv6 || inet_pton(AF_INET6, origin->host, &address) == 1;
}

static bool take_authority(mg_view authority, bool star, struct mg_origin *origin)
{
    uint64_t port = origin->https ? 443 : 80;
    mg_view host, rest;
    if (mg_view_starts(authority, MG_VIEW("["))) {
        size_t end = mg_view_find(authority, "]");
        origin->ipv6 = true;
        if (end == authority.len)
            return false;
        host = mg_view_head(mg_view_skip(authority, 1), end - 1);
        rest = mg_view_skip(authority, end + 1);
    } else {
        host = mg_view_head(authority, mg_view_find(authority, ":"));
        rest = mg_view_skip(authority, host.len);
    }
    if (rest.len && (rest.ptr[0] != ':' || !mg_view_u64(mg_view_skip(rest, 1), &port) || port == 0 || port > 65535))
        return false;
    origin->port = (int)port;
    return take_host(host, star, origin);
}

static bool is_clean(mg_view url)
{
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= 0x20 || (unsigned char)url.ptr[i] >= 0x7f || url.ptr[i] == '\\')
            return false;
    return url.len > 0 && url.len <= MG_URL_BYTES;
}

static bool parse(mg_view url, bool star, struct mg_origin *out_origin, mg_view *out_target)
{
    struct mg_origin origin = {0};
    mg_view https = MG_VIEW("https://"), http = MG_VIEW("http://");
    if (!is_clean(url))
        return false;
    origin.https = url.len >= https.len && mg_view_ieq(mg_view_head(url, https.len), https);
    if (!origin.https && !(url.len >= http.len && mg_view_ieq(mg_view_head(url, http.len), http)))
        return false;
    mg_view rest = mg_view_skip(url, origin.https ? https.len : http.len);
    mg_view authority = mg_view_head(rest, mg_view_find(rest, "/?#"));
    rest = mg_view_skip(rest, authority.len);
    rest = mg_view_head(rest, mg_view_find(rest, "#"));
    if (!take_authority(authority, star, &origin))
        return false;
    *out_origin = origin;
    *out_target = rest.len ? rest : MG_VIEW("/");
    return true;
}

bool mg_origin_parse(mg_view url, struct mg_origin *out_origin, mg_view *out_target)
{
    return parse(url, false, out_origin, out_target);
}

bool mg_origin_eq(const struct mg_origin *a, const struct mg_origin *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

void mg_origin_text(const struct mg_origin *origin, char out[MG_ORIGIN_BYTES])
{
    const char *open = origin->ipv6 ? "[" : "", *close = origin->ipv6 ? "]" : "";
    const char *scheme = origin->https ? "https" : "http";
    if (origin->port == (origin->https ? 443 : 80))
        snprintf(out, MG_ORIGIN_BYTES, "%s://%s%s%s", scheme, open, origin->host, close);
    else
        snprintf(out, MG_ORIGIN_BYTES, "%s://%s%s%s:%d", scheme, open, origin->host, close, origin->port);
}

static mg_err put_redirect(mg_view url, mg_view location, const struct mg_origin *origin, mg_view target,
                           struct mg_buf *out)
{
    char text[MG_ORIGIN_BYTES];
    mg_origin_text(origin, text);
    if (mg_view_starts(location, MG_VIEW("//"))) {
        MG_TRY(mg_buf_put(out, origin->https ? MG_VIEW("https:") : MG_VIEW("http:")));
        return mg_buf_put(out, location);
    }
    MG_TRY(mg_buf_put(out, mg_view_cstr(text)));
    if (location.ptr[0] == '/')
        return mg_buf_put(out, location);
    mg_view path = mg_view_head(target, mg_view_find(target, "?"));
    while (location.ptr[0] != '?' && path.len && path.ptr[path.len - 1] != '/')
        path.len--;                    /* a name stands beside the last one */
    MG_TRY(mg_buf_put(out, path.len ? path : MG_VIEW("/")));
    return mg_buf_put(out, location);
}

bool mg_origin_redirect(mg_view url, mg_view location, struct mg_buf *out_url)
{
    struct mg_origin origin;
    mg_view target;
    mg_buf_clear(out_url);
    if (mg_origin_parse(location, &origin, &target))
        return mg_buf_put(out_url, location) == MG_OK;
    size_t scheme = mg_view_find(location, ":/?#");
    bool other_scheme = scheme < location.len && location.ptr[scheme] == ':';
    if (!is_clean(location) || other_scheme || !mg_origin_parse(url, &origin, &target))
        return false;
    return put_redirect(url, location, &origin, target, out_url) == MG_OK &&
           mg_origin_parse(mg_buf_view(out_url), &origin, &target);
}

/* ---- rights */

static bool is_literal(const struct mg_origin *origin)
{
    struct in_addr address;
    return origin->ipv6 || inet_pton(AF_INET, origin->host, &address) == 1;
}

enum mg_origin_right mg_origin_right(const struct mg_origin *origin, const char *const *list)
{
    enum mg_origin_right right = MG_ORIGIN_REFUSED;
    for (; list && *list; list++) {
        struct mg_origin entry;
        mg_view target;
        if (!parse(mg_view_cstr(*list), true, &entry, &target) || !mg_view_eq(target, MG_VIEW("/")))
            continue;
        if (mg_origin_eq(&entry, origin))
            return is_literal(origin) ? MG_ORIGIN_LINK_LOCAL : MG_ORIGIN_PRIVATE;
        if (strchr(entry.host, '*') && entry.https == origin->https && entry.port == origin->port && !is_literal(origin) &&
            mg_view_glob(mg_view_cstr(entry.host), mg_view_cstr(origin->host)))
            right = MG_ORIGIN_PUBLIC;
    }
    return right;
}

struct range {
    uint32_t net;
    int bits;
    enum mg_origin_right right;
};

/* The first match counts. RFC 6890 and its updates. */
static const struct range ranges4[] = {
    {0x00000000, 8, MG_ORIGIN_REFUSED},     /* this network */
    {0x0a000000, 8, MG_ORIGIN_PRIVATE},     /* 10/8 */
    {0x64400000, 10, MG_ORIGIN_PRIVATE},    /* 100.64/10, carriers */
    {0x7f000000, 8, MG_ORIGIN_PRIVATE},     /* loopback */
    {0xa9fe0000, 16, MG_ORIGIN_LINK_LOCAL}, /* 169.254/16 */
    {0xac100000, 12, MG_ORIGIN_PRIVATE},    /* 172.16/12 */
    {0xc0000000, 24, MG_ORIGIN_PRIVATE},    /* 192.0.0/24 */
    {0xc0000200, 24, MG_ORIGIN_PRIVATE},    /* documentation */
    {0xc0a80000, 16, MG_ORIGIN_PRIVATE},    /* 192.168/16 */
    {0xc6120000, 15, MG_ORIGIN_PRIVATE},    /* benchmarks */
    {0xc6336400, 24, MG_ORIGIN_PRIVATE},    /* documentation */
    {0xcb007100, 24, MG_ORIGIN_PRIVATE},    /* documentation */
    {0xe0000000, 4, MG_ORIGIN_REFUSED},     /* multicast */
    {0xf0000000, 4, MG_ORIGIN_REFUSED},     /* reserved, broadcast */
};

static enum mg_origin_right address4(uint32_t address)
{
    for (size_t i = 0; i < MG_COUNT(ranges4); i++)
        if ((address ^ ranges4[i].net) >> (32 - ranges4[i].bits) == 0)
            return ranges4[i].right;
    return MG_ORIGIN_PUBLIC;
}

static uint32_t word(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static enum mg_origin_right address6(const uint8_t *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t zeros[15] = {0};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
        return address4(word(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02)  /* 6to4 */
        return address4(word(a + 2));
    if (memcmp(a, zeros, 15) == 0)
        return a[15] == 1 ? MG_ORIGIN_PRIVATE : MG_ORIGIN_REFUSED;
    if (memcmp(a, zeros, 12) == 0)     /* the old form of IPv4 inside */
        return address4(word(a + 12));
    if ((a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0))
        return MG_ORIGIN_PRIVATE;
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
        return MG_ORIGIN_LINK_LOCAL;
    if (a[0] == 0x20 && a[1] == 0x01 && (a[2] == 0x0d && a[3] == 0xb8))
        return MG_ORIGIN_PRIVATE;      /* documentation */
    return a[0] == 0xff ? MG_ORIGIN_REFUSED : MG_ORIGIN_PUBLIC;
}

enum mg_origin_right mg_origin_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return address4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family == AF_INET6)
        return address6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return MG_ORIGIN_REFUSED;
}
