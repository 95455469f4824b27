/* Keys without a gateway: the store itself. The way through a gateway is in tests/e2e and
 * tests/unit/admin. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "cli/cli.h"
#include "http/json.h"

static char dir[64], printed[65536];
static int code;

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/mg_key_XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    CHECK_INT(system(command), 0);
}

/* Runs `moongate key …` on the folder; what it printed on stdout. */
static const char *key(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    static char words[9][256];
    char *given[10], path[128];
    const char *all[] = {"key", "--data", dir, a, b, c, d, e, NULL};
    int count = 0, out = dup(1), err = dup(2);
    for (; all[count]; count++) {
        snprintf(words[count], sizeof(words[count]), "%s", all[count]);
        given[count] = words[count];
    }
    given[count] = NULL;
    snprintf(path, sizeof(path), "%s/printed", dir);
    fflush(stdout);
    CHECK(freopen(path, "w", stdout) && freopen("/dev/null", "w", stderr));
    code = mg_cli_key(count, given);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    FILE *file = fopen(path, "r");
    printed[fread(printed, 1, sizeof(printed) - 1, file)] = '\0';
    fclose(file);
    return printed;
}

/* What stands at a path of printed JSON; static. */
static const char *at(const char *path)
{
    static char text[512];
    struct mg_json *json = NULL;
    struct mg_buf out;
    CHECK_OK(mg_json_parse(mg_view_trim(mg_view_of(printed, strcspn(printed, "\n"))),
                           sizeof(printed), &json, NULL));
    mg_buf_init(&out, sizeof(text));
    const struct mg_json *value = mg_json_path(json, path);
    if (mg_json_is(value, MG_JSON_STRING))
        CHECK_OK(mg_buf_put(&out, mg_json_string(value)));
    else
        CHECK_OK(mg_json_print(value, &out));
    snprintf(text, sizeof(text), "%s", mg_buf_cstr(&out));
    mg_buf_fini(&out);
    mg_json_free(json);
    return text;
}

TEST(a_key_is_shown_once_and_never_again)
{
    begin();
    char text[256];
    snprintf(text, sizeof(text), "%s", key("create", "--project", "p", NULL, NULL));
    CHECK_INT(code, MG_EXIT_OK);
    CHECK(mg_view_starts(mg_view_cstr(text), MG_VIEW("mg-p-")));
    text[strcspn(text, "\n")] = '\0';

    CHECK(strstr(key("list", "--json", NULL, NULL, NULL), text) == NULL);
    CHECK_STR(at("keys[0].project"), "p");
    CHECK(strstr(key("list", NULL, NULL, NULL, NULL), text) == NULL);
    end();
}

TEST(what_was_said_about_a_key_is_kept)
{
    begin();
    key("create", "--name=ci \"bot\"", "--metadata={\"tier\":\"pro\"}", "--expires=30d", "--json");
    CHECK_INT(code, MG_EXIT_OK);
    CHECK_STR(at("project"), "default");
    CHECK_STR(at("name"), "ci \"bot\"");
    CHECK_STR(at("metadata.tier"), "pro");
    CHECK_INT(
        (strtoull(at("expires_us"), NULL, 10) - strtoull(at("created_us"), NULL, 10) + 500000) /
            1000000,
        30 * 86400);
    end();
}

TEST(a_revoked_key_stays_in_the_list_as_revoked)
{
    begin();
    char id[64];
    key("create", "--json", NULL, NULL, NULL);
    snprintf(id, sizeof(id), "%s", at("id"));
    key("revoke", id, NULL, NULL, NULL);
    CHECK_INT(code, MG_EXIT_OK);

    key("list", "--json", NULL, NULL, NULL);
    CHECK(strcmp(at("keys[0].revoked_us"), "0") != 0);
    CHECK(strstr(key("list", NULL, NULL, NULL, NULL), "revoked") != NULL);
    end();
}

TEST(a_rotated_key_has_a_successor_and_dies_now_or_after_the_overlap)
{
    begin();
    char id[64];
    key("create", "--project=p", "--name=n", "--json", NULL);
    snprintf(id, sizeof(id), "%s", at("id"));
    key("rotate", id, "--overlap=1h", "--json", NULL);
    CHECK_STR(at("name"), "n");
    CHECK(strcmp(at("id"), id) != 0);
    snprintf(id, sizeof(id), "%s", at("id"));

    key("list", "--json", NULL, NULL, NULL);
    CHECK_STR(at("keys[0].revoked_us"), "0");
    CHECK(strcmp(at("keys[0].expires_us"), "0") != 0);
    key("rotate", id, NULL, NULL, NULL);
    key("list", "--json", NULL, NULL, NULL);
    CHECK(strcmp(at("keys[1].revoked_us"), "0") != 0);
    CHECK_STR(at("keys[2].revoked_us"), "0");
    end();
}

TEST(what_does_not_exist_fails_and_what_is_not_understood_is_a_usage_error)
{
    begin();
    key("revoke", "key_nobody", NULL, NULL, NULL);
    CHECK_INT(code, MG_EXIT_FAILED);
    key("rotate", "key_nobody", NULL, NULL, NULL);
    CHECK_INT(code, MG_EXIT_FAILED);

    static const char *const bad[][2] = {{"destroy", NULL},
                                         {"revoke", NULL},
                                         {"revoke", "../x"},
                                         {"list", "x"},
                                         {"create", "--expires=soon"},
                                         {"create", "--expires=0d"},
                                         {"create", "--metadata=[1]"},
                                         {"create", "--metadata={"}};
    for (size_t i = 0; i < MG_COUNT(bad); i++) {
        key(bad[i][0], bad[i][1], NULL, NULL, NULL);
        CHECK_INT(code, MG_EXIT_USAGE);
    }
    end();
}

TEST(the_folder_is_for_its_owner_alone)
{
    begin();
    char path[128];
    struct stat info;
    key("create", NULL, NULL, NULL, NULL);
    static const char *const files[] = {"moongate.db", "key.secret"};
    for (size_t i = 0; i < MG_COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        CHECK_INT(stat(path, &info), 0);
        CHECK_INT(info.st_mode & 077, 0);
    }
    end();
}

MG_TEST_MAIN()
