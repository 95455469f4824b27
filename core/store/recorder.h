/* recorder.h - the one thread that writes the store.
 *
 * It drains the workers' journals in batches, one transaction each, through a sink that knows what
 * the records mean (meter/ledger.h). Ring room is given back only after a synced commit, at least
 * every MG_RECORDER_SYNC_MS while records come. Others hand it writes and are told after the
 * commit. Nobody on the request path ever waits for it.
 *
 * A transaction that fails (a full disk, a locked or damaged store, a file that was replaced) is
 * rolled back and tried again from the ring, with a fresh connection when that may help. While that
 * lasts the store is *in trouble*: the log says so, anybody may ask, the rings fill, and when they
 * are full exchanges are shed; no record is lost. A store that is well again is noticed by itself. */
#ifndef MG_STORE_RECORDER_H
#define MG_STORE_RECORDER_H

#include <stdint.h>

#include "base/err.h"
#include "store/db.h"
#include "store/journal.h"

enum {
    MG_RECORDER_SYNC_MS = 1000,        /* a power cut loses at most the records of so long */
    MG_RECORDER_MIN_MS = 20,           /* pause between batches while rings fill */
    MG_RECORDER_MAX_MS = 250,          /* and otherwise: larger batches cost less; who cannot wait kicks */
    MG_RECORDER_BATCH = 4096,          /* records of one journal in one transaction */
};

struct mg_recorder;

/* What records mean is the sink's business. All calls come from the recorder thread (from the
 * starting thread before mg_recorder_start() returns), inside a transaction. An error rolls it
 * back: `rollback` is then called and the same records come again. A record that can never be
 * stored must be dropped by the sink (logged and counted), or it would come for ever.
 *
 * `stored` records come at start only: their rows were committed by the process that died, so
 * they serve to rebuild what was open and must not make a row again. */
struct mg_sink {
    void *arg;
    mg_err (*open)(void *arg, struct mg_db *db);             /* prepare statements; the first time, read what was left open */
    mg_err (*record)(void *arg, const struct mg_journal_record *record, bool stored);
    mg_err (*interrupt)(void *arg);                          /* old rings are read: what is open now never settles */
    mg_err (*flush)(void *arg);                              /* the records of all rings were read: write their rows */
    mg_err (*checkpoint)(void *arg);                         /* ring room is about to be freed: store what is only in memory */
    void (*commit)(void *arg);
    void (*rollback)(void *arg);
    void (*close)(void *arg);                                /* free statements; the database goes next, and another may be opened */
};

struct mg_recorder_options {
    const char *data;                  /* the folder; exists and is locked by the caller */
    unsigned workers;
    size_t journal_bytes;              /* of each ring; 0 is MG_MAX_JOURNAL_BYTES */
    struct mg_sink sink;
};

/* Opens the store, recovers the rings that an earlier process left, opens fresh ones and starts
 * the thread. The diag says what a human must do. */
MG_MUST_USE mg_err mg_recorder_start(const struct mg_recorder_options *options, struct mg_recorder **out_recorder,
                                     struct mg_diag *diag);

/* Drains everything, runs all writes, syncs, ends the thread and frees. The workers have stopped. */
void mg_recorder_stop(struct mg_recorder *recorder);         /* NULL is a no-op */

/* Recovers rings into the store without starting anything: for a CLI that got the lock. */
MG_MUST_USE mg_err mg_recorder_recover(const char *data, const struct mg_sink *sink, struct mg_diag *diag);

/* The journal of worker 0 … workers-1; lives until mg_recorder_stop(). */
struct mg_journal *mg_recorder_journal(struct mg_recorder *recorder, unsigned worker);

/* Wakes the thread now instead of at its next beat: for `logs -f` and tests. Any thread. */
void mg_recorder_kick(struct mg_recorder *recorder);

/* Waits until what was appended before the call is committed. Not on a worker. */
void mg_recorder_flush(struct mg_recorder *recorder);

/* Runs fn(arg, db) on the recorder thread in a transaction of its own with MG_DB_FULL, then
 * done(arg, result) on that same thread after the commit (or after the rollback when fn or the
 * commit failed). done never fires inline. Any thread; the order of one caller is kept. The arg
 * lives until done. */
typedef mg_err (*mg_write_fn)(void *arg, struct mg_db *db);
typedef void (*mg_write_done)(void *arg, mg_err result);
void mg_recorder_write(struct mg_recorder *recorder, mg_write_fn fn, mg_write_done done, void *arg);

/* The same, waiting for the result. Not on a worker and not on the recorder thread. */
MG_MUST_USE mg_err mg_recorder_write_wait(struct mg_recorder *recorder, mg_write_fn fn, void *arg);

struct mg_recorder_trouble {
    uint64_t since_us;       /* wall clock; 0: the store is well */
    unsigned journal_percent;          /* how full the fullest ring is: at 100 exchanges are shed */
    char reason[160];        /* as the store says it; empty when it is well */
};

/* Any thread. */
void mg_recorder_trouble(struct mg_recorder *recorder, struct mg_recorder_trouble *out_trouble);

struct mg_recorder_stats {
    uint64_t batches;        /* transactions committed */
    uint64_t records;        /* stored since start */
    uint64_t failures;       /* transactions rolled back */
    uint64_t recovered;      /* records found in old rings at start */
    uint64_t cpu_us;         /* the thread's CPU time */
};

void mg_recorder_stats(const struct mg_recorder *recorder, struct mg_recorder_stats *out_stats);

#endif
