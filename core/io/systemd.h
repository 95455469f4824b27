/* systemd.h - the two things systemd wants of a daemon, without its library: readiness and
 * inherited sockets. */
#ifndef MG_IO_SYSTEMD_H
#define MG_IO_SYSTEMD_H

#include "base/err.h"

/* Sends state ("READY=1", "STOPPING=1", "STATUS=…") to $NOTIFY_SOCKET. MG_OK when there is none;
 * MG_E_SYSTEM when it cannot be reached. Any thread. */
mg_err mg_sd_notify(const char *state);

/* Listening sockets handed to this very process ($LISTEN_PID, $LISTEN_FDS); 0 when there are none.
 */
int mg_sd_listen_count(void);

/* The index-th of them, made non-blocking and close-on-exec; -1 when index is out of range. */
int mg_sd_listen_fd(int index);

#endif
