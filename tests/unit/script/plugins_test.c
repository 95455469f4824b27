/* Plugins from folders: manifest, settings, grants, their files; and what refuses a generation. */
#include "script_world.h"

#include "check.h"
#include "script/instance.h"

static const char *const manifest =
    "{ \"manifest\": 1, \"name\": \"acme/shout\", \"version\": \"1.0.0\", \"api\": 1, \"stage\": \"guard\",\n"
    "  \"hooks\": [\"on_request\", \"on_chunk\"], \"stream\": { \"mode\": \"filter\", \"hold\": 4 },\n"
    "  \"fail\": { \"on_chunk\": \"open\" }, \"permissions\": { \"content\": [\"request\", \"response\"], \"kv\": {} },\n"
    "  \"config\": { \"type\": \"object\", \"additionalProperties\": false, \"required\": [\"suffix\"], \"properties\": {\n"
    "    \"suffix\": { \"type\": \"string\", \"minLength\": 1 }, \"times\": { \"type\": \"integer\", \"minimum\": 1, \"maximum\": 3, \"default\": 2 },\n"
    "    \"kinds\": { \"type\": \"array\", \"maxItems\": 2, \"items\": { \"enum\": [\"a\", \"b\"] }, \"default\": [\"a\"] } } } }";

static const char *const init =
    "local helper = require 'helper'\n"
    "local M = {}\n"
    "M.__index = M\n"
    "function M.validate(config) if config.suffix == '?' then return nil, 'no questions' end return true end\n"
    "function M.new(config) return setmetatable({ suffix = config.suffix:rep(config.times), kinds = #config.kinds }, M) end\n"
    "function M:on_request(req) return req:deny { code = helper.join(moongate.instance, self.suffix, self.kinds, moongate.plugin) } end\n"
    "function M:on_chunk(c) return c.text:upper() end\n"
    "return M\n";

static const char *const all_grants = "grant = { 'content:request', 'content:response', 'kv' }";

static void write_plugin(const char *json, const char *code)
{
    world_file("plugins/shout/plugin.json", json);
    world_file("plugins/shout/init.lua", code);
    world_file("plugins/shout/helper.lua", "local H = {} function H.join(...) return table.concat({ ... }, ' ') end return H");
}

static const char *use(const char *rest)
{
    static char text[1024];
    snprintf(text, sizeof(text), "plugins = { { use = 'shout', as = 'loud', %s } }", rest);
    return text;
}

TEST(loads_a_plugin_with_its_settings_completed)
{
    char entry[512];
    write_plugin(manifest, init);
    snprintf(entry, sizeof(entry), "%s, config = { suffix = '!' }", all_grants);
    world_open("", use(entry));

    world_on_request();

    CHECK_INT(world.outcome.kind, MG_HOOK_DENY);
    CHECK_VIEW(world.outcome.code, MG_VIEW("loud !! 1 acme/shout"));
    const struct mg_plugged *plugged = &world.script->instances[0];
    CHECK(plugged->guard && plugged->closed[MG_HOOK_ON_REQUEST] && !plugged->closed[MG_HOOK_ON_CHUNK]);
    CHECK_INT(plugged->stream.mode, MG_FILTER_WINDOW);
    CHECK_INT(plugged->stream.hold, 4);
    CHECK_INT(plugged->stream.max_hold_ms, 400);
    world_close();
}

TEST(the_operator_overrides_fail_modes)
{
    char entry[512];
    write_plugin(manifest, init);
    snprintf(entry, sizeof(entry), "%s, config = { suffix = '!' }, fail = { on_request = 'open', on_chunk = 'closed' }", all_grants);
    world_open("", use(entry));
    CHECK(!world.script->instances[0].closed[MG_HOOK_ON_REQUEST] && world.script->instances[0].closed[MG_HOOK_ON_CHUNK]);
    world_close();
}

