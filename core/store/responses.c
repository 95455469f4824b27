/* Statements are prepared for each call: a call comes once a batch or once a request of a client that goes on, on a thread that
 * may wait. Sums are kept beside the rows and changed with them, so that what a project keeps need not be counted. */
#include "store/responses.h"

#include "base/limits.h"

enum { GONE = -1, EVICT_THREADS = 256 };

/* ---- small things ---------------------------------------------------------------------------- */

struct value {
    bool text;
    int64_t number;
    mg_view view;
};

#define INT(n) ((struct value){.number = (int64_t)(n)})
#define TEXT(v) ((struct value){.text = true, .view = (v)})

static void bind_all(struct mg_stmt *stmt, const struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i].text)
            mg_stmt_bind_text(stmt, (int)i + 1, values[i].view);
        else
            mg_stmt_bind_int(stmt, (int)i + 1, values[i].number);
    }
}

static mg_err run_all(struct mg_db *db, const char *sql, const struct value *values, size_t count)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, sql, &stmt));
    bind_all(stmt, values, count);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

#define RUN(db, sql, ...) \
    run_all(db, sql, (const struct value[]){__VA_ARGS__}, sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))

/* The numbers of the first row; *out_row false: there is none. */
static mg_err ask_all(struct mg_db *db, const char *sql, const struct value *values, size_t count, int64_t *out, int columns,
                      bool *out_row)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, sql, &stmt));
    bind_all(stmt, values, count);
    mg_err err = mg_stmt_step(stmt, out_row);
    for (int i = 0; i < columns && err == MG_OK && *out_row; i++)
        out[i] = mg_stmt_int(stmt, i);
    mg_stmt_free(stmt);
    return err;
}

#define ASK(db, out, row, sql, ...) \
    ask_all(db, sql, (const struct value[]){__VA_ARGS__}, sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value), out, \
            (int)(sizeof(out) / sizeof *(out)), row)

static mg_err add_to_project(struct mg_db *db, mg_view project, int64_t count, int64_t bytes)
{
    return RUN(db, "INSERT INTO response_projects (project, count, bytes) VALUES (?1, ?2, ?3) "
                   "ON CONFLICT (project) DO UPDATE SET count = response_projects.count + ?2, bytes = response_projects.bytes + ?3",
               TEXT(project), INT(count), INT(bytes));
}

/* ---- forgetting ------------------------------------------------------------------------------ */

struct thread {
    int64_t number, count, bytes;
};

static mg_err forget_thread(struct mg_db *db, mg_view project, const struct thread *thread)
{
    MG_TRY(RUN(db, "DELETE FROM response_items WHERE seq IN (SELECT seq FROM responses WHERE thread = ?1)", INT(thread->number)));
    MG_TRY(RUN(db, "DELETE FROM responses WHERE thread = ?1", INT(thread->number)));
    MG_TRY(RUN(db, "DELETE FROM response_threads WHERE thread = ?1", INT(thread->number)));
    return add_to_project(db, project, -thread->count, -thread->bytes);
}

/* The next to be forgotten, but for one. */
static mg_err oldest_thread(struct mg_db *db, mg_view project, int64_t except, struct thread *out_thread, bool *out_row)
{
    int64_t found[3] = {0};
    MG_TRY(ASK(db, found, out_row, "SELECT thread, count, bytes FROM response_threads WHERE project = ?1 AND thread <> ?2 "
               "ORDER BY expires_us LIMIT 1", TEXT(project), INT(except)));
    *out_thread = (struct thread){found[0], found[1], found[2]};
    return MG_OK;
}

static mg_err make_room(struct mg_db *db, const struct mg_response_row *row, const struct mg_response_limits *limits,
                        int64_t except, uint64_t *out_gone)
{
    for (int i = 0; i < EVICT_THREADS; i++) {
        int64_t now[2] = {0};
        bool any;
        struct thread thread;
        MG_TRY(ASK(db, now, &any, "SELECT count, bytes FROM response_projects WHERE project = ?1", TEXT(row->project)));
        if (now[0] + 1 <= limits->max_count && now[1] + (int64_t)row->sealed.len <= limits->max_bytes)
            return MG_OK;
        MG_TRY(oldest_thread(db, row->project, except, &thread, &any));
        if (!any)
            return MG_OK;
        MG_TRY(forget_thread(db, row->project, &thread));
        *out_gone += (uint64_t)thread.count;
    }
    return MG_OK;                      /* the rest goes with the next one */
}

