/* locked.h - memory for plaintext secrets: not swapped (mlock), not in core dumps (MADV_DONTDUMP), wiped after use.
 *
 * Every thread has one page of scratch. What stands there is plaintext for the length of one call chain: whoever takes it
 * gives it back in the same function, so no callback and no other thread ever sees it. */
#ifndef MG_VAULT_LOCKED_H
#define MG_VAULT_LOCKED_H

#include <stddef.h>

#include "base/err.h"
#include "base/view.h"

enum { MG_LOCKED_BYTES = 32768 };

/* Text in locked memory. */
struct mg_locked {
    char *ptr;
    size_t len;
    size_t max;
};

/* This thread's page, empty. It must not be taken already. */
struct mg_locked *mg_locked_take(void);

/* Wipes what was written and gives the page back. */
void mg_locked_give(struct mg_locked *locked);

/* MG_E_TOO_LARGE when it does not fit; nothing is written then. */
MG_MUST_USE mg_err mg_locked_put(struct mg_locked *locked, mg_view bytes);

/* False when the system refused to lock the memory of some thread (RLIMIT_MEMLOCK): it may then be swapped out. */
bool mg_locked_works(void);

#endif
