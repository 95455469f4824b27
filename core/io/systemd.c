#include "io/systemd.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/view.h"

enum { FIRST_FD = 3 };

mg_err mg_sd_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path)
        return MG_OK;
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path))
        return MG_E_SYSTEM;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract name space */

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return MG_E_SYSTEM;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    close(fd);
    return sent == (ssize_t)strlen(state) ? MG_OK : MG_E_SYSTEM;
}

int mg_sd_listen_count(void)
{
    uint64_t pid, count;
    const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    if (!pid_text || !count_text)
        return 0;
    if (!mg_view_u64(mg_view_cstr(pid_text), &pid) || pid != (uint64_t)getpid())
        return 0; /* meant for our parent */
    if (!mg_view_u64(mg_view_cstr(count_text), &count) || count > 64)
        return 0;
    return (int)count;
}

int mg_sd_listen_fd(int index)
{
    if (index < 0 || index >= mg_sd_listen_count())
        return -1;
    int fd = FIRST_FD + index;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    return fd;
}
