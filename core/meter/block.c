/* A file of rows, in the machine's byte order, each part at a multiple of eight:
 *
 *   | front 64 | columns, in the order of their fields | groups of details, shrunk | directory |
 *
 * The directory has a struct part for each column, then one for each group. A group is the details of GROUP rows that follow one
 * another, each behind its length (4 bytes). */
#include "meter/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "http/json_members.h"
#include "meter/failure.h"
#include "meter/ledger.h"

enum {
    GROUP = 256, GROUPS = MG_BLOCK_ROWS / GROUP,
    DETAIL_BYTES = 65535,              /* of one row: frames are two bytes long each, and details a few of them */
    GROUP_BYTES = GROUP * (DETAIL_BYTES + 4),
    BLOCK_BYTES = 512 << 20,           /* of a file: what it is made of is bounded far below */
    LEVEL = 3,
    VERSION = 1,
    PATH_BYTES = 1200,
};

static const char magic[8] = "mgrows1\n";

struct front {
    char magic[8];
    uint32_t version, rows;
    uint64_t first_us, last_us;
    uint64_t directory;                /* where it begins */
    uint32_t fields, groups;
    uint64_t sum;                      /* of the directory and of this */
    uint64_t zero;
};

static uint64_t sum_of(struct front front, mg_view directory)
{
    front.sum = 0;
    return mg_fingerprint(directory) ^ mg_fingerprint(mg_view_of((const char *)&front, sizeof front));
}

struct part {
    uint64_t at, bytes, plain_bytes, sum;
};

struct mg_block {
    uint32_t rows;
    uint64_t first_us, last_us;
    /* in memory */
    struct mg_column_builder *builders;  /* owned array of MG_FIELD_COUNT; NULL: it is a file's */
    bool with_details;
    struct mg_buf group;                 /* details of the group that is being filled, or that was read last */
    struct mg_buf groups;                /* shrunk ones, one behind the other */
    struct part parts[MG_FIELD_COUNT + GROUPS];  /* of a file; of a block in memory its groups, `at` in `groups` */
    uint32_t fields, group_count;        /* parts of columns come first */
    struct mg_timeline *timeline;        /* owned scratch */
    /* of a file */
    char *path;                          /* owned; NULL: in memory */
    uint64_t file_bytes;
    struct mg_column columns[MG_FIELD_COUNT];
    char *column_bytes[MG_FIELD_COUNT];  /* owned; what columns were opened from */
    bool opened[MG_FIELD_COUNT];
    uint32_t group_at;                   /* number + 1 of the group in `group`; 0: none */
    uint32_t detail_at;                  /* the next row's detail begins at … */
    uint32_t detail_row;                 /* … and it is this row of the group */
};

/* ---- fields */

static const struct {
    const char *name;
    bool text;
} fields[MG_FIELD_COUNT] = {
#define int false
#define text true
#define X(name, kind) {#name, kind},
    MG_FIELD_LIST(X)
#undef X
#undef text
#undef int
};

const char *mg_field_name(enum mg_field field)
{
    return fields[field].name;
}

bool mg_field_is_text(enum mg_field field)
{
    return fields[field].text;
}

/* ---- a block in memory */

struct mg_block *mg_block_new(bool with_details)
{
    struct mg_block *block = mg_new(struct mg_block);
    block->builders = mg_new_array(struct mg_column_builder, MG_FIELD_COUNT);
    block->with_details = with_details;
    block->fields = MG_FIELD_COUNT;
    block->timeline = mg_new(struct mg_timeline);
    for (int i = 0; i < MG_FIELD_COUNT; i++)
        mg_column_init(&block->builders[i], fields[i].text);
    mg_buf_init(&block->group, GROUP_BYTES);
    mg_buf_init(&block->groups, BLOCK_BYTES);
    return block;
}

void mg_block_free(struct mg_block *block)
{
    if (!block)
        return;
    mg_block_let_go(block);
    for (int i = 0; i < MG_FIELD_COUNT && block->builders; i++)
        mg_column_fini(&block->builders[i]);
    mg_buf_fini(&block->group);
    mg_buf_fini(&block->groups);
    mg_free(block->builders);
    mg_free(block->path);
    mg_free(block->timeline);
    mg_free(block);
}

