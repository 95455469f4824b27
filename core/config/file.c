#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

static const char *read_open(int fd, struct mg_buf *text)
{
    char past;
    ssize_t n = 1;
    while (n > 0 && text->len < text->max) {
        size_t room = MG_MIN((size_t)4096, text->max - text->len);
        if (mg_buf_reserve(text, room) != MG_OK)
            return "there is no memory for it";
        n = read(fd, mg_buf_tail(text), room);
        mg_buf_grew(text, n > 0 ? (size_t)n : 0);
    }
    if (n > 0)
        n = read(fd, &past, 1) > 0 ? 1 : 0;
    return n < 0 ? strerror(errno) : n > 0 ? "the file is larger than 1 MB" : NULL;
}

const char *mg_config_file_read(const char *path, bool is_private, struct mg_buf *text,
                                uint64_t *io_hash)
{
    struct stat st = {0};
    const char *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        why = "expected a file, found something else";
    else if (is_private && (st.st_mode & 077) != 0)
        why = "others may read it; chmod 600 it";
    if (fd >= 0 && S_ISREG(st.st_mode)) { /* read even when refused: the hash needs it */
        const char *failed = read_open(fd, text);
        why = why ? why : failed;
    }
    if (fd >= 0)
        close(fd);
    uint64_t found = fd < 0 ? 1 : mg_hash(mg_buf_view(text)) ^ (st.st_mode & 0777);
    *io_hash = (*io_hash ^ mg_hash(mg_view_cstr(path))) * 0x9e3779b97f4a7c15u + found;
    return why;
}

uint64_t mg_config_files_hash(const char *const *files, int count)
{
    uint64_t hash = 0;
    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    for (int i = 0; i < count; i++) {
        (void)mg_config_file_read(files[i], false, &text, &hash);
        if (text.ptr)
            mg_wipe(text.ptr, text.cap);
        mg_buf_clear(&text);
    }
    mg_buf_fini(&text);
    return hash;
}
