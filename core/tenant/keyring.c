/* The table is open addressing over the keys' own hashes: they are keyed with a secret, so nobody
 * outside can choose collisions. Slots hold index + 1 into `keys`; it is at most half full. */
#include "tenant/keyring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json.h"
#include "store/folder.h"
#include "tenant/key_spec.h"

enum { SECRET_BYTES = 32, KEY_DIGITS = 43, ID_DIGITS = 16 };

struct mg_keyring {
    atomic_uint refs;
    struct mg_key_secret secret;
    struct mg_key *keys; /* owned, with their metadata */
    size_t count;
    uint32_t *slots; /* owned */
    size_t mask;
};

static mg_err make_secret(const char *data_dir, const char *path, struct mg_diag *diag);
static mg_err read_secret(const char *path, struct mg_key_secret *out_secret, struct mg_diag *diag);
static mg_err fill_random(void *out, size_t size);
static void put_base62(const unsigned char *bytes, size_t size, char *out, size_t digits);

/* ---- hashing */

/* BLAKE2b with a key (RFC 7693): a sixth of the time of HMAC-SHA256 without hardware, and one pass. */
void mg_key_hash(const struct mg_key_secret *secret, mg_view text, unsigned char out_hash[MG_KEY_HASH_BYTES])
{
    int failed = crypto_generichash(out_hash, MG_KEY_HASH_BYTES, (const unsigned char *)text.ptr, text.len, secret->bytes,
                                    sizeof secret->bytes);
    assert(!failed);                   /* the sizes are ours */
    (void)failed;
}

/* ---- issuing */

mg_err mg_key_issue(const struct mg_key_secret *secret, const char *project, const char *name,
                    uint64_t expires_us, const char *metadata, char out_text[MG_KEY_TEXT_BYTES],
                    struct mg_key *out_key)
{
    unsigned char random[SECRET_BYTES], id[12];
    char digits[KEY_DIGITS + 1], id_digits[ID_DIGITS + 1];
    if (!*project || strlen(project) >= sizeof out_key->project ||
        strlen(name) >= sizeof out_key->name)
        return MG_E_TOO_LARGE;
    MG_TRY(fill_random(random, sizeof random));
    MG_TRY(fill_random(id, sizeof id));
    put_base62(random, sizeof random, digits, KEY_DIGITS);
    put_base62(id, sizeof id, id_digits, ID_DIGITS);

    *out_key =
        (struct mg_key){.created_us = mg_wall_us(), .expires_us = expires_us, .metadata = metadata};
    (void)snprintf(out_text, MG_KEY_TEXT_BYTES, "mg-%s-%s", project, digits);
    (void)snprintf(out_key->id, sizeof out_key->id, "key_%s", id_digits);
    (void)snprintf(out_key->project, sizeof out_key->project, "%s", project);
    (void)snprintf(out_key->name, sizeof out_key->name, "%s", name);

    mg_key_hash(secret, mg_view_cstr(out_text), out_key->hash);
    mg_wipe(random, sizeof random);
    mg_wipe(digits, sizeof digits);
    return MG_OK;
}

mg_err mg_key_issue_token(const struct mg_key_secret *secret, char out_text[MG_KEY_TEXT_BYTES],
                          unsigned char out_hash[MG_KEY_HASH_BYTES])
{
    unsigned char random[SECRET_BYTES];
    char digits[KEY_DIGITS + 1];
    MG_TRY(fill_random(random, sizeof random));
    put_base62(random, sizeof random, digits, KEY_DIGITS);
    (void)snprintf(out_text, MG_KEY_TEXT_BYTES, "mga-%s", digits);
    mg_key_hash(secret, mg_view_cstr(out_text), out_hash);
    mg_wipe(random, sizeof random);
    mg_wipe(digits, sizeof digits);
    return MG_OK;
}

static mg_err fill_random(void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = getrandom((char *)out + done, size - done, 0);
        if (n < 0 && errno != EINTR)
            return MG_E_SYSTEM;
        done += n > 0 ? (size_t)n : 0;
    }
    return MG_OK;
}

/* The bytes (at most 32) as one big number, most significant digit first. */
static void put_base62(const unsigned char *bytes, size_t size, char *out, size_t digits)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char number[SECRET_BYTES];
    memcpy(number, bytes, size);
    out[digits] = '\0';
    for (size_t at = digits; at-- > 0;) {
        unsigned rest = 0;
        for (size_t i = 0; i < size; i++) {
            unsigned value = rest << 8 | number[i];
            number[i] = (unsigned char)(value / 62);
            rest = value % 62;
        }
        out[at] = alphabet[rest];
    }
    mg_wipe(number, sizeof number);
}

/* ---- the snapshot */

