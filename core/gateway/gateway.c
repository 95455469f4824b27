#include "gateway/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/known.h"
#include "gateway/budgets.h"
#include "gateway/client.h"
#include "gateway/exporting.h"
#include "gateway/keeper.h"
#include "gateway/keys.h"
#include "gateway/limiting.h"
#include "gateway/pricing.h"
#include "gateway/switches.h"
#include "gateway/targets.h"
#include "io/listen.h"
#include "io/systemd.h"
#include "io/tls.h"
#include "relay/token_source.h"
#include "meter/packer.h"
#include "store/folder.h"
#include "vault/desk.h"

enum { MAX_LISTENERS = 16, SECOND_MS = 1000, NOTE_USES_S = 10, TRIM_PEAK = 500, DRAIN_CHECK_MS = 20 };

struct listener {
    struct mg_gateway *gateway;
    const struct mg_config_listen *config;
    struct mg_listener socket;
    struct mg_tls_context *tls;        /* NULL: plain; swapped when the files change */
    struct timespec cert_mtime, key_mtime;
    bool open;
};

struct mg_gateway {
    struct mg_gateway_options options;
    const struct mg_config_gateway *config;
    int lock;                          /* of the data folder */
    struct mg_ledger *ledger;
    struct mg_recorder *recorder;
    struct mg_packer *packer;
    struct mg_metrics_hub *metrics;
    struct mg_worker *workers;
    unsigned worker_count;             /* started */
    struct mg_pricing pricing;
    bool models_bad;                   /* the imported catalogue does not read, and the log says so */
    struct mg_exporting exporting;
    struct mg_budgets budgets;         /* the builder's */
    struct mg_desk *desk;
    struct mg_keeper *keeper;
    unsigned seconds;                  /* that have passed */
    struct mg_keys *keys;
    struct mg_members *members;
    struct mg_signin *signin;          /* NULL: none */
    struct mg_builder *builder;
    struct mg_loop loop;               /* of the thread that runs */
    bool loop_open;
    struct listener listeners[MAX_LISTENERS];
    int listener_count;
    uv_signal_t signals[3];
    int signal_count;
    struct mg_timer second, drain_check;
    unsigned peak;                     /* exchanges in flight since memory was last given back */
    uint64_t drain_until_us;
    struct mg_post quit;
    atomic_bool serving;
    struct mg_dialects *dialects;      /* owned */
    bool script_ready;
};

/* ---- accepting ------------------------------------------------------------------------------- */

static unsigned load_of(const struct mg_worker *worker)
{
    return atomic_load_explicit(&worker->connections, memory_order_relaxed) +
           atomic_load_explicit(&worker->in_flight, memory_order_relaxed);
}

static struct mg_worker *least_loaded(struct mg_gateway *gateway)
{
    struct mg_worker *best = &gateway->workers[0];
    for (unsigned i = 1; i < gateway->worker_count; i++)
        if (load_of(&gateway->workers[i]) < load_of(best))
            best = &gateway->workers[i];
    return best;
}

static void on_fd(void *arg, int fd, const struct sockaddr *peer)
{
    (void)peer;
    struct listener *listener = arg;
    struct mg_worker *worker = least_loaded(listener->gateway);
    if (atomic_load_explicit(&worker->connections, memory_order_relaxed) >= listener->gateway->config->limits.connections) {
        mg_log_warn("accept.full", "connections=%u limits.connections=%llu", load_of(worker),
                    (unsigned long long)listener->gateway->config->limits.connections);
        close(fd);
        return;
    }
    mg_worker_take(worker, fd, listener->tls);
}

/* ---- once a second ---------------------------------------------------------------------------- */

static unsigned in_flight(const struct mg_gateway *gateway)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < gateway->worker_count; i++)
        sum += atomic_load_explicit(&gateway->workers[i].in_flight, memory_order_relaxed);
    return sum;
}