static mg_err sweep_one(struct mg_db *db, uint64_t now_us, uint64_t *out_gone, bool *out_row)
{
    struct mg_stmt *stmt;
    struct thread thread = {0};
    MG_TRY(mg_db_prepare(db, "SELECT thread, count, bytes, project FROM response_threads WHERE expires_us <= ? "
                             "ORDER BY expires_us LIMIT 1", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)now_us);
    mg_err err = mg_stmt_step(stmt, out_row);
    if (err == MG_OK && *out_row) {
        thread = (struct thread){mg_stmt_int(stmt, 0), mg_stmt_int(stmt, 1), mg_stmt_int(stmt, 2)};
        *out_gone += (uint64_t)thread.count;
        err = forget_thread(db, mg_stmt_text(stmt, 3), &thread);
    }
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_responses_sweep(struct mg_db *db, uint64_t now_us, unsigned max_threads, uint64_t *out_gone, bool *out_more)
{
    *out_gone = 0;
    *out_more = true;
    for (unsigned i = 0; i < max_threads && *out_more; i++)
        MG_TRY(sweep_one(db, now_us, out_gone, out_more));
    return MG_OK;
}

static mg_err erase_all(struct mg_db *db, mg_view project, uint64_t *out_gone)
{
    int64_t count[1] = {0};
    bool any;
    MG_TRY(ASK(db, count, &any, "SELECT count FROM response_projects WHERE project = ?1", TEXT(project)));
    MG_TRY(RUN(db, "DELETE FROM response_items WHERE project = ?1", TEXT(project)));
    MG_TRY(RUN(db, "DELETE FROM responses WHERE project = ?1", TEXT(project)));
    MG_TRY(RUN(db, "DELETE FROM response_threads WHERE project = ?1", TEXT(project)));
    MG_TRY(RUN(db, "DELETE FROM response_projects WHERE project = ?1", TEXT(project)));
    *out_gone = (uint64_t)count[0];
    return MG_OK;
}

/* The sums are made anew of what is left. */
static mg_err count_again(struct mg_db *db, mg_view project)
{
    MG_TRY(RUN(db, "UPDATE response_threads SET "
                   "count = (SELECT count(*) FROM responses r WHERE r.thread = response_threads.thread), "
                   "bytes = (SELECT coalesce(sum(r.bytes), 0) FROM responses r WHERE r.thread = response_threads.thread) "
                   "WHERE project = ?1", TEXT(project)));
    MG_TRY(RUN(db, "DELETE FROM response_threads WHERE project = ?1 AND count = 0", TEXT(project)));
    return RUN(db, "UPDATE response_projects SET "
                   "count = (SELECT coalesce(sum(t.count), 0) FROM response_threads t WHERE t.project = ?1), "
                   "bytes = (SELECT coalesce(sum(t.bytes), 0) FROM response_threads t WHERE t.project = ?1) WHERE project = ?1",
               TEXT(project));
}

mg_err mg_responses_erase(struct mg_db *db, mg_view project, mg_view owner, uint64_t *out_gone)
{
    *out_gone = 0;
    if (!owner.len)
        return erase_all(db, project, out_gone);
    MG_TRY(RUN(db, "DELETE FROM response_items WHERE seq IN (SELECT seq FROM responses WHERE project = ?1 AND owner = ?2)", TEXT(project),
               TEXT(owner)));
    MG_TRY(RUN(db, "DELETE FROM responses WHERE project = ?1 AND owner = ?2", TEXT(project), TEXT(owner)));
    *out_gone = (uint64_t)mg_db_changes(db);
    return *out_gone ? count_again(db, project) : MG_OK;
}

/* ---- keeping --------------------------------------------------------------------------------- */

/* Where a new response comes. */
struct place {
    int64_t seq, thread, depth, total_bytes;     /* seq 0: its thread is new */
    int64_t parent, count, bytes;                /* of the thread, so far */
};

static mg_err find_place(struct mg_db *db, const struct mg_response_row *row, struct place *out_place)
{
    int64_t found[5] = {0};
    bool any = false;
    *out_place = (struct place){.parent = row->parent ? GONE : 0};
    if (row->parent)
        MG_TRY(ASK(db, found, &any, "SELECT r.thread, r.depth, r.total_bytes, t.count, t.bytes FROM responses r "
                   "JOIN response_threads t ON t.thread = r.thread WHERE r.seq = ?1 AND r.project = ?2",
                   INT(row->parent), TEXT(row->project)));
    if (any)
        *out_place = (struct place){.thread = found[0], .depth = found[1], .total_bytes = found[2], .count = found[3],
                                    .bytes = found[4], .parent = row->parent};
    int64_t last[1] = {0};
    MG_TRY(ASK(db, last, &any, "SELECT coalesce(max(seq), 0) FROM responses WHERE seq > ?1", INT(0)));
    out_place->seq = last[0] + 1;
    return MG_OK;
}

/* What follows a response that is gone keeps the depth that says so. */
static mg_err insert_row(struct mg_db *db, const struct mg_response_row *row, const struct place *place)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "INSERT INTO responses (seq, project, id, name, owner, thread, parent, depth, bytes, total_bytes, "
                             "created_us, sealed) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)", &stmt));
    mg_stmt_bind_int(stmt, 1, place->seq);
    mg_stmt_bind_text(stmt, 2, row->project);
    mg_stmt_bind_text(stmt, 3, row->id);
    mg_stmt_bind_text(stmt, 4, row->owner);
    mg_stmt_bind_int(stmt, 5, place->thread);
    if (place->parent)
        mg_stmt_bind_int(stmt, 6, place->parent);
    mg_stmt_bind_int(stmt, 7, place->parent ? place->depth + 1 : 0);
    mg_stmt_bind_int(stmt, 8, (int64_t)row->sealed.len);
    mg_stmt_bind_int(stmt, 9, place->total_bytes + (int64_t)row->sealed.len);
    mg_stmt_bind_int(stmt, 10, (int64_t)row->created_us);
    mg_stmt_bind_blob(stmt, 11, row->sealed);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

