/* walk.h - a world of targets, faults and exchanges for the walk of plans, and what must hold in it.
 *
 *   world.c     makes one from a seed: targets with their keys, rules and moods over time, plans and when clients come
 *   play.c      mg_attempt_start() and its like: an attempt plays the script that its target's mood writes
 *   client.c    the owner of a relay, as gateway/deliver.c is it
 *   promises.c  what is looked at while it happens and after it all; broken ones are told by walk_broken()
 *
 * Time is the loop's and is set by walk_test.c; the loop is never turned. */
#ifndef MG_TESTS_WALK_H
#define MG_TESTS_WALK_H

#include "meter/record.h"
#include "relay/relay.h"

enum {
    TARGETS = 4,
    KEYS = 3,
    MOODS = 12,                        /* of a target, one after the other */
    EXCHANGES = 40,
    TOKENS = 12,                       /* of an answer */
    STEPS = TOKENS + 5,
    TEXT = 160,
    PLAYS = 4 * EXCHANGES,
    SLOT_MS = MG_WHEEL_SLOT_US / 1000,
    TTFT_MAX_MS = 300,                 /* of a target that is well */
    GAP_MAX_MS = 20,
    WELL_MS = TTFT_MAX_MS + GAP_MAX_MS * (TOKENS + 2) + SLOT_MS,
    WORLDS = 600,                      /* of a run of the suite: 24,000 exchanges */
    WORLDS_MAX = 2500,
};

enum { START_US = 1000000000 };        /* the clock's first time */

enum mood { WELL, ERROR, REFUSED, NO_CONNECTION, HANGS, LATE, STALLS, CUT, EMPTY, USELESS, MOOD_COUNT };

struct phase {
    uint64_t from_us;
    enum mood mood;
    enum mg_class class_;              /* of ERROR */
    uint32_t late_ms, retry_after_ms;
};

struct target {
    struct mg_config_provider provider;
    struct mg_config_target config;
    struct mg_config_credential keys[KEYS];
    struct mg_upstream upstream;
    bool dead[KEYS];                   /* keys the provider refuses */
    char name[32], id[48];
    struct phase phases[MOODS];
    bool other_words;                  /* answers with a text of its own */
    uint64_t first_calls, paid_calls, early_at_ms[KEYS];
    uint64_t told_us;                  /* when an attempt there ended last */
};

enum step_kind { HEAD, ROLE, CHUNK, FINISH, DONE, END };
struct step {
    uint64_t at_us;
    enum step_kind kind;
    size_t from, to;                   /* of the text */
};

/* One attempt as it will go, decided when it starts. */
struct play {
    bool active;
    struct exchange *x;
    struct mg_attempt *attempt;
    const struct mg_lane *lane;
    int target, key;
    struct step steps[STEPS];
    int step_count, next;
    char text[TEXT];
    int tokens;                        /* of the text */
    enum mg_class hint;                /* none: it ends well */
    const char *timeout, *transport;
    int status;
    uint64_t retry_after_ms;
    uint64_t began_us;
    struct mg_breaker *probing;        /* whose fate it decides; NULL: none */
    uint32_t opened;                   /* how often that one was opened before */
};

struct exchange {
    struct world *world;
    int index;
    uint64_t at_us, leaves_us;         /* when it comes, and when the client goes away; 0: it stays */
    bool begun, over;
    bool stream, asks_again;
    int tokens;
    struct mg_arena arena;
    struct mg_call call;
    struct mg_timeline timeline;
    struct mg_headers headers;
    struct mg_plan plan;
    struct mg_config_workflow workflow;
    struct mg_route route;
    struct mg_candidate candidates[TARGETS];
    struct mg_relay relay;
    struct mg_relay_call relay_call;
    size_t reserved;
    uint32_t used_keys[TARGETS];       /* bitmaps */
    uint32_t played;
    bool final_word;                   /* an attempt failed in a way that ends the exchange */
    bool prefilled, diverged;
    /* the client's side */
    char held[TEXT * 2], got[TEXT * 2];
    char expected[TEXT * 2];           /* after a prefill: what was sent and what goes on from it */
    bool committed, finish, done_event;
    int dones;
    int reservations[TARGETS];         /* what may_call let through and on_settled has not given back */
    uint8_t started[MG_MAX_ATTEMPTS + 1], settled[MG_MAX_ATTEMPTS + 1];
};

struct world {
    uint64_t seed, random;
    uint64_t left_out;                 /* bitmap of exchanges that do not come */
    uint32_t calm;                     /* bitmap of targets that are always well */
    bool loud;
    struct mg_loop loop;
    char project[32];
    int target_count, exchange_count;
    struct mg_config_retry_budget budget;
    struct target targets[TARGETS];
    struct mg_reach reaches[TARGETS];
    struct exchange exchanges[EXCHANGES];
    struct play plays[PLAYS];
    char broken[512];                  /* the first thing that must not be; empty: none */
    const char *promise;               /* which of them: the text before it was filled in */
};

/* What a run came across: a walk that meets nothing proves nothing. */
struct walk_seen {
    uint64_t exchanges, good, failed, left, attempts, retries, fallbacks, hedges, rescues, prefills, seams, probes, early_calls, waited,
        committed, again;
};
extern struct walk_seen walk_seen;

extern struct mg_adapter *walk_adapter;
extern struct mg_journal *walk_journal;
extern const char *const walk_mood_names[MOOD_COUNT];

/* --- world.c */

/* Of world->seed; every world of a process has rows of its own. */
void walk_make_world(struct world *world);
void walk_tell_world(const struct world *world);             /* when it is loud */

uint64_t walk_dice(uint64_t *state);
uint64_t walk_between(struct world *world, uint64_t low, uint64_t high);     /* both included */
bool walk_chance(struct world *world, unsigned percent);

const struct phase *walk_phase_at(const struct world *world, int target, uint64_t now_us);
enum mood walk_mood_at(const struct world *world, int target, uint64_t now_us);
/* What a target says to an exchange: all the same, or words of its own after a common beginning. */
void walk_words(const struct exchange *x, int target, char out[TEXT]);

void walk_append(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
double walk_ms(uint64_t us);                                 /* since the clock began */
void walk_tell(const struct world *world, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Something that must not be. Only the first counts. */
void walk_broken(struct world *world, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- play.c */

void walk_play_step(struct play *play);                      /* the next of its script */

/* --- client.c */

void walk_begin(struct world *world, struct exchange *x);
void walk_leave(struct exchange *x);                         /* the client goes away */

/* --- promises.c */

void walk_check_start(struct world *world, struct play *play);
void walk_check_failure(struct exchange *x);
void walk_check_success(const struct exchange *x);
void walk_check_beginning(const struct exchange *x);         /* of what the client has so far */
void walk_drain(struct world *world);                        /* reads the journal and counts what stands in it */
void walk_check_journal(struct world *world);
void walk_check_rest(struct world *world);                   /* nothing runs any more */
void walk_check_budgets(struct world *world);

#endif
