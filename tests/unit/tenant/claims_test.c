/* What a token's claims mean: whether it is for us and holds, who brought it, and what it may do. */
#include "tenant/claims.h"

#include <stdio.h>

#include "base/mem.h"
#include "check.h"

#define NOW_S UINT64_C(1800000000)

static const char *const audiences[] = {"moongate", "https://gateway.test"};
static const struct mg_config_role roles[] = {
    {"groups", "platform", "owner", NULL},
    {"groups", "search-*", "operator", "search"},
    {"realm_access.roles", "gateway-viewer", "viewer", NULL},
    {"https://x.test/roles", "writer", "secret-writer", "support"},
    {"scope", "gateway:*", "viewer", "support"},
    {"email", "*@corp.test", "viewer", "mail"},
    {"admin", "true", "owner", "flag"},
};
static const struct mg_config_oidc config = {.issuer = "https://idp.test", .client_id = "moongate", .audiences = audiences, .audience_count = 2,
                                             .name = "email", .roles = roles, .role_count = sizeof roles / sizeof *roles};

static struct mg_json *parse(const char *text)
{
    struct mg_json *json = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(text), 1 << 16, &json, NULL));
    return json;
}

/* "" when they are good, else why not. `more` goes over what is good; null takes away. */
static const char *checked_by(const struct mg_config_oidc *by, const char *more, const char *nonce)
{
    static char why_not[160];
    const char *why = "";
    struct mg_json *claims = parse("{\"iss\":\"https://idp.test\",\"aud\":\"moongate\",\"sub\":\"ann\",\"exp\":1800000600}");
    struct mg_json *changes = parse(more);
    for (const struct mg_json *change = mg_json_first(changes); change; change = mg_json_next(change)) {
        if (mg_json_type(change) != MG_JSON_NULL)
            mg_json_set(claims, mg_json_key(change), mg_json_copy(change));
        else
            mg_json_remove(claims, mg_json_key(change).ptr);
    }
    mg_err err = mg_claims_check(by, claims, NOW_S * 1000000, nonce, &why);
    snprintf(why_not, sizeof why_not, "%s", err == MG_OK ? "" : why);
    CHECK(err == MG_OK || err == MG_E_DENIED);
    mg_json_free(claims);
    mg_json_free(changes);
    return why_not;
}

static const char *checked(const char *more, const char *nonce)
{
    return checked_by(&config, more, nonce);
}

TEST(a_token_that_lasts_longer_than_is_wanted_ends_earlier)
{
    struct mg_config_oidc hour = config;
    hour.max_age_ms = 3600000;
    CHECK_STR(checked_by(&hour, "{\"iat\":1799996401}", NULL), "");
    CHECK_STR(checked_by(&hour, "{\"iat\":1799996341}", NULL), "");                         /* clocks may differ */
    CHECK(strstr(checked_by(&hour, "{\"iat\":1799996340}", NULL), "too long ago") != NULL);
    CHECK(strstr(checked_by(&hour, "{}", NULL), "too long ago") != NULL);
    CHECK_STR(checked("{\"iat\":1}", NULL), "");
}

