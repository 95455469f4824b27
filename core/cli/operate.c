#include "cli/operate.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/keeper.h"
#include "watch/exports.h"

static mg_err put_text(struct mg_buf *out, const char *name, const char *text);
static mg_err put_project(struct mg_buf *out, const struct mg_builder_status *row, bool first);

static bool ready(void *arg)
{
    struct mg_operate *operate = arg;
    return mg_gateway_ready(operate->gateway);
}

static mg_err put_signin_metrics(struct mg_operate *operate, struct mg_buf *out)
{
    struct mg_signin_status signin;
    mg_signin_status(mg_gateway_signin(operate->gateway), &signin);
    return mg_buf_putf(out,
                       "# HELP moongate_oidc_keys Keys of the identity provider that tokens are checked with; 0 without one.\n"
                       "# TYPE moongate_oidc_keys gauge\nmoongate_oidc_keys %zu\n"
                       "# HELP moongate_oidc_key_failures_total Times that its keys could not be read.\n"
                       "# TYPE moongate_oidc_key_failures_total counter\nmoongate_oidc_key_failures_total %llu\n"
                       "# HELP moongate_oidc_tokens_total Tokens of the identity provider that came to the admin plane.\n"
                       "# TYPE moongate_oidc_tokens_total counter\n"
                       "moongate_oidc_tokens_total{result=\"accepted\"} %llu\nmoongate_oidc_tokens_total{result=\"refused\"} %llu\n",
                       signin.keys, (unsigned long long)signin.failures, (unsigned long long)signin.accepted,
                       (unsigned long long)signin.refused);
}

static mg_err put_kept_metrics(struct mg_operate *operate, struct mg_buf *out)
{
    struct mg_keeper_stats kept;
    mg_keeper_stats(mg_gateway_keeper(operate->gateway), &kept);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"responses_kept_total", "counter", "Answers of the Responses API that were kept", kept.kept},
        {"responses_lost_total", "counter", "Answers that were to be kept and could not be: nobody can go on from them", kept.lost},
        {"responses_found_total", "counter", "Kept answers that were fetched or gone on from", kept.found},
        {"responses_deleted_total", "counter", "Kept answers that clients deleted", kept.deleted},
        {"responses_forgotten_total", "counter", "Kept answers that were too old, or made room for others", kept.forgotten},
        {"responses_waiting_bytes", "gauge", "Bytes of answers on their way into the store", kept.waiting_bytes},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        MG_TRY(mg_buf_putf(out, "# HELP moongate_%s %s.\n# TYPE moongate_%s %s\nmoongate_%s %llu\n", rows[i].name, rows[i].help, rows[i].name,
                           rows[i].type, rows[i].name, (unsigned long long)rows[i].value));
    return MG_OK;
}

static mg_err metrics(void *arg, struct mg_buf *out)
{
    struct mg_operate *operate = arg;
    struct mg_targets_scrape scrape;
    struct mg_limits_scrape limits;
    MG_TRY(mg_metrics_render(mg_gateway_metrics(operate->gateway), out));
    MG_TRY(put_signin_metrics(operate, out));
    MG_TRY(put_kept_metrics(operate, out));
    mg_targets_scrape_init(&scrape);
    mg_targets_each(mg_gateway_builder(operate->gateway), operate->config, MG_VIEW_NONE,
                    mg_targets_scrape_add, &scrape);
    mg_err err = mg_targets_scrape_end(&scrape, out);
    mg_limits_scrape_init(&limits);
    mg_limits_each(mg_gateway_builder(operate->gateway), mg_gateway_keys(operate->gateway), MG_VIEW_NONE, mg_limits_scrape_add,
                   &limits);
    mg_err limits_err = mg_limits_scrape_end(&limits, out);
    MG_TRY(err == MG_OK ? limits_err : err);
    struct mg_export_state states[MG_CONFIG_EXPORTS];
    return mg_exports_metrics(states, mg_gateway_exports(operate->gateway, states), mg_wall_us(), out);
}

static mg_err put_projects(struct mg_operate *operate, struct mg_buf *out)
{
    struct mg_builder_status *rows = mg_new_array(struct mg_builder_status, MG_MAX_PROJECTS);
    size_t count = mg_builder_list(mg_gateway_builder(operate->gateway), rows, MG_MAX_PROJECTS);
    mg_err err = MG_OK;
    for (size_t i = 0; i < MG_MIN(count, (size_t)MG_MAX_PROJECTS) && err == MG_OK; i++)
        err = put_project(out, &rows[i], i == 0);
    mg_free(rows);
    return err;
}

static void store_trouble(void *arg, struct mg_recorder_trouble *out)
{
    struct mg_operate *operate = arg;
    mg_recorder_trouble(mg_gateway_recorder(operate->gateway), out);
}

