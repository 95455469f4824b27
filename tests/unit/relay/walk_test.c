/* Random faults over random configurations, through the real walk, breakers, gates, keys, budgets and rescue.
 *
 *     world ── a seed: targets with their keys, rules and moods over time, and exchanges with their plans
 *       │ a clock of its own: it jumps from one event to the next, nothing waits
 *       ▼
 *     mg_relay_start() … an attempt plays a script instead of opening a connection
 *
 * What must hold in every world is written down where it is looked at: walk_broken() names it. A world that breaks one
 * is made smaller (fewer exchanges, calmer targets) and then told line by line.
 *
 *     MOONGATE_WALK_SEED=0x… unit.relay.walk       that world alone
 *     MOONGATE_WALK_WORLDS=2500 unit.relay.walk    so many, from a random seed; the rows of one process last no longer */
#include "unit/relay/walk/walk.h"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "check.h"
#include "script/script.h"

struct mg_adapter *walk_adapter;
struct mg_journal *walk_journal;
struct walk_seen walk_seen;
static uint64_t entropy;               /* what getrandom() gives, so that a world always goes the same way */

/* The dice of the code under test: in place of the C library's. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < length; i++)
        ((char *)buffer)[i] = (char)(mg_fingerprint(mg_view_of((const char *)&entropy, sizeof entropy)) >> 8 * (i % 8));
    entropy++;
    return (ssize_t)length;
}

/* ---- time -------------------------------------------------------------------------------------- */

static void run_deferred(struct world *world)
{
    struct mg_loop *loop = &world->loop;
    int rounds = 0;
    for (struct mg_list *item; (item = mg_list_pop_front(&loop->deferred));) {
        struct mg_defer *defer = mg_container_of(item, struct mg_defer, link);
        defer->run(defer);
        if (++rounds > 10000) {
            walk_broken(world, "work is deferred for ever");
            return;
        }
    }
}

static uint64_t next_time(struct world *world)
{
    uint64_t next = mg_wheel_next_us(&world->loop.wheel);
    for (int i = 0; i < world->exchange_count; i++) {
        const struct exchange *x = &world->exchanges[i];
        if (!x->begun && !x->over)
            next = MG_MIN(next, x->at_us);
        else if (!x->over && x->leaves_us)
            next = MG_MIN(next, x->leaves_us);
    }
    for (int i = 0; i < PLAYS; i++)
        if (world->plays[i].active && world->plays[i].next < world->plays[i].step_count)
            next = MG_MIN(next, world->plays[i].steps[world->plays[i].next].at_us);
    return next;
}

static void live(struct world *world)
{
    uint64_t now = world->loop.now_us;
    mg_wheel_advance(&world->loop.wheel, now);
    run_deferred(world);
    for (int i = 0; i < PLAYS; i++) {
        struct play *play = &world->plays[i];
        while (play->active && play->next < play->step_count && play->steps[play->next].at_us <= now && !world->broken[0]) {
            walk_play_step(play);
            run_deferred(world);
        }
    }
    for (int i = 0; i < world->exchange_count; i++) {
        struct exchange *x = &world->exchanges[i];
        if (!x->begun && !x->over && x->at_us <= now)
            walk_begin(world, x);
        else if (x->begun && !x->over && x->leaves_us && x->leaves_us <= now)
            walk_leave(x);
        run_deferred(world);
    }
}

/* ---- running worlds ---------------------------------------------------------------------------- */

static void end_world(struct world *world)
{
    for (int i = 0; i < world->exchange_count; i++) {
        struct exchange *x = &world->exchanges[i];
        if (x->begun && !x->over)
            walk_leave(x);
        if (x->begun) {
            mg_relay_fini(&x->relay);
            mg_arena_fini(&x->arena);
        }
    }
    mg_loop_fini(&world->loop);
}

static void *world_main(void *arg)
{
    struct world *world = arg;
    int turns = 0;
    walk_make_world(world);
    walk_tell_world(world);
    for (uint64_t next; !world->broken[0] && (next = next_time(world)) != UINT64_MAX;) {
        world->loop.now_us = MG_MAX(world->loop.now_us, next);
        live(world);
        if (++turns > 500000)
            walk_broken(world, "time does not pass");
    }
    for (int i = 0; i < world->exchange_count; i++)
        if (world->exchanges[i].begun && !world->exchanges[i].over)
            walk_broken(world, "#%d never ends", i);
    if (!world->broken[0]) {
        walk_check_journal(world);
        walk_check_rest(world);
        walk_check_budgets(world);
    }
    end_world(world);
    walk_drain(world);
    return NULL;
}

