#include "script/view_class.h"

#include "api.h"
#include "check.h"

static struct api api;

TEST(a_request_shows_its_facts)
{
    static const struct api_row rows[] = {
        {"return req.id, req.workflow, req.model, req.dialect, req.surface, req.stream", "req_test,chat,chat,openai,chat,false"},
        {"return req.key_id, req.session", "key_1,nil"},
        {"return req.metadata.tier, req.metadata.n, next(req.key_metadata)", "pro,3,nil"},
        {"return req.headers['x-team'], req.headers['X-TEAM'], req.headers.nothing", "blue,blue,nil"},
        {"return req.deadline_ms > 59000 and req.deadline_ms <= 60000, req.tokens_in_est > 0", "true,true"},
        {"return #req.messages, req.messages[1].role, req.messages[2]:text(), req.messages[3]:text()",
         "3,system,use sk-abc1,part onepart two"},
        {"return req.messages[0], req.messages[4], req.messages[1.5]", "nil,nil,nil"},
        {"return req.messages[3]:json()[2].text, req.tools[1]['function'].name", "part two,f"},
        {"return req.params.temperature, req.params.stop[1], req.params.nothing", "0.5,x,nil"},
        {"return tostring(req), type(req), getmetatable(req)", "moongate.Request,userdata"},
        {"local out = {} for i, m in ipairs(req.messages) do out[i] = i .. m.role end return table.concat(out, ' ')",
         "1system 2user 3user"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    API_CHECK(&api, route, rows);
    api_close(&api);
}

TEST(misspelt_and_read_only_fields_raise)
{
    static const struct api_row rows[] = {
        {"return req.mesages", "error: snippet:1: req has no field 'mesages'"},
        {"return req[1]", "error: snippet:1: req has no field of type number"},
        {"req.model = 'x'", "error: snippet:1: req.model is read-only"},
        {"req.modle = 'x'", "error: snippet:1: req has no field 'modle'"},
        {"req.deny = 1", "error: snippet:1: req.deny is read-only"},
        {"req.headers['x-team'] = 'red'", "error: snippet:1: headers has no field 'x-team'"},
        {"req.messages[1] = 'x'", "error: snippet:1: req.messages has no field of type number"},
        {"req.deny()", "error: snippet:1: req:deny: call it with ':' on a moongate.Request"},
        {"req.deny(req.messages)", "error: snippet:1: req:deny: call it with ':' on a moongate.Request"},
        {"return req.params.messages", "error: snippet:1: req.params.messages: use req.messages"},
        {"att.hint = 'x'", "error: snippet:1: att.hint is read-only"},
        {"candidates[1].weight = 2", "error: snippet:1: candidate.weight is read-only"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(credentials_are_not_shown)
{
    static const struct api_row rows[] = {
        {"return req.headers.authorization, req.headers['AUTHORIZATION'], att.headers.authorization", "nil,nil,nil"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

static const char *body_of(struct api *a)
{
    struct mg_json_error error;
    CHECK_OK(mg_request_render(&a->call.request, &error));
    return a->call.request.body.ptr;
}

TEST(edits_splice_the_body_and_are_noted_with_the_instance)
{
    static const struct api_row rows[] = {
        {"req.messages:set(2, 'use [key]')", ""},
        {"req.messages:insert(4, { role = 'user', text = 'and \"this\"' }) return #req.messages", "4"},
        {"req.messages:remove(3) return #req.messages, req.messages[3]:text()", "3,and \"this\""},
        {"req.messages:append_system 'Say please.'", ""},
        {"req.params.temperature = 1 req.params.stop = nil req.params.top_k = { 3 } return req.params.temperature", "1"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);

    CHECK_STR(body_of(&api),
              "{\"top_k\":[3],\"model\":\"chat\",\"temperature\":1,\"messages\":["
              "{\"role\":\"system\",\"content\":\"Be brief.\\n\\nSay please.\"},"
              "{\"role\":\"user\",\"content\":\"use [key]\"},"
              "{\"role\":\"user\",\"content\":\"and \\\"this\\\"\"}],"
              "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}");
    mg_view note = mg_view_of(api.timeline.note, api.timeline.note_bytes);
    CHECK(mg_view_search(note, MG_VIEW("edit unit: messages[2], 13 -> 9 bytes")) < note.len);
    CHECK(mg_view_search(note, MG_VIEW("edit unit: params.stop, 5 -> 0 bytes")) < note.len);
    api_close(&api);
}

TEST(a_system_message_is_made_when_there_is_none_to_append_to)
{
    static const struct api_row rows[] = {
        {"req.messages:remove(1) req.messages:append_system 'Hello.' return #req.messages, req.messages[1].role, "
         "req.messages[1]:text(), req.messages[2]:text()", "3,system,Hello.,use sk-abc1"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(edits_are_refused_outside_on_request_and_out_of_range)
{
    static const struct api_row elsewhere[] = {
        {"req.messages:set(1, 'x')", "error: snippet:1: set cannot be called in route"},
        {"req.params.temperature = 1", "error: snippet:1: req.params can be changed in on_request only, not in route"},
        {"req:deny()", "error: snippet:1: deny cannot be called in route"},
    };
    static const struct api_row range[] = {
        {"req.messages:set(4, 'x')",
         "error: snippet:1: req.messages:set: i must be a whole number from 1 to 3, got 4"},
        {"req.messages:set(1, 5)", "error: snippet:1: req.messages:set: text must be a string, got number"},
        {"req.messages:insert(1, { role = 'user' })", "error: snippet:1: req.messages:insert: message needs role and text"},
        {"req.messages:insert(1, { role = 'user', txt = 'x' })",
         "error: snippet:1: req.messages:insert: unknown field 'txt' (known: role, text)"},
        {"req.params.model = 'x'",
         "error: snippet:1: req.params.model: a parameter is named with letters, digits, '_' and '-', is not model, "
         "stream or messages, and at most 32 are changed"},
        {"req.params.x = print",
         "error: snippet:1: req.params.x: a value JSON has no word for (a function, userdata or nil)"},
        {"local m = req.messages[3] req.messages:remove(3) return m.role", "error: snippet:1: there is no message 3 any more"},
    };
    api_open(&api);
    API_CHECK(&api, route, elsewhere);
    API_CHECK(&api, on_request, range);
    api_close(&api);
}

TEST(content_needs_its_permission_and_the_rest_does_not)
{
    static const struct api_row rows[] = {
        {"return #req.messages, req.messages[2].role, req.messages[2].bytes, #req.messages[2].hash", "3,user,13,16"},
        {"return req.params.temperature, req.headers['x-team']", "0.5,blue"},
        {"return req.messages[2]:text()",
         "error: message:text needs the permission content:request: add grant = { \"content:request\" } to unit"},
        {"req.messages:set(1, 'x')",
         "error: snippet:1: req.messages:set needs the permission content:request: add grant = { \"content:request\" } to unit"},
        {"return req.params.stop",
         "error: snippet:1: req.params needs the permission content:request: add grant = { \"content:request\" } to unit"},
        {"return req.tools",
         "error: snippet:1: req.tools needs the permission content:request: add grant = { \"content:request\" } to unit"},
        {"return att.body_head",
         "error: snippet:1: att.body_head needs the permission content:response: add grant = { \"content:response\" } to unit"},
    };
    static const char *const grants[] = {"content:request", NULL};
    static const struct api_row granted[] = {
        {"return req.messages[2]:text(), req.params.stop[1]", "use sk-abc1,x"},
        {"return (pcall(function() return att.body_head end))", "false"},
    };
    api_open(&api);
    api.instance.inline_code = false;
    API_CHECK(&api, on_request, rows);
    api.instance.grants = grants;
    API_CHECK(&api, on_request, granted);
    api_close(&api);
}

TEST(respond_and_deny_become_outcomes)
{
    static const struct api_row wrong[] = {
        {"return req:respond {}", "error: req:respond needs either text or body"},
        {"return req:respond { text = 'a', body = {} }", "error: req:respond needs either text or body"},
        {"return req:respond { body = '{' }",
         "error: req:respond: body is not JSON: at byte 1: expected a key or '}'"},
        {"return req:respond { text = 'a', status = 99 }",
         "error: req:respond: field 'status' must be a whole number from 200 to 599, got 99"},
        {"return req:deny { status = 200 }", "error: req:deny: status must be from 400 to 599, got 200"},
        {"return req:deny { reason = 'x' }",
         "error: req:deny: unknown field 'reason' (known: status, code, message)"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, wrong);

    api_run(&api, MG_LUA_PHASE_on_request, "return req:deny { status = 451, code = 'blocked', message = 'No.' }");
    CHECK(api.has_outcome && api.outcome.kind == MG_HOOK_DENY && api.outcome.status == 451);
    CHECK_VIEW(api.outcome.code, MG_VIEW("blocked"));
    CHECK_VIEW(api.outcome.message, MG_VIEW("No."));

    api_run(&api, MG_LUA_PHASE_on_request, "return req:deny()");
    CHECK(api.has_outcome && api.outcome.status == 403);
    CHECK_VIEW(api.outcome.code, MG_VIEW("denied"));

    api_run(&api, MG_LUA_PHASE_on_request, "return req:respond { body = { id = 'x', list = moongate.json.array() } }");
    CHECK(api.has_outcome && api.outcome.kind == MG_HOOK_RESPOND && api.outcome.status == 200);
    CHECK_VIEW(api.outcome.body, MG_VIEW("{\"id\":\"x\",\"list\":[]}"));

    api_run(&api, MG_LUA_PHASE_on_request, "return req:respond { text = 'cached' }");
    CHECK_VIEW(api.outcome.text, MG_VIEW("cached"));
    api_close(&api);
}

TEST(candidates_and_attempts_show_their_facts)
{
    static const struct api_row rows[] = {
        {"local c = candidates[1] return #candidates, c.id, c.provider, c.model, c.arm, c.weight, c.region",
         "2,openai/gpt-5,openai,gpt-5,a,1,eu"},
        {"local c = candidates['local/qwen'] return c.weight, c.inflight, c.region, c.context_window, c.max_output",
         "0.5,1,nil,nil,nil"},
        {"local c = candidates[1] return c.context_window, c.max_output, c.ewma_ms, c.err_rate, c.state, c.p50_ms, "
         "c.rate_limit_remaining", "400000,128000,120,0.25,closed,0,nil"},
        {"return candidates.nobody, candidates[3]", "nil,nil"},
        {"local ids = {} for i, c in ipairs(candidates) do ids[i] = c.id end return table.concat(ids, ' ')",
         "openai/gpt-5 local/qwen"},
        {"return att.target, att.provider, att.model, att.arm, att.n, att.try, att.tries, att.reason, att.phase",
         "openai/gpt-5,openai,gpt-5,a,2,1,2,fallback,headers"},
        {"return att.status, att.error.type, att.error.code, att.error.message, att.hint, att.timeout, att.transport",
         "429,requests,nil,slow down,rate_limited,nil,nil"},
        {"return att.retry_after_ms, att.elapsed_ms, att.bytes_to_client, att.in_stream, att.body_head, "
         "att.headers['retry-after'], att.workflow", "7000,34,0,false,{\"error\":1},7,chat"},
    };
    api_open(&api);
    API_CHECK(&api, classify, rows);
    api_close(&api);
}

TEST(an_answer_can_be_replaced_denied_or_retried_until_it_is_sent)
{
    static const struct api_row facts[] = {
        {"return res.id, res.status, res.target, res.finish, res.attempts, res.streamed, res.sent, res.bytes",
         "req_test,200,openai/gpt-5,stop,2,false,false,14"},
        {"return res:text(), #res:json().choices, res.usage.output_tokens, res.usage.estimated", "Hello.,0,2,false"},
        {"return res:replace {}", "error: res:replace needs either text or body"},
        {"return res:retry {}", "error: res:retry: field 'reason' must say why"},
    };
    static const struct api_row sent[] = {
        {"local v, e = res:replace { text = 'x' } return v, e.code", "nil,sent"},
        {"local v, e = res:deny() return v, e.code", "nil,sent"},
        {"local v, e = res:retry { reason = 'x' } return v, e.code", "nil,sent"},
        {"return res:text()", "Hello."},
    };
    api_open(&api);
    API_CHECK(&api, on_response, facts);

    api_run(&api, MG_LUA_PHASE_on_response, "return res:replace { text = '' }");
    CHECK(api.has_outcome && api.outcome.kind == MG_HOOK_REPLACE);
    api_run(&api, MG_LUA_PHASE_on_response, "return res:retry { reason = 'not JSON' }");
    CHECK(api.has_outcome && api.outcome.kind == MG_HOOK_RETRY);
    CHECK_VIEW(api.outcome.message, MG_VIEW("not JSON"));
    api_run(&api, MG_LUA_PHASE_on_response, "return res:deny { status = 422 }");
    CHECK(api.has_outcome && api.outcome.kind == MG_HOOK_DENY && api.outcome.status == 422);

    api.response.sent = true;
    API_CHECK(&api, on_response, sent);
    api_close(&api);
}

TEST(a_record_can_be_rewritten_before_it_is_kept)
{
    static const struct api_row rows[] = {
        {"return rec.id, rec.status, rec.class, rec.metadata.team, #rec.attempts, rec.attempts[1].target",
         "req_test,200,none,blue,1,openai/gpt-5"},
        {"rec.metadata = { team = 'x' } return rec.metadata.team", "x"},
        {"rec.explain = 'y' rec.notes = '1 log z\\n' return rec.explain, rec.notes", "y,1 log z\n"},
        {"rec.metadata = nil rec.explain = nil rec.notes = nil return next(rec.metadata), rec.explain, rec.notes", "nil,nil,"},
        {"rec.metadata = { 1 }", "error: snippet:1: rec.metadata must be an object, got a list"},
        {"rec.metadata = { x = ('y'):rep(3000) }", "error: snippet:1: rec.metadata: it is too large"},
        {"rec.notes = ('y'):rep(3000)", "error: snippet:1: rec.notes: at most 2048 bytes"},
        {"rec.status = 1", "error: snippet:1: rec.status is read-only"},
    };
    api_open(&api);
    API_CHECK(&api, on_log, rows);
    api_close(&api);
}

TEST(a_view_dies_with_its_run)
{
    static const struct api_row keep[] = {
        {"keep.req, keep.messages, keep.message = req, req.messages, req.messages[1] keep.candidate = candidates[1]", ""},
    };
    static const struct api_row later[] = {
        {"return keep.req.id", "error: snippet:1: request is finished"},
        {"return #keep.messages", "error: snippet:1: request is finished"},
        {"return keep.message:text()", "error: snippet:1: request is finished"},
        {"return keep.candidate.id", "error: snippet:1: request is finished"},
        {"keep.req.x = 1", "error: snippet:1: request is finished"},
        {"for _ in ipairs(keep.messages) do end", "error: snippet:1: request is finished"},
        {"return tostring(keep.req), req.id", "moongate.Request,req_test"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, keep);
    API_CHECK(&api, on_request, later);
    API_CHECK(&api, route, later);
    api_close(&api);
}

TEST(edits_of_one_exchange_are_bounded)
{
    static const struct api_row rows[] = {
        {"local s = ('x'):rep(1000000) local ok, e for _ = 1, 200 do ok, e = pcall(req.messages.set, req.messages, 1, s) "
         "if not ok then break end end return ok, e", "false,this exchange holds too many edits (64 MB)"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

MG_TEST_MAIN()
