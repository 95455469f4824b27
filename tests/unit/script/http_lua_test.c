#include "script/fetch.h"

#include <unistd.h>

#include "api.h"
#include "base/fault.h"
#include "base/mem.h"
#include "check.h"
#include "http/headers.h"
#include "http/service.h"

/* A plugin, and a server on the same loop. $P in a snippet is the server's port. */
static struct api api;
static struct mg_service service;
static bool stopped;
static int calls, gone;
static char grant[64], proxy[64], seen_auth[128];
static const char *grants[] = {"net:http://local.example", "net:http://*.pattern.example", "net:http://nowhere.example",
                               "net:http://mixed.example", grant, NULL};

static void on_gone(struct mg_service_call *call)
{
    gone++;
}

static void echo(struct mg_service_call *call)
{
    char text[512];
    mg_view team = mg_headers_get(call->request->headers, MG_VIEW("x-team"));
    mg_view auth = mg_headers_get(call->request->headers, MG_VIEW("authorization"));
    snprintf(seen_auth, sizeof seen_auth, "%.*s", MG_FMT(auth));
    mg_view type = mg_headers_get(call->request->headers, MG_VIEW("content-type"));
    snprintf(text, sizeof text, "%.*s %.*s team=%.*s auth=%.*s type=%.*s body=%.*s", MG_FMT(call->request->method_text),
             MG_FMT(call->request->target), MG_FMT(team), MG_FMT(auth), MG_FMT(type), MG_FMT(call->body));
    mg_service_answer(call, 200, MG_VIEW("X-Two: a\r\nX-Two: b\r\n"), mg_view_cstr(text));
}

static void serve(void *arg, struct mg_service_call *call)
{
    mg_view target = call->request->target;
    char line[128];
    static char big[5000];
    calls++;
    if (mg_view_starts(target, MG_VIEW("/to?"))) {
        snprintf(line, sizeof line, "Location: %.*s\r\n", MG_FMT(mg_view_skip(target, 4)));
        mg_service_answer(call, 302, mg_view_cstr(line), MG_VIEW("moved"));
    } else if (mg_view_eq(target, MG_VIEW("/loop"))) {
        mg_service_answer(call, 307, MG_VIEW("Location: /loop\r\n"), MG_VIEW_NONE);
    } else if (mg_view_eq(target, MG_VIEW("/hang"))) {
        call->on_gone = on_gone;
    } else if (mg_view_eq(target, MG_VIEW("/reset"))) {
        mg_service_reset(call);
    } else if (mg_view_eq(target, MG_VIEW("/cut"))) {
        mg_service_raw(call, MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
        mg_service_close(call);
    } else if (mg_view_eq(target, MG_VIEW("/noise"))) {
        mg_service_raw(call, MG_VIEW("this is no HTTP\r\n\r\n"));
        mg_service_close(call);
    } else if (mg_view_eq(target, MG_VIEW("/big"))) {
        memset(big, 'x', sizeof big);
        mg_service_answer(call, 200, MG_VIEW_NONE, mg_view_of(big, sizeof big));
    } else {
        echo(call);
    }
}

static void on_stopped(void *arg)
{
    stopped = true;
}

static void begin(void)
{
    static const char *const loopback[] = {"127.0.0.1"}, *const mixed[] = {"192.0.2.1", "224.0.0.1"};
    struct mg_service_options options = {.listen = {.host = "127.0.0.1"}, .body_bytes = 65536, .connections = 64, .fn = serve};
    static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"};
    for (size_t i = 0; i < MG_COUNT(proxies); i++)
        unsetenv(proxies[i]);
    calls = gone = 0;
    api_open(&api);
    CHECK_OK(mg_service_start(&service, &api.loop, &options, NULL));
    mg_resolve_override("local.example", loopback, 1);
    mg_resolve_override("a.pattern.example", loopback, 1);
    mg_resolve_override("mixed.example", mixed, 2);
    mg_resolve_override("nowhere.example", NULL, 0);
    snprintf(grant, sizeof grant, "net:http://127.0.0.1:%d", mg_listen_port(&service.listener));
    api.instance.grants = grants;
}

static void end(void)
{
    stopped = false;
    mg_service_stop(&service, on_stopped, NULL);
    while (!stopped)
        mg_loop_turn(&api.loop, 100);
    mg_resolve_override(NULL, NULL, 0);
    api_close(&api);
}

static void check_rows(const struct api_row *rows, size_t count)
{
    char code[1024];
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        for (const char *c = rows[i].code; *c && at < sizeof code - 8; c++) {
            if (c[0] == '$' && c[1] == 'P') {
                at += (size_t)snprintf(code + at, sizeof code - at, "%d", mg_listen_port(&service.listener));
                c++;
            } else {
                code[at++] = *c;
            }
        }
        code[at] = '\0';
        const char *got = api_run(&api, MG_LUA_PHASE_on_request, code);
        if (strcmp(got, rows[i].want) != 0)
            check_failed(__FILE__, __LINE__, "%s\n  gave %s\n  want %s", code, got, rows[i].want);
    }
}
#define CHECK_ROWS(rows) check_rows((rows), MG_COUNT(rows))

