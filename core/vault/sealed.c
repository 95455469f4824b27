#include "vault/sealed.h"

#include <assert.h>
#include <psa/crypto.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

enum { NONCE_BYTES = 12, TAG_BYTES = 16, PLACE_BYTES = 512, TELLING_BYTES = MG_TELLING_BYTES };

/* PSA sets up and tears down all it needs with every call, which costs more than all else that an attempt does to be sent.
 * So each key is also kept as AES-GCM's own schedule, for what is opened again and again; it is the same cipher. */
struct mg_seal_key {
    atomic_int refs;
    psa_key_id_t id;
    bool scheduled;                    /* the processor has instructions for it */
    crypto_aead_aes256gcm_state schedule;
};

/* How a secret may stand in a text: as it is, in base64 behind 0, 1 or 2 bytes of something else, in a JSON string, in a URL. */
enum form { PLAIN, BASE64, BASE64_1, BASE64_2, ESCAPED, PERCENT, FORMS };

/* What tells that text may hold the secret, without it standing here: a keyed fingerprint of its first eight bytes, and the
 * rarest of them, to look for quickly. */
struct telltale {
    unsigned char rare, at;            /* the byte; its place among the eight */
    uint32_t print;
};

struct mg_sealed {
    atomic_int refs;
    struct mg_seal_key *key;           /* one reference */
    struct mg_seal_place place;        /* owned */
    struct mg_buf bytes;
    size_t plain_len;
    struct telltale telltales[FORMS];  /* of a form without one, or one as plain as the first: print 0 and rare 0 */
    uint8_t forms;                     /* bitmap: those that have one */
};

static uint64_t print_key[2];
static struct mg_seal_key *process_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct mg_seal_key *import(const unsigned char bytes[MG_SEAL_KEY_BYTES])
{
    struct mg_seal_key *key = mg_new(struct mg_seal_key);
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
    psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_bits(&attributes, MG_SEAL_KEY_BYTES * 8);
    if (psa_import_key(&attributes, bytes, MG_SEAL_KEY_BYTES, &key->id) != PSA_SUCCESS)
        abort();                       /* only when there is no memory */
    key->scheduled = crypto_aead_aes256gcm_is_available() && crypto_aead_aes256gcm_beforenm(&key->schedule, bytes) == 0;
    atomic_init(&key->refs, 1);
    return key;
}

static void start(void)
{
    unsigned char bytes[MG_SEAL_KEY_BYTES];
    if (sodium_init() < 0 || psa_crypto_init() != PSA_SUCCESS || psa_generate_random(bytes, sizeof bytes) != PSA_SUCCESS ||
        psa_generate_random((unsigned char *)print_key, sizeof print_key) != PSA_SUCCESS)
        abort();
    print_key[1] |= 1;
    process_key = import(bytes);
    mg_wipe(bytes, sizeof bytes);
}

struct mg_seal_key *mg_seal_key_new(const unsigned char bytes[MG_SEAL_KEY_BYTES])
{
    pthread_once(&once, start);
    return import(bytes);
}

struct mg_seal_key *mg_seal_key_process(void)
{
    pthread_once(&once, start);
    return process_key;
}

struct mg_seal_key *mg_seal_key_ref(struct mg_seal_key *key)
{
    atomic_fetch_add(&key->refs, 1);
    return key;
}

void mg_seal_key_unref(struct mg_seal_key *key)
{
    if (!key || atomic_fetch_sub(&key->refs, 1) > 1)
        return;
    (void)psa_destroy_key(key->id);
    mg_wipe(&key->schedule, sizeof key->schedule);
    mg_free(key);
}

