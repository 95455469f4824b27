#include "store/recorder.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "folder.h"
#include "store/folder.h"

/* A sink that stores the payload of each record as a key's name, so that SQL can count them. */
struct sink {
    struct mg_db *db;
    struct mg_stmt *insert;
    unsigned interrupts, flushes, checkpoints, commits, rollbacks, closes;
};

static mg_err sink_open(void *arg, struct mg_db *db)
{
    struct sink *sink = arg;
    sink->db = db;
    return mg_db_prepare(
        db, "INSERT INTO keys (id, project, name, hash, created_us) VALUES (?, '', ?, ?, 0)",
        &sink->insert);
}

static mg_err sink_record(void *arg, const struct mg_journal_record *record, bool stored)
{
    struct sink *sink = arg;
    if (stored)
        return MG_OK;
    char id[64];
    int n = snprintf(id, sizeof id, "%" PRIu64 ".%u.%" PRIu64, record->boot, record->worker,
                     record->sequence);
    mg_stmt_bind_text(sink->insert, 1, mg_view_of(id, (size_t)n));
    mg_stmt_bind_text(sink->insert, 2, record->payload);
    mg_stmt_bind_blob(sink->insert, 3, mg_view_of(id, (size_t)n));
    return mg_stmt_run(sink->insert);
}

static mg_err sink_interrupt(void *arg)
{
    ((struct sink *)arg)->interrupts++;
    return MG_OK;
}

static mg_err sink_flush(void *arg)
{
    ((struct sink *)arg)->flushes++;
    return MG_OK;
}

static mg_err sink_checkpoint(void *arg)
{
    ((struct sink *)arg)->checkpoints++;
    return MG_OK;
}

static void sink_commit(void *arg)
{
    ((struct sink *)arg)->commits++;
}

static void sink_rollback(void *arg)
{
    ((struct sink *)arg)->rollbacks++;
}

static void sink_close(void *arg)
{
    struct sink *sink = arg;
    mg_stmt_free(sink->insert);
    sink->closes++;
}

static struct mg_sink sink_of(struct sink *sink)
{
    return (struct mg_sink){sink,           sink_open,     sink_record,
                            sink_interrupt, sink_flush,    sink_checkpoint,
                            sink_commit,    sink_rollback, sink_close};
}

static struct mg_recorder *start(const char *data, struct sink *sink, unsigned workers)
{
    struct mg_recorder *recorder;
    struct mg_recorder_options options = {data, workers, 1 << 20, sink_of(sink)};
    CHECK_OK(mg_folder_create(data, NULL));
    CHECK_OK(mg_recorder_start(&options, &recorder, NULL));
    return recorder;
}

static int64_t count(const char *data, const char *sql)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_folder_path(data, "moongate.db", path));
    CHECK_OK(mg_db_open(path, MG_DB_READ, &db, NULL));
    CHECK_OK(mg_db_prepare(db, sql, &stmt));
    CHECK_OK(mg_stmt_step(stmt, &row));
    int64_t value = mg_stmt_int(stmt, 0);
    mg_db_close(db);
    return value;
}

static void append(struct mg_journal *journal, unsigned number)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%u", number);
    CHECK_OK(mg_journal_append(journal, MG_JOURNAL_SETTLED, mg_view_of(text, (size_t)n)));
}

TEST(records_of_all_workers_are_stored_once_a_flush_returned)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 3);

    for (unsigned i = 0; i < 300; i++)
        append(mg_recorder_journal(recorder, i % 3), i);
    mg_recorder_flush(recorder);

    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 300);
    CHECK_INT(count(data, "SELECT sum(name) FROM keys"), 299 * 300 / 2);
    mg_recorder_stop(recorder);
    CHECK_INT(sink.closes, 1);
}

TEST(more_than_a_batch_is_stored_before_a_flush_returns)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);

    for (unsigned i = 0; i < 2 * MG_RECORDER_BATCH + 5; i++)
        append(mg_recorder_journal(recorder, 0), i);
    mg_recorder_flush(recorder);

    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 2 * MG_RECORDER_BATCH + 5);
    mg_recorder_stop(recorder);
}

