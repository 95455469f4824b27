#include "gateway/members.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"

struct mg_members {
    struct mg_recorder *recorder;      /* borrowed */
    struct mg_desk *desk;              /* borrowed */
    struct mg_key_secret secret;
    pthread_mutex_t changing;          /* one change at a time */
    pthread_mutex_t lock;              /* of the rows, for a bounded number of steps */
    struct mg_member *rows;            /* owned */
    size_t count;
};

struct change {                        /* runs on the recorder thread while its caller waits */
    struct mg_act_entry entry;         /* of the audit log: actor and act are set */
    const struct mg_key_secret *secret;
    struct mg_member *member;
    const char *name;
    char *out_text;
    struct mg_arena arena;
    struct mg_member *rows;
    size_t count;
};

static mg_err create(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    const struct mg_member *member = change->member;
    mg_act_entry_say(&change->entry, member->project, member->name, "%s", mg_role_name(member->role));
    return mg_members_create(db, change->secret, change->member, change->out_text);
}

static mg_err take_away(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    mg_act_entry_say(&change->entry, "", change->name, "%s", "");
    return mg_members_remove(db, change->name);
}

static mg_err load(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    return mg_members_load(db, &change->arena, &change->rows, &change->count);
}

static mg_err refresh(struct mg_members *members)
{
    struct change change = {.count = 0};
    mg_arena_init(&change.arena, 8192);
    mg_err err = mg_recorder_write_wait(members->recorder, load, &change);
    if (err == MG_OK) {
        struct mg_member *rows = mg_new_array(struct mg_member, change.count + 1);
        memcpy(rows, change.rows, change.count * sizeof *rows);
        pthread_mutex_lock(&members->lock);
        struct mg_member *before = members->rows;
        members->rows = rows;
        members->count = change.count;
        pthread_mutex_unlock(&members->lock);
        mg_free(before);
    }
    mg_arena_fini(&change.arena);
    return err;
}

mg_err mg_members_start(const char *data_dir, struct mg_recorder *recorder, struct mg_desk *desk, struct mg_members **out_members,
                        struct mg_diag *diag)
{
    struct mg_members *members = mg_new(struct mg_members);
    members->recorder = recorder;
    members->desk = desk;
    pthread_mutex_init(&members->changing, NULL);
    pthread_mutex_init(&members->lock, NULL);
    mg_err err = mg_key_secret_load(data_dir, &members->secret, diag);
    if (err == MG_OK && (err = refresh(members)) != MG_OK)
        mg_diag_set(diag, err, data_dir, 0, "the members could not be read from the store: %s", mg_err_text(err));
    if (err != MG_OK) {
        mg_members_stop(members);
        return err;
    }
    *out_members = members;
    return MG_OK;
}

void mg_members_stop(struct mg_members *members)
{
    if (!members)
        return;
    mg_wipe(&members->secret, sizeof members->secret);
    pthread_mutex_destroy(&members->changing);
    pthread_mutex_destroy(&members->lock);
    mg_free(members->rows);
    mg_free(members);
}

bool mg_members_identify(struct mg_members *members, mg_view token, struct mg_member *out_member)
{
    unsigned char hash[MG_KEY_HASH_BYTES];
    bool found = false;
    if (!token.len || token.len >= MG_KEY_TEXT_BYTES)
        return false;
    mg_key_hash(&members->secret, token, hash);
    mg_view wanted = mg_view_of((const char *)hash, sizeof hash);
    pthread_mutex_lock(&members->lock);
    for (size_t i = 0; i < members->count && !found; i++) {
        const struct mg_member *row = &members->rows[i];
        found = mg_view_eq_ct(wanted, mg_view_of((const char *)row->hash, sizeof row->hash)) &&
                (!row->expires_us || row->expires_us > mg_wall_us());
        if (found)
            *out_member = *row;
    }
    pthread_mutex_unlock(&members->lock);
    return found;
}

/* On disk first, with its entry in the audit log, then obeyed. */
static mg_err commit(struct mg_members *members, mg_write_fn write, struct change *change)
{
    change->secret = &members->secret;
    pthread_mutex_lock(&members->changing);
    mg_err err = mg_desk_act(members->desk, &change->entry, write, change);
    if (err == MG_OK)
        err = refresh(members);
    pthread_mutex_unlock(&members->changing);
    return err;
}

mg_err mg_members_add(struct mg_members *members, mg_view actor, struct mg_member *member, char out_text[MG_KEY_TEXT_BYTES],
                      struct mg_diag *diag)
{
    struct change change = {.entry = {actor, "member.create"}, .member = member, .out_text = out_text};
    mg_err err = commit(members, create, &change);
    if (err == MG_E_EXISTS)
        return mg_diag_set(diag, err, NULL, 0, "there is a member %s already", member->name);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the member could not be stored: %s", mg_err_text(err));
}

mg_err mg_members_drop(struct mg_members *members, mg_view actor, const char *name, struct mg_diag *diag)
{
    struct change change = {.entry = {actor, "member.remove"}, .name = name};
    mg_err err = commit(members, take_away, &change);
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "there is no member %s", name);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the member could not be removed: %s", mg_err_text(err));
}

void mg_members_each(struct mg_members *members, void (*each)(void *arg, const struct mg_member *member), void *arg)
{
    pthread_mutex_lock(&members->lock);
    size_t count = members->count;
    struct mg_member *rows = mg_new_array(struct mg_member, count + 1);
    memcpy(rows, members->rows, count * sizeof *rows);
    pthread_mutex_unlock(&members->lock);
    for (size_t i = 0; i < count; i++)
        each(arg, &rows[i]);
    mg_free(rows);
}
