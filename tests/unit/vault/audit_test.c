/* The audit log: whatever is done to its rows is seen, and stays seen when somebody acts afterwards. */
#include "vault/audit.h"

#include <stdio.h>

#include "base/mem.h"
#include "check.h"
#include "folder.h"

static struct mg_db *db;
static struct mg_audit_key *key;

static void open_log(void)
{
    static const unsigned char bytes[MG_SEAL_KEY_BYTES] = {1, 2, 3};
    CHECK_OK(mg_db_open(check_fresh_path("moongate.db"), MG_DB_WRITE, &db, NULL));
    key = mg_audit_key_new(bytes);
    CHECK_OK(mg_audit_begin(key, db, false, MG_VIEW_NONE));
}

/* Another process opens the same store: it knows nothing of what was entered before. */
static void open_again(void)
{
    static const unsigned char bytes[MG_SEAL_KEY_BYTES] = {1, 2, 3};
    mg_audit_key_free(key);
    key = mg_audit_key_new(bytes);
}

static void close_log(void)
{
    mg_audit_key_free(key);
    mg_db_close(db);
}

static void act(const char *subject)
{
    struct mg_audit_mark mark;
    const struct mg_audit_entry entry = {.actor = MG_VIEW("ann"), .act = MG_VIEW("key.create"), .project = MG_VIEW("red"),
                                         .subject = mg_view_cstr(subject)};
    CHECK_OK(mg_audit_append(key, db, &entry, &mark));
    mg_audit_confirm(key, &mark);
}

static void acts(int count)
{
    char subject[16];
    for (int i = 0; i < count; i++) {
        snprintf(subject, sizeof subject, "key_%d", i);
        act(subject);
    }
}

static struct mg_audit_report verify(void)
{
    struct mg_audit_report report;
    CHECK_OK(mg_audit_verify(key, db, MG_VIEW_NONE, &report));
    return report;
}

static void count_act(void *arg, const struct mg_audit_entry *entry)
{
    *(int *)arg += mg_view_eq(entry->act, MG_VIEW("audit.broken"));
}

static int breaks(void)
{
    int count = 0;
    CHECK_OK(mg_audit_each(db, 0, 1000, count_act, &count));
    return count;
}

TEST(a_log_that_nobody_touched_verifies_whoever_opens_it)
{
    open_log();
    acts(5);
    CHECK_INT(verify().bad_seq, 0);
    open_again();
    CHECK_OK(mg_audit_open(key, db));
    acts(2);
    CHECK_INT(verify().bad_seq, 0);
    CHECK_INT(verify().entries, 8);
    CHECK_INT(breaks(), 0);
    close_log();
}

/* What is done to a log of six entries, and the first entry that is then wrong: at once, and after another act. */
static const struct {
    const char *what, *sql;
    uint64_t at_once, after;
} forms[] = {
    {"the last entries are cut off", "DELETE FROM audit WHERE seq > 3", 4, 4},
    {"only the last one", "DELETE FROM audit WHERE seq = 6", 6, 6},
    {"all is taken away", "DELETE FROM audit; DELETE FROM audit_head", 1, 1},
    {"all but the head", "DELETE FROM audit", 1, 1},
    {"the head alone", "DELETE FROM audit_head", 7, 7},
    {"the head's number", "UPDATE audit_head SET seq = 5", 6, 7},
    {"a head far away", "UPDATE audit_head SET seq = 9000000000000000000", 7, 7},
    {"the head's proof", "UPDATE audit_head SET mac = zeroblob(32)", 6, 7},
    {"an entry", "UPDATE audit SET subject = 'other' WHERE seq = 2", 2, 2},
    {"an entry in the middle is taken away", "DELETE FROM audit WHERE seq = 4", 4, 4},
    {"the newest entry", "UPDATE audit SET actor = 'bob' WHERE seq = 6", 6, 6},
    {"the newest entry's chain", "UPDATE audit SET chain = zeroblob(32) WHERE seq = 6", 6, 6},
    {"two change places", "UPDATE audit SET seq = 100 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; "
                          "UPDATE audit SET seq = 3 WHERE seq = 100", 2, 2},
    {"one is added", "INSERT INTO audit SELECT 7, at_us, actor, act, project, subject, detail, chain FROM audit WHERE seq = 6", 7, 7},
};

