#include "io/proxy.h"

#include "base/mem.h"
#include "check.h"

TEST(proxy_urls_are_read)
{
    static const struct {
        const char *url;
        bool ok;
        const char *host;
        int port;
        const char *auth;
    } rows[] = {
        {"http://proxy.example:3128", true, "proxy.example", 3128, ""},
        {"http://proxy.example:3128/", true, "proxy.example", 3128, ""},
        {"proxy.example:8080", true, "proxy.example", 8080, ""},
        {"proxy.example", true, "proxy.example", 80, ""},
        {"http://user:p%40ss@proxy.example:3128", true, "proxy.example", 3128, "user:p@ss"},
        {"http://user:p@ss@proxy.example", true, "proxy.example", 80, "user:p@ss"},
        {"http://[2001:db8::1]:3128", true, "2001:db8::1", 3128, ""},
        {"http://[2001:db8::1]", true, "2001:db8::1", 80, ""},
        {"https://proxy.example", false, NULL, 0, NULL},
        {"socks5://proxy.example", false, NULL, 0, NULL},
        {"http://", false, NULL, 0, NULL},
        {"http://proxy.example:0", false, NULL, 0, NULL},
        {"http://proxy.example:65536", false, NULL, 0, NULL},
        {"http://proxy.example:12x", false, NULL, 0, NULL},
        {"http://[2001:db8::1", true, "2001:db8::1", 80, ""},
        {"http://a%0d%0ab:c@proxy.example", false, NULL, 0, NULL},
        {"http://a%zz@proxy.example", false, NULL, 0, NULL},
        {"http://a%4@proxy.example", false, NULL, 0, NULL},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_proxy proxy;
        if (mg_proxy_parse(mg_view_cstr(rows[i].url), &proxy) != rows[i].ok)
            check_failed(__FILE__, __LINE__, "%s", rows[i].url);
        if (!rows[i].ok)
            continue;
        CHECK_STR(proxy.host, rows[i].host);
        CHECK_INT(proxy.port, rows[i].port);
        CHECK_STR(proxy.auth, rows[i].auth);
    }
}

static void clear_env(void)
{
    static const char *const names[] = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy",
                                        "ALL_PROXY",   "all_proxy",   "NO_PROXY",   "no_proxy"};
    for (size_t i = 0; i < MG_COUNT(names); i++)
        unsetenv(names[i]);
}

TEST(the_environment_names_the_proxy)
{
    struct mg_proxy proxy;
    clear_env();
    CHECK(!mg_proxy_from_env(true, "api.example", 443, &proxy));

    setenv("ALL_PROXY", "all.example:1", 1);
    CHECK(mg_proxy_from_env(true, "api.example", 443, &proxy));
    CHECK_STR(proxy.host, "all.example");
    setenv("https_proxy", "lower.example:2", 1);
    CHECK(mg_proxy_from_env(true, "api.example", 443, &proxy));
    CHECK_STR(proxy.host, "lower.example");
    setenv("HTTPS_PROXY", "upper.example:3", 1);
    CHECK(mg_proxy_from_env(true, "api.example", 443, &proxy));
    CHECK_STR(proxy.host, "upper.example");

    CHECK(mg_proxy_from_env(false, "api.example", 80, &proxy));
    CHECK_STR(proxy.host, "all.example");
    setenv("HTTP_PROXY", "attacker.example:4", 1);
    CHECK(mg_proxy_from_env(false, "api.example", 80, &proxy));
    CHECK_STR(proxy.host, "all.example");
    setenv("http_proxy", "plain.example:5", 1);
    CHECK(mg_proxy_from_env(false, "api.example", 80, &proxy));
    CHECK_STR(proxy.host, "plain.example");
    clear_env();
}

