#include "base/embed.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file read from disk; kept for the life of the process because callers borrow it. */
struct disk_file {
    struct mg_embedded_file file;
    struct disk_file *next;
};

static struct disk_file *disk_files;
static char folder_prefix[32], folder_path[4096];         /* "": no folder stands in front of the files */
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct mg_embedded_file *find_built_in(const char *name);
static const struct mg_embedded_file *find_in_folder(const char *name);
static const struct mg_embedded_file *find_on_disk(const char *root, const char *name);
static const struct mg_embedded_file *read_kept(const char *path, const char *name);
static const struct mg_embedded_file *keep(const char *name, char *data, size_t size);
static void path_of(const char *root, const char *name, char *out, size_t size);
static char *read_all(const char *path, size_t *out_size);

const struct mg_embedded_file *mg_embedded_find(const char *name)
{
    const char *root = getenv("MOONGATE_LUA_DIR");
    const struct mg_embedded_file *file = find_in_folder(name);
    if (!file && root && *root)
        file = find_on_disk(root, name);
    return file ? file : find_built_in(name);
}

void mg_embedded_folder(const char *prefix, const char *folder)
{
    snprintf(folder_prefix, sizeof folder_prefix, "%s", folder ? prefix : "");
    snprintf(folder_path, sizeof folder_path, "%s", folder ? folder : "");
}

static void each_in_folder(const char *prefix, void (*call)(void *arg, const char *name), void *arg)
{
    DIR *folder = strcmp(prefix, folder_prefix) == 0 ? opendir(folder_path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char name[512];
        snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
        if (entry->d_name[0] != '.' && find_in_folder(name))
            call(arg, name);
    }
    if (folder)
        closedir(folder);
}

void mg_embedded_each_own(const char *prefix, const char *name, void (*call)(void *arg, const char *path), void *arg)
{
    char path[sizeof folder_path + 512];
    if (!*folder_path || strcmp(prefix, folder_prefix) != 0)
        return;
    snprintf(path, sizeof path, "%s/%s", folder_path, name);
    call(arg, path);
    DIR *folder = opendir(folder_path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || entry->d_name[0] == '.' || strcmp(entry->d_name + len - 4, ".lua") != 0 || strcmp(entry->d_name, name) == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder_path, entry->d_name);
        call(arg, path);
    }
    if (folder)
        closedir(folder);
}

void mg_embedded_each(const char *prefix, void (*call)(void *arg, const char *name), void *arg)
{
    each_in_folder(prefix, call, arg);
    for (size_t i = 0; i < mg_embedded_count; i++) {
        const char *name = mg_embedded_files[i].name;
        if (strncmp(name, prefix, strlen(prefix)) == 0 && !find_in_folder(name))
            call(arg, name);
    }
}

static const struct mg_embedded_file *find_in_folder(const char *name)
{
    char path[sizeof folder_path + 128];
    size_t len = strlen(folder_prefix);
    if (!len || strncmp(name, folder_prefix, len) != 0 || strchr(name + len, '/'))
        return NULL;
    snprintf(path, sizeof path, "%s/%s", folder_path, name + len);
    return read_kept(path, name);
}

static const struct mg_embedded_file *find_built_in(const char *name)
{
    for (size_t i = 0; i < mg_embedded_count; i++)
        if (strcmp(mg_embedded_files[i].name, name) == 0)
            return &mg_embedded_files[i];
    return NULL;
}

static const struct mg_embedded_file *find_on_disk(const char *root, const char *name)
{
    char path[4096];
    path_of(root, name, path, sizeof path);
    return read_kept(path, name);
}

static const struct mg_embedded_file *read_kept(const char *path, const char *name)
{
    size_t size = 0;
    char *data = read_all(path, &size);
    if (!data)
        return NULL;

    pthread_mutex_lock(&disk_lock);
    const struct mg_embedded_file *file = keep(name, data, size);
    pthread_mutex_unlock(&disk_lock);
    return file;
}

/* Takes `data`; gives back the kept file of this name and content, so that reading again costs
 * nothing. */
static const struct mg_embedded_file *keep(const char *name, char *data, size_t size)
{
    for (struct disk_file *it = disk_files; it; it = it->next) {
        if (strcmp(it->file.name, name) != 0 || it->file.size != size ||
            memcmp(it->file.data, data, size) != 0)
            continue;
        free(data);
        return &it->file;
    }

    struct disk_file *made = malloc(sizeof *made);
    char *own_name = strdup(name);
    if (!made || !own_name) {
        free(made);
        free(own_name);
        free(data);
        return NULL;
    }
    made->file = (struct mg_embedded_file){own_name, data, size};
    made->next = disk_files;
    disk_files = made;
    return &made->file;
}

static void path_of(const char *root, const char *name, char *out, size_t size)
{
    if (strncmp(name, "plugins/", 8) == 0 || strncmp(name, "config/", 7) == 0)
        snprintf(out, size, "%s/../%s", root, name);
    else if (strncmp(name, "demo/", 5) == 0)
        snprintf(out, size, "%s/../examples/%s", root, name);
    else
        snprintf(out, size, "%s/%s", root, name);
}

static char *read_all(const char *path, size_t *out_size)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return NULL;

    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    rewind(file);
    char *data = size >= 0 ? malloc((size_t)size + 1) : NULL;
    bool whole = data && fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    if (!whole) {
        free(data);
        return NULL;
    }
    data[size] = '\0';
    *out_size = (size_t)size;
    return data;
}
