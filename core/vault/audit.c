#include "vault/audit.h"

#include <psa/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { MOST_AHEAD = 1 << 30 };         /* a head that is further ahead of its log was made up */

struct mg_audit_key {
    psa_key_id_t id;
    pthread_mutex_t lock;              /* of the mark */
    struct mg_audit_mark mark;         /* the furthest that was confirmed; seq 0: none */
};

typedef unsigned char chain_bytes[MG_AUDIT_CHAIN_BYTES];

static void hmac(psa_key_id_t id, const struct mg_buf *text, chain_bytes out)
{
    mg_view bytes = mg_buf_view(text);
    size_t len;
    if (psa_mac_compute(id, PSA_ALG_HMAC(PSA_ALG_SHA_256), (const unsigned char *)bytes.ptr, bytes.len, out,
                        MG_AUDIT_CHAIN_BYTES, &len) != PSA_SUCCESS)
        abort();
}

static psa_key_id_t import(const unsigned char *bytes, size_t len)
{
    psa_key_id_t id;
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
    psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
    psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
    if (psa_import_key(&attributes, bytes, len, &id) != PSA_SUCCESS)
        abort();
    return id;
}

/* Derived, since the data key itself seals. */
struct mg_audit_key *mg_audit_key_new(const unsigned char bytes[MG_SEAL_KEY_BYTES])
{
    struct mg_audit_key *key = mg_new(struct mg_audit_key);
    struct mg_buf label;
    chain_bytes derived;
    (void)mg_seal_key_process();       /* starts the library */
    mg_buf_init(&label, 64);
    psa_key_id_t data_key = import(bytes, MG_SEAL_KEY_BYTES);
    if (mg_buf_put(&label, MG_VIEW("moongate audit 1")) != MG_OK)
        abort();
    hmac(data_key, &label, derived);
    key->id = import(derived, sizeof derived);
    pthread_mutex_init(&key->lock, NULL);
    (void)psa_destroy_key(data_key);
    mg_wipe(derived, sizeof derived);
    mg_buf_fini(&label);
    return key;
}

void mg_audit_key_free(struct mg_audit_key *key)
{
    if (!key)
        return;
    (void)psa_destroy_key(key->id);
    pthread_mutex_destroy(&key->lock);
    mg_free(key);
}

void mg_audit_confirm(struct mg_audit_key *key, const struct mg_audit_mark *mark)
{
    pthread_mutex_lock(&key->lock);
    if (mark->seq > key->mark.seq)
        key->mark = *mark;
    pthread_mutex_unlock(&key->lock);
}

static struct mg_audit_mark confirmed(const struct mg_audit_key *key)
{
    struct mg_audit_key *mine = (struct mg_audit_key *)(uintptr_t)key;
    pthread_mutex_lock(&mine->lock);
    struct mg_audit_mark mark = mine->mark;
    pthread_mutex_unlock(&mine->lock);
    return mark;
}

/* ---- the chain ------------------------------------------------------------------------------- */

static mg_err put_u64(struct mg_buf *out, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        MG_TRY(mg_buf_putc(out, (char)(value >> shift)));
    return MG_OK;
}

static mg_err put_text(struct mg_buf *out, mg_view text)
{
    MG_TRY(put_u64(out, text.len));
    return mg_buf_put(out, text);
}

static mg_err put_entry(struct mg_buf *out, const chain_bytes before, const struct mg_audit_entry *entry)
{
    MG_TRY(mg_buf_put(out, mg_view_of((const char *)before, MG_AUDIT_CHAIN_BYTES)));
    MG_TRY(put_u64(out, entry->seq));
    MG_TRY(put_u64(out, entry->at_us));
    MG_TRY(put_text(out, entry->actor));
    MG_TRY(put_text(out, entry->act));
    MG_TRY(put_text(out, entry->project));
    MG_TRY(put_text(out, entry->subject));
    return put_text(out, entry->detail);
}

/* `chain` holds the one before and gets the new one. */
static mg_err link_entry(const struct mg_audit_key *key, const struct mg_audit_entry *entry, chain_bytes chain)
{
    struct mg_buf text;
    mg_buf_init(&text, 1 << 20);
    mg_err err = put_entry(&text, chain, entry);
    if (err == MG_OK)
        hmac(key->id, &text, chain);
    mg_buf_fini(&text);
    return err;
}

