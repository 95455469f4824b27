#include "script/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    FINE_US = 500,                     /* between looks while a call is under way or one overran lately */
    COARSE_US = 8000,                  /* and otherwise: short calls are never seen, and cost no wake-ups */
    SUSPICION_US = 10000000,           /* how long after an overrun every call is watched closely */
    IDLE_POLLS = 4,                    /* looks without a call before the watchdog sleeps */
    WHERE_LEVELS = 16,                 /* frames looked at to say where a runaway was */
};

/* ThreadSanitizer holds signals back until the thread makes a system call, so there the watchdog sets
 * the hook itself, under a lock that leaving takes too. */
#if defined(__SANITIZE_THREAD__)
enum { DIRECT = 1 };
#else
enum { DIRECT = 0 };
#endif

/* One per thread that ever entered Lua. */
struct mg_lua_slot {
    struct mg_list link;               /* in `slots`, under `lock` */
    pthread_t thread;
    clockid_t clock;                   /* its CPU time */
    struct mg_lua *lua;                /* who is inside; written before serial */
    _Atomic uint64_t serial;           /* odd: inside Lua */
    _Atomic uint32_t budget_us;
    _Atomic uint64_t fire;             /* serial of the call that must stop */
    pthread_mutex_t direct;            /* DIRECT only: serialises stopping and leaving */
    uint64_t seen;                     /* watchdog: the call it measures … */
    uint64_t seen_cpu_us;              /* … and the clock when it saw it first */
    bool fired;                        /* watchdog: dealt with */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct mg_list slots = {&slots, &slots};
static pthread_key_t exit_key;
static pthread_t watchdog;
static bool running;                   /* under `lock` */
static atomic_bool asleep;
static uint64_t suspicious_until_us;   /* under `lock` */
static _Thread_local struct mg_lua_slot *own_slot;

static void *watch(void *arg);
static long pause_us(void);
static bool look_at_all(void);
static void look(struct mg_lua_slot *slot);
static void fire(struct mg_lua_slot *slot, uint64_t serial);
static void stop_lua(struct mg_lua *lua);
static void on_signal(int number);
static void on_hook(lua_State *L, lua_Debug *ar);
static void note_where(struct mg_lua *lua, lua_State *L);
static struct mg_lua_slot *slot_of_thread(void);
static void forget_slot(void *arg);

mg_err mg_watchdog_start(struct mg_diag *diag)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL) != 0 || pthread_key_create(&exit_key, forget_slot) != 0)
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot install the watchdog: %s", strerror(errno));

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);     /* the watchdog itself takes no signal */
    pthread_mutex_lock(&lock);
    int failed = pthread_create(&watchdog, NULL, watch, NULL);
    running = !failed;
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        pthread_key_delete(exit_key);
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot start the watchdog: %s", strerror(failed));
    }
    return MG_OK;
}

void mg_watchdog_stop(void)
{
    pthread_mutex_lock(&lock);
    bool was_running = running;
    running = false;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&lock);
    if (!was_running)
        return;
    pthread_join(watchdog, NULL);
    forget_slot(own_slot);
    own_slot = NULL;
    pthread_key_delete(exit_key);
}

void mg_watchdog_enter(struct mg_lua *lua, uint32_t budget_us)
{
    struct mg_lua_slot *slot = slot_of_thread();
    uint64_t serial = atomic_load_explicit(&slot->serial, memory_order_relaxed);

    lua->slot = slot;
    atomic_store_explicit(&lua->stop, 0, memory_order_relaxed);
    lua->where[0] = '\0';
    slot->lua = lua;
    atomic_store_explicit(&slot->budget_us, budget_us, memory_order_relaxed);
    atomic_store(&slot->serial, serial + 1);         /* before the look at `asleep`: a total order */
    if (atomic_load(&asleep)) {
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&wake);
        pthread_mutex_unlock(&lock);
    }
}

bool mg_watchdog_leave(struct mg_lua *lua)
{
    struct mg_lua_slot *slot = lua->slot;
    if (DIRECT)
        pthread_mutex_lock(&slot->direct);
    uint64_t serial = atomic_load_explicit(&slot->serial, memory_order_relaxed);
    atomic_store_explicit(&slot->serial, serial + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);       /* from here on the handler leaves us alone */

    bool stopped = lua->stop != 0;
    if (stopped) {
        lua_sethook(lua->L, NULL, 0, 0);
        lua->stop = 0;
    }
    lua->slot = NULL;
    if (DIRECT)
        pthread_mutex_unlock(&slot->direct);
    return stopped;
}

