#include "meter/archive.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct item {
    uint64_t first_us;
    struct mg_block *block;            /* owned; NULL: not opened yet, or damaged */
    bool damaged;
    bool found;                        /* by the refresh that is going on */
    uint64_t used;                     /* count of uses when it was asked for last */
};

struct mg_archive {
    char folder[MG_ARCHIVE_PATH_BYTES];
    struct item *items;                /* owned, by first_us */
    size_t count, room;
    uint64_t uses;
    char reason[256];
};

void mg_archive_folder(const struct mg_db *db, char out_folder[MG_ARCHIVE_PATH_BYTES])
{
    const char *path = mg_db_path(db), *slash = strrchr(path, '/');
    snprintf(out_folder, MG_ARCHIVE_PATH_BYTES, "%.*srequests", slash ? (int)(slash - path) + 1 : 0, path);
}

struct mg_archive *mg_archive_new(const struct mg_db *db)
{
    struct mg_archive *archive = mg_new(struct mg_archive);
    mg_archive_folder(db, archive->folder);
    return archive;
}

void mg_archive_free(struct mg_archive *archive)
{
    if (!archive)
        return;
    for (size_t i = 0; i < archive->count; i++)
        mg_block_free(archive->items[i].block);
    mg_free(archive->items);
    mg_free(archive);
}

/* ---- which there are */

/* 1764000000000000.rows */
static bool read_name(const char *name, uint64_t *out_first_us)
{
    mg_view text = mg_view_cstr(name);
    return mg_view_ends(text, MG_VIEW(".rows")) && mg_view_u64(mg_view_head(text, text.len - 5), out_first_us);
}

