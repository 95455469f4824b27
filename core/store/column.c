/* A packed column:
 *
 *   | flags 1 | width 1 | 0 2 | rows 4 | base 8 | high 8 | words 4 | letters 4 | cell bytes 4 | word bytes 4 | cells | words |
 *
 * "cell bytes" and "word bytes" are what they take here, shrunk or not. Words are their ends (4 bytes each) and then their
 * letters. Bytes are in the machine's order: a block is read where it was written. Both parts begin at multiples of eight
 * bytes of a column that does, so that they can be scanned where they lie. */
#include "store/column.h"

#include <string.h>
#include <zstd.h>

#include "base/mem.h"

enum {
    TEXT = 1, STEPS = 2, CELLS_SHRUNK = 4, WORDS_SHRUNK = 8,
    LEVEL = 1,
    WORTH = 4,                         /* shrinking must save a fourth: reading it costs */
};

struct front {
    uint8_t flags, width;
    uint16_t zero;
    uint32_t rows;
    int64_t base, high;
    uint32_t word_count, letter_bytes;
    uint32_t cell_bytes, word_bytes;
};

/* ---- building */

void mg_column_init(struct mg_column_builder *builder, bool text)
{
    *builder = (struct mg_column_builder){.text = text};
    mg_buf_init(&builder->cells, (size_t)MG_COLUMN_ROWS * (text ? sizeof(uint32_t) : sizeof(int64_t)));
    mg_buf_init(&builder->ends, MG_COLUMN_ROWS * sizeof(uint32_t));
    mg_buf_init(&builder->letters, MG_COLUMN_BYTES);
    mg_map_init(&builder->words);
}

void mg_column_fini(struct mg_column_builder *builder)
{
    mg_buf_fini(&builder->cells);
    mg_buf_fini(&builder->ends);
    mg_buf_fini(&builder->letters);
    mg_map_fini(&builder->words);
}

void mg_column_clear(struct mg_column_builder *builder)
{
    mg_buf_clear(&builder->cells);
    mg_buf_clear(&builder->ends);
    mg_buf_clear(&builder->letters);
    mg_map_fini(&builder->words);
    mg_map_init(&builder->words);
    builder->rows = 0;
    builder->low = builder->high = 0;
    builder->falls = false;
}

static mg_err put_number(struct mg_column_builder *builder, int64_t value, mg_view cell)
{
    MG_TRY(mg_buf_put(&builder->cells, cell));
    bool first = builder->rows++ == 0;
    builder->falls = builder->falls || (!first && value < builder->last);
    builder->low = first ? value : MG_MIN(builder->low, value);
    builder->high = first ? value : MG_MAX(builder->high, value);
    builder->last = value;
    return MG_OK;
}

mg_err mg_column_int(struct mg_column_builder *builder, int64_t value)
{
    return put_number(builder, value, mg_view_of((const char *)&value, sizeof value));
}

/* Values of maps are pointers and never NULL: a number + 1 stands in for one. */
static mg_err word_of(struct mg_column_builder *builder, mg_view value, uint32_t *out_word)
{
    uintptr_t known = (uintptr_t)mg_map_get(&builder->words, value);
    if (known) {
        *out_word = (uint32_t)known - 1;
        return MG_OK;
    }
    MG_TRY(mg_buf_reserve(&builder->ends, sizeof(uint32_t)));
    MG_TRY(mg_buf_put(&builder->letters, value));
    uint32_t end = (uint32_t)builder->letters.len;
    MG_TRY(mg_buf_put(&builder->ends, mg_view_of((const char *)&end, sizeof end)));
    *out_word = (uint32_t)builder->words.count;
    mg_map_put(&builder->words, value, (void *)((uintptr_t)*out_word + 1));
    return MG_OK;
}

mg_err mg_column_text(struct mg_column_builder *builder, mg_view value)
{
    uint32_t word;
    if (builder->rows == MG_COLUMN_ROWS)
        return MG_E_TOO_LARGE;
    if (value.len > MG_COLUMN_WORD_BYTES)
        value.len = mg_view_utf8_floor(mg_view_head(value, MG_COLUMN_WORD_BYTES));
    MG_TRY(word_of(builder, value, &word));
    return put_number(builder, word, mg_view_of((const char *)&word, sizeof word));
}

struct mg_column mg_column_of(const struct mg_column_builder *builder)
{
    return (struct mg_column){
        .rows = builder->rows,
        .text = builder->text,
        .width = builder->text ? 4 : 8,
        .low = builder->low,
        .high = builder->high,
        .cells = builder->cells.ptr,
        .word_count = (uint32_t)builder->words.count,
        .ends = (const uint32_t *)(const void *)builder->ends.ptr,
        .letters = builder->letters.ptr,
    };
}

