/* file.h - inside config/: read one of the files a configuration is made of, and remember what was
 * read. */
#ifndef MG_CONFIG_FILE_H
#define MG_CONFIG_FILE_H

#include "config/config.h"

/* Appends the file's bytes (at most LUA_SOURCE_BYTES). NULL, or why not in words. `is_private`
 * refuses a file that others may read. Either way *io_hash takes in the path and what was found
 * there. */
const char *mg_config_file_read(const char *path, bool is_private, struct mg_buf *text,
                                uint64_t *io_hash);

#endif