TEST(stopping_stores_everything_and_leaves_nothing_to_recover)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0}, next = {0};
    struct mg_recorder *recorder = start(data, &sink, 2);
    struct mg_recorder_stats stats;

    for (unsigned i = 0; i < 100; i++)
        append(mg_recorder_journal(recorder, i % 2), i);
    mg_recorder_stop(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 100);
    CHECK(sink.checkpoints >= 1);

    recorder = start(data, &next, 2);
    mg_recorder_stats(recorder, &stats);
    CHECK_INT(stats.recovered, 0);
    CHECK_INT(next.interrupts, 1);
    mg_recorder_stop(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 100);
}

TEST(ring_room_is_given_back_when_a_ring_fills)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct mg_journal *journal = mg_recorder_journal(recorder, 0);
    char payload[4000] = "x";
    struct mg_journal_stats stats;

    for (unsigned i = 0; i < 2000; i++) {
        while (mg_journal_append(journal, MG_JOURNAL_SETTLED,
                                 mg_view_of(payload, sizeof payload)) == MG_E_BUSY)
            mg_recorder_flush(recorder);
    }
    mg_recorder_flush(recorder);

    mg_journal_stats(journal, &stats);
    CHECK(stats.used <= stats.size);
    mg_recorder_stop(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 2000);
}

TEST(a_transaction_that_fails_is_repeated_and_nothing_is_stored_twice)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct mg_recorder_stats stats;
    mg_log_level(MG_LOG_OFF);

    append(mg_recorder_journal(recorder, 0), 1);
    mg_recorder_flush(recorder);
    append(mg_recorder_journal(recorder, 0), 2);
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    mg_recorder_flush(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 1);
    mg_recorder_flush(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 2);

    mg_recorder_stats(recorder, &stats);
    CHECK_INT(stats.failures, 1);
    CHECK_INT(stats.records, 2);
    CHECK_INT(sink.rollbacks, 1);
    mg_recorder_stop(recorder);
    mg_log_level(MG_LOG_INFO);
}

/* A gateway that is killed at a random moment while it appends; it says how far it came. */
static unsigned run_and_kill(const char *data, unsigned kill_after_us)
{
    int said[2];
    unsigned last = 0, number;
    CHECK_INT(pipe(said), 0);
    pid_t child = fork();
    if (child == 0) {
        struct sink sink = {0};
        struct mg_recorder *recorder = start(data, &sink, 2);
        close(said[0]);
        for (unsigned i = 1;; i++) {
            append(mg_recorder_journal(recorder, i % 2), i);
            if (write(said[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    close(said[1]);
    while (read(said[0], &number, sizeof number) == sizeof number) {
        if (last == 0 && kill_after_us > 0)
            usleep(kill_after_us);
        if (last == 0)
            kill(child, SIGKILL);
        last = number;
    }
    close(said[0]);
    waitpid(child, NULL, 0);
    return last;
}

TEST(kill_minus_nine_loses_no_record_and_doubles_none)
{
    mg_log_level(MG_LOG_OFF);
    for (unsigned round = 0; round < 4; round++) {
        const char *data = check_fresh_path("data");
        struct sink sink = {0};
        unsigned appended = run_and_kill(data, round * 60000);

        struct mg_recorder *recorder = start(data, &sink, 1);
        mg_recorder_stop(recorder);

        CHECK(appended > 0);
        CHECK(count(data, "SELECT count(*) FROM keys") >= appended);
        CHECK(count(data, "SELECT count(*) FROM keys") <= appended + 1);
        CHECK_INT(count(data, "SELECT count(DISTINCT name) = count(*) AND max(CAST(name AS "
                              "INTEGER)) = count(*) FROM keys"),
                  1);
    }
    mg_log_level(MG_LOG_INFO);
}

TEST(a_ring_that_comes_twice_is_stored_once)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    char ring[256], again[256];
    unsigned appended = run_and_kill(data, 0);
    mg_log_level(MG_LOG_OFF);
    snprintf(ring, sizeof ring, "%s/journal/worker-1.ring", data);
    snprintf(again, sizeof again, "%s/journal/again.ring", data);
    CHECK_INT(link(ring, again), 0);

    mg_recorder_stop(start(data, &sink, 1));

    CHECK(count(data, "SELECT count(*) FROM keys") >= appended);
    CHECK_INT(count(data, "SELECT count(DISTINCT name) = count(*) FROM keys"), 1);
    mg_log_level(MG_LOG_INFO);
}

TEST(a_cli_with_the_lock_recovers_too)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_sink ops = sink_of(&sink);
    unsigned appended = run_and_kill(data, 0);

    CHECK_OK(mg_recorder_recover(data, &ops, NULL));
    CHECK(count(data, "SELECT count(*) FROM keys") >= appended);
    int64_t first = count(data, "SELECT count(*) FROM keys");
    CHECK_OK(mg_recorder_recover(data, &ops, NULL));
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), first);
    CHECK_INT(sink.closes, 2);
}

TEST(a_damaged_ring_is_set_aside_and_does_not_stop_the_start)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    char ring[256], aside[300];
    struct stat stat_;
    mg_log_level(MG_LOG_OFF);
    mg_recorder_stop(start(data, &sink, 1));
    snprintf(ring, sizeof ring, "%s/journal/worker-0.ring", data);
    snprintf(aside, sizeof aside, "%s.damaged", ring);
    FILE *file = fopen(ring, "r+");
    fputs("garbage", file);
    fclose(file);

    mg_recorder_stop(start(data, &sink, 1));

    CHECK_INT(stat(aside, &stat_), 0);
    CHECK_INT(stat(ring, &stat_), 0);
    mg_log_level(MG_LOG_INFO);
}

