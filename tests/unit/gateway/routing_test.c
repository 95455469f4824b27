/* Models that only clients name: what is known of each is kept apart, up to a bound. */
#include "../config/world.h"

#include "base/mem.h"
#include "gateway/routing.h"

TEST(what_is_known_of_models_that_clients_name_is_bounded_and_those_beyond_share_it)
{
    struct mg_config_gateway gateway = {.account_count = 0};
    struct mg_routing_options options = {.gateway = &gateway};
    struct mg_breaker **breakers = mg_new_array(struct mg_breaker *, MG_MAX_DIRECT_TARGETS + 100);
    struct mg_routing *routing;
    struct mg_arena arena;
    struct mg_diag diag = {.line = 0};
    begin();
    struct mg_config_project *config = load("return { allow_direct = true, providers = { a = { base_url = 'http://h/v1' } }, workflows = {} }");
    CHECK_OK(mg_routing_new(config, &options, &routing, &diag));
    mg_arena_init(&arena, 4096);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MG_MAX_DIRECT_TARGETS + 100; i++) {
            char model[32];
            int len = snprintf(model, sizeof model, "a/m%d", i);
            const struct mg_route *route = mg_routing_find(routing, mg_view_of(model, (size_t)len), &arena);
            CHECK(route != NULL);
            CHECK(!round || breakers[i] == route->reaches[0].breakers[0]);       /* the same one every time */
            breakers[i] = route->reaches[0].breakers[0];
            mg_arena_reset(&arena);
        }
    }
    for (int i = 1; i < MG_MAX_DIRECT_TARGETS; i++)
        CHECK(breakers[i] != breakers[i - 1]);
    for (int i = MG_MAX_DIRECT_TARGETS; i < MG_MAX_DIRECT_TARGETS + 100; i++)
        CHECK(breakers[i] == breakers[MG_MAX_DIRECT_TARGETS]);
    CHECK(breakers[MG_MAX_DIRECT_TARGETS] != breakers[0]);
    mg_arena_fini(&arena);
    mg_routing_free(routing);
    mg_config_project_free(config);
    mg_free(breakers);
    end();
}

MG_TEST_MAIN()
