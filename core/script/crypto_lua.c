#include "script/args.h"

#include "script/crypto.h"
#include "script/modules.h"
#include "script/secrets_lua.h"

/* A configuration file must say the same each time it is read, so it sees no random. */
enum {
    RANDOM = MG_LUA_ANYWHERE & ~MG_LUA_IN(load),
    RANDOM_BYTES = 1024,
    KEY_BYTES = 65536,                 /* hashed in one step */
    DATA_BYTES = 1048576,              /* of what is encoded or verified in one step */
    TEXT_BYTES = 4 * DATA_BYTES,
};

static int push_digest(lua_State *L, mg_err err, const char *what, const uint8_t *digest, size_t len)
{
    if (err == MG_E_NOT_FOUND)
        return luaL_error(L, "%s: algorithm must be sha256, sha384 or sha512", what);
    mg_lua_poll(L);
    mg_lua_check(L, err, what);
    lua_pushlstring(L, (const char *)digest, len);
    return 1;
}

/* For what is done in one step, so that a step is short. */
static mg_view data_argument(lua_State *L, int index, const char *what, int max_bytes)
{
    mg_view data = mg_lua_text(L, index, what);
    if (data.len > (size_t)max_bytes)
        luaL_error(L, "%s has more than %d bytes", what, max_bytes);
    return data;
}

static int crypto_sha256(lua_State *L)
{
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len = 0;
    mg_view data = mg_lua_text(L, 1, "moongate.crypto.sha256: data");
    mg_err err = mg_crypto_digest(MG_VIEW("sha256"), data, &mg_lua_of(L)->stop, digest, &len);
    return push_digest(L, err, "moongate.crypto.sha256", digest, len);
}

/* Nothing raises while the page is taken. */
static int hmac_by_secret(lua_State *L, const struct mg_lua_secret *key)
{
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len = 0;
    const char *what = "moongate.crypto.hmac";
    mg_view algorithm = mg_lua_text(L, 1, "moongate.crypto.hmac: algorithm"), data = mg_lua_text(L, 3, "moongate.crypto.hmac: data");
    const struct mg_secret handle = {.slot = mg_lua_secret_slot(L, key, what)};
    struct mg_sealed *sealed = mg_secret_get(&handle);
    if (!sealed)
        return mg_lua_fail(L, "secret", false, "%s: the vault has no secret %s of this project", what, key->name);
    struct mg_locked *page = mg_locked_take();
    mg_err err = mg_sealed_open(sealed, page);
    if (err == MG_OK)
        err = mg_crypto_hmac(algorithm, mg_view_of(page->ptr, page->len), data, &mg_lua_of(L)->stop, digest, &len);
    mg_locked_give(page);
    mg_sealed_unref(sealed);
    return push_digest(L, err, what, digest, len);
}

static int crypto_hmac(lua_State *L)
{
    if (mg_lua_to_secret(L, 2))
        return hmac_by_secret(L, mg_lua_to_secret(L, 2));
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len = 0;
    mg_view algorithm = mg_lua_text(L, 1, "moongate.crypto.hmac: algorithm");
    mg_view key = data_argument(L, 2, "moongate.crypto.hmac: key", KEY_BYTES);
    mg_view data = mg_lua_text(L, 3, "moongate.crypto.hmac: data");
    mg_err err = mg_crypto_hmac(algorithm, key, data, &mg_lua_of(L)->stop, digest, &len);
    return push_digest(L, err, "moongate.crypto.hmac", digest, len);
}

static int crypto_random(lua_State *L)
{
    char bytes[RANDOM_BYTES];
    size_t n = (size_t)mg_lua_integer(L, 1, "moongate.crypto.random: n", 1, RANDOM_BYTES);
    mg_crypto_random(bytes, n);
    lua_pushlstring(L, bytes, n);
    return 1;
}

static int crypto_uuid(lua_State *L)
{
    char text[MG_UUID_BYTES];
    mg_crypto_uuid(text);
    lua_pushstring(L, text);
    return 1;
}

static int crypto_equal(lua_State *L)
{
    mg_view a = mg_lua_text(L, 1, "moongate.crypto.equal: a"), b = mg_lua_text(L, 2, "moongate.crypto.equal: b");
    lua_pushboolean(L, mg_view_eq_ct(a, b));
    return 1;
}

