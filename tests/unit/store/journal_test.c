#include "store/journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "check.h"
#include "folder.h"

enum { SMALL = 256 << 10, PAGE = 4096 };

static const char *path;

static struct mg_journal *open_fresh(void)
{
    struct mg_journal *journal;
    path = check_fresh_path("ring");
    CHECK_OK(mg_journal_open(path, SMALL, 3, 77, &journal, NULL));
    return journal;
}

struct seen {
    unsigned count;
    uint64_t last_sequence;
    uint64_t sum; /* of the numbers the payloads carry */
    bool mixed_up;
    mg_err answer; /* given from record `answer_at` on */
    unsigned answer_at;
};

/* A payload of this test is a number, repeated. */
static mg_view numbered(char *room, uint32_t number, size_t bytes)
{
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        memcpy(room + i, &number, 4);
    return mg_view_of(room, bytes);
}

static mg_err see(void *arg, const struct mg_journal_record *record)
{
    struct seen *seen = arg;
    uint32_t first = 0, last = 0;
    if (seen->answer && seen->count + 1 >= seen->answer_at)
        return seen->answer;
    memcpy(&first, record->payload.ptr, 4);
    memcpy(&last, record->payload.ptr + (record->payload.len / 4 - 1) * 4, 4);
    seen->mixed_up |= first != last || record->sequence <= seen->last_sequence ||
                      record->worker != 3 || record->boot != 77;
    seen->last_sequence = record->sequence;
    seen->sum += first;
    seen->count++;
    return MG_OK;
}

static void append_number(struct mg_journal *journal, uint32_t number, size_t bytes)
{
    char room[MG_MAX_JOURNAL_RECORD_BYTES];
    CHECK_OK(mg_journal_append(journal, MG_JOURNAL_SETTLED, numbered(room, number, bytes)));
}

TEST(what_was_appended_is_read_once_and_in_order)
{
    struct mg_journal *journal = open_fresh();
    struct seen seen = {0};
    unsigned count;

    for (uint32_t i = 1; i <= 100; i++)
        append_number(journal, i, 4 + i % 13 * 8);
    CHECK_OK(mg_journal_read(journal, see, &seen, 60, &count));
    CHECK_INT(count, 60);
    CHECK_OK(mg_journal_read(journal, see, &seen, 60, &count));
    CHECK_INT(count, 40);
    CHECK_OK(mg_journal_read(journal, see, &seen, 60, &count));
    CHECK_INT(count, 0);

    CHECK_INT(seen.sum, 5050);
    CHECK_INT(seen.last_sequence, 100);
    CHECK(!seen.mixed_up);
    mg_journal_close(journal);
}

TEST(the_ring_goes_round_with_records_of_every_size)
{
    struct mg_journal *journal = open_fresh();
    struct seen seen = {0};
    uint64_t sum = 0;
    unsigned count;

    for (uint32_t i = 1; i <= 5000; i++) {
        append_number(journal, i, 4 + (i * 2654435761u >> 16) % 2000);
        sum += i;
        CHECK_OK(mg_journal_read(journal, see, &seen, 10, &count));
        CHECK_INT(count, 1);
        mg_journal_free_to(journal, mg_journal_tell(journal));
    }

    CHECK_INT(seen.sum, sum);
    CHECK(!seen.mixed_up);
    mg_journal_close(journal);
}

TEST(a_full_ring_refuses_and_takes_again_when_room_is_freed)
{
    struct mg_journal *journal = open_fresh();
    char room[1000];
    struct seen seen = {0};
    unsigned count;
    uint32_t written = 0;

    while (mg_journal_append(journal, MG_JOURNAL_SETTLED,
                             numbered(room, written + 1, sizeof room)) == MG_OK)
        written++;
    CHECK_INT(written, SMALL / MG_JOURNAL_ROOM(1000));
    CHECK_OK(mg_journal_read(journal, see, &seen, written, &count));
    CHECK_INT(mg_journal_append(journal, MG_JOURNAL_SETTLED, mg_view_of(room, sizeof room)),
              MG_E_BUSY);
    mg_journal_free_to(journal, mg_journal_tell(journal));
    append_number(journal, 9, 1000);

    CHECK_INT(count, written);
    CHECK(!seen.mixed_up);
    mg_journal_close(journal);
}