static struct timespec mtime_of(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 ? info.st_mtim : (struct timespec){0};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static mg_err load_certificate(struct listener *listener, struct mg_diag *diag)
{
    const struct mg_config_tls_server *files = &listener->config->tls;
    if (!files->cert)
        return MG_OK;
    struct mg_tls_server_options options = {
        .cert_file = files->cert, .key_file = files->key, .client_ca_file = files->client_ca};
    struct mg_tls_context *context;
    listener->cert_mtime = mtime_of(files->cert);
    listener->key_mtime = mtime_of(files->key);
    MG_TRY(mg_tls_server_new(&options, &context, diag));
    mg_tls_unref(listener->tls);
    listener->tls = context;
    return MG_OK;
}

/* New connections get the new certificate; a broken one is reported and the old one stays. */
static void check_certificate(struct listener *listener)
{
    const struct mg_config_tls_server *files = &listener->config->tls;
    struct mg_diag diag;
    char text[1024];
    if (!files->cert || (same_time(listener->cert_mtime, mtime_of(files->cert)) &&
                         same_time(listener->key_mtime, mtime_of(files->key))))
        return;
    if (load_certificate(listener, &diag) == MG_OK) {
        mg_log_info("certificate.reloaded", "file=%s", files->cert);
        return;
    }
    mg_diag_print(&diag, text, sizeof text);
    mg_log_error("certificate.refused", "%s; the old one stays", text);
}

/* After thousands of streams have ended, what they used goes back to the system. */
static void give_back_memory(struct mg_gateway *gateway)
{
    unsigned now = in_flight(gateway);
    gateway->peak = MG_MAX(gateway->peak, now);
    if (gateway->peak < TRIM_PEAK || now > gateway->peak / 8)
        return;
    gateway->peak = now;
    mg_mem_give_back();
}

/* Projects that are built from now on see what was imported. */
static void check_models(struct mg_gateway *gateway)
{
    struct mg_diag diag = {.line = 0};
    char text[1024];
    if (mg_models_use_folder(gateway->config->data_dir, &diag) == MG_OK) {
        gateway->models_bad = false;
        return;
    }
    mg_diag_print(&diag, text, sizeof text);
    if (!gateway->models_bad)
        mg_log_error("models.kept", "the imported catalogue does not read: %s", text);
    gateway->models_bad = true;
}

static void on_second(struct mg_timer *timer)
{
    struct mg_gateway *gateway = mg_container_of(timer, struct mg_gateway, second);
    for (int i = 0; i < gateway->listener_count; i++)
        check_certificate(&gateway->listeners[i]);
    mg_pricing_check(&gateway->pricing);
    check_models(gateway);
    give_back_memory(gateway);
    if (++gateway->seconds % NOTE_USES_S == 0)
        mg_desk_note_uses(gateway->desk);
    mg_timer_start(&gateway->loop, timer, SECOND_MS, on_second);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void on_drain_check(struct mg_timer *timer)
{
    struct mg_gateway *gateway = mg_container_of(timer, struct mg_gateway, drain_check);
    unsigned left = in_flight(gateway);
    bool late = mg_loop_now_us(&gateway->loop) >= gateway->drain_until_us;
    if (left > 0 && !late) {
        mg_timer_start(&gateway->loop, timer, DRAIN_CHECK_MS, on_drain_check);
        return;
    }
    if (left > 0)
        mg_log_warn("drain.cut", "in_flight=%u drain_ms=%d", left, gateway->config->drain_ms);
    mg_loop_stop(&gateway->loop);
}

static void close_listeners(struct mg_gateway *gateway)
{
    for (int i = 0; i < gateway->listener_count; i++) {
        if (gateway->listeners[i].open)
            mg_listen_stop(&gateway->listeners[i].socket, NULL);
        gateway->listeners[i].open = false;
    }
}

static void begin_drain(struct mg_gateway *gateway)
{
    if (!atomic_exchange(&gateway->serving, false)) {
        gateway->drain_until_us = 0;   /* asked twice: at once */
        mg_timer_start(&gateway->loop, &gateway->drain_check, 0, on_drain_check);
        return;
    }
    mg_log_info("drain.begun", "in_flight=%u drain_ms=%d", in_flight(gateway), gateway->config->drain_ms);
    (void)mg_sd_notify("STOPPING=1");
    close_listeners(gateway);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        mg_worker_drain(&gateway->workers[i]);
    gateway->drain_until_us = mg_loop_now_us(&gateway->loop) + (uint64_t)gateway->config->drain_ms * 1000;
    mg_timer_start(&gateway->loop, &gateway->drain_check, MG_DRAIN_GRACE_MS + DRAIN_CHECK_MS, on_drain_check);
}

static void on_quit(struct mg_post *post)
{
    begin_drain(mg_container_of(post, struct mg_gateway, quit));
}

void mg_gateway_quit(struct mg_gateway *gateway)
{
    gateway->quit.run = on_quit;
    mg_loop_post(&gateway->loop, &gateway->quit);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct mg_gateway *gateway = handle->data;
    if (number == SIGHUP)
        mg_builder_reload(gateway->builder);
    else
        begin_drain(gateway);
}

/* ---- builder's ops --------------------------------------------------------------------------- */

/* A store that cannot be read stops nobody, but its operator must hear of it. */
static void on_restore(void *arg, struct mg_generation *const *generations, size_t count)
{
    struct mg_gateway *gateway = arg;
    const struct mg_config_project **configs = mg_new_array(const struct mg_config_project *, count);
    for (size_t i = 0; i < count; i++)
        configs[i] = generations[i]->config;
    gateway->budgets.recorder = gateway->recorder;
    mg_err err = mg_budgets_restore(&gateway->budgets, configs, count, mg_mono_us(), mg_wall_us());
    for (size_t i = 0; i < count && err != MG_OK; i++)
        mg_log_error("budget.not_restored", "project=%s reason=\"%s\"; what was spent before is not counted", configs[i]->name,
                     mg_err_text(err));
    mg_free(configs);
}

static void log_end(void *arg, const char *workflow, const struct mg_config_target *target, const char *text)
{
    const struct mg_generation *generation = arg;
    mg_log_warn("model.retires", "project=%s workflow=%s target=%s %s", generation->config->name, workflow, target->id, text);
}

static mg_err on_route(void *arg, struct mg_generation *generation, struct mg_diag *diag)
{
    struct mg_gateway *gateway = arg;
    struct mg_routing_options options = {
        .gateway = gateway->config,
        .default_proxy = gateway->config->proxy,
        .sim_url = gateway->options.sim_url,
        .sim_arg = gateway->options.sim_arg,
    };
    struct mg_routing *routing;
    MG_TRY(mg_limiting_check(generation->config, mg_price_book_now(gateway->pricing.book), diag));
    MG_TRY(mg_routing_new(generation->config, &options, &routing, diag));
    generation->routing = routing;
    mg_config_ending(generation->config, mg_wall_us(), log_end, generation);
    generation->free_routing = mg_routing_free;
    return MG_OK;
}

static void on_install(void *arg, struct mg_generation *generation, struct mg_script **scripts)
{
    struct mg_gateway *gateway = arg;
    struct mg_wait_all wait;
    mg_wait_all_init(&wait, gateway->worker_count);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        mg_worker_install(&gateway->workers[i], mg_generation_ref(generation), scripts ? scripts[i] : NULL, &wait.ack);
    mg_wait_all(&wait);
    mg_generation_unref(generation);
}

static void on_remove(void *arg, uint32_t project)
{
    struct mg_gateway *gateway = arg;
    struct mg_wait_all wait;
    mg_wait_all_init(&wait, gateway->worker_count);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        mg_worker_remove(&gateway->workers[i], project, &wait.ack);
    mg_wait_all(&wait);
}

static void on_report(void *arg, const char *project, uint32_t number, bool ok, const struct mg_diag *diag)
{
    (void)diag;                        /* the builder logs it and keeps it for the status */
    struct mg_gateway *gateway = arg;
    mg_metrics_generation(gateway->metrics, mg_view_cstr(project), number, ok);
}

static const struct mg_builder_ops builder_ops = {
    .route = on_route, .install = on_install, .remove = on_remove, .report = on_report, .restore = on_restore};

/* ---- start ----------------------------------------------------------------------------------- */

static mg_err start_store(struct mg_gateway *gateway, struct mg_diag *diag)
{
    const struct mg_config_gateway *config = gateway->config;
    MG_TRY(mg_folder_create(config->data_dir, diag));
    MG_TRY(mg_folder_lock(config->data_dir, &gateway->lock, diag));
    gateway->ledger = mg_ledger_new();
    struct mg_recorder_options options = {
        .data = config->data_dir,
        .workers = (unsigned)config->workers,
        .journal_bytes = (size_t)config->journal_bytes,
        .sink = mg_ledger_sink(gateway->ledger),
    };
    MG_TRY(mg_recorder_start(&options, &gateway->recorder, diag));
    struct mg_retention retention = {(uint64_t)config->keep_days * 86400 * 1000000, config->keep_bytes};
    MG_TRY(mg_packer_start(config->data_dir, gateway->recorder, &retention, &gateway->packer, diag));
    gateway->metrics = mg_metrics_hub_new((unsigned)config->workers, gateway->recorder);
    MG_TRY(mg_models_use_folder(config->data_dir, diag));
    return mg_pricing_start(&gateway->pricing, config->data_dir, diag);
}

static mg_err write_store(void *arg, mg_write_fn fn, void *fn_arg)
{
    struct mg_gateway *gateway = arg;
    return mg_recorder_write_wait(gateway->recorder, fn, fn_arg);
}

static void post_to_store(void *arg, mg_write_fn fn, mg_write_done done, void *fn_arg)
{
    struct mg_gateway *gateway = arg;
    mg_recorder_write(gateway->recorder, fn, done, fn_arg);
}

/* Keys of shared accounts were not looked for when gateway.lua was read. */
static mg_err check_accounts(const struct mg_config_gateway *config, const char *file, struct mg_diag *diag)
{
    for (int a = 0; a < config->account_count; a++)
        for (int i = 0; i < config->accounts[a].credential_count; i++)
            if (!mg_secret_is_there(config->accounts[a].credentials[i].secret))
                return mg_diag_set(diag, MG_E_CONFIG, file, 0,
                                   "accounts.%s: the secret of its key %s is neither in the vault nor a file of "
                                   "secrets/gateway: moongate secret set --project gateway NAME",
                                   config->accounts[a].name, config->accounts[a].credentials[i].name);
    return MG_OK;
}

static mg_err start_vault(struct mg_gateway *gateway, struct mg_diag *diag)
{
    const struct mg_config_gateway *config = gateway->config;
    struct mg_desk_options options = {
        .vault = {.data_dir = config->data_dir, .master = &config->vault_master, .previous = &config->vault_previous},
        .write = write_store,
        .post = post_to_store,
        .arg = gateway,
        .audit_uses = config->vault_audit_uses,
    };
    MG_TRY(mg_desk_open(&options, &gateway->desk, diag));
    struct mg_keeper_options keeper = {.data_dir = config->data_dir, .recorder = gateway->recorder, .desk = gateway->desk};
    MG_TRY(mg_keeper_start(&keeper, &gateway->keeper, diag));
    return check_accounts(config, gateway->options.config_path, diag);
}

static void on_tainted(void *arg, uint32_t project)
{
    struct mg_gateway *gateway = arg;
    if (gateway->builder)
        mg_builder_rebuild(gateway->builder, project);
}

static mg_err start_workers(struct mg_gateway *gateway, struct mg_diag *diag)
{
    unsigned count = (unsigned)gateway->config->workers;
    MG_TRY(mg_script_init(diag));
    gateway->script_ready = true;
    MG_TRY(mg_dialects_new(&gateway->dialects, diag));
    gateway->workers = mg_new_array(struct mg_worker, count);
    for (unsigned i = 0; i < count; i++) {
        MG_TRY(mg_worker_start(&gateway->workers[i], i, gateway->config, mg_recorder_journal(gateway->recorder, i),
                               mg_metrics_worker(gateway->metrics, i), diag));
        gateway->workers[i].prices = gateway->pricing.book;
        gateway->workers[i].dialects = gateway->dialects;
        gateway->workers[i].keeper = gateway->keeper;
        gateway->workers[i].on_tainted_arg = gateway;
        gateway->workers[i].on_tainted = on_tainted;
        gateway->worker_count++;
    }
    MG_TRY(mg_keys_start(gateway->config->data_dir, gateway->recorder, gateway->desk, gateway->workers, count, &gateway->keys,
                         diag));
    MG_TRY(mg_members_start(gateway->config->data_dir, gateway->recorder, gateway->desk, &gateway->members, diag));
    return mg_signin_start(&gateway->config->oidc, &gateway->signin, diag);
}

static mg_err start_builder(struct mg_gateway *gateway, struct mg_diag *diag)
{
    struct mg_builder_options options = {
        .config = gateway->config,
        .config_path = gateway->options.config_path,
        .workers = gateway->worker_count,
        .ops = &builder_ops,
        .arg = gateway,
    };
    return mg_builder_start(&options, &gateway->builder, diag);
}

static mg_err start_listener(struct mg_gateway *gateway, int i, struct mg_diag *diag)
{
    struct listener *listener = &gateway->listeners[i];
    const struct mg_config_listen *config = &gateway->config->listen[i];
    *listener = (struct listener){.gateway = gateway, .config = config};
    gateway->listener_count = i + 1;
    MG_TRY(load_certificate(listener, diag));
    bool unix_socket = strncmp(config->host, "unix:", 5) == 0;
    int inherited = mg_sd_listen_fd(i);
    struct mg_listen_spec spec = {
        .host = unix_socket ? NULL : config->host,
        .unix_path = unix_socket ? config->host + 5 : NULL,
        .port = config->port,
        .fd = inherited > 0 ? inherited : 0,
    };
    MG_TRY(mg_listen_start(&listener->socket, &gateway->loop, &spec, on_fd, listener, diag));
    listener->open = true;
    mg_log_info("listening", "address=%s tls=%s", listener->socket.address, config->tls.cert ? "yes" : "no");
    return MG_OK;
}

static void watch_signal(struct mg_gateway *gateway, int number)
{
    uv_signal_t *handle = &gateway->signals[gateway->signal_count++];
    uv_signal_init(&gateway->loop.uv, handle);
    handle->data = gateway;
    uv_signal_start(handle, on_signal, number);
}

static mg_err start_loop(struct mg_gateway *gateway, struct mg_diag *diag)
{
    mg_loop_init(&gateway->loop);
    gateway->loop_open = true;
    if (gateway->config->listen_count > MAX_LISTENERS)
        return mg_diag_set(diag, MG_E_CONFIG, gateway->options.config_path, 0, "listen: at most %d addresses", MAX_LISTENERS);
    for (int i = 0; i < gateway->config->listen_count; i++)
        MG_TRY(start_listener(gateway, i, diag));
    watch_signal(gateway, SIGTERM);
    watch_signal(gateway, SIGINT);
    watch_signal(gateway, SIGHUP);
    mg_timer_start(&gateway->loop, &gateway->second, SECOND_MS, on_second);
    return MG_OK;
}

/* Ten thousand streams need twenty thousand descriptors: take what the system allows. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        mg_log_warn("descriptors", "the limit stays at %llu", (unsigned long long)limit.rlim_cur);
}

mg_err mg_gateway_start(const struct mg_gateway_options *options, struct mg_gateway **out_gateway, struct mg_diag *diag)
{
    struct mg_gateway *gateway = mg_new(struct mg_gateway);
    gateway->options = *options;
    gateway->config = options->config;
    gateway->lock = -1;
    mg_budgets_init(&gateway->budgets, options->config->data_dir);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);          /* a file that may not grow is an error of its write */
    raise_descriptors();
    mg_log_start();
    mg_err err = start_store(gateway, diag);
    if (err == MG_OK)
        err = start_vault(gateway, diag);
    if (err == MG_OK)
        err = start_workers(gateway, diag);
    if (err == MG_OK)
        err = mg_exporting_start(&gateway->exporting, gateway->config, gateway->recorder, diag);
    if (err == MG_OK)
        err = start_builder(gateway, diag);
    if (err == MG_OK)
        err = start_loop(gateway, diag);
    if (err != MG_OK) {
        mg_gateway_stop(gateway);
        return err;
    }
    atomic_store(&gateway->serving, true);
    *out_gateway = gateway;
    return MG_OK;
}

void mg_gateway_run(struct mg_gateway *gateway)
{
    (void)mg_sd_notify("READY=1");
    mg_log_info("ready", "workers=%u projects=%zu data=%s", gateway->worker_count, mg_builder_list(gateway->builder, NULL, 0),
                gateway->config->data_dir);
    mg_loop_run(&gateway->loop);
    mg_log_info("stopped", "cut_off=%u", in_flight(gateway));
}

static void close_loop(struct mg_gateway *gateway)
{
    if (!gateway->loop_open)
        return;
    close_listeners(gateway);
    for (int i = 0; i < gateway->signal_count; i++)
        uv_close((uv_handle_t *)&gateway->signals[i], NULL);
    mg_timer_cancel(&gateway->loop, &gateway->second);
    mg_timer_cancel(&gateway->loop, &gateway->drain_check);
    mg_loop_fini(&gateway->loop);
    for (int i = 0; i < gateway->listener_count; i++)
        mg_tls_unref(gateway->listeners[i].tls);
}

/* In the reverse order of start, so that nobody waits for or posts to what is gone; each part accepts not having been
 * started. */
void mg_gateway_stop(struct mg_gateway *gateway)
{
    close_loop(gateway);
    mg_builder_stop(gateway->builder);
    mg_signin_stop(gateway->signin);
    mg_members_stop(gateway->members);
    mg_keys_stop(gateway->keys);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        mg_worker_stop(&gateway->workers[i]);
    mg_token_sources_stop();
    mg_keeper_stop(gateway->keeper);
    mg_exporting_stop(&gateway->exporting);
    mg_dialects_free(gateway->dialects);
    if (gateway->script_ready)
        mg_script_fini();
    mg_desk_close(gateway->desk);
    mg_packer_stop(gateway->packer);
    mg_recorder_stop(gateway->recorder);
    mg_metrics_hub_free(gateway->metrics);
    mg_pricing_stop(&gateway->pricing);
    mg_models_release();
    mg_ledger_free(gateway->ledger);
    mg_budgets_fini(&gateway->budgets);
    mg_folder_unlock(gateway->lock);
    mg_log_stop();
    mg_free(gateway->workers);
    mg_free(gateway);
}

/* ---- questions ------------------------------------------------------------------------------- */

bool mg_gateway_ready(const struct mg_gateway *gateway)
{
    return atomic_load(&gateway->serving);
}

int mg_gateway_port(const struct mg_gateway *gateway, int listener)
{
    return listener < gateway->listener_count ? mg_listen_port(&gateway->listeners[listener].socket) : 0;
}

const char *mg_gateway_address(const struct mg_gateway *gateway, int listener)
{
    return listener < gateway->listener_count ? gateway->listeners[listener].socket.address : "";
}

struct mg_builder *mg_gateway_builder(struct mg_gateway *gateway)
{
    return gateway->builder;
}

struct mg_metrics_hub *mg_gateway_metrics(struct mg_gateway *gateway)
{
    return gateway->metrics;
}

const struct mg_prices *mg_gateway_prices(const struct mg_gateway *gateway)
{
    return mg_price_book_now(gateway->pricing.book);
}

struct mg_recorder *mg_gateway_recorder(struct mg_gateway *gateway)
{
    return gateway->recorder;
}

struct mg_members *mg_gateway_members(struct mg_gateway *gateway)
{
    return gateway->members;
}

struct mg_signin *mg_gateway_signin(struct mg_gateway *gateway)
{
    return gateway->signin;
}

int mg_gateway_exports(const struct mg_gateway *gateway, struct mg_export_state *out_states)
{
    return mg_exporting_states(&gateway->exporting, out_states);
}

struct mg_keys *mg_gateway_keys(struct mg_gateway *gateway)
{
    return gateway->keys;
}

struct mg_keeper *mg_gateway_keeper(struct mg_gateway *gateway)
{
    return gateway->keeper;
}

struct mg_desk *mg_gateway_desk(struct mg_gateway *gateway)
{
    return gateway->desk;
}

void mg_gateway_secret_changed(struct mg_gateway *gateway, mg_view project, mg_view name)
{
    mg_targets_forgive(gateway->builder, gateway->config, mg_secret_slot_of(project, name));
    struct mg_builder_status *rows = mg_new_array(struct mg_builder_status, MG_MAX_PROJECTS);
    size_t count = MG_MIN(mg_builder_list(gateway->builder, rows, MG_MAX_PROJECTS), (size_t)MG_MAX_PROJECTS);
    bool any = false;
    for (size_t i = 0; i < count; i++)
        any = any || *rows[i].error;
    mg_free(rows);
    if (any)
        mg_builder_reload(gateway->builder);
}

mg_err mg_gateway_rewrap(struct mg_gateway *gateway, mg_view actor, unsigned *out_count, struct mg_diag *diag)
{
    struct mg_config_gateway *now = NULL;
    if (gateway->options.config_path)
        MG_TRY(mg_config_load_gateway(gateway->options.config_path, &now, diag));
    mg_err err = mg_desk_rewrap(gateway->desk, actor, now ? &now->vault_master : &gateway->config->vault_master, out_count, diag);
    mg_config_gateway_free(now);
    return err;
}

static bool has_project(struct mg_gateway *gateway, const char *name)
{
    struct mg_builder_status rows[64];
    size_t count = mg_builder_list(gateway->builder, rows, 64);
    for (size_t i = 0; i < count && i < 64; i++)
        if (strcmp(rows[i].project, name) == 0)
            return true;
    return count > 64;                 /* more than are looked at: let it pass, the key only fails to find its project */
}

mg_err mg_gateway_key_create(struct mg_gateway *gateway, mg_view actor, const struct mg_keys_spec *spec,
                             char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag)
{
    if (!has_project(gateway, spec->project))
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no project '%s'", spec->project);
    return mg_keys_create(gateway->keys, actor, spec, out_text, out_key, diag);
}

mg_err mg_gateway_key_revoke(struct mg_gateway *gateway, mg_view actor, const char *id, struct mg_diag *diag)
{
    return mg_keys_revoke(gateway->keys, actor, id, diag);
}

mg_err mg_gateway_key_rotate(struct mg_gateway *gateway, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena,
                             char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag)
{
    return mg_keys_rotate(gateway->keys, actor, id, overlap_s, arena, out_text, out_key, diag);
}

mg_err mg_gateway_key_change(struct mg_gateway *gateway, mg_view actor, const char *id, const struct mg_keys_spec *spec,
                             struct mg_arena *arena, struct mg_key *out_key, struct mg_diag *diag)
{
    return mg_keys_change(gateway->keys, actor, id, spec, arena, out_key, diag);
}

mg_err mg_gateway_key_list(struct mg_gateway *gateway, void (*each)(void *arg, const struct mg_key *key), void *arg,
                           struct mg_diag *diag)
{
    return mg_keys_list(gateway->keys, each, arg, diag);
}

/* ---- what is disabled by hand: gateway/switches.c finds out what is meant ------------------------------------ */

mg_err mg_gateway_disable(struct mg_gateway *gateway, const struct mg_switch *row, const char *only, struct mg_switch *out_row,
                          struct mg_diag *diag)
{
    struct mg_switch meant;
    MG_TRY(mg_switch_resolve(gateway->builder, gateway->keys, row, only, &meant, diag));
    MG_TRY(mg_keys_disable(gateway->keys, &meant, diag));
    *out_row = meant;
    return MG_OK;
}

mg_err mg_gateway_enable(struct mg_gateway *gateway, const struct mg_switch *row, const char *only, struct mg_switch *out_row,
                         struct mg_diag *diag)
{
    struct mg_switch meant;
    MG_TRY(mg_switch_resolve_disabled(gateway->keys, row, only, &meant, diag));
    MG_TRY(mg_keys_enable(gateway->keys, &meant, diag));
    *out_row = meant;
    return MG_OK;
}

mg_err mg_gateway_disabled(struct mg_gateway *gateway, void (*each)(void *arg, const struct mg_switch *row), void *arg,
                           struct mg_diag *diag)
{
    return mg_keys_disabled(gateway->keys, each, arg, diag);
}
