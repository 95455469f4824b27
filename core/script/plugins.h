/* plugins.h - where the files of a plugin are: a folder beside the project's configuration, or in the binary.
 *
 * `use = "pii"` is looked for in <configuration>/plugins/pii first, then among the plugins that ship
 * with the binary, which "moongate/pii" names alone. Nothing else is reachable by name. */
#ifndef MG_SCRIPT_PLUGINS_H
#define MG_SCRIPT_PLUGINS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct mg_plugin_files {
    const char *name;                  /* of the folder: "pii" */
    const char *folder;                /* on disk; NULL: in the binary */
    const char *shown;                 /* for messages: "plugins/pii" */
};

/* MG_E_CONFIG with diag's file and line kept. The answer lives in the arena. base_dir: where the
 * project file is. */
MG_MUST_USE mg_err mg_plugin_find(const char *use, const char *base_dir, struct mg_arena *arena,
                                  const struct mg_plugin_files **out_files, struct mg_diag *diag);

/* The text of one file, in the arena. MG_E_NOT_FOUND, MG_E_TOO_LARGE. diag may be NULL. */
MG_MUST_USE mg_err mg_plugin_file(const struct mg_plugin_files *files, const char *file, struct mg_arena *arena,
                                  mg_view *out_text, struct mg_diag *diag);

/* The whole file into out (bounded by its maximum). Blocking: for builder threads. */
MG_MUST_USE mg_err mg_read_file(const char *path, struct mg_buf *out);

#endif