static size_t slot_of(const struct mg_keyring *keyring, const unsigned char *hash)
{
    uint64_t head;
    memcpy(&head, hash, sizeof head);
    return (size_t)head & keyring->mask;
}

static void put_slot(struct mg_keyring *keyring, size_t index)
{
    size_t at = slot_of(keyring, keyring->keys[index].hash);
    while (keyring->slots[at])
        at = (at + 1) & keyring->mask;
    keyring->slots[at] = (uint32_t)index + 1;
}

/* A row that cannot be read allows nothing: it was written by somebody else. */
static const char *compile_allowed(const char *workflows)
{
    struct mg_json *list = NULL;
    struct mg_buf names;
    if (!workflows)
        return NULL;
    mg_buf_init(&names, MG_MAX_KEY_WORKFLOWS_BYTES);
    mg_err err = mg_json_parse(mg_view_cstr(workflows), MG_MAX_KEY_WORKFLOWS_BYTES, &list, NULL);
    for (const struct mg_json *item = mg_json_first(list); item && !err; item = mg_json_next(item))
        err = mg_buf_putf(&names, "\n%.*s\n", MG_FMT(mg_json_string(item)));
    const char *allowed = mg_strdup(err || !names.len ? "" : mg_buf_cstr(&names));
    mg_json_free(list);
    mg_buf_fini(&names);
    return allowed;
}

static const struct mg_limit_set *compile_limits(const char *limits)
{
    struct mg_json *json = NULL;
    const char *bad;
    if (!limits)
        return NULL;
    struct mg_limit_set *set = mg_new(struct mg_limit_set);
    if (mg_json_parse(mg_view_cstr(limits), MG_MAX_KEY_LIMITS_BYTES, &json, NULL) != MG_OK ||
        !mg_key_limits_read(json, set, &bad))
        *set = (struct mg_limit_set){.any = true, .requests_per_minute = 1, .burst = 1, .concurrency = 1};
    mg_json_free(json);
    return set;
}

/* by_id: the older keys. One whose predecessor is not known any more still counts as it did. */
static void find_origin(const struct mg_map *by_id, struct mg_key *key)
{
    const struct mg_key *before = *key->replaces ? mg_map_get(by_id, mg_view_cstr(key->replaces)) : NULL;
    memcpy(key->origin, before ? before->origin : *key->replaces ? key->replaces : key->id, sizeof key->origin);
}

static void find_origins(struct mg_keyring *keyring)
{
    struct mg_map by_id;
    mg_map_init(&by_id);
    for (size_t i = 0; i < keyring->count; i++) {
        struct mg_key *key = &keyring->keys[i];
        find_origin(&by_id, key);
        if (*key->replaces || *key->replaced_by)
            mg_map_put(&by_id, mg_view_cstr(key->id), key);
    }
    mg_map_fini(&by_id);
}

static void take_row(struct mg_key *to, const struct mg_key *from)
{
    *to = *from;
    to->metadata = mg_strdup(from->metadata);
    to->workflows = mg_strdup(from->workflows);
    to->limits = mg_strdup(from->limits);
    to->allowed = compile_allowed(from->workflows);
    to->limit_set = compile_limits(from->limits);
}

static void drop_row(struct mg_key *key)
{
    mg_free((char *)key->metadata);    /* our own copies */
    mg_free((char *)key->workflows);
    mg_free((char *)key->limits);
    mg_free((char *)key->allowed);
    mg_free((struct mg_limit_set *)key->limit_set);
}

bool mg_key_allows(const char *allowed, mg_view name)
{
    if (!allowed)
        return true;
    for (const char *at = allowed; *at == '\n';) {
        size_t len = strcspn(at + 1, "\n");
        if (mg_view_eq(mg_view_of(at + 1, len), name))
            return true;
        at += len + 2;
    }
    return false;
}

mg_err mg_keyring_new(const struct mg_key_secret *secret, const struct mg_key *keys, size_t count,
                      struct mg_keyring **out_keyring)
{
    if (count > MG_MAX_KEYS)
        return MG_E_TOO_LARGE;
    struct mg_keyring *keyring = mg_new(struct mg_keyring);
    size_t cap = 16;
    while (cap < count * 2)
        cap *= 2;
    atomic_init(&keyring->refs, 1);
    keyring->secret = *secret;
    keyring->mask = cap - 1;
    keyring->slots = mg_new_array(uint32_t, cap);
    keyring->keys = mg_new_array(struct mg_key, count + 1);
    keyring->count = count;
    for (size_t i = 0; i < count; i++) {
        take_row(&keyring->keys[i], &keys[i]);
        put_slot(keyring, i);
    }
    find_origins(keyring);
    *out_keyring = keyring;
    return MG_OK;
}

