/* What gateway.lua says of an identity provider. */
#include "world.h"

#include "base/limits.h"

#define REST " client_id = 'moongate', roles = { { claim = 'groups', value = 'x', role = 'owner' } } } } }"

static struct mg_config_gateway *gateway(const char *text)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    mg_err err = mg_config_load_gateway(put("gateway.lua", text), &config, &diag);
    if (err)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);
    return config;
}

/* The first mistake. */
static const char *mistake(const char *text)
{
    static struct mg_diag diag;
    struct mg_config_gateway *config = NULL;
    diag = (struct mg_diag){"", 0, ""};
    CHECK_INT(mg_config_load_gateway(put("gateway.lua", text), &config, &diag), MG_E_CONFIG);
    return diag.text;
}

TEST(without_it_there_is_none)
{
    begin();
    struct mg_config_gateway *config = gateway("return {}");
    CHECK(config->oidc.issuer == NULL);
    mg_config_gateway_free(config);
    config = gateway("return { admin = false }");
    CHECK(config->oidc.issuer == NULL);
    mg_config_gateway_free(config);
    end();
}

TEST(a_provider_is_read_with_its_defaults)
{
    begin();
    struct mg_config_gateway *config = gateway("return { admin = { oidc = { issuer = 'https://idp.test/realms/x/'," REST);
    const struct mg_config_oidc *oidc = &config->oidc;
    CHECK_STR(oidc->issuer, "https://idp.test/realms/x/");       /* as it is, the slash too */
    CHECK_INT(oidc->audience_count, 1);
    CHECK_STR(oidc->audiences[0], "moongate");
    CHECK_STR(oidc->scopes, "openid");
    CHECK_STR(oidc->name, "sub");
    CHECK(oidc->ca == NULL);
    CHECK_INT(oidc->max_age_ms, 0);
    CHECK_INT(oidc->role_count, 1);
    CHECK(oidc->roles[0].project == NULL);
    mg_config_gateway_free(config);
    end();
}

TEST(what_is_said_takes_the_place_of_the_defaults)
{
    begin();
    struct mg_config_gateway *config = gateway(
        "return { admin = { oidc = { issuer = 'http://127.0.0.1:9000', client_id = 'a b', audience = { 'one', 'two' }, name = 'email', max_age_ms = 60000, ca = 'idp.pem',\n"
        "  scopes = 'openid email', roles = { { claim = 'a', value = 'b*', role = 'viewer', project = 'p' }, { claim = 'c', value = 'd', role = 'secret-writer' } } } } }");
    const struct mg_config_oidc *oidc = &config->oidc;
    CHECK_INT(oidc->audience_count, 2);
    CHECK_STR(oidc->audiences[1], "two");
    CHECK_STR(oidc->name, "email");
    CHECK_INT(oidc->max_age_ms, 60000);
    CHECK(mg_view_ends(mg_view_cstr(oidc->ca), MG_VIEW("/idp.pem")) && oidc->ca[0] == '/');
    CHECK_INT(oidc->role_count, 2);
    CHECK_STR(oidc->roles[0].value, "b*");
    CHECK_STR(oidc->roles[0].project, "p");
    CHECK_STR(oidc->roles[1].role, "secret-writer");
    mg_config_gateway_free(config);
    end();
}

TEST(what_would_let_strangers_in_is_refused)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"return { admin = { oidc = { issuer = 'http://idp.test'," REST, "whoever is on the way"},
        {"return { admin = { oidc = { issuer = 'http://127.0.0.1.idp.test'," REST, "whoever is on the way"},
        {"return { admin = { oidc = { issuer = 'http://localhost@idp.test'," REST, "admin.oidc.issuer"},
        {"return { admin = { oidc = { issuer = 'idp.test'," REST, "an https URL"},
        {"return { admin = { oidc = { issuer = 'https://idp.test?x=1'," REST, "an https URL"},
        {"return { admin = { oidc = {" REST, "\"issuer\" is missing"},
        {"return { admin = { oidc = { issuer = 'https://idp.test', roles = { { claim = 'a', value = 'b', role = 'owner' } } } } }", "\"client_id\" is missing"},
        {"return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm' } } }", "\"roles\" is missing"},
        {"return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm', roles = {} } } }", "admin.oidc.roles"},
        {"return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm', roles = { { claim = 'a', role = 'owner' } } } } }", "\"value\" is missing"},
        {"return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm', roles = { { claim = 'a', value = 'b', role = 'king' } } } } }", "one of \"owner\""},
        {"return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm', audience = {}, roles = { { claim = 'a', value = 'b', role = 'owner' } } } } }",
         "admin.oidc.audience"},
    };
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = mistake(rows[i].text);
        if (!strstr(why, rows[i].why))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].text, why);
    }
    end();
}

TEST(so_many_rules_as_an_identity_has_room_for)
{
    static char text[65536];
    begin();
    for (int count = MG_MAX_OIDC_ROLES; count <= MG_MAX_OIDC_ROLES + 1; count++) {
        size_t at = (size_t)snprintf(text, sizeof text, "return { admin = { oidc = { issuer = 'https://idp.test', client_id = 'm', roles = {");
        for (int i = 0; i < count; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "{ claim = 'g', value = '%d', role = 'viewer' },\n", i);
        snprintf(text + at, sizeof text - at, "} } } }");
        if (count > MG_MAX_OIDC_ROLES) {
            CHECK(strstr(mistake(text), "at most 256") != NULL);
            continue;
        }
        struct mg_config_gateway *config = gateway(text);
        CHECK_INT(config->oidc.role_count, count);
        mg_config_gateway_free(config);
    }
    end();
}

MG_TEST_MAIN()