#define GET(path, more) "moongate.http.request { url = 'http://127.0.0.1:$P" path "'" more " }"
#define CODE(call) "local r, e = " call " return r, e and e.code, e and e.retryable"

TEST(sends_what_it_is_told_and_shows_the_answer)
{
    static const struct api_row rows[] = {
        {"local r = assert(" GET("/x?y=1", "") ") return r.status, r.body, r.headers['x-two']",
         "200,GET /x?y=1 team= auth= type= body=,a, b"},
        {"return " GET("", ", headers = { ['X-Team'] = 'blue', Authorization = 'Bearer t' }, method = 'PUT', body = 'b'") ".body",
         "PUT / team=blue auth=Bearer t type= body=b"},
        {"return " GET("?q", ", json = { b = 1, a = {} }") ".body", "POST /?q team= auth= type=application/json body={\"a\":{},\"b\":1}"},
        {"return " GET("/", ", json = 1, headers = { ['content-type'] = 'text/x' }") ".body",
         "POST / team= auth= type=text/x body=1"},
        {"return " GET("/", ", method = 'HEAD'") ".body", ""},
        {"local r = pcall(moongate.http.request, { url = 'http://127.0.0.1:$P/' }) return r", "true"},
    };
    begin();
    CHECK_ROWS(rows);
    end();
}

TEST(failures_are_values_with_a_code)
{
    static const struct api_row rows[] = {
        {CODE(GET("/hang", ", timeout_ms = 50")), "nil,timeout,true"},
        {CODE(GET("/reset", "")), "nil,closed,true"},
        {CODE(GET("/cut", "")), "nil,closed,true"},
        {CODE(GET("/noise", "")), "nil,protocol,false"},
        {CODE(GET("/big", ", max_bytes = 4999")), "nil,too_large,false"},
        {"return #" GET("/big", ", max_bytes = 5000") ".body", "5000"},
        {CODE("moongate.http.request { url = 'http://nowhere.example/' }"), "nil,resolve,true"},
        {CODE("moongate.http.request { url = 'file:///etc/passwd' }"), "nil,invalid_url,false"},
        {CODE(GET("/", ", headers = { Host = 'x' }")), "nil,invalid_header,false"},
        {CODE(GET("/", ", headers = { ['X-A'] = 'a\\r\\nX-B: b' }")), "nil,invalid_header,false"},
        {CODE(GET("/", ", headers = { ['Transfer-Encoding'] = 'chunked' }")), "nil,invalid_header,false"},
        {CODE(GET("/", ", method = 'GET / HTTP/1.1'")), "nil,invalid_header,false"},
    };
    begin();
    CHECK_ROWS(rows);
    CHECK_INT(gone, 1);
    end();
}

TEST(nothing_off_the_list_and_no_private_address_behind_a_pattern_is_reached)
{
    static const struct api_row rows[] = {
        {CODE("moongate.http.request { url = 'http://other.example/' }"), "nil,denied,false"},
        {CODE("moongate.http.request { url = 'http://127.0.0.1:1/' }"), "nil,denied,false"},
        {CODE("moongate.http.request { url = 'http://localhost:$P/' }"), "nil,denied,false"},
        {CODE("moongate.http.request { url = 'http://a.pattern.example/' }"), "nil,denied,false"},
        {CODE("moongate.http.request { url = 'http://mixed.example/' }"), "nil,denied,false"},
        {"local _, e = moongate.http.request { url = 'http://other.example/x' } return e.message",
         "http://other.example is not granted: add \"net:http://other.example\""},
    };
    static const struct api_row none[] = {
        {"moongate.http.request { url = 'http://127.0.0.1:$P/' }",
         "error: snippet:1: request needs the permission net: add grant = { \"net\" } to unit"},
    };
    begin();
    CHECK_ROWS(rows);
    api.instance.grants = NULL;
    CHECK_ROWS(none);
    CHECK_INT(calls, 0);
    end();
}

