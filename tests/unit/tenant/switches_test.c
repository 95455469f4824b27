/* What is disabled by hand: the snapshot, and its rows in the store. */
#include "check.h"
#include "tenant/switchstore.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static struct mg_switch row(enum mg_switch_kind kind, const char *project, const char *name, const char *message)
{
    struct mg_switch row = {.kind = kind, .since_us = 7};
    snprintf(row.project, sizeof row.project, "%s", project);
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.message, sizeof row.message, "%s", message);
    snprintf(row.actor, sizeof row.actor, "alice");
    return row;
}

TEST(nothing_disabled_is_no_snapshot_and_every_question_is_answered_with_no)
{
    struct mg_switches *switches = mg_switches_new(NULL, 0);

    CHECK(switches == NULL);
    CHECK(mg_switches_of(switches, MG_VIEW("a")) == NULL);
    CHECK(mg_switched_find(NULL, MG_SWITCH_PROJECT, MG_VIEW_NONE) == NULL);
    mg_switches_unref(mg_switches_ref(switches));
}

TEST(a_switch_is_found_by_its_kind_and_name_in_its_own_project_only)
{
    const struct mg_switch rows[] = {row(MG_SWITCH_PROVIDER, "a", "one", "out of money"), row(MG_SWITCH_WORKFLOW, "a", "chat", ""),
                                     row(MG_SWITCH_PROJECT, "b", "b", "")};
    struct mg_switches *switches = mg_switches_new(rows, 3);
    const struct mg_switched *a = mg_switches_of(switches, MG_VIEW("a")), *b = mg_switches_of(switches, MG_VIEW("b"));

    CHECK_STR(mg_switched_find(a, MG_SWITCH_PROVIDER, MG_VIEW("one"))->message, "out of money");
    CHECK(mg_switched_find(a, MG_SWITCH_WORKFLOW, MG_VIEW("one")) == NULL);
    CHECK(mg_switched_find(a, MG_SWITCH_WORKFLOW, MG_VIEW("chat")) != NULL);
    CHECK(mg_switched_find(a, MG_SWITCH_PROJECT, MG_VIEW_NONE) == NULL);
    CHECK(mg_switched_find(b, MG_SWITCH_PROJECT, MG_VIEW_NONE) != NULL);
    CHECK(mg_switched_find(b, MG_SWITCH_PROVIDER, MG_VIEW("one")) == NULL);
    CHECK(mg_switches_of(switches, MG_VIEW("c")) == NULL);
    mg_switches_unref(switches);
}

TEST(rows_are_kept_changed_and_removed)
{
    struct mg_db *db;
    struct mg_arena arena;
    struct mg_switch *rows = NULL;
    size_t count = 0;
    char path[] = "/tmp/mg-switches-XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    char file[64];
    snprintf(file, sizeof file, "%s/moongate.db", path);
    mg_arena_init(&arena, 4096);
    CHECK_OK(mg_db_open(file, MG_DB_WRITE, &db, NULL));
    const struct mg_switch first = row(MG_SWITCH_PLUGIN, "a", "guard", "x"), again = row(MG_SWITCH_PLUGIN, "a", "guard", "y \"z\"");

    CHECK_OK(mg_switchstore_put(db, &first));
    CHECK_OK(mg_switchstore_put(db, &again));
    CHECK_OK(mg_switchstore_load(db, &arena, &rows, &count));
    CHECK_INT(count, 1);
    CHECK_INT(rows[0].kind, MG_SWITCH_PLUGIN);
    CHECK_STR(rows[0].message, "y \"z\"");
    CHECK_STR(rows[0].actor, "alice");
    CHECK_INT(mg_switchstore_remove(db, MG_SWITCH_PLUGIN, "b", "guard"), MG_E_NOT_FOUND);
    CHECK_OK(mg_switchstore_remove(db, MG_SWITCH_PLUGIN, "a", "guard"));
    CHECK_INT(mg_switchstore_remove(db, MG_SWITCH_PLUGIN, "a", "guard"), MG_E_NOT_FOUND);

    mg_db_close(db);
    mg_arena_fini(&arena);
    char remove[96];
    snprintf(remove, sizeof remove, "rm -r %s", path);
    CHECK_INT(system(remove), 0);
}

MG_TEST_MAIN()