TEST(a_record_may_be_as_long_as_the_limit_and_no_longer)
{
    struct mg_journal *journal = open_fresh();
    char room[MG_MAX_JOURNAL_RECORD_BYTES + 1];
    struct seen seen = {0};
    unsigned count;

    CHECK_INT(mg_journal_append(journal, MG_JOURNAL_SETTLED, numbered(room, 1, sizeof room)),
              MG_E_TOO_LARGE);
    CHECK_OK(mg_journal_append(journal, MG_JOURNAL_SETTLED, mg_view_of(room, sizeof room - 1)));
    CHECK_OK(mg_journal_read(journal, see, &seen, 10, &count));

    CHECK_INT(count, 1);
    mg_journal_close(journal);
}

TEST(what_is_reserved_can_always_be_appended)
{
    struct mg_journal *journal = open_fresh();
    unsigned reserved = 0, count;
    struct seen seen = {0};
    char room[MG_MAX_JOURNAL_RECORD_BYTES];

    /* start at an awkward place, so that pads of all sizes are met */
    for (unsigned lap = 0; lap < 50; lap++) {
        reserved = 0;
        while (mg_journal_reserve(journal, MG_JOURNAL_ROOM(MG_MAX_JOURNAL_RECORD_BYTES)))
            reserved++;
        CHECK(reserved >= 29);
        for (unsigned i = 0; i < reserved; i++)
            CHECK_OK(
                mg_journal_append(journal, MG_JOURNAL_STARTED, numbered(room, 1, sizeof room)));
        CHECK_OK(mg_journal_read(journal, see, &seen, 100, &count));
        CHECK_INT(count, reserved);
        mg_journal_free_to(journal, mg_journal_tell(journal));
        for (unsigned i = 0; i < reserved; i++)
            mg_journal_unreserve(journal, MG_JOURNAL_ROOM(MG_MAX_JOURNAL_RECORD_BYTES));
        append_number(journal, 1, 4 + lap * 60);
        CHECK_OK(mg_journal_read(journal, see, &seen, 100, &count));
        mg_journal_free_to(journal, mg_journal_tell(journal));
    }

    struct mg_journal_stats stats;
    mg_journal_stats(journal, &stats);
    CHECK_INT(stats.reserved, 0);
    CHECK_INT(stats.used, 0);
    CHECK_INT(stats.shed, 50);
    mg_journal_close(journal);
}

TEST(a_reader_that_fails_gets_the_same_record_again)
{
    struct mg_journal *journal = open_fresh();
    struct seen seen = {.answer = MG_E_STORE, .answer_at = 3};
    unsigned count;

    for (uint32_t i = 1; i <= 5; i++)
        append_number(journal, i, 40);
    struct mg_journal_cursor start = mg_journal_tell(journal);
    CHECK_INT(mg_journal_read(journal, see, &seen, 10, &count), MG_E_STORE);
    CHECK_INT(seen.sum, 3);
    seen = (struct seen){0};
    CHECK_OK(mg_journal_read(journal, see, &seen, 10, &count));
    CHECK_INT(seen.sum, 12);
    seen = (struct seen){0};
    mg_journal_seek(journal, start);
    CHECK_OK(mg_journal_read(journal, see, &seen, 10, &count));
    CHECK_INT(seen.sum, 15);
    mg_journal_close(journal);
}

TEST(a_killed_process_loses_nothing_it_appended)
{
    struct seen seen = {0};
    uint64_t count = 0;

    path = check_fresh_path("ring");
    pid_t child = fork();
    if (child == 0) {
        struct mg_journal *journal;
        char room[400];
        if (mg_journal_open(path, SMALL, 3, 77, &journal, NULL) != MG_OK)
            _exit(1);
        for (uint32_t i = 1; i <= 200; i++)
            if (mg_journal_append(journal, MG_JOURNAL_STARTED, numbered(room, i, sizeof room)) !=
                MG_OK)
                _exit(1);
        mg_journal_begin(journal, 400);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));

    CHECK_OK(mg_journal_recover(path, NULL, see, &seen, &count, NULL));
    CHECK_INT(count, 200);
    CHECK_INT(seen.sum, 200 * 201 / 2);
    CHECK(!seen.mixed_up);
}

