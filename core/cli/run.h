/* run.h - a whole gateway in this process: simulated providers, the gateway, the admin plane, in one call. What
 * `serve` and `demo` share. */
#ifndef MG_CLI_RUN_H
#define MG_CLI_RUN_H

#include "gateway/gateway.h"

/* What serves. The struct is valid during on_ready; the gateway may be asked from any thread until on_stopping returns. */
struct mg_serving {
    struct mg_gateway *gateway;
    const struct mg_config_gateway *config;
    int admin_port;                    /* 0: no admin plane over TCP */
};

struct mg_serve_options {
    const char *config_path;           /* gateway.lua, or the folder that holds one; NULL: ./gateway.lua when it is there,
                                          else no file at all */
    const char *data_dir;              /* instead of the configuration's; NULL: that one */
    int port;                          /* of the first listener instead of the configuration's; -1: that one */
    int admin_port;                    /* the same for the admin plane; -1: that one */
    /* Everything serves; called on the thread that runs, before it waits. mg_gateway_quit() ends it. NULL: not interested. */
    void (*on_ready)(void *arg, const struct mg_serving *serving);
    /* Nothing serves any more; what `serving` points to lives until this returns. NULL: not interested. */
    void (*on_stopping)(void *arg);
    void *arg;
};

/* Blocks until the gateway has stopped. On an error nothing is left running and diag says what to do. */
MG_MUST_USE mg_err mg_serve_run(const struct mg_serve_options *options, struct mg_diag *diag);

#endif
