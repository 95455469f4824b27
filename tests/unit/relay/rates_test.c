#include "relay/rates.h"

#include <string.h>

#include "check.h"
#include "config/config.h"

static const char catalogue[] =
    "{\"version\": 1, \"providers\": ["
    "{\"name\": \"acme\", \"models\": [{\"model\": \"big\", \"prices\": [{\"input\": 3000000, \"output\": 9000000}]}]},"
    "{\"name\": \"eu\", \"models\": [{\"model\": \"big\", \"prices\": [{\"input\": 4000000}]}]},"
    "{\"name\": \"eu\", \"project\": \"shop\", \"models\": [{\"model\": \"big\", \"prices\": [{\"input\": 1, \"output\": 2}]}]}]}";

static struct mg_timeline timeline;

static double rate_in(const struct mg_config_target *target, const char *provider, const char *vendor, const char *project)
{
    struct mg_prices *prices;
    struct mg_candidate candidate = {.target = target, .provider = provider, .vendor = vendor};
    CHECK_OK(mg_prices_parse(mg_view_cstr(catalogue), "catalogue", &prices, NULL));
    struct mg_call call = {.timeline = &timeline, .prices = prices, .project = mg_view_cstr(project), .request.model = MG_VIEW("big")};
    double in = -1, out;
    bool known = mg_candidate_rates(&candidate, &call, &in, &out);
    CHECK_INT(known, in >= 0);
    mg_prices_free(prices);
    return in;
}

TEST(the_target_s_own_price_comes_before_the_catalogue_but_not_before_a_list_of_the_project)
{
    struct mg_config_target own = {.model = "big", .priced = true, .price_in_microusd = 7};
    CHECK(rate_in(&own, "eu", NULL, "blog") == 7);
    CHECK(rate_in(&own, "eu", NULL, "shop") == 1);
}

TEST(the_catalogue_is_asked_by_the_provider_s_name_and_then_by_whom_it_is)
{
    struct mg_config_target big = {.model = "big"}, any = {.model = "*"}, odd = {.model = "odd"};
    CHECK(rate_in(&big, "eu", "acme", "blog") == 4000000);
    CHECK(rate_in(&big, "our-acme", "acme", "blog") == 3000000);
    CHECK(rate_in(&any, "our-acme", "acme", "blog") == 3000000);
    CHECK(rate_in(&big, "our-acme", NULL, "blog") == -1);
    CHECK(rate_in(&odd, "acme", "acme", "blog") == -1);
}

TEST(nobody_s_prices_are_known_without_a_catalogue)
{
    struct mg_config_target big = {.model = "big"};
    struct mg_candidate candidate = {.target = &big, .provider = "acme"};
    struct mg_call call = {.timeline = &timeline};
    double in, out;
    CHECK(!mg_candidate_rates(&candidate, &call, &in, &out));
    CHECK(!mg_candidate_rates(&candidate, &call, &in, &out));
}

MG_TEST_MAIN()
