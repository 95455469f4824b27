/* Master keys that this process holds itself: from a file of its own, or from the environment. */
#include <errno.h>
#include <fcntl.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/folder.h"
#include "vault/master.h"

enum { HEX_BYTES = 2 * MG_SEAL_KEY_BYTES, FINGERPRINT_BYTES = 8 };

struct local {
    struct mg_master master;
    struct mg_seal_key *key;
};

static mg_err wrap(struct mg_master *master, const unsigned char key[MG_SEAL_KEY_BYTES], mg_view project, struct mg_buf *out,
                   struct mg_diag *diag)
{
    struct local *local = mg_container_of(master, struct local, master);
    struct mg_seal_place place = {.project = project, .name = MG_VIEW("/data key")};
    mg_err err = mg_seal(local->key, &place, mg_view_of((const char *)key, MG_SEAL_KEY_BYTES), out);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "a data key cannot be wrapped: %s", mg_err_text(err));
}

static mg_err unwrap(struct mg_master *master, mg_view wrapped, mg_view project, unsigned char out_key[MG_SEAL_KEY_BYTES],
                     struct mg_diag *diag)
{
    struct local *local = mg_container_of(master, struct local, master);
    struct mg_seal_place place = {.project = project, .name = MG_VIEW("/data key")};
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_unseal(local->key, &place, wrapped, plain);
    if (err == MG_OK && plain->len != MG_SEAL_KEY_BYTES)
        err = MG_E_DENIED;
    if (err == MG_OK)
        memcpy(out_key, plain->ptr, MG_SEAL_KEY_BYTES);
    mg_locked_give(plain);
    return err == MG_OK ? MG_OK
                        : mg_diag_set(diag, err, NULL, 0, "the key of project '%.*s' does not open with the master key %s",
                                      MG_FMT(project), master->id);
}

static void free_local(struct mg_master *master)
{
    struct local *local = mg_container_of(master, struct local, master);
    mg_seal_key_unref(local->key);
    mg_free(local);
}

static const struct mg_master_ops ops = {.wrap = wrap, .unwrap = unwrap, .free = free_local};

/* A fingerprint tells keys apart and says nothing of them. */
static struct mg_master *new_local(const char *kind, const unsigned char key[MG_SEAL_KEY_BYTES])
{
    unsigned char hash[PSA_HASH_LENGTH(PSA_ALG_SHA_256)];
    char text[2 * FINGERPRINT_BYTES + 1];
    size_t len;
    struct local *local = mg_new(struct local);
    local->master.ops = &ops;
    local->key = mg_seal_key_new(key);
    if (psa_hash_compute(PSA_ALG_SHA_256, key, MG_SEAL_KEY_BYTES, hash, sizeof hash, &len) != PSA_SUCCESS)
        abort();
    for (int i = 0; i < FINGERPRINT_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    snprintf(local->master.id, sizeof local->master.id, "%s:%s", kind, text);
    return &local->master;
}

/* 64 hexadecimal digits. */
static bool read_hex(mg_view text, unsigned char out[MG_SEAL_KEY_BYTES])
{
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    if (text.len != HEX_BYTES)
        return false;
    for (size_t i = 0; i < HEX_BYTES; i++) {
        char c = text.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] << 4 | digit : digit);
    }
    return true;
}

/* ---- file ------------------------------------------------------------------------------------ */

static mg_err write_key(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? MG_OK : MG_E_SYSTEM;        /* another process was faster */
    bool written = write(fd, text, HEX_BYTES + 1) == HEX_BYTES + 1 && fsync(fd) == 0;
    int failed = errno;
    close(fd);
    if (written)
        return MG_OK;
    unlink(path);
    errno = failed;
    return MG_E_SYSTEM;
}

static mg_err make_key(const char *path, struct mg_diag *diag)
{
    unsigned char key[MG_SEAL_KEY_BYTES];
    char text[HEX_BYTES + 2];
    (void)mg_seal_key_process();       /* starts the library */
    if (psa_generate_random(key, sizeof key) != PSA_SUCCESS)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "there are no random numbers for a master key");
    for (int i = 0; i < MG_SEAL_KEY_BYTES; i++)
        snprintf(text + 2 * i, 4, "%02x\n", key[i]);
    mg_wipe(key, sizeof key);
    mg_err err = write_key(path, text);
    mg_wipe(text, sizeof text);
    if (err != MG_OK)
        return mg_diag_set(diag, err, path, 0, "the master key cannot be written: %s", strerror(errno));
    mg_log_warn("vault.master_created", "file=%s note=\"whoever has it and the store has every secret: move it to another "
                                        "disk (vault.master = { kind = 'file', path = … }) or use a key service, and keep a "
                                        "copy: without it the secrets are lost\"", path);
    return MG_OK;
}

static mg_err read_key(const char *path, unsigned char out[MG_SEAL_KEY_BYTES], struct mg_diag *diag)
{
    char text[HEX_BYTES + 2];
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        mg_err err = mg_diag_set(diag, errno == ENOENT ? MG_E_NOT_FOUND : MG_E_SYSTEM, path, 0,
                                 "the master key cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    bool good = len > 0 && read_hex(mg_view_of(text, (size_t)len), out);
    mg_wipe(text, sizeof text);
    if (info.st_mode & 077)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, "others may read the master key: chmod 600 it");
    return good ? MG_OK : mg_diag_set(diag, MG_E_CONFIG, path, 0, "expected a master key of 64 hexadecimal digits");
}

mg_err mg_master_file(const struct mg_master_spec *spec, const char *data_dir, bool may_create,
                      struct mg_master **out_master, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    unsigned char key[MG_SEAL_KEY_BYTES];
    mg_err err = MG_OK;
    if (!spec->path)
        MG_TRY(mg_folder_path(data_dir, "master.key", path));
    else
        snprintf(path, sizeof path, "%s", spec->path);
    if (may_create && access(path, F_OK) != 0)
        err = make_key(path, diag);
    if (err == MG_OK)
        err = read_key(path, key, diag);
    if (err == MG_OK)
        *out_master = new_local("file", key);
    mg_wipe(key, sizeof key);
    return err;
}

/* ---- environment ----------------------------------------------------------------------------- */

mg_err mg_master_env(const struct mg_master_spec *spec, struct mg_master **out_master, struct mg_diag *diag)
{
    const char *variable = spec->variable ? spec->variable : "MOONGATE_MASTER_KEY";
    struct mg_sealed *sealed = mg_secret_from_env(variable);
    if (!sealed)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "the environment variable %s, which holds the master key, is not set",
                           variable);
    unsigned char key[MG_SEAL_KEY_BYTES];
    struct mg_locked *plain = mg_locked_take();
    bool good = mg_sealed_open(sealed, plain) == MG_OK && read_hex(mg_view_of(plain->ptr, plain->len), key);
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
    if (good)
        *out_master = new_local("env", key);
    mg_wipe(key, sizeof key);
    return good ? MG_OK : mg_diag_set(diag, MG_E_CONFIG, NULL, 0,
                                      "%s: expected a master key of 64 hexadecimal digits", variable);
}
