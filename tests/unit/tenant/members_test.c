/* Who administers: roles, identities with several, and the rows of members in the store. */
#include "tenant/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "http/json.h"

TEST(a_role_may_what_the_table_of_the_header_says)
{
    static const bool may[MG_ROLE_COUNT][4] = {
        /*                        own    view   operate set secrets */
        [MG_ROLE_OWNER]         = {true,  true,  true,  true},
        [MG_ROLE_OPERATOR]      = {false, true,  true,  false},
        [MG_ROLE_VIEWER]        = {false, true,  false, false},
        [MG_ROLE_SECRET_WRITER] = {false, false, false, true},
    };
    for (int role = 0; role < MG_ROLE_COUNT; role++) {
        enum mg_role found;
        for (int right = MG_RIGHT_OWN; right <= MG_RIGHT_SET_SECRETS; right++)
            CHECK_INT(mg_role_may((enum mg_role)role, (enum mg_right)right), may[role][right]);
        CHECK(mg_role_find(mg_view_cstr(mg_role_name((enum mg_role)role)), &found) && (int)found == role);
    }
    enum mg_role none;
    CHECK(!mg_role_find(MG_VIEW("Owner"), &none) && !mg_role_find(MG_VIEW_NONE, &none));
}

/* ---- identities */

/* "role project" of whom it acts as, or the error's name. Grants are "role@project" with blanks between them. */
static const char *acted(const char *grants, enum mg_right right, const char *wanted)
{
    static char out[160];
    struct mg_identity *identity = mg_new(struct mg_identity);
    struct mg_member as = {.role = MG_ROLE_COUNT};
    mg_view rest = mg_view_cstr(grants);
    snprintf(identity->name, sizeof identity->name, "oidc:ann");
    while (rest.len) {
        mg_view project = mg_view_cut(&rest, ' '), role = mg_view_cut(&project, '@');
        struct mg_grant *grant = &identity->grants[identity->grant_count++];
        CHECK(mg_role_find(role, &grant->role));
        snprintf(grant->project, sizeof grant->project, "%.*s", MG_FMT(project));
    }
    mg_err err = mg_identity_act(identity, right, mg_view_cstr(wanted), &as);
    if (err == MG_OK)
        snprintf(out, sizeof out, "%s %s", mg_role_name(as.role), as.project);
    else
        snprintf(out, sizeof out, "%s", mg_err_name(err));
    CHECK(err != MG_OK || !strcmp(as.name, "oidc:ann"));
    mg_free(identity);
    return out;
}

TEST(it_acts_in_the_project_where_it_has_the_right)
{
    CHECK_STR(acted("owner", MG_RIGHT_OWN, ""), "owner ");
    CHECK_STR(acted("viewer@a operator@b", MG_RIGHT_OPERATE, ""), "operator b");
    CHECK_STR(acted("viewer@a secret-writer@b", MG_RIGHT_VIEW, ""), "viewer a");
    CHECK_STR(acted("viewer operator@b", MG_RIGHT_VIEW, ""), "viewer ");
    CHECK_STR(acted("operator@b viewer", MG_RIGHT_VIEW, ""), "viewer ");
    CHECK_STR(acted("operator@b viewer", MG_RIGHT_OPERATE, ""), "operator b");
    CHECK_STR(acted("viewer@a operator@a", MG_RIGHT_VIEW, ""), "viewer a");
    CHECK_STR(acted("viewer@a owner operator@b", MG_RIGHT_VIEW, ""), "owner ");
}

TEST(it_must_say_which_of_several_it_means)
{
    CHECK_STR(acted("viewer@a operator@b", MG_RIGHT_VIEW, ""), "E_BAD_REQUEST");
    CHECK_STR(acted("viewer@a operator@b", MG_RIGHT_VIEW, "a"), "viewer a");
    CHECK_STR(acted("viewer@a operator@b", MG_RIGHT_VIEW, "b"), "operator b");
    CHECK_STR(acted("viewer@a operator@b", MG_RIGHT_OPERATE, "a"), "E_DENIED");
    CHECK_STR(acted("viewer@a viewer@b viewer@c", MG_RIGHT_VIEW, "c"), "viewer c");
}

