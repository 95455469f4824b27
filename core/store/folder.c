#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 10 };

void mg_folder_default(char out_path[MG_FOLDER_PATH_BYTES])
{
    const char *data = getenv("MOONGATE_DATA"), *state = getenv("XDG_STATE_HOME"),
               *home = getenv("HOME");
    if (data && *data)
        snprintf(out_path, MG_FOLDER_PATH_BYTES, "%s", data);
    else if (state && *state)
        snprintf(out_path, MG_FOLDER_PATH_BYTES, "%s/moongate", state);
    else
        snprintf(out_path, MG_FOLDER_PATH_BYTES, "%s/.local/state/moongate",
                 home && *home ? home : ".");
}

mg_err mg_folder_path(const char *data, const char *name, char out_path[MG_FOLDER_PATH_BYTES])
{
    int n = snprintf(out_path, MG_FOLDER_PATH_BYTES, "%s/%s", data, name);
    return n >= 0 && n < MG_FOLDER_PATH_BYTES ? MG_OK : MG_E_TOO_LARGE;
}

static mg_err make(const char *path, mode_t mode, struct mg_diag *diag)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return MG_OK;
    return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot create the folder: %s", strerror(errno));
}

mg_err mg_folder_create(const char *data, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    if (mg_folder_path(data, "journal", path) != MG_OK)
        return mg_diag_set(diag, MG_E_TOO_LARGE, data, 0,
                           "the path of the data folder is too long");
    size_t own = strlen(data);
    while (own > 1 && data[own - 1] == '/')
        own--;
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        MG_TRY(make(path, (size_t)(slash - path) < own ? 0755 : 0700, diag));
        *slash = '/';
    }
    return make(path, 0700, diag);
}

/* A command of the CLI holds the lock for an instant; a gateway that starts meanwhile waits for it.
 */
static bool take_lock(int fd)
{
    for (unsigned tries = LOCK_TRIES; tries > 0; tries--) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
    }
    return false;
}

mg_err mg_folder_lock(const char *data, int *out_lock, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    *out_lock = -1;
    if (mg_folder_path(data, "lock", path) != MG_OK)
        return mg_diag_set(diag, MG_E_TOO_LARGE, data, 0,
                           "the path of the data folder is too long");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return mg_diag_set(diag, errno == ENOENT ? MG_E_NOT_FOUND : MG_E_SYSTEM, path, 0,
                           "cannot open the lock: %s", strerror(errno));
    if (!take_lock(fd)) {
        close(fd);
        return mg_diag_set(diag, MG_E_BUSY, path, 0, "another gateway runs with this data folder");
    }
    *out_lock = fd;
    return MG_OK;
}

void mg_folder_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
