/* audit.h - who did what: an append-only log in the store in which nothing can be changed unseen.
 *
 *     chain[n] = HMAC-SHA-256(key, chain[n-1] · n · time · actor · act · project · subject · detail)
 *     head     = HMAC-SHA-256(key, "head" · n · chain[n])                                  one row, of the newest entry
 *
 * The key is made from a data key that the master key wraps, so that whoever writes to the store without it cannot mend the
 * chain: an entry that was edited, added, taken out or moved breaks it, and one cut off at the end contradicts the head. Who
 * appends looks at the head first: where it does not fit, a number is left out for good and an entry `audit.broken` says so, so
 * that the next act does not cover what was done. A whole store put back from an older copy is consistent in itself; the
 * process that entered more notices, and so does comparing with a head that was kept elsewhere. */
#ifndef MG_VAULT_AUDIT_H
#define MG_VAULT_AUDIT_H

#include <stdint.h>

#include "store/db.h"
#include "vault/sealed.h"

enum { MG_AUDIT_CHAIN_BYTES = 32, MG_AUDIT_DETAIL_BYTES = 512 };

struct mg_audit_key;
struct mg_audit_key *mg_audit_key_new(const unsigned char bytes[MG_SEAL_KEY_BYTES]);
void mg_audit_key_free(struct mg_audit_key *key);             /* NULL is a no-op */

/* How far the log went once. */
struct mg_audit_mark {
    uint64_t seq;
    unsigned char head[MG_AUDIT_CHAIN_BYTES];
};
/* What a mark says is on the disk: the log never is shorter again as long as the key lives. Any thread. */
void mg_audit_confirm(struct mg_audit_key *key, const struct mg_audit_mark *mark);

struct mg_audit_entry {
    uint64_t seq;                      /* from 1; of an append: ignored */
    uint64_t at_us;                    /* wall clock; of an append: 0 is now */
    mg_view actor;                     /* an identity's name; "cli", "admin" */
    mg_view act;                       /* "secret.set" … */
    mg_view project;                   /* empty: none */
    mg_view subject;                   /* the name or id of what was acted on */
    mg_view detail;                    /* for people; never a secret; cut at MG_AUDIT_DETAIL_BYTES */
};

/* The first entry of a new log. `again`: there was one before whose key is gone, and that stays visible. `late`: in words, what
 * the store held already; empty: it is new. */
MG_MUST_USE mg_err mg_audit_begin(const struct mg_audit_key *key, struct mg_db *db, bool again, mg_view late);

/* When a log that was begun is opened: confirms where it ends, or says in the log of the process that it is broken. */
MG_MUST_USE mg_err mg_audit_open(struct mg_audit_key *key, struct mg_db *db);

/* In the caller's transaction, with the act itself: there is no act without its entry. out_mark may be NULL; it is to be
 * confirmed once the transaction is committed. */
MG_MUST_USE mg_err mg_audit_append(const struct mg_audit_key *key, struct mg_db *db, const struct mg_audit_entry *entry,
                                   struct mg_audit_mark *out_mark);

/* Entries with seq > after, oldest first, at most `limit`; the entry is borrowed until the callback returns. */
MG_MUST_USE mg_err mg_audit_each(struct mg_db *db, uint64_t after, size_t limit,
                                 void (*each)(void *arg, const struct mg_audit_entry *entry), void *arg);

struct mg_audit_report {
    uint64_t entries;                  /* that are there */
    uint64_t bad_seq;                  /* the first that is wrong or missing; 0: all is well */
    const char *what;                  /* what is wrong, for people; static */
    char head[2 * MG_AUDIT_CHAIN_BYTES + 1];     /* chain of the newest, in hexadecimal: keep it elsewhere */
    char late[MG_AUDIT_DETAIL_BYTES];  /* what the store held already when the log began; "": it was new, as it should be */
    bool kept_found;                   /* the head asked for is in the log */
};
/* kept: "seq:head" of an earlier report, or empty. MG_OK says that it was read, the report whether it is good. */
MG_MUST_USE mg_err mg_audit_verify(const struct mg_audit_key *key, struct mg_db *db, mg_view kept,
                                   struct mg_audit_report *out_report);

#endif