static int crypto_ed25519_verify(lua_State *L)
{
    mg_view key = mg_lua_text(L, 1, "moongate.crypto.ed25519_verify: public_key");
    mg_view message = data_argument(L, 2, "moongate.crypto.ed25519_verify: message", DATA_BYTES);
    mg_view signature = mg_lua_text(L, 3, "moongate.crypto.ed25519_verify: signature");
    lua_pushboolean(L, mg_crypto_ed25519_verify(key, message, signature));
    mg_lua_poll(L);
    return 1;
}

static bool is_url(lua_State *L, const char *what)
{
    static const char *const names[] = {"url", NULL};
    if (lua_isnoneornil(L, 2))
        return false;
    mg_lua_table(L, 2, what);
    mg_lua_only(L, 2, what, names);
    return mg_lua_field_boolean(L, 2, "url", what, false);
}

static int push_result(lua_State *L, mg_err err, struct mg_buf *out, const char *what)
{
    if (err != MG_OK)
        mg_lua_scratch_end(out);
    mg_lua_poll(L);
    if (err == MG_E_BAD_REQUEST)
        return mg_lua_fail(L, "invalid", false, "%s: the text is not of that encoding", what);
    if (err != MG_OK)
        return mg_lua_fail_err(L, err, what);
    mg_lua_push_view(L, mg_buf_view(out));
    mg_lua_scratch_end(out);
    return 1;
}

static int crypto_base64(lua_State *L)
{
    mg_view data = data_argument(L, 1, "moongate.crypto.base64: data", DATA_BYTES);
    bool url = is_url(L, "moongate.crypto.base64: options");
    struct mg_buf *out = mg_lua_scratch(L, TEXT_BYTES);
    mg_err err = mg_crypto_base64(data, url, out);
    return push_result(L, err, out, "moongate.crypto.base64");
}

static int crypto_unbase64(lua_State *L)
{
    mg_view text = data_argument(L, 1, "moongate.crypto.unbase64: text", DATA_BYTES);
    bool url = is_url(L, "moongate.crypto.unbase64: options");
    struct mg_buf *out = mg_lua_scratch(L, TEXT_BYTES);
    mg_err err = mg_crypto_unbase64(text, url, out);
    return push_result(L, err, out, "moongate.crypto.unbase64");
}

static int crypto_hex(lua_State *L)
{
    mg_view data = data_argument(L, 1, "moongate.crypto.hex: data", DATA_BYTES);
    struct mg_buf *out = mg_lua_scratch(L, TEXT_BYTES);
    mg_err err = mg_crypto_hex(data, out);
    return push_result(L, err, out, "moongate.crypto.hex");
}

static int crypto_unhex(lua_State *L)
{
    mg_view text = data_argument(L, 1, "moongate.crypto.unhex: text", DATA_BYTES);
    struct mg_buf *out = mg_lua_scratch(L, TEXT_BYTES);
    mg_err err = mg_crypto_unhex(text, out);
    return push_result(L, err, out, "moongate.crypto.unhex");
}

static void crypto_open(lua_State *L)
{
    mg_lua_check(L, mg_crypto_init(), "moongate.crypto");
}

static const struct mg_lua_function functions[] = {
    {"sha256", crypto_sha256, MG_LUA_ANYWHERE, NULL, false},
    {"hmac", crypto_hmac, MG_LUA_ANYWHERE, NULL, false},
    {"random", crypto_random, RANDOM, NULL, false},
    {"uuid", crypto_uuid, RANDOM, NULL, false},
    {"base64", crypto_base64, MG_LUA_ANYWHERE, NULL, false},
    {"unbase64", crypto_unbase64, MG_LUA_ANYWHERE, NULL, false},
    {"hex", crypto_hex, MG_LUA_ANYWHERE, NULL, false},
    {"unhex", crypto_unhex, MG_LUA_ANYWHERE, NULL, false},
    {"equal", crypto_equal, MG_LUA_ANYWHERE, NULL, false},
    {"ed25519_verify", crypto_ed25519_verify, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_crypto = {"crypto", functions, crypto_open};