/* ---- packing */

static uint8_t width_of(uint64_t largest)
{
    if (largest == 0)
        return 0;
    if (largest <= UINT8_MAX)
        return 1;
    return largest <= UINT16_MAX ? 2 : largest <= UINT32_MAX ? 4 : 8;
}

static void put_cell(char *out, uint8_t width, uint64_t value)
{
    memcpy(out, &value, width); /* little endian: the low bytes come first */
}

/* The largest step of numbers that only grow. */
static uint64_t largest_step(const struct mg_column *column)
{
    uint64_t largest = 0;
    for (uint32_t i = 1; i < column->rows; i++)
        largest = MG_MAX(largest, mg_column_cell(column, i) - mg_column_cell(column, i - 1));
    return largest;
}

static mg_err put_cells(struct mg_buf *out, const struct mg_column *column, const struct front *front)
{
    bool steps = front->flags & STEPS;
    size_t bytes = (size_t)column->rows * front->width;
    if (bytes == 0)
        return MG_OK;
    MG_TRY(mg_buf_reserve(out, bytes));
    char *at = mg_buf_tail(out);
    uint64_t before = (uint64_t)front->base;
    for (uint32_t i = 0; i < column->rows; i++, at += front->width) {
        uint64_t value = (uint64_t)mg_column_number(column, i);
        put_cell(at, front->width, value - before);
        before = steps ? value : before;
    }
    mg_buf_grew(out, bytes);
    return MG_OK;
}

/* Appends plain to out, shrunk when that is worth it. */
static mg_err put_part(struct mg_buf *out, mg_view plain, bool *out_shrunk, uint32_t *out_bytes)
{
    size_t most = ZSTD_compressBound(plain.len);
    MG_TRY(mg_buf_reserve(out, most + 8));
    size_t shrunk = plain.len > 64 ? ZSTD_compress(mg_buf_tail(out), most, plain.ptr, plain.len, LEVEL) : most;
    *out_shrunk = !ZSTD_isError(shrunk) && shrunk < plain.len - plain.len / WORTH;
    size_t bytes = *out_shrunk ? shrunk : plain.len;
    if (!*out_shrunk && plain.len > 0)
        memcpy(mg_buf_tail(out), plain.ptr, plain.len);
    *out_bytes = (uint32_t)bytes;
    memset(mg_buf_tail(out) + bytes, 0, (8 - bytes % 8) % 8);
    mg_buf_grew(out, bytes + (8 - bytes % 8) % 8);
    return MG_OK;
}

static mg_err pack_parts(struct mg_buf *out, struct mg_buf *plain, const struct mg_column_builder *builder, struct front *front)
{
    struct mg_column column = mg_column_of(builder);
    bool shrunk;
    MG_TRY(put_cells(plain, &column, front));
    MG_TRY(put_part(out, mg_buf_view(plain), &shrunk, &front->cell_bytes));
    front->flags |= shrunk ? CELLS_SHRUNK : 0;
    mg_buf_clear(plain);
    MG_TRY(mg_buf_put(plain, mg_buf_view(&builder->ends)));
    MG_TRY(mg_buf_put(plain, mg_buf_view(&builder->letters)));
    MG_TRY(put_part(out, mg_buf_view(plain), &shrunk, &front->word_bytes));
    front->flags |= shrunk ? WORDS_SHRUNK : 0;
    return MG_OK;
}

mg_err mg_column_pack(const struct mg_column_builder *builder, struct mg_buf *out)
{
    struct mg_column column = mg_column_of(builder);
    struct front front = {
        .flags = builder->text ? TEXT : 0,
        .rows = builder->rows,
        .base = builder->low,
        .high = builder->high,
        .width = width_of((uint64_t)builder->high - (uint64_t)builder->low),
        .word_count = column.word_count,
        .letter_bytes = (uint32_t)builder->letters.len,
    };
    uint8_t step_width = builder->falls || builder->text ? 8 : width_of(largest_step(&column));
    if (step_width < front.width) {
        front.flags |= STEPS;
        front.width = step_width;
    }
    size_t start = out->len;
    MG_TRY(mg_buf_put(out, mg_view_of((const char *)&front, sizeof front)));
    struct mg_buf plain;
    mg_buf_init(&plain, MG_COLUMN_BYTES + MG_COLUMN_ROWS * sizeof(uint32_t));
    mg_err err = pack_parts(out, &plain, builder, &front);
    mg_buf_fini(&plain);
    memcpy(out->ptr + start, &front, sizeof front);
    return err;
}