/* The end user, as people call the field; a text that is not plain is taken as it stands. */
static mg_view user_of(mg_view metadata)
{
    static const mg_view names[] = {MG_VIEW("user"), MG_VIEW("user_id"), MG_VIEW("end_user")};
    for (size_t i = 0; i < MG_COUNT(names) && metadata.len > 0; i++) {
        mg_view value = mg_json_member(metadata, names[i]);
        if (value.len >= 2 && value.ptr[0] == '"')
            return mg_view_of(value.ptr + 1, value.len - 2);
        if (value.len > 0)
            return value;
    }
    return MG_VIEW_NONE;
}

static mg_view without_port(mg_view address)
{
    size_t len = address.len;
    while (len > 0 && address.ptr[len - 1] != ':')
        len--;
    return len > 0 ? mg_view_head(address, len - 1) : address;
}

struct cell {
    int64_t number;
    mg_view text;
};

static void describe_figures(struct cell *cells, const struct mg_timeline *timeline)
{
    struct mg_totals totals;
    mg_timeline_totals(timeline, &totals);
    cells[MG_FIELD_duration_us].number = (int64_t)totals.duration_us;
    cells[MG_FIELD_overhead_us].number = (int64_t)totals.overhead_us;
    cells[MG_FIELD_ttft_us].number = (int64_t)totals.ttft_us;
    cells[MG_FIELD_waited_us].number = (int64_t)totals.waited_us;
    cells[MG_FIELD_cost_microusd].number = (int64_t)totals.cost_microusd;
    cells[MG_FIELD_input_tokens].number = (int64_t)totals.usage.input_tokens;
    cells[MG_FIELD_output_tokens].number = (int64_t)totals.usage.output_tokens;
    cells[MG_FIELD_cached_read_tokens].number = (int64_t)totals.usage.cached_read_tokens;
    cells[MG_FIELD_cached_write_tokens].number = (int64_t)totals.usage.cached_write_tokens;
    cells[MG_FIELD_reasoning_tokens].number = (int64_t)totals.usage.reasoning_tokens;
}

static void describe_answer(struct cell *cells, const struct mg_attempt_record *answer)
{
    cells[MG_FIELD_arm].text = answer->arm;
    cells[MG_FIELD_provider].text = answer->provider;
    cells[MG_FIELD_model].text = answer->model;
    cells[MG_FIELD_served].text = answer->served;
    cells[MG_FIELD_dialect].text = answer->dialect;
    cells[MG_FIELD_credential].text = answer->credential;
}

static void describe(struct cell *cells, const struct mg_timeline *timeline, char tried[MG_TRIED_BYTES])
{
    const struct mg_attempt_record *answer = mg_timeline_answer(timeline);
    describe_figures(cells, timeline);
    if (answer)
        describe_answer(cells, answer);
    cells[MG_FIELD_start_us].number = (int64_t)timeline->start_wall_us;
    cells[MG_FIELD_status].number = timeline->status;
    cells[MG_FIELD_attempts].number = timeline->attempt_count;
    cells[MG_FIELD_generation].number = timeline->generation;
    cells[MG_FIELD_plugin_us].number = (int64_t)timeline->plugin_us;
    cells[MG_FIELD_bytes_in].number = (int64_t)timeline->bytes_in;
    cells[MG_FIELD_bytes_out].number = (int64_t)timeline->bytes_out;
    cells[MG_FIELD_project].text = timeline->project;
    cells[MG_FIELD_workflow].text = timeline->workflow;
    cells[MG_FIELD_key].text = timeline->key_id;
    cells[MG_FIELD_tried].text = mg_timeline_tried(timeline, tried);
    cells[MG_FIELD_class].text = mg_view_cstr(mg_class_name(timeline->class_));
    cells[MG_FIELD_error_code].text = timeline->error_code;
    cells[MG_FIELD_path].text = timeline->path;
    cells[MG_FIELD_session].text = timeline->session;
    cells[MG_FIELD_user].text = user_of(timeline->metadata);
    cells[MG_FIELD_client].text = without_port(timeline->client);
    cells[MG_FIELD_sdk].text = timeline->user_agent;
    cells[MG_FIELD_metadata].text = timeline->metadata;
}

static void describe_id(struct cell *cells, mg_view id)
{
    struct mg_id_parts parts = {0};
    if (!mg_exchange_id_parts(id, &parts))
        cells[MG_FIELD_own_id].text = id;
    cells[MG_FIELD_id_time].number = (int64_t)parts.ms;
    cells[MG_FIELD_id_high].number = (int64_t)parts.high;
    cells[MG_FIELD_id_low].number = parts.low;
}

