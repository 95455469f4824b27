#include "gateway/passthrough_path.h"

#include "base/mem.h"
#include "check.h"

TEST(a_path_names_a_provider_and_something_below_it)
{
    static const struct {
        const char *path, *name, *rest;
    } rows[] = {
        {"/providers/openai/v1/files", "openai", "/v1/files"}, {"/providers/a/b", "a", "/b"}, {"/providers/a//b", "a", "//b"},
        {"/providers/", NULL, NULL}, {"/providers/a", NULL, NULL}, {"/providers/a/", NULL, NULL}, {"/providers//a", NULL, NULL}, {"/providersa/b", NULL, NULL},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_view name, rest;
        bool is = mg_passthrough_split(mg_view_cstr(rows[i].path), &name, &rest);
        CHECK(is == (rows[i].name != NULL));
        if (!is)
            continue;
        CHECK_VIEW(name, mg_view_cstr(rows[i].name));
        CHECK_VIEW(rest, mg_view_cstr(rows[i].rest));
    }
}

TEST(a_path_is_decoded_once_or_refused)
{
    static const struct {
        const char *path, *plain;
    } rows[] = {
        {"/v1/files", "/v1/files"}, {"/v1/files/", "/v1/files"}, {"/v1/a%20b", "/v1/a b"}, {"/v1/a%2Fb", "/v1/a/b"}, {"/v1/%C3%A9", "/v1/\xc3\xa9"},
        {"/v1/...", "/v1/..."}, {"/v1/.hidden", "/v1/.hidden"}, {"/v1/a;b=c", "/v1/a;b=c"}, {"/v1/models/m:generateContent", "/v1/models/m:generateContent"},
        {"/v1/..", NULL}, {"/v1/../a", NULL}, {"/./a", NULL}, {"/%2e%2e/a", NULL}, {"/a/%2E", NULL}, {"/a/.%2e/b", NULL}, {"/a%2f..%2fb", NULL},
        {"/..;x=1/a", NULL}, {"/.;/a", NULL}, {"//a", NULL}, {"/a//b", NULL}, {"/a%2f%2fb", NULL}, {"/a//", NULL}, {"/%00", NULL}, {"/%0a", NULL},
        {"/%7f", NULL}, {"/a\tb", NULL}, {"/%252e", NULL}, {"/%25", NULL}, {"/%", NULL}, {"/%2", NULL}, {"/%zz", NULL}, {"/%2g", NULL}, {"/%5c", NULL},
        {"/a\\b", NULL}, {"/%3f", NULL}, {"/%23", NULL},
    };
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        const char *why, *plain = mg_passthrough_decode(&arena, mg_view_cstr(rows[i].path), &why);
        if (rows[i].plain)
            CHECK_STR(plain ? plain : why, rows[i].plain);
        else if (plain)
            CHECK_STR(plain, rows[i].path);        /* says which */
        CHECK((plain == NULL) == (why != NULL));
    }
    mg_arena_fini(&arena);
}

