#include "script/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/mem.h"
#include "check.h"

static const char *parsed(const char *url)
{
    static char line[600];
    struct mg_origin origin;
    mg_view target;
    char text[MG_ORIGIN_BYTES];
    if (!mg_origin_parse(mg_view_cstr(url), &origin, &target))
        return "refused";
    mg_origin_text(&origin, text);
    snprintf(line, sizeof line, "%s %.*s", text, MG_FMT(target));
    return line;
}

TEST(reads_urls_strictly)
{
    static const struct {
        const char *url, *want;
    } rows[] = {
        {"https://A.Example/x?y=1#z", "https://a.example /x?y=1"},
        {"HTTP://a.example", "http://a.example /"},
        {"https://a.example:443/", "https://a.example /"},
        {"https://a.example:8443?q", "https://a.example:8443 ?q"},
        {"http://[::1]:80/x", "http://[::1] /x"},
        {"http://10.0.0.5:8080/", "http://10.0.0.5:8080 /"},
        {"ftp://a.example/", "refused"},
        {"a.example/", "refused"},
        {"https://", "refused"},
        {"https:///x", "refused"},
        {"https://user@a.example/", "refused"},
        {"https://a.example:0/", "refused"},
        {"https://a.example:99999/", "refused"},
        {"https://a.example:x/", "refused"},
        {"https://a.example /", "refused"},
        {"https://a.example/\r\nHost: b", "refused"},
        {"https://a.example\\@b.example/", "refused"},
        {"https://a*.example/", "refused"},
        {"https://[::1/", "refused"},
        {"https://[x]/", "refused"},
        {"https://a.example/\xc3\xa9", "refused"},
        {"", "refused"},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++)
        if (strcmp(parsed(rows[i].url), rows[i].want) != 0)
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].url, parsed(rows[i].url));
}

TEST(follows_locations_of_every_form)
{
    static const struct {
        const char *location, *want;
    } rows[] = {
        {"https://b.example/y", "https://b.example/y"}, {"//b.example/y", "https://b.example/y"},
        {"/y", "https://a.example:8443/y"},             {"y", "https://a.example:8443/dir/y"},
        {"?z=2", "https://a.example:8443/dir/x?z=2"},   {"ftp://b.example/", NULL},
        {"javascript:x", NULL},                         {"", NULL},
        {"/a b", NULL},                                 {"//user@b.example/", NULL},
    };
    struct mg_buf out;
    mg_buf_init(&out, MG_URL_BYTES);

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        bool ok = mg_origin_redirect(MG_VIEW("https://a.example:8443/dir/x?q=1"), mg_view_cstr(rows[i].location), &out);
        CHECK_INT(ok, rows[i].want != NULL);
        if (ok)
            CHECK_VIEW(mg_buf_view(&out), mg_view_cstr(rows[i].want));
    }
    mg_buf_fini(&out);
}

static enum mg_origin_right right(const char *url)
{
    static const char *const list[] = {"https://dlp.acme.example", "http://10.0.0.5:8080", "https://*.b.example",
                                       "https://c.example/path", "nonsense", "http://169.254.169.254", NULL};
    struct mg_origin origin;
    mg_view target;
    CHECK(mg_origin_parse(mg_view_cstr(url), &origin, &target));
    return mg_origin_right(&origin, list);
}

TEST(only_what_is_listed_may_be_reached)
{
    CHECK_INT(right("https://dlp.acme.example/x"), MG_ORIGIN_PRIVATE);
    CHECK_INT(right("https://DLP.acme.example:443/x"), MG_ORIGIN_PRIVATE);
    CHECK_INT(right("http://dlp.acme.example/x"), MG_ORIGIN_REFUSED);
    CHECK_INT(right("https://dlp.acme.example:8443/x"), MG_ORIGIN_REFUSED);
    CHECK_INT(right("https://dlp.acme.example.evil.example/x"), MG_ORIGIN_REFUSED);
    CHECK_INT(right("http://10.0.0.5:8080/"), MG_ORIGIN_LINK_LOCAL);
    CHECK_INT(right("https://a.b.example/"), MG_ORIGIN_PUBLIC);
    CHECK_INT(right("https://b.example/"), MG_ORIGIN_REFUSED);
    CHECK_INT(right("https://c.example/path"), MG_ORIGIN_REFUSED);
    CHECK_INT(right("http://169.254.169.254/latest"), MG_ORIGIN_LINK_LOCAL);
}

TEST(a_pattern_never_covers_an_address)
{
    static const char *const list[] = {"http://*", NULL};
    struct mg_origin name, address;
    mg_view target;
    CHECK(mg_origin_parse(MG_VIEW("http://x.example/"), &name, &target));
    CHECK(mg_origin_parse(MG_VIEW("http://8.8.8.8/"), &address, &target));

    CHECK_INT(mg_origin_right(&name, list), MG_ORIGIN_PUBLIC);
    CHECK_INT(mg_origin_right(&address, list), MG_ORIGIN_REFUSED);
    CHECK_INT(mg_origin_right(&name, NULL), MG_ORIGIN_REFUSED);
}

static enum mg_origin_right address(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return mg_origin_address((const struct sockaddr *)&v4);
    CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    return mg_origin_address((const struct sockaddr *)&v6);
}

TEST(knows_which_addresses_are_private)
{
    static const struct {
        const char *address;
        enum mg_origin_right right;
    } rows[] = {
        {"8.8.8.8", MG_ORIGIN_PUBLIC},          {"172.15.255.255", MG_ORIGIN_PUBLIC},
        {"172.32.0.0", MG_ORIGIN_PUBLIC},       {"2606:4700::1", MG_ORIGIN_PUBLIC},
        {"10.1.2.3", MG_ORIGIN_PRIVATE},        {"127.0.0.1", MG_ORIGIN_PRIVATE},
        {"172.16.0.1", MG_ORIGIN_PRIVATE},      {"172.31.255.255", MG_ORIGIN_PRIVATE},
        {"192.168.1.1", MG_ORIGIN_PRIVATE},     {"100.64.0.1", MG_ORIGIN_PRIVATE},
        {"::1", MG_ORIGIN_PRIVATE},             {"fd00::1", MG_ORIGIN_PRIVATE},
        {"::ffff:10.0.0.1", MG_ORIGIN_PRIVATE}, {"64:ff9b::7f00:1", MG_ORIGIN_PRIVATE},
        {"2002:7f00:1::", MG_ORIGIN_PRIVATE},   {"::127.0.0.1", MG_ORIGIN_PRIVATE},
        {"::ffff:8.8.8.8", MG_ORIGIN_PUBLIC},   {"169.254.169.254", MG_ORIGIN_LINK_LOCAL},
        {"::ffff:169.254.169.254", MG_ORIGIN_LINK_LOCAL}, {"fe80::1", MG_ORIGIN_LINK_LOCAL},
        {"0.0.0.0", MG_ORIGIN_REFUSED},         {"::", MG_ORIGIN_REFUSED},
        {"224.0.0.1", MG_ORIGIN_REFUSED},       {"255.255.255.255", MG_ORIGIN_REFUSED},
        {"ff02::1", MG_ORIGIN_REFUSED},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++)
        if (address(rows[i].address) != rows[i].right)
            check_failed(__FILE__, __LINE__, "%s: %d", rows[i].address, address(rows[i].address));
}

MG_TEST_MAIN()