/* Groups are shrunk as they fill, so that a block does not hold its details plain. */
static mg_err close_group(struct mg_block *block)
{
    size_t most = ZSTD_compressBound(block->group.len);
    MG_TRY(mg_buf_reserve(&block->groups, most + 8));
    size_t bytes = ZSTD_compress(mg_buf_tail(&block->groups), most, block->group.ptr, block->group.len, LEVEL);
    if (ZSTD_isError(bytes))
        return MG_E_TOO_LARGE;
    block->parts[MG_FIELD_COUNT + block->group_count++] = (struct part){
        .at = block->groups.len,
        .bytes = bytes,
        .plain_bytes = block->group.len,
        .sum = mg_fingerprint(mg_view_of(mg_buf_tail(&block->groups), bytes)),
    };
    size_t pad = (8 - bytes % 8) % 8;
    memset(mg_buf_tail(&block->groups) + bytes, 0, pad);
    mg_buf_grew(&block->groups, bytes + pad);
    mg_buf_clear(&block->group);
    return MG_OK;
}

static mg_err put_detail(struct mg_block *block, mg_view detail)
{
    uint32_t len = (uint32_t)MG_MIN(detail.len, (size_t)DETAIL_BYTES);
    if (block->rows % GROUP == 0 && block->rows > 0)
        MG_TRY(close_group(block));
    MG_TRY(mg_buf_reserve(&block->group, sizeof len + len));
    MG_TRY(mg_buf_put(&block->group, mg_view_of((const char *)&len, sizeof len)));
    return mg_buf_put(&block->group, mg_view_head(detail, len));
}

/* A row goes into all columns or into none. */
static bool cells_fit(const struct mg_block *block, const struct cell *cells)
{
    for (int i = 0; i < MG_FIELD_COUNT; i++)
        if (!mg_column_fits(&block->builders[i], cells[i].text.len))
            return false;
    return true;
}

mg_err mg_block_put(struct mg_block *block, const struct mg_block_row *row)
{
    struct cell cells[MG_FIELD_COUNT] = {0};
    char tried[MG_TRIED_BYTES];
    if (mg_ledger_decode(row->detail, block->timeline) == MG_OK)
        describe(cells, block->timeline, tried);
    describe_id(cells, row->id);
    cells[MG_FIELD_at_us].number = (int64_t)row->at_us;
    cells[MG_FIELD_flags].number = row->flags;
    if (!cells_fit(block, cells))
        return MG_E_TOO_LARGE;
    if (block->with_details)
        MG_TRY(put_detail(block, row->detail));
    for (int i = 0; i < MG_FIELD_COUNT; i++)
        MG_TRY(fields[i].text ? mg_column_text(&block->builders[i], cells[i].text)
                              : mg_column_int(&block->builders[i], cells[i].number));
    block->first_us = block->rows++ ? block->first_us : row->at_us;
    block->last_us = row->at_us;
    return MG_OK;
}

/* ---- to a file */

static mg_err put_columns(struct mg_block *block, struct mg_buf *out)
{
    for (int i = 0; i < MG_FIELD_COUNT; i++) {
        size_t at = out->len;
        MG_TRY(mg_column_pack(&block->builders[i], out));
        mg_view bytes = mg_view_skip(mg_buf_view(out), at);
        block->parts[i] = (struct part){.at = at, .bytes = bytes.len, .sum = mg_fingerprint(bytes)};
    }
    return MG_OK;
}

static mg_err put_directory(struct mg_block *block, struct mg_buf *out)
{
    struct front front = {
        .version = VERSION,
        .rows = block->rows,
        .first_us = block->first_us,
        .last_us = block->last_us,
        .directory = out->len,
        .fields = MG_FIELD_COUNT,
        .groups = block->group_count,
    };
    memcpy(front.magic, magic, sizeof magic);
    mg_view parts = mg_view_of((const char *)block->parts, sizeof(struct part) * (MG_FIELD_COUNT + block->group_count));
    front.sum = sum_of(front, parts);
    MG_TRY(mg_buf_put(out, parts));
    memcpy(out->ptr, &front, sizeof front);
    return MG_OK;
}

