/* column.h - one field of many rows, packed for scanning: numbers, or texts behind a dictionary.
 *
 *     mg_column_int(&builder, 17);  mg_column_text(&builder, name);       one call a row
 *     mg_column_pack(&builder, &out)                                      bytes for a file
 *     mg_column_open(bytes, &column)                                      and back, to be scanned
 *
 * A number is kept as its distance from the smallest one, in as few bytes as the largest takes; a text as its place in the
 * list of different texts, the words. A field that is the same in all rows takes no room, one that only grows is kept as
 * its steps. What zstd shrinks well is shrunk. Opening trusts nothing: a column whose lengths, widths or words do not fit is
 * MG_E_PROTOCOL. */
#ifndef MG_STORE_COLUMN_H
#define MG_STORE_COLUMN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/view.h"

enum {
    MG_COLUMN_ROWS = 65536,            /* of one column */
    MG_COLUMN_WORD_BYTES = 16384,      /* of one text; longer ones are cut at a UTF-8 boundary */
    MG_COLUMN_BYTES = 64 << 20,        /* of all words of a column, and of one that is packed */
};

/* Ready to be scanned. Cells are unsigned numbers of `width` bytes; width 0: there are none, all are 0. */
struct mg_column {
    uint32_t rows;
    uint8_t width;                     /* 0, 1, 2, 4 or 8 */
    bool text;                         /* cells are numbers of words */
    int64_t base;                      /* value of a number: base + cell */
    int64_t low, high;                 /* of all values; of texts: of their words' numbers */
    const void *cells;                 /* borrowed from the bytes that were opened, or `owned` */
    uint32_t word_count;
    const uint32_t *ends;              /* where each word ends in `letters` */
    const char *letters;
    void *owned[2];                    /* unpacked cells and words; NULL: borrowed */
};

MG_MUST_USE mg_err mg_column_open(mg_view bytes, struct mg_column *out_column);
void mg_column_close(struct mg_column *column);              /* harmless on a zeroed one */

/* Memory that it owns beside the bytes it was opened from. */
size_t mg_column_bytes(const struct mg_column *column);

static inline uint64_t mg_column_cell(const struct mg_column *column, uint32_t row)
{
    switch (column->width) {
    case 1: return ((const uint8_t *)column->cells)[row];
    case 2: return ((const uint16_t *)column->cells)[row];
    case 4: return ((const uint32_t *)column->cells)[row];
    case 8: return ((const uint64_t *)column->cells)[row];
    default: return 0;
    }
}

static inline int64_t mg_column_number(const struct mg_column *column, uint32_t row)
{
    return (int64_t)((uint64_t)column->base + mg_column_cell(column, row));
}

static inline mg_view mg_column_word(const struct mg_column *column, uint32_t word)
{
    uint32_t from = word ? column->ends[word - 1] : 0;
    return mg_view_of(column->letters + from, column->ends[word] - from);
}

static inline mg_view mg_column_view(const struct mg_column *column, uint32_t row)
{
    return mg_column_word(column, (uint32_t)mg_column_cell(column, row));
}

/* Rows as they come. Its column may be scanned at any time; it is not packed then: numbers take eight bytes, words four. */
struct mg_column_builder {             /* caller's memory; the fields belong to column.c */
    bool text;
    uint32_t rows;
    int64_t low, high;
    bool falls;                        /* some number is smaller than the one before */
    int64_t last;
    struct mg_buf cells;               /* int64_t, or uint32_t of texts */
    struct mg_map words;               /* word → its number + 1 */
    struct mg_buf ends, letters;
};

void mg_column_init(struct mg_column_builder *builder, bool text);
void mg_column_fini(struct mg_column_builder *builder);
void mg_column_clear(struct mg_column_builder *builder);     /* forgets the rows and keeps the memory */

/* At most MG_COLUMN_ROWS rows. MG_E_TOO_LARGE: full, and the row is not in it. */
MG_MUST_USE mg_err mg_column_int(struct mg_column_builder *builder, int64_t value);
MG_MUST_USE mg_err mg_column_text(struct mg_column_builder *builder, mg_view value);

/* Room for a text of so many bytes is left: putting it cannot fail. */
static inline bool mg_column_fits(const struct mg_column_builder *builder, size_t bytes)
{
    return builder->rows < MG_COLUMN_ROWS && builder->letters.len + bytes <= MG_COLUMN_BYTES;
}

/* What was put so far, until the next call that changes the builder. */
struct mg_column mg_column_of(const struct mg_column_builder *builder);

/* Appends the packed column to out. */
MG_MUST_USE mg_err mg_column_pack(const struct mg_column_builder *builder, struct mg_buf *out);

#endif