TEST(a_disk_too_small_for_the_journal_is_an_error_at_start)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder;
    struct mg_diag diag;
    struct mg_recorder_options options = {data, 2, (size_t)1 << 60, sink_of(&sink)};
    CHECK_OK(mg_folder_create(data, NULL));

    CHECK_INT(mg_recorder_start(&options, &recorder, &diag), MG_E_SYSTEM);
    CHECK(strstr(diag.text, "free some room") != NULL);
    CHECK_INT(sink.closes, 1);
}

/* ---- writes of others */

struct note {
    const char *id;
    mg_err answer; /* of the write itself */
    bool done;
    mg_err result;
};

static mg_err write_note(void *arg, struct mg_db *db)
{
    struct note *note = arg;
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(
        db, "INSERT INTO keys (id, project, name, hash, created_us) VALUES (?1, '', '', ?1, 0)",
        &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(note->id));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err != MG_OK ? err : note->answer;
}

static void note_done(void *arg, mg_err result)
{
    struct note *note = arg;
    note->result = result;
    note->done = true;
}

TEST(a_write_is_committed_when_it_is_told_so)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct note good = {.id = "good"}, taken = {.id = "good"},
                bad = {.id = "bad", .answer = MG_E_DENIED};

    CHECK_OK(mg_recorder_write_wait(recorder, write_note, &good));
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 1);
    CHECK_INT(mg_recorder_write_wait(recorder, write_note, &taken), MG_E_EXISTS);
    CHECK_INT(mg_recorder_write_wait(recorder, write_note, &bad), MG_E_DENIED);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 1);

    mg_recorder_stop(recorder);
}

TEST(stopping_runs_the_writes_that_wait)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct note notes[20];
    char ids[20][16];

    for (int i = 0; i < 20; i++) {
        snprintf(ids[i], sizeof ids[i], "n%d", i);
        notes[i] = (struct note){.id = ids[i]};
        mg_recorder_write(recorder, write_note, note_done, &notes[i]);
    }
    mg_recorder_stop(recorder);

    for (int i = 0; i < 20; i++)
        CHECK(notes[i].done && notes[i].result == MG_OK);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 20);
}

static void *write_many(void *arg)
{
    static _Atomic unsigned number;
    for (int i = 0; i < 20; i++) {
        char id[16];
        struct note note = {.id = id};
        snprintf(id, sizeof id, "t%u", number++);
        if (mg_recorder_write_wait(arg, write_note, &note) != MG_OK)
            return arg;
    }
    return NULL;
}

