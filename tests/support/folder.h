/* folder.h - a folder for one test program, gone when it ends. */
#ifndef MG_TESTS_FOLDER_H
#define MG_TESTS_FOLDER_H

/* Made at the first call; the same answer from then on. */
const char *check_folder(void);

/* "folder/name" of a name that was not given out before; the text lives until the program ends. */
const char *check_fresh_path(const char *name);

#endif
