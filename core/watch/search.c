/* The parts that a question goes over are the packed blocks and then the open ones, which have the rows of the database. A row
 * may stand in both for a moment: the packed one counts. */
#include "watch/search.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "meter/ledger.h"
#include "watch/search_parts.h"

/* ---- open rows */

struct mg_search *mg_search_new(struct mg_db *db)
{
    struct mg_search *search = mg_new(struct mg_search);
    search->db = db;
    search->archive = mg_archive_new(db);
    search->selection = mg_new(struct mg_selection);
    return search;
}

static void drop_open(struct mg_search *search, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        mg_block_free(search->open[i]);
    if (count < search->open_count)
        memmove(search->open, search->open + count, (search->open_count - count) * sizeof search->open[0]);
    search->open_count -= count;
}

void mg_search_free(struct mg_search *search)
{
    if (!search)
        return;
    drop_open(search, search->open_count);
    mg_archive_free(search->archive);
    mg_free(search->selection);
    mg_free(search->open);
    mg_free(search);
}

static void begin_open(struct mg_search *search)
{
    search->open = mg_realloc(search->open, (search->open_count + 1) * sizeof search->open[0]);
    search->open[search->open_count++] = mg_block_new(false);
}

static mg_err put_open(void *arg, const struct mg_block_row *row)
{
    struct mg_search *search = arg;
    if (search->open_count == 0)
        begin_open(search);
    mg_err err = mg_block_put(search->open[search->open_count - 1], row);
    if (err != MG_E_TOO_LARGE)
        return err;
    begin_open(search);
    return mg_block_put(search->open[search->open_count - 1], row);
}

static uint64_t last_open_us(const struct mg_search *search)
{
    return search->open_count > 0 ? mg_block_last_us(search->open[search->open_count - 1]) : 0;
}

/* Of the newest block that can be read. */
static uint64_t last_packed_us(struct mg_search *search)
{
    for (size_t i = mg_archive_count(search->archive); i > 0; i--) {
        struct mg_block *block = mg_archive_block(search->archive, i - 1);
        if (block)
            return mg_block_last_us(block);
    }
    return 0;
}

/* The database is read before the folder: a row that was packed in between is in both, not in neither. */
mg_err mg_search_refresh(struct mg_search *search, struct mg_diag *diag)
{
    size_t packed = 0;
    mg_err err = mg_archive_each_open(search->db, last_open_us(search), 0, put_open, search);
    if (err != MG_OK)
        return mg_diag_set(diag, err, mg_db_path(search->db), 0, "%s", mg_db_message(search->db));
    MG_TRY(mg_archive_refresh(search->archive, diag));
    search->packed_us = last_packed_us(search);
    while (packed < search->open_count && mg_block_last_us(search->open[packed]) <= search->packed_us)
        packed++;
    drop_open(search, packed);
    mg_archive_trim(search->archive, MG_SEARCH_BYTES);
    return MG_OK;
}

/* ---- going over the parts */

size_t mg_search_parts(const struct mg_search *search)
{
    return mg_archive_count(search->archive) + search->open_count;
}

static struct mg_block *part_at(struct mg_search *search, size_t part)
{
    size_t packed = mg_archive_count(search->archive);
    return part < packed ? mg_archive_block(search->archive, part) : search->open[part - packed];
}

/* Blocks outside the span are not even opened. */
static bool is_outside(const struct mg_search *search, size_t part, uint64_t since_us, uint64_t until_us)
{
    size_t packed = mg_archive_count(search->archive);
    if (part >= packed)
        return false;
    bool before = part + 1 < packed && mg_archive_first_us(search->archive, part + 1) <= since_us;
    return before || mg_archive_first_us(search->archive, part) >= until_us;
}

mg_err mg_search_part(struct mg_search *search, const struct mg_query *query, size_t part, uint64_t since_us, uint64_t until_us,
                      struct mg_block **out_block)
{
    bool is_open = part >= mg_archive_count(search->archive);
    *out_block = NULL;
    if (is_outside(search, part, since_us, until_us))
        return MG_OK;
    struct mg_block *block = part_at(search, part);
    since_us = is_open ? MG_MAX(since_us, search->packed_us + 1) : since_us;
    mg_err err = block ? mg_select(block, query, since_us, until_us, search->selection) : MG_E_STORE;
    search->effort.damaged += err == MG_E_STORE;
    if (err != MG_OK)
        return err == MG_E_STORE ? MG_OK : err;
    search->effort.blocks++;
    search->effort.rows += search->selection->to - search->selection->from;
    *out_block = search->selection->count > 0 ? block : NULL;
    return MG_OK;
}