static mg_err put_all(struct mg_block *block, struct mg_buf *out)
{
    struct front room = {0};
    MG_TRY(mg_buf_put(out, mg_view_of((const char *)&room, sizeof room)));
    MG_TRY(put_columns(block, out));
    if (block->group.len > 0)
        MG_TRY(close_group(block));
    for (uint32_t i = 0; i < block->group_count; i++)
        block->parts[MG_FIELD_COUNT + i].at += out->len;
    MG_TRY(mg_buf_put(out, mg_buf_view(&block->groups)));
    return put_directory(block, out);
}

static bool write_all(int file, mg_view bytes)
{
    while (bytes.len > 0) {
        ssize_t wrote = write(file, bytes.ptr, bytes.len);
        if (wrote <= 0)
            return false;
        bytes = mg_view_skip(bytes, (size_t)wrote);
    }
    return fsync(file) == 0;
}

static bool sync_folder(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = file >= 0 && fsync(file) == 0;
    if (file >= 0)
        close(file);
    return synced;
}

static mg_err write_file(const char *folder, uint64_t name, mg_view bytes, struct mg_diag *diag)
{
    char path[PATH_BYTES], beside[PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s/%016llu.rows", folder, (unsigned long long)name);
    snprintf(beside, sizeof beside, "%s.new", path);
    int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool wrote = file >= 0 && write_all(file, bytes);
    if (file >= 0 && close(file) != 0)
        wrote = false;
    if (wrote && rename(beside, path) == 0 && sync_folder(folder))
        return MG_OK;
    mg_err err = mg_diag_set(diag, MG_E_SYSTEM, beside, 0, "cannot be written: %s", strerror(errno));
    unlink(beside);
    return err;
}

mg_err mg_block_write(struct mg_block *block, const char *folder, struct mg_diag *diag)
{
    struct mg_buf out;
    mg_buf_init(&out, BLOCK_BYTES);
    mg_err err = put_all(block, &out);
    if (err == MG_OK)
        err = write_file(folder, block->first_us, mg_buf_view(&out), diag);
    mg_buf_fini(&out);
    return err;
}

/* ---- from a file: read, not mapped, so that one that somebody cuts short is an error and never a signal */

/* Exactly so many bytes into room. */
static bool read_part(int file, uint64_t at, uint64_t bytes, char *room)
{
    for (uint64_t got = 0; got < bytes;) {
        ssize_t some = pread(file, room + got, bytes - got, (off_t)(at + got));
        if (some <= 0)
            return false;
        got += (uint64_t)some;
    }
    return true;
}

static bool part_fits(const struct part *part, uint64_t end)
{
    return part->at % 8 == 0 && part->at <= end && part->bytes <= end - part->at;
}

/* Fields of a newer gateway are left alone. */
static bool take_directory(struct mg_block *block, const struct front *front, mg_view directory)
{
    if (sum_of(*front, directory) != front->sum)
        return false;
    block->fields = MG_MIN(front->fields, (uint32_t)MG_FIELD_COUNT);
    block->group_count = front->groups;
    memcpy(block->parts, directory.ptr, block->fields * sizeof(struct part));
    memcpy(block->parts + MG_FIELD_COUNT, directory.ptr + front->fields * sizeof(struct part), front->groups * sizeof(struct part));
    for (uint32_t i = 0; i < MG_FIELD_COUNT + front->groups; i++)
        if ((i < block->fields || i >= MG_FIELD_COUNT) && !part_fits(&block->parts[i], front->directory))
            return false;
    return true;
}

static bool read_directory(struct mg_block *block, int file, const struct front *front)
{
    uint64_t bytes = ((uint64_t)front->fields + front->groups) * sizeof(struct part);
    if (front->rows == 0 || front->rows > MG_BLOCK_ROWS || front->fields > 4096 || front->groups > GROUPS ||
        front->groups < (front->rows + GROUP - 1) / GROUP || front->directory > block->file_bytes ||
        block->file_bytes - front->directory != bytes)
        return false;
    char *room = mg_alloc(bytes);
    bool read = read_part(file, front->directory, bytes, room) && take_directory(block, front, mg_view_of(room, bytes));
    mg_free(room);
    return read;
}

static bool read_front(struct mg_block *block, int file)
{
    struct front front;
    struct stat about;
    if (fstat(file, &about) != 0 || !read_part(file, 0, sizeof front, (char *)&front))
        return false;
    block->file_bytes = (uint64_t)about.st_size;
    if (memcmp(front.magic, magic, sizeof magic) != 0 || front.version != VERSION || front.first_us > front.last_us)
        return false;
    block->rows = front.rows;
    block->first_us = front.first_us;
    block->last_us = front.last_us;
    return read_directory(block, file, &front);
}

mg_err mg_block_open(const char *path, struct mg_block **out_block, struct mg_diag *diag)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return mg_diag_set(diag, MG_E_STORE, path, 0, "cannot be opened: %s", strerror(errno));
    struct mg_block *block = mg_new(struct mg_block);
    block->path = mg_strdup(path);
    mg_buf_init(&block->group, GROUP_BYTES);
    mg_buf_init(&block->groups, BLOCK_BYTES);
    bool read = read_front(block, file);
    close(file);
    if (!read) {
        mg_block_free(block);
        return mg_diag_set(diag, MG_E_STORE, path, 0, "is damaged: the requests in it cannot be shown. Move it away to stop this message");
    }
    *out_block = block;
    return MG_OK;
}