/* Lengths stand before the texts, so that no two places read alike. */
static size_t print_place(const struct mg_seal_place *place, unsigned char out[PLACE_BYTES])
{
    const mg_view texts[] = {place->project, place->name};
    size_t at = 0;
    if (place->project.len + place->name.len > PLACE_BYTES - 32)
        return 0;
    memcpy(out, "moongate/1", 10);
    at += 10;
    for (int i = 0; i < 2; i++) {
        out[at++] = (unsigned char)(texts[i].len >> 8);
        out[at++] = (unsigned char)texts[i].len;
        if (texts[i].len)
            memcpy(out + at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    for (int shift = 56; shift >= 0; shift -= 8)
        out[at++] = (unsigned char)(place->version >> shift);
    return at;
}

mg_err mg_seal_text(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain, struct mg_buf *out)
{
    unsigned char bound[PLACE_BYTES];
    size_t bound_len = print_place(place, bound), len = 0;
    if (!bound_len)
        return MG_E_TOO_LARGE;
    MG_TRY(mg_buf_reserve(out, plain.len + MG_SEAL_EXTRA_BYTES));
    unsigned char *at = (unsigned char *)mg_buf_tail(out);
    if (psa_generate_random(at, NONCE_BYTES) != PSA_SUCCESS ||
        psa_aead_encrypt(key->id, PSA_ALG_GCM, at, NONCE_BYTES, bound, bound_len, (const unsigned char *)plain.ptr,
                         plain.len, at + NONCE_BYTES, plain.len + TAG_BYTES, &len) != PSA_SUCCESS)
        return MG_E_SYSTEM;
    mg_buf_grew(out, NONCE_BYTES + len);
    return MG_OK;
}

mg_err mg_seal(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain, struct mg_buf *out)
{
    return plain.len > MG_LOCKED_BYTES ? MG_E_TOO_LARGE : mg_seal_text(key, place, plain, out);
}

/* PSA clears, copies and wipes as many bytes as the room it is given: it is given as many as there will be. */
static mg_err open_into(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view sealed, char *out, size_t *out_len)
{
    unsigned char bound[PLACE_BYTES];
    size_t bound_len = print_place(place, bound);
    const unsigned char *bytes = (const unsigned char *)sealed.ptr;
    if (!bound_len)
        return MG_E_DENIED;
    psa_status_t status = psa_aead_decrypt(key->id, PSA_ALG_GCM, bytes, NONCE_BYTES, bound, bound_len, bytes + NONCE_BYTES,
                                           sealed.len - NONCE_BYTES, (unsigned char *)out, sealed.len - MG_SEAL_EXTRA_BYTES,
                                           out_len);
    if (status == PSA_ERROR_INVALID_SIGNATURE)
        return MG_E_DENIED;
    return status == PSA_SUCCESS ? MG_OK : MG_E_SYSTEM;
}

mg_err mg_unseal(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view sealed, struct mg_locked *out)
{
    size_t len = 0;
    if (sealed.len < MG_SEAL_EXTRA_BYTES)
        return MG_E_DENIED;
    if (sealed.len - MG_SEAL_EXTRA_BYTES > out->max - out->len)
        return MG_E_TOO_LARGE;
    MG_TRY(open_into(key, place, sealed, out->ptr + out->len, &len));
    out->len += len;
    return MG_OK;
}

mg_err mg_unseal_text(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view sealed, struct mg_buf *out)
{
    size_t len = 0;
    if (sealed.len < MG_SEAL_EXTRA_BYTES)
        return MG_E_DENIED;
    MG_TRY(mg_buf_reserve(out, sealed.len - MG_SEAL_EXTRA_BYTES + 1));
    MG_TRY(open_into(key, place, sealed, mg_buf_tail(out), &len));
    mg_buf_grew(out, len);
    return MG_OK;
}

uint32_t mg_seal_bucket(mg_view text)
{
    static const unsigned char zeros[16];
    unsigned char hash[crypto_shorthash_BYTES], key[crypto_shorthash_KEYBYTES];
    uint32_t number;
    pthread_once(&once, start);
    memcpy(key, print_key, MG_MIN(sizeof key, sizeof print_key));
    crypto_shorthash(hash, text.len ? (const unsigned char *)text.ptr : zeros, text.len, key);
    memcpy(&number, hash, sizeof number);
    return number;
}

/* ---- one version of one secret */

static uint32_t print_of_word(uint64_t word)
{
    word = (word ^ print_key[0]) * print_key[1];
    return (uint32_t)((word ^ word >> 29) * 0x9e3779b97f4a7c15u >> 32);
}

static uint32_t print_of(const char *eight)
{
    uint64_t word;
    memcpy(&word, eight, sizeof word);
    return print_of_word(word);
}

/* How rare a byte is in JSON and headers. */
static int rarity(char byte)
{
    static const char common[] = "\" e,:taoinsr0{}12lhcdu.mpf-g5y4w3_b8697v/kSATICxPREDNLMOBFGUqHWjzVKYJXQZ";
    const char *found = byte ? strchr(common, byte) : NULL;
    return found ? (int)(found - common) : (int)sizeof common;
}

static unsigned char rarest(const char *eight)
{
    int best = 0;
    for (int i = 1; i < TELLING_BYTES; i++)
        if (rarity(eight[i]) > rarity(eight[best]))
            best = i;
    return (unsigned char)best;
}

/* Of the characters that its own bytes alone decide. */
static size_t put_base64(mg_view plain, size_t shift, char *out, size_t max)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t first = (shift * 8 + 5) / 6, end = (shift + plain.len) * 8 / 6, len = 0;
    for (size_t at = first; at < end && len < max; at++) {
        size_t bit = at * 6 - shift * 8, byte = bit / 8;
        unsigned two = (unsigned)(unsigned char)plain.ptr[byte] << 8;
        if (byte + 1 < plain.len)
            two |= (unsigned char)plain.ptr[byte + 1];
        out[len++] = digits[two >> (10 - bit % 8) & 63];
    }
    return len;
}

static size_t put_escaped(mg_view plain, char *out, size_t max)
{
    size_t len = 0;
    for (size_t i = 0; i < plain.len && len + 2 <= max; i++) {
        if (strchr("/\"\\", plain.ptr[i]))
            out[len++] = '\\';
        out[len++] = plain.ptr[i];
    }
    return len;
}

static bool is_alnum(char c)
{
    char low = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z');
}

static size_t put_percent(mg_view plain, char *out, size_t max)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < plain.len && len + 3 <= max; i++) {
        unsigned char c = (unsigned char)plain.ptr[i];
        bool stays = is_alnum((char)c) || strchr("-._~", c);
        if (!stays)
            out[len++] = '%';
        if (!stays)
            out[len++] = hex[c >> 4];
        out[len++] = stays ? (char)c : hex[c & 15];
    }
    return len;
}