size_t mg_archive_find(const struct mg_archive *archive, uint64_t at_us)
{
    size_t low = 0, high = archive->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (archive->items[middle].first_us <= at_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : 0;
}

static void note(struct mg_archive *archive, uint64_t first_us)
{
    size_t at = mg_archive_find(archive, first_us);
    if (at < archive->count && archive->items[at].first_us == first_us) {
        archive->items[at].found = true;
        return;
    }
    if (archive->count == archive->room) {
        archive->room = MG_MAX((size_t)64, archive->room * 2);
        archive->items = mg_realloc(archive->items, archive->room * sizeof archive->items[0]);
    }
    at += at < archive->count && archive->items[at].first_us < first_us;
    memmove(archive->items + at + 1, archive->items + at, (archive->count - at) * sizeof archive->items[0]);
    archive->items[at] = (struct item){.first_us = first_us, .found = true};
    archive->count++;
}

static void drop_lost(struct mg_archive *archive)
{
    size_t kept = 0;
    for (size_t i = 0; i < archive->count; i++) {
        struct item *item = &archive->items[i];
        if (item->found)
            archive->items[kept++] = *item;
        else
            mg_block_free(item->block);
    }
    archive->count = kept;
}

mg_err mg_archive_refresh(struct mg_archive *archive, struct mg_diag *diag)
{
    uint64_t first_us;
    DIR *folder = opendir(archive->folder);
    if (!folder && errno != ENOENT)
        return mg_diag_set(diag, MG_E_STORE, archive->folder, 0, "cannot be read: %s", strerror(errno));
    for (size_t i = 0; i < archive->count; i++)
        archive->items[i].found = false;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (read_name(entry->d_name, &first_us))
            note(archive, first_us);
    if (folder)
        closedir(folder);
    drop_lost(archive);
    return MG_OK;
}

/* ---- blocks */

size_t mg_archive_count(const struct mg_archive *archive)
{
    return archive->count;
}

uint64_t mg_archive_first_us(const struct mg_archive *archive, size_t index)
{
    return archive->items[index].first_us;
}

enum { FILE_BYTES = MG_ARCHIVE_PATH_BYTES + 32 };

static void path_of(const struct mg_archive *archive, const struct item *item, char out_path[FILE_BYTES])
{
    snprintf(out_path, FILE_BYTES, "%s/%016llu.rows", archive->folder, (unsigned long long)item->first_us);
}

static void open_item(struct mg_archive *archive, struct item *item)
{
    char path[FILE_BYTES];
    struct mg_diag diag = {0};
    path_of(archive, item, path);
    if (mg_block_open(path, &item->block, &diag) == MG_OK)
        return;
    item->block = NULL;
    item->damaged = true;
    mg_diag_print(&diag, archive->reason, sizeof archive->reason);
    mg_log_error("requests.damaged", "%s", archive->reason);
}

struct mg_block *mg_archive_block(struct mg_archive *archive, size_t index)
{
    struct item *item = &archive->items[index];
    if (!item->block && !item->damaged)
        open_item(archive, item);
    item->used = ++archive->uses;
    return item->block;
}

uint64_t mg_archive_bytes(const struct mg_archive *archive, size_t index)
{
    char path[FILE_BYTES];
    struct stat about;
    path_of(archive, &archive->items[index], path);
    return stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
}

mg_err mg_archive_remove(struct mg_archive *archive, size_t index, struct mg_diag *diag)
{
    char path[FILE_BYTES];
    path_of(archive, &archive->items[index], path);
    if (unlink(path) != 0 && errno != ENOENT)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot be deleted: %s", strerror(errno));
    mg_block_free(archive->items[index].block);
    archive->count--;
    memmove(archive->items + index, archive->items + index + 1, (archive->count - index) * sizeof archive->items[0]);
    return MG_OK;
}

/* The opened block that was not used for longest and holds memory; NULL: none does. */
static struct item *longest_unused(struct mg_archive *archive)
{
    struct item *found = NULL;
    for (size_t i = 0; i < archive->count; i++) {
        struct item *item = &archive->items[i];
        if (item->block && mg_block_bytes(item->block) > 0 && (!found || item->used < found->used))
            found = item;
    }
    return found;
}

void mg_archive_trim(struct mg_archive *archive, size_t max_bytes)
{
    size_t held = 0;
    for (size_t i = 0; i < archive->count; i++)
        held += archive->items[i].block ? mg_block_bytes(archive->items[i].block) : 0;
    for (struct item *item; held > max_bytes && (item = longest_unused(archive));) {
        held -= mg_block_bytes(item->block);
        mg_block_let_go(item->block);
    }
}

void mg_archive_stats(const struct mg_archive *archive, struct mg_archive_stats *out_stats)
{
    *out_stats = (struct mg_archive_stats){.blocks = archive->count};
    memcpy(out_stats->reason, archive->reason, sizeof out_stats->reason);
    for (size_t i = 0; i < archive->count; i++) {
        out_stats->damaged += archive->items[i].damaged;
        out_stats->bytes += archive->items[i].block ? mg_block_file_bytes(archive->items[i].block) : 0;
    }
}

/* ---- rows one by one */

static mg_err tell_row(struct mg_block *block, uint32_t at, uint64_t at_us, int64_t flags, mg_archive_cb cb, void *arg)
{
    char id[40];
    struct mg_block_row row = {.at_us = at_us, .flags = flags};
    MG_TRY(mg_block_id(block, at, id));
    MG_TRY(mg_block_detail(block, at, &row.detail));
    row.id = mg_view_cstr(id);
    return cb(arg, &row);
}

static mg_err tell_block(struct mg_block *block, uint64_t from_us, uint64_t to_us, mg_archive_cb cb, void *arg)
{
    const struct mg_column *times, *flags;
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
    MG_TRY(mg_block_column(block, MG_FIELD_flags, &flags));
    for (uint32_t i = 0; i < times->rows; i++) {
        uint64_t at_us = (uint64_t)mg_column_number(times, i);
        if (at_us >= to_us)
            break;
        if (at_us >= from_us)
            MG_TRY(tell_row(block, i, at_us, mg_column_number(flags, i), cb, arg));
    }
    return MG_OK;
}

mg_err mg_archive_each(struct mg_archive *archive, uint64_t from_us, uint64_t to_us, mg_archive_cb cb, void *arg,
                       uint64_t *out_last)
{
    *out_last = 0;
    for (size_t i = mg_archive_find(archive, from_us); i < archive->count && archive->items[i].first_us < to_us; i++) {
        struct mg_block *block = mg_archive_block(archive, i);
        if (!block)
            continue;
        MG_TRY(tell_block(block, from_us, to_us, cb, arg));
        mg_block_let_go(block);
        *out_last = mg_block_last_us(block);
    }
    return MG_OK;
}

/* ---- rows of the database */

static mg_err tell_open(struct mg_stmt *stmt, mg_archive_cb cb, void *arg)
{
    bool more = false;
    MG_TRY(mg_stmt_step(stmt, &more));
    while (more) {
        struct mg_block_row row = {
            .at_us = (uint64_t)mg_stmt_int(stmt, 0),
            .flags = mg_stmt_int(stmt, 1),
            .id = mg_stmt_text(stmt, 2),
            .detail = mg_stmt_blob(stmt, 3),
        };
        MG_TRY(cb(arg, &row));
        MG_TRY(mg_stmt_step(stmt, &more));
    }
    return MG_OK;
}

mg_err mg_archive_each_open(struct mg_db *db, uint64_t after_us, uint32_t limit, mg_archive_cb cb, void *arg)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "SELECT at_us, flags, id, detail FROM exchanges WHERE at_us > ? ORDER BY at_us LIMIT ?", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)after_us);
    mg_stmt_bind_int(stmt, 2, limit ? (int64_t)limit : -1);
    mg_err err = tell_open(stmt, cb, arg);
    mg_stmt_free(stmt);
    return err;
}