/* ---- opening */

/* Cuts a part of `stored` bytes off *rest. *out_plain has `bytes` bytes, in *out_owned when it had been shrunk. */
static mg_err open_part(mg_view *rest, bool shrunk, uint32_t stored, size_t bytes, const void **out_plain, void **out_owned)
{
    size_t room = ((size_t)stored + 7) & ~(size_t)7;
    if (room > rest->len || (!shrunk && stored != bytes))
        return MG_E_PROTOCOL;
    *out_plain = rest->ptr;
    if (shrunk) {
        *out_plain = *out_owned = mg_alloc(MG_MAX(bytes, (size_t)1));
        size_t got = ZSTD_decompress(*out_owned, bytes, rest->ptr, stored);
        if (ZSTD_isError(got) || got != bytes)
            return MG_E_PROTOCOL;
    }
    *rest = mg_view_skip(*rest, room);
    return MG_OK;
}

/* Steps become distances again, in eight bytes. */
static void add_steps(struct mg_column *column)
{
    uint64_t *sums = mg_new_array(uint64_t, MG_MAX(column->rows, 1u));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < column->rows; i++)
        sums[i] = sum += mg_column_cell(column, i);
    mg_free(column->owned[0]);
    column->cells = column->owned[0] = sums;
    column->width = 8;
}

static bool words_fit(const struct mg_column *column, uint32_t letter_bytes)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i < column->word_count; before = column->ends[i++])
        if (column->ends[i] < before)
            return false;
    return before == letter_bytes;
}

static bool cells_fit(const struct mg_column *column)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < column->rows; i++)
        largest = MG_MAX(largest, mg_column_cell(column, i));
    return column->rows == 0 || largest < column->word_count;
}

static mg_err open_checked(const struct front *front, mg_view rest, struct mg_column *column)
{
    const void *words = NULL;
    size_t word_bytes = (size_t)front->word_count * sizeof(uint32_t) + front->letter_bytes;
    MG_TRY(open_part(&rest, front->flags & CELLS_SHRUNK, front->cell_bytes, (size_t)front->rows * front->width,
                     &column->cells, &column->owned[0]));
    MG_TRY(open_part(&rest, front->flags & WORDS_SHRUNK, front->word_bytes, word_bytes, &words, &column->owned[1]));
    column->ends = words;
    column->letters = (const char *)words + (size_t)front->word_count * sizeof(uint32_t);
    if (rest.len > 0 || !words_fit(column, front->letter_bytes))
        return MG_E_PROTOCOL;
    if (front->flags & STEPS)
        add_steps(column);
    return !column->text || cells_fit(column) ? MG_OK : MG_E_PROTOCOL;
}

static bool front_fits(const struct front *front)
{
    bool text = front->flags & TEXT;
    return front->rows <= MG_COLUMN_ROWS && front->word_count <= MG_COLUMN_ROWS && front->letter_bytes <= MG_COLUMN_BYTES &&
           (front->width <= 2 || front->width == 4 || front->width == 8) && front->base <= front->high &&
           (text ? front->base == 0 && !(front->flags & STEPS) : front->word_count == 0);
}

mg_err mg_column_open(mg_view bytes, struct mg_column *out_column)
{
    struct front front;
    *out_column = (struct mg_column){0};
    if (bytes.len < sizeof front || (uintptr_t)bytes.ptr % 8 != 0)
        return MG_E_PROTOCOL;
    memcpy(&front, bytes.ptr, sizeof front);
    if (!front_fits(&front))
        return MG_E_PROTOCOL;
    out_column->rows = front.rows;
    out_column->width = front.width;
    out_column->text = front.flags & TEXT;
    out_column->base = out_column->low = front.base;
    out_column->high = front.high;
    out_column->word_count = front.word_count;
    mg_err err = open_checked(&front, mg_view_skip(bytes, sizeof front), out_column);
    if (err != MG_OK)
        mg_column_close(out_column);
    return err;
}

void mg_column_close(struct mg_column *column)
{
    mg_free(column->owned[0]);
    mg_free(column->owned[1]);
    *column = (struct mg_column){0};
}

size_t mg_column_bytes(const struct mg_column *column)
{
    size_t cells = column->owned[0] ? (size_t)column->rows * column->width : 0;
    size_t words = column->owned[1] ? (size_t)(column->letters - (const char *)column->ends) : 0;
    return column->owned[1] && column->word_count ? cells + words + column->ends[column->word_count - 1] : cells + words;
}
