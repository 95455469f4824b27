/* The names are those of AWS's description: canonical request, string to sign, signing key. The canonical request is
 * never written down: it is hashed as it is made. */
#include "vault/sigv4.h"

#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

enum { HASH_BYTES = 32, KEY_TEXT_BYTES = 256, SCOPE_BYTES = 192, NAMES_BYTES = 512 };

typedef unsigned char hash_bytes[HASH_BYTES];
typedef char hash_hex[2 * HASH_BYTES + 1];

/* A SHA-256 in the making. */
struct hash {
    psa_hash_operation_t state;
};

static void begin(struct hash *hash)
{
    hash->state = psa_hash_operation_init();
    if (psa_hash_setup(&hash->state, PSA_ALG_SHA_256) != PSA_SUCCESS)
        abort();
}

static void add(struct hash *hash, mg_view text)
{
    if (psa_hash_update(&hash->state, (const unsigned char *)text.ptr, text.len) != PSA_SUCCESS)
        abort();
}

static void finish(struct hash *hash, hash_hex out)
{
    hash_bytes bytes;
    size_t len;
    if (psa_hash_finish(&hash->state, bytes, sizeof bytes, &len) != PSA_SUCCESS)
        abort();
    for (int i = 0; i < HASH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void hmac(mg_view key, mg_view text, hash_bytes out)
{
    psa_key_id_t id;
    size_t len;
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
    psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
    psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
    if (psa_import_key(&attributes, (const unsigned char *)key.ptr, key.len, &id) != PSA_SUCCESS ||
        psa_mac_compute(id, PSA_ALG_HMAC(PSA_ALG_SHA_256), (const unsigned char *)text.ptr, text.len, out, HASH_BYTES, &len) !=
            PSA_SUCCESS)
        abort();
    (void)psa_destroy_key(id);
}

static mg_view hash_view(const hash_bytes hash)
{
    return mg_view_of((const char *)hash, HASH_BYTES);
}

static int order(mg_view a, mg_view b)
{
    int by_bytes = memcmp(a.ptr, b.ptr, MG_MIN(a.len, b.len));
    return by_bytes ? by_bytes : a.len < b.len ? -1 : a.len > b.len;
}

/* ---- canonical request ----------------------------------------------------------------------- */

/* Once more than it is sent: `%3A` becomes `%253A`. Every service but S3 wants that. */
static void add_segment(struct hash *hash, mg_view segment)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < segment.len; i++) {
        unsigned char c = (unsigned char)segment.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
        char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
        add(hash, c && plain ? mg_view_of(segment.ptr + i, 1) : mg_view_of(encoded, sizeof encoded));
    }
}

static mg_view next_piece(mg_view *rest, const char *separator)
{
    mg_view piece = mg_view_head(*rest, mg_view_find(*rest, separator));
    *rest = mg_view_skip(*rest, MG_MIN(piece.len + 1, rest->len));
    return piece;
}

/* Empty and `.` segments go; our own addresses have no `..`. */
static void add_path(struct hash *hash, mg_view path)
{
    bool ends_in_slash = mg_view_ends(path, MG_VIEW("/")), any = false;
    while (path.len) {
        mg_view segment = next_piece(&path, "/");
        if (!segment.len || mg_view_eq(segment, MG_VIEW(".")))
            continue;
        add(hash, MG_VIEW("/"));
        add_segment(hash, segment);
        any = true;
    }
    add(hash, ends_in_slash || !any ? MG_VIEW("/\n") : MG_VIEW("\n"));
}

static mg_view query_name(mg_view pair)
{
    return mg_view_head(pair, mg_view_find(pair, "="));
}

static int query_order(mg_view a, mg_view b)
{
    int by_name = order(query_name(a), query_name(b));
    return by_name ? by_name : order(mg_view_skip(a, query_name(a).len), mg_view_skip(b, query_name(b).len));
}

static mg_err add_query(struct hash *hash, mg_view query)
{
    mg_view pairs[MG_SIGV4_QUERIES];
    size_t count = 0;
    while (query.len) {
        mg_view pair = next_piece(&query, "&");
        size_t at = count++;
        if (count > MG_COUNT(pairs))
            return MG_E_TOO_LARGE;
        for (; at > 0 && query_order(pairs[at - 1], pair) > 0; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = pair;
    }
    for (size_t i = 0; i < count; i++) {
        add(hash, i ? MG_VIEW("&") : MG_VIEW_NONE);
        add(hash, pairs[i]);
        add(hash, query_name(pairs[i]).len == pairs[i].len ? MG_VIEW("=") : MG_VIEW_NONE);
    }
    add(hash, MG_VIEW("\n"));
    return MG_OK;
}

/* Runs of blanks count as one. */
static void add_value(struct hash *hash, mg_view value)
{
    value = mg_view_trim(value);
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] != ' ' || value.ptr[i - 1] != ' ')
            add(hash, mg_view_of(value.ptr + i, 1));
}

