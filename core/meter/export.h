/* export.h - hands usage events on to a sink outside: in order, at least once, from the store.
 *
 * A sink has a thread and a cursor of its own. The thread reads events that were committed, hands a
 * batch to the sink, and moves the cursor in the store only when the sink has taken it; when it has
 * not, the same batch comes again, later and later (up to a minute apart), for as long as it takes.
 * No request waits for it, a sink that is dead or slow holds up no other, and nothing is lost but with
 * the store. A batch may come twice (a crash between the two): every event has an id that never
 * changes.
 *
 * A cursor is kept by the sink's name: a new name begins with what settles from then on. */
#ifndef MG_METER_EXPORT_H
#define MG_METER_EXPORT_H

#include "base/buf.h"
#include "meter/usage.h"
#include "store/recorder.h"

enum {
    MG_EXPORT_BATCH = 500,             /* exchanges of one batch, unless the sink says less */
    MG_EXPORT_BATCH_BYTES = 4 << 20,   /* … which ends earlier when it has so many bytes */
    MG_EXPORT_BEAT_MS = 500,           /* looks for new events so often */
    MG_EXPORT_RETRY_MS = 1000,         /* first pause after a failure; doubled up to the next */
    MG_EXPORT_MAX_RETRY_MS = 60000,
};

struct mg_export_batch {
    mg_view events;                    /* JSON objects, a line each */
    unsigned count;
    char id[48];                       /* "<first cursor>-<next cursor>": the same batch has the same id */
};

/* What a sink must be able to do. Calls come from the sink's own thread, one at a time, and may block. */
struct mg_export_sink {
    const char *name;                  /* of the cursor; borrowed */
    void *arg;                         /* of the calls */
    unsigned max_exchanges;            /* of a batch; 0: MG_EXPORT_BATCH */
    /* MG_OK: it has them and will not lose them. Otherwise the diag says why, for the log. */
    mg_err (*send)(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag);
    void (*interrupt)(void *arg);      /* from another thread: a send that runs should end soon; may be NULL */
    void (*close)(void *arg);          /* after the last send; frees arg */
};

struct mg_export;

/* Takes the sink over. */
MG_MUST_USE mg_err mg_export_start(const char *data_dir, struct mg_recorder *recorder, const struct mg_export_sink *sink,
                                   struct mg_export **out_export, struct mg_diag *diag);
/* Tries once more to hand on what is there, then ends. Before the recorder stops; NULL is a no-op. */
void mg_export_stop(struct mg_export *exporter);

struct mg_export_stats {
    uint64_t events, batches;          /* taken by the sink */
    uint64_t failures;                 /* batches it did not take */
    uint64_t next_us;                  /* cursor: everything that settled before was taken */
};
struct mg_export_stats mg_export_stats(const struct mg_export *exporter);     /* any thread */

/* A sink that appends to a file (mode 0600) and syncs it. The file is opened for each batch, so that it may be moved away
 * at any time; half a batch is cut off again. */
struct mg_export_sink mg_export_to_file(const char *name, const char *path);

#endif