TEST(two_instances_of_one_plugin_share_nothing)
{
    write_plugin(manifest, "local M = {} calls = 0\n"
                           "function M:on_request(req) calls = calls + 1 if calls == 2 then return req:deny { code = moongate.instance } end end\n"
                           "function M:on_chunk() end return M");
    world_open("", "plugins = { { use = 'shout', as = 'one', grant = { 'content:request', 'content:response', 'kv' }, config = { suffix = '1' } },\n"
                   "{ use = 'shout', as = 'two', grant = { 'content:request', 'content:response', 'kv' }, config = { suffix = '2' } } }");
    world_on_request();
    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    world_on_request();
    CHECK_VIEW(world.outcome.code, MG_VIEW("one"));
    world_close();
}

TEST(a_plugin_may_tighten_its_own_limits)
{
    const char *json = "{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[\"on_request\"],"
                       "\"limits\":{\"memory_kb\":256,\"burst_ms\":{\"on_request\":3}}}";
    write_plugin(json, "local M = {} function M:on_request(req) local s = ('x'):rep(300000) return req:deny {} end return M");
    world_open("", use("grant = {}"));
    CHECK_INT(world.script->instances[0].burst_us[MG_HOOK_ON_REQUEST], 3000);

    world_on_request();                /* far below the state's cap, above its own */

    CHECK_INT(world.outcome.kind, MG_HOOK_GO_ON);
    CHECK(strstr(world_notes(), "ran out of memory"));
    world_close();
}

/* --- refusals -------------------------------------------------------------------------------- */

static void check_refused(const char *in_workflow, const char *in_project, const char *says)
{
    const char *text = world_refused(in_workflow, in_project);
    if (!strstr(text, says))
        check_failed(__FILE__, __LINE__, "got %s, want %s", text, says);
}

TEST(refuses_what_is_not_granted_and_gives_the_line_to_add)
{
    write_plugin(manifest, init);
    check_refused("", use("grant = { 'content:request' }, config = { suffix = '!' }"),
                  "add grant = { \"content:response\", \"kv\" }");
}

TEST(refuses_settings_that_do_not_fit)
{
    static const struct {
        const char *config, *says;
    } rows[] = {
        {"{}", "config lacks \"suffix\""},
        {"{ suffix = 5 }", "config/suffix must be of type string"},
        {"{ suffix = '' }", "config/suffix must be at least 1"},
        {"{ suffix = 'x', times = 4 }", "config/times must be at most 3"},
        {"{ suffix = 'x', times = 1.5 }", "config/times must be of type integer"},
        {"{ suffix = 'x', kinds = { 'a', 'c' } }", "config/kinds/1 is none of the values"},
        {"{ suffix = 'x', kinds = { 'a', 'b', 'a' } }", "config/kinds must be at most 2"},
        {"{ suffix = 'x', tiems = 1 }", "config has the unknown key \"tiems\""},
        {"{ suffix = '?' }", "loud: refused its configuration: no questions"},
    };
    write_plugin(manifest, init);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char entry[512];
        snprintf(entry, sizeof(entry), "%s, config = %s", all_grants, rows[i].config);
        check_refused("", use(entry), rows[i].says);
    }
}

TEST(refuses_manifests_that_are_wrong)
{
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"{", "plugins/shout/plugin.json: not valid JSON"},
        {"[]", "expected a JSON object"},
        {"{\"manifest\":2}", "\"manifest\" must be 1"},
        {"{\"manifest\":1,\"api\":2}", "\"api\" must be 1"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"other\",\"version\":\"1\"}", "must end in the name of its folder, shout"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\"}", "\"version\" is missing"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"x\"}", "\"stage\" must be"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[\"on_moon\"]}", "no hook \"on_moon\""},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[],\"extra\":1}", "unknown member \"extra\""},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[],\"stream\":{\"mode\":\"x\"}}", "\"stream\" must be"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[\"on_request\",\"route\",\"on_chunk\"]}",
         "plugin.json lists the hook route, which init.lua does not have"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[\"on_request\"],\"permissions\":{\"content\":[\"response\"]}}",
         "init.lua has the hook on_chunk, which plugin.json does not list"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[],\"limits\":{\"memory_kb\":1}}", "\"memory_kb\" must be"},
        {"{\"manifest\":1,\"api\":1,\"name\":\"shout\",\"version\":\"1\",\"stage\":\"policy\",\"hooks\":[],\"permissions\":{\"disk\":true}}", "unknown \"disk\""},
    };
    char entry[512];
    snprintf(entry, sizeof(entry), "%s", all_grants);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        write_plugin(rows[i].json, init);
        check_refused("", use(entry), rows[i].says);
    }
}

