/* members.h - people and machines that administer: who they are, and what their role lets them do where.
 *
 *                     owner   operator   viewer   secret-writer
 *     view              ✓        ✓          ✓                       logs, traces, usage, keys without their text, targets
 *     operate           ✓        ✓                                  keys, kill switches, resets
 *     set secrets       ✓                              ✓            nobody can read one
 *     own               ✓                                           members; of all projects: reload, audit, everything else
 *
 * A member belongs to one project or to all. It shows a token, `mga-` and 43 characters, of which the same keyed hash is
 * kept as of clients' keys. The unix socket needs no token: whoever may open it is the user who runs the gateway. */
#ifndef MG_TENANT_MEMBERS_H
#define MG_TENANT_MEMBERS_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/db.h"
#include "tenant/keyring.h"

enum mg_role { MG_ROLE_OWNER, MG_ROLE_OPERATOR, MG_ROLE_VIEWER, MG_ROLE_SECRET_WRITER, MG_ROLE_COUNT };

const char *mg_role_name(enum mg_role role);                  /* "owner" "operator" "viewer" "secret-writer" */
bool mg_role_find(mg_view name, enum mg_role *out_role);

enum mg_right { MG_RIGHT_OWN, MG_RIGHT_VIEW, MG_RIGHT_OPERATE, MG_RIGHT_SET_SECRETS };    /* 0 is the strictest */
bool mg_role_may(enum mg_role role, enum mg_right right);

enum { MG_MEMBER_NAME_BYTES = 72 };

struct mg_member {
    char name[MG_MEMBER_NAME_BYTES];
    enum mg_role role;
    char project[72];                  /* "": all */
    unsigned char hash[MG_KEY_HASH_BYTES];       /* of the token */
    uint64_t created_us, expires_us;   /* wall clock; expires 0: never */
};

/* Somebody who came to the admin plane: a member, or whoever a token of an identity provider names. */
struct mg_grant {
    enum mg_role role;
    char project[72];                  /* "": all */
};
struct mg_identity {
    char name[MG_MEMBER_NAME_BYTES];   /* for logs */
    struct mg_grant grants[MG_MAX_OIDC_ROLES];
    size_t grant_count;
};

void mg_identity_of(const struct mg_member *member, struct mg_identity *out_identity);

/* As whom it acts when it needs this right: one role, in one project or in all. `wanted` is the project it named; empty: none.
 *
 *     MG_OK              *out_as is what it acts as, confined to `wanted` when it named one
 *     MG_E_DENIED        it has no such right, or not there
 *     MG_E_BAD_REQUEST   it has it in several projects and must name one */
MG_MUST_USE mg_err mg_identity_act(const struct mg_identity *identity, enum mg_right right, mg_view wanted, struct mg_member *out_as);

/* ---- the store: for the recorder thread, or a CLI that holds the folder's lock ------------------------------- */

/* Makes the token and stores its hash: fills `hash` and created_us of *member. MG_E_EXISTS: the name is taken;
 * MG_E_TOO_LARGE past MG_MAX_MEMBERS. Wipe the text after showing it. */
MG_MUST_USE mg_err mg_members_create(struct mg_db *db, const struct mg_key_secret *secret, struct mg_member *member,
                                     char out_text[MG_KEY_TEXT_BYTES]);
MG_MUST_USE mg_err mg_members_remove(struct mg_db *db, const char *name);    /* MG_E_NOT_FOUND */
/* By name, in the arena. */
MG_MUST_USE mg_err mg_members_load(struct mg_db *db, struct mg_arena *arena, struct mg_member **out_members, size_t *out_count);

/* ---- JSON, for the admin API and the command line ------------------------------------------------------------ */

/* {"name", "role", "project"?, "expires_us"?}. False: *out_bad says what is wrong. */
struct mg_json;
bool mg_member_read(const struct mg_json *body, struct mg_member *out_member, const char **out_bad);
/* {"name", "role", "project", "created_us", "expires_us", "token"?}; text NULL leaves the token out. */
MG_MUST_USE mg_err mg_member_put_json(const struct mg_member *member, const char *text, struct mg_buf *out);

#endif
