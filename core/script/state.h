/* state.h - one Lua state and what surrounds it: memory account, the run in progress, whose code
 * runs, what it may call. The seam between the runtime and the modules of `moongate.*`.
 *
 * A C function of a module finds everything through mg_lua_of(L). While Lua runs there is exactly
 * one `struct mg_lua_run` (a hook of an instance for one exchange, or a load while a generation is
 * built). A run that waits is put aside and another one may take its place, so nothing of a run may
 * be kept in struct mg_lua itself.
 *
 * Rules for every C function that Lua can call:
 *   - it may raise (longjmp) at any Lua API call: hold no mg_alloc'd memory and no lock across one;
 *     use lua_newuserdata() for scratch, or copy arguments first and allocate last;
 *   - it never calls tostring or luaL_tolstring on a plugin's value: a __tostring would run;
 *   - if it may take longer than a few µs it calls mg_lua_poll(L) every 1,024 steps;
 *   - it never calls back into Lua expecting that to yield. */
#ifndef MG_SCRIPT_STATE_H
#define MG_SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <luajit.h>
#include <stdatomic.h>

#include "base/list.h"
#include "script/script.h"

/* Where Lua code may be when it calls a function. */
#define MG_LUA_PHASE_LIST(X)                                                                       \
    X(load)         /* top level of a file, while a generation is built */                         \
    X(validate)                                                                                    \
    X(new)                                                                                         \
    X(on_request)                                                                                  \
    X(route)                                                                                       \
    X(on_attempt)                                                                                  \
    X(classify)                                                                                    \
    X(on_chunk)                                                                                    \
    X(on_response)                                                                                 \
    X(on_log)                                                                                      \
    X(accept)                                                                                      \
    X(offline)                                                                                     \
    X(charge)                                                                                      \
    X(on_bill)                                                                                     \
    X(on_invoice)

enum mg_lua_phase {
#define X(name) MG_LUA_PHASE_##name,
    MG_LUA_PHASE_LIST(X)
#undef X
    MG_LUA_PHASE_COUNT
};

const char *mg_lua_phase_name(enum mg_lua_phase phase);        /* "on_request" */

/* Masks for struct mg_lua_function. */
#define MG_LUA_IN(phase) (1u << MG_LUA_PHASE_##phase)
enum {
    MG_LUA_ANYWHERE = (1u << MG_LUA_PHASE_COUNT) - 1,
    MG_LUA_WAITING = MG_LUA_IN(on_request) | MG_LUA_IN(on_response),   /* the hooks that may wait */
    MG_LUA_SETUP = MG_LUA_IN(load) | MG_LUA_IN(validate) | MG_LUA_IN(new),
    MG_LUA_HOOKS = MG_LUA_ANYWHERE & ~MG_LUA_SETUP,
};

/* --- registering functions ------------------------------------------------------------------- */

/* One function of the Lua API. The contract test walks these tables. */
struct mg_lua_function {
    const char *name;        /* "request" */
    lua_CFunction fn;        /* the checks below are done before it runs; upvalue 1 is taken */
    uint32_t phases;         /* mask; elsewhere the call raises and names the phase */
    const char *permission;  /* kind that must be granted: "kv", "net", "stats"; NULL: none */
    bool waits;              /* returns mg_co_wait(); its phases are a subset of MG_LUA_WAITING */
};

/* A module: moongate.<name>. The functions are put into a table; `open` (may be NULL) then runs with
 * that table on top of the stack and may add values (json.null) or make metatables. When
 * lua/moongate/<name>.lua exists it is loaded as chunk(name, table) and its result is the module. */
struct mg_lua_module {
    const char *name;
    const struct mg_lua_function *functions;   /* ends with name NULL */
    void (*open)(lua_State *L);                /* once per state; protected */
};

/* All modules, ends with NULL. Defined by the API in script/modules.c. */
extern const struct mg_lua_module *const mg_lua_modules[];

/* Pushes one such function with its checks around it: for methods of views and other userdata. */
void mg_lua_push_function(lua_State *L, const struct mg_lua_function *function);

/* --- the state ------------------------------------------------------------------------------- */

enum mg_lua_kind { MG_LUA_TRUSTED, MG_LUA_PROJECT };

struct mg_account;                     /* memory of one project, shared by its states on all workers */
struct mg_co;                          /* a coroutine hook in progress; see co.h */
struct mg_lua_slot;                    /* what the watchdog sees of this thread */

