/* origin.h - where plugins may connect to: URLs read strictly, an allow-list of origins, private address ranges.
 *
 * An origin is scheme, host and port. A list entry is one origin ("https://dlp.acme.example",
 * "http://10.0.0.5:8080") or a pattern with '*' in its host (*.acme.example). Private addresses are for
 * origins that are listed letter by letter; link-local ones (169.254.0.0/16, fe80::/10: where clouds keep the metadata of
 * the machine) only when the address itself is. */
#ifndef MG_SCRIPT_ORIGIN_H
#define MG_SCRIPT_ORIGIN_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"

enum { MG_URL_BYTES = 8192, MG_ORIGIN_BYTES = 288 };

struct mg_origin {
    bool https;
    int port;
    char host[256];          /* lower case, without brackets */
    bool ipv6;               /* host is a literal that wants brackets in a URL */
};

/* "https://host[:port]/path?query#…" into origin and request target ("/path?query"; a view into url, or "/"). False for
 * other schemes, user names, blanks, control bytes, backslashes, ports that are none, hosts that are none. */
bool mg_origin_parse(mg_view url, struct mg_origin *out_origin, mg_view *out_target);

bool mg_origin_eq(const struct mg_origin *a, const struct mg_origin *b);
/* "https://host:port", the scheme's own port left out; NUL-terminated. */
void mg_origin_text(const struct mg_origin *origin, char out[MG_ORIGIN_BYTES]);

/* The value of a Location header against the URL it came from: absolute, "//host/…", "/path" or "path". False: no URL. */
bool mg_origin_redirect(mg_view url, mg_view location, struct mg_buf *out_url);

enum mg_origin_right {
    MG_ORIGIN_REFUSED,
    MG_ORIGIN_PUBLIC,        /* public addresses only */
    MG_ORIGIN_PRIVATE,       /* private ones too */
    MG_ORIGIN_LINK_LOCAL     /* any */
};

/* `list` is NULL-terminated; entries that are no origin allow nothing. */
enum mg_origin_right mg_origin_right(const struct mg_origin *origin, const char *const *list);

/* Which right an address asks for: MG_ORIGIN_PUBLIC for the internet at large; MG_ORIGIN_PRIVATE for loopback, private
 * use (RFC 1918, 6598, 4193), benchmarks, documentation; MG_ORIGIN_LINK_LOCAL; MG_ORIGIN_REFUSED for multicast,
 * broadcast and the unspecified address, which nobody may. IPv4 inside IPv6 counts as what it is. */
enum mg_origin_right mg_origin_address(const struct sockaddr *address);

#endif