TEST(redirects_stay_on_the_list_and_leave_credentials_behind)
{
    static const struct api_row rows[] = {
        {"return " GET("/to?/next", ", headers = { Authorization = 'secret' }") ".body", "GET /next team= auth=secret type= body="},
        {"return " GET("/to?/next", ", body = 'b'") ".body", "GET /next team= auth= type= body="},
        {CODE(GET("/to?http://other.example/", "")), "nil,denied,false"},
        {CODE(GET("/to?http://127.0.0.1:1/", "")), "nil,denied,false"},
        {CODE(GET("/to?gopher://x/", "")), "nil,invalid_url,false"},
        {CODE(GET("/loop", "")), "nil,redirects,false"},
    };
    begin();
    CHECK_ROWS(rows);
    end();
}

TEST(credentials_do_not_follow_to_another_origin)
{
    begin();
    snprintf(proxy, sizeof proxy, "net:http://local.example:%d", mg_listen_port(&service.listener));
    grants[0] = proxy;
    static const struct api_row rows[] = {
        {"return " GET("/to?http://local.example:$P/there", ", headers = { Authorization = 'secret', ['x-team'] = 'blue' }") ".body",
         "GET /there team=blue auth= type= body="},
    };
    CHECK_ROWS(rows);
    grants[0] = "net:http://local.example";
    end();
}

/* ---- secrets */

static void put_in_vault(const char *name, const char *text)
{
    struct mg_sealed *sealed;
    struct mg_seal_place place = {mg_view_cstr(api.instance.project), mg_view_cstr(name), 1};
    CHECK_OK(mg_sealed_from(mg_seal_key_process(), &place, mg_view_cstr(text), &sealed));
    mg_secret_slot_set(mg_secret_slot_of(place.project, place.name), sealed);
}

TEST(a_secret_is_sent_where_it_may_go_and_lua_never_sees_it)
{
    static const struct api_row rows[] = {
        {"local s = moongate.secrets.ref 'dlp' return tostring(s), type(s), getmetatable ~= nil", "secret(dlp),userdata,true"},
        {"local s = moongate.secrets.bearer(moongate.secrets.ref 'dlp') return " GET("/x", ", headers = { Authorization = s }") ".body",
         "GET /x team= auth=Bearer *************** type= body="},
        {"local s = moongate.secrets.ref 'dlp' return #tostring(s), pcall(moongate.json.encode, { s })",
         "11,false,moongate.json.encode: a value JSON has no word for (a function, userdata or nil)"},
    };
    begin();
    char any[96];
    snprintf(any, sizeof any, "%s", grant);
    api.instance.grants = (const char *[]){any, "net:http://*.pattern.example", "secret:dlp", NULL};
    put_in_vault("dlp", "sk-dlp-12345678");
    CHECK_ROWS(rows);
    CHECK_STR(seen_auth, "Bearer sk-dlp-12345678");
    end();
}

TEST(a_secret_goes_to_no_origin_that_it_is_not_bound_to)
{
    static const struct api_row pattern[] = {
        {CODE(GET("/x", ", headers = { ['x-key'] = moongate.secrets.ref 'dlp' }")), "nil,denied,false"},
    };
    static const struct api_row bound[] = {
        {"local v, e = " GET("/x", ", headers = { Authorization = moongate.secrets.ref 'dlp' }") " return v, e.code, (e.message:gsub(':%d+$', ''))",
         "nil,denied,the secret dlp is not granted for http://127.0.0.1"},
    };
    static const struct api_row away[] = {
        {"return " GET("/to?http://local.example:$P/there", ", headers = { Authorization = moongate.secrets.ref 'dlp' }") ".body",
         "GET /there team= auth= type= body="},
        {"return " GET("/to?/here", ", headers = { Authorization = moongate.secrets.ref 'dlp' }") ".body",
         "GET /here team= auth=*************** type= body="},
    };
    begin();
    char here[96], there[96], elsewhere[] = "secret:dlp@https://dlp.example";
    snprintf(here, sizeof here, "%s", grant);
    snprintf(there, sizeof there, "net:http://local.example:%d", mg_listen_port(&service.listener));
    put_in_vault("dlp", "sk-dlp-12345678");
    api.instance.grants = (const char *[]){"net:http://127.*", "secret:dlp", NULL};
    CHECK_ROWS(pattern);
    api.instance.grants = (const char *[]){here, elsewhere, NULL};
    CHECK_ROWS(bound);
    CHECK_INT(calls, 0);
    api.instance.grants = (const char *[]){here, there, "secret:dlp", NULL};
    CHECK_ROWS(away);
    end();
}

