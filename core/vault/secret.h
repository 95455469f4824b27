/* secret.h - how everything else names a secret: a handle that holds no plaintext.
 *
 * A handle may have a slot, which is a name of the vault: whatever version stands there when it is used is what it gives,
 * so that rotating needs no reload. And it may hold ciphertext of its own, from a file, the environment or a literal; the
 * slot goes first. Slots are process-wide, like the rows of relay/rows.h: they outlive generations and are never freed. Any
 * thread. */
#ifndef MG_VAULT_SECRET_H
#define MG_VAULT_SECRET_H

#include "base/arena.h"
#include "vault/sealed.h"

enum { MG_SECRET_NAME_BYTES = 72 };    /* with the NUL; projects and names of secrets are shorter */

#define MG_SECRETS_OF_GATEWAY "gateway"          /* the project of what gateway.lua names; no other has this name */

struct mg_secret_slot;

struct mg_secret {
    struct mg_secret_slot *slot;       /* borrowed; NULL: it has no name in the vault */
    struct mg_sealed *own;             /* one reference; NULL: it is only in the vault */
};

/* The version to use now, one reference; NULL: there is none. Counted as a use of the name. */
struct mg_sealed *mg_secret_get(const struct mg_secret *secret);
bool mg_secret_is_there(const struct mg_secret *secret);      /* it would give one */

/* A secret that is a JSON document may come with line ends between its tokens; they become blanks. `room` is empty, holds what is
 * changed, and is wiped by _fini; a text that needs nothing comes back as it is. */
void mg_secret_flatten(char *text, size_t len);
mg_view mg_secret_flat(mg_view plain, struct mg_buf *room);
void mg_secret_flat_fini(struct mg_buf *room);

/* Ciphertext as one line of printable text behind a byte that no literal can hold: what config/ hands through Lua. MG_E_BAD_REQUEST:
 * the plaintext is empty, too long or has control characters, but for the line ends of a JSON document. */
MG_MUST_USE mg_err mg_secret_print(mg_view project, mg_view name, mg_view plain, struct mg_buf *out);
/* The name alone, for a secret that only the vault has. */
MG_MUST_USE mg_err mg_secret_print_name(mg_view project, mg_view name, struct mg_buf *out);
bool mg_secret_is_printed(mg_view text);
/* Both kinds, and a literal, as a handle in the arena. */
MG_MUST_USE mg_err mg_secret_read(mg_view text, struct mg_arena *arena, const struct mg_secret **out_secret);

/* ---- the names of the vault */

/* Found or made; NULL when there are too many. A name is letters, digits, `_`, `-` and `.`, at most 71. */
struct mg_secret_slot *mg_secret_slot_of(mg_view project, mg_view name);
void mg_secret_slot_set(struct mg_secret_slot *slot, struct mg_sealed *sealed);      /* takes the reference; NULL: empty */
bool mg_secret_name_is_good(mg_view name);
bool mg_secret_known(mg_view project, mg_view name);          /* the slot is there and not empty */

/* Each slot that was used since the last call, with when and how often. */
struct mg_secret_use {
    const char *project, *name;
    uint64_t version;
    uint64_t last_used_us;             /* wall clock */
    uint64_t count;                    /* since the last call */
};
void mg_secret_each_used(void (*each)(void *arg, const struct mg_secret_use *use), void *arg);

/* Empties all slots: the vault was closed. */
void mg_secret_slots_clear(void);

/* ---- the environment */

/* The variable's value, sealed when it is first asked for; from then on its place in the process's environment, which
 * others can read in /proc, holds zeros. One reference; NULL: it is not set, or empty. A value set later takes its place. */
struct mg_sealed *mg_secret_from_env(const char *name);
bool mg_secret_env_is_set(const char *name);                  /* without importing it */

#endif
