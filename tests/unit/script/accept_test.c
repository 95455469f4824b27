/* `expect`, `accept` and `offline.answer`: what an answer must be, and what is said when there is none. */
#include "script_world.h"

#include "check.h"

static mg_view reason;

static mg_err accept_with(const struct mg_policy_ops *ops, void *policy, const char *text, const char *finish)
{
    struct mg_call_response response = {.status = 200, .target = MG_VIEW("a/one"), .text = mg_view_cstr(text), .finish = mg_view_cstr(finish),
                                        .body = MG_VIEW("{\"x\":1}"), .attempts = 1};
    reason = MG_VIEW_NONE;
    return ops->accept(policy, &world.call, &response, &reason);
}

static mg_err accepts(const char *text)
{
    return accept_with(&mg_script_policy, world.script, text, "stop");
}

static const char SCHEMA[] = "expect = { json_schema = { type = 'object', required = { 'items' }, properties = {\n"
                             "  items = { type = 'array', items = { type = 'object', properties = { price = { type = 'number' } } } } } } }";

TEST(an_answer_that_does_not_fit_the_schema_is_rejected_with_its_place)
{
    world_open(SCHEMA, "on_log = function() end");

    CHECK_OK(accepts("{\"items\":[{\"price\":1.5},{}]}"));
    CHECK_INT(accepts("{\"items\":[{\"price\":1.5},{\"price\":\"2\"}]}"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer at /items/1/price must be of type number, not string"));
    CHECK_INT(accepts("{}"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer lacks \"items\""));
    CHECK_INT(accepts("Sure! {\"items\":[]}"), MG_E_DENIED);
    CHECK(mg_view_starts(reason, MG_VIEW("the answer is not JSON: at byte 0: ")));
    CHECK_INT(accepts(""), MG_E_DENIED);
    world_close();
}

TEST(an_answer_that_only_calls_tools_has_no_text_to_be_held_to_it)
{
    world_open(SCHEMA, "on_log = function() end");

    CHECK_OK(accept_with(&mg_script_policy, world.script, "", "tool_calls"));
    CHECK_INT(accept_with(&mg_script_policy, world.script, "hm", "tool_calls"), MG_E_DENIED);
    world.call.surface = "embeddings";
    CHECK_OK(accepts(""));
    world_close();
}

TEST(a_project_without_lua_holds_answers_to_schemas_too)
{
    char text[1024];
    snprintf(text, sizeof text, "return { providers = { a = { kind = 'simulated' } }, workflows = { chat = { 'a/one', %s } } }", SCHEMA);
    world_file("projects/plain.lua", text);
    CHECK(!world_open_file("projects/plain.lua"));

    CHECK_OK(accept_with(&mg_trusted_policy, world.trusted, "{\"items\":[]}", "stop"));
    CHECK_INT(accept_with(&mg_trusted_policy, world.trusted, "[]", "stop"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer must be of type object, not array"));
    world.call.flow = NULL;
    CHECK_OK(accept_with(&mg_trusted_policy, world.trusted, "[]", "stop"));
    world_close();
}

TEST(the_requests_own_schema_holds_as_far_as_it_is_understood)
{
    static const char with_schema[] =
        "{\"model\":\"chat\",\"messages\":[],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":"
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^x\"}},\"required\":[\"a\"],\"additionalProperties\":false}}}}";
    world_open("expect = { json_schema = 'request' }", "on_log = function() end");

    CHECK_OK(accepts("any text: this request asks for nothing"));
    world_request(with_schema);
    CHECK_OK(accepts("{\"a\":\"not checked against the pattern\"}"));
    CHECK_INT(accepts("{\"a\":1}"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer at /a must be of type string, not number"));
    world_request("{\"model\":\"chat\",\"messages\":[],\"response_format\":{\"type\":\"json_object\"}}");
    CHECK_OK(accepts("{\"anything\":1}"));
    CHECK_INT(accepts("[1]"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer is JSON, but no object"));
    world_request("{\"model\":\"chat\",\"messages\":[],\"response_format\":{\"type\":\"text\"}}");
    CHECK_OK(accepts("text"));
    world_request("{\"model\":\"chat\",\"messages\":[],\"response_format\":7}");
    CHECK_OK(accepts("text"));
    world_close();
}

TEST(a_schema_of_the_request_that_is_too_large_is_passed_and_noted)
{
    static char body[80000];
    size_t at = (size_t)snprintf(body, sizeof body, "{\"model\":\"chat\",\"messages\":[],\"response_format\":{\"type\":\"json_object\",\"x\":\"");
    memset(body + at, 'x', 70000);
    snprintf(body + at + 70000, sizeof body - at - 70000, "\"}}");
    world_open("expect = { json_schema = 'request' }", "on_log = function() end");
    world_request(body);

    CHECK_OK(accepts("[1]"));
    CHECK(strstr(world_notes(), "the request's schema is too large to be checked"));
    world_close();
}

TEST(a_predicate_says_yes_or_no_and_why)
{
    world_open("accept = function(res)\n"
               "  local text = res:text()\n"
               "  if text == 'why' then return false, 'it ignores half of the system prompt' end\n"
               "  if text == 'no' then return false end\n"
               "  if text == 'nothing' then return end\n"
               "  if text == 'body' then return res:json().x == 1 and res.status == 200 and res.target == 'a/one' end\n"
               "  return text:match 'good'\n"
               "end", "");

    CHECK_OK(accepts("all good"));
    CHECK_OK(accepts("body"));
    CHECK_INT(accepts("why"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("accept: it ignores half of the system prompt"));
    CHECK_INT(accepts("no"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("accept: it said no"));
    CHECK_INT(accepts("nothing"), MG_E_DENIED);
    CHECK_INT(accepts("bad"), MG_E_DENIED);
    CHECK(strstr(world_notes(), "inline:chat accept"));
    world_close();
}

TEST(a_predicate_that_fails_lets_the_answer_through)
{
    world_open("accept = function(res)\n"
               "  if res:text() == 'raise' then error 'boom' end\n"
               "  if res:text() == 'err' then return nil, 'no idea' end\n"
               "  if res:text() == 'replace' then return res:replace { text = 'x' } end\n"
               "  if res:text() == 'loop' then while true do end end\n"
               "  return false, {}\n"
               "end", "");

    CHECK_OK(accepts("raise"));
    CHECK_OK(accepts("err"));
    CHECK_OK(accepts("replace"));
    CHECK_OK(accepts("table as a reason"));
    CHECK(strstr(world_notes(), "boom") && strstr(world_notes(), "no idea"));
    CHECK(strstr(world_notes(), "replace cannot be called in accept"));
    CHECK(strstr(world_notes(), "accept: the reason must be a string"));
    world_close();
}

TEST(a_predicate_that_never_ends_is_stopped)
{
    world_open("accept = function(res) while true do end end", "");
    CHECK_OK(accepts("x"));
    CHECK(strstr(world_notes(), "ran past its deadline"));
    world_close();
}

TEST(the_schema_is_asked_before_the_predicate)
{
    world_open("expect = { json_schema = { type = 'object' } }, accept = function(res) return res:json().x == 1 and res:text() ~= '{}', 'empty' end", "");

    CHECK_INT(accepts("[]"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("the answer must be of type object, not array"));
    CHECK(!strstr(world_notes(), "inline:chat accept"));
    CHECK_INT(accepts("{}"), MG_E_DENIED);
    CHECK_VIEW(reason, MG_VIEW("accept: empty"));
    CHECK_OK(accepts("{\"a\":1}"));
    world_close();
}

/* --- offline.answer -------------------------------------------------------------------------- */

static mg_view said;

static mg_err offline(void)
{
    struct mg_exhausted exhausted = {.class_ = MG_CLASS_overloaded, .status = 503, .code = MG_VIEW("overloaded"),
                                     .message = MG_VIEW("All targets are busy."), .attempts = 3};
    said = MG_VIEW_NONE;
    return mg_script_policy.offline(world.script, &world.call, &exhausted, &said);
}

TEST(an_offline_answer_knows_the_request_and_what_failed)
{
    world_open("offline = { text = 'later', answer = function(req, failure)\n"
               "  return req.workflow .. ' ' .. req.messages[2]:text() .. ' ' .. failure.class .. ' ' .. failure.status .. ' ' .. failure.code .. ' ' ..\n"
               "    failure.message .. ' ' .. failure.attempts\n"
               "end }", "");

    CHECK_OK(offline());

    CHECK_VIEW(said, MG_VIEW("chat hello overloaded 503 overloaded All targets are busy. 3"));
    world_close();
}

TEST(an_offline_function_from_a_file_may_have_nothing_to_say)
{
    world_file("projects/offline.lua", "return function(req, failure) if failure.attempts == 0 then return 'x' end end\n");
    world_open("offline = { answer = file 'offline.lua' }", "");
    CHECK_INT(offline(), MG_E_NOT_FOUND);
    world_close();
}

TEST(an_offline_function_that_fails_has_nothing_to_say)
{
    static const char *const codes[] = {"error 'boom'", "return 7", "return ''", "return ('x'):rep(70000)", "return req:respond { text = 'x' }"};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char code[256];
        snprintf(code, sizeof(code), "offline = { answer = function(req) %s end }", codes[i]);
        world_open(code, "");
        CHECK_INT(offline(), MG_E_NOT_FOUND);
        world_close();
    }
}

TEST(functions_of_a_workflow_are_no_hooks_of_plugins)
{
    CHECK(strstr(world_refused("", "plugins = { { as = 'x', accept = function() end } }"), "there is no such key here"));
    CHECK(strstr(world_refused("", "accept = function() end"), "there is no such key here"));
}

MG_TEST_MAIN()