static mg_err put_store(struct mg_operate *operate, struct mg_buf *out)
{
    struct mg_recorder_trouble trouble;
    store_trouble(operate, &trouble);
    MG_TRY(mg_buf_putf(out, ",\"store\":{\"ok\":%s,\"journal_percent\":%u",
                       trouble.since_us ? "false" : "true", trouble.journal_percent));
    if (trouble.since_us) {
        MG_TRY(mg_buf_putf(out, ",\"since_us\":%llu", (unsigned long long)trouble.since_us));
        MG_TRY(put_text(out, "reason", trouble.reason));
    }
    return mg_buf_putc(out, '}');
}

static mg_err put_signin(struct mg_operate *operate, struct mg_buf *out)
{
    struct mg_signin_status signin;
    if (!mg_gateway_signin(operate->gateway))
        return MG_OK;
    mg_signin_status(mg_gateway_signin(operate->gateway), &signin);
    MG_TRY(mg_buf_putf(out, ",\"oidc\":{\"keys\":%zu,\"read_us\":%llu", signin.keys, (unsigned long long)signin.read_us));
    MG_TRY(put_text(out, "issuer", signin.issuer));
    if (*signin.error)
        MG_TRY(put_text(out, "error", signin.error));
    return mg_buf_putc(out, '}');
}

static mg_err status(void *arg, struct mg_buf *out)
{
    struct mg_operate *operate = arg;
    MG_TRY(mg_buf_putf(
        out,
        "{\"version\":\"%s\",\"pid\":%d,\"start_us\":%llu,\"ready\":%s,\"workers\":%d,\"in_"
        "flight\":%llu",
        MG_VERSION, (int)getpid(), (unsigned long long)operate->start_wall_us,
        ready(operate) ? "true" : "false", operate->config->workers,
        (unsigned long long)mg_metrics_in_flight(mg_gateway_metrics(operate->gateway))));
    MG_TRY(put_text(out, "data_dir", operate->config->data_dir));
    MG_TRY(put_store(operate, out));
    MG_TRY(put_signin(operate, out));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"listen\":[")));
    for (int i = 0; i < operate->config->listen_count; i++) {
        MG_TRY(mg_buf_put(out, i ? MG_VIEW(",\"") : MG_VIEW("\"")));
        MG_TRY(mg_buf_put_json(out, mg_view_cstr(mg_gateway_address(operate->gateway, i))));
        MG_TRY(mg_buf_putc(out, '"'));
    }
    MG_TRY(mg_buf_put(out, MG_VIEW("],\"projects\":[")));
    MG_TRY(put_projects(operate, out));
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err put_project(struct mg_buf *out, const struct mg_builder_status *row, bool first)
{
    MG_TRY(mg_buf_putf(out, "%s{\"generation\":%u,\"built_us\":%llu", first ? "" : ",", row->number,
                       (unsigned long long)row->built_wall_us));
    MG_TRY(put_text(out, "name", row->project));
    MG_TRY(put_text(out, "path", row->path));
    if (*row->error) {
        MG_TRY(put_text(out, "error", row->error));
        MG_TRY(mg_buf_putf(out, ",\"error_us\":%llu", (unsigned long long)row->error_wall_us));
    }
    return mg_buf_putc(out, '}');
}

