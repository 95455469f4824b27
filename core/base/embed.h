/* embed.h - the files the binary carries: trusted Lua, plugins, the demo project, the reference
 * configuration.
 *
 * Names are relative to lua/ ("moongate/init.lua"); the others carry a prefix: "plugins/", "demo/"
 * (examples/demo), "config/". What is found lives as long as the process, and `data` ends with a
 * NUL that `size` does not count.
 *
 * mg_embedded_folder() puts a folder of the operator's in front of them for one kind of file. With MOONGATE_LUA_DIR set to the lua/ folder of a checkout, files are read from there (and from
 * its siblings for the prefixed names) at each call, so that an edit needs no build. */
#ifndef MG_BASE_EMBED_H
#define MG_BASE_EMBED_H

#include <stddef.h>

struct mg_embedded_file {
    const char *name;
    const char *data;
    size_t size;
};

/* The table made at build time, sorted by name within a prefix; not affected by MOONGATE_LUA_DIR.
 */
extern const struct mg_embedded_file mg_embedded_files[];
extern const size_t mg_embedded_count;

/* Files whose name begins with prefix are looked for in that folder first, under the rest of their name ("adapters/x.lua" is
 * x.lua there). One prefix per process; folder NULL: none any more. Before threads look for files. */
void mg_embedded_folder(const char *prefix, const char *folder);

/* Calls back once for the name of every file that begins with prefix: those of the folder above first. */
void mg_embedded_each(const char *prefix, void (*call)(void *arg, const char *name), void *arg);

/* The path of every file of the folder above for that prefix, and of `name` in it whether it is there or not: what a reader of
 * these files depends on. Nothing without such a folder. */
void mg_embedded_each_own(const char *prefix, const char *name, void (*call)(void *arg, const char *path), void *arg);

/* NULL when there is no such file. Safe from any thread. */
const struct mg_embedded_file *mg_embedded_find(const char *name);

#endif
