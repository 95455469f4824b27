/* Plugins that somebody disabled by hand: their fail mode decides, the message says why, and nothing of them runs. */
#include "script_world.h"

#include "check.h"
#include "tenant/switches.h"

#define GUARD(as, fail) "{ as = '" as "', " fail " on_request = function(self, req) return req:deny { status = 418, code = 'teapot', message = 'no' } end }"

static struct mg_switches *disable(const char *name, const char *message)
{
    struct mg_switch row = {.kind = MG_SWITCH_PLUGIN};
    snprintf(row.project, sizeof row.project, "p");
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.message, sizeof row.message, "%s", message);
    struct mg_switches *switches = mg_switches_new(&row, 1);
    mg_script_set_switches(world.script, mg_switches_of(switches, MG_VIEW("p")));
    return switches;
}

static void again(struct mg_switches *switches)
{
    mg_script_set_switches(world.script, NULL);
    mg_switches_unref(switches);
    world_request("{\"model\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
}

TEST(one_that_fails_open_is_passed_over_and_the_timeline_says_why)
{
    world_open("", "plugins = { " GUARD("guard", "fail = { on_request = 'open' },") " }");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);

    again(NULL);
    struct mg_switches *switches = disable("guard", "under repair");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    CHECK(strstr(world_notes(), "is disabled by hand (under repair)") != NULL);

    again(switches);
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_INT(world.outcome.status, 418);
    world_close();
}

TEST(one_that_fails_closed_ends_the_request_with_the_message)
{
    world_open("", "plugins = { " GUARD("guard", "fail = { on_request = 'closed' },") " }");
    struct mg_switches *switches = disable("guard", "under repair");

    world_on_request();

    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_INT(world.outcome.status, 503);
    CHECK(mg_view_search(world.outcome.message, MG_VIEW("under repair")) < world.outcome.message.len);
    again(switches);
    world_close();
}

TEST(without_a_message_it_has_words_of_its_own)
{
    world_open("", "plugins = { " GUARD("guard", "fail = { on_request = 'open' },") " }");
    struct mg_switches *switches = disable("guard", "");
    world_on_request();
    CHECK(strstr(world_notes(), "is disabled by hand") != NULL);
    CHECK(strstr(world_notes(), "()") == NULL);
    again(switches);
    world_close();
}

TEST(only_the_one_of_that_name_is)
{
    world_open("", "plugins = { { as = 'first', on_request = function(self, req) req.messages:set(1, 'first') end },\n"
                   "{ as = 'second', fail = { on_request = 'open' }, on_request = function(self, req) error 'never' end },\n"
                   "{ as = 'third', on_request = function(self, req) assert(req.messages[1]:text() == 'first') req.params.temperature = 1 end } }");
    struct mg_json_error error;
    struct mg_switches *switches = disable("second", "");

    world_on_request();

    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    CHECK_OK(mg_request_render(&world.call.request, &error));
    CHECK(mg_view_search(world.call.request.body, MG_VIEW("\"temperature\":1")) < world.call.request.body.len);
    CHECK(strstr(world_notes(), "never") == NULL);
    again(switches);
    switches = disable("nobody", "");
    world_on_request();
    CHECK(strstr(world_notes(), "never") != NULL);
    again(switches);
    world_close();
}

MG_TEST_MAIN()