TEST(several_threads_may_write_and_flush_while_a_worker_appends)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    pthread_t threads[3];
    void *failed;

    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, write_many, recorder), 0);
    for (unsigned i = 0; i < 500; i++) {
        append(mg_recorder_journal(recorder, 0), i);
        if (i % 50 == 0)
            mg_recorder_flush(recorder);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    mg_recorder_stop(recorder);

    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 560);
}

/* ---- a disk without room: SQLite answers the same when the file may not grow */

static mg_err limit_store(void *arg, struct mg_db *db)
{
    return mg_db_exec(db, (const char *)arg);
}

TEST(a_full_disk_delays_records_and_sheds_but_loses_none)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct mg_journal *journal = mg_recorder_journal(recorder, 0);
    struct mg_recorder_stats stats;
    struct mg_journal_stats ring;
    char payload[2000] = "x";
    unsigned appended = 0;
    mg_log_level(MG_LOG_OFF);

    CHECK_OK(mg_recorder_write_wait(recorder, limit_store, "PRAGMA max_page_count = 1"));
    while (mg_journal_reserve(journal, MG_JOURNAL_ROOM(sizeof payload))) {
        CHECK_OK(
            mg_journal_append(journal, MG_JOURNAL_SETTLED, mg_view_of(payload, sizeof payload)));
        appended++;
        mg_journal_unreserve(journal, MG_JOURNAL_ROOM(sizeof payload));
    }
    mg_recorder_flush(recorder);
    mg_recorder_stats(recorder, &stats);
    mg_journal_stats(journal, &ring);
    CHECK(stats.failures >= 1);
    CHECK(ring.shed == 1 && ring.used > ring.size * 9 / 10);

    CHECK_OK(mg_recorder_write_wait(recorder, limit_store, "PRAGMA max_page_count = 1000000"));
    mg_recorder_flush(recorder);
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), appended);
    mg_recorder_flush(recorder);
    CHECK(mg_journal_reserve(journal, MG_JOURNAL_ROOM(sizeof payload)));
    mg_recorder_stop(recorder);
    mg_log_level(MG_LOG_INFO);
}

/* ---- a store that goes away and comes back */

static const char *store_path(const char *data)
{
    static char path[MG_FOLDER_PATH_BYTES];
    CHECK_OK(mg_folder_path(data, "moongate.db", path));
    return path;
}

static const char *trouble_of(struct mg_recorder *recorder)
{
    static struct mg_recorder_trouble trouble;
    mg_recorder_trouble(recorder, &trouble);
    return trouble.reason;
}

TEST(a_write_that_the_store_refuses_is_trouble_until_it_takes_one_again)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct note note = {.id = "first"}, own = {.id = "own", .answer = MG_E_DENIED};
    mg_log_level(MG_LOG_OFF);

    CHECK_INT(mg_recorder_write_wait(recorder, write_note, &own), MG_E_DENIED);
    CHECK_STR(trouble_of(recorder), "");
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    CHECK_INT(mg_recorder_write_wait(recorder, write_note, &note), MG_E_STORE);
    mg_recorder_flush(recorder);
    mg_recorder_flush(recorder);
    CHECK_STR(trouble_of(recorder), "");
    CHECK_OK(mg_recorder_write_wait(recorder, write_note, &note));
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 1);

    CHECK_OK(mg_recorder_write_wait(recorder, limit_store, "PRAGMA max_page_count = 1"));
    mg_err err = MG_OK;
    for (int i = 0; i < 400 && err == MG_OK; i++) {
        char id[200];
        snprintf(id, sizeof id, "%0150d", i);
        note.id = id;
        err = mg_recorder_write_wait(recorder, write_note, &note);
    }
    CHECK_INT(err, MG_E_STORE);
    CHECK(trouble_of(recorder)[0] != '\0');
    CHECK_OK(mg_recorder_write_wait(recorder, limit_store, "PRAGMA max_page_count = 1000000"));
    mg_recorder_flush(recorder);
    mg_recorder_flush(recorder);
    CHECK_STR(trouble_of(recorder), "");
    mg_recorder_stop(recorder);
    mg_log_level(MG_LOG_INFO);
}

