#include "vault/secret.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { MAX_SLOTS = 16384, MARK = 1 };

struct mg_secret_slot {
    struct mg_secret_slot *next;       /* of all */
    char project[MG_SECRET_NAME_BYTES], name[MG_SECRET_NAME_BYTES];
    pthread_mutex_t lock;              /* of current */
    struct mg_sealed *current;         /* one reference; NULL: empty */
    _Atomic uint64_t last_used_us, uses;
};

struct variable {
    struct variable *next;
    char *name;
    struct mg_sealed *value;
};

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map slots_by_name;
static struct mg_secret_slot *_Atomic all_slots;
static unsigned slot_count;

static pthread_mutex_t variables_lock = PTHREAD_MUTEX_INITIALIZER;
static struct variable *variables;

/* ---- slots ----------------------------------------------------------------------------------- */

bool mg_secret_name_is_good(mg_view name)
{
    bool good = name.len > 0 && name.len < MG_SECRET_NAME_BYTES;
    for (size_t i = 0; i < name.len && good; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        good = letter || (i > 0 && (c == '_' || c == '-' || c == '.'));
    }
    return good;
}

static struct mg_secret_slot *find_slot(mg_view project, mg_view name, bool make)
{
    char key[2 * MG_SECRET_NAME_BYTES];
    if (project.len >= MG_SECRET_NAME_BYTES || !mg_secret_name_is_good(name))
        return NULL;
    snprintf(key, sizeof key, "%.*s/%.*s", MG_FMT(project), MG_FMT(name));
    pthread_mutex_lock(&slots_lock);
    struct mg_secret_slot *slot = slot_count ? mg_map_get(&slots_by_name, mg_view_cstr(key)) : NULL;
    if (!slot && make && slot_count < MAX_SLOTS) {
        if (!slot_count++)
            mg_map_init(&slots_by_name);
        slot = mg_new(struct mg_secret_slot);
        snprintf(slot->project, sizeof slot->project, "%.*s", MG_FMT(project));
        snprintf(slot->name, sizeof slot->name, "%.*s", MG_FMT(name));
        pthread_mutex_init(&slot->lock, NULL);
        mg_map_put(&slots_by_name, mg_view_cstr(key), slot);
        slot->next = atomic_load(&all_slots);
        atomic_store(&all_slots, slot);
    }
    pthread_mutex_unlock(&slots_lock);
    return slot;
}

struct mg_secret_slot *mg_secret_slot_of(mg_view project, mg_view name)
{
    return find_slot(project, name, true);
}

void mg_secret_slot_set(struct mg_secret_slot *slot, struct mg_sealed *sealed)
{
    pthread_mutex_lock(&slot->lock);
    struct mg_sealed *before = slot->current;
    slot->current = sealed;
    pthread_mutex_unlock(&slot->lock);
    mg_sealed_unref(before);
}

static struct mg_sealed *current(struct mg_secret_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    struct mg_sealed *sealed = mg_sealed_ref(slot->current);
    pthread_mutex_unlock(&slot->lock);
    return sealed;
}

static bool is_filled(struct mg_secret_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    bool filled = slot->current != NULL;
    pthread_mutex_unlock(&slot->lock);
    return filled;
}

bool mg_secret_known(mg_view project, mg_view name)
{
    struct mg_secret_slot *slot = find_slot(project, name, false);
    return slot && is_filled(slot);
}

void mg_secret_each_used(void (*each)(void *arg, const struct mg_secret_use *use), void *arg)
{
    for (struct mg_secret_slot *slot = atomic_load(&all_slots); slot; slot = slot->next) {
        uint64_t count = atomic_exchange(&slot->uses, 0);
        struct mg_sealed *sealed = count ? current(slot) : NULL;
        if (!sealed)
            continue;
        each(arg, &(struct mg_secret_use){slot->project, slot->name, mg_sealed_version(sealed),
                                          atomic_load(&slot->last_used_us), count});
        mg_sealed_unref(sealed);
    }
}

void mg_secret_slots_clear(void)
{
    for (struct mg_secret_slot *slot = atomic_load(&all_slots); slot; slot = slot->next)
        mg_secret_slot_set(slot, NULL);
}

/* ---- handles --------------------------------------------------------------------------------- */

struct mg_sealed *mg_secret_get(const struct mg_secret *secret)
{
    struct mg_sealed *sealed = secret->slot ? current(secret->slot) : NULL;
    if (!sealed)
        return mg_sealed_ref(secret->own);
    atomic_fetch_add_explicit(&secret->slot->uses, 1, memory_order_relaxed);
    atomic_store_explicit(&secret->slot->last_used_us, mg_wall_us(), memory_order_relaxed);
    return sealed;
}

bool mg_secret_is_there(const struct mg_secret *secret)
{
    return secret->own || (secret->slot && is_filled(secret->slot));
}

static bool is_printable(mg_view plain)
{
    bool good = plain.len > 0 && plain.len <= MG_SECRET_BYTES;
    for (size_t i = 0; i < plain.len && good; i++)
        good = (unsigned char)plain.ptr[i] >= 32 && plain.ptr[i] != 127;
    return good;
}

/* Line ends of a JSON document stand between its tokens, where blanks say the same: the file of a service account is one
 * text that way. Whatever else has control characters is refused where secrets come in. */
static bool is_document(mg_view plain)
{
    return mg_view_starts(plain, MG_VIEW("{")) && mg_view_ends(mg_view_trim(plain), MG_VIEW("}"));
}

void mg_secret_flatten(char *text, size_t len)
{
    if (!is_document(mg_view_of(text, len)))
        return;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n' || text[i] == '\r' || text[i] == '\t')
            text[i] = ' ';
}