TEST(a_path_at_the_vendor_never_leaves_what_stands_before_the_version)
{
    static const struct {
        const char *base, *rest, *path, *ruled, *below;
    } rows[] = {
        {"/v1", "/files", "/v1/files", "/v1/files", "/files"}, {"/v1", "/v1/files", "/v1/files", "/v1/files", "/files"},
        {"/v1", "/v2/files", "/v2/files", "/v2/files", ""}, {"/v1", "/v1x/files", "/v1x/files", "/v1x/files", ""},
        {"/v1beta", "/upload/v1beta/files", "/upload/v1beta/files", "/upload/v1beta/files", ""}, {"/v1", "/upload/files", "/v1/upload/files", "/v1/upload/files", "/upload/files"},
        {"/openai/v1", "/openai/v1/a", "/openai/v1/a", "/v1/a", "/a"}, {"/openai/v1", "/v1/a", "/openai/v1/a", "/v1/a", "/a"},
        {"/openai/v1", "/openai/v2/a", "/openai/v1/openai/v2/a", "/v1/openai/v2/a", "/openai/v2/a"}, {"", "/model/m/converse", "/model/m/converse", "/model/m/converse", "/model/m/converse"},
        {"/v1/projects/p/publishers/google", "/v1/projects/q/a", "/v1/projects/p/publishers/google/v1/projects/q/a", "/v1/projects/q/a", "/v1/projects/q/a"},
        {"/v1/projects/p", "/v1/projects/p/a", "/v1/projects/p/a", "/a", "/a"}, {"/v1/projects/p", "/v1/projects/pq/a", "/v1/projects/p/v1/projects/pq/a", "/v1/projects/pq/a", "/v1/projects/pq/a"},
        {"/video", "/v1/a", "/video/v1/a", "/v1/a", "/v1/a"},
    };
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_passthrough_place place;
        mg_passthrough_place(&arena, mg_view_cstr(rows[i].base), mg_view_cstr(rows[i].rest), &place);
        CHECK_VIEW(place.path, mg_view_cstr(rows[i].path));
        CHECK_VIEW(place.ruled, mg_view_cstr(rows[i].ruled));
        CHECK_VIEW(place.below, mg_view_cstr(rows[i].below));
    }
    mg_arena_fini(&arena);
}

TEST(rules_name_methods_and_paths_and_denying_goes_first)
{
    static const char *const allow[] = {"/v1/files*", "GET /v1/models/*"}, *const deny[] = {"DELETE *", "/v1/files/secret*"};
    struct mg_config_passthrough rules = {.on = true, .allow = allow, .allow_count = 2, .deny = deny, .deny_count = 2}, open = {.on = true}, all = {.on = true, .administration = true};
    static const struct {
        const char *method, *path;
        bool by_rules, by_none;
    } rows[] = {
        {"GET", "/v1/files", true, true}, {"POST", "/v1/files/a", true, true}, {"DELETE", "/v1/files/a", false, true}, {"GET", "/v1/files/Secret/a", false, true},
        {"GET", "/v1/models/m", true, true}, {"POST", "/v1/models/m", false, true}, {"GET", "/v1/FILES", false, true}, {"GET", "/v1/batches", false, true},
        {"GET", "/v1/organization/users", false, false}, {"GET", "/v1/Organizations", false, false}, {"POST", "/api/v1/keys", false, false}, {"GET", "/v1/projects/p/api_keys", false, false},
        {"GET", "/v1/users", false, false}, {"GET", "/v1/keyspaces", false, true}, {"GET", "/v1/user_files", false, true}, {"GET", "/v1/threads/t/usage_notes", false, true},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        mg_view method = mg_view_cstr(rows[i].method);
        CHECK((mg_passthrough_denies(&rules, method, rows[i].path) == NULL) == rows[i].by_rules);
        CHECK((mg_passthrough_denies(&open, method, rows[i].path) == NULL) == rows[i].by_none);
        CHECK(mg_passthrough_denies(&all, method, rows[i].path) == NULL);
    }
}

TEST(keys_are_taken_out_of_a_query_and_nothing_else)
{
    static const struct {
        const char *query, *left;
    } rows[] = {
        {"", ""}, {"a=1&b=2", "a=1&b=2"}, {"key=x", ""}, {"a=1&key=x&b=2", "a=1&b=2"}, {"KEY=x&a", "a"}, {"%6bey=x&a=1", "a=1"}, {"k%65y&a", "a"}, {"metadata[key]=x", "metadata[key]=x"},
        {"access_token=x&alt=sse", "alt=sse"}, {"X-Amz-Signature=x&X-Amz-Date=y&z=1", "z=1"}, {"&&a=1&&", "a=1"}, {"a=key", "a=key"}, {"own=x&a", "a"}, {"%6=1&%=2", "%6=1&%=2"},
    };
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        CHECK_VIEW(mg_passthrough_query(&arena, mg_view_cstr(rows[i].query), "own"), mg_view_cstr(rows[i].left));
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