/* An instance of a plugin or an inline function. Immutable after the build but for the counters. */
struct mg_instance {
    const char *name;                  /* "pii", "inline", "inline:chat" */
    const char *plugin;                /* name of the plugin; NULL: inline */
    const char *project;
    const char *const *grants;         /* "kv", "net:https://a.example", "content:request"; ends with NULL */
    bool inline_code;                  /* the operator's own: every permission but net and secret */
    size_t memory_bytes;               /* how much one stay in Lua may grow the state; 0: up to its cap */
    uint64_t log_second;               /* for moongate.log: the second lines are counted in */
    uint32_t log_lines;                /* in that second */
    struct mg_kv_space *kv, *kv_shared;   /* its own and its project's space; NULL until moongate.kv is used */
};

/* One stay in Lua, possibly with waits in between. */
struct mg_lua_run {
    struct mg_call *call;              /* NULL while building */
    struct mg_instance *instance;      /* whose code runs; NULL: trusted code */
    enum mg_lua_phase phase;
    const char *load_name;             /* phase load: the file, for messages */
    struct mg_call_response *response; /* phase on_response */
    struct mg_co *co;                  /* NULL: this hook may not wait */
    uint64_t views;                    /* views.c: the serial its views were made with; 0 until the first view */
    uint32_t http_calls;               /* made by this run, for moongate.http's limit */
    uint32_t http_parallel;            /* in flight now */
};

struct mg_lua {
    lua_State *L;                      /* the main thread of the state */
    enum mg_lua_kind kind;
    struct mg_loop *loop;              /* NULL until attached: no waiting, no timers */
    struct mg_lua_run *run;            /* current; NULL: Lua is not running */
    uint64_t views_made;               /* views.c: the last serial of this state */
    struct mg_account *account;        /* shared; NULL: trusted */
    struct mg_lua_pool *pool;          /* alloc.c: small blocks of a trusted state; NULL: none */
    size_t used_bytes, cap_bytes;      /* of this state; cap 0: none */
    size_t limit_bytes;                /* of used_bytes during the call in progress: the cap or less */
    size_t reserved_bytes;             /* what this state has taken out of the account, in large steps */
    bool denied;                       /* an allocation was refused since the call began */
    atomic_int stop;                   /* the deadline passed: set by the signal handler */
    atomic_int late;                   /* trusted states: ran over its burst */
    int callback_depth;                /* gsub and sort callbacks in progress … */
    void *callback_frames[MG_MAX_LUA_CALLBACK_DEPTH];   /* … and where on the C stack each stands */
    uint32_t scratches;                /* args.c: scratch buffers that nobody gave back yet */
    struct mg_lua_slot *slot;          /* of the thread that is inside */
    struct mg_list co_pool;            /* co.c: idle coroutines */
    int co_pooled;
    lua_CFunction body;                /* what mg_lua_protect() runs, and its argument */
    void *body_arg;
    char where[192];                   /* "file:line" of the first stop */
    char trace[1024];                  /* traceback of the last error */
    int prelude;                       /* registry reference of what boot/prelude.lua returned */
};

/* O(1), from any thread (coroutine) of the state. */
struct mg_lua *mg_lua_of(lua_State *L);

/* Raises "plugin deadline exceeded" when the deadline passed. Call it in long C loops. */
void mg_lua_poll(lua_State *L);

/* True once a deadline, the memory cap or a cancellation must end the call whatever Lua catches. */
static inline bool mg_lua_fatal(const struct mg_lua *lua)
{
    return lua->stop || lua->denied;
}

/* Whether the code that runs now was granted "kind" or "kind:value" (value NULL: any of that kind).
 * Inline code has everything but net and secret; trusted code has all. */
bool mg_lua_may(const struct mg_lua *lua, const char *kind, const char *value);

/* Raises "<what> needs the permission …" with the line to add when it may not. */
void mg_lua_need(lua_State *L, const char *what, const char *kind, const char *value);

/* Pushes nil and {code, message, retryable}: what recoverable failures return. Returns 2. */
int mg_lua_fail(lua_State *L, const char *code, bool retryable, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Before calling back into Lua from C (gsub, sort): raises past MG_MAX_LUA_CALLBACK_DEPTH, because
 * each level costs C stack. `frame` is __builtin_frame_address(0) of the caller: levels that an error
 * jumped over are noticed by it. Pair with leave. */
void mg_lua_callback_enter(lua_State *L, void *frame);
void mg_lua_callback_leave(lua_State *L);

/* A value that a hook returns to decide (req:respond, req:deny, res:replace, res:retry). The
 * strings must be in the call's arena. mg_lua_outcome: NULL when the value is something else. */
void mg_lua_push_outcome(lua_State *L, const struct mg_hook_outcome *outcome);
const struct mg_hook_outcome *mg_lua_outcome(lua_State *L, int index);

#endif