struct mg_keyring *mg_keyring_ref(struct mg_keyring *keyring)
{
    atomic_fetch_add_explicit(&keyring->refs, 1, memory_order_relaxed);
    return keyring;
}

void mg_keyring_unref(struct mg_keyring *keyring)
{
    if (!keyring || atomic_fetch_sub_explicit(&keyring->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < keyring->count; i++)
        drop_row(&keyring->keys[i]);
    mg_wipe(&keyring->secret, sizeof keyring->secret);
    mg_free(keyring->keys);
    mg_free(keyring->slots);
    mg_free(keyring);
}

size_t mg_keyring_count(const struct mg_keyring *keyring)
{
    return keyring->count;
}

const struct mg_key *mg_keyring_at(const struct mg_keyring *keyring, size_t index)
{
    assert(index < keyring->count);
    return &keyring->keys[index];
}

static const struct mg_key *lookup(const struct mg_keyring *keyring, const unsigned char *hash)
{
    mg_view wanted = {(const char *)hash, MG_KEY_HASH_BYTES};
    for (size_t at = slot_of(keyring, hash); keyring->slots[at]; at = (at + 1) & keyring->mask) {
        const struct mg_key *key = &keyring->keys[keyring->slots[at] - 1];
        if (mg_view_eq_ct(wanted, mg_view_of((const char *)key->hash, MG_KEY_HASH_BYTES)))
            return key;
    }
    return NULL;
}

const struct mg_key *mg_keyring_find(const struct mg_keyring *keyring, mg_view presented,
                                     uint64_t now_wall_us, const char **out_why)
{
    unsigned char hash[MG_KEY_HASH_BYTES];
    const struct mg_key *key = NULL;
    const char *why = NULL;
    if (presented.len > 0 && presented.len < MG_KEY_TEXT_BYTES) {
        mg_key_hash(&keyring->secret, presented, hash);
        key = lookup(keyring, hash);
    }
    if (!key)
        why = "unknown";
    else if (key->revoked_us)
        why = "revoked";
    else if (key->expires_us && now_wall_us >= key->expires_us)
        why = "expired";
    if (why && out_why)
        *out_why = why;
    return why ? NULL : key;
}

/* ---- the server's secret */

mg_err mg_key_secret_load(const char *data_dir, struct mg_key_secret *out_secret,
                          struct mg_diag *diag)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/key.secret", data_dir) >= (int)sizeof path)
        return mg_diag_set(diag, MG_E_CONFIG, data_dir, 0, "the path is too long");
    if (access(path, F_OK) != 0)
        MG_TRY(make_secret(data_dir, path, diag));
    return read_secret(path, out_secret, diag);
}

static mg_err write_secret(const char *path, const unsigned char *bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return MG_E_SYSTEM;
    bool written = write(fd, bytes, SECRET_BYTES) == SECRET_BYTES && fsync(fd) == 0;
    return close(fd) == 0 && written ? MG_OK : MG_E_SYSTEM;
}

/* Whole or not at all, and never over one that another process has just made: written aside, then
 * linked. */
static mg_err make_secret(const char *data_dir, const char *path, struct mg_diag *diag)
{
    unsigned char bytes[SECRET_BYTES];
    char aside[PATH_MAX + 32];
    MG_TRY(mg_folder_create(data_dir, diag));
    mg_err err = fill_random(bytes, sizeof bytes);
    (void)snprintf(aside, sizeof aside, "%s.%ld", path, (long)gettid());
    if (!err)
        err = write_secret(aside, bytes);
    if (!err && link(aside, path) != 0 && errno != EEXIST)
        err = MG_E_SYSTEM;
    if (err)
        (void)mg_diag_set(diag, err, path, 0, "cannot make the key secret: %s", strerror(errno));
    (void)unlink(aside);
    mg_wipe(bytes, sizeof bytes);
    return err;
}

static mg_err read_secret(const char *path, struct mg_key_secret *out_secret, struct mg_diag *diag)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        mg_err err = mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot read the key secret: %s",
                                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    struct mg_key_secret secret;
    ssize_t n = read(fd, secret.bytes, sizeof secret.bytes);
    close(fd);
    if ((st.st_mode & 077) != 0)
        return mg_diag_set(diag, MG_E_DENIED, path, 0,
                           "others may read the key secret: chmod 600 it, and renew the keys if "
                           "that was so for long");
    if (n != SECRET_BYTES || st.st_size != SECRET_BYTES)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0,
                           "expected %d bytes, found %lld; without the secret all keys are void",
                           SECRET_BYTES, (long long)st.st_size);
    *out_secret = secret;
    mg_wipe(&secret, sizeof secret);
    return MG_OK;
}
