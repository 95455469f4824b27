/* Which limits there are, what is left of each, and how that is written for people and for Prometheus. */
#include "check.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/limit_list.h"
#include "http/json.h"

enum { SEEN = 64 };

static struct mg_limit_item seen[SEEN];
static char values[SEEN][64];
static int count;

static void see(void *arg, const struct mg_limit_item *item)
{
    (void)arg;
    if (count == SEEN)
        return;
    seen[count] = *item;
    snprintf(values[count], sizeof values[count], "%s", item->value);
    count++;
}

static void look(const struct mg_config_project *config, const struct mg_keyring *ring)
{
    count = 0;
    mg_limits_of(&config, 1, ring, see, NULL);
}

/* NULL: there is none. */
static const struct mg_limit_item *find(enum mg_limit_scope scope, const char *workflow, const char *value, int slot)
{
    for (int i = 0; i < count; i++)
        if (seen[i].rule->scope == scope && !strcmp(seen[i].rule->workflow, workflow) && !strcmp(values[i], value) && seen[i].slot == slot)
            return &seen[i];
    return NULL;
}

static struct mg_limit_row *row_of(const char *project, const char *workflow, enum mg_limit_scope scope, const char *field, const char *value)
{
    struct mg_limit_id id = {mg_view_cstr(project), mg_view_cstr(workflow), scope, mg_view_cstr(field), mg_view_cstr(value)};
    return mg_limit_row_take(&id, mg_mono_us(), mg_wall_us());
}

static const struct mg_limit_set four = {.any = true, .concurrency = 4}, rich = {.any = true, .budget_microusd = {100, 0, 0}};
static const struct mg_limit_field fields[] = {{"user", {.any = true, .concurrency = 2}}};

TEST(whole_limits_are_there_before_anybody_used_them_and_values_when_somebody_did)
{
    struct mg_config_workflow flows[] = {{.name = "chat", .limits = {.own = rich, .per_key = four}}, {.name = "plain"}};
    struct mg_config_project config = {.name = "listed", .workflows = flows, .workflow_count = 2,
                                       .limits = {.own = four, .fields = fields, .field_count = 1}};
    look(&config, NULL);
    CHECK_INT(count, 2);
    CHECK(find(MG_SCOPE_PROJECT, "", "", MG_LIMIT_CONCURRENCY)->row == NULL);
    CHECK_INT(find(MG_SCOPE_WORKFLOW, "chat", "", MG_LIMIT_BUDGET)->figures.left, 100);

    struct mg_limit_use ann = {row_of("listed", NULL, MG_SCOPE_METADATA, "user", "ann"), &fields[0].set, true};
    struct mg_limit_row *key = row_of("listed", "chat", MG_SCOPE_KEY, NULL, "key_1");
    struct mg_limit_row *gone = row_of("listed", NULL, MG_SCOPE_METADATA, "tier", "gold");       /* of a rule that is no more */
    struct mg_limit_row *other = row_of("elsewhere", NULL, MG_SCOPE_METADATA, "user", "eve");
    struct mg_limit_refusal no;
    CHECK(mg_limits_enter(&ann, 1, mg_mono_us(), &no));
    look(&config, NULL);
    CHECK_INT(count, 4);
    CHECK_INT(find(MG_SCOPE_METADATA, "", "ann", MG_LIMIT_CONCURRENCY)->figures.used, 1);
    CHECK_INT(find(MG_SCOPE_KEY, "chat", "key_1", MG_LIMIT_CONCURRENCY)->figures.limit, 4);
    mg_limits_leave(&ann, 1);
    mg_limit_row_drop(ann.row);
    mg_limit_row_drop(key);
    mg_limit_row_drop(gone);
    mg_limit_row_drop(other);
}

static const struct mg_key_secret secret = {{1, 2, 3}};

static struct mg_key issue(const char *project, const char *name)
{
    char text[MG_KEY_TEXT_BYTES];
    struct mg_key key;
    CHECK_OK(mg_key_issue(&secret, project, name, 0, NULL, text, &key));
    return key;
}

TEST(of_a_line_of_rotations_the_newest_key_stands_for_all_and_its_own_limits_are_marked)
{
    struct mg_config_project config = {.name = "keyed", .limits.per_key = four};
    struct mg_key keys[5] = {issue("keyed", "old"), issue("keyed", "new"), issue("keyed", "over"), issue("keyed", "gone"), issue("away", "far")};
    struct mg_keyring *ring;
    memcpy(keys[1].replaces, keys[0].id, sizeof keys[1].replaces);
    memcpy(keys[0].replaced_by, keys[1].id, sizeof keys[0].replaced_by);
    keys[1].limits = "{\"requests_per_minute\": 60, \"burst\": 3}";
    keys[2].expires_us = 1;
    keys[3].revoked_us = 1;
    CHECK_OK(mg_keyring_new(&secret, keys, 5, &ring));
    struct mg_limit_use use = {row_of("keyed", NULL, MG_SCOPE_KEY, NULL, keys[0].id), &four, true};
    struct mg_limit_refusal no;
    CHECK(mg_limits_enter(&use, 1, mg_mono_us(), &no));        /* what the old one has in flight counts for the new one */
    look(&config, ring);
    CHECK_INT(count, 2);
    const struct mg_limit_item *all = find(MG_SCOPE_KEY, "", keys[1].id, MG_LIMIT_CONCURRENCY);
    const struct mg_limit_item *own = find(MG_SCOPE_KEY, "", keys[1].id, MG_LIMIT_REQUESTS);
    CHECK(all && !all->own);
    CHECK_INT(all->figures.used, 1);
    CHECK(own && own->own);
    CHECK_INT(own->figures.room, 3);
    mg_limits_leave(&use, 1);
    mg_limit_row_drop(use.row);
    mg_keyring_unref(ring);
}

