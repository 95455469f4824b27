/* store_world.h - a data folder that records exchanges, and exchanges to record: for the tests of meter/, watch/ and cli/. */
#ifndef MG_TESTS_STORE_WORLD_H
#define MG_TESTS_STORE_WORLD_H

#include "check.h"
#include "folder.h"
#include "meter/ledger.h"
#include "meter/record.h"
#include "store/folder.h"

enum { BEGAN_S = 1764000000 };         /* 2025-11-24T16:00:00Z */

struct world {
    const char *data;        /* the folder */
    struct mg_ledger *ledger;
    struct mg_recorder *recorder;
    struct mg_journal *journal;
    struct mg_db *db;        /* reads; NULL when only started */
};

static inline void world_start(struct world *world, const char *data)
{
    *world = (struct world){.data = data, .ledger = mg_ledger_new()};
    struct mg_recorder_options options = {data, 1, 1 << 20, mg_ledger_sink(world->ledger)};
    CHECK_OK(mg_folder_create(data, NULL));
    CHECK_OK(mg_recorder_start(&options, &world->recorder, NULL));
    world->journal = mg_recorder_journal(world->recorder, 0);
}

static inline void world_stop(struct world *world)
{
    mg_db_close(world->db);
    mg_recorder_stop(world->recorder);
    mg_ledger_free(world->ledger);
}

/* In a new folder, with a connection that reads. */
static inline void world_open(struct world *world)
{
    char path[MG_FOLDER_PATH_BYTES];
    world_start(world, check_fresh_path("data"));
    CHECK_OK(mg_folder_path(world->data, "moongate.db", path));
    CHECK_OK(mg_db_open(path, MG_DB_READ, &world->db, NULL));
}

/* A good answer of a chat, began `second` seconds after BEGAN_S, without an id, phases and attempts. */
static inline struct mg_timeline world_timeline(unsigned second)
{
    return (struct mg_timeline){
        .start_wall_us = ((uint64_t)BEGAN_S + second) * 1000000u,
        .project = MG_VIEW("acme"),
        .workflow = MG_VIEW("fast"),
        .key_id = MG_VIEW("key_1"),
        .path = MG_VIEW("/v1/chat/completions"),
        .status = 200,
        .clean = true,
    };
}

/* One of those that took `ms`, with an id. */
static inline struct mg_timeline world_exchange(unsigned second, unsigned ms)
{
    struct mg_timeline timeline = world_timeline(second);
    unsigned char random[10] = {(unsigned char)second, (unsigned char)ms};
    timeline.phase_us[MG_PHASE_settle] = (uint64_t)ms * 1000u;
    mg_exchange_id(timeline.id, timeline.start_wall_us, random);
    return timeline;
}

static inline struct mg_attempt_record *world_attempt(struct mg_timeline *timeline, const char *provider, const char *model,
                                                      enum mg_class class_)
{
    struct mg_attempt_record *attempt = &timeline->attempts[timeline->attempt_count++];
    *attempt = (struct mg_attempt_record){
        .provider = mg_view_cstr(provider),
        .model = mg_view_cstr(model),
        .class_ = class_,
        .status = class_ == MG_CLASS_none ? 200 : 500,
        .number = timeline->attempt_count,
        .end_us = 1000,
    };
    return attempt;
}

/* With all its attempts. */
static inline void world_record(struct world *world, const struct mg_timeline *timeline)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        CHECK_OK(mg_record_started(world->journal, timeline, &timeline->attempts[i], 1));
        CHECK_OK(mg_record_settled(world->journal, timeline, &timeline->attempts[i]));
    }
    CHECK_OK(mg_record_exchange(world->journal, timeline));
}

#endif