TEST(naming_a_project_confines_and_never_widens)
{
    CHECK_STR(acted("owner", MG_RIGHT_OWN, "a"), "owner a");
    CHECK_STR(acted("viewer operator@b", MG_RIGHT_OPERATE, "b"), "operator b");
    CHECK_STR(acted("viewer operator@b", MG_RIGHT_OPERATE, "a"), "E_DENIED");
    CHECK_STR(acted("viewer@a", MG_RIGHT_VIEW, "b"), "E_DENIED");
    CHECK_STR(acted("viewer@a", MG_RIGHT_VIEW, "aa"), "E_DENIED");
    CHECK_STR(acted("", MG_RIGHT_VIEW, ""), "E_DENIED");
    CHECK_STR(acted("owner", MG_RIGHT_VIEW, "a-name-that-is-much-longer-than-any-project-of-this-gateway-could-ever-be-called"), "E_DENIED");
}

/* ---- the store */

static struct world {
    char dir[64];
    struct mg_db *db;
    struct mg_arena arena;
    struct mg_key_secret secret;
} w;

static void begin(void)
{
    char path[96];
    snprintf(w.dir, sizeof w.dir, "/tmp/mg-members-XXXXXX");
    CHECK(mkdtemp(w.dir) != NULL);
    snprintf(path, sizeof path, "%s/moongate.db", w.dir);
    CHECK_OK(mg_db_open(path, MG_DB_WRITE, &w.db, NULL));
    CHECK_OK(mg_key_secret_load(w.dir, &w.secret, NULL));
    mg_arena_init(&w.arena, 4096);
}

static void end(void)
{
    char command[96];
    mg_db_close(w.db);
    mg_arena_fini(&w.arena);
    snprintf(command, sizeof command, "rm -rf %s", w.dir);
    CHECK_INT(system(command), 0);
}

static struct mg_member named(const char *name, enum mg_role role, const char *project)
{
    struct mg_member member = {.role = role};
    snprintf(member.name, sizeof member.name, "%s", name);
    snprintf(member.project, sizeof member.project, "%s", project);
    return member;
}

TEST(members_are_kept_by_a_hash_of_their_token_listed_by_name_and_removed)
{
    char text[MG_KEY_TEXT_BYTES];
    unsigned char hash[MG_KEY_HASH_BYTES];
    struct mg_member ann = named("ann", MG_ROLE_OPERATOR, "search"), again = ann, bob = named("Bob@x.y", MG_ROLE_OWNER, ""), *rows;
    size_t count;
    begin();
    bob.expires_us = 77;
    CHECK_OK(mg_members_create(w.db, &w.secret, &ann, text));
    CHECK(mg_view_starts(mg_view_cstr(text), MG_VIEW("mga-")) && strlen(text) == 47);
    mg_key_hash(&w.secret, mg_view_cstr(text), hash);
    CHECK_OK(mg_members_create(w.db, &w.secret, &bob, text));
    CHECK_INT(mg_members_create(w.db, &w.secret, &again, text), MG_E_EXISTS);

    CHECK_OK(mg_members_load(w.db, &w.arena, &rows, &count));
    CHECK_INT(count, 2);
    CHECK_STR(rows[0].name, "Bob@x.y");
    CHECK_STR(rows[0].project, "");
    CHECK_INT(rows[0].expires_us, 77);
    CHECK_STR(rows[1].name, "ann");
    CHECK_STR(rows[1].project, "search");
    CHECK_INT(rows[1].role, MG_ROLE_OPERATOR);
    CHECK(rows[1].created_us > 0 && !memcmp(rows[1].hash, hash, sizeof hash));

    CHECK_OK(mg_members_remove(w.db, "ann"));
    CHECK_INT(mg_members_remove(w.db, "ann"), MG_E_NOT_FOUND);
    CHECK_OK(mg_members_load(w.db, &w.arena, &rows, &count));
    CHECK_INT(count, 1);
    end();
}

