/* watch.h - tell when something in a set of folders changes.
 *
 * One inotify watch a folder (not what is below it). A folder that is gone or was replaced is
 * picked up again by the next mg_watch_set(); where the system gives no watch (its limit, a file
 * system without inotify) mg_watch_blind() says so and the owner looks by the clock. Loop thread
 * only. */
#ifndef MG_GATEWAY_WATCH_H
#define MG_GATEWAY_WATCH_H

#include "io/loop.h"

/* `name` is what changed in the folder, without its path; NULL when the system does not say. Never
 * from inside a call. */
typedef void (*mg_watch_cb)(void *arg, const char *name);

struct mg_watch {
    struct mg_loop *loop;
    mg_watch_cb cb;
    void *arg;
    struct mg_list folders; /* struct folder of watch.c; owned */
    bool blind;
};

void mg_watch_init(struct mg_watch *watch, struct mg_loop *loop, mg_watch_cb cb, void *arg);

/* Watches these folders (copied) and no others; of a missing one its nearest parent. How many were
 * not watched before. */
int mg_watch_set(struct mg_watch *watch, const char *const *paths, int count);
bool mg_watch_blind(const struct mg_watch *watch);

/* Closes all; the loop must turn once more before it ends. */
void mg_watch_fini(struct mg_watch *watch);

#endif
