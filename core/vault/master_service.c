/* Master keys that a service keeps and never gives away: AWS KMS, Google Cloud KMS, and the transit engine of HashiCorp
 * Vault and OpenBao. All take a key in base64 inside JSON and give ciphertext; the project is authenticated with it.
 *
 * Whatever held a data key or a credential of ours is wiped: buffers are taken at their full size at once, so that growing
 * leaves no copies. */
#include <mbedtls/base64.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/json.h"
#include "vault/ask.h"
#include "vault/master.h"
#include "vault/sigv4.h"

enum { BODY_BYTES = 32768, HEADER_BYTES = 8192, KEY64_BYTES = 64 };

#define METADATA_PATH "/computeMetadata/v1/instance/service-accounts/default/token"

struct service;

/* One call of a kind: what is sent to wrap or unwrap, and where the answer stands in what comes back. */
struct kind {
    const char *wrapped, *plain;       /* JSON paths of the answers */
    bool wrapped_is_text;              /* the ciphertext is text of its own; else base64 */
    mg_err (*call)(struct service *service, bool wrap, mg_view input, mg_view project, struct mg_buf *out_answer, int *out_status,
                   struct mg_diag *diag);
};

struct service {
    struct mg_master master;
    const struct kind *kind;
    char *key_id, *region, *url, *mount, *ca;    /* owned copies: the configuration they came from may go */
    struct mg_secret token, access_key, secret_key, session_token;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static mg_err put_base64(struct mg_buf *out, mg_view bytes)
{
    size_t len, room = 4 * (bytes.len + 2) / 3 + 1;
    MG_TRY(mg_buf_reserve(out, room));
    if (mbedtls_base64_encode((unsigned char *)mg_buf_tail(out), room, &len, (const unsigned char *)bytes.ptr, bytes.len) != 0)
        return MG_E_TOO_LARGE;
    mg_buf_grew(out, len);
    return MG_OK;
}

static mg_err put_member(struct mg_buf *out, const char *name, mg_view text)
{
    MG_TRY(mg_buf_putf(out, "%c\"%s\":\"", out->len ? ',' : '{', name));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

static mg_err put_member64(struct mg_buf *out, const char *name, mg_view bytes)
{
    MG_TRY(mg_buf_putf(out, "%c\"%s\":\"", out->len ? ',' : '{', name));
    MG_TRY(put_base64(out, bytes));
    return mg_buf_putc(out, '"');
}

/* What a ciphertext is bound to. */
static mg_view context_of(mg_view project, char room[128])
{
    return mg_view_of(room, (size_t)snprintf(room, 128, "moongate project %.*s", MG_FMT(project)));
}

static mg_err full_buf(struct mg_buf *buf, size_t size)
{
    mg_buf_init(buf, size);
    return mg_buf_reserve(buf, size);
}

static void wipe_buf(struct mg_buf *buf)
{
    if (buf->ptr)
        mg_wipe(buf->ptr, buf->cap);
    mg_buf_fini(buf);
}

/* ---- credentials ----------------------------------------------------------------------------- */

static mg_err open_secret(const struct mg_secret *secret, const char *what, struct mg_locked *out, mg_view *out_text,
                          struct mg_diag *diag)
{
    struct mg_sealed *sealed = mg_secret_get(secret);
    size_t at = out->len;
    mg_err err = sealed ? mg_sealed_open(sealed, out) : MG_E_NOT_FOUND;
    mg_sealed_unref(sealed);
    if (err != MG_OK)
        return mg_diag_set(diag, err, NULL, 0, "vault.master.%s is missing or does not open", what);
    *out_text = mg_view_of(out->ptr + at, out->len - at);
    return MG_OK;
}

static bool has_secret(const struct mg_secret *secret)
{
    return secret->own || secret->slot;
}

static mg_err put_secret_header(const struct mg_secret *secret, const char *start, struct mg_buf *out, struct mg_diag *diag)
{
    mg_view text;
    struct mg_locked *plain = mg_locked_take();
    mg_err err = open_secret(secret, "token", plain, &text, diag);
    if (err == MG_OK)
        err = mg_buf_putf(out, "%s%.*s\r\n", start, MG_FMT(text));
    mg_locked_give(plain);
    return err;
}

/* ---- transit --------------------------------------------------------------------------------- */

static mg_err transit_body(bool wrap, mg_view input, mg_view project, struct mg_buf *body)
{
    char room[128];
    MG_TRY(wrap ? put_member64(body, "plaintext", input) : put_member(body, "ciphertext", input));
    MG_TRY(put_member64(body, "associated_data", context_of(project, room)));
    return mg_buf_putc(body, '}');
}

static mg_err call_transit(struct service *service, bool wrap, mg_view input, mg_view project, struct mg_buf *out_answer,
                           int *out_status, struct mg_diag *diag)
{
    char path[512];
    struct mg_buf body, headers;
    int len = snprintf(path, sizeof path, "/v1/%s/%s/%s", service->mount, wrap ? "encrypt" : "decrypt", service->key_id);
    mg_err err = full_buf(&body, BODY_BYTES);
    if (full_buf(&headers, HEADER_BYTES) != MG_OK || len >= (int)sizeof path)
        err = MG_E_TOO_LARGE;
    if (err == MG_OK)
        err = transit_body(wrap, input, project, &body);
    if (err == MG_OK)
        err = mg_buf_put(&headers, MG_VIEW("content-type: application/json\r\n"));
    if (err == MG_OK)
        err = put_secret_header(&service->token, "x-vault-token: ", &headers, diag);
    if (err == MG_OK)
        err = mg_ask(&(struct mg_ask){"POST", service->url, mg_view_of(path, (size_t)len), service->ca, mg_buf_view(&headers),
                                      mg_buf_view(&body)}, out_status, out_answer, diag);
    wipe_buf(&headers);
    wipe_buf(&body);
    return err;
}

/* ---- Google Cloud KMS ------------------------------------------------------------------------ */

/* On a machine of theirs the metadata server has a token for us. */
static mg_err put_metadata_token(struct mg_buf *headers, struct mg_diag *diag)
{
    const char *host = getenv("GCE_METADATA_HOST");
    char url[300];
    struct mg_buf answer;
    struct mg_json *json = NULL;
    int status = 0;
    snprintf(url, sizeof url, "http://%s", host && *host ? host : "metadata.google.internal");
    mg_err err = full_buf(&answer, BODY_BYTES);
    if (err == MG_OK)
        err = mg_ask(&(struct mg_ask){"GET", url, MG_VIEW(METADATA_PATH), NULL, MG_VIEW("metadata-flavor: Google\r\n"),
                                      MG_VIEW_NONE}, &status, &answer, diag);
    if (err == MG_OK)
        err = mg_json_parse(mg_buf_view(&answer), BODY_BYTES, &json, NULL);
    mg_view token = mg_json_string(mg_json_get(json, "access_token"));
    if (err == MG_OK && token.len)
        err = mg_buf_putf(headers, "authorization: Bearer %.*s\r\n", MG_FMT(token));
    else if (err == MG_OK)
        err = mg_diag_set(diag, MG_E_DENIED, NULL, 0, "the metadata server gave no token (status %d): give vault.master.token",
                          status);
    mg_json_free(json);
    wipe_buf(&answer);
    return err;
}

static mg_err gcp_body(bool wrap, mg_view input, mg_view project, struct mg_buf *body)
{
    char room[128];
    MG_TRY(put_member64(body, wrap ? "plaintext" : "ciphertext", input));
    MG_TRY(put_member64(body, "additionalAuthenticatedData", context_of(project, room)));
    return mg_buf_putc(body, '}');
}

static mg_err call_gcp(struct service *service, bool wrap, mg_view input, mg_view project, struct mg_buf *out_answer,
                       int *out_status, struct mg_diag *diag)
{
    char path[512];
    struct mg_buf body, headers;
    int len = snprintf(path, sizeof path, "/v1/%s:%s", service->key_id, wrap ? "encrypt" : "decrypt");
    mg_err err = full_buf(&body, BODY_BYTES);
    if (full_buf(&headers, HEADER_BYTES) != MG_OK || len >= (int)sizeof path)
        err = MG_E_TOO_LARGE;
    if (err == MG_OK)
        err = gcp_body(wrap, input, project, &body);
    if (err == MG_OK)
        err = mg_buf_put(&headers, MG_VIEW("content-type: application/json\r\n"));
    if (err == MG_OK)
        err = has_secret(&service->token) ? put_secret_header(&service->token, "authorization: Bearer ", &headers, diag)
                                          : put_metadata_token(&headers, diag);
    if (err == MG_OK)
        err = mg_ask(&(struct mg_ask){"POST", service->url, mg_view_of(path, (size_t)len), service->ca, mg_buf_view(&headers),
                                      mg_buf_view(&body)}, out_status, out_answer, diag);
    wipe_buf(&headers);
    wipe_buf(&body);
    return err;
}

/* ---- AWS KMS --------------------------------------------------------------------------------- */

static mg_err aws_body(const struct service *service, bool wrap, mg_view input, mg_view project, struct mg_buf *body)
{
    char room[128];
    MG_TRY(put_member(body, "KeyId", mg_view_cstr(service->key_id)));
    MG_TRY(put_member64(body, wrap ? "Plaintext" : "CiphertextBlob", input));
    MG_TRY(mg_buf_put(body, MG_VIEW(",\"EncryptionContext\":{\"for\":\"")));
    MG_TRY(mg_buf_put_json(body, context_of(project, room)));
    return mg_buf_put(body, MG_VIEW("\"}}"));
}

static mg_err put_signed(const struct mg_sigv4 *request, struct mg_buf *headers)
{
    struct mg_sigv4_signed sig;
    MG_TRY(mg_sigv4_sign(request, &sig));
    for (size_t i = 0; i < request->header_count - 1; i++)       /* the last is the host, which is sent anyway */
        MG_TRY(mg_buf_putf(headers, "%.*s: %.*s\r\n", MG_FMT(request->headers[i].name), MG_FMT(request->headers[i].value)));
    if (request->session_token.len)
        MG_TRY(mg_buf_putf(headers, "x-amz-security-token: %.*s\r\n", MG_FMT(request->session_token)));
    return mg_buf_putf(headers, "x-amz-date: %s\r\nauthorization: %s\r\n", sig.date, sig.authorization);
}

static mg_err put_signature(const struct service *service, bool wrap, const struct mg_buf *body, struct mg_buf *headers,
                            struct mg_diag *diag)
{
    char host[300];
    mg_view whole = mg_buf_view(body);
    struct mg_sigv4_header signed_ones[] = {
        {MG_VIEW("content-type"), MG_VIEW("application/x-amz-json-1.1")},
        {MG_VIEW("x-amz-target"), wrap ? MG_VIEW("TrentService.Encrypt") : MG_VIEW("TrentService.Decrypt")},
        {MG_VIEW("host"), MG_VIEW_NONE},
    };
    struct mg_sigv4 request = {.region = mg_view_cstr(service->region), .service = MG_VIEW("kms"), .method = MG_VIEW("POST"),
                               .target = MG_VIEW("/"), .headers = signed_ones, .header_count = MG_COUNT(signed_ones),
                               .body = &whole, .body_count = 1, .now_us = mg_wall_us()};
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_ask_host(service->url, host, sizeof host) ? MG_OK : MG_E_CONFIG;
    signed_ones[2].value = mg_view_cstr(err == MG_OK ? host : "");
    if (err == MG_OK)
        err = open_secret(&service->access_key, "access_key", plain, &request.access_key, diag);
    if (err == MG_OK)
        err = open_secret(&service->secret_key, "secret_key", plain, &request.secret_key, diag);
    if (err == MG_OK && has_secret(&service->session_token))
        err = open_secret(&service->session_token, "session_token", plain, &request.session_token, diag);
    if (err == MG_OK)
        err = put_signed(&request, headers);
    mg_locked_give(plain);
    return err;
}

static mg_err call_aws(struct service *service, bool wrap, mg_view input, mg_view project, struct mg_buf *out_answer,
                       int *out_status, struct mg_diag *diag)
{
    struct mg_buf body, headers;
    mg_err err = full_buf(&body, BODY_BYTES);
    if (full_buf(&headers, HEADER_BYTES) != MG_OK)
        err = MG_E_TOO_LARGE;
    if (err == MG_OK)
        err = aws_body(service, wrap, input, project, &body);
    if (err == MG_OK)
        err = put_signature(service, wrap, &body, &headers, diag);
    if (err == MG_OK)
        err = mg_ask(&(struct mg_ask){"POST", service->url, MG_VIEW("/"), service->ca, mg_buf_view(&headers), mg_buf_view(&body)},
                     out_status, out_answer, diag);
    wipe_buf(&headers);
    wipe_buf(&body);
    return err;
}

static const struct kind transit = {"data.ciphertext", "data.plaintext", true, call_transit};
static const struct kind gcp = {"ciphertext", "plaintext", false, call_gcp};
static const struct kind aws = {"CiphertextBlob", "Plaintext", false, call_aws};

/* ---- the interface --------------------------------------------------------------------------- */

/* Services say why in different places. */
static mg_view reason_of(const struct mg_json *json)
{
    static const char *const paths[] = {"errors[0]", "error.message", "message", "Message", "__type"};
    for (size_t i = 0; i < MG_COUNT(paths); i++) {
        mg_view text = mg_json_string(mg_json_path(json, paths[i]));
        if (text.len)
            return mg_view_head(text, 300);
    }
    return MG_VIEW("it gave no reason");
}

/* The text at `path` of the answer, handed to `take`; the tree is built of copies, so what it holds is wiped first. */
static mg_err call(struct service *service, bool wrap, mg_view input, mg_view project,
                   mg_err (*take)(void *arg, mg_view text), void *arg, struct mg_diag *diag)
{
    struct mg_buf answer;
    struct mg_json *json = NULL;
    int status = 0;
    mg_err err = full_buf(&answer, BODY_BYTES);
    if (err == MG_OK)
        err = service->kind->call(service, wrap, input, project, &answer, &status, diag);
    if (err != MG_OK) {
        wipe_buf(&answer);
        return err;
    }
    if (mg_json_parse(mg_buf_view(&answer), BODY_BYTES, &json, NULL) != MG_OK)
        json = NULL;                   /* a page of a proxy: then there is no text in it */
    mg_view text = mg_json_string(mg_json_path(json, wrap ? service->kind->wrapped : service->kind->plain));
    if (status != 200 || !text.len)
        err = mg_diag_set(diag, MG_E_DENIED, NULL, 0, "the key service of %s refused to %s the key of project '%.*s' (status %d): "
                          "%.*s", service->master.id, wrap ? "wrap" : "unwrap", MG_FMT(project), status, MG_FMT(reason_of(json)));
    else if ((err = take(arg, text)) != MG_OK)
        mg_diag_set(diag, err, NULL, 0, "the key service of %s gave something else than a key", service->master.id);
    if (text.len)
        mg_wipe((char *)(uintptr_t)text.ptr, text.len);
    mg_json_free(json);
    wipe_buf(&answer);
    return err;
}

static mg_err take_text(void *arg, mg_view text)
{
    return mg_buf_put(arg, text);
}

static mg_err take_base64(void *arg, mg_view text)
{
    struct mg_buf *out = arg;
    size_t len;
    MG_TRY(mg_buf_reserve(out, text.len));
    if (mbedtls_base64_decode((unsigned char *)mg_buf_tail(out), text.len, &len, (const unsigned char *)text.ptr, text.len) != 0)
        return MG_E_PROTOCOL;
    mg_buf_grew(out, len);
    return MG_OK;
}

static mg_err take_key(void *arg, mg_view text)
{
    unsigned char bytes[KEY64_BYTES];
    size_t len;
    if (mbedtls_base64_decode(bytes, sizeof bytes, &len, (const unsigned char *)text.ptr, text.len) != 0 ||
        len != MG_SEAL_KEY_BYTES)
        return MG_E_PROTOCOL;
    memcpy(arg, bytes, MG_SEAL_KEY_BYTES);
    mg_wipe(bytes, sizeof bytes);
    return MG_OK;
}

static mg_err wrap(struct mg_master *master, const unsigned char key[MG_SEAL_KEY_BYTES], mg_view project, struct mg_buf *out,
                   struct mg_diag *diag)
{
    struct service *service = mg_container_of(master, struct service, master);
    return call(service, true, mg_view_of((const char *)key, MG_SEAL_KEY_BYTES), project,
                service->kind->wrapped_is_text ? take_text : take_base64, out, diag);
}

static mg_err unwrap(struct mg_master *master, mg_view wrapped, mg_view project, unsigned char out_key[MG_SEAL_KEY_BYTES],
                     struct mg_diag *diag)
{
    struct service *service = mg_container_of(master, struct service, master);
    return call(service, false, wrapped, project, take_key, out_key, diag);
}

static void free_service(struct mg_master *master)
{
    struct service *service = mg_container_of(master, struct service, master);
    char *texts[] = {service->key_id, service->region, service->url, service->mount, service->ca};
    for (size_t i = 0; i < MG_COUNT(texts); i++)
        mg_free(texts[i]);
    mg_sealed_unref(service->token.own);
    mg_sealed_unref(service->access_key.own);
    mg_sealed_unref(service->secret_key.own);
    mg_sealed_unref(service->session_token.own);
    mg_free(service);
}

static const struct mg_master_ops ops = {.wrap = wrap, .unwrap = unwrap, .free = free_service};

static struct mg_secret keep_secret(const struct mg_secret *secret)
{
    return secret ? (struct mg_secret){secret->slot, mg_sealed_ref(secret->own)} : (struct mg_secret){.slot = NULL};
}

static mg_err check_spec(const struct mg_master_spec *spec, const struct kind *kind, struct mg_diag *diag)
{
    const char *missing = !spec->key_id                                             ? "key_id"
                          : kind == &aws && !spec->region                           ? "region"
                          : kind == &aws && (!spec->access_key || !spec->secret_key) ? "access_key and secret_key"
                          : kind == &transit && !spec->url                          ? "url"
                          : kind == &transit && !spec->token                        ? "token" : NULL;
    return missing ? mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "vault.master of kind \"%s\" needs %s", spec->kind, missing) : MG_OK;
}

static char *url_of(const struct mg_master_spec *spec, const struct kind *kind)
{
    char url[300];
    if (spec->url)
        return mg_strdup(spec->url);
    if (kind == &gcp)
        return mg_strdup("https://cloudkms.googleapis.com");
    snprintf(url, sizeof url, "https://kms.%s.amazonaws.com", spec->region);
    return mg_strdup(url);
}

mg_err mg_master_service(const struct mg_master_spec *spec, struct mg_master **out_master, struct mg_diag *diag)
{
    const struct kind *kind = strcmp(spec->kind, "aws_kms") == 0 ? &aws : strcmp(spec->kind, "gcp_kms") == 0 ? &gcp : &transit;
    MG_TRY(check_spec(spec, kind, diag));
    struct service *service = mg_new(struct service);
    *service = (struct service){
        .master = {.ops = &ops},
        .kind = kind,
        .key_id = mg_strdup(spec->key_id),
        .region = mg_strdup(spec->region),
        .url = url_of(spec, kind),
        .mount = mg_strdup(spec->mount ? spec->mount : "transit"),
        .ca = mg_strdup(spec->ca),
        .token = keep_secret(spec->token),
        .access_key = keep_secret(spec->access_key),
        .secret_key = keep_secret(spec->secret_key),
        .session_token = keep_secret(spec->session_token),
    };
    snprintf(service->master.id, sizeof service->master.id, "%s:%s", spec->kind, spec->key_id);
    *out_master = &service->master;
    return MG_OK;
}