void mg_search_begin(struct mg_search *search, const struct mg_query *query, uint64_t *out_since_us, uint64_t *out_until_us)
{
    search->effort = (struct mg_search_effort){0};
    *out_since_us = query->since_us;
    *out_until_us = query->until_us ? query->until_us : UINT64_MAX;
}

struct mg_search_effort mg_search_effort(const struct mg_search *search)
{
    return search->effort;
}

/* ---- rows */

static const enum mg_field row_fields[] = {
    MG_FIELD_at_us,       MG_FIELD_start_us,    MG_FIELD_project,      MG_FIELD_workflow,      MG_FIELD_key,
    MG_FIELD_path,        MG_FIELD_session,     MG_FIELD_provider,     MG_FIELD_model,         MG_FIELD_class,
    MG_FIELD_status,      MG_FIELD_attempts,    MG_FIELD_generation,   MG_FIELD_flags,         MG_FIELD_duration_us,
    MG_FIELD_overhead_us, MG_FIELD_ttft_us,     MG_FIELD_input_tokens, MG_FIELD_output_tokens, MG_FIELD_waited_us,
    MG_FIELD_cost_microusd, MG_FIELD_arm,       MG_FIELD_served,       MG_FIELD_user,          MG_FIELD_error_code,
};

static void fill_row(const struct mg_column *const *columns, uint32_t at, struct mg_logs_row *row)
{
#define NUMBER(name) mg_column_number(columns[MG_FIELD_##name], at)
#define TEXT(name) mg_column_view(columns[MG_FIELD_##name], at)
    int64_t flags = NUMBER(flags);
    *row = (struct mg_logs_row){
        .at_us = (uint64_t)NUMBER(at_us),
        .start_us = (uint64_t)NUMBER(start_us),
        .project = TEXT(project),
        .workflow = TEXT(workflow),
        .key_id = TEXT(key),
        .path = TEXT(path),
        .session = TEXT(session),
        .provider = TEXT(provider),
        .model = TEXT(model),
        .arm = TEXT(arm),
        .served = TEXT(served),
        .user = TEXT(user),
        .error_code = TEXT(error_code),
        .class_ = TEXT(class),
        .status = (int)NUMBER(status),
        .attempts = (unsigned)NUMBER(attempts),
        .generation = (uint32_t)NUMBER(generation),
        .stream = flags & MG_ROW_STREAM,
        .clean = flags & MG_ROW_CLEAN,
        .interrupted = flags & MG_ROW_INTERRUPTED,
        .estimated = flags & MG_ROW_ESTIMATED,
        .repeated = flags & MG_ROW_REPEATED,
        .fell_over = flags & MG_ROW_FELL_OVER,
        .hedged = flags & MG_ROW_HEDGED,
        .rescued = flags & MG_ROW_RESCUED,
        .offline = flags & MG_ROW_OFFLINE,
        .duration_us = (uint64_t)NUMBER(duration_us),
        .overhead_us = (uint64_t)NUMBER(overhead_us),
        .ttft_us = (uint64_t)NUMBER(ttft_us),
        .input_tokens = (uint64_t)NUMBER(input_tokens),
        .output_tokens = (uint64_t)NUMBER(output_tokens),
        .waited_us = (uint64_t)NUMBER(waited_us),
        .cost_microusd = (uint64_t)NUMBER(cost_microusd),
    };
#undef NUMBER
#undef TEXT
}

static mg_err tell_row(struct mg_block *block, uint32_t at, mg_logs_cb cb, void *arg)
{
    const struct mg_column *columns[MG_FIELD_COUNT];
    struct mg_logs_row row;
    char id[40];
    for (size_t i = 0; i < MG_COUNT(row_fields); i++)
        MG_TRY(mg_block_column(block, row_fields[i], &columns[row_fields[i]]));
    MG_TRY(mg_block_id(block, at, id));
    fill_row(columns, at, &row);
    row.id = mg_view_cstr(id);
    return cb(arg, &row);
}