/* `,"name":"text"` */
static mg_err put_text(struct mg_buf *out, const char *name, const char *text)
{
    MG_TRY(mg_buf_putf(out, ",\"%s\":\"", name));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

static void reload(void *arg)
{
    struct mg_operate *operate = arg;
    mg_builder_reload(mg_gateway_builder(operate->gateway));
}

static void flush(void *arg)
{
    struct mg_operate *operate = arg;
    mg_recorder_flush(mg_gateway_recorder(operate->gateway));
}

static mg_err key_create(void *arg, mg_view actor, const struct mg_keys_spec *spec,
                         char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key,
                         struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_key_create(operate->gateway, actor, spec, out_text, out_key, diag);
}

static mg_err key_revoke(void *arg, mg_view actor, const char *id, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_key_revoke(operate->gateway, actor, id, diag);
}

static mg_err key_rotate(void *arg, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena,
                         char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key,
                         struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_key_rotate(operate->gateway, actor, id, overlap_s, arena, out_text, out_key, diag);
}

static mg_err key_change(void *arg, mg_view actor, const char *id, const struct mg_keys_spec *spec,
                         struct mg_arena *arena, struct mg_key *out_key, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_key_change(operate->gateway, actor, id, spec, arena, out_key, diag);
}

static mg_err key_list(void *arg, void (*each)(void *arg, const struct mg_key *key), void *each_arg,
                       struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_key_list(operate->gateway, each, each_arg, diag);
}

static mg_err switch_set(void *arg, bool on, const struct mg_switch *row, const char *only,
                         struct mg_switch *out_row, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return on ? mg_gateway_enable(operate->gateway, row, only, out_row, diag)
              : mg_gateway_disable(operate->gateway, row, only, out_row, diag);
}

static mg_err switch_list(void *arg, void (*each)(void *arg, const struct mg_switch *row),
                          void *each_arg, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_disabled(operate->gateway, each, each_arg, diag);
}

static mg_err identify(void *arg, mg_view token, struct mg_identity *out_identity, const char **out_why)
{
    struct mg_operate *operate = arg;
    struct mg_member member;
    struct mg_signin *signin = mg_gateway_signin(operate->gateway);
    if (mg_signin_takes(signin, token))
        return mg_signin_identify(signin, token, out_identity, out_why);
    if (!mg_members_identify(mg_gateway_members(operate->gateway), token, &member))
        return MG_E_DENIED;
    mg_identity_of(&member, out_identity);
    return MG_OK;
}

static mg_err member_add(void *arg, mg_view actor, struct mg_member *member, char out_text[MG_KEY_TEXT_BYTES],
                         struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_members_add(mg_gateway_members(operate->gateway), actor, member, out_text, diag);
}

static mg_err member_drop(void *arg, mg_view actor, const char *name, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_members_drop(mg_gateway_members(operate->gateway), actor, name, diag);
}

static void member_list(void *arg, void (*each)(void *arg, const struct mg_member *member),
                        void *each_arg)
{
    struct mg_operate *operate = arg;
    mg_members_each(mg_gateway_members(operate->gateway), each, each_arg);
}

static mg_err target_list(void *arg, mg_view project, mg_targets_cb each, void *each_arg)
{
    struct mg_operate *operate = arg;
    bool found = mg_targets_each(mg_gateway_builder(operate->gateway), operate->config, project,
                                 each, each_arg);
    return found ? MG_OK : MG_E_NOT_FOUND;
}

static mg_err limit_list(void *arg, mg_view project, size_t most, struct mg_buf *out)
{
    struct mg_operate *operate = arg;
    return mg_limits_put(mg_gateway_builder(operate->gateway), mg_gateway_keys(operate->gateway), project, most, out);
}

static mg_err target_reset(void *arg, const struct mg_targets_reset *what, unsigned *out_count,
                           struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_targets_reset(mg_gateway_builder(operate->gateway), operate->config, what, out_count,
                            diag);
}

static mg_err reprice(void *arg, struct mg_db *db, const char *path,
                      const struct mg_usage_range *range, bool dry_run,
                      struct mg_reprice *out_piece, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    struct mg_prices *loaded = NULL;
    if (path)
        MG_TRY(mg_prices_load(path, &loaded, diag));
    const struct mg_prices *prices = loaded ? loaded : mg_gateway_prices(operate->gateway);
    mg_err err = mg_reprice_read(db, prices, range, out_piece);
    if (err == MG_OK && !dry_run && out_piece->change_count > 0)
        err = mg_recorder_write_wait(mg_gateway_recorder(operate->gateway), mg_reprice_write,
                                     out_piece);
    mg_prices_free(loaded);
    return err;
}

static struct mg_desk *desk(void *arg)
{
    struct mg_operate *operate = arg;
    return mg_gateway_desk(operate->gateway);
}

static void secret_changed(void *arg, mg_view project, mg_view name)
{
    struct mg_operate *operate = arg;
    mg_gateway_secret_changed(operate->gateway, project, name);
}

static mg_err rewrap(void *arg, mg_view actor, unsigned *out_count, struct mg_diag *diag)
{
    struct mg_operate *operate = arg;
    return mg_gateway_rewrap(operate->gateway, actor, out_count, diag);
}

static int export_list(void *arg, struct mg_export_state *out_states)
{
    struct mg_operate *operate = arg;
    return mg_gateway_exports(operate->gateway, out_states);
}

const struct mg_admin_ops mg_operate_ops = {
    .export_list = export_list,
    .desk = desk,
    .secret_changed = secret_changed,
    .rewrap = rewrap,
    .ready = ready,
    .metrics = metrics,
    .status = status,
    .store_trouble = store_trouble,
    .reload = reload,
    .flush = flush,
    .key_create = key_create,
    .key_revoke = key_revoke,
    .key_rotate = key_rotate,
    .key_change = key_change,
    .switch_set = switch_set,
    .switch_list = switch_list,
    .identify = identify,
    .member_add = member_add,
    .member_drop = member_drop,
    .member_list = member_list,
    .key_list = key_list,
    .target_list = target_list,
    .target_reset = target_reset,
    .limit_list = limit_list,
    .reprice = reprice,
};