void mg_watchdog_raise(lua_State *L)
{
    struct mg_lua *lua = mg_lua_of(L);
    if (lua->where[0] == '\0')
        note_where(lua, L);
    lua_pushliteral(L, "plugin deadline exceeded");
    lua_error(L);
    __builtin_unreachable();
}

static void *watch(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "mg-watchdog");
    int idle_polls = 0;

    pthread_mutex_lock(&lock);
    while (running) {
        idle_polls = look_at_all() ? 0 : idle_polls + 1;
        if (idle_polls < IDLE_POLLS) {
            const struct timespec pause = {.tv_nsec = pause_us() * 1000};
            pthread_mutex_unlock(&lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&lock);
            continue;
        }
        atomic_store(&asleep, true);
        if (!look_at_all())            /* a call that began before it could see `asleep` */
            pthread_cond_wait(&wake, &lock);
        atomic_store(&asleep, false);
        idle_polls = 0;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static long pause_us(void)
{
    if (mg_mono_us() < suspicious_until_us)
        return FINE_US;
    MG_LIST_EACH(item, next, &slots)
        if (mg_container_of(item, struct mg_lua_slot, link)->seen % 2 == 1)
            return FINE_US;
    return COARSE_US;
}

/* True when a thread is, or was since the last look, in Lua. */
static bool look_at_all(void)
{
    bool active = false;
    MG_LIST_EACH(item, next, &slots) {
        struct mg_lua_slot *slot = mg_container_of(item, struct mg_lua_slot, link);
        uint64_t before = slot->seen;
        look(slot);
        active = active || slot->seen != before || slot->seen % 2 == 1;
    }
    return active;
}

static uint64_t cpu_us(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void look(struct mg_lua_slot *slot)
{
    uint64_t serial = atomic_load(&slot->serial);
    if (serial != slot->seen) {
        slot->seen = serial;
        slot->fired = false;
        slot->seen_cpu_us = serial % 2 ? cpu_us(slot->clock) : 0;
        return;
    }
    if (serial % 2 == 0 || slot->fired)
        return;
    uint64_t budget_us = atomic_load_explicit(&slot->budget_us, memory_order_relaxed);
    if (cpu_us(slot->clock) - slot->seen_cpu_us >= budget_us)
        fire(slot, serial);
}

static void fire(struct mg_lua_slot *slot, uint64_t serial)
{
    if (DIRECT) {
        pthread_mutex_lock(&slot->direct);
        if (atomic_load(&slot->serial) == serial)
            stop_lua(slot->lua);
        pthread_mutex_unlock(&slot->direct);
    } else {
        atomic_store(&slot->fire, serial);
        pthread_kill(slot->thread, SIGUSR1);
    }
    slot->fired = true;
    suspicious_until_us = mg_mono_us() + SUSPICION_US;
}

/* Runs on the very thread that is (or was) in Lua. */
static void on_signal(int number)
{
    (void)number;
    struct mg_lua_slot *slot = own_slot;
    if (!slot)
        return;
    uint64_t serial = atomic_load(&slot->serial);
    if (serial % 2 == 1 && atomic_load(&slot->fire) == serial)
        stop_lua(slot->lua);
}

/* The trusted state runs compiled code, which no hook reaches: its overrun is only noted. */
static void stop_lua(struct mg_lua *lua)
{
    if (lua->kind == MG_LUA_TRUSTED) {
        lua->late = 1;
        return;
    }
    lua->stop = 1;
    lua_sethook(lua->L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    mg_watchdog_raise(L);
}

/* The innermost line that is not the prelude's. */
static void note_where(struct mg_lua *lua, lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; level < WHERE_LEVELS && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || strncmp(ar.short_src, "boot/", 5) == 0)
            continue;
        snprintf(lua->where, sizeof(lua->where), "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

static struct mg_lua_slot *slot_of_thread(void)
{
    if (own_slot)
        return own_slot;
    struct mg_lua_slot *slot = mg_new(struct mg_lua_slot);
    slot->thread = pthread_self();
    if (pthread_getcpuclockid(slot->thread, &slot->clock) != 0)
        slot->clock = CLOCK_MONOTONIC;
    pthread_mutex_init(&slot->direct, NULL);
    pthread_mutex_lock(&lock);
    mg_list_push_back(&slots, &slot->link);
    pthread_mutex_unlock(&lock);
    pthread_setspecific(exit_key, slot);
    own_slot = slot;
    return slot;
}

/* The thread ends. */
static void forget_slot(void *arg)
{
    struct mg_lua_slot *slot = arg;
    if (!slot)
        return;
    own_slot = NULL;
    pthread_mutex_lock(&lock);
    mg_list_remove(&slot->link);
    pthread_mutex_unlock(&lock);
    pthread_mutex_destroy(&slot->direct);
    mg_free(slot);
}
