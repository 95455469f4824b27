/* place.h - where a command finds its configuration and its data when nobody says. */
#ifndef MG_CLI_PLACE_H
#define MG_CLI_PLACE_H

#include "base/arena.h"
#include "store/folder.h"

/* The configuration file for `-c option`: the option itself when it ends in .lua, else gateway.lua in that folder; without
 * one ./gateway.lua when it or a projects/NAME.lua is there, else NULL. The file itself may be missing: then its defaults
 * hold. Lives in the arena or is the option. */
const char *mg_place_config(const char *option, struct mg_arena *arena);

/* The data folder: `data` when given, else what the configuration says (mg_place_config(config)). */
MG_MUST_USE mg_err mg_place_data(const char *data, const char *config, char out_path[MG_FOLDER_PATH_BYTES],
                                 struct mg_diag *diag);

/* Makes all folders on the way to the file `path`, which is written to and left as it was. */
MG_MUST_USE mg_err mg_place_make_folders(char *path, struct mg_diag *diag);

#endif
