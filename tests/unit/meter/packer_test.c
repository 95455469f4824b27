/* Rows become blocks, and nothing is lost or twice on the way. */
#include "meter/packer.h"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "meter/archive.h"
#include "store_world.h"

static void record(struct world *world, unsigned from, unsigned to)
{
    static struct mg_timeline timeline;
    for (unsigned i = from; i < to; i++) {
        timeline = world_exchange(i, 100 + i % 7);
        timeline.session = i % 3 ? MG_VIEW("s-1") : MG_VIEW_NONE;
        timeline.metadata = MG_VIEW("{\"team\":\"blue\",\"user\":\"ann\"}");
        world_attempt(&timeline, "alpha", i % 2 ? "big" : "small", MG_CLASS_none)->usage.input_tokens = i;
        world_record(world, &timeline);
    }
    mg_recorder_flush(world->recorder);
}

static uint32_t pack(struct world *world, uint32_t rows, uint32_t open_rows)
{
    uint32_t packed;
    CHECK_OK(mg_pack_rows(world->db, world->recorder, rows, open_rows, &packed, NULL));
    return packed;
}

static int64_t count_rows(struct world *world)
{
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_db_prepare(world->db, "SELECT count(*) FROM exchanges", &stmt));
    CHECK_OK(mg_stmt_step(stmt, &row));
    int64_t count = mg_stmt_int(stmt, 0);
    mg_stmt_free(stmt);
    return count;
}

struct seen {
    unsigned next;
    struct mg_timeline timeline;
};

static mg_err see(void *arg, const struct mg_block_row *row)
{
    struct seen *seen = arg;
    struct mg_timeline want = world_exchange(seen->next, 100 + seen->next % 7);
    CHECK_OK(mg_ledger_decode(row->detail, &seen->timeline));
    CHECK(mg_view_eq(row->id, mg_view_cstr(want.id)));
    CHECK(strcmp(seen->timeline.id, want.id) == 0);
    CHECK_INT(row->at_us, want.start_wall_us + mg_timeline_duration_us(&want));
    CHECK_INT(seen->timeline.attempts[0].usage.input_tokens, seen->next);
    seen->next++;
    return MG_OK;
}

static struct mg_archive *archive_of(struct world *world, size_t want_blocks)
{
    struct mg_archive *archive = mg_archive_new(world->db);
    CHECK_OK(mg_archive_refresh(archive, NULL));
    CHECK_INT(mg_archive_count(archive), want_blocks);
    return archive;
}

TEST(the_oldest_rows_become_a_block_once_there_are_enough)
{
    static struct world world;
    static struct seen seen;
    uint64_t last;
    world_open(&world);
    record(&world, 0, 700);
    CHECK_INT(pack(&world, 600, 100), 0);
    record(&world, 700, 720);
    CHECK_INT(pack(&world, 600, 100), 600);
    CHECK_INT(pack(&world, 600, 100), 0);
    CHECK_INT(count_rows(&world), 120);
    record(&world, 720, 1400);
    CHECK_INT(pack(&world, 600, 100), 600);
    CHECK_INT(count_rows(&world), 200);

    struct mg_archive *archive = archive_of(&world, 2);
    seen.next = 0;
    CHECK_OK(mg_archive_each(archive, 0, INT64_MAX, see, &seen, &last));
    CHECK_INT(seen.next, 1200);
    CHECK_INT(last, mg_block_last_us(mg_archive_block(archive, 1)));
    mg_archive_free(archive);
    world_stop(&world);
}

TEST(a_span_of_time_is_read_alone_and_an_error_ends_it)
{
    static struct world world;
    static struct seen seen;
    uint64_t last;
    world_open(&world);
    record(&world, 0, 1300);
    CHECK_INT(pack(&world, 600, 50), 600);
    CHECK_INT(pack(&world, 600, 50), 600);
    struct mg_archive *archive = archive_of(&world, 2);
    seen.next = 590;
    CHECK_OK(mg_archive_each(archive, (BEGAN_S + 590) * 1000000ull, (BEGAN_S + 610) * 1000000ull, see, &seen, &last));
    CHECK_INT(seen.next, 610);
    mg_archive_free(archive);
    world_stop(&world);
}