TEST(a_token_for_us_that_holds_is_good)
{
    static const char *const good[] = {
        "{}", "{\"aud\":[\"moongate\"]}", "{\"aud\":\"https://gateway.test\"}", "{\"aud\":[\"x\",\"https://gateway.test\"]}",
        "{\"aud\":[\"x\",\"moongate\"],\"azp\":\"moongate\"}", "{\"exp\":1800000000.5}", "{\"exp\":1799999941}",        /* 59 s ago */
        "{\"nbf\":1800000059,\"iat\":1800000059}", "{\"nonce\":\"any\"}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_STR(checked(good[i], NULL), "");
    CHECK_STR(checked("{\"nonce\":\"n1\"}", "n1"), "");
}

TEST(a_token_that_is_not_is_refused_with_the_reason)
{
    static const struct {
        const char *more, *nonce, *why;
    } rows[] = {
        {"{\"iss\":null}", NULL, "issuer"}, {"{\"iss\":\"https://idp.test/\"}", NULL, "issuer"}, {"{\"iss\":\"https://IDP.test\"}", NULL, "issuer"},
        {"{\"iss\":[\"https://idp.test\"]}", NULL, "issuer"},
        {"{\"aud\":null}", NULL, "audience"}, {"{\"aud\":\"\"}", NULL, "audience"}, {"{\"aud\":[]}", NULL, "audience"},
        {"{\"aud\":\"other\"}", NULL, "audience"}, {"{\"aud\":{\"moongate\":1}}", NULL, "audience"}, {"{\"aud\":[[\"moongate\"]]}", NULL, "audience"},
        {"{\"aud\":[\"x\",\"moongate\"]}", NULL, "audience"}, {"{\"aud\":[\"x\",\"moongate\"],\"azp\":\"x\"}", NULL, "audience"},
        {"{\"exp\":null}", NULL, "expired"}, {"{\"exp\":\"1900000000\"}", NULL, "expired"}, {"{\"exp\":true}", NULL, "expired"},
        {"{\"exp\":1799999940}", NULL, "expired"}, {"{\"exp\":0}", NULL, "expired"}, {"{\"exp\":-1e300}", NULL, "expired"},
        {"{\"nbf\":1800000061}", NULL, "not valid yet"}, {"{\"nbf\":\"x\"}", NULL, "not valid yet"}, {"{\"iat\":1800000061}", NULL, "not valid yet"},
        {"{\"sub\":null}", NULL, "sub"}, {"{\"sub\":\"\"}", NULL, "sub"}, {"{\"sub\":1}", NULL, "sub"},
        {"{\"cnf\":{}}", NULL, "cnf"}, {"{\"events\":{}}", NULL, "no ID token"},
        {"{}", "n1", "nonce"}, {"{\"nonce\":\"n2\"}", "n1", "nonce"}, {"{\"nonce\":[\"n1\"]}", "n1", "nonce"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = checked(rows[i].more, rows[i].nonce);
        if (!strstr(why, rows[i].why))
            check_failed(__FILE__, __LINE__, "%s: \"%s\"", rows[i].more, why);
    }
}

/* "name: role of project, …", or why not. */
static const char *identified(const char *text)
{
    static char out[512];
    const char *why = "";
    struct mg_json *claims = parse(text);
    struct mg_identity *identity = mg_new(struct mg_identity);
    mg_err err = mg_claims_identity(&config, claims, identity, &why);
    size_t at = (size_t)snprintf(out, sizeof out, "%s:", identity->name);
    for (size_t i = 0; i < identity->grant_count; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, " %s of %s,", mg_role_name(identity->grants[i].role), identity->grants[i].project);
    CHECK((err == MG_OK) == (identity->grant_count > 0));
    mg_json_free(claims);
    mg_free(identity);
    return out;
}

TEST(every_rule_that_fits_counts)
{
    CHECK_STR(identified("{\"sub\":\"a\",\"groups\":[\"platform\"]}"), "oidc:a: owner of ,");
    CHECK_STR(identified("{\"sub\":\"a\",\"groups\":\"platform\"}"), "oidc:a: owner of ,");
    CHECK_STR(identified("{\"sub\":\"a\",\"groups\":[\"x\",\"search-eu\",\"platform\"]}"), "oidc:a: owner of , operator of search,");
    CHECK_STR(identified("{\"sub\":\"a\",\"realm_access\":{\"roles\":[\"gateway-viewer\"]}}"), "oidc:a: viewer of ,");
    CHECK_STR(identified("{\"sub\":\"a\",\"https://x.test/roles\":[\"writer\"]}"), "oidc:a: secret-writer of support,");
    CHECK_STR(identified("{\"sub\":\"a\",\"scope\":\"openid gateway:read\"}"), "oidc:a: viewer of support,");
    CHECK_STR(identified("{\"sub\":\"a\",\"admin\":true}"), "oidc:a: owner of flag,");
}

TEST(what_fits_no_rule_may_nothing)
{
    static const char *const rows[] = {
        "{\"sub\":\"a\"}", "{\"sub\":\"a\",\"groups\":[]}", "{\"sub\":\"a\",\"groups\":\"x platform\"}", "{\"sub\":\"a\",\"groups\":{\"platform\":1}}",
        "{\"sub\":\"a\",\"groups\":[[\"platform\"]]}", "{\"sub\":\"a\",\"groups\":[\"Platform\",\"platform \"]}", "{\"sub\":\"a\",\"admin\":\"yes\"}",
        "{\"sub\":\"a\",\"admin\":1}", "{\"sub\":\"a\",\"scope\":\"xgateway:read\"}", "{\"sub\":\"a\",\"groups\":null}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_STR(identified(rows[i]), "oidc:a:");
}

TEST(an_email_counts_unless_its_provider_doubts_it)
{
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\"}"), "oidc:b@corp.test: viewer of mail,");
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\",\"email_verified\":true}"), "oidc:b@corp.test: viewer of mail,");
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\",\"email_verified\":\"true\"}"), "oidc:b@corp.test: viewer of mail,");
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\",\"email_verified\":false}"), "oidc:a:");
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\",\"email_verified\":\"false\"}"), "oidc:a:");
    CHECK_STR(identified("{\"sub\":\"a\",\"email\":\"b@corp.test\",\"email_verified\":0}"), "oidc:a:");
}

TEST(names_stand_well_in_a_log_and_stay_different)
{
    char first[512], text[1024], long_name[400];
    CHECK_STR(identified("{\"sub\":\"auth0|5f\"}"), "oidc:auth0%7C5f:");
    CHECK_STR(identified("{\"sub\":\"a b\\n\\\"=%\"}"), "oidc:a%20b%0A%22%3D%25:");
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    snprintf(text, sizeof text, "{\"sub\":\"%s1\"}", long_name);
    snprintf(first, sizeof first, "%s", identified(text));
    snprintf(text, sizeof text, "{\"sub\":\"%s2\"}", long_name);
    CHECK(strcmp(first, identified(text)) != 0);
    CHECK(strlen(first) == MG_MEMBER_NAME_BYTES && strchr(first, '~') != NULL);          /* with the colon behind it */
    memset(long_name, '|', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    snprintf(text, sizeof text, "{\"sub\":\"%s\"}", long_name);
    CHECK(strstr(identified(text), "%7C~") != NULL);                                      /* no half of an escape */
}

MG_TEST_MAIN()