struct page {
    struct mg_search *search;
    mg_logs_cb cb;
    void *arg;
    unsigned left;
    struct mg_search_cursor *cursor;
};

static unsigned limit_of(const struct mg_query *query)
{
    return query->limit ? MG_MIN(query->limit, (unsigned)MG_QUERY_LIMIT_MAX) : MG_QUERY_LIMIT;
}

/* Newest first, or oldest first, until the page is full. */
static mg_err page_part(struct page *page, struct mg_block *block, bool forward)
{
    const struct mg_selection *selection = page->search->selection;
    const struct mg_column *times;
    uint32_t rows = selection->to - selection->from;
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
    for (uint32_t i = 0; i < rows && page->left > 0; i++) {
        uint32_t at = forward ? selection->from + i : selection->to - 1 - i;
        if (!selection->chosen[at])
            continue;
        page->cursor->at_us = (uint64_t)mg_column_number(times, at);
        page->left--;
        MG_TRY(tell_row(block, at, page->cb, page->arg));
    }
    return MG_OK;
}

static mg_err page_by_time(struct page *page, const struct mg_query *query)
{
    bool forward = query->after > 0;
    uint64_t since_us, until_us;
    mg_search_begin(page->search, query, &since_us, &until_us);
    since_us = MG_MAX(since_us, forward ? query->after + 1 : 0);
    until_us = query->before ? MG_MIN(until_us, query->before) : until_us;
    size_t parts = mg_search_parts(page->search);
    for (size_t i = 0; i < parts && page->left > 0; i++) {
        struct mg_block *block;
        MG_TRY(mg_search_part(page->search, query, forward ? i : parts - 1 - i, since_us, until_us, &block));
        if (block)
            MG_TRY(page_part(page, block, forward));
    }
    return MG_OK;
}

/* ---- rows by another field: the best ones are kept while all are looked at */

struct best {
    int64_t value;
    uint64_t at_us;
    struct mg_block *block;
    uint32_t row;
};

struct ranking {
    struct best *heap;                 /* the worst on top */
    unsigned count, room;
};

static bool is_better(const struct best *a, const struct best *b)
{
    return a->value != b->value ? a->value > b->value : a->at_us > b->at_us;
}

static void sift_down(struct best *heap, unsigned count, unsigned at)
{
    for (unsigned child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_better(&heap[child], &heap[child + 1]))
            child++;
        if (!is_better(&heap[at], &heap[child]))
            return;
        struct best other = heap[at];
        heap[at] = heap[child];
        heap[child] = other;
    }
}

static void sift_up(struct best *heap, unsigned at)
{
    while (at > 0 && is_better(&heap[(at - 1) / 2], &heap[at])) {
        struct best other = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = other;
        at = (at - 1) / 2;
    }
}

static void consider(struct ranking *ranking, const struct best *candidate)
{
    if (ranking->count < ranking->room) {
        ranking->heap[ranking->count] = *candidate;
        sift_up(ranking->heap, ranking->count++);
    } else if (is_better(candidate, &ranking->heap[0])) {
        ranking->heap[0] = *candidate;
        sift_down(ranking->heap, ranking->count, 0);
    }
}

static mg_err rank_part(struct ranking *ranking, const struct mg_query *query, const struct mg_selection *selection,
                        struct mg_block *block)
{
    const struct mg_column *times, *values, *more;
    const struct best limit = {.value = query->before_value, .at_us = query->before};
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
    MG_TRY(mg_block_column(block, query->sort, &values));
    MG_TRY(mg_block_column(block, MG_FIELD_output_tokens, &more));
    for (uint32_t i = selection->from; i < selection->to; i++) {
        if (!selection->chosen[i])
            continue;
        struct best candidate = {.value = mg_column_number(values, i) + (query->by_tokens ? mg_column_number(more, i) : 0),
                                 .at_us = (uint64_t)mg_column_number(times, i),
                                 .block = block,
                                 .row = i};
        if (query->before == 0 || is_better(&limit, &candidate))
            consider(ranking, &candidate);
    }
    return MG_OK;
}