static mg_err insert_items(struct mg_db *db, const struct mg_response_row *row, int64_t seq)
{
    for (size_t i = 0; i < row->item_count; i++)
        MG_TRY(RUN(db, "INSERT INTO response_items (project, item, seq) VALUES (?1, ?2, ?3) "
                       "ON CONFLICT (project, item) DO UPDATE SET seq = ?3", TEXT(row->project), TEXT(row->items[i]), INT(seq)));
    return MG_OK;
}

mg_err mg_responses_put(struct mg_db *db, const struct mg_response_row *row, const struct mg_response_limits *limits,
                        uint64_t now_us, uint64_t *out_gone)
{
    struct place place;
    int64_t len = (int64_t)row->sealed.len;
    *out_gone = 0;
    MG_TRY(find_place(db, row, &place));
    if (place.count + 1 > limits->max_count || place.bytes + len > limits->max_bytes)
        return MG_E_TOO_LARGE;
    MG_TRY(make_room(db, row, limits, place.thread, out_gone));
    if (!place.thread)
        place.thread = place.seq;
    MG_TRY(RUN(db, "UPDATE responses SET id = NULL WHERE project = ?1 AND id = ?2", TEXT(row->project), TEXT(row->id)));
    MG_TRY(insert_row(db, row, &place));
    MG_TRY(insert_items(db, row, place.seq));
    MG_TRY(RUN(db, "INSERT INTO response_threads (thread, project, expires_us, count, bytes) VALUES (?1, ?2, ?3, 1, ?4) "
                   "ON CONFLICT (thread) DO UPDATE SET expires_us = ?3, count = response_threads.count + 1, "
                   "bytes = response_threads.bytes + ?4",
               INT(place.thread), TEXT(row->project), INT(now_us + limits->max_age_us), INT(len)));
    return add_to_project(db, row->project, 1, len);
}

/* ---- finding --------------------------------------------------------------------------------- */

struct head {
    int64_t seq, parent, depth, total_bytes, thread, bytes;
    mg_view owner;                     /* in the arena */
};

static mg_err find_head(struct mg_db *db, struct mg_arena *arena, mg_view project, mg_view id, uint64_t now_us, struct head *out_head)
{
    struct mg_stmt *stmt;
    bool row;
    MG_TRY(mg_db_prepare(db, "SELECT r.seq, r.parent, r.depth, r.total_bytes, r.thread, r.bytes, r.owner FROM responses r "
                             "JOIN response_threads t ON t.thread = r.thread "
                             "WHERE r.project = ? AND r.id = ? AND t.expires_us > ?", &stmt));
    mg_stmt_bind_text(stmt, 1, project);
    mg_stmt_bind_text(stmt, 2, id);
    mg_stmt_bind_int(stmt, 3, (int64_t)now_us);
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && row)
        *out_head = (struct head){mg_stmt_int(stmt, 0), mg_stmt_int(stmt, 1), mg_stmt_int(stmt, 2), mg_stmt_int(stmt, 3),
                                  mg_stmt_int(stmt, 4), mg_stmt_int(stmt, 5), mg_arena_dup(arena, mg_stmt_text(stmt, 6))};
    mg_stmt_free(stmt);
    return err == MG_OK && !row ? MG_E_NOT_FOUND : err;
}