TEST(columns_say_what_the_rows_said)
{
    static struct world world;
    const struct mg_column *column;
    uint32_t row;
    char id[40];
    world_open(&world);
    record(&world, 0, 301);
    CHECK_INT(pack(&world, 300, 0), 300);
    struct mg_archive *archive = archive_of(&world, 1);
    struct mg_block *block = mg_archive_block(archive, 0);
    CHECK_OK(mg_block_column(block, MG_FIELD_model, &column));
    CHECK(mg_view_eq(mg_column_view(column, 7), MG_VIEW("big")));
    CHECK_INT(column->word_count, 2);
    CHECK_OK(mg_block_column(block, MG_FIELD_session, &column));
    CHECK(mg_view_eq(mg_column_view(column, 3), MG_VIEW_NONE));
    CHECK(mg_view_eq(mg_column_view(column, 4), MG_VIEW("s-1")));
    CHECK_OK(mg_block_column(block, MG_FIELD_user, &column));
    CHECK(mg_view_eq(mg_column_view(column, 299), MG_VIEW("ann")));
    CHECK_OK(mg_block_column(block, MG_FIELD_input_tokens, &column));
    CHECK_INT(mg_column_number(column, 299), 299);
    CHECK_OK(mg_block_column(block, MG_FIELD_duration_us, &column));
    CHECK_INT(mg_column_number(column, 8), 101000);
    CHECK(mg_block_bytes(block) > 0);
    mg_archive_trim(archive, 0);
    CHECK_INT(mg_block_bytes(block), 0);

    struct mg_timeline timeline = world_exchange(123, 100 + 123 % 7);
    CHECK_OK(mg_block_find(block, mg_view_cstr(timeline.id), &row));
    CHECK_INT(row, 123);
    CHECK_OK(mg_block_id(block, row, id));
    CHECK(strcmp(id, timeline.id) == 0);
    timeline = world_exchange(123, 100 + 124 % 7);
    CHECK_INT(mg_block_find(block, mg_view_cstr(timeline.id), &row), MG_E_NOT_FOUND);
    CHECK_INT(mg_block_find(block, MG_VIEW("req_x"), &row), MG_E_NOT_FOUND);
    mg_archive_free(archive);
    world_stop(&world);
}

TEST(a_block_whose_rows_were_not_deleted_yet_is_not_made_twice)
{
    static struct world world;
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_block *block = mg_block_new(true);
    struct mg_stmt *stmt;
    bool row;
    world_open(&world);
    record(&world, 0, 100);
    CHECK_OK(mg_folder_path(world.data, "requests", path));
    CHECK_INT(pack(&world, 30, 0), 30);
    CHECK_OK(mg_db_prepare(world.db, "SELECT at_us, flags, id, detail FROM exchanges ORDER BY at_us LIMIT 40", &stmt));
    while (mg_stmt_step(stmt, &row) == MG_OK && row) {
        struct mg_block_row put = {(uint64_t)mg_stmt_int(stmt, 0), mg_stmt_int(stmt, 1), mg_stmt_text(stmt, 2), mg_stmt_blob(stmt, 3)};
        CHECK_OK(mg_block_put(block, &put));
    }
    mg_stmt_free(stmt);
    CHECK_OK(mg_block_write(block, path, NULL)); /* and then the process died */
    mg_block_free(block);

    CHECK_INT(pack(&world, 20, 9), 20);
    CHECK_INT(count_rows(&world), 10);
    static struct seen seen;
    uint64_t last;
    struct mg_archive *archive = archive_of(&world, 3);
    seen.next = 0;
    CHECK_OK(mg_archive_each(archive, 0, INT64_MAX, see, &seen, &last));
    CHECK_INT(seen.next, 90);
    mg_archive_free(archive);
    world_stop(&world);
}

static mg_err run_sql(void *arg, struct mg_db *db)
{
    return mg_db_exec(db, arg);
}

