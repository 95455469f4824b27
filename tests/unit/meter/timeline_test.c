#include "meter/timeline.h"

#include "check.h"

static const unsigned char chance[10] = {0xff, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1};

TEST(an_id_carries_its_time)
{
    char id[40];
    uint64_t at = 0;

    mg_exchange_id(id, 1764000000123456u, chance);

    CHECK_INT(strlen(id), 30);
    CHECK(mg_exchange_id_time(mg_view_cstr(id), &at));
    CHECK_INT(at, 1764000000123000u);
}

TEST(ids_sort_by_time_and_differ_by_chance)
{
    char early[40], late[40], other[40];
    unsigned char changed[10];

    mg_exchange_id(early, 1764000000123456u, chance);
    mg_exchange_id(late, 1764000000124456u, chance);
    CHECK(strcmp(early, late) < 0);
    for (unsigned bit = 0; bit < 80; bit++) {
        memcpy(changed, chance, sizeof changed);
        changed[bit / 8] ^= (unsigned char)(1u << bit % 8);
        mg_exchange_id(other, 1764000000123456u, changed);
        CHECK(strcmp(early, other) != 0);
    }
}

TEST(a_foreign_id_has_no_time)
{
    static const char *const foreign[] = {"",
                                          "req_",
                                          "req_01KATHZ5MVU0000000000000000",
                                          "xyz_01kathz5mv0000000000000000",
                                          "req_01kathz5mv000000000000000u",
                                          "req_01kathz5mv00000000000000000"};
    uint64_t at;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        CHECK(!mg_exchange_id_time(mg_view_cstr(foreign[i]), &at));
}

TEST(a_mark_in_the_first_microsecond_is_not_zero)
{
    static struct mg_timeline timeline;
    timeline.start_mono_us = 500;

    mg_timeline_phase(&timeline, MG_PHASE_accept, 500);
    mg_timeline_phase(&timeline, MG_PHASE_parse, 510);

    CHECK_INT(timeline.phase_us[MG_PHASE_accept], 1);
    CHECK_INT(timeline.phase_us[MG_PHASE_parse], 10);
}

TEST(a_note_is_one_line_whatever_it_contains)
{
    static struct mg_timeline timeline;

    mg_timeline_note(&timeline, 5, "plugin", "%s", "a\nb\x1b[31m");

    CHECK_VIEW(mg_view_of(timeline.note, timeline.note_bytes), MG_VIEW("5 plugin a b [31m\n"));
}

TEST(notes_that_do_not_fit_are_dropped_and_the_last_line_says_so)
{
    static struct mg_timeline timeline;
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';

    for (int i = 0; i < 100; i++)
        mg_timeline_note(&timeline, 1, "plugin", "%.*s", i * 7 % 599, text);

    mg_view notes = mg_view_of(timeline.note, timeline.note_bytes);
    CHECK(mg_view_ends(notes, MG_VIEW("\n0 note more was dropped\n")));
    CHECK(notes.len <= MG_MAX_NOTE_BYTES);
}

TEST(the_first_token_of_a_rescued_stream_is_the_broken_attempts)
{
    static struct mg_timeline timeline;
    CHECK_INT(mg_timeline_first_token_us(&timeline), 0);

    timeline.attempts[0] = (struct mg_attempt_record){
        .start_us = 100, .status = 200, .class_ = MG_CLASS_truncated_stream};
    timeline.attempts[0].mark_us[MG_MARK_first_token] = 50;
    timeline.attempts[1] =
        (struct mg_attempt_record){.start_us = 120, .class_ = MG_CLASS_cancelled};
    timeline.attempts[2] = (struct mg_attempt_record){.start_us = 900, .status = 200};
    timeline.attempts[2].mark_us[MG_MARK_first_token] = 30;
    timeline.attempt_count = 3;

    CHECK_INT(mg_timeline_first_token_us(&timeline), 930);
    timeline.attempts[2].resumed_bytes = 812;
    CHECK_INT(mg_timeline_first_token_us(&timeline), 150);
}

TEST(the_first_token_of_a_client_that_left_counts)
{
    static struct mg_timeline timeline;
    timeline.attempt_count = 2;
    timeline.attempts[1] =
        (struct mg_attempt_record){.start_us = 900, .status = 200, .class_ = MG_CLASS_cancelled};
    timeline.attempts[1].mark_us[MG_MARK_first_token] = 30;

    CHECK_INT(mg_timeline_first_token_us(&timeline), 930);
}

TEST(every_name_has_its_row)
{
    CHECK_STR(mg_phase_name(MG_PHASE_accept), "accept");
    CHECK_STR(mg_phase_name(MG_PHASE_settle), "settle");
    CHECK_STR(mg_mark_name(MG_MARK_first_token), "first_token");
    CHECK_STR(mg_reason_name(MG_REASON_shadow), "shadow");
}

MG_TEST_MAIN()