/* A ring that went round twice; what stands behind the checkpoint is unread. */
static void leave_a_ring(unsigned unread)
{
    struct mg_journal *journal = open_fresh();
    struct seen seen = {0};
    unsigned count;
    for (uint32_t i = 1; i <= 600; i++) {
        append_number(journal, i, 1000);
        CHECK_OK(mg_journal_read(journal, see, &seen, 1, &count));
        mg_journal_free_to(journal, mg_journal_tell(journal));
    }
    for (uint32_t i = 1; i <= unread; i++)
        append_number(journal, i, 1000);
    mg_journal_close(journal);
}

TEST(recovery_begins_behind_the_checkpoint_and_ends_at_the_stale_lap)
{
    struct seen seen = {0};
    uint64_t count;
    leave_a_ring(7);

    CHECK_OK(mg_journal_recover(path, NULL, see, &seen, &count, NULL));

    CHECK_INT(count, 7);
    CHECK_INT(seen.sum, 28);
}

static mg_err known_nothing(void *arg, uint64_t boot, uint32_t worker,
                            struct mg_journal_cursor *out_known)
{
    *out_known = (struct mg_journal_cursor){0, 0};
    return boot == 77 && worker == 3 ? MG_OK : MG_E_STORE;
}

static struct mg_journal_cursor stored;

static mg_err known_stored(void *arg, uint64_t boot, uint32_t worker,
                           struct mg_journal_cursor *out_known)
{
    *out_known = stored;
    return MG_OK;
}

static mg_err remember_third(void *arg, const struct mg_journal_record *record)
{
    unsigned *count = arg;
    if (++*count == 3)
        stored = (struct mg_journal_cursor){record->sequence, record->end};
    return MG_OK;
}

TEST(recovery_skips_what_the_store_has_already)
{
    struct seen seen = {0};
    uint64_t count;
    unsigned third = 0;
    leave_a_ring(7);
    CHECK_OK(mg_journal_recover(path, NULL, remember_third, &third, &count, NULL));

    CHECK_OK(mg_journal_recover(path, known_stored, see, &seen, &count, NULL));
    CHECK_INT(count, 4);
    CHECK_INT(seen.sum, 4 + 5 + 6 + 7);
    seen = (struct seen){0};
    CHECK_OK(mg_journal_recover(path, known_nothing, see, &seen, &count, NULL));
    CHECK_INT(count, 7);
}

TEST(the_first_damaged_byte_ends_the_log_wherever_it_is)
{
    leave_a_ring(3);
    /* 1024 bytes a record, 256 in the ring: the third unread one stands in slot 602 % 256 */
    off_t third = PAGE + 602 % 256 * 1024;
    int fd = open(path, O_RDWR);

    for (off_t at = 0; at < (off_t)MG_JOURNAL_ROOM(1000); at += at < 24 ? 1 : 61) {
        struct seen seen = {0};
        uint64_t count;
        unsigned char byte;
        CHECK_INT(pread(fd, &byte, 1, third + at), 1);
        byte ^= 0x40;
        CHECK_INT(pwrite(fd, &byte, 1, third + at), 1);
        CHECK_OK(mg_journal_recover(path, NULL, see, &seen, &count, NULL));
        CHECK_INT(count, 2);
        byte ^= 0x40;
        CHECK_INT(pwrite(fd, &byte, 1, third + at), 1);
    }
    close(fd);
}

TEST(a_torn_checkpoint_falls_back_to_the_one_before)
{
    struct seen seen = {0};
    uint64_t count;
    leave_a_ring(3);
    int fd = open(path, O_RDWR);
    /* the 600th checkpoint went to the first of the two places behind the 32 bytes of the header */
    CHECK_INT(pwrite(fd, "torn", 4, 32), 4);
    close(fd);

    CHECK_OK(mg_journal_recover(path, NULL, see, &seen, &count, NULL));

    CHECK_INT(count, 4);
}

