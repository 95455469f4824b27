#include "relay/hide.h"

enum { LONGEST_PIECE = 256 };

/* The bytes are ours, in the loop's or a decoder's memory: what stands in them of the credential is covered where it
 * stands, before anybody copies it. */
void mg_hide_sent(struct mg_attempt *attempt, mg_view bytes)
{
    if (attempt->sent_secret && bytes.len)
        attempt->echoed |= mg_sealed_hide(attempt->sent_secret, (char *)(uintptr_t)bytes.ptr, bytes.len, false);
}

void mg_hide_in_headers(struct mg_attempt *attempt, struct mg_headers headers)
{
    for (size_t i = 0; i < headers.count; i++)
        mg_hide_sent(attempt, headers.items[i].value);
}

void mg_hide_in_body(struct mg_attempt *attempt)
{
    mg_view body = mg_buf_view(&attempt->body);
    if (attempt->sent_secret && body.len)
        attempt->echoed |= mg_sealed_hide_all_forms(attempt->sent_secret, (char *)(uintptr_t)body.ptr, body.len, false);
}

/* Data of several lines was joined elsewhere, and its block goes on as it came: there the same text is covered too. */
static void cover_in_block(mg_view raw, mg_view before, mg_view covered)
{
    char *at = before.len ? memmem(raw.ptr, raw.len, before.ptr, before.len) : NULL;
    if (at)
        memcpy(at, covered.ptr, covered.len);
}

static void hide_in_text(struct mg_attempt *attempt, const struct mg_sse_event *event, const struct mg_tap_text *text)
{
    char before[LONGEST_PIECE];
    struct mg_sealed_trail *trail = &attempt->trails[text->reasoning];
    char *piece = (char *)(uintptr_t)event->data.ptr + text->offset + 1;
    size_t len = text->len - 2;        /* without its quotes */
    bool joined = !event->data_in_raw && len <= sizeof before;
    if (joined)
        memcpy(before, piece, len);
    if (!mg_sealed_hide_next(attempt->sent_secret, trail, piece, len))
        return;
    attempt->echoed = true;
    if (joined)
        cover_in_block(event->raw, mg_view_of(before, len), mg_view_of(piece, len));
}

/* Of the first choice: a model that spells its key out does not need two. */
void mg_hide_in_event(struct mg_attempt *attempt, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    for (int i = 0; attempt->sent_secret && i < seen->text_count; i++)
        if (seen->texts[i].choice == 0 && seen->texts[i].len > 2)
            hide_in_text(attempt, event, &seen->texts[i]);
}

void mg_hide_in_piece(struct mg_attempt *attempt, mg_view bytes)
{
    if (attempt->sent_secret && bytes.len)
        attempt->echoed |= mg_sealed_hide_next(attempt->sent_secret, &attempt->trails[0], (char *)(uintptr_t)bytes.ptr, bytes.len);
}

/* Error messages are cut, and what is cut may be a secret. A good answer was looked through as it came. */
static void hide_in_texts(struct mg_attempt *attempt, const struct mg_sealed *secret)
{
    struct mg_tap *tap = &attempt->tap;
    mg_view body = mg_buf_view(&attempt->body);
    attempt->echoed |= mg_sealed_hide_all_forms(secret, tap->error_message, strlen(tap->error_message), true);
    if (body.len && !attempt->ok)
        attempt->echoed |= mg_sealed_hide_all_forms(secret, (char *)(uintptr_t)body.ptr, body.len, true);
}

static void hide_current(struct mg_attempt *attempt, const struct mg_secret *secret)
{
    struct mg_sealed *sealed = mg_secret_get(secret);
    if (sealed)
        hide_in_texts(attempt, sealed);
    mg_sealed_unref(sealed);
}

/* Some providers repeat the key they refuse; it is not the client's to read. The provider's other keys are looked for only
 * where something failed. */
void mg_hide_secrets(struct mg_attempt *attempt)
{
    const struct mg_upstream *upstream = attempt->call.upstream;
    if (attempt->sent_secret)
        hide_in_texts(attempt, attempt->sent_secret);
    for (int i = 0; i < upstream->credential_count && !attempt->ok; i++)
        hide_current(attempt, upstream->credentials[i].secret);
    for (int i = 0; upstream->config && i < upstream->config->header_count && !attempt->ok; i++)
        if (upstream->config->header_secrets && upstream->config->header_secrets[i])
            hide_current(attempt, upstream->config->header_secrets[i]);
}