/* Its beginning, when there is no room for all. */
static size_t put_form(mg_view plain, enum form form, char *out, size_t max)
{
    switch (form) {
    case ESCAPED: return put_escaped(plain, out, max);
    case PERCENT: return put_percent(plain, out, max);
    case PLAIN:
        memcpy(out, plain.ptr, MG_MIN(plain.len, max));
        return MG_MIN(plain.len, max);
    default: return put_base64(plain, (size_t)(form - BASE64), out, max);
    }
}

/* Forms that are no other than the plain one need not be looked for. */
static void note_telltales(struct mg_sealed *sealed, mg_view plain)
{
    char begin[TELLING_BYTES + 2];
    sealed->plain_len = plain.len;
    bool slashed = false, coded = false;
    for (size_t i = 0; i < plain.len; i++) {
        slashed |= strchr("/\"\\", plain.ptr[i]) != NULL;
        coded |= !strchr("-._~", plain.ptr[i]) && !is_alnum(plain.ptr[i]);
    }
    for (int form = PLAIN; form < FORMS; form++) {
        bool other = form == ESCAPED ? slashed : form != PERCENT || coded;
        if (plain.len < TELLING_BYTES || !other || put_form(plain, (enum form)form, begin, sizeof begin) < TELLING_BYTES)
            continue;
        unsigned char at = rarest(begin);
        sealed->telltales[form] = (struct telltale){(unsigned char)begin[at], at, print_of(begin)};
        sealed->forms |= (uint8_t)(1u << form);
    }
    mg_wipe(begin, sizeof begin);
}

static mg_view keep(mg_view text)
{
    return text.len ? mg_view_of(mg_strndup(text.ptr, text.len), text.len) : MG_VIEW_NONE;
}

static struct mg_sealed *sealed_alloc(struct mg_seal_key *key, const struct mg_seal_place *place)
{
    struct mg_sealed *sealed = mg_new(struct mg_sealed);
    atomic_init(&sealed->refs, 1);
    sealed->key = mg_seal_key_ref(key);
    sealed->place = (struct mg_seal_place){keep(place->project), keep(place->name), place->version};
    mg_buf_init(&sealed->bytes, MG_LOCKED_BYTES + MG_SEAL_EXTRA_BYTES);
    return sealed;
}

static mg_err finish(struct mg_sealed *sealed, mg_err err, struct mg_sealed **out_sealed)
{
    if (err == MG_OK)
        *out_sealed = sealed;
    else
        mg_sealed_unref(sealed);
    return err;
}