TEST(a_secret_needs_its_grant_and_must_be_in_the_vault)
{
    static const struct api_row rows[] = {
        {"moongate.secrets.ref 'other'",
         "error: snippet:1: moongate.secrets.ref needs the permission secret:other: add grant = { \"secret:other\" } to unit"},
        {"moongate.secrets.ref 'dl'",
         "error: snippet:1: moongate.secrets.ref needs the permission secret:dl: add grant = { \"secret:dl\" } to unit"},
        {"moongate.secrets.ref '../x'",
         "error: snippet:1: moongate.secrets.ref: a name has at most 71 letters, digits, `_`, `-` and `.`"},
        {CODE(GET("/x", ", headers = { ['x-key'] = moongate.secrets.ref 'gone' }")), "nil,secret,false"},
        {CODE(GET("/x", ", headers = { host = moongate.secrets.ref 'dlp' }")), "nil,invalid_header,false"},
        {"local v, e = moongate.crypto.hmac('sha256', moongate.secrets.ref 'gone', 'x') return v, e.code", "nil,secret"},
        {"local c = moongate.crypto return c.hex(c.hmac('sha256', moongate.secrets.ref 'hmac', 'what do ya want for nothing?')):sub(1, 8)",
         "5bdcc146"},
        {"moongate.crypto.hmac('md5', moongate.secrets.ref 'hmac', 'd')",
         "error: snippet:1: moongate.crypto.hmac: algorithm must be sha256, sha384 or sha512"},
        {"moongate.secrets.bearer 'sk-plain'",
         "error: snippet:1: moongate.secrets.bearer: secret must be what moongate.secrets.ref gives, got string"},
    };
    static const struct api_row none[] = {
        {"moongate.secrets.ref 'dlp'", "error: snippet:1: ref needs the permission secret: add grant = { \"secret\" } to unit"},
    };
    begin();
    char here[96];
    snprintf(here, sizeof here, "%s", grant);
    put_in_vault("dlp", "sk-dlp-12345678");
    put_in_vault("hmac", "Jefe");
    api.instance.grants = (const char *[]){here, "secret:dlp", "secret:gone", "secret:hmac", NULL};
    CHECK_ROWS(rows);
    api.instance.grants = (const char *[]){here, NULL};
    CHECK_ROWS(none);
    end();
}

TEST(several_at_once_and_the_first_of_several)
{
    static const struct api_row rows[] = {
        {"local u = 'http://127.0.0.1:$P' local list = moongate.http.all { { url = u .. '/1' }, { url = u .. '/cut' }, "
         "{ url = u .. '/3' }, { url = u .. '/4' }, { url = u .. '/5' }, { url = u .. '/6' } } "
         "return #list, list[1].status, list[2].error.code, list[6].body:sub(1, 6)", "6,200,closed,GET /6"},
        {"local u = 'http://127.0.0.1:$P' local r, i = moongate.http.race { { url = u .. '/hang' }, { url = u .. '/2' } } "
         "return r.body:sub(1, 6), i", "GET /2,2"},
        {"local u = 'http://127.0.0.1:$P' local r, e = moongate.http.race { { url = u .. '/cut' }, { url = u .. '/reset' } } "
         "return r, e.code", "nil,closed"},
    };
    begin();
    CHECK_ROWS(rows);
    for (int i = 0; i < 20 && gone == 0; i++)
        mg_loop_turn(&api.loop, 100);
    CHECK_INT(gone, 1);
    end();
}

TEST(a_hook_makes_so_many_calls_and_no_more)
{
    static const struct api_row rows[] = {
        {"for i = 1, 8 do assert(" GET("/", "") ") end local r, e = " GET("/", "") " return r, e.code", "nil,limit"},
        {"return " GET("/", "") ".status", "200"},
    };
    begin();
    CHECK_ROWS(rows);
    CHECK_INT(calls, 9);
    end();
}