TEST(a_row_that_this_version_cannot_read_is_nobody)
{
    struct mg_member ann = named("ann", MG_ROLE_VIEWER, ""), *rows;
    char text[MG_KEY_TEXT_BYTES];
    size_t count;
    begin();
    CHECK_OK(mg_members_create(w.db, &w.secret, &ann, text));
    CHECK_OK(mg_db_exec(w.db, "INSERT INTO members (name, role, project, hash, created_us, expires_us) VALUES ('king', 'king', NULL, zeroblob(32), 1, 0),"
                              " ('short', 'owner', NULL, x'00', 1, 0)"));
    CHECK_OK(mg_members_load(w.db, &w.arena, &rows, &count));
    CHECK_INT(count, 1);
    CHECK_STR(rows[0].name, "ann");
    end();
}

TEST(there_are_only_so_many)
{
    char text[MG_KEY_TEXT_BYTES], name[16];
    begin();
    CHECK_OK(mg_db_begin(w.db, MG_DB_NORMAL));
    for (int i = 0; i < MG_MAX_MEMBERS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        struct mg_member member = named(name, MG_ROLE_VIEWER, "");
        CHECK_OK(mg_members_create(w.db, &w.secret, &member, text));
    }
    struct mg_member one_more = named("more", MG_ROLE_VIEWER, "");
    CHECK_INT(mg_members_create(w.db, &w.secret, &one_more, text), MG_E_TOO_LARGE);
    CHECK_OK(mg_db_commit(w.db));
    end();
}

TEST(what_a_member_is_comes_as_json_and_goes_back_as_it)
{
    static const struct {
        const char *text, *bad;        /* NULL: good */
    } rows[] = {
        {"{\"name\":\"ann\",\"role\":\"viewer\"}", NULL}, {"{\"name\":\"a.b-c_d@e\",\"role\":\"owner\",\"project\":\"p\",\"expires_us\":5}", NULL},
        {"{\"role\":\"viewer\"}", "name"}, {"{\"name\":\"\",\"role\":\"viewer\"}", "name"}, {"{\"name\":\"a b\",\"role\":\"viewer\"}", "name"},
        {"{\"name\":\"a\\\"\",\"role\":\"viewer\"}", "name"}, {"{\"name\":\"oidc:a\",\"role\":\"viewer\"}", "name"},
        {"{\"name\":1,\"role\":\"viewer\"}", "name"}, {"{\"name\":\"a\"}", "role"}, {"{\"name\":\"a\",\"role\":\"king\"}", "role"},
        {"{\"name\":\"a\",\"role\":\"viewer\",\"expires_us\":-1}", "expires_us"}, {"{\"name\":\"a\",\"role\":\"viewer\",\"expires_us\":\"x\"}", "expires_us"},
        {"{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"role\":\"viewer\"}", "name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mg_json *body = NULL;
        struct mg_member member;
        const char *bad = "";
        CHECK_OK(mg_json_parse(mg_view_cstr(rows[i].text), 4096, &body, NULL));
        bool good = mg_member_read(body, &member, &bad);
        if (good != !rows[i].bad || (!good && !strstr(bad, rows[i].bad)))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].text, bad);
        mg_json_free(body);
    }
    struct mg_member ann = named("ann", MG_ROLE_SECRET_WRITER, "p\"q");
    struct mg_buf out;
    ann.created_us = 3;
    mg_buf_init(&out, 512);
    CHECK_OK(mg_member_put_json(&ann, "mga-x", &out));
    CHECK_STR(mg_buf_cstr(&out), "{\"name\":\"ann\",\"role\":\"secret-writer\",\"project\":\"p\\\"q\",\"created_us\":3,\"expires_us\":0,\"token\":\"mga-x\"}");
    mg_buf_fini(&out);
}

MG_TEST_MAIN()