static unsigned retain(struct world *world, uint64_t keep_s, uint64_t keep_bytes, unsigned at_s)
{
    unsigned blocks;
    struct mg_retention retention = {keep_s * 1000000, keep_bytes};
    CHECK_OK(mg_retain(world->db, world->recorder, &retention, ((uint64_t)BEGAN_S + at_s) * 1000000, &blocks, NULL));
    return blocks;
}

TEST(what_is_too_old_goes_in_whole_blocks_and_the_newest_row_stays)
{
    static struct world world;
    world_open(&world);
    record(&world, 0, 350);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pack(&world, 100, 49), 100);
    CHECK_INT(retain(&world, 0, 0, 1000000), 0);
    CHECK_INT(retain(&world, 200, 0, 350), 1); /* what ended before second 150: the second block has later ones */
    mg_archive_free(archive_of(&world, 2));
    CHECK_INT(count_rows(&world), 50);
    CHECK_INT(retain(&world, 20, 0, 350), 2);
    CHECK_INT(count_rows(&world), 20);
    CHECK_INT(retain(&world, 1, 0, 1000000), 0);
    CHECK_INT(count_rows(&world), 1);
    world_stop(&world);
}

TEST(the_oldest_blocks_go_when_all_take_too_much_but_not_what_an_export_has_still_to_send)
{
    static struct world world;
    char exports[128];
    world_open(&world);
    record(&world, 0, 350);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pack(&world, 100, 49), 100);
    struct mg_archive *archive = archive_of(&world, 3);
    uint64_t last = mg_archive_bytes(archive, 2);
    mg_archive_free(archive);
    snprintf(exports, sizeof exports, "INSERT INTO exports VALUES ('slow', %llu)", (BEGAN_S + 150) * 1000000ull);
    CHECK_OK(mg_recorder_write_wait(world.recorder, run_sql, exports));
    CHECK_INT(retain(&world, 0, last + 10, 350), 1);
    CHECK_INT(retain(&world, 10, 0, 100000), 0);
    CHECK_INT(count_rows(&world), 50);
    CHECK_OK(mg_recorder_write_wait(world.recorder, run_sql, (char *)"DELETE FROM exports"));
    CHECK_INT(retain(&world, 0, last + 10, 350), 1);
    mg_archive_free(archive_of(&world, 1));
    world_stop(&world);
}

static void damage(const char *data, size_t at)
{
    char path[MG_FOLDER_PATH_BYTES];
    glob_t found;
    char byte;
    snprintf(path, sizeof path, "%s/requests/*.rows", data);
    CHECK_INT(glob(path, 0, NULL, &found), 0);
    int file = open(found.gl_pathv[0], O_RDWR);
    CHECK_INT(pread(file, &byte, 1, (off_t)at), 1);
    byte = (char)(byte ^ 0x40);
    CHECK_INT(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
    globfree(&found);
}

TEST(damage_is_an_error_of_what_is_damaged)
{
    static struct world world;
    static struct seen seen;
    struct mg_archive_stats stats;
    const struct mg_column *column;
    uint64_t last;
    world_open(&world);
    record(&world, 0, 250);
    CHECK_INT(pack(&world, 100, 0), 100);
    CHECK_INT(pack(&world, 100, 0), 100);

    damage(world.data, 100); /* the first column */
    struct mg_archive *archive = archive_of(&world, 2);
    CHECK_INT(mg_block_column(mg_archive_block(archive, 0), MG_FIELD_at_us, &column), MG_E_STORE);
    CHECK_OK(mg_block_column(mg_archive_block(archive, 0), MG_FIELD_project, &column));
    mg_archive_free(archive);
    damage(world.data, 100);

    damage(world.data, 20); /* the front */
    mg_log_level(MG_LOG_OFF);
    archive = archive_of(&world, 2);
    seen.next = 100;
    CHECK_OK(mg_archive_each(archive, 0, INT64_MAX, see, &seen, &last));
    CHECK_INT(seen.next, 200);
    mg_archive_stats(archive, &stats);
    CHECK_INT(stats.damaged, 1);
    CHECK(strstr(stats.reason, "damaged"));
    mg_archive_free(archive);
    mg_log_level(MG_LOG_INFO);
    world_stop(&world);
}

MG_TEST_MAIN()
