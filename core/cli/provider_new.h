/* provider_new.h - `moongate provider new FILE`: a beginning of an adapter, and of the page it is tried with. */
#ifndef MG_CLI_PROVIDER_NEW_H
#define MG_CLI_PROVIDER_NEW_H

/* Writes "dir/mine.lua" and "dir/mine.md"; files that are there already are left alone. The exit code. */
int mg_provider_new(const char *file);

#endif