TEST(an_item_says_in_json_whose_it_is_what_is_left_and_when)
{
    struct mg_limit_id id = {MG_VIEW("json"), MG_VIEW("chat"), MG_SCOPE_METADATA, MG_VIEW("user"), MG_VIEW_NONE};
    struct mg_limit_item item = {.rule = mg_limit_rule_of(&id), .value = "a\"b", .name = "", .slot = MG_LIMIT_TOKENS, .wall_us = 1000,
                                 .figures = {.limit = 600, .room = 600, .used = 900, .left = 0, .free_in_us = 7, .full_in_us = 90, .refused = 2}};
    struct mg_buf out;
    mg_buf_init(&out, 4096);
    CHECK_OK(mg_limit_item_json(&item, &out));
    CHECK_STR(mg_buf_cstr(&out),
              "{\"project\":\"json\",\"limit\":\"workflows.chat.limits.per_metadata.user.tokens_per_minute\",\"scope\":\"metadata\","
              "\"workflow\":\"chat\",\"field\":\"user\",\"value\":\"a\\\"b\",\"name\":null,\"shared\":false,\"kind\":\"tokens_per_minute\","
              "\"per\":null,\"unit\":\"tokens\",\"max\":600,\"room\":600,\"used\":900,\"left\":0,\"free_us\":1007,\"full_us\":1090,\"refused\":2}");
    mg_buf_clear(&out);
    item.slot = MG_LIMIT_CONCURRENCY;
    item.own = true;
    item.figures.free_in_us = UINT64_MAX;
    CHECK_OK(mg_limit_item_json(&item, &out));
    CHECK(strstr(mg_buf_cstr(&out), "\"limit\":\"key.limits.concurrency\""));
    CHECK(strstr(mg_buf_cstr(&out), "\"free_us\":null"));
    mg_buf_fini(&out);
}

TEST(metrics_show_the_one_that_used_most_and_never_a_value)
{
    struct mg_config_project config = {.name = "scraped", .limits = {.own = rich, .fields = fields, .field_count = 1}};
    struct mg_limit_use uses[] = {{row_of("scraped", NULL, MG_SCOPE_METADATA, "user", "ann-secret"), &fields[0].set, true},
                                  {row_of("scraped", NULL, MG_SCOPE_METADATA, "user", "bob"), &fields[0].set, true}};
    const struct mg_config_project *configs[] = {&config};
    struct mg_limits_scrape scrape;
    struct mg_limit_refusal no;
    struct mg_buf out;
    for (int i = 0; i < 2; i++)
        CHECK(mg_limits_enter(&uses[0], 1, mg_mono_us(), &no));
    CHECK(mg_limits_enter(&uses[1], 1, mg_mono_us(), &no));
    mg_limit_count_refusal(uses[0].row, MG_LIMIT_CONCURRENCY, 0);
    mg_limits_scrape_init(&scrape);
    mg_limits_of(configs, 1, NULL, mg_limits_scrape_add, &scrape);
    mg_buf_init(&out, 65536);
    CHECK_OK(mg_limits_scrape_end(&scrape, &out));
    const char *text = mg_buf_cstr(&out);
    CHECK(strstr(text, "moongate_limit_used_share{project=\"scraped\",workflow=\"\",scope=\"metadata\",field=\"user\",limit=\"concurrency\"} 1\n"));
    CHECK(strstr(text, "moongate_limit_counted{project=\"scraped\",workflow=\"\",scope=\"metadata\",field=\"user\",limit=\"concurrency\"} 2\n"));
    CHECK(strstr(text, "moongate_limit_refused_total{project=\"scraped\",workflow=\"\",scope=\"metadata\",field=\"user\",limit=\"concurrency\"} 1\n"));
    CHECK(strstr(text, "moongate_limit{project=\"scraped\",workflow=\"\",scope=\"project\",field=\"\",limit=\"budget_day\"} 100\n"));
    CHECK(strstr(text, "moongate_budget_thresholds_total{project=\"scraped\",workflow=\"\",scope=\"project\",field=\"\",period=\"day\",threshold=\"stop\"} 0\n"));
    CHECK(!strstr(text, "ann-secret"));
    mg_buf_fini(&out);
    for (int i = 0; i < 2; i++)
        mg_limits_leave(&uses[0], 1);
    mg_limits_leave(&uses[1], 1);
    mg_limit_row_drop(uses[0].row);
    mg_limit_row_drop(uses[1].row);
}

MG_TEST_MAIN()