TEST(a_file_with_unread_records_is_not_taken_over)
{
    struct mg_journal *journal;
    struct mg_diag diag;
    leave_a_ring(1);

    CHECK_INT(mg_journal_open(path, SMALL, 3, 78, &journal, &diag), MG_E_EXISTS);
    CHECK_STR(diag.text, "holds records that were not recovered");
    leave_a_ring(0);
    CHECK_OK(mg_journal_open(path, SMALL * 2, 3, 78, &journal, &diag));
    mg_journal_close(journal);
}

TEST(a_file_that_is_no_journal_is_left_alone)
{
    struct mg_journal *journal;
    struct seen seen = {0};
    uint64_t count;
    char text[PAGE + SMALL] = "somebody's diary";
    path = check_fresh_path("ring");
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK_INT(write(fd, text, sizeof text), sizeof text);
    close(fd);

    CHECK_INT(mg_journal_open(path, SMALL, 3, 77, &journal, NULL), MG_E_PROTOCOL);
    CHECK_INT(mg_journal_recover(path, NULL, see, &seen, &count, NULL), MG_E_PROTOCOL);
    CHECK_INT(mg_journal_recover("/nowhere/at/all", NULL, see, &seen, &count, NULL),
              MG_E_NOT_FOUND);
}

TEST(a_disk_without_room_is_an_error_when_it_is_opened)
{
    struct mg_journal *journal;
    struct mg_diag diag;
    path = check_fresh_path("ring");

    CHECK_INT(mg_journal_open(path, (size_t)1 << 60, 0, 1, &journal, &diag), MG_E_SYSTEM);
    CHECK(strstr(diag.text, "free some room or set journal.bytes") != NULL);
}

TEST(the_whole_file_is_allocated_when_it_is_opened)
{
    struct mg_journal *journal = open_fresh();
    struct stat stat_;

    CHECK_INT(stat(path, &stat_), 0);
    CHECK(stat_.st_blocks * 512 >= SMALL + PAGE);
    CHECK_INT(stat_.st_mode & 0777, 0600);
    mg_journal_close(journal);
}

TEST(fault_points_refuse_an_append_and_a_sync)
{
    struct mg_journal *journal = open_fresh();

    mg_fault_arm(MG_FAULT_JOURNAL_APPEND, 1);
    CHECK_INT(mg_journal_append(journal, MG_JOURNAL_STARTED, MG_VIEW("x")), MG_E_BUSY);
    CHECK_OK(mg_journal_append(journal, MG_JOURNAL_STARTED, MG_VIEW("x")));
    mg_fault_arm(MG_FAULT_JOURNAL_SYNC, 1);
    CHECK_INT(mg_journal_sync(journal), MG_E_STORE);
    CHECK_OK(mg_journal_sync(journal));
    mg_journal_close(journal);
}

/* ---- two threads */

enum { RACED = 60000 };

static void *write_raced(void *arg)
{
    struct mg_journal *journal = arg;
    char room[700];
    for (uint32_t i = 1; i <= RACED;) {
        if (mg_journal_append(journal, MG_JOURNAL_SETTLED, numbered(room, i, 4 + i * 97 % 690)) ==
            MG_OK)
            i++;
        else
            sched_yield();
    }
    return NULL;
}

TEST(a_writer_and_a_reader_race_around_the_ring)
{
    struct mg_journal *journal = open_fresh();
    struct seen seen = {0};
    pthread_t writer;
    unsigned count;

    CHECK_INT(pthread_create(&writer, NULL, write_raced, journal), 0);
    while (seen.count < RACED && !seen.mixed_up) {
        CHECK_OK(mg_journal_read(journal, see, &seen, 100, &count));
        mg_journal_free_to(journal, mg_journal_tell(journal));
        if (count == 0)
            sched_yield();
    }
    pthread_join(writer, NULL);

    CHECK(!seen.mixed_up);
    CHECK_INT(seen.sum, (uint64_t)RACED * (RACED + 1) / 2);
    mg_journal_close(journal);
}

MG_TEST_MAIN()
