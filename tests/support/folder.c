#include "folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/moongate-test-XXXXXX";
static pid_t owner;

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    return remove(path);
}

/* A forked child that exits is not the owner. */
static void remove_folder(void)
{
    if (owner == getpid())
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *check_folder(void)
{
    if (owner == 0) {
        if (!mkdtemp(folder))
            abort();
        owner = getpid();
        atexit(remove_folder);
    }
    return folder;
}

const char *check_fresh_path(const char *name)
{
    static char paths[256][96];
    static unsigned number;
    char *path = paths[number % 256];
    snprintf(path, sizeof paths[0], "%s/%u-%s", check_folder(), number, name);
    number++;
    return path;
}
