#include "script/modules.h"

#include "api.h"
#include "base/clock.h"
#include "check.h"

static struct api api;

TEST(keeps_values_from_one_request_to_the_next)
{
    static const struct api_row rows[] = {
        {"return moongate.kv.get 'a'", "nil"},
        {"return moongate.kv.set('a', 'text'), moongate.kv.set('b', 1.5), moongate.kv.set('c', false)", "true,true,true"},
        {"return moongate.kv.get 'a', moongate.kv.get 'b', moongate.kv.get 'c'", "text,1.5,false"},
        {"return moongate.kv.set('a', 'other', { nx = true }), moongate.kv.get 'a'", "false,text"},
        {"return moongate.kv.incr 'n', moongate.kv.incr('n', 2), moongate.kv.incr('m', 1, { init = 10 })", "1,3,11"},
        {"return moongate.kv.cas('a', 'wrong', 'x'), moongate.kv.cas('a', 'text', 'new'), moongate.kv.get 'a'",
         "false,true,new"},
        {"return moongate.kv.del 'a', moongate.kv.del 'a'", "true,false"},
        {"return table.concat(moongate.kv.scan '', ' '), #moongate.kv.scan('', 1)", "b c m n,1"},
        {"moongate.kv.set('b', nil) return moongate.kv.get 'b'", "nil"},
    };
    api_open(&api);
    api.instance.name = "kv1";
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(shared_names_belong_to_the_project_and_others_to_the_instance)
{
    static const struct api_row write[] = {
        {"moongate.kv.set('shared:x', 1) moongate.kv.set('x', 2)", ""},
        {"return moongate.kv.scan('shared:')[1]", "shared:x"},
    };
    static const struct api_row read[] = {{"return moongate.kv.get 'shared:x', moongate.kv.get 'x'", "1,nil"}};
    api_open(&api);
    api.instance.name = "kv2";
    API_CHECK(&api, on_request, write);
    api.instance = (struct mg_instance){.name = "kv3", .project = "test", .inline_code = true};
    API_CHECK(&api, on_request, read);
    api_close(&api);
}

TEST(failures_are_values_and_mistakes_raise)
{
    static const struct api_row rows[] = {
        {"local v, e = moongate.kv.set('k', ('x'):rep(65537)) return v, e.code, e.retryable", "nil,too_large,false"},
        {"moongate.kv.set('s', 'x') local v, e = moongate.kv.incr 's' return v, e.code", "nil,not_a_number"},
        {"for i = 1, 16 do local ok, e = moongate.kv.set('big' .. i, ('x'):rep(65536)) if not ok then return i, e.code end end",
         "16,quota"},
        {"moongate.kv.get(5)", "error: snippet:1: moongate.kv.get: key must be a string, got number"},
        {"moongate.kv.get ''", "error: snippet:1: moongate.kv.get: key must have from 1 to 256 bytes and no NUL"},
        {"moongate.kv.set 'k'", "error: snippet:1: moongate.kv.set: value must be given (nil deletes), got nil"},
        {"moongate.kv.set('k', {})",
         "error: snippet:1: moongate.kv.set: value must be a string, a number, true, false or nil, got table"},
        {"moongate.kv.set('k', 1, { ttl = 5 })",
         "error: snippet:1: moongate.kv.set: unknown field 'ttl' (known: ttl_ms, nx)"},
        {"moongate.kv.set('k', 1, { ttl_ms = -5 })",
         "error: snippet:1: moongate.kv.set: field 'ttl_ms' must be a whole number from 1 to 9.007199254741e+15, got -5"},
        {"moongate.kv.scan('', 5000)",
         "error: snippet:1: moongate.kv.scan: limit must be a whole number from 1 to 1000, got 5000"},
    };
    api_open(&api);
    api.instance.name = "kv4";
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(it_needs_the_permission)
{
    static const struct api_row rows[] = {
        {"moongate.kv.get 'a'",
         "error: snippet:1: get needs the permission kv: add grant = { \"kv\" } to unit"},
    };
    static const char *const grants[] = {"kv", NULL};
    static const struct api_row granted[] = {{"return moongate.kv.get 'nothing'", "nil"}};
    api_open(&api);
    api.instance.inline_code = false;
    API_CHECK(&api, on_request, rows);
    api.instance.grants = grants;
    API_CHECK(&api, on_request, granted);
    api_close(&api);
}

MG_TEST_MAIN()
