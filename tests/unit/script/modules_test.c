/* The small modules: log, time, crypto, stats. */
#include "script/modules.h"

#include "api.h"
#include "base/clock.h"
#include "base/log.h"
#include "check.h"
#include "relay/stats.h"

static struct api api;

TEST(time_is_read_written_and_waited_for)
{
    static const struct api_row rows[] = {
        {"return moongate.time.format(0), moongate.time.format(1500), moongate.time.parse '2026-11-24T08:00:00Z'",
         "1970-01-01T00:00:00Z,1970-01-01T00:00:01.500Z,1795507200000"},
        {"local v, e = moongate.time.parse 'soon' return v, e.code", "nil,invalid_time"},
        {"return moongate.time.format(moongate.time.cron_next('30 2 * * *', 0))", "1970-01-01T02:30:00Z"},
        {"local v, e = moongate.time.cron_next('0 0 31 2 *', 0) return v, e.code", "nil,never"},
        {"moongate.time.cron_next 'often'", "error: snippet:1: moongate.time.cron_next: 'often' is no cron expression"},
        {"return moongate.time.cron_next '* * * * *' > moongate.time.now_ms()", "true"},
        {"return moongate.time.now_ms() > 1.7e12, moongate.time.mono_ms() > 0", "true,true"},
        {"moongate.time.format(1e17)",
         "error: snippet:1: moongate.time.format: ms must be within the years 0 to 9999"},
        {"local from = moongate.time.mono_ms() moongate.time.sleep(20) return moongate.time.mono_ms() - from >= 19", "true"},
        {"moongate.time.sleep(-1)",
         "error: snippet:1: moongate.time.sleep: ms must be a whole number from 0 to 60000, got -1"},
        {"return pcall(moongate.time.sleep, 1)", "true"},
        {"local co = coroutine.wrap(function() moongate.time.sleep(1) return 'woke' end) return co()", "woke"},
        {"('x'):gsub('x', function() moongate.time.sleep(1) end)",
         "error: snippet:1: cannot wait inside a callback of gsub, sort or format"},
    };
    static const struct api_row elsewhere[] = {
        {"moongate.time.sleep(1)", "error: snippet:1: sleep waits, and route may not wait"},
        {"return moongate.time.now_ms() > 0", "true"},
    };
    static const struct api_row load[] = {
        {"moongate.time.now_ms()", "error: snippet:1: now_ms cannot be called in load"},
        {"return moongate.time.format(0)", "1970-01-01T00:00:00Z"},
    };
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    API_CHECK(&api, route, elsewhere);
    API_CHECK(&api, load, load);
    api_close(&api);
}

TEST(crypto_speaks_in_bytes_and_encodings)
{
    static const struct api_row rows[] = {
        {"local c = moongate.crypto return c.hex(c.sha256 'abc')",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"local c = moongate.crypto return c.hex(c.hmac('sha256', 'Jefe', 'what do ya want for nothing?')):sub(1, 8)",
         "5bdcc146"},
        {"moongate.crypto.hmac('md5', 'k', 'd')",
         "error: snippet:1: moongate.crypto.hmac: algorithm must be sha256, sha384 or sha512"},
        {"local c = moongate.crypto return c.base64 'f', c.base64('f', { url = true }), c.unbase64 'Zg=='", "Zg==,Zg,f"},
        {"local v, e = moongate.crypto.unbase64 'Z' return v, e.code", "nil,invalid"},
        {"local v, e = moongate.crypto.unhex '0' return v, e.code", "nil,invalid"},
        {"return moongate.crypto.unhex '6162', moongate.crypto.equal('a', 'a'), moongate.crypto.equal('a', 'ab')",
         "ab,true,false"},
        {"return #moongate.crypto.random(16), #moongate.crypto.uuid(), moongate.crypto.uuid() == moongate.crypto.uuid()",
         "16,36,false"},
        {"return moongate.crypto.ed25519_verify(('k'):rep(32), 'm', ('s'):rep(64))", "false"},
        {"moongate.crypto.random(0)",
         "error: snippet:1: moongate.crypto.random: n must be a whole number from 1 to 1024, got 0"},
    };
    static const struct api_row load[] = {{"moongate.crypto.uuid()", "error: snippet:1: uuid cannot be called in load"}};
    api_open(&api);
    API_CHECK(&api, on_request, rows);
    API_CHECK(&api, load, load);
    api_close(&api);
}

TEST(stats_know_a_target_from_the_relay)
{
    static const struct api_row rows[] = {
        {"local s = moongate.stats.target 'openai/gpt-5' return s.ewma_ms, s.inflight, s.calls, s.failures, "
         "s.rate_limit_remaining", "250,1,1,0,9"},
        {"local s = moongate.stats.target 'nobody' return s.ewma_ms, s.err_rate, s.rate_limit_remaining", "0,0,nil"},
    };
    struct mg_stats *stats = mg_stats_find(MG_VIEW("test"), MG_VIEW("openai/gpt-5"));
    mg_stats_start(stats);
    mg_stats_start(stats);
    mg_stats_end(stats, 250000, false);
    mg_stats_rate_limit(stats, 9);
    api_open(&api);
    API_CHECK(&api, route, rows);
    api_close(&api);
}

TEST(log_lines_reach_the_timeline_until_there_are_too_many)
{
    static const struct api_row rows[] = {
        {"moongate.log.info('redacted', { hits = 2, kind = 'key' })", ""},
        {"moongate.log.debug 'not in the timeline'", ""},
        {"print('a', 1, nil)", ""},
        {"moongate.log.warn(5)", "error: snippet:1: moongate.log.warn: message must be a string, got number"},
        {"moongate.log.warn('x', { f = print })",
         "error: snippet:1: moongate.log.warn: message: the fields hold a value JSON has no word for (a function, "
         "userdata or nil)"},
        {"for i = 1, 200 do moongate.log.info('n' .. i) end", ""},
    };
    mg_log_level(MG_LOG_OFF);
    mg_clock_fake(5000000);
    api_open(&api);
    API_CHECK(&api, route, rows);
    mg_clock_fake(0);
    mg_log_level(MG_LOG_INFO);

    mg_view note = mg_view_of(api.timeline.note, api.timeline.note_bytes);
    CHECK(mg_view_search(note, MG_VIEW("log unit: redacted {\"hits\":2,\"kind\":\"key\"}")) < note.len);
    CHECK(mg_view_search(note, MG_VIEW("not in the timeline")) == note.len);
    CHECK(mg_view_search(note, MG_VIEW("log unit: a 1 nil")) < note.len);
    CHECK(mg_view_search(note, MG_VIEW("n40")) < note.len);
    CHECK(mg_view_search(note, MG_VIEW("n60")) == note.len);
    CHECK_INT(api.instance.log_lines, 203);
    api_close(&api);
}

MG_TEST_MAIN()