/* From the last to the first. A response follows only older ones, so this ends. */
static mg_err read_links(struct mg_db *db, struct mg_arena *arena, mg_view project, const struct head *head,
                         struct mg_response_chain *chain)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "SELECT parent, name, created_us, sealed FROM responses WHERE seq = ? AND project = ?", &stmt));
    mg_err err = MG_OK;
    int64_t seq = head->seq;
    for (size_t i = chain->count; i-- > 0 && err == MG_OK;) {
        bool row;
        mg_stmt_bind_int(stmt, 1, seq);
        mg_stmt_bind_text(stmt, 2, project);
        err = mg_stmt_step(stmt, &row);
        if (err == MG_OK && !row)
            err = MG_E_NOT_FOUND;      /* deleted */
        if (err != MG_OK)
            break;
        chain->links[i] = (struct mg_response_link){seq, mg_arena_dup(arena, mg_stmt_text(stmt, 1)),
                                                    (uint64_t)mg_stmt_int(stmt, 2), mg_arena_dup(arena, mg_stmt_blob(stmt, 3))};
        int64_t parent = mg_stmt_int(stmt, 0);
        mg_stmt_reset(stmt);
        if (i > 0 && (parent <= 0 || parent >= seq))
            err = MG_E_NOT_FOUND;
        seq = parent;
    }
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_responses_find(struct mg_db *db, struct mg_arena *arena, mg_view project, mg_view owner, mg_view id, bool whole,
                         int64_t max_bytes, uint64_t now_us, struct mg_response_chain *out_chain)
{
    struct head head;
    MG_TRY(find_head(db, arena, project, id, now_us, &head));
    if (owner.len && !mg_view_eq(owner, head.owner))
        return MG_E_NOT_FOUND;
    if ((whole ? head.total_bytes : head.bytes) > max_bytes || (whole && head.depth >= MG_MAX_RESPONSE_CHAIN))
        return MG_E_TOO_LARGE;
    *out_chain = (struct mg_response_chain){.count = whole ? (size_t)head.depth + 1 : 1, .owner = head.owner};
    out_chain->links = mg_arena_array(arena, struct mg_response_link, out_chain->count);
    return read_links(db, arena, project, &head, out_chain);
}

mg_err mg_responses_find_item(struct mg_db *db, struct mg_arena *arena, mg_view project, mg_view owner, mg_view item, uint64_t now_us,
                              struct mg_response_link *out_link)
{
    struct mg_stmt *stmt;
    bool row;
    MG_TRY(mg_db_prepare(db, "SELECT r.seq, r.name, r.created_us, r.sealed, r.owner FROM response_items i JOIN responses r ON r.seq = i.seq "
                             "JOIN response_threads t ON t.thread = r.thread "
                             "WHERE i.project = ?1 AND i.item = ?2 AND r.project = ?1 AND t.expires_us > ?3", &stmt));
    mg_stmt_bind_text(stmt, 1, project);
    mg_stmt_bind_text(stmt, 2, item);
    mg_stmt_bind_int(stmt, 3, (int64_t)now_us);
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && (!row || (owner.len && !mg_view_eq(owner, mg_stmt_text(stmt, 4)))))
        err = MG_E_NOT_FOUND;
    if (err == MG_OK)
        *out_link = (struct mg_response_link){mg_stmt_int(stmt, 0), mg_arena_dup(arena, mg_stmt_text(stmt, 1)),
                                              (uint64_t)mg_stmt_int(stmt, 2), mg_arena_dup(arena, mg_stmt_blob(stmt, 3))};
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_responses_delete(struct mg_db *db, mg_view project, mg_view owner, mg_view id, uint64_t now_us)
{
    struct mg_arena arena;
    struct head head;
    mg_arena_init(&arena, 256);
    mg_err err = find_head(db, &arena, project, id, now_us, &head);
    if (err == MG_OK && owner.len && !mg_view_eq(owner, head.owner))
        err = MG_E_NOT_FOUND;
    mg_arena_fini(&arena);
    MG_TRY(err);
    MG_TRY(RUN(db, "DELETE FROM response_items WHERE seq = ?1", INT(head.seq)));
    MG_TRY(RUN(db, "DELETE FROM responses WHERE seq = ?1", INT(head.seq)));
    MG_TRY(RUN(db, "UPDATE response_threads SET count = count - 1, bytes = bytes - ?2 WHERE thread = ?1", INT(head.thread),
               INT(head.bytes)));
    MG_TRY(RUN(db, "DELETE FROM response_threads WHERE thread = ?1 AND count = 0", INT(head.thread)));
    return add_to_project(db, project, -1, -head.bytes);
}

mg_err mg_responses_sums(struct mg_db *db, void (*each)(void *arg, const struct mg_response_sum *sum), void *arg)
{
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    MG_TRY(mg_db_prepare(db, "SELECT p.project, p.count, p.bytes, (SELECT min(r.created_us) FROM responses r WHERE r.project = p.project) "
                             "FROM response_projects p WHERE p.count > 0 ORDER BY p.project", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row)
        each(arg, &(struct mg_response_sum){mg_stmt_text(stmt, 0), mg_stmt_int(stmt, 1), mg_stmt_int(stmt, 2),
                                            (uint64_t)mg_stmt_int(stmt, 3)});
    mg_stmt_free(stmt);
    return err;
}