mg_err mg_sealed_new(struct mg_seal_key *key, const struct mg_seal_place *place, mg_view bytes, struct mg_sealed **out_sealed)
{
    struct mg_sealed *sealed = sealed_alloc(key, place);
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_buf_put(&sealed->bytes, bytes);
    if (err == MG_OK)
        err = mg_unseal(key, place, bytes, plain);
    if (err == MG_OK)
        note_telltales(sealed, mg_view_of(plain->ptr, plain->len));
    mg_locked_give(plain);
    return finish(sealed, err, out_sealed);
}

mg_err mg_sealed_from(struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain, struct mg_sealed **out_sealed)
{
    struct mg_sealed *sealed = sealed_alloc(key, place);
    note_telltales(sealed, plain);
    return finish(sealed, mg_seal(key, place, plain, &sealed->bytes), out_sealed);
}

struct mg_sealed *mg_sealed_ref(struct mg_sealed *sealed)
{
    if (sealed)
        atomic_fetch_add_explicit(&sealed->refs, 1, memory_order_relaxed);
    return sealed;
}

void mg_sealed_unref(struct mg_sealed *sealed)
{
    if (!sealed || atomic_fetch_sub(&sealed->refs, 1) > 1)
        return;
    mg_seal_key_unref(sealed->key);
    mg_free((char *)(uintptr_t)sealed->place.project.ptr);
    mg_free((char *)(uintptr_t)sealed->place.name.ptr);
    mg_buf_fini(&sealed->bytes);
    mg_free(sealed);
}

mg_view mg_sealed_bytes(const struct mg_sealed *sealed)
{
    return mg_buf_view(&sealed->bytes);
}

uint64_t mg_sealed_version(const struct mg_sealed *sealed)
{
    return sealed->place.version;
}

/* As mg_unseal(), with the key's schedule. */
static mg_err open_quickly(const struct mg_sealed *sealed, struct mg_locked *out)
{
    unsigned char bound[PLACE_BYTES];
    size_t bound_len = print_place(&sealed->place, bound);
    mg_view bytes = mg_buf_view(&sealed->bytes);
    const unsigned char *nonce = (const unsigned char *)bytes.ptr;
    unsigned long long len = 0;
    if (!bound_len || bytes.len < MG_SEAL_EXTRA_BYTES)
        return MG_E_DENIED;
    if (bytes.len - MG_SEAL_EXTRA_BYTES > out->max - out->len)
        return MG_E_TOO_LARGE;
    if (crypto_aead_aes256gcm_decrypt_afternm((unsigned char *)out->ptr + out->len, &len, NULL, nonce + NONCE_BYTES,
                                              bytes.len - NONCE_BYTES, bound, bound_len, nonce, &sealed->key->schedule) != 0)
        return MG_E_DENIED;
    out->len += (size_t)len;
    return MG_OK;
}

mg_err mg_sealed_open(const struct mg_sealed *sealed, struct mg_locked *out)
{
    return sealed->key->scheduled ? open_quickly(sealed, out)
                                  : mg_unseal(sealed->key, &sealed->place, mg_buf_view(&sealed->bytes), out);
}

/* The next place where eight bytes look like the form's first; NULL: none. */
static char *find_telltale(const struct mg_sealed *sealed, enum form form, char *at, const char *end)
{
    struct telltale telltale = sealed->telltales[form];
    while (end - at >= TELLING_BYTES) {
        char *rare = memchr(at + telltale.at, telltale.rare, (size_t)(end - at - TELLING_BYTES + 1));
        if (!rare)
            return NULL;
        at = rare - telltale.at;
        if (print_of(at) == telltale.print)
            return at;
        at++;
    }
    return NULL;
}

static bool star_out(const struct mg_sealed *sealed, enum form form, mg_view wanted, char *at, const char *end, bool cut)
{
    bool found = false;
    for (; (at = find_telltale(sealed, form, at, end)); at++) {
        mg_view here = mg_view_head(mg_view_of(at, (size_t)(end - at)), wanted.len);
        if (!mg_view_starts(wanted, here) || (here.len < wanted.len && !cut))
            continue;
        memset(at, '*', here.len);
        found = true;
    }
    return found;
}