TEST(a_store_that_was_moved_away_is_missed_and_one_put_back_is_written_on)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    struct note late = {.id = "late"};
    char aside[300];
    snprintf(aside, sizeof aside, "%s/aside", data);
    mg_log_level(MG_LOG_OFF);
    append(mg_recorder_journal(recorder, 0), 1);
    mg_recorder_flush(recorder);
    CHECK_STR(trouble_of(recorder), "");

    CHECK_INT(rename(store_path(data), aside), 0);
    append(mg_recorder_journal(recorder, 0), 2);
    mg_recorder_flush(recorder);
    CHECK(strstr(trouble_of(recorder), "gone") != NULL);
    CHECK_INT(mg_recorder_write_wait(recorder, write_note, &late), MG_E_STORE);
    CHECK(access(store_path(data), F_OK) != 0);

    CHECK_INT(rename(aside, store_path(data)), 0);
    mg_recorder_flush(recorder);
    CHECK_STR(trouble_of(recorder), "");
    CHECK_OK(mg_recorder_write_wait(recorder, write_note, &late));
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 3);
    mg_recorder_stop(recorder);
    mg_log_level(MG_LOG_INFO);
}

/* Killed right after the first commit to a file that did not know its rings: they must not be
 * stored again. */
static void replace_store_and_die(const char *data)
{
    pid_t child = fork();
    if (child == 0) {
        struct sink sink = {0};
        struct mg_recorder *recorder = start(data, &sink, 1);
        char aside[300];
        struct mg_db *fresh;
        snprintf(aside, sizeof aside, "%s/aside", data);
        CHECK_OK(mg_db_open(aside, MG_DB_WRITE, &fresh, NULL));
        mg_db_close(fresh);
        append(mg_recorder_journal(recorder, 0), 1);
        mg_recorder_flush(recorder);
        CHECK_INT(rename(aside, store_path(data)), 0);
        append(mg_recorder_journal(recorder, 0), 2);
        mg_recorder_flush(recorder);
        append(mg_recorder_journal(recorder, 0), 3);
        mg_recorder_flush(recorder);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
}

TEST(a_store_that_was_replaced_takes_each_record_once)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    mg_log_level(MG_LOG_OFF);
    CHECK_OK(mg_folder_create(data, NULL));
    replace_store_and_die(data);

    mg_recorder_stop(start(data, &sink, 1));

    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 2);
    CHECK_INT(count(data, "SELECT sum(name) FROM keys"), 5);
    mg_log_level(MG_LOG_INFO);
}

TEST(a_damaged_store_is_told_and_records_wait_for_a_good_one)
{
    const char *data = check_fresh_path("data");
    struct sink sink = {0};
    struct mg_recorder *recorder = start(data, &sink, 1);
    char backup[300], command[900];
    snprintf(backup, sizeof backup, "%s/backup", data);
    mg_log_level(MG_LOG_OFF);
    append(mg_recorder_journal(recorder, 0), 1);
    mg_recorder_flush(recorder);
    snprintf(command, sizeof command,
             "cp %s %s; cp %s-wal %s-wal; for f in %s %s-wal; do dd if=/dev/urandom of=$f bs=8192 "
             "count=64 conv=notrunc 2>/dev/null; done",
             store_path(data), backup, store_path(data), backup, store_path(data),
             store_path(data));
    CHECK_INT(system(command), 0);

    append(mg_recorder_journal(recorder, 0), 2);
    for (int i = 0; i < 6; i++)
        mg_recorder_flush(recorder);
    CHECK(trouble_of(recorder)[0] != '\0');

    snprintf(command, sizeof command, "rm -f %s-wal %s-shm; mv %s-wal %s-wal; mv %s %s",
             store_path(data), store_path(data), backup, store_path(data), backup,
             store_path(data));
    CHECK_INT(system(command), 0);
    for (int i = 0; i < 6 && *trouble_of(recorder); i++)
        mg_recorder_flush(recorder);
    CHECK_STR(trouble_of(recorder), "");
    CHECK_INT(count(data, "SELECT count(*) FROM keys"), 2);
    mg_recorder_stop(recorder);
    mg_log_level(MG_LOG_INFO);
}

MG_TEST_MAIN()