mg_view mg_secret_flat(mg_view plain, struct mg_buf *room)
{
    if (!is_document(plain) || !mg_view_has_controls(plain) || mg_buf_reserve(room, plain.len) != MG_OK)
        return plain;
    memcpy(mg_buf_tail(room), plain.ptr, plain.len);
    mg_buf_grew(room, plain.len);
    mg_secret_flatten(room->ptr, room->len);
    return mg_buf_view(room);
}

void mg_secret_flat_fini(struct mg_buf *room)
{
    if (room->ptr)
        mg_wipe(room->ptr, room->cap);
    mg_buf_fini(room);
}

mg_err mg_secret_print_name(mg_view project, mg_view name, struct mg_buf *out)
{
    return mg_buf_putf(out, "%c%.*s/%.*s/", MARK, MG_FMT(project), MG_FMT(name));
}

static mg_err put_hex(struct mg_buf *out, mg_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        MG_TRY(mg_buf_putf(out, "%02x", (unsigned char)bytes.ptr[i]));
    return MG_OK;
}

static mg_err print_flat(mg_view project, mg_view name, mg_view plain, struct mg_buf *out)
{
    if (!is_printable(plain))
        return MG_E_BAD_REQUEST;
    struct mg_seal_place place = {project, name, 0};
    struct mg_buf bytes;
    mg_buf_init(&bytes, MG_SECRET_BYTES + MG_SEAL_EXTRA_BYTES);
    mg_err err = mg_secret_print_name(project, name, out);
    if (err == MG_OK)
        err = mg_seal(mg_seal_key_process(), &place, plain, &bytes);
    if (err == MG_OK)
        err = put_hex(out, mg_buf_view(&bytes));
    mg_buf_fini(&bytes);
    return err;
}

mg_err mg_secret_print(mg_view project, mg_view name, mg_view plain, struct mg_buf *out)
{
    struct mg_buf room;
    mg_buf_init(&room, MG_SECRET_BYTES);
    mg_err err = print_flat(project, name, mg_secret_flat(plain, &room), out);
    mg_secret_flat_fini(&room);
    return err;
}

bool mg_secret_is_printed(mg_view text)
{
    return text.len > 0 && text.ptr[0] == MARK;
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static mg_err put_unhexed(struct mg_buf *out, mg_view hex)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        int high = nibble(hex.ptr[i]), low = nibble(hex.ptr[i + 1]);
        if (high < 0 || low < 0)
            return MG_E_BAD_REQUEST;
        MG_TRY(mg_buf_putc(out, (char)(high << 4 | low)));
    }
    return MG_OK;
}

static void forget(void *arg)
{
    struct mg_secret *secret = arg;
    mg_sealed_unref(secret->own);
}

static mg_err read_printed(mg_view text, struct mg_secret *secret)
{
    struct mg_buf bytes;
    mg_view rest = mg_view_skip(text, 1), project = mg_view_cut(&rest, '/'), name = mg_view_cut(&rest, '/');
    if (name.len)
        secret->slot = mg_secret_slot_of(project, name);
    if (!rest.len)
        return secret->slot ? MG_OK : MG_E_BAD_REQUEST;
    struct mg_seal_place place = {project, name, 0};
    mg_buf_init(&bytes, MG_SECRET_BYTES + MG_SEAL_EXTRA_BYTES);
    mg_err err = put_unhexed(&bytes, rest);
    if (err == MG_OK)
        err = mg_sealed_new(mg_seal_key_process(), &place, mg_buf_view(&bytes), &secret->own);
    mg_buf_fini(&bytes);
    return err;
}

mg_err mg_secret_read(mg_view text, struct mg_arena *arena, const struct mg_secret **out_secret)
{
    struct mg_secret *secret = mg_arena_new(arena, struct mg_secret);
    *secret = (struct mg_secret){.slot = NULL};
    mg_arena_cleanup(arena, forget, secret);
    if (mg_secret_is_printed(text))
        MG_TRY(read_printed(text, secret));
    else if (!is_printable(text))
        return MG_E_BAD_REQUEST;
    else
        MG_TRY(mg_sealed_from(mg_seal_key_process(), &(struct mg_seal_place){.version = 0}, text, &secret->own));
    *out_secret = secret;
    return MG_OK;
}

/* ---- the environment ------------------------------------------------------------------------- */

static struct variable *find_variable(const char *name)
{
    struct variable *variable = variables;
    while (variable && strcmp(variable->name, name) != 0)
        variable = variable->next;
    return variable;
}

static struct variable *import(struct variable *variable, const char *name, char *value)
{
    struct mg_sealed *sealed;
    size_t len = strlen(value);
    mg_secret_flatten(value, len);
    if (mg_sealed_from(mg_seal_key_process(), &(struct mg_seal_place){.name = mg_view_cstr(name)},
                       mg_view_of(value, len), &sealed) != MG_OK)
        return variable;
    mg_wipe(value, len);
    if (!variable) {
        variable = mg_new(struct variable);
        variable->name = mg_strdup(name);
        variable->next = variables;
        variables = variable;
    }
    mg_sealed_unref(variable->value);
    variable->value = sealed;
    return variable;
}

struct mg_sealed *mg_secret_from_env(const char *name)
{
    pthread_mutex_lock(&variables_lock);
    struct variable *variable = find_variable(name);
    char *value = getenv(name);
    if (value && *value)
        variable = import(variable, name, value);
    struct mg_sealed *sealed = variable ? mg_sealed_ref(variable->value) : NULL;
    pthread_mutex_unlock(&variables_lock);
    return sealed;
}

bool mg_secret_env_is_set(const char *name)
{
    const char *value = getenv(name);
    pthread_mutex_lock(&variables_lock);
    bool set = (value && *value) || find_variable(name);
    pthread_mutex_unlock(&variables_lock);
    return set;
}