/* What the form of the secret is stands behind it in the same page, and is wiped with it. */
static mg_view open_form(const struct mg_sealed *sealed, enum form form, struct mg_locked *page)
{
    if (mg_sealed_open(sealed, page) != MG_OK)
        return MG_VIEW_NONE;
    mg_view plain = mg_view_of(page->ptr, page->len);
    if (form == PLAIN)
        return plain;
    size_t len = put_form(plain, form, page->ptr + page->len, page->max - page->len);
    page->len += len;
    return mg_view_of(plain.ptr + plain.len, len);
}

static bool hide_form(const struct mg_sealed *sealed, enum form form, char *text, size_t len, bool cut)
{
    const char *end = text + len;
    char *at = sealed->forms >> form & 1 ? find_telltale(sealed, form, text, end) : NULL;
    if (!at)
        return false;
    struct mg_locked *page = mg_locked_take();
    mg_view wanted = open_form(sealed, form, page);
    bool found = wanted.len >= TELLING_BYTES && star_out(sealed, form, wanted, at, end, cut);
    mg_locked_give(page);
    return found;
}

bool mg_sealed_hide(const struct mg_sealed *sealed, char *text, size_t len, bool cut)
{
    return hide_form(sealed, PLAIN, text, len, cut);
}

bool mg_sealed_hide_all_forms(const struct mg_sealed *sealed, char *text, size_t len, bool cut)
{
    bool found = false;
    for (int form = PLAIN; form < FORMS; form++)
        found |= hide_form(sealed, (enum form)form, text, len, cut);
    return found;
}

/* ---- a text that comes in pieces */

/* How much of the piece goes on with what was found before. */
static size_t go_on(struct mg_sealed_trail *trail, mg_view plain, char *piece, size_t len)
{
    size_t i = 0;
    while (i < len && trail->matched < plain.len && piece[i] == plain.ptr[trail->matched]) {
        piece[i++] = '*';
        trail->matched++;
    }
    if (i < len || trail->matched == plain.len)
        *trail = (struct mg_sealed_trail){.matched = 0};
    return i;
}

/* Eight bytes as memory has them, one byte on. */
static uint64_t roll(uint64_t word, char byte)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word >> 8 | (uint64_t)(unsigned char)byte << 56
                                                     : word << 8 | (unsigned char)byte;
}

/* The place behind the secret's first eight bytes; len + 1: they do not end in this piece. */
static size_t find_begin(const struct mg_sealed *sealed, struct mg_sealed_trail *trail, const char *piece, size_t from, size_t len)
{
    uint64_t word;
    size_t at = from, count = trail->count;
    bool found = false;
    memcpy(&word, trail->last, sizeof word);
    while (at < len && !found) {
        word = roll(word, piece[at++]);
        found = ++count >= TELLING_BYTES && print_of_word(word) == sealed->telltales[PLAIN].print;
    }
    memcpy(trail->last, &word, sizeof word);
    trail->count = (uint8_t)MG_MIN(count, (size_t)TELLING_BYTES);
    return found ? at : len + 1;
}

static bool hide_piece(const struct mg_sealed *sealed, struct mg_sealed_trail *trail, mg_view plain, char *piece, size_t len)
{
    size_t at = trail->matched ? go_on(trail, plain, piece, len) : 0;
    bool found = at > 0;
    while ((at = find_begin(sealed, trail, piece, at, len)) <= len) {
        if (!mg_view_starts(plain, mg_view_of(trail->last, TELLING_BYTES)))
            continue;
        size_t back = MG_MIN(at, (size_t)TELLING_BYTES);
        memset(piece + at - back, '*', back);
        trail->matched = (uint16_t)TELLING_BYTES;
        at += go_on(trail, plain, piece + at, len - at);
        found = true;
    }
    return found;
}

bool mg_sealed_hide_next(const struct mg_sealed *sealed, struct mg_sealed_trail *trail, char *piece, size_t len)
{
    if (!(sealed->forms >> PLAIN & 1))
        return false;
    struct mg_sealed_trail ahead = *trail;
    if (!trail->matched && find_begin(sealed, &ahead, piece, 0, len) > len) {
        *trail = ahead;
        return false;
    }
    struct mg_locked *page = mg_locked_take();
    mg_view plain = open_form(sealed, PLAIN, page);
    bool found = plain.len && hide_piece(sealed, trail, plain, piece, len);
    mg_locked_give(page);
    return found;
}
