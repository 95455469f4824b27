/* moongate demo: a folder with a small project, a gateway on it with simulated providers, and a
 * tour. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/embed.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "cli/run.h"
#include "cli/tour.h"
#include "io/resolve.h"

#define PREFIX "demo/"
#define PROJECT "demo"

enum { KEY_DAYS = 30, PATH_BYTES = 1024 };

struct demo {
    const char *dir;
    bool once;
    bool kept;                  /* the folder had files already */
    struct mg_gateway *gateway; /* borrowed while it runs */
    struct mg_tour tour;
    char key[MG_KEY_TEXT_BYTES];
    char data_dir[PATH_BYTES];
    uv_thread_t thread;
    bool has_thread;
    int exit_code;
};

static mg_err write_files(struct demo *demo, struct mg_diag *diag);
static mg_err write_file(struct demo *demo, const struct mg_embedded_file *file,
                         struct mg_diag *diag);
static int free_port(const char *host, int port);
static mg_err choose_ports(const char *dir, struct mg_serve_options *serve, struct mg_diag *diag);
static void on_ready(void *arg, const struct mg_serving *serving);
static void on_stopping(void *arg);
static mg_err make_key(struct demo *demo, struct mg_diag *diag);
static bool is_ending(void *arg);
static void run_tour(void *arg);

int mg_cli_demo(int argc, char **argv)
{
    struct demo demo = {.dir = "moongate-demo"};
    struct mg_serve_options serve = {.port = -1,
                                     .admin_port = -1,
                                     .on_ready = on_ready,
                                     .on_stopping = on_stopping,
                                     .arg = &demo};
    const struct mg_option options[] = {
        {"--dir", NULL, "DIR", MG_OPTION_TEXT, &demo.dir,
         "where the files go (moongate-demo); those that are there stay"},
        {"--port", "-p", "N", MG_OPTION_PORT, &serve.port,
         "port (8080, or a free one when that is taken)"},
        {"--once", NULL, NULL, MG_OPTION_FLAG, &demo.once, "end after the tour"},
    };
    struct mg_diag diag = {.line = 0};
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    serve.config_path = demo.dir;
    if (write_files(&demo, &diag) != MG_OK || choose_ports(demo.dir, &serve, &diag) != MG_OK ||
        mg_serve_run(&serve, &diag) != MG_OK)
        return mg_cli_failed("demo", &diag);
    return demo.exit_code;
}

/* Nothing that exists is overwritten. */
static mg_err write_files(struct demo *demo, struct mg_diag *diag)
{
    for (size_t i = 0; i < mg_embedded_count; i++) {
        if (!strncmp(mg_embedded_files[i].name, PREFIX, strlen(PREFIX)))
            MG_TRY(write_file(demo, &mg_embedded_files[i], diag));
    }
    return MG_OK;
}

static mg_err write_file(struct demo *demo, const struct mg_embedded_file *file,
                         struct mg_diag *diag)
{
    char path[PATH_BYTES];
    int len = snprintf(path, sizeof(path), "%s/%s", demo->dir, file->name + strlen(PREFIX));
    if (len < 0 || (size_t)len >= sizeof(path))
        return mg_diag_set(diag, MG_E_SYSTEM, demo->dir, 0, "this path is too long");
    MG_TRY(mg_place_make_folders(path, diag));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        demo->kept = true;
        return MG_OK;
    }
    mg_err err =
        fd >= 0 && write(fd, file->data, file->size) == (ssize_t)file->size ? MG_OK : MG_E_SYSTEM;
    if (err != MG_OK)
        mg_diag_set(diag, err, path, 0, "cannot be written: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}

/* A demo should not fail because something else listens already: what nobody asked for may move. */
static mg_err choose_ports(const char *dir, struct mg_serve_options *serve, struct mg_diag *diag)
{
    char path[PATH_BYTES];
    struct mg_config_gateway *config = NULL;
    snprintf(path, sizeof(path), "%s/gateway.lua", dir);
    MG_TRY(mg_config_load_gateway(path, &config, diag));
    if (serve->port < 0)
        serve->port = free_port(config->listen[0].host, config->listen[0].port);
    if (config->admin.host)
        serve->admin_port = free_port(config->admin.host, config->admin.port);
    mg_config_gateway_free(config);
    return MG_OK;
}

/* The port itself when it can be had, else 0. */
static int free_port(const char *host, int port)
{
    union mg_sockaddr address;
    if (!mg_resolve_literal(host, port, &address))
        return port;
    int on = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return port;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    socklen_t size = address.any.sa_family == AF_INET6 ? sizeof(address.v6) : sizeof(address.v4);
    bool taken = bind(fd, &address.any, size) != 0 && errno == EADDRINUSE;
    close(fd);
    return taken ? 0 : port;
}

static void on_ready(void *arg, const struct mg_serving *serving)
{
    struct demo *demo = arg;
    const struct mg_paint *paint = mg_cli_paint(stdout);
    struct mg_diag diag = {.line = 0};
    demo->gateway = serving->gateway;
    if (make_key(demo, &diag) != MG_OK) {
        demo->exit_code = mg_cli_failed("demo", &diag);
        mg_gateway_quit(serving->gateway);
        return;
    }
    snprintf(demo->data_dir, sizeof(demo->data_dir), "%s", serving->config->data_dir);
    demo->tour = (struct mg_tour){demo->dir, demo->data_dir,
                                  demo->key, mg_gateway_port(serving->gateway, 0),
                                  is_ending, demo};
    printf("%sMoongate%s %s\n\n", paint->bold, paint->off, MG_VERSION);
    printf("   gateway    http://127.0.0.1:%d/v1\n", demo->tour.port);
    if (serving->admin_port)
        printf("   metrics    http://127.0.0.1:%d/metrics\n", serving->admin_port);
    printf("   files      %s/%s\n", demo->dir, demo->kept ? " (as you left them)" : "");
    printf("   providers  primary and backup, simulated; primary fails every second call\n");
    fflush(stdout);
    demo->has_thread = uv_thread_create(&demo->thread, run_tour, demo) == 0;
}

static mg_err make_key(struct demo *demo, struct mg_diag *diag)
{
    const struct mg_keys_spec spec = {.project = PROJECT,
                                      .name = "demo",
                                      .expires_us = mg_wall_us() + KEY_DAYS * 86400ull * 1000000};
    struct mg_key key;
    return mg_gateway_key_create(demo->gateway, MG_VIEW("moongate"), &spec, demo->key, &key, diag);
}

/* The gateway lives until on_stopping() has waited for the tour. */
static bool is_ending(void *arg)
{
    const struct demo *demo = arg;
    return !mg_gateway_ready(demo->gateway);
}

static void run_tour(void *arg)
{
    struct demo *demo = arg;
    demo->exit_code = mg_tour_run(&demo->tour);
    if (demo->once)
        mg_gateway_quit(demo->gateway);
    else if (!is_ending(demo)) {
        printf("The gateway goes on serving. Ctrl-C ends it and leaves nothing but %s/.\n",
               demo->dir);
        fflush(stdout);
    }
}

static void on_stopping(void *arg)
{
    struct demo *demo = arg;
    if (demo->has_thread)
        uv_thread_join(&demo->thread);
    mg_wipe(demo->key, sizeof(demo->key));
}
