#include "check.h"
#include "tenant/generation.h"

#include <unistd.h>

#include "base/mem.h"

static struct mg_config_project *some_project(void)
{
    struct mg_config_project *config = mg_new(struct mg_config_project);
    mg_arena_init(&config->arena, 1024);
    config->name = "demo";
    return config;
}

static void count_free(void *routing)
{
    ++*(int *)routing;
}

static struct mg_generation *handed_back;

static void hand_back(struct mg_generation *generation)
{
    handed_back = generation;
    ++*(int *)generation->on_free_arg;
}

TEST(the_last_reference_frees_config_and_routing_once)
{
    int freed = 0;
    struct mg_generation *generation = mg_generation_new(some_project(), 3, 7);
    generation->routing = &freed;
    generation->free_routing = count_free;
    CHECK_INT(generation->project, 3);
    CHECK_INT(generation->number, 7);
    CHECK(generation->built_wall_us > 0);

    CHECK(mg_generation_ref(generation) == generation);
    mg_generation_unref(generation);
    CHECK_INT(freed, 0);
    mg_generation_unref(generation);

    CHECK_INT(freed, 1);
    mg_generation_unref(NULL);
}

TEST(with_on_free_the_generation_is_handed_over_instead)
{
    int freed = 0, handed = 0;
    struct mg_generation *generation = mg_generation_new(some_project(), 0, 1);
    generation->routing = &freed;
    generation->free_routing = count_free;
    generation->on_free = hand_back;
    generation->on_free_arg = &handed;

    mg_generation_unref(generation);

    CHECK_INT(handed, 1);
    CHECK_INT(freed, 0);
    CHECK(handed_back == generation);
    mg_generation_free(handed_back);
    CHECK_INT(freed, 1);
}

MG_TEST_MAIN()