TEST(refuses_code_that_fails_while_it_is_loaded)
{
    static const struct {
        const char *code, *says;
    } rows[] = {
        {"return +", "plugins/shout/init.lua:1: loud: unexpected symbol"},
        {"\nlocal x = nil\nreturn x.y", "plugins/shout/init.lua:3: "},
        {"return 1LL", "plugins/shout/init.lua:1: loud: number literals"},
        {"return 5", "what init.lua returns must be a table, got number"},
        {"while true do end", "loud: ran past its deadline at plugins/shout/init.lua:1"},
        {"local t = {} while true do t[#t + 1] = {} end", "loud: ran out of memory"},
        {"require 'missing'", "there is no module 'missing' here"},
        {"require '../../projects/test'", "there is no module"},
        {"local M = {} function M.new() return nil, 'no luck' end function M:on_request() end function M:on_chunk() end return M", "new failed: no luck"},
        {"local M = {} function M.new() error 'x' end function M:on_request() end function M:on_chunk() end return M", "plugins/shout/init.lua:1: loud: x"},
        {"moongate.time.sleep(1)", "sleep waits, and load may not wait"},
        {"io.open('/etc/passwd')", "attempt to index global 'io'"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char entry[512];
        snprintf(entry, sizeof(entry), "%s, config = { suffix = '!' }", all_grants);
        write_plugin(manifest, rows[i].code);
        check_refused("", use(entry), rows[i].says);
    }
}

TEST(names_what_there_is_instead_of_a_plugin_that_is_not)
{
    check_refused("", "plugins = { { use = 'nope', grant = {} } }", "there is no plugin \"nope\"");
    check_refused("", "plugins = { { use = 'shout@^1.2', grant = {} } }", "versions come with the plugin store");
    check_refused("", "plugins = { { use = 'moongate/shout', grant = {} } }", "there is no plugin \"moongate/shout\"");
}

TEST(refuses_functions_that_depend_on_chance)
{
    world_file("projects/policies/not.lua", "return {}");
    const char *text = world_refused("route = file 'policies/not.lua'", "");
    CHECK(strstr(text, "policies/not.lua"));
}

TEST(inline_code_has_every_permission_but_net_and_secret)
{
    struct mg_plan plan;
    world_open("route = function(req) moongate.kv.set('k', 1) error('kv ' .. moongate.kv.get('k'), 0) end", "");
    CHECK_OK(mg_script_policy.route(world.script, &world.call, world.candidates, world.candidate_count, &plan));
    CHECK(strstr(world_notes(), "kv 1"));

    struct mg_lua_run run = {.instance = &world.script->instances[0].base};
    world.script->lua.run = &run;
    CHECK(mg_lua_may(&world.script->lua, "content", "request"));
    CHECK(!mg_lua_may(&world.script->lua, "net", NULL));
    CHECK(!mg_lua_may(&world.script->lua, "secret", "x"));
    world.script->lua.run = NULL;
    world_close();

    world_open("route = function() end", "inline = { grant = { 'net:https://a.example' } }");
    run = (struct mg_lua_run){.instance = &world.script->instances[0].base};
    world.script->lua.run = &run;
    CHECK(mg_lua_may(&world.script->lua, "net", NULL));
    CHECK(mg_lua_may(&world.script->lua, "net", "https://a.example"));
    CHECK(!mg_lua_may(&world.script->lua, "net", "https://b.example"));
    world.script->lua.run = NULL;
    world_close();
}

TEST(many_generations_leave_no_memory_behind)
{
    char entry[512];
    write_plugin(manifest, init);
    snprintf(entry, sizeof(entry), "%s, config = { suffix = '!' }", all_grants);
    for (int i = 0; i < 50; i++) {     /* the leak checker of the sanitised run looks at this */
        world_open("route = function() end", use(entry));
        world_on_request();
        world_close();
    }
}

MG_TEST_MAIN()
