/* instance.h - inside script/: a project's Lua, built: its state and its instances in order.
 *
 *   instances[]  inline:<workflow> … · inline · the entries of `plugins`, as the file lists them
 *
 * Request-side hooks run down the list, on_chunk and on_response up; route and classify stop at the
 * first answer. */
#ifndef MG_SCRIPT_INSTANCE_H
#define MG_SCRIPT_INSTANCE_H

#include "script/enter.h"
#include "script/manifest.h"

enum { MG_FAULTS_TO_QUARANTINE = 5 };

/* A plugin or a set of inline functions, ready to be called. */
struct mg_plugged {
    struct mg_instance base;
    const char *workflow;              /* the only one it sees; NULL: by `when_workflows` */
    const char *const *when_workflows; /* globs, ends with NULL; NULL: all */
    int when_stream;                   /* 1, 0, or -1: either */
    int function[MG_HOOK_COUNT];       /* registry references; LUA_NOREF: none */
    int self;                          /* registry reference; LUA_NOREF: its hooks take no self */
    bool closed[MG_HOOK_COUNT];        /* a failure ends the request instead of going on without it */
    bool guard;
    uint32_t burst_us[MG_HOOK_COUNT];  /* CPU of one stay; at most mg_bursts' */
    struct mg_stream_rule stream;      /* mode NONE: nothing to do with streams */
    uint64_t calls, faults, slow;      /* counters */
    uint64_t fault_us[MG_FAULTS_TO_QUARANTINE];  /* the last ones, a ring */
    uint32_t fault_next;
    uint64_t quarantined_until_us;     /* 0: not quarantined; past: the next call is a trial */
    uint32_t quarantine_ms;            /* of the last one; doubles while trials fail */
    const struct mg_switch *off;       /* disabled by hand; NULL: it is not. Borrowed from the worker's switches */
};

struct mg_script {
    struct mg_lua lua;
    struct mg_arena arena;             /* owns the instances and their strings */
    const struct mg_config_project *config;      /* borrowed: outlives the script */
    struct mg_trusted *trusted;        /* borrowed; NULL until attached */
    struct mg_plugged *instances;
    int count;
    bool tainted;
    int on_chunk_class;                /* registry reference of the metatable of chunk objects */
    uint32_t chunk_keep;               /* c:keep(n) of the call in progress */
    int filters;                       /* open ones; the state outlives them … */
    bool dying;                        /* … when its owner let go first */
};

/* CPU that one stay in a hook may take: past soft it is counted, at hard it ends. */
struct mg_burst {
    uint32_t soft_us, hard_us;
};
extern const struct mg_burst mg_bursts[MG_HOOK_COUNT];
extern const enum mg_lua_phase mg_hook_phases[MG_HOOK_COUNT];

enum { MG_HOOK_WALL_MS = 2000 };       /* on_request and on_response, waits included */

enum mg_ready { MG_READY, MG_NOT_CONCERNED, MG_QUARANTINED, MG_DISABLED };
enum mg_ready mg_plugged_ready(const struct mg_script *script, const struct mg_plugged *plugged, enum mg_hook hook,
                               const struct mg_call *call);

/* Why it does not run, as the end of "the plugin x …"; in the arena or static. */
const char *mg_plugged_why_not(const struct mg_plugged *plugged, enum mg_ready ready, struct mg_arena *arena);

/* One synchronous hook. push puts the arguments on the stack (self is there) and returns how many;
 * read finds the two results at index and index + 1 and may raise. False: it failed, which is noted
 * and counted. Safe to call nested in C, not in Lua. */
struct mg_hook_call {
    struct mg_script *script;
    struct mg_plugged *plugged;
    enum mg_hook hook;
    struct mg_call *call;
    int (*push)(lua_State *L, void *arg);
    void (*read)(lua_State *L, int index, void *arg);
    void *arg;
};
bool mg_hook_sync(const struct mg_hook_call *call);

/* Bookkeeping around hooks that run otherwise. */
void mg_hook_done(struct mg_script *script, struct mg_plugged *plugged, enum mg_hook hook, struct mg_call *call,
                  uint64_t cpu_us);
void mg_hook_failed(struct mg_script *script, struct mg_plugged *plugged, enum mg_hook hook, struct mg_call *call,
                    enum mg_lua_end end, uint64_t cpu_us);

uint64_t mg_script_now_us(const struct mg_script *script);

#endif
