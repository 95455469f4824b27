/* block.h - up to 65,536 exchanges that are over, as columns: what the request log is searched in.
 *
 * The recorder stores an exchange as a row of the database at once. Later, many rows together become a block (meter/packer.h): a
 * file that never changes, with a column for each field (store/column.h) and the exchanges' details, shrunk in groups. Searching
 * reads only the columns that are asked for. The newest exchanges, which are rows still, are gathered in a block in memory, so
 * that there is one way to search.
 *
 *     <data>/requests/<at_us of the first row>.rows
 *
 * Rows are in the order of at_us. Files are written beside and renamed, so one that is there is whole; each part has a checksum,
 * and a damaged one is MG_E_STORE for whoever asks for that part. One thread at a time. */
#ifndef MG_METER_BLOCK_H
#define MG_METER_BLOCK_H

#include "meter/timeline.h"
#include "store/column.h"

/* What a row has. Stored by number: this list may only grow at the end, and a block that lacks a field has it empty. */
#define MG_FIELD_LIST(X)                                                                           \
    X(at_us, int)                /* when it settled, since 1970; unique, growing: the cursor */    \
    X(start_us, int)             /* when it began, since 1970 */                                   \
    X(id_time, int)              /* the id: milliseconds, 64 bits and 16 bits of chance */         \
    X(id_high, int)                                                                                \
    X(id_low, int)                                                                                 \
    X(status, int)               /* sent to the client */                                          \
    X(flags, int)                /* MG_ROW_… of meter/ledger.h */                                  \
    X(attempts, int)                                                                               \
    X(generation, int)                                                                             \
    X(duration_us, int)                                                                            \
    X(overhead_us, int)          /* duration without waiting for upstreams */                      \
    X(ttft_us, int)              /* 0: no token came */                                            \
    X(waited_us, int)            /* of all attempts, like tokens and cost */                       \
    X(plugin_us, int)                                                                              \
    X(input_tokens, int)                                                                           \
    X(output_tokens, int)                                                                          \
    X(cached_read_tokens, int)                                                                     \
    X(cached_write_tokens, int)                                                                    \
    X(reasoning_tokens, int)                                                                       \
    X(cost_microusd, int)                                                                          \
    X(bytes_in, int)                                                                               \
    X(bytes_out, int)                                                                              \
    X(project, text)                                                                               \
    X(workflow, text)                                                                              \
    X(key, text)                                                                                   \
    X(arm, text)                 /* of the attempt that answered, or the last one, like the next */ \
    X(provider, text)                                                                              \
    X(model, text)                                                                                 \
    X(served, text)              /* model as the answer names it */                                \
    X(dialect, text)                                                                               \
    X(credential, text)                                                                            \
    X(tried, text)               /* "\n<provider>\t<model>\n…" of all attempts, when several */    \
    X(class, text)                                                                                 \
    X(error_code, text)                                                                            \
    X(path, text)                                                                                  \
    X(session, text)                                                                               \
    X(user, text)                /* metadata's user, user_id or end_user */                        \
    X(client, text)              /* address, without the port */                                   \
    X(sdk, text)                 /* user agent */                                                  \
    X(metadata, text)            /* JSON object, or empty */                                       \
    X(own_id, text)              /* the id, when it is not one of ours; else empty */

enum mg_field {
#define X(name, kind) MG_FIELD_##name,
    MG_FIELD_LIST(X)
#undef X
    MG_FIELD_COUNT
};

const char *mg_field_name(enum mg_field field);
bool mg_field_is_text(enum mg_field field);

enum { MG_BLOCK_ROWS = MG_COLUMN_ROWS };

/* A row of the database, to be put into a block. */
struct mg_block_row {
    uint64_t at_us;
    int64_t flags;
    mg_view id;
    mg_view detail;                    /* as meter/ledger.h decodes it; unreadable ones have empty fields */
};

struct mg_block;

/* A block in memory. `with_details` false: it is for searching only. */
struct mg_block *mg_block_new(bool with_details);

/* MG_E_TOO_LARGE: it is full, and the row is not in it. */
MG_MUST_USE mg_err mg_block_put(struct mg_block *block, const struct mg_block_row *row);

/* Writes a block that has rows and details to the folder, synced. MG_E_SYSTEM: no room, no permission; the diag says which. */
MG_MUST_USE mg_err mg_block_write(struct mg_block *block, const char *folder, struct mg_diag *diag);

/* A block of a file. MG_E_STORE: it is none, or its directory is damaged. */
MG_MUST_USE mg_err mg_block_open(const char *path, struct mg_block **out_block, struct mg_diag *diag);
void mg_block_free(struct mg_block *block);                  /* NULL is a no-op */

uint32_t mg_block_rows(const struct mg_block *block);
uint64_t mg_block_first_us(const struct mg_block *block);    /* at_us of its rows; of an empty one 0 */
uint64_t mg_block_last_us(const struct mg_block *block);
uint64_t mg_block_file_bytes(const struct mg_block *block);  /* 0 of one in memory */

/* Borrowed until the block is changed, let go of or freed. */
MG_MUST_USE mg_err mg_block_column(struct mg_block *block, enum mg_field field, const struct mg_column **out_column);

/* Memory of columns that were unpacked, and giving it back. */
size_t mg_block_bytes(const struct mg_block *block);
void mg_block_let_go(struct mg_block *block);

/* The detail of a row; borrowed until the next call. Rows that follow one another cost little. */
MG_MUST_USE mg_err mg_block_detail(struct mg_block *block, uint32_t row, mg_view *out_detail);

/* The id of a row, "req_…" or what the client called it. */
MG_MUST_USE mg_err mg_block_id(struct mg_block *block, uint32_t row, char out_id[40]);

/* The row with this id; MG_E_NOT_FOUND. Blocks that cannot have it, by its time, are left quickly. */
MG_MUST_USE mg_err mg_block_find(struct mg_block *block, mg_view id, uint32_t *out_row);

#endif
