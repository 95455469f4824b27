#include "base/clock.h"

#include "base/err.h"
#include "base/fault.h"
#include "check.h"

TEST(time_moves_forward_and_can_be_faked)
{
    uint64_t before = mg_mono_us();
    CHECK(mg_mono_us() >= before);
    CHECK(mg_wall_us() > 1700000000000000u);

    mg_clock_fake(5);
    CHECK_INT(mg_mono_us(), 5);
    CHECK_INT(mg_wall_us(), 5);
    mg_clock_fake(0);
    CHECK(mg_mono_us() >= before);
}

TEST(a_fault_fires_at_the_nth_call_and_only_then)
{
    mg_fault_arm(MG_FAULT_WRITE, 3);
    CHECK(!mg_fault(MG_FAULT_WRITE));
    CHECK(!mg_fault(MG_FAULT_WRITE));
    CHECK(mg_fault(MG_FAULT_WRITE));
    CHECK(!mg_fault(MG_FAULT_WRITE));
    CHECK(!mg_fault(MG_FAULT_ACCEPT));
}

TEST(every_error_says_what_it_is)
{
    CHECK_STR(mg_err_name(MG_E_TOO_LARGE), "E_TOO_LARGE");
    CHECK_INT(mg_err_status(MG_E_TOO_LARGE), 413);
    CHECK(mg_err_retry(MG_E_CONNECT) && !mg_err_retry(MG_E_BAD_REQUEST));
    struct mg_diag diag;
    char text[64];
    CHECK(mg_diag_set(&diag, MG_E_CONFIG, "a.lua", 7, "no %s", "key") == MG_E_CONFIG);
    mg_diag_print(&diag, text, sizeof text);
    CHECK_STR(text, "a.lua:7: no key");
    CHECK(mg_diag_set(NULL, MG_E_IO, "", 0, "x") == MG_E_IO);
}

MG_TEST_MAIN()