static void check_forms(bool by_another)
{
    for (size_t i = 0; i < MG_COUNT(forms); i++) {
        open_log();
        acts(5);
        CHECK_OK(mg_db_exec(db, forms[i].sql));
        if (by_another)
            open_again();
        uint64_t at_once = verify().bad_seq;
        act("next");
        act("and one more");
        uint64_t after = verify().bad_seq;
        open_again();
        CHECK_INT(verify().bad_seq, after);
        if (at_once != forms[i].at_once || after != forms[i].after)
            fprintf(stderr, "%s: %llu, then %llu\n", forms[i].what, (unsigned long long)at_once, (unsigned long long)after);
        CHECK_INT(at_once, forms[i].at_once);
        CHECK_INT(after, forms[i].after);
        close_log();
    }
}

TEST(whatever_is_done_to_the_rows_is_seen_and_the_next_act_does_not_cover_it)
{
    check_forms(false);
}

TEST(the_same_after_a_restart)
{
    check_forms(true);
}

static void put_back_older(void)
{
    open_log();
    acts(2);
    CHECK_OK(mg_db_exec(db, "CREATE TABLE old AS SELECT * FROM audit_head"));
    acts(3);
    CHECK_OK(mg_db_exec(db, "DELETE FROM audit WHERE seq > 3; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM old"));
}

TEST(an_older_end_with_its_own_head_is_seen_by_the_process_that_entered_more_and_by_all_after_its_next_act)
{
    put_back_older();
    CHECK_INT(verify().bad_seq, 4);
    act("next");
    CHECK_INT(verify().bad_seq, 4);
    CHECK_INT(breaks(), 1);
    open_again();
    CHECK_INT(verify().bad_seq, 4);
    close_log();
}

TEST(another_entry_in_the_place_of_one_that_this_process_entered_is_seen)
{
    open_log();
    acts(2);
    CHECK_OK(mg_db_exec(db, "CREATE TABLE rows_before AS SELECT * FROM audit; CREATE TABLE head_before AS SELECT * FROM audit_head"));
    act("mine");
    CHECK_OK(mg_db_exec(db, "DELETE FROM audit WHERE seq > 3; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM head_before"));
    struct mg_audit_key *mine = key;
    static const unsigned char bytes[MG_SEAL_KEY_BYTES] = {1, 2, 3};
    key = mg_audit_key_new(bytes);
    act("theirs");
    mg_audit_key_free(key);
    key = mine;
    CHECK_INT(verify().bad_seq, 4);
    close_log();
}

TEST(an_act_that_was_rolled_back_breaks_nothing)
{
    const struct mg_audit_entry entry = {.actor = MG_VIEW("ann"), .act = MG_VIEW("key.create")};
    struct mg_audit_mark mark;
    open_log();
    acts(2);
    CHECK_OK(mg_db_begin(db, MG_DB_FULL));
    CHECK_OK(mg_audit_append(key, db, &entry, &mark));
    mg_db_rollback(db);
    acts(2);
    CHECK_INT(verify().bad_seq, 0);
    CHECK_INT(breaks(), 0);
    close_log();
}

TEST(a_log_whose_key_was_taken_away_does_not_begin_as_if_there_was_none)
{
    static const unsigned char other[MG_SEAL_KEY_BYTES] = {9};
    open_log();
    acts(2);
    CHECK_OK(mg_db_exec(db, "DELETE FROM audit; DELETE FROM audit_head"));
    mg_audit_key_free(key);
    key = mg_audit_key_new(other);
    CHECK_OK(mg_audit_begin(key, db, true, MG_VIEW_NONE));
    acts(3);
    CHECK_INT(verify().bad_seq, 1);
    CHECK_INT(breaks(), 1);
    close_log();
}

TEST(a_log_that_began_in_a_store_in_use_says_so_for_ever)
{
    static const unsigned char bytes[MG_SEAL_KEY_BYTES] = {1, 2, 3};
    CHECK_OK(mg_db_open(check_fresh_path("moongate.db"), MG_DB_WRITE, &db, NULL));
    key = mg_audit_key_new(bytes);
    CHECK_OK(mg_audit_begin(key, db, false, MG_VIEW("the store had 6 keys")));
    acts(3);
    CHECK_INT(verify().bad_seq, 0);
    CHECK_STR(verify().late, "the store had 6 keys");
    CHECK_OK(mg_db_exec(db, "UPDATE audit SET detail = '' WHERE seq = 1"));
    CHECK_INT(verify().bad_seq, 1);
    close_log();
}

MG_TEST_MAIN()
