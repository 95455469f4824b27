/* journal.h - the usage journal: an append-only ring in a memory-mapped file, one per worker.
 *
 * What is appended survives kill -9 at once, because the pages belong to the kernel; a power cut
 * may lose what the recorder has not yet synced (docs/internals/journal.md). The file is fully
 * allocated when it is opened, so a full disk is an error at start and never a SIGBUS.
 *
 * One writer (the worker) and one reader (the recorder thread), without locks: appending is a
 * memcpy, a checksum and one release-store, no system call. Room is reserved when an exchange is
 * admitted, so appending what was reserved cannot fail. */
#ifndef MG_STORE_JOURNAL_H
#define MG_STORE_JOURNAL_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

/* Stored in files: numbers are for ever, new ones go to the end. 0 is the pad behind which the
 * ring begins again. */
enum mg_journal_type {
    MG_JOURNAL_PAD = 0,
    MG_JOURNAL_STARTED = 1,  /* an attempt, before its first byte goes upstream */
    MG_JOURNAL_SETTLED = 2,  /* its end */
    MG_JOURNAL_EXCHANGE = 3, /* the timeline of an exchange without its attempts */
    MG_JOURNAL_REDIALED = 4, /* an attempt goes out a second time: its warm connection was dead */
};

struct mg_journal;

struct mg_journal_record {
    uint64_t boot;           /* of the process that wrote it */
    uint64_t sequence;       /* 1 is the first of the file; (boot, worker, sequence) is unique */
    uint64_t end;            /* position behind the record */
    uint32_t worker;
    enum mg_journal_type type;
    mg_view payload;         /* borrowed until the callback returns */
};

/* An error stops the reading and is handed back; the record counts as not read. */
typedef mg_err (*mg_journal_cb)(void *arg, const struct mg_journal_record *record);

/* What one record occupies in the ring: its header, its payload, padding to 8. */
#define MG_JOURNAL_OVERHEAD 24
#define MG_JOURNAL_ROOM(payload_bytes) (MG_JOURNAL_OVERHEAD + (((size_t)(payload_bytes) + 7) & ~(size_t)7))

/* Creates the file at path, or takes over one that holds nothing unread. `bytes` is rounded up to
 * whole pages and is at least 256 KiB. MG_E_EXISTS: the file has records nobody recovered
 * (mg_journal_recover); MG_E_SYSTEM: no room or no permission; diag says which. */
MG_MUST_USE mg_err mg_journal_open(const char *path, size_t bytes, uint32_t worker, uint64_t boot,
                                   struct mg_journal **out_journal, struct mg_diag *diag);
void mg_journal_close(struct mg_journal *journal);           /* NULL is a no-op; the file stays */

/* ---- the writer: one thread */

/* Sets bytes of the ring aside, or answers false: the exchange is then shed with 503. Give the
 * same number back with mg_journal_unreserve() when it has settled; what was appended meanwhile
 * needs no accounting. */
bool mg_journal_reserve(struct mg_journal *journal, size_t bytes);
void mg_journal_unreserve(struct mg_journal *journal, size_t bytes);

/* Bytes that nobody has reserved: what optional text may take beside what was reserved. */
size_t mg_journal_spare(const struct mg_journal *journal);

/* Room for a payload of at most max_bytes (≤ MG_MAX_JOURNAL_RECORD_BYTES), to be filled in place
 * and published by mg_journal_commit(), which takes what was really written. NULL when the ring is
 * full, which cannot happen to what was reserved. Nothing may be appended in between. */
char *mg_journal_begin(struct mg_journal *journal, size_t max_bytes);
void mg_journal_commit(struct mg_journal *journal, enum mg_journal_type type, size_t bytes);

/* Both in one, copying. MG_E_BUSY: full and not reserved; MG_E_TOO_LARGE: no record may be so long. */
MG_MUST_USE mg_err mg_journal_append(struct mg_journal *journal, enum mg_journal_type type, mg_view payload);

/* ---- the reader: one thread */

/* Calls back for at most max records behind the last one read; *out_count is how many. */
MG_MUST_USE mg_err mg_journal_read(struct mg_journal *journal, mg_journal_cb cb, void *arg, unsigned max,
                                   unsigned *out_count);

/* Where the reader stands: behind `sequence`, at `position`. */
struct mg_journal_cursor {
    uint64_t sequence;
    uint64_t position;
};

struct mg_journal_cursor mg_journal_tell(const struct mg_journal *journal);

/* Reads again from a place told before and not freed: after a transaction that failed. */
void mg_journal_seek(struct mg_journal *journal, struct mg_journal_cursor cursor);

/* What stands before the cursor is safe in the store: its room may be written again. */
void mg_journal_free_to(struct mg_journal *journal, struct mg_journal_cursor cursor);

/* Writes the ring to the disk; needed at stop only, the store is what is synced otherwise. */
MG_MUST_USE mg_err mg_journal_sync(struct mg_journal *journal);

/* ---- any thread */

struct mg_journal_stats {
    uint64_t size;           /* bytes of the ring */
    uint64_t used;           /* not freed yet */
    uint64_t reserved;       /* set aside by exchanges in flight */
    uint64_t records;        /* appended since start */
    uint64_t shed;           /* reservations refused since start */
};

void mg_journal_stats(const struct mg_journal *journal, struct mg_journal_stats *out_stats);

/* ---- start-up */

/* Answers how far the store has the ring of (boot, worker); zeros when it has nothing of it. */
typedef mg_err (*mg_journal_known_cb)(void *arg, uint64_t boot, uint32_t worker,
                                      struct mg_journal_cursor *out_known);

/* Calls back for each valid record of a file that a dead process left, behind its checkpoint and
 * behind what the store has. The first bad checksum ends the log. A file without a valid header is
 * MG_E_PROTOCOL. The file is not changed. */
MG_MUST_USE mg_err mg_journal_recover(const char *path, mg_journal_known_cb known, mg_journal_cb cb, void *arg,
                                      uint64_t *out_count, struct mg_diag *diag);

#endif
