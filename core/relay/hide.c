#include "relay/hide.h"

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

/* Error messages are cut, and what is cut may be a secret. A good answer was looked through as it came. */
static void hide_in_texts(struct mg_attempt *attempt, const struct mg_sealed *secret)
{
    struct mg_tap *tap = &attempt->tap;
    mg_view body = mg_buf_view(&attempt->body);
    attempt->echoed |= mg_sealed_hide(secret, tap->error_message, strlen(tap->error_message), true);
    if (body.len && !attempt->ok)
        attempt->echoed |= mg_sealed_hide(secret, (char *)(uintptr_t)body.ptr, body.len, true);
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
