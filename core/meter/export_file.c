#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "meter/export.h"

static mg_err failed(struct mg_diag *diag, const char *path, const char *what)
{
    return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot %s %s: %s", what, path, strerror(errno));
}

static bool write_all(int fd, mg_view bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR)
            return false;
        bytes = mg_view_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    return true;
}

/* A process that died in the middle of a line left half of it: what comes next begins on a line of its own. */
static bool ends_a_line(int fd, off_t size)
{
    char last = '\n';
    return size == 0 || pread(fd, &last, 1, size - 1) != 1 || last == '\n';
}

static mg_err append(int fd, const char *path, mg_view bytes, struct mg_diag *diag)
{
    struct stat before;
    if (fstat(fd, &before) != 0)
        return failed(diag, path, "look at");
    if (!S_ISREG(before.st_mode))      /* a reader who stops would hold us, and half a batch could not be taken back */
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "%s is no regular file", path);
    bool whole = ends_a_line(fd, before.st_size) || write_all(fd, MG_VIEW("\n"));
    if (whole && write_all(fd, bytes) && fdatasync(fd) == 0)
        return MG_OK;
    mg_err err = failed(diag, path, "write to");
    /* half a line would spoil the one that comes next */
    if (ftruncate(fd, before.st_size) != 0)
        return failed(diag, path, "cut half a batch off");
    return err;
}

static mg_err append_batch(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag)
{
    const char *path = arg;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return failed(diag, path, "open");
    mg_err err = append(fd, path, batch->events, diag);
    if (close(fd) != 0 && err == MG_OK)
        err = failed(diag, path, "close");
    return err;
}

static void free_path(void *path)
{
    mg_free(path);
}

struct mg_export_sink mg_export_to_file(const char *name, const char *path)
{
    char *kept = mg_strdup(path);
    return (struct mg_export_sink){.name = name, .to = kept, .arg = kept, .send = append_batch, .close = free_path};
}
