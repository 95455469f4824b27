#include "http/wait.h"

#include "check.h"

/* Tue, 24 Nov 2026 12:00:00 GMT */
static const uint64_t now_us = UINT64_C(1795521600000000);

TEST(reads_times_as_providers_write_them)
{
    static const struct {
        const char *text;
        int64_t ms;                    /* -1: none */
    } rows[] = {
        {"12", 12000}, {" 12 ", 12000}, {"0", 0}, {"1.5", 1500}, {"0.0015", 1}, {"20ms", 20}, {"1s", 1000}, {"6m0s", 360000},
        {"1h2m3s", 3723000}, {"2m59.56s", 179560}, {"1m0.5s", 60500}, {"120ms", 120}, {"1d", 86400000}, {"1m30s250ms", 90250},
        {"", -1}, {"s", -1}, {"x1", -1}, {"-1", -1}, {"1x", -1}, {"1s x", -1}, {"1.", -1}, {"1m 30", -1}, {"1e3", -1}, {"5 s", -1},
        {"99999999999999999999999999", (int64_t)MG_WAIT_MAX_MS}, {"30d", (int64_t)MG_WAIT_MAX_MS}, {"99999999999999h9999999999999h", (int64_t)MG_WAIT_MAX_MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 77;
        bool read = mg_wait_read(mg_view_cstr(rows[i].text), &ms);
        if (read != (rows[i].ms >= 0) || ms != (read ? (uint64_t)rows[i].ms : 77))
            check_failed(__FILE__, __LINE__, "\"%s\" is %d, %llu ms", rows[i].text, read, (unsigned long long)ms);
    }
}

TEST(reads_a_time_at_the_head_of_a_sentence)
{
    uint64_t ms = 0;
    CHECK(mg_wait_read_head(MG_VIEW("6m0s. Contact us"), &ms) && ms == 360000);
    CHECK(mg_wait_read_head(MG_VIEW("1.5 seconds"), &ms) && ms == 1500);
    CHECK(!mg_wait_read_head(MG_VIEW("a minute"), &ms));
}

TEST(reads_moments)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"Tue, 24 Nov 2026 12:00:30 GMT", 30000}, {"Tue, 24 Nov 2026 11:59:00 GMT", 0}, {"2026-11-24T12:01:00Z", 60000},
        {"1795521610", 10000}, {"1795521610500", 10500}, {"1600000000", 0}, {"15", 15000}, {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Fri, 31 Dec 2999 23:59:59 GMT", MG_WAIT_MAX_MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 77;
        CHECK(mg_wait_read_until(mg_view_cstr(rows[i].text), now_us, &ms));
        if (ms != rows[i].ms)
            check_failed(__FILE__, __LINE__, "\"%s\" is %llu ms", rows[i].text, (unsigned long long)ms);
    }
    uint64_t ms;
    CHECK(!mg_wait_read_until(MG_VIEW("tomorrow"), now_us, &ms));
    CHECK(!mg_wait_read_until(MG_VIEW_NONE, now_us, &ms));
}

TEST(milliseconds_are_asked_before_seconds)
{
    struct mg_header items[] = {{.name = MG_VIEW("Retry-After"), .value = MG_VIEW("2")},
                                {.name = MG_VIEW("Retry-After-Ms"), .value = MG_VIEW("250")}};
    CHECK_INT(mg_wait_retry_after_ms((struct mg_headers){items, 2}, now_us), 250);
    CHECK_INT(mg_wait_retry_after_ms((struct mg_headers){items, 1}, now_us), 2000);
    CHECK_INT(mg_wait_retry_after_ms((struct mg_headers){items, 0}, now_us), 0);
    items[0].value = MG_VIEW("later");
    CHECK_INT(mg_wait_retry_after_ms((struct mg_headers){items, 1}, now_us), 0);
    items[1].value = MG_VIEW("99999999999999999999");
    CHECK_INT(mg_wait_retry_after_ms((struct mg_headers){items, 2}, now_us), 0);
}

MG_TEST_MAIN()