static mg_err head_of(const struct mg_audit_key *key, uint64_t seq, const chain_bytes chain, chain_bytes out_head)
{
    struct mg_buf text;
    mg_buf_init(&text, 64);
    mg_err err = mg_buf_put(&text, MG_VIEW("head"));
    if (err == MG_OK)
        err = put_u64(&text, seq);
    if (err == MG_OK)
        err = mg_buf_put(&text, mg_view_of((const char *)chain, MG_AUDIT_CHAIN_BYTES));
    if (err == MG_OK)
        hmac(key->id, &text, out_head);
    mg_buf_fini(&text);
    return err;
}

/* ---- appending ------------------------------------------------------------------------------- */

static void copy_chain(chain_bytes chain, mg_view blob)
{
    memset(chain, 0, MG_AUDIT_CHAIN_BYTES);
    if (blob.len == MG_AUDIT_CHAIN_BYTES)
        memcpy(chain, blob.ptr, blob.len);
}

static mg_err read_newest(struct mg_db *db, uint64_t *out_seq, chain_bytes chain)
{
    struct mg_stmt *stmt;
    bool row;
    MG_TRY(mg_db_prepare(db, "SELECT seq, chain FROM audit ORDER BY seq DESC LIMIT 1", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    *out_seq = err == MG_OK && row ? (uint64_t)mg_stmt_int(stmt, 0) : 0;
    copy_chain(chain, err == MG_OK && row ? mg_stmt_blob(stmt, 1) : MG_VIEW_NONE);
    mg_stmt_free(stmt);
    return err;
}

static mg_err insert(struct mg_db *db, const struct mg_audit_entry *entry, const chain_bytes chain)
{
    struct mg_stmt *stmt;
    const mg_view texts[] = {entry->actor, entry->act, entry->project, entry->subject, entry->detail};
    MG_TRY(mg_db_prepare(db, "INSERT INTO audit (seq, at_us, actor, act, project, subject, detail, chain) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)entry->seq);
    mg_stmt_bind_int(stmt, 2, (int64_t)entry->at_us);
    for (int i = 0; i < 5; i++)
        mg_stmt_bind_text(stmt, 3 + i, texts[i].ptr ? texts[i] : MG_VIEW(""));
    mg_stmt_bind_blob(stmt, 8, mg_view_of((const char *)chain, MG_AUDIT_CHAIN_BYTES));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

static mg_err set_head(struct mg_db *db, uint64_t seq, const chain_bytes head)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "INSERT INTO audit_head (one, seq, mac) VALUES (1, ?, ?) "
                             "ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, mac = excluded.mac", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)seq);
    mg_stmt_bind_blob(stmt, 2, mg_view_of((const char *)head, MG_AUDIT_CHAIN_BYTES));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

/* Where the log stands: its newest entry, and its head row. */
struct tail {
    uint64_t seq;                      /* of the newest entry; 0: there is none */
    chain_bytes chain;                 /* its */
    struct mg_audit_mark head;         /* seq 0: there is none */
};

static mg_err read_tail(struct mg_db *db, struct tail *out_tail)
{
    struct mg_stmt *stmt;
    bool row;
    *out_tail = (struct tail){.seq = 0};
    MG_TRY(read_newest(db, &out_tail->seq, out_tail->chain));
    MG_TRY(mg_db_prepare(db, "SELECT seq, mac FROM audit_head", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && row) {
        out_tail->head.seq = (uint64_t)mg_stmt_int(stmt, 0);
        copy_chain(out_tail->head.head, mg_stmt_blob(stmt, 1));
    }
    mg_stmt_free(stmt);
    return err;
}

static bool same(const chain_bytes a, const chain_bytes b)
{
    return mg_view_eq_ct(mg_view_of((const char *)a, MG_AUDIT_CHAIN_BYTES), mg_view_of((const char *)b, MG_AUDIT_CHAIN_BYTES));
}

/* Does the log end where its head and this process say? *out_good. */
static mg_err check_tail(const struct mg_audit_key *key, const struct tail *tail, bool *out_good)
{
    chain_bytes head;
    struct mg_audit_mark mark = confirmed(key);
    MG_TRY(head_of(key, tail->seq, tail->chain, head));
    bool ends = tail->seq > 0 && tail->head.seq == tail->seq && same(tail->head.head, head);
    bool goes_on = tail->seq > mark.seq || (tail->seq == mark.seq && same(mark.head, head));
    *out_good = ends && goes_on;
    return MG_OK;
}

static mg_err put(const struct mg_audit_key *key, struct mg_db *db, const struct mg_audit_entry *entry, struct tail *tail)
{
    struct mg_audit_entry copy = *entry;
    copy.seq = tail->seq + 1;
    if (!copy.at_us)
        copy.at_us = mg_wall_us();
    copy.detail = mg_view_head(copy.detail, MG_AUDIT_DETAIL_BYTES);
    MG_TRY(link_entry(key, &copy, tail->chain));
    MG_TRY(insert(db, &copy, tail->chain));
    tail->seq = tail->head.seq = copy.seq;
    MG_TRY(head_of(key, copy.seq, tail->chain, tail->head.head));
    return set_head(db, copy.seq, tail->head.head);
}

/* The numbers that were taken away, or one more, stay free: whoever verifies finds them missing from now on. */
static mg_err put_break(const struct mg_audit_key *key, struct mg_db *db, const char *why, struct tail *tail)
{
    const struct mg_audit_entry entry = {.actor = MG_VIEW("moongate"), .act = MG_VIEW("audit.broken"), .detail = mg_view_cstr(why)};
    uint64_t head = tail->head.seq < tail->seq + MOST_AHEAD ? tail->head.seq : 0, most = MG_MAX(head, confirmed(key).seq);
    tail->seq = MG_MAX(most, tail->seq + 1);
    mg_log_error("audit.broken", "missing=%llu reason=\"%s\"", (unsigned long long)tail->seq, why);
    return put(key, db, &entry, tail);
}

mg_err mg_audit_begin(const struct mg_audit_key *key, struct mg_db *db, bool again, mg_view late)
{
    struct tail tail;
    const struct mg_audit_entry entry = {.actor = MG_VIEW("moongate"), .act = MG_VIEW("audit.begun"), .detail = late};
    MG_TRY(read_tail(db, &tail));
    return again ? put_break(key, db, "the key of the log before was taken away, and perhaps the log", &tail)
                 : put(key, db, &entry, &tail);
}

mg_err mg_audit_open(struct mg_audit_key *key, struct mg_db *db)
{
    struct tail tail;
    bool good;
    MG_TRY(read_tail(db, &tail));
    MG_TRY(check_tail(key, &tail, &good));
    if (good)
        mg_audit_confirm(key, &tail.head);
    else
        mg_log_error("audit.broken", "reason=\"the log does not end where it had; moongate audit verify says more\"");
    return MG_OK;
}

mg_err mg_audit_append(const struct mg_audit_key *key, struct mg_db *db, const struct mg_audit_entry *entry,
                       struct mg_audit_mark *out_mark)
{
    struct tail tail;
    bool good;
    MG_TRY(read_tail(db, &tail));
    MG_TRY(check_tail(key, &tail, &good));
    if (!good)
        MG_TRY(put_break(key, db, "the log did not end where it had: entries or its head were taken away or put back", &tail));
    MG_TRY(put(key, db, entry, &tail));
    if (out_mark)
        *out_mark = tail.head;
    return MG_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct mg_audit_entry read_entry(struct mg_stmt *stmt)
{
    return (struct mg_audit_entry){
        .seq = (uint64_t)mg_stmt_int(stmt, 0),
        .at_us = (uint64_t)mg_stmt_int(stmt, 1),
        .actor = mg_stmt_text(stmt, 2),
        .act = mg_stmt_text(stmt, 3),
        .project = mg_stmt_text(stmt, 4),
        .subject = mg_stmt_text(stmt, 5),
        .detail = mg_stmt_text(stmt, 6),
    };
}

mg_err mg_audit_each(struct mg_db *db, uint64_t after, size_t limit,
                     void (*each)(void *arg, const struct mg_audit_entry *entry), void *arg)
{
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    MG_TRY(mg_db_prepare(db, "SELECT seq, at_us, actor, act, project, subject, detail FROM audit WHERE seq > ? "
                             "ORDER BY seq LIMIT ?", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)after);
    mg_stmt_bind_int(stmt, 2, (int64_t)limit);
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        struct mg_audit_entry entry = read_entry(stmt);
        each(arg, &entry);
    }
    mg_stmt_free(stmt);
    return err;
}

/* ---- verifying ------------------------------------------------------------------------------- */

struct verifying {
    const struct mg_audit_key *key;
    struct mg_audit_report *report;
    chain_bytes chain;                 /* of the last good entry */
    uint64_t seq;                      /* its number */
    struct mg_audit_mark mark;         /* as far as this process knows that it went */
    uint64_t kept_seq;                 /* 0: none was given */
    mg_view kept_head;
};

static void blame(struct mg_audit_report *report, uint64_t seq, const char *what)
{
    if (report->bad_seq)
        return;
    report->bad_seq = seq;
    report->what = what;
}

static void print_chain(const chain_bytes chain, char out[2 * MG_AUDIT_CHAIN_BYTES + 1])
{
    for (int i = 0; i < MG_AUDIT_CHAIN_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", chain[i]);
}

static mg_err verify_mark(struct verifying *v)
{
    chain_bytes head;
    if (v->seq != v->mark.seq)
        return MG_OK;
    MG_TRY(head_of(v->key, v->seq, v->chain, head));
    if (!same(head, v->mark.head))
        blame(v->report, v->seq, "is not the one that this process entered");
    return MG_OK;
}

static mg_err verify_row(struct verifying *v, struct mg_stmt *stmt)
{
    struct mg_audit_entry entry = read_entry(stmt);
    v->report->entries++;
    if (v->report->bad_seq)
        return MG_OK;
    if (entry.seq != v->seq + 1) {
        blame(v->report, v->seq + 1, "is missing");
        return MG_OK;
    }
    MG_TRY(link_entry(v->key, &entry, v->chain));
    mg_view stored = mg_stmt_blob(stmt, 7);
    if (!mg_view_eq_ct(stored, mg_view_of((const char *)v->chain, MG_AUDIT_CHAIN_BYTES)))
        blame(v->report, entry.seq, "was changed, or what stood before it");
    v->seq = entry.seq;
    if (entry.seq == 1)
        snprintf(v->report->late, sizeof v->report->late, "%.*s", MG_FMT(entry.detail));
    print_chain(v->chain, v->report->head);
    MG_TRY(verify_mark(v));
    if (v->seq == v->kept_seq && mg_view_eq(v->kept_head, mg_view_cstr(v->report->head)))
        v->report->kept_found = true;
    return MG_OK;
}

static mg_err verify_end(struct verifying *v, struct mg_db *db)
{
    struct tail tail;
    chain_bytes head;
    MG_TRY(read_tail(db, &tail));
    MG_TRY(head_of(v->key, v->seq, v->chain, head));
    if (!tail.head.seq)
        blame(v->report, v->seq + 1, "is missing: the log has no head");
    else if (tail.head.seq > v->seq)
        blame(v->report, v->seq + 1, "is missing: the log was cut off at its end");
    else if (tail.head.seq != v->seq || !same(tail.head.head, head))
        blame(v->report, MG_MAX(v->seq, (uint64_t)1), "is not the entry that the head names");
    if (v->mark.seq > v->seq)
        blame(v->report, v->seq + 1, "is missing: the log was put back to what it was before");
    return MG_OK;
}

mg_err mg_audit_verify(const struct mg_audit_key *key, struct mg_db *db, mg_view kept, struct mg_audit_report *out_report)
{
    struct mg_audit_report report = {.what = "is good"};
    struct verifying v = {.key = key, .report = &report, .mark = confirmed(key)};
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    mg_view seq = mg_view_cut(&kept, ':');
    if (seq.len && (!mg_view_u64(seq, &v.kept_seq) || !v.kept_seq))
        return MG_E_BAD_REQUEST;
    v.kept_head = kept;
    MG_TRY(mg_db_prepare(db, "SELECT seq, at_us, actor, act, project, subject, detail, chain FROM audit ORDER BY seq", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row && err == MG_OK)
        err = verify_row(&v, stmt);
    mg_stmt_free(stmt);
    MG_TRY(err);
    MG_TRY(verify_end(&v, db));
    if (v.kept_seq && !report.kept_found)
        blame(&report, v.kept_seq, "is not the one whose head was kept: the store was put back from an older copy, or rewritten");
    *out_report = report;
    return MG_OK;
}