/* On a thread of its own, whose dice begin anew. Which promise was broken; NULL: all held. */
static const char *run_world(uint64_t seed, uint64_t left_out, uint32_t calm, bool loud, char out_broken[512])
{
    static struct world world;
    pthread_t thread;
    memset(&world, 0, sizeof world);
    world.seed = seed;
    world.left_out = left_out;
    world.calm = calm;
    world.loud = loud;
    entropy = seed;
    CHECK(pthread_create(&thread, NULL, world_main, &world) == 0);
    pthread_join(thread, NULL);
    memcpy(out_broken, world.broken, 512);
    return world.promise;
}

static uint64_t current_seed;

static void on_abort(int number)
{
    (void)number;
    char line[96];
    int len = snprintf(line, sizeof line, "aborted in MOONGATE_WALK_SEED=0x%016" PRIx64 "\n", current_seed);
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
        _exit(1);
}

/* As few exchanges and troubled targets as break the same promise. */
static void explain(uint64_t seed, const char *promise)
{
    char broken_by[512];
    uint64_t left_out = 0;
    uint32_t calm = 0;
    for (int i = 0; i < EXCHANGES; i++)
        if (run_world(seed, left_out | 1ull << i, calm, false, broken_by) == promise)
            left_out |= 1ull << i;
    for (int i = 0; i < TARGETS; i++)
        if (run_world(seed, left_out, calm | 1u << i, false, broken_by) == promise)
            calm |= 1u << i;
    run_world(seed, left_out, calm, true, broken_by);
    printf("MOONGATE_WALK_SEED=0x%016" PRIx64 ": %s\n", seed, broken_by);
}

static void open_journal(char path[64])
{
    struct mg_diag diag = {.line = 0};
    snprintf(path, 64, "/tmp/moongate-walk-XXXXXX");
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    unlink(path);
    CHECK_OK(mg_journal_open(path, 16 << 20, 0, 1, &walk_journal, &diag));
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void tell_what_was_seen(void)
{
    printf("%" PRIu64 " exchanges: %" PRIu64 " good, %" PRIu64 " failed, %" PRIu64 " left; %" PRIu64 " attempts: %" PRIu64 " retries, %" PRIu64
           " fallbacks, %" PRIu64 " hedges, %" PRIu64 " rescues (%" PRIu64 " seams, %" PRIu64 " prefills), %" PRIu64 " probes, %" PRIu64
           " early, %" PRIu64 " waited; %" PRIu64 " committed, %" PRIu64 " asked again\n",
           walk_seen.exchanges, walk_seen.good, walk_seen.failed, walk_seen.left, walk_seen.attempts, walk_seen.retries,
           walk_seen.fallbacks, walk_seen.hedges, walk_seen.rescues, walk_seen.seams, walk_seen.prefills, walk_seen.probes,
           walk_seen.early_calls, walk_seen.waited, walk_seen.committed, walk_seen.again);
}

TEST(whatever_fails_the_walk_keeps_its_promises)
{
    static struct mg_adapter_decl decl;
    struct mg_arena arena;
    struct mg_diag diag = {.line = 0};
    char path[64], broken_by[512];
    mg_arena_init(&arena, 4096);
    CHECK_OK(mg_adapter_load("openai", &arena, &decl, &diag));
    CHECK_OK(mg_adapter_new(&decl, &walk_adapter, &diag));
    open_journal(path);
    (void)mg_hash(MG_VIEW("x"));       /* what is seeded once per process is seeded now */
    (void)signal(SIGABRT, on_abort);

    uint64_t only = from_env("MOONGATE_WALK_SEED", 0), worlds = only ? 1 : MG_MIN(from_env("MOONGATE_WALK_WORLDS", WORLDS), WORLDS_MAX);
    uint64_t seeds = getenv("MOONGATE_WALK_WORLDS") ? mg_mono_us() : 1;
    int failures = 0;
    for (uint64_t i = 0; i < worlds && failures < 3; i++) {
        current_seed = only ? only : walk_dice(&seeds) | 1;
        const char *promise = run_world(current_seed, 0, 0, false, broken_by);
        if (!promise)
            continue;
        failures++;
        printf("MOONGATE_WALK_SEED=0x%016" PRIx64 ": %s\n", current_seed, broken_by);
        explain(current_seed, promise);
    }
    (void)signal(SIGABRT, SIG_DFL);
    mg_journal_close(walk_journal);
    unlink(path);
    mg_adapter_free(walk_adapter);
    mg_arena_fini(&arena);
    tell_what_was_seen();
    CHECK_INT(failures, 0);
    const uint64_t *seen = (const uint64_t *)&walk_seen;
    for (size_t i = 0; i < sizeof walk_seen / sizeof *seen && worlds >= WORLDS; i++)
        CHECK(seen[i] >= worlds / 60);
}

MG_TEST_MAIN()
