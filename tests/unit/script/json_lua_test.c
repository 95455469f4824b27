#include "script/json_lua.h"

#include "api.h"
#include "check.h"

static struct api api;

TEST(encodes_numbers_lists_and_objects_the_same_every_time)
{
    static const struct api_row rows[] = {
        {"return moongate.json.encode(5)", "5"},
        {"return moongate.json.encode(-0.5)", "-0.5"},
        {"return moongate.json.encode(0.1)", "0.1"},
        {"return moongate.json.encode(9007199254740991)", "9007199254740991"},
        {"return moongate.json.encode(1e300)", "1e+300"},
        {"return moongate.json.encode(1/3)", "0.3333333333333333"},
        {"return moongate.json.encode 'a\"b\\n'", "\"a\\\"b\\n\""},
        {"return moongate.json.encode(true)", "true"},
        {"return moongate.json.encode(moongate.json.null)", "null"},
        {"return moongate.json.encode {}", "{}"},
        {"return moongate.json.encode(moongate.json.array())", "[]"},
        {"return moongate.json.encode { 1, 2, { 3 } }", "[1,2,[3]]"},
        {"return moongate.json.encode { b = 1, a = { d = 2, c = moongate.json.array {} }, aa = 3 }",
         "{\"a\":{\"c\":[],\"d\":2},\"aa\":3,\"b\":1}"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(refuses_what_json_cannot_hold)
{
    static const struct api_row rows[] = {
        {"moongate.json.encode(print)",
         "error: snippet:1: moongate.json.encode: a value JSON has no word for (a function, userdata or nil)"},
        {"moongate.json.encode { 1, 2, x = 3 }",
         "error: snippet:1: moongate.json.encode: a table that is neither a list nor an object"},
        {"moongate.json.encode { [1] = 1, [3] = 3 }", "error: snippet:1: moongate.json.encode: a list with holes"},
        {"moongate.json.encode { 0/0 }", "error: snippet:1: moongate.json.encode: a number that is not finite"},
        {"moongate.json.encode { 1/0 }", "error: snippet:1: moongate.json.encode: a number that is not finite"},
        {"moongate.json.encode { [true] = 1 }",
         "error: snippet:1: moongate.json.encode: a table that is neither a list nor an object"},
        {"local t = {} t.t = t moongate.json.encode(t)",
         "error: snippet:1: moongate.json.encode: a table nested too deeply, or in itself"},
        {"moongate.json.encode()", "error: snippet:1: moongate.json.encode: value must be given, got nil"},
        {"return moongate.json.encode(setmetatable({ a = 1 }, { __index = error, __pairs = error }))", "{\"a\":1}"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(decodes_into_the_same_types_again)
{
    static const struct api_row rows[] = {
        {"local t = moongate.json.decode '{\"a\":[],\"b\":{},\"c\":null,\"d\":1.0,\"e\":\"\\\\u00e9\"}' "
         "return moongate.json.encode(t)", "{\"a\":[],\"b\":{},\"c\":null,\"d\":1,\"e\":\"\xc3\xa9\"}"},
        {"local t = moongate.json.decode ' [ 1 , [ ] , \"x\" ] ' table.remove(t) table.remove(t) table.remove(t) "
         "return moongate.json.encode(t)", "[]"},
        {"return moongate.json.decode 'null' == moongate.json.null", "true"},
        {"return moongate.json.is_array(moongate.json.decode '[]'), moongate.json.is_array(moongate.json.decode '{}')",
         "true,false"},
        {"return moongate.json.is_array { 1 }, moongate.json.is_array {}, moongate.json.is_array 'x'", "true,false,false"},
        {"return moongate.json.decode '-1.5e2'", "-150"},
        {"return moongate.json.decode 'true'", "true"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(a_document_that_is_none_is_a_recoverable_failure_that_names_the_byte)
{
    static const struct api_row rows[] = {
        {"local v, e = moongate.json.decode '[1,]' return v, e.code, e.retryable, e.message:match 'at byte %d+'",
         "nil,invalid_json,false,at byte 3"},
        {"local _, e = moongate.json.decode '{\"a\":1,\"a\":2}' return e.code", "invalid_json"},
        {"local _, e = moongate.json.decode('[[[1]]]', { max_depth = 2 }) return e.code", "too_deep"},
        {"return type(moongate.json.decode('[[1]]', { max_depth = 2 }))", "table"},
        {"return type(moongate.json.decode('[\"[[[\"]', { max_depth = 1 }))", "table"},
        {"local _, e = moongate.json.decode('[1,2,3]', { max_bytes = 3 }) return e.code", "too_large"},
        {"moongate.json.decode(5)", "error: snippet:1: moongate.json.decode: text must be a string, got number"},
        {"moongate.json.decode('1', { depth = 1 })",
         "error: snippet:1: moongate.json.decode: unknown field 'depth' (known: max_depth, max_bytes)"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(patches_without_touching_other_bytes)
{
    static const struct api_row rows[] = {
        {"return moongate.json.patch('{ \"model\" : \"a\",  \"n\":1 }', { model = 'b' })", "{ \"model\" : \"b\",  \"n\":1 }"},
        {"return moongate.json.patch('{\"n\":1}', { x = { 1 }, ['y'] = true })", "{\"n\":1,\"x\":[1],\"y\":true}"},
        {"return moongate.json.patch('{}', { x = 1 })", "{\"x\":1}"},
        {"return moongate.json.patch('{\"a\":{\"b\":1}}', { ['a.c'] = 2, ['a.b'] = 3 })", "{\"a\":{\"b\":3,\"c\":2}}"},
        {"return moongate.json.patch('{\"a\":1,\"b\":2,\"c\":3}', {}, { 'a', 'b', 'nothing' })", "{\"c\":3}"},
        {"return moongate.json.patch('{\"a\":1}', { b = 2 }, { 'a' })", "{\"b\":2}"},
        {"return moongate.json.patch('{\"m\":[{\"x\":1},{},{\"x\":2}]}', { ['m[*].x'] = 0 })",
         "{\"m\":[{\"x\":0},{\"x\":0},{\"x\":0}]}"},
        {"return moongate.json.patch('{\"m\":[{\"x\":1,\"y\":2}]}', {}, { 'm[*].x' })", "{\"m\":[{\"y\":2}]}"},
        {"local v, e = moongate.json.patch('{\"a\":1}', { ['b.c'] = 2 }) return v, e.code", "nil,not_found"},
        {"local v, e = moongate.json.patch('{\"a\":1}', { ['a.c'] = 2 }) return v, e.code", "nil,not_found"},
        {"local v, e = moongate.json.patch('{', { a = 2 }) return v, e.code", "nil,invalid_json"},
        {"moongate.json.patch('{}', { a = 1, ['a.b'] = 2 })",
         "error: snippet:1: moongate.json.patch: 'a.b' is no path, or is given twice"},
        {"moongate.json.patch('{}', { ['a['] = 1 })",
         "error: snippet:1: moongate.json.patch: 'a[' is no path, or is given twice"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(large_documents_go_there_and_back)
{
    static const struct api_row rows[] = {
        {"local t = {} for i = 1, 20000 do t[i] = { id = i, name = 'n' .. i } end "
         "local text = moongate.json.encode(t) local back = assert(moongate.json.decode(text)) "
         "return #back, back[20000].name, moongate.json.encode(back) == text", "20000,n20000,true"},
        {"local t = {} for i = 1, 127 do t = { t } end return moongate.json.encode(t) ~= nil", "true"},
        {"local s = ('['):rep(128) .. (']'):rep(128) return moongate.json.encode(moongate.json.decode(s)) == s", "true"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    api_close(&api);
}

TEST(buffers_of_failed_calls_do_not_pile_up)
{
    static const struct api_row rows[] = {
        {"local big = ('x'):rep(1000000) local log = { big, big, print } for _ = 1, 12 do pcall(moongate.json.encode, log) "
         "pcall(moongate.log.info, 'x', log) pcall(moongate.json.patch, '{}', { a = big, b = print }) end", ""},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    CHECK(api.lua.scratches <= 8);
    api_close(&api);
}

MG_TEST_MAIN()