/* Best first: the worst goes to the end, again and again. */
static void sort_ranking(struct ranking *ranking)
{
    for (unsigned count = ranking->count; count > 1;) {
        struct best worst = ranking->heap[0];
        ranking->heap[0] = ranking->heap[--count];
        ranking->heap[count] = worst;
        sift_down(ranking->heap, count, 0);
    }
}

static mg_err rank_all(struct page *page, const struct mg_query *query, struct ranking *ranking)
{
    uint64_t since_us, until_us;
    mg_search_begin(page->search, query, &since_us, &until_us);
    for (size_t i = 0; i < mg_search_parts(page->search); i++) {
        struct mg_block *block;
        MG_TRY(mg_search_part(page->search, query, i, since_us, until_us, &block));
        if (block)
            MG_TRY(rank_part(ranking, query, page->search->selection, block));
    }
    sort_ranking(ranking);
    for (unsigned i = 0; i < ranking->count; i++) {
        const struct best *best = &ranking->heap[i];
        *page->cursor = (struct mg_search_cursor){best->at_us, best->value};
        page->left--;
        MG_TRY(tell_row(best->block, best->row, page->cb, page->arg));
    }
    return MG_OK;
}

static mg_err page_by_value(struct page *page, const struct mg_query *query)
{
    struct ranking ranking = {.room = page->left};
    ranking.heap = mg_new_array(struct best, ranking.room);
    mg_err err = rank_all(page, query, &ranking);
    mg_free(ranking.heap);
    return err;
}

mg_err mg_search_page(struct mg_search *search, const struct mg_query *query, mg_logs_cb cb, void *arg,
                      struct mg_search_cursor *out_cursor)
{
    struct page page = {search, cb, arg, limit_of(query), out_cursor};
    *out_cursor = (struct mg_search_cursor){.at_us = query->after};
    MG_TRY(query->sort == MG_FIELD_at_us ? page_by_time(&page, query) : page_by_value(&page, query));
    if (page.left > 0 && !query->after)
        out_cursor->at_us = 0;
    return MG_OK;
}

/* ---- one exchange */

static mg_err open_detail(struct mg_search *search, mg_view id, uint64_t began_us, struct mg_buf *out, int64_t *out_flags)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(search->db, "SELECT detail, flags FROM exchanges WHERE id = ? AND at_us >= ? ORDER BY at_us LIMIT 1",
                         &stmt));
    mg_stmt_bind_text(stmt, 1, id);
    mg_stmt_bind_int(stmt, 2, (int64_t)began_us);
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK)
        err = row ? mg_buf_put(out, mg_stmt_blob(stmt, 0)) : MG_E_NOT_FOUND;
    *out_flags = row ? mg_stmt_int(stmt, 1) : 0;
    mg_stmt_free(stmt);
    return err;
}

static mg_err packed_detail(struct mg_block *block, mg_view id, struct mg_buf *out, int64_t *out_flags)
{
    uint32_t row;
    mg_view detail;
    const struct mg_column *flags;
    MG_TRY(mg_block_find(block, id, &row));
    MG_TRY(mg_block_column(block, MG_FIELD_flags, &flags));
    MG_TRY(mg_block_detail(block, row, &detail));
    *out_flags = mg_column_number(flags, row);
    return mg_buf_put(out, detail);
}

/* An id of ours says when the request began, and its row is never older than that. */
mg_err mg_search_detail(struct mg_search *search, mg_view id, struct mg_buf *out, int64_t *out_flags)
{
    uint64_t began_us = 0;
    mg_exchange_id_time(id, &began_us);
    mg_err err = open_detail(search, id, began_us, out, out_flags);
    if (err != MG_E_NOT_FOUND)
        return err;
    MG_TRY(mg_archive_refresh(search->archive, NULL));
    for (size_t i = mg_archive_find(search->archive, began_us); i < mg_archive_count(search->archive); i++) {
        struct mg_block *block = mg_archive_block(search->archive, i);
        err = block ? packed_detail(block, id, out, out_flags) : MG_E_NOT_FOUND;
        if (err != MG_E_NOT_FOUND)
            return err;
    }
    return MG_E_NOT_FOUND;
}