static size_t sort_headers(const struct mg_sigv4 *r, const char *date, struct mg_sigv4_header out[MG_SIGV4_HEADERS])
{
    size_t count = 0;
    struct mg_sigv4_header own[2] = {{MG_VIEW("x-amz-date"), mg_view_cstr(date)},
                                     {MG_VIEW("x-amz-security-token"), r->session_token}};
    for (size_t i = 0; i < r->header_count + (r->session_token.len ? 2 : 1); i++) {
        struct mg_sigv4_header header = i < r->header_count ? r->headers[i] : own[i - r->header_count];
        size_t at = count++;
        for (; at > 0 && order(out[at - 1].name, header.name) > 0; at--)
            out[at] = out[at - 1];
        out[at] = header;
    }
    return count;
}

static mg_err add_headers(struct hash *hash, const struct mg_sigv4 *r, const char *date, char out_names[NAMES_BYTES])
{
    struct mg_sigv4_header sorted[MG_SIGV4_HEADERS];
    size_t used = 0;
    if (r->header_count + 2 > MG_COUNT(sorted))
        return MG_E_TOO_LARGE;
    size_t count = sort_headers(r, date, sorted);
    for (size_t i = 0; i < count; i++) {
        add(hash, sorted[i].name);
        add(hash, MG_VIEW(":"));
        add_value(hash, sorted[i].value);
        add(hash, MG_VIEW("\n"));
        int len = snprintf(out_names + used, NAMES_BYTES - used, "%s%.*s", i ? ";" : "", MG_FMT(sorted[i].name));
        if ((used += (size_t)len) >= NAMES_BYTES)
            return MG_E_TOO_LARGE;
    }
    add(hash, MG_VIEW("\n"));
    add(hash, mg_view_cstr(out_names));
    add(hash, MG_VIEW("\n"));
    return MG_OK;
}

static mg_err hash_request(const struct mg_sigv4 *r, const char *date, char out_names[NAMES_BYTES], hash_hex out)
{
    struct hash hash;
    hash_hex body;
    mg_view path = mg_view_head(r->target, mg_view_find(r->target, "?"));
    begin(&hash);
    for (size_t i = 0; i < r->body_count; i++)
        add(&hash, r->body[i]);
    finish(&hash, body);
    begin(&hash);
    add(&hash, r->method);
    add(&hash, MG_VIEW("\n"));
    add_path(&hash, path);
    mg_err err = add_query(&hash, mg_view_skip(r->target, MG_MIN(path.len + 1, r->target.len)));
    if (err == MG_OK)
        err = add_headers(&hash, r, date, out_names);
    add(&hash, mg_view_cstr(body));
    finish(&hash, out);
    return err;
}

/* ---- signature ------------------------------------------------------------------------------- */

static mg_err sign(const struct mg_sigv4 *r, const char *date, const char *scope, const hash_hex request, hash_hex out_signature)
{
    static const char digits[] = "0123456789abcdef";
    hash_bytes key;
    char text[512], first[KEY_TEXT_BYTES];
    int len = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, request);
    int first_len = snprintf(first, sizeof first, "AWS4%.*s", MG_FMT(r->secret_key));
    bool fits = len < (int)sizeof text && first_len < (int)sizeof first;
    if (fits) {
        hmac(mg_view_of(first, (size_t)first_len), mg_view_of(date, 8), key);
        hmac(hash_view(key), r->region, key);
        hmac(hash_view(key), r->service, key);
        hmac(hash_view(key), MG_VIEW("aws4_request"), key);
        hmac(hash_view(key), mg_view_of(text, (size_t)len), key);
        for (int i = 0; i < 2 * HASH_BYTES; i++)
            out_signature[i] = digits[i % 2 ? key[i / 2] & 15 : key[i / 2] >> 4];
        out_signature[2 * HASH_BYTES] = '\0';
    }
    mg_wipe(first, sizeof first);
    mg_wipe(key, sizeof key);
    return fits ? MG_OK : MG_E_TOO_LARGE;
}

mg_err mg_sigv4_sign(const struct mg_sigv4 *request, struct mg_sigv4_signed *out)
{
    char scope[SCOPE_BYTES], names[NAMES_BYTES];
    hash_hex hash, signature;
    struct tm parts;
    time_t seconds = (time_t)(request->now_us / 1000000);
    strftime(out->date, sizeof out->date, "%Y%m%dT%H%M%SZ", gmtime_r(&seconds, &parts));
    if (snprintf(scope, sizeof scope, "%.8s/%.*s/%.*s/aws4_request", out->date, MG_FMT(request->region),
                 MG_FMT(request->service)) >= (int)sizeof scope)
        return MG_E_TOO_LARGE;
    MG_TRY(hash_request(request, out->date, names, hash));
    MG_TRY(sign(request, out->date, scope, hash, signature));
    int len = snprintf(out->authorization, sizeof out->authorization,
                       "AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=%s, Signature=%s", MG_FMT(request->access_key), scope,
                       names, signature);
    return len < (int)sizeof out->authorization ? MG_OK : MG_E_TOO_LARGE;
}
