#include "relay/sign.h"

#include "base/mem.h"
#include "vault/sigv4.h"

static mg_view cut_piece(mg_view *rest, const char *separator)
{
    mg_view piece = mg_view_head(*rest, mg_view_find(*rest, separator));
    *rest = mg_view_skip(*rest, MG_MIN(piece.len + 1, rest->len));
    return piece;
}

bool mg_aws_key_parse(mg_view text, struct mg_aws_key *out_key)
{
    mg_view rest = mg_view_trim(text);
    out_key->id = cut_piece(&rest, ":");
    out_key->secret = cut_piece(&rest, ":");
    out_key->token = rest;
    return out_key->id.len > 0 && out_key->secret.len > 0 && mg_view_find(text, "\r\n \t") >= mg_view_trim(text).len &&
           mg_view_find(rest, ":") == rest.len;
}

size_t mg_sign_target_end(mg_view head)
{
    size_t method = mg_view_find(head, " ") + 1;
    return method + mg_view_find(mg_view_skip(head, method), " \r\n");
}

static bool is_signed(mg_view name)
{
    return mg_view_ieq(name, MG_VIEW("host")) || mg_view_ieq(name, MG_VIEW("content-type")) ||
           mg_view_ieq(mg_view_head(name, 5), MG_VIEW("x-amz"));
}

/* Names go to `names` in lower case. */
static mg_err pick_headers(mg_view lines, char *names, size_t room, struct mg_sigv4_header *out, size_t *out_count)
{
    *out_count = 0;
    for (cut_piece(&lines, "\n"); lines.len > 2;) {
        mg_view value = cut_piece(&lines, "\r"), name = cut_piece(&value, ":");
        lines = mg_view_skip(lines, 1);
        if (!is_signed(name))
            continue;
        if (*out_count == MG_SIGV4_HEADERS - 2 || name.len > room)
            return MG_E_TOO_LARGE;
        for (size_t i = 0; i < name.len; i++)
            names[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] | 0x20) : name.ptr[i];
        out[(*out_count)++] = (struct mg_sigv4_header){mg_view_of(names, name.len), mg_view_trim(value)};
        names += name.len;
        room -= name.len;
    }
    return MG_OK;
}

static mg_err sign_head(const struct mg_sign *sign, const struct mg_aws_key *key, struct mg_sigv4_signed *out)
{
    char names[512];
    struct mg_sigv4_header headers[MG_SIGV4_HEADERS];
    size_t method = mg_view_find(sign->head, " ");
    struct mg_sigv4 request = {
        .access_key = key->id, .secret_key = key->secret, .session_token = key->token,
        .region = mg_view_cstr(sign->region), .service = mg_view_cstr(sign->service),
        .method = mg_view_head(sign->head, method),
        .target = mg_view_skip(mg_view_head(sign->head, mg_sign_target_end(sign->head)), method + 1),
        .headers = headers, .body = sign->body->parts, .body_count = sign->body->count, .now_us = sign->now_us};
    MG_TRY(pick_headers(sign->head, names, sizeof names, headers, &request.header_count));
    return mg_sigv4_sign(&request, out);
}

/* Behind the credential, which it is made of. */
static mg_err put_lines(const struct mg_aws_key *key, const struct mg_sigv4_signed *sig, struct mg_locked *out)
{
    mg_view pieces[] = {MG_VIEW("x-amz-date: "), mg_view_cstr(sig->date), MG_VIEW("\r\n"), MG_VIEW("authorization: "),
                        mg_view_cstr(sig->authorization), MG_VIEW("\r\n"), MG_VIEW("x-amz-security-token: "), key->token, MG_VIEW("\r\n")};
    for (size_t i = 0; i < (key->token.len ? MG_COUNT(pieces) : 6); i++)
        MG_TRY(mg_locked_put(out, pieces[i]));
    return MG_OK;
}

/* What stands from `from` on goes to `at`; nothing of what stood there is left. */
static void move_down(struct mg_locked *out, size_t at, size_t from)
{
    size_t len = out->len - from, was = out->len;
    memmove(out->ptr + at, out->ptr + from, len);
    mg_wipe(out->ptr + at + len, was - at - len);
    out->len = at + len;
}

static mg_err seal_token(mg_view token, struct mg_sealed **out_token)
{
    struct mg_seal_place place = {MG_VIEW_NONE, MG_VIEW("session token"), 0};
    *out_token = NULL;
    return token.len ? mg_sealed_from(mg_seal_key_process(), &place, token, out_token) : MG_OK;
}

mg_err mg_sign_aws(const struct mg_sign *sign, struct mg_locked *out, size_t at, struct mg_sealed **out_token)
{
    struct mg_aws_key key;
    struct mg_sigv4_signed sig;
    size_t end = out->len;
    *out_token = NULL;
    if (!mg_aws_key_parse(mg_view_of(out->ptr + at, end - at), &key))
        return MG_E_BAD_REQUEST;
    MG_TRY(sign_head(sign, &key, &sig));
    MG_TRY(put_lines(&key, &sig, out));
    MG_TRY(seal_token(key.token, out_token));
    move_down(out, at, end);
    return MG_OK;
}

static mg_err put_encoded(mg_view text, struct mg_locked *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
        MG_TRY(mg_locked_put(out, plain ? mg_view_of(text.ptr + i, 1) : mg_view_of(encoded, sizeof encoded)));
    }
    return MG_OK;
}

mg_err mg_sign_query(const char *name, mg_view head, struct mg_locked *out, size_t at)
{
    mg_view target = mg_view_head(head, mg_sign_target_end(head));
    size_t end = out->len;
    MG_TRY(mg_locked_put(out, mg_view_find(target, "?") < target.len ? MG_VIEW("&") : MG_VIEW("?")));
    MG_TRY(mg_locked_put(out, mg_view_cstr(name)));
    MG_TRY(mg_locked_put(out, MG_VIEW("=")));
    MG_TRY(put_encoded(mg_view_of(out->ptr + at, end - at), out));
    move_down(out, at, end);
    return MG_OK;
}
