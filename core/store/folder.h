/* folder.h - the data folder, and the lock that says whether a gateway runs in it.
 *
 *     <data>/lock                 held by the process that writes here
 *     <data>/moongate.db          the store
 *     <data>/requests/N.rows       older exchanges (meter/block.h)
 *     <data>/journal/worker-N.ring
 *     <data>/control.sock         the running gateway listens here for the CLI
 *     <data>/key.secret           keys the hashes of project keys
 *
 * The folder is 0700, files in it 0600. */
#ifndef MG_STORE_FOLDER_H
#define MG_STORE_FOLDER_H

#include "base/err.h"

enum { MG_FOLDER_PATH_BYTES = 1024 };

/* Where data goes when nobody says: $MOONGATE_DATA, $XDG_STATE_HOME/moongate or
 * ~/.local/state/moongate. */
void mg_folder_default(char out_path[MG_FOLDER_PATH_BYTES]);

/* Creates the folder, its parents and its journal folder where missing. */
MG_MUST_USE mg_err mg_folder_create(const char *data, struct mg_diag *diag);

/* "data/name" into out; MG_E_TOO_LARGE when it does not fit. */
MG_MUST_USE mg_err mg_folder_path(const char *data, const char *name, char out_path[MG_FOLDER_PATH_BYTES]);

/* MG_E_BUSY: another process still holds it after half a second, which is longer than a CLI command
 * needs it (*out_lock is then -1); MG_E_NOT_FOUND: no such folder. The lock goes with the
 * descriptor: a dead process holds none. */
MG_MUST_USE mg_err mg_folder_lock(const char *data, int *out_lock, struct mg_diag *diag);
void mg_folder_unlock(int lock);                             /* -1 is a no-op */

#endif