TEST(no_proxy_excludes_names_below_names_and_ports)
{
    static const struct {
        const char *list, *host;
        int port;
        bool direct;
    } rows[] = {
        {"*", "api.example", 443, true},
        {"api.example", "api.example", 443, true},
        {"API.Example", "api.example", 443, true},
        {"example", "api.example", 443, true},
        {".example", "api.example", 443, true},
        {"ample", "api.example", 443, false},
        {"other.test, api.example", "api.example", 443, true},
        {"api.example:443", "api.example", 443, true},
        {"api.example:8443", "api.example", 443, false},
        {"10.0.0.1", "10.0.0.1", 443, true},
        {"::1", "::1", 443, true},
        {"[::1]:443", "::1", 443, true},
        {"[::1]:80", "::1", 443, false},
        {"[::1]", "::1", 443, true},
        {",, ,", "api.example", 443, false},
        {"sub.api.example", "api.example", 443, false},
    };
    struct mg_proxy proxy;
    clear_env();
    setenv("HTTPS_PROXY", "proxy.example:3128", 1);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        setenv("NO_PROXY", rows[i].list, 1);
        if (mg_proxy_from_env(true, rows[i].host, rows[i].port, &proxy) == rows[i].direct)
            check_failed(__FILE__, __LINE__, "NO_PROXY=%s for %s:%d", rows[i].list, rows[i].host,
                         rows[i].port);
    }
    clear_env();
}

TEST(the_request_names_the_origin_and_carries_the_password)
{
    char out[MG_PROXY_REQUEST_BYTES];
    struct mg_proxy plain = {.host = "p", .port = 1},
                    secret = {.host = "p", .port = 1, .auth = "Aladdin:open sesame"};

    size_t length = mg_proxy_request(&plain, "api.example", 443, out);
    CHECK_VIEW(mg_view_of(out, length),
               MG_VIEW("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n"));
    length = mg_proxy_request(&secret, "2001:db8::1", 443, out);
    CHECK_VIEW(mg_view_of(out, length),
               MG_VIEW("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n"
                       "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"));
    memset(secret.auth, 'x', sizeof(secret.auth) - 1);
    char host[256];
    memset(host, 'h', sizeof(host) - 1);
    host[255] = '\0';
    length = mg_proxy_request(&secret, host, 65535, out);
    CHECK(mg_view_ends(mg_view_of(out, length), MG_VIEW("\r\n\r\n")));
}

TEST(answers_are_understood_at_every_cut)
{
    static const struct {
        const char *answer;
        int want;
    } rows[] = {
        {"HTTP/1.1 200 Connection established\r\n\r\n", MG_PROXY_OK},
        {"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", MG_PROXY_OK},
        {"HTTP/1.1 200\r\n\r\n", MG_PROXY_OK},
        {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!", 407},
        {"HTTP/1.1 502 Bad Gateway\r\n\r\n", 502},
        {"HTTP/1.1 200 OK\r\n\r\nhello", MG_PROXY_BROKEN},
        {"HTTP/1.1 2x0 OK\r\n\r\n", MG_PROXY_BROKEN},
        {"HTTP/1.1 000 OK\r\n\r\n", MG_PROXY_BROKEN},
        {"HTTP/1.1\r\n\r\n", MG_PROXY_BROKEN},
        {"SSH-2.0-OpenSSH_9.2\r\n", MG_PROXY_BROKEN},
        {"HTTP/2 200 OK\r\n\r\n", MG_PROXY_BROKEN},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_view answer = mg_view_cstr(rows[i].answer);
        size_t head = mg_view_search(answer, MG_VIEW("\r\n\r\n"));
        for (size_t cut = 0; cut < answer.len && cut < head + 3; cut++) {
            int partly = mg_proxy_answer(mg_view_head(answer, cut));
            if (partly != MG_PROXY_MORE && partly != rows[i].want)
                check_failed(__FILE__, __LINE__, "%s cut at %zu is %d", rows[i].answer, cut,
                             partly);
        }
        CHECK_INT(mg_proxy_answer(answer), rows[i].want);
    }
}

MG_TEST_MAIN()
