#include "gateway/watch.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

struct folder {
    struct mg_list link;
    uv_fs_event_t handle;
    struct mg_watch *watch; /* NULL once it is closing */
    char *path;             /* owned */
    dev_t device;           /* of what is watched: another one took its place when these differ */
    ino_t inode;
    bool wanted; /* during mg_watch_set() */
};

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct folder *folder = mg_container_of(handle, struct folder, handle);
    (void)events;
    (void)status; /* an error is a reason to look as well */
    if (folder->watch)
        folder->watch->cb(folder->watch->arg, name);
}

static void on_closed(uv_handle_t *handle)
{
    struct folder *folder = mg_container_of((uv_fs_event_t *)handle, struct folder, handle);
    mg_free(folder->path);
    mg_free(folder);
}

static void drop(struct folder *folder)
{
    mg_list_remove(&folder->link);
    folder->watch = NULL;
    uv_close((uv_handle_t *)&folder->handle, on_closed);
}

/* 1 when it is watched from now on. */
static int add(struct mg_watch *watch, const char *path, const struct stat *st)
{
    struct folder *folder = mg_new(struct folder);
    folder->watch = watch;
    folder->path = mg_strdup(path);
    folder->device = st->st_dev;
    folder->inode = st->st_ino;
    folder->wanted = true;
    (void)uv_fs_event_init(&watch->loop->uv, &folder->handle);
    mg_list_push_back(&watch->folders, &folder->link);
    if (uv_fs_event_start(&folder->handle, on_event, path, 0) == 0)
        return 1;
    watch->blind = true;
    return 0;
}

/* The folder itself or its nearest parent that exists. */
static bool nearest(const char *path, char out[PATH_MAX], struct stat *out_st)
{
    (void)snprintf(out, PATH_MAX, "%s", path);
    while (stat(out, out_st) != 0 || !S_ISDIR(out_st->st_mode)) {
        char *slash = strrchr(out, '/');
        if (!slash || strcmp(out, "/") == 0)
            return false;
        slash[slash == out ? 1 : 0] = '\0';
    }
    return true;
}

/* 1 when it is a new one. */
static int want(struct mg_watch *watch, const char *path)
{
    char here[PATH_MAX];
    struct stat st;
    if (!nearest(path, here, &st)) {
        watch->blind = true;
        return 0;
    }
    MG_LIST_EACH(link, next, &watch->folders)
    {
        struct folder *folder = mg_container_of(link, struct folder, link);
        if (folder->device == st.st_dev && folder->inode == st.st_ino &&
            strcmp(folder->path, here) == 0) {
            folder->wanted = true;
            return 0;
        }
    }
    return add(watch, here, &st);
}

void mg_watch_init(struct mg_watch *watch, struct mg_loop *loop, mg_watch_cb cb, void *arg)
{
    *watch = (struct mg_watch){.loop = loop, .cb = cb, .arg = arg};
    mg_list_init(&watch->folders);
}

int mg_watch_set(struct mg_watch *watch, const char *const *paths, int count)
{
    int added = 0;
    watch->blind = false;
    MG_LIST_EACH(link, next, &watch->folders)
    {
        struct folder *folder = mg_container_of(link, struct folder, link);
        folder->wanted = false;
        if (!uv_is_active((uv_handle_t *)&folder->handle))
            drop(folder); /* had no watch; it is tried again */
    }
    for (int i = 0; i < count; i++)
        added += want(watch, paths[i]);
    MG_LIST_EACH(link, next, &watch->folders)
    {
        struct folder *folder = mg_container_of(link, struct folder, link);
        if (!folder->wanted)
            drop(folder);
    }
    return added;
}

bool mg_watch_blind(const struct mg_watch *watch)
{
    return watch->blind;
}

void mg_watch_fini(struct mg_watch *watch)
{
    struct mg_list *link;
    while ((link = mg_list_pop_front(&watch->folders)))
        drop(mg_container_of(link, struct folder, link));
}
