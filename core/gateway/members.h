/* members.h - who may administer the running gateway: read at start, changed live, looked up by token.
 *
 * Any thread but a worker's; looking up does not wait for the store. */
#ifndef MG_GATEWAY_MEMBERS_H
#define MG_GATEWAY_MEMBERS_H

#include "store/recorder.h"
#include "tenant/members.h"
#include "vault/desk.h"

struct mg_members;

/* The desk is borrowed: changes and their entries in the audit log are one transaction. */
MG_MUST_USE mg_err mg_members_start(const char *data_dir, struct mg_recorder *recorder, struct mg_desk *desk,
                                    struct mg_members **out_members, struct mg_diag *diag);
void mg_members_stop(struct mg_members *members);             /* NULL is a no-op */

/* Whose token this is. False: nobody's, or it has expired. */
bool mg_members_identify(struct mg_members *members, mg_view token, struct mg_member *out_member);

/* A removed member's token is refused from the moment the call returns. */
MG_MUST_USE mg_err mg_members_add(struct mg_members *members, mg_view actor, struct mg_member *member,
                                  char out_text[MG_KEY_TEXT_BYTES], struct mg_diag *diag);
MG_MUST_USE mg_err mg_members_drop(struct mg_members *members, mg_view actor, const char *name, struct mg_diag *diag);
void mg_members_each(struct mg_members *members, void (*each)(void *arg, const struct mg_member *member), void *arg);

#endif