/* ---- reading */

uint32_t mg_block_rows(const struct mg_block *block)
{
    return block->rows;
}

uint64_t mg_block_first_us(const struct mg_block *block)
{
    return block->first_us;
}

uint64_t mg_block_last_us(const struct mg_block *block)
{
    return block->last_us;
}

uint64_t mg_block_file_bytes(const struct mg_block *block)
{
    return block->file_bytes;
}

/* Reads a part of the file; the memory is the caller's. NULL: it cannot be read, or it is damaged. */
static char *load_part(const struct mg_block *block, const struct part *part)
{
    int file = open(block->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return NULL;
    char *bytes = mg_alloc(MG_MAX(part->bytes, (uint64_t)1));
    bool read = read_part(file, part->at, part->bytes, bytes) && mg_fingerprint(mg_view_of(bytes, part->bytes)) == part->sum;
    close(file);
    if (read)
        return bytes;
    mg_free(bytes);
    return NULL;
}

/* A field that the block has not is the same in all its rows. */
static void absent(const struct mg_block *block, enum mg_field field, struct mg_column *column)
{
    static const uint32_t no_end;
    *column = (struct mg_column){.rows = block->rows, .text = fields[field].text, .word_count = 1, .ends = &no_end, .letters = ""};
}

static void close_column(struct mg_block *block, enum mg_field field)
{
    mg_column_close(&block->columns[field]);
    mg_free(block->column_bytes[field]);
    block->column_bytes[field] = NULL;
    block->opened[field] = false;
}

static mg_err open_column(struct mg_block *block, enum mg_field field)
{
    struct mg_column *column = &block->columns[field];
    if ((uint32_t)field >= block->fields) {
        absent(block, field, column);
        return MG_OK;
    }
    char *bytes = block->column_bytes[field] = load_part(block, &block->parts[field]);
    if (!bytes)
        return MG_E_STORE;
    if (mg_column_open(mg_view_of(bytes, block->parts[field].bytes), column) == MG_OK && column->rows == block->rows &&
        column->text == fields[field].text)
        return MG_OK;
    close_column(block, field);
    return MG_E_STORE;
}

mg_err mg_block_column(struct mg_block *block, enum mg_field field, const struct mg_column **out_column)
{
    if (block->builders) {
        block->columns[field] = mg_column_of(&block->builders[field]);
    } else if (!block->opened[field]) {
        MG_TRY(open_column(block, field));
        block->opened[field] = true;
    }
    *out_column = &block->columns[field];
    return MG_OK;
}

size_t mg_block_bytes(const struct mg_block *block)
{
    size_t bytes = 0;
    for (int i = 0; i < MG_FIELD_COUNT && !block->builders; i++)
        bytes += block->opened[i] && block->column_bytes[i] ? block->parts[i].bytes + mg_column_bytes(&block->columns[i]) : 0;
    return bytes;
}

void mg_block_let_go(struct mg_block *block)
{
    for (int i = 0; i < MG_FIELD_COUNT && !block->builders; i++)
        close_column(block, (enum mg_field)i);
}

static mg_err open_group(struct mg_block *block, uint32_t group)
{
    const struct part *part = &block->parts[MG_FIELD_COUNT + group];
    block->group_at = 0;
    mg_buf_clear(&block->group);
    char *bytes = part->plain_bytes <= GROUP_BYTES ? load_part(block, part) : NULL;
    if (!bytes || mg_buf_reserve(&block->group, MG_MAX(part->plain_bytes, (uint64_t)1)) != MG_OK) {
        mg_free(bytes);
        return MG_E_STORE;
    }
    size_t got = ZSTD_decompress(block->group.ptr, part->plain_bytes, bytes, part->bytes);
    mg_free(bytes);
    if (ZSTD_isError(got) || got != part->plain_bytes)
        return MG_E_STORE;
    mg_buf_grew(&block->group, got);
    block->group_at = group + 1;
    block->detail_at = block->detail_row = 0;
    return MG_OK;
}

static mg_err next_detail(struct mg_block *block, mg_view *out_detail)
{
    uint32_t len;
    mg_view rest = mg_view_skip(mg_buf_view(&block->group), block->detail_at);
    if (rest.len < sizeof len)
        return MG_E_STORE;
    memcpy(&len, rest.ptr, sizeof len);
    if (len > rest.len - sizeof len)
        return MG_E_STORE;
    *out_detail = mg_view_of(rest.ptr + sizeof len, len);
    block->detail_at += (uint32_t)sizeof len + len;
    block->detail_row++;
    return MG_OK;
}

mg_err mg_block_detail(struct mg_block *block, uint32_t row, mg_view *out_detail)
{
    uint32_t group = row / GROUP, in_group = row % GROUP;
    if (block->builders || row >= block->rows || group >= block->group_count)
        return MG_E_NOT_FOUND;
    if (block->group_at != group + 1)
        MG_TRY(open_group(block, group));
    if (block->detail_row > in_group)
        block->detail_at = block->detail_row = 0;
    do
        MG_TRY(next_detail(block, out_detail));
    while (block->detail_row <= in_group);
    return MG_OK;
}

mg_err mg_block_id(struct mg_block *block, uint32_t row, char out_id[40])
{
    const struct mg_column *own, *time, *high, *low;
    MG_TRY(mg_block_column(block, MG_FIELD_own_id, &own));
    MG_TRY(mg_block_column(block, MG_FIELD_id_time, &time));
    MG_TRY(mg_block_column(block, MG_FIELD_id_high, &high));
    MG_TRY(mg_block_column(block, MG_FIELD_id_low, &low));
    mg_view text = mg_column_view(own, row);
    snprintf(out_id, 40, "%.*s", MG_FMT(text));
    if (text.len > 0)
        return MG_OK;
    struct mg_id_parts parts = {(uint64_t)mg_column_number(time, row), (uint64_t)mg_column_number(high, row),
                                (uint16_t)mg_column_number(low, row)};
    mg_exchange_id_of(&parts, out_id);
    return MG_OK;
}

static mg_err find_own(struct mg_block *block, mg_view id, uint32_t *out_row)
{
    const struct mg_column *own;
    MG_TRY(mg_block_column(block, MG_FIELD_own_id, &own));
    for (uint32_t row = 0; row < block->rows && id.len > 0; row++) {
        if (!mg_view_eq(mg_column_view(own, row), id))
            continue;
        *out_row = row;
        return MG_OK;
    }
    return MG_E_NOT_FOUND;
}

mg_err mg_block_find(struct mg_block *block, mg_view id, uint32_t *out_row)
{
    struct mg_id_parts parts;
    const struct mg_column *time, *high, *low;
    if (!mg_exchange_id_parts(id, &parts))
        return find_own(block, id, out_row);
    MG_TRY(mg_block_column(block, MG_FIELD_id_time, &time));
    if ((int64_t)parts.ms < time->low || (int64_t)parts.ms > time->high)
        return MG_E_NOT_FOUND;
    MG_TRY(mg_block_column(block, MG_FIELD_id_high, &high));
    MG_TRY(mg_block_column(block, MG_FIELD_id_low, &low));
    for (uint32_t row = 0; row < block->rows; row++) {
        if (mg_column_number(high, row) != (int64_t)parts.high || mg_column_number(time, row) != (int64_t)parts.ms ||
            mg_column_number(low, row) != parts.low)
            continue;
        *out_row = row;
        return MG_OK;
    }
    return MG_E_NOT_FOUND;
}
