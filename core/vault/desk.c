#include "vault/desk.h"

#include <psa/crypto.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

struct mg_desk {
    struct mg_desk_options options;
    struct mg_vault *vault;
    pthread_mutex_t lock;              /* one call at a time */
};

static mg_err write_store(struct mg_desk *desk, mg_write_fn fn, void *arg)
{
    return desk->options.write(desk->options.arg, fn, arg);
}

/* The same of what enters something in the log, which fn marks. */
static mg_err write_entry(struct mg_desk *desk, mg_write_fn fn, void *arg, const struct mg_audit_mark *mark)
{
    mg_err err = write_store(desk, fn, arg);
    if (err == MG_OK)
        mg_audit_confirm(mg_vault_audit_key(desk->vault), mark);
    return err;
}

/* ---- open and close -------------------------------------------------------------------------- */

static mg_err read_rows(void *arg, struct mg_db *db)
{
    return mg_vault_read(db, arg);
}

/* The log's key is the first thing that a vault writes: where there is anything else of one, it was there. */
static mg_err is_used(struct mg_db *db, bool *out_used)
{
    struct mg_stmt *stmt;
    bool row;
    MG_TRY(mg_db_prepare(db, "SELECT 1 FROM vault_keys UNION ALL SELECT 1 FROM secrets UNION ALL SELECT 1 FROM audit "
                             "UNION ALL SELECT 1 FROM audit_head LIMIT 1", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK)
        *out_used = row;
    mg_stmt_free(stmt);
    return err;
}

/* A store from before there was a log has keys and no entry; so has one whose log somebody took away, which nothing else
 * shows. "": it is new. */
static mg_err describe_store(struct mg_db *db, char *out, size_t size)
{
    struct mg_stmt *stmt;
    bool row;
    *out = '\0';
    MG_TRY(mg_db_prepare(db, "SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM members), "
                             "(SELECT count(*) FROM switches)", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && row && mg_stmt_int(stmt, 0) + mg_stmt_int(stmt, 1) + mg_stmt_int(stmt, 2) > 0)
        snprintf(out, size, "the store had %lld keys, %lld members, %lld switches, and no log", (long long)mg_stmt_int(stmt, 0),
                 (long long)mg_stmt_int(stmt, 1), (long long)mg_stmt_int(stmt, 2));
    mg_stmt_free(stmt);
    return err;
}

static mg_err store_keys(void *arg, struct mg_db *db)
{
    struct mg_desk *desk = arg;
    bool again;
    char late[96];
    MG_TRY(is_used(db, &again));
    MG_TRY(describe_store(db, late, sizeof late));
    if (*late && !again)
        mg_log_warn("audit.begun_late", "reason=\"%s\"", late);
    MG_TRY(mg_vault_store_keys(desk->vault, db));
    return mg_audit_begin(mg_vault_audit_key(desk->vault), db, again, mg_view_cstr(late));
}

static mg_err open_log(void *arg, struct mg_db *db)
{
    struct mg_desk *desk = arg;
    return mg_audit_open(mg_vault_audit_key(desk->vault), db);
}

static mg_err open_vault(struct mg_desk *desk, struct mg_diag *diag)
{
    struct mg_vault_rows *rows = NULL;
    mg_err err = write_store(desk, read_rows, &rows);
    if (err != MG_OK)
        return mg_diag_set(diag, err, NULL, 0, "the vault cannot be read from the store: %s", mg_err_text(err));
    err = mg_vault_open(&desk->options.vault, rows, &desk->vault, diag);
    mg_vault_rows_free(rows);
    MG_TRY(err);
    if (mg_vault_begun(desk->vault))
        return write_store(desk, open_log, desk);
    err = write_store(desk, store_keys, desk);
    if (err != MG_OK)
        return mg_diag_set(diag, err, NULL, 0, "the vault cannot be written to the store: %s", mg_err_text(err));
    mg_vault_keys_stored(desk->vault);
    return MG_OK;
}

mg_err mg_desk_open(const struct mg_desk_options *options, struct mg_desk **out_desk, struct mg_diag *diag)
{
    struct mg_desk *desk = mg_new(struct mg_desk);
    desk->options = *options;
    pthread_mutex_init(&desk->lock, NULL);
    mg_err err = open_vault(desk, diag);
    if (err != MG_OK) {
        mg_desk_close(desk);
        return err;
    }
    *out_desk = desk;
    return MG_OK;
}

static mg_err nothing(void *arg, struct mg_db *db)
{
    return MG_OK;
}

/* What was posted before has the desk in its hands until it is written: the store writes in the order it is asked. */
static void await_posted(struct mg_desk *desk)
{
    if (desk->options.post)
        (void)write_store(desk, nothing, NULL);
    desk->options.post = NULL;
}

void mg_desk_close(struct mg_desk *desk)
{
    if (!desk)
        return;
    await_posted(desk);
    if (desk->vault)
        mg_desk_note_uses(desk);
    mg_vault_close(desk->vault);
    pthread_mutex_destroy(&desk->lock);
    mg_free(desk);
}

/* ---- what projects keep ------------------------------------------------------------------------ */

static mg_err store_made_keys(void *arg, struct mg_db *db)
{
    return mg_vault_store_keys(arg, db);
}

mg_err mg_desk_data_key(struct mg_desk *desk, mg_view project, struct mg_seal_key **out_key, struct mg_diag *diag)
{
    struct mg_seal_key *key = NULL;
    bool made = false;
    pthread_mutex_lock(&desk->lock);
    mg_err err = mg_vault_data_key(desk->vault, project, &key, &made, diag);
    if (err == MG_OK && made)
        err = write_store(desk, store_made_keys, desk->vault);
    if (err == MG_OK && made)
        mg_vault_keys_stored(desk->vault);
    pthread_mutex_unlock(&desk->lock);
    if (err == MG_OK)
        *out_key = key;
    else
        mg_seal_key_unref(key);
    return err;
}

/* ---- secrets --------------------------------------------------------------------------------- */

struct setting {
    struct mg_desk *desk;
    struct mg_vault_change *change;    /* NULL: the secret is removed */
    struct mg_audit_entry entry;
    char detail[64];
    bool must_exist;
    struct mg_audit_mark mark;
};

static mg_err apply(void *arg, struct mg_db *db)
{
    struct setting *setting = arg;
    if (!setting->change) {
        MG_TRY(mg_vault_delete(db, setting->entry.project, setting->entry.subject));
    } else {
        MG_TRY(mg_vault_write(setting->change, db));
        if (setting->must_exist && !mg_secret_known(setting->entry.project, setting->entry.subject))
            return MG_E_NOT_FOUND;
        setting->entry.detail =
            mg_view_of(setting->detail, (size_t)snprintf(setting->detail, sizeof setting->detail, "version %llu",
                                                         (unsigned long long)mg_vault_version(setting->change)));
    }
    return mg_audit_append(mg_vault_audit_key(setting->desk->vault), db, &setting->entry, &setting->mark);
}

static mg_err explain(mg_err err, mg_view project, mg_view name, struct mg_diag *diag)
{
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "project %.*s has no secret %.*s in the vault; `moongate secret list` shows all",
                           MG_FMT(project), MG_FMT(name));
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the secret could not be stored: %s", mg_err_text(err));
}

mg_err mg_desk_set(struct mg_desk *desk, mg_view actor, enum mg_desk_set how, mg_view project, mg_view name, mg_view plain,
                   uint64_t *out_version, struct mg_diag *diag)
{
    struct setting setting = {.desk = desk, .must_exist = how == MG_DESK_ROTATE,
                              .entry = {.actor = actor, .project = project, .subject = name,
                                        .act = how == MG_DESK_ROTATE ? MG_VIEW("secret.rotate") : MG_VIEW("secret.set")}};
    pthread_mutex_lock(&desk->lock);
    mg_err err = mg_vault_prepare(desk->vault, project, name, plain, &setting.change, diag);
    if (err == MG_OK)
        err = explain(write_entry(desk, apply, &setting, &setting.mark), project, name, diag);
    if (err == MG_OK) {
        mg_vault_publish(setting.change);
        *out_version = mg_vault_version(setting.change);
    }
    mg_vault_change_free(setting.change);
    pthread_mutex_unlock(&desk->lock);
    return err;
}

mg_err mg_desk_remove(struct mg_desk *desk, mg_view actor, mg_view project, mg_view name, struct mg_diag *diag)
{
    struct setting setting = {.desk = desk, .entry = {.actor = actor, .act = MG_VIEW("secret.remove"), .project = project,
                                                      .subject = name}};
    pthread_mutex_lock(&desk->lock);
    mg_err err = explain(write_entry(desk, apply, &setting, &setting.mark), project, name, diag);
    if (err == MG_OK)
        mg_vault_forget(project, name);
    pthread_mutex_unlock(&desk->lock);
    return err;
}

struct listing {
    void (*each)(void *arg, const struct mg_vault_entry *entry);
    void *arg;
};

static mg_err list(void *arg, struct mg_db *db)
{
    struct listing *listing = arg;
    return mg_vault_list(db, listing->each, listing->arg);
}

mg_err mg_desk_list(struct mg_desk *desk, void (*each)(void *arg, const struct mg_vault_entry *entry), void *arg)
{
    mg_desk_note_uses(desk);           /* the order of writes is kept */
    return write_store(desk, list, &(struct listing){each, arg});
}

/* ---- a new master key ------------------------------------------------------------------------ */

static mg_err rewrap_one(void *arg, struct mg_db *db)
{
    struct setting *setting = arg;
    MG_TRY(mg_vault_write(setting->change, db));
    return mg_audit_append(mg_vault_audit_key(setting->desk->vault), db, &setting->entry, &setting->mark);
}

static mg_err rewrap_all(struct mg_desk *desk, mg_view actor, unsigned *out_count, struct mg_diag *diag)
{
    for (;;) {
        struct setting setting = {.desk = desk, .entry = {.actor = actor, .act = MG_VIEW("vault.rewrap"),
                                                          .detail = mg_view_cstr(mg_vault_master_id(desk->vault))}};
        MG_TRY(mg_vault_rewrap_next(desk->vault, &setting.change, diag));
        if (!setting.change)
            return MG_OK;
        setting.entry.project = mg_vault_change_project(setting.change);
        mg_err err = write_entry(desk, rewrap_one, &setting, &setting.mark);
        if (err == MG_OK)
            mg_vault_publish(setting.change);
        mg_vault_change_free(setting.change);
        if (err != MG_OK)
            return mg_diag_set(diag, err, NULL, 0, "a key could not be stored: %s", mg_err_text(err));
        ++*out_count;
    }
}

mg_err mg_desk_rewrap(struct mg_desk *desk, mg_view actor, const struct mg_master_spec *to, unsigned *out_count,
                      struct mg_diag *diag)
{
    struct mg_master *master = NULL;
    *out_count = 0;
    pthread_mutex_lock(&desk->lock);
    mg_err err = to ? mg_master_open(to, desk->options.vault.data_dir, true, &master, diag) : MG_OK;
    if (err == MG_OK && master)
        err = mg_vault_adopt(desk->vault, master, diag);
    if (err == MG_OK)
        err = rewrap_all(desk, actor, out_count, diag);
    pthread_mutex_unlock(&desk->lock);
    return err;
}

const char *mg_desk_master(const struct mg_desk *desk)
{
    return mg_vault_master_id(desk->vault);
}

/* ---- audit ----------------------------------------------------------------------------------- */

void mg_act_entry_say_v(struct mg_act_entry *entry, const char *project, const char *subject, const char *detail, va_list args)
{
    snprintf(entry->project, sizeof entry->project, "%s", project);
    snprintf(entry->subject, sizeof entry->subject, "%s", subject);
    vsnprintf(entry->detail, sizeof entry->detail, detail, args);
}

void mg_act_entry_say(struct mg_act_entry *entry, const char *project, const char *subject, const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    mg_act_entry_say_v(entry, project, subject, detail, args);
    va_end(args);
}

struct acting {
    struct mg_desk *desk;
    struct mg_act_entry *entry;
    mg_write_fn fn;
    void *arg;
    struct mg_audit_mark mark;
};

static mg_err act(void *arg, struct mg_db *db)
{
    struct acting *acting = arg;
    const struct mg_act_entry *entry = acting->entry;
    MG_TRY(acting->fn(acting->arg, db));
    return mg_audit_append(mg_vault_audit_key(acting->desk->vault), db,
                           &(struct mg_audit_entry){.actor = entry->actor, .act = mg_view_cstr(entry->act),
                                                    .project = mg_view_cstr(entry->project),
                                                    .subject = mg_view_cstr(entry->subject),
                                                    .detail = mg_view_cstr(entry->detail)}, &acting->mark);
}

mg_err mg_desk_act(struct mg_desk *desk, struct mg_act_entry *entry, mg_write_fn fn, void *arg)
{
    struct acting acting = {desk, entry, fn, arg, {.seq = 0}};
    return write_entry(desk, act, &acting, &acting.mark);
}

mg_err mg_desk_audit_in(struct mg_desk *desk, struct mg_db *db, const struct mg_audit_entry *entry)
{
    return mg_audit_append(mg_vault_audit_key(desk->vault), db, entry, NULL);
}

struct reading {
    uint64_t after;
    size_t limit;
    void (*each)(void *arg, const struct mg_audit_entry *entry);
    void *arg;
};

static mg_err read_audit(void *arg, struct mg_db *db)
{
    struct reading *reading = arg;
    return mg_audit_each(db, reading->after, reading->limit, reading->each, reading->arg);
}

mg_err mg_desk_audit_each(struct mg_desk *desk, uint64_t after, size_t limit,
                          void (*each)(void *arg, const struct mg_audit_entry *entry), void *arg)
{
    return write_store(desk, read_audit, &(struct reading){after, limit, each, arg});
}

struct verification {
    struct mg_desk *desk;
    mg_view kept;
    struct mg_audit_report *report;
};

static mg_err verify(void *arg, struct mg_db *db)
{
    struct verification *v = arg;
    return mg_audit_verify(mg_vault_audit_key(v->desk->vault), db, v->kept, v->report);
}

mg_err mg_desk_audit_verify(struct mg_desk *desk, mg_view kept, struct mg_audit_report *out_report)
{
    return write_store(desk, verify, &(struct verification){desk, kept, out_report});
}

/* ---- uses ------------------------------------------------------------------------------------ */

enum { USES = 256 };

struct uses {
    struct mg_desk *desk;
    struct mg_secret_use rows[USES];
    size_t count;
};

static void collect(void *arg, const struct mg_secret_use *use)
{
    struct uses *uses = arg;
    if (uses->count < USES)
        uses->rows[uses->count++] = *use;
}

static bool is_sampled(const struct mg_desk *desk)
{
    uint32_t dice = 0;
    (void)psa_generate_random((unsigned char *)&dice, sizeof dice);
    return dice < desk->options.audit_uses * 4294967296.0;
}

static mg_err enter_use(const struct mg_desk *desk, struct mg_db *db, const struct mg_secret_use *use)
{
    char detail[96];
    snprintf(detail, sizeof detail, "version %llu, %llu times", (unsigned long long)use->version,
             (unsigned long long)use->count);
    return mg_audit_append(mg_vault_audit_key(desk->vault), db,
                           &(struct mg_audit_entry){.actor = MG_VIEW("moongate"), .act = MG_VIEW("secret.use"),
                                                    .project = mg_view_cstr(use->project),
                                                    .subject = mg_view_cstr(use->name), .detail = mg_view_cstr(detail)}, NULL);
}

static mg_err note(void *arg, struct mg_db *db)
{
    struct uses *uses = arg;
    for (size_t i = 0; i < uses->count; i++) {
        MG_TRY(mg_vault_note_use(db, &uses->rows[i]));
        if (is_sampled(uses->desk))
            MG_TRY(enter_use(uses->desk, db, &uses->rows[i]));
    }
    return MG_OK;
}

static void noted(void *arg, mg_err err)
{
    if (err != MG_OK)
        mg_log_warn("vault.uses_not_noted", "reason=\"%s\"", mg_err_text(err));
    mg_free(arg);
}

void mg_desk_note_uses(struct mg_desk *desk)
{
    struct uses *uses = mg_new(struct uses);
    uses->desk = desk;
    mg_secret_each_used(collect, uses);
    if (uses->count && desk->options.post)
        desk->options.post(desk->options.arg, note, noted, uses);
    else
        noted(uses, uses->count ? write_store(desk, note, uses) : MG_OK);
}
