/* tour.h - the part of `moongate demo` one watches: two chats through the gateway, the second while a provider fails,
 * why it went where it went, and what to try next. Blocking; any thread; talks to the gateway like any client. */
#ifndef MG_CLI_TOUR_H
#define MG_CLI_TOUR_H

#include <stdbool.h>

struct mg_tour {
    const char *dir;         /* the folder with the files, as a person would type it */
    const char *data_dir;    /* where the control socket is */
    const char *key;         /* a key of the demo's project */
    int port;                /* of the gateway on 127.0.0.1 */
    bool (*ending)(void *arg);         /* true once the gateway takes no more requests: the tour breaks off quietly */
    void *arg;
};

/* The exit code: MG_EXIT_FAILED when a chat was not answered. */
int mg_tour_run(const struct mg_tour *tour);

#endif
