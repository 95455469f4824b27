#include "script/pattern_lua.h"

#include "api.h"
#include "check.h"

static struct api api;

TEST(patterns_are_compiled_while_a_generation_is_built_and_used_in_hooks)
{
    static const struct api_row build[] = {
        {"keep.re = moongate.re.compile 'sk-[a-z0-9]+'", ""},
        {"keep.any = moongate.re.compile('HELLO', { caseless = true })", ""},
        {"local ok, e = pcall(moongate.re.compile, '[') return ok, e:match 'moongate.re.compile: pattern 1: '",
         "false,moongate.re.compile: pattern 1: "},
        {"local ok, e = pcall(moongate.re.compile, 'a*') return ok, e:match 'pattern 1'", "false,pattern 1"},
        {"moongate.re.compile ''", "error: snippet:1: moongate.re.compile: pattern 1: it is empty"},
    };
    static const struct api_row hook[] = {
        {"return keep.re:find 'use sk-abc1'", "5,11"},
        {"return keep.re:find('sk-a sk-b', 2)", "6,9"},
        {"return keep.re:find('sk-a sk-b', -4)", "6,9"},
        {"return keep.re:find 'nothing'", ""},
        {"return keep.re:match 'x sk-abc1.'", "sk-abc1"},
        {"return table.concat(keep.re:matches 'sk-a, sk-b', ' ')", "sk-a sk-b"},
        {"return keep.re:test 'sk-a', keep.re:test 'sk'", "true,false"},
        {"return keep.re:gsub('sk-a sk-b', '%1')", "%1 %1,2"},
        {"return keep.re:gsub('sk-a sk-b', 'x', 1)", "x sk-b,1"},
        {"return keep.re:gsub('sk-a sk-b', { ['sk-a'] = 'A' })", "A sk-b,2"},
        {"return keep.re:gsub('sk-a sk-b', function(m) if m == 'sk-b' then return '<' .. m .. '>' end end)", "sk-a <sk-b>,2"},
        {"return keep.any:match 'say hello'", "hello"},
        {"return keep.re:max_length(), keep.any:max_length()", "nil,5"},
        {"moongate.re.compile 'a'", "error: snippet:1: compile cannot be called in on_request"},
        {"keep.re.find('x', 'y')", "error: snippet:1: regex:find: call it with ':' on a moongate.Regex"},
        {"keep.re:find(5)", "error: snippet:1: regex:find: text must be a string, got number"},
        {"keep.re:gsub('sk-a', function() return {} end)",
         "error: snippet:1: regex:gsub: the replacement must be a string, nil or false, got table"},
        {"keep.re:gsub('sk-a', function() moongate.time.sleep(1) end)",
         "error: snippet:1: cannot wait inside a callback of gsub, sort or format"},
        {"local v, e = keep.re:find(('x'):rep(1048577)) return v, e.code", "nil,too_large"},
    };
    api_open(&api);
    API_CHECK(&api, new, build);
    API_CHECK(&api, on_request, hook);
    api_close(&api);
}

TEST(redactors_mask_every_match_with_the_mask_of_its_pattern)
{
    static const struct api_row build[] = {
        {"keep.plain = moongate.text.redactor { patterns = { 'sk-[a-z0-9]+', '[0-9]{4}' }, mask = '***' }", ""},
        {"keep.named = moongate.text.redactor { patterns = { email = '[a-z]+@[a-z.]+[a-z]', key = 'sk-[a-z0-9]+' } }", ""},
        {"keep.masks = moongate.text.redactor { patterns = { email = '[a-z]+@[a-z.]+[a-z]', key = 'sk-[a-z0-9]+' }, "
         "mask = { email = '<mail>' } }", ""},
        {"keep.words = moongate.text.redactor { words = { 'Alice', 'B.O.B' }, caseless = true }", ""},
        {"moongate.text.redactor {}", "error: snippet:1: moongate.text.redactor: a set has from 1 to 10000 patterns and words"},
        {"moongate.text.redactor { pattern = 'x' }",
         "error: snippet:1: moongate.text.redactor: unknown field 'pattern' (known: patterns, words, mask, caseless)"},
        {"local ok, e = pcall(moongate.text.redactor, { patterns = { 'a', '[' } }) return ok, e:match 'redactor: pattern 2: '",
         "false,redactor: pattern 2: "},
        {"moongate.text.redactor { patterns = { 5 } }",
         "error: snippet:1: moongate.text.redactor: a pattern must be a string, got number"},
    };
    static const struct api_row hook[] = {
        {"return keep.plain:redact 'key sk-a1 pin 1234 end'", "key *** pin *** end,2"},
        {"return keep.plain:redact 'sk-1234'", "***,1"},
        {"return keep.plain:redact 'nothing here'", "nothing here,0"},
        {"return keep.plain:redact ''", ",0"},
        {"return keep.named:redact 'bob@example.com has sk-1'", "[email] has [key],2"},
        {"return keep.masks:redact 'bob@example.com has sk-1'", "<mail> has [key],2"},
        {"return keep.words:redact 'ALICE and b.o.b and malice'", "[redacted] and [redacted] and malice,2"},
        {"return keep.words:max_length(), keep.plain:max_length()", "5,nil"},
        {"keep.plain:redact(nil)", "error: snippet:1: redactor:redact: text must be a string, got nil"},
    };
    api_open(&api);
    API_CHECK(&api, load, build);
    API_CHECK(&api, on_chunk, hook);
    api_close(&api);
}

