#include "cli/cli.h"

#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"

static bool flag;
static const char *text;
static int number;

static const struct mg_option options[] = {
    {"--json", NULL, NULL, MG_OPTION_FLAG, &flag, "print JSON"},
    {"--name", "-n", "NAME", MG_OPTION_TEXT, &text, "a name"},
    {"--port", NULL, "N", MG_OPTION_PORT, &number, "a port"},
};

static int word_count;
static char *words_given[8];

static int parse(int max_rest, const char *a, const char *b, const char *c)
{
    static char words[4][32];
    const char *given[] = {"key", a, b, c};
    flag = false, text = NULL, number = 7, word_count = 0;
    for (size_t i = 0; i < MG_COUNT(given) && given[i]; i++) {
        snprintf(words[i], sizeof(words[i]), "%s", given[i]);
        words_given[word_count++] = words[i];
    }
    return mg_cli_parse(&word_count, words_given, options, MG_COUNT(options), max_rest);
}

/* What the command prints goes nowhere; only its exit code is looked at. */
static int quietly(int count, char **words)
{
    fflush(stdout);
    int out = dup(1), err = dup(2);
    CHECK(freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr));
    int code = mg_cli_main(count, words);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    return code;
}

TEST(options_are_taken_in_any_order_and_the_rest_is_left)
{
    CHECK_INT(parse(1, "--name=x", "create", "--json"), MG_CLI_GO);

    CHECK(flag);
    CHECK_STR(text, "x");
    CHECK_INT(word_count, 2);
    CHECK_STR(words_given[1], "create");
}

TEST(a_value_may_be_its_own_word_or_stand_behind_a_letter)
{
    CHECK_INT(parse(0, "-n", "--dashes", NULL), MG_CLI_GO);
    CHECK_STR(text, "--dashes");

    CHECK_INT(parse(0, "--port", "65535", NULL), MG_CLI_GO);
    CHECK_INT(number, 65535);
}

TEST(an_option_that_is_not_given_keeps_its_default)
{
    CHECK_INT(parse(0, "--json", NULL, NULL), MG_CLI_GO);
    CHECK_INT(number, 7);
}

TEST(after_two_dashes_nothing_is_an_option)
{
    CHECK_INT(parse(2, "--", "--json", NULL), MG_CLI_GO);
    CHECK(!flag);
    CHECK_STR(words_given[1], "--json");
}

TEST(what_is_not_understood_is_a_usage_error)
{
    static const char *const bad[] = {"--nmae",   "--port=x", "--port=-1", "--port=65536",
                                      "--json=1", "-x",       "two"};
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    for (size_t i = 0; i < MG_COUNT(bad); i++)
        CHECK_INT(parse(0, bad[i], NULL, NULL), MG_EXIT_USAGE);
    CHECK_INT(parse(0, "--name", NULL, NULL), MG_EXIT_USAGE);
}

TEST(every_listed_command_has_help)
{
    static const char *const names[] = {
#define X(name, fn, arguments, summary) name,
        MG_COMMAND_LIST(X)
#undef X
    };
    for (size_t i = 0; i < MG_COUNT(names); i++) {
        char moongate[] = "moongate", help[] = "help", name[32];
        snprintf(name, sizeof(name), "%s", names[i]);
        char *words[] = {moongate, help, name, NULL};
        CHECK_INT(quietly(3, words), MG_EXIT_OK);
    }
}

TEST(an_unknown_command_is_a_usage_error)
{
    char moongate[] = "moongate", name[] = "verison";
    char *words[] = {moongate, name, NULL};
    CHECK_INT(quietly(2, words), MG_EXIT_USAGE);
}

TEST(distance_counts_edits)
{
    CHECK_INT(mg_cli_distance("serve", "serve"), 0);
    CHECK_INT(mg_cli_distance("sevre", "serve"), 2);
    CHECK_INT(mg_cli_distance("", "key"), 3);
    CHECK_INT(mg_cli_distance("keys", "key"), 1);
}

MG_TEST_MAIN()
