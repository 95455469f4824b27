/* The Lua in the guides works: each block is a file, named by its first line, and each project is built
 * with what stands above it and asked for plans and verdicts. */
#include "script_world.h"

#include "check.h"

static char page[65536];

static void read_page(const char *name)
{
    char path[512];
    const char *source = getenv("MOONGATE_SOURCE_DIR");
    snprintf(path, sizeof(path), "%s/docs/guide/%s", source ? source : ".", name);
    FILE *file = fopen(path, "r");
    if (!file)
        check_failed(__FILE__, __LINE__, "no %s", path);
    size_t len = fread(page, 1, sizeof(page) - 1, file);
    page[len] = '\0';
    fclose(file);
}

static void ask_everything(const char *where)
{
    static const struct mg_headers none;
    struct mg_plan plan;
    struct mg_verdict verdict;
    CHECK_OK(mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan));
    CHECK(plan.count > 0);
    for (int class_ = 1; class_ < MG_CLASS_COUNT; class_++) {
        struct mg_attempt_facts facts = {.candidate = &world.candidates[0], .headers = &none, .hint = (enum mg_class)class_,
                                         .status = 418, .number = 2, .try_number = 1, .tries = 1};
        CHECK_OK(mg_script_policy.classify(world.script, &world.call, &facts, &verdict));
    }
    if (strstr(world_notes(), ": "))
        check_failed(__FILE__, __LINE__, "%s: %s", where, world_notes());
}

static void try_page(const char *name, int want_projects)
{
    int projects = 0;
    read_page(name);
    for (char *at = page; (at = strstr(at, "```lua\n-- "));) {
        char file[128];
        char *from = at + strlen("```lua\n"), *to = strstr(from, "```\n");
        CHECK(to && sscanf(from, "-- %127s", file) == 1);
        *to = '\0';
        world_file(file, from);
        if (strcmp(file, "projects/support.lua") == 0) {
            char where[160];
            snprintf(where, sizeof(where), "%s, project %d", name, ++projects);
            if (world_open_file(file)) {
                world.call.key_metadata = MG_VIEW("{\"tier\":\"pro\"}");
                ask_everything(where);
                world.call.key_metadata = MG_VIEW_NONE;
                ask_everything(where);
            }
            world_close();
        }
        at = to + 1;
    }
    CHECK_INT(projects, want_projects);
}

TEST(the_routing_guide_works)
{
    try_page("write-a-routing-policy.md", 4);
}

TEST(the_taxonomy_guide_works)
{
    try_page("write-a-failure-taxonomy.md", 2);
}

MG_TEST_MAIN()
