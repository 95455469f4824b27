/* export.h - hands usage events on to a sink outside: in order, at least once, from the store.
 *
 * A sink has a thread and a cursor of its own. The thread reads events that were committed, hands a
 * batch to the sink, and moves the cursor in the store only when the sink has taken it; when it has
 * not, the same batch comes again, later and later (up to a minute apart), for as long as it takes.
 * No request waits for it, a sink that is dead or slow holds up no other, and nothing is lost but with
 * the store. A batch may come twice (a crash between the two): every event has an id that never
 * changes. A batch that was not taken comes again as it was, with the same id, for as long as the
 * process lives; after a restart the same events may be cut differently.
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
    MG_EXPORT_LAST_MS = 5000,          /* a send that runs when the process ends; then it is left behind */
    MG_EXPORT_NAME = 72, MG_EXPORT_TEXT = 200,
};

struct mg_export_batch {
    mg_view events;                    /* JSON objects, a line each */
    unsigned count;
    uint64_t first_us;                 /* when the first of them settled */
    char id[48];                       /* "<first cursor>-<next cursor>": the same batch has the same id */
};

/* What a sink must be able to do: whoever fills this in can be exported to (export_file.c and gateway/exporting.c do). Calls
 * come from the sink's own thread, one at a time, and may block. */
struct mg_export_sink {
    const char *name;                  /* of the cursor; borrowed */
    const char *to;                    /* where to, for people, without secrets; borrowed like arg */
    void *arg;                         /* of the calls */
    unsigned max_exchanges;            /* of a batch; 0: MG_EXPORT_BATCH */
    /* MG_OK: it has them and will not lose them. Otherwise the diag says why, for the log. */
    mg_err (*send)(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag);
    void (*interrupt)(void *arg);      /* from another thread: a send that runs should end soon; may be NULL */
    void (*close)(void *arg);          /* after the last send; frees arg. Never called for one that is left behind */
};

struct mg_export;

/* Takes the sink over. */
MG_MUST_USE mg_err mg_export_start(const char *data_dir, struct mg_recorder *recorder, const struct mg_export_sink *sink,
                                   struct mg_export **out_export, struct mg_diag *diag);
/* Tries once more to hand on what is there, then ends. A sink that does not answer within LAST_MS is left behind with its
 * thread and memory: the process ends, and its events wait in the store. Before the recorder stops; NULL is a no-op. */
void mg_export_stop(struct mg_export *exporter);

/* How it is. Times are wall clock, 0: never. */
struct mg_export_state {
    char name[MG_EXPORT_NAME];
    char to[MG_EXPORT_TEXT];
    uint64_t events, batches;          /* taken by the sink since the start */
    uint64_t failures;                 /* batches it did not take */
    unsigned failed_in_row;
    uint64_t next_us;                  /* cursor: everything that settled before was taken */
    uint64_t waiting_since_us;         /* when the oldest event settled that the sink was shown and did not take yet */
    uint64_t taken_us;                 /* when it took something last */
    uint64_t failing_since_us;
    char error[MG_EXPORT_TEXT];        /* why it did not take the last batch; empty: it did */
};
void mg_export_state(struct mg_export *exporter, struct mg_export_state *out_state);     /* any thread */

/* A sink that appends to a regular file (mode 0600) and syncs it. The file is opened for each batch, so that it may be moved
 * away at any time; half a batch is cut off again. Half a line that a process left which was killed stays, as a line of its
 * own; its event comes again. */
struct mg_export_sink mg_export_to_file(const char *name, const char *path);

#endif