TEST(a_stream_is_hidden_as_the_whole_would_be_wherever_it_is_cut)
{
    static const struct api_row build[] = {
        {"keep.r = moongate.text.redactor { patterns = { key = 'sk-[a-z0-9]{2,}', mail = '[a-z]+@[a-z.]+[a-z]', pin = "
         "'\\\\b[0-9]{4}\\\\b' }, words = { 'cat', 'Project X' }, caseless = true }", ""},
        /* What a filter does: hold what it is told, send the rest. */
        {"keep.feed = function(pieces) local held, sent = '', '' for i, piece in ipairs(pieces) do "
         "local text, _, hold = keep.r:redact(held .. piece, { more = i < #pieces }) "
         "local n = moongate.text.utf8.len(text) - (hold or 0) "
         "sent, held = sent .. moongate.text.utf8.sub(text, 1, n), n == 0 and text or moongate.text.utf8.sub(text, n + 1) end "
         "return sent .. held end", ""},
        {"keep.s = 'a cat, category; project x. sk-ab1 \\195\\169 1234 12345 bob@ex.co sk-s sk-zz'", ""},
    };
    static const struct api_row hook[] = {
        {"return keep.r:redact(keep.s)", "a [redacted], category; [redacted]. [key] \xc3\xa9 [pin] 12345 [mail] sk-s [key],6"},
        {"local want = keep.r:redact(keep.s) local n = moongate.text.utf8.len(keep.s) local sub = moongate.text.utf8.sub "
         "for i = 0, n do for j = i, n do local got = keep.feed { sub(keep.s, 1, i), sub(keep.s, i + 1, j), sub(keep.s, j + 1) } "
         "if got ~= want then return i, j, got end end end "
         "local pieces = {} for i = 1, n do pieces[i] = sub(keep.s, i, i) end return keep.feed(pieces) == want", "true"},
        {"return keep.r:redact('the ca', { more = true })", "the ca,0,2"},
        {"return keep.r:redact('the dog', { more = true })", "the dog,0,3"},
        {"return keep.r:redact('the cat ', { more = true })", "the [redacted] ,1,0"},
        {"keep.r:redact('x', { final = true })", "error: snippet:1: redactor:redact: unknown field 'final' (known: more)"},
    };
    api_open(&api);
    API_CHECK(&api, new, build);
    API_CHECK(&api, route, hook);
    api_close(&api);
}

TEST(matchers_find_whole_words)
{
    static const struct api_row build[] = {
        {"keep.m = moongate.text.matcher { 'bomb', 'how to hack' }", ""},
        {"keep.exact = moongate.text.matcher({ 'Bomb' }, { caseless = false })", ""},
    };
    static const struct api_row hook[] = {
        {"return keep.m:find 'a BOMB here'", "bomb,3,6"},
        {"return keep.m:find 'bombastic'", ""},
        {"return keep.m:test 'How To Hack this', keep.m:count 'bomb bomb', keep.exact:test 'bomb'", "true,2,false"},
    };
    api_open(&api);
    API_CHECK(&api, new, build);
    API_CHECK(&api, on_request, hook);
    api_close(&api);
}

TEST(text_is_counted_and_cut_by_characters)
{
    static const struct api_row rows[] = {
        {"return moongate.text.count_tokens('gpt-5', 'eight by')", "2"},
        {"return moongate.text.truncate('h\xc3\xa9llo', 2)", "h"},
        {"return moongate.text.utf8.len 'h\xc3\xa9', moongate.text.utf8.sub('h\xc3\xa9llo', 2, 3)", "2,\xc3\xa9l"},
        {"return moongate.text.utf8.valid 'ok', moongate.text.utf8.valid 'a\\255'", "true,false,2"},
        {"return moongate.text.utf8_len, require 'moongate.text' == moongate.text", "nil,true"},
    };
    api_open(&api);
    API_CHECK(&api, route, rows);
    api_close(&api);
}

TEST(no_plugin_can_change_the_library_of_another)
{
    static const struct api_row rows[] = {
        {"moongate.text.utf8.len, moongate.json.encode = nil, nil", ""},
        {"return moongate.text.utf8.len 'ab', moongate.json.encode(1)", "2,1"},
    };
    api_open(&api);
    API_CHECK(&api, route, rows);
    api_close(&api);
}

MG_TEST_MAIN()