TEST(mistakes_raise_and_leak_nothing)
{
    static const struct api_row rows[] = {
        {"moongate.http.request()", "error: snippet:1: moongate.http.request must be a table, got nil"},
        {"moongate.http.request {}", "error: snippet:1: moongate.http.request: field 'url' is missing"},
        {"moongate.http.request { url = 'x', uri = 'y' }",
         "error: snippet:1: moongate.http.request: unknown field 'uri' (known: method, url, headers, body, json, timeout_ms, "
         "max_bytes)"},
        {"moongate.http.request { url = 'x', body = 'a', json = {} }",
         "error: snippet:1: moongate.http.request: give body or json, not both"},
        {"moongate.http.request { url = 'x', json = print }",
         "error: snippet:1: moongate.http.request: a value JSON has no word for (a function, userdata or nil)"},
        {"moongate.http.request { url = 'x', headers = { a = 1 } }",
         "error: snippet:1: moongate.http: a header's value must be a string, got number"},
        {"moongate.http.all {}", "error: snippet:1: moongate.http.all: from 1 to 8 requests"},
        {"moongate.http.all { { url = 'x' }, {} }", "error: snippet:1: moongate.http.all: field 'url' is missing"},
        {"table.sort({ 1, 2 }, function() moongate.http.request { url = 'http://127.0.0.1:$P/' } end)",
         "error: snippet:1: cannot wait inside a callback of gsub, sort or format"},
    };
    begin();
    CHECK_ROWS(rows);
    end();
}

TEST(every_allocation_may_fail)
{
    char code[512];
    bool through = false;
    begin();
    snprintf(code, sizeof code, "local u = 'http://127.0.0.1:%d' local list = moongate.http.all { { url = u .. '/1', json = "
             "{ a = 1 }, headers = { ['X-Team'] = 'b' } }, { url = u .. '/cut' } } return list[1].headers['x-two'], "
             "list[2].error.code", mg_listen_port(&service.listener));
    for (int nth = 1; !through; nth++) {
        mg_fault_arm(MG_FAULT_LUA_ALLOC, nth);
        const char *got = api_run(&api, MG_LUA_PHASE_on_request, code);
        through = mg_fault_armed[MG_FAULT_LUA_ALLOC] > 0;
        mg_fault_arm(MG_FAULT_LUA_ALLOC, 0);
        CHECK(through == (strcmp(got, "a, b,closed") == 0));
    }
    end();
}

/* The server's own certificate is the only one this process trusts. */
TEST(speaks_tls_and_verifies_the_name)
{
    static const char *const loopback[] = {"127.0.0.1"};
    static const struct api_row rows[] = {
        {"return moongate.http.request { url = 'https://local.example:$P/x' }.body", "GET /x team= auth= type= body="},
        {CODE("moongate.http.request { url = 'https://other.example:$P/x' }"), "nil,tls,false"},
    };
    char folder[] = "/tmp/http_lua_testXXXXXX", cert[64], key[64], good[64], bad[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    CHECK_OK(mg_tls_self_signed("local.example", cert, key, NULL));
    struct mg_tls_server_options tls = {.cert_file = cert, .key_file = key};
    struct mg_service_options options = {.listen = {.host = "127.0.0.1"}, .body_bytes = 65536, .connections = 64, .fn = serve};
    CHECK_OK(mg_tls_server_new(&tls, &options.tls, NULL));
    CHECK(setenv("SSL_CERT_FILE", cert, 1) == 0);
    mg_fetch_release();
    api_open(&api);
    CHECK_OK(mg_service_start(&service, &api.loop, &options, NULL));
    mg_resolve_override("local.example", loopback, 1);
    mg_resolve_override("other.example", loopback, 1);
    snprintf(good, sizeof good, "net:https://local.example:%d", mg_listen_port(&service.listener));
    snprintf(bad, sizeof bad, "net:https://other.example:%d", mg_listen_port(&service.listener));
    api.instance.grants = (const char *[]){good, bad, NULL};

    CHECK_ROWS(rows);

    end();
    mg_tls_unref(options.tls);
    mg_fetch_release();
    unsetenv("SSL_CERT_FILE");
    unlink(cert);
    unlink(key);
    rmdir(folder);
}

TEST(a_call_that_is_given_up_closes_its_connection)
{
    struct mg_fetch fetch;
    struct mg_fetch_request request = {.timeout_ms = 10000, .max_bytes = 100, .origins = (const char *[]){grant + 4, NULL}};
    char url[64];
    begin();
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hang", mg_listen_port(&service.listener));
    request.url = mg_view_cstr(url);

    mg_fetch_start(&fetch, &api.loop, &request, NULL);
    while (calls == 0)
        mg_loop_turn(&api.loop, 100);
    mg_fetch_fini(&fetch);
    while (gone == 0)
        mg_loop_turn(&api.loop, 100);

    mg_fetch_fini(&fetch);
    mg_fetch_start(&fetch, &api.loop, &request, NULL);
    mg_fetch_fini(&fetch);
    end();
}

MG_TEST_MAIN()
