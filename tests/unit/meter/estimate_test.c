/* What bytes are in tokens is learned from what a provider reports, and how far off that is is said. */
#include <math.h>

#include "check.h"

#include "meter/estimate.h"

static bool near(double got, double want, double by)
{
    return fabs(got - want) <= by;
}

TEST(before_anything_is_known_a_token_is_four_bytes)
{
    struct mg_estimate estimate = {0};
    struct mg_estimate_figures figures;
    CHECK_INT(mg_estimate_input(&estimate, 401), 101);
    CHECK_INT(mg_estimate_input(NULL, 400), 100);
    CHECK_INT(mg_estimate_output(NULL, 400), 100);
    CHECK_INT(mg_estimate_answer(&estimate), 0);
    mg_estimate_learn(NULL, 1, 1, 1, 1);
    mg_estimate_read(&estimate, &figures);
    CHECK_INT(figures.calls, 0);
    CHECK(figures.input_bytes_per_token == 4 && figures.input_error == 0);
}

TEST(it_learns_the_ratio_of_a_target_and_its_error_goes_to_nothing)
{
    struct mg_estimate estimate = {0};
    struct mg_estimate_figures figures;
    for (int i = 0; i < 200; i++)
        mg_estimate_learn(&estimate, 2500, 1000, 600, 100);
    mg_estimate_read(&estimate, &figures);
    CHECK(near(figures.input_bytes_per_token, 2.5, 0.01));
    CHECK(near(figures.output_bytes_per_token, 6, 0.01));
    CHECK(figures.input_error < 0.01 && figures.output_error < 0.02);
    CHECK_INT(figures.answer_tokens, 100);
    CHECK(near((double)mg_estimate_input(&estimate, 25000), 10000, 10));
}

TEST(it_says_how_wrong_it_is_where_requests_differ)
{
    struct mg_estimate estimate = {0};
    struct mg_estimate_figures figures;
    for (int i = 0; i < 400; i++)      /* half are prose, half are numbers: no ratio is right for both */
        mg_estimate_learn(&estimate, i % 2 ? 2000 : 4000, 1000, 0, 10);
    mg_estimate_read(&estimate, &figures);
    CHECK(near(figures.input_bytes_per_token, 3, 0.1));
    CHECK(near(figures.input_error, 0.333, 0.03));
    CHECK_INT(figures.calls, 400);
}

TEST(it_follows_a_target_that_changes)
{
    struct mg_estimate estimate = {0};
    for (int i = 0; i < 100; i++)
        mg_estimate_learn(&estimate, 4000, 1000, 0, 0);
    for (int i = 0; i < 200; i++)
        mg_estimate_learn(&estimate, 2000, 1000, 0, 0);
    CHECK(near((double)mg_estimate_input(&estimate, 2000), 1000, 10));
}

TEST(what_cannot_be_is_not_learned_from)
{
    struct mg_estimate estimate = {0};
    mg_estimate_learn(&estimate, 4000, 0, 0, 0);
    mg_estimate_learn(&estimate, 0, 5, 0, 5);
    CHECK_INT(mg_estimate_input(&estimate, 400), 100);
    for (int i = 0; i < 10; i++)
        mg_estimate_learn(&estimate, UINT64_C(1) << 40, 1, 1, UINT64_C(1) << 60);
    CHECK(mg_estimate_input(&estimate, 1) == 1);
}

MG_TEST_MAIN()
