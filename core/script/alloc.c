#include "script/alloc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { STEP_BYTES = 64 * 1024 };

struct mg_account {
    char *project;                     /* owned; key in `accounts` */
    int refs;                          /* under `lock` */
    atomic_size_t used;                /* reserved by all states */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map accounts;         /* project → struct mg_account, under `lock` */

static void *allocate(void *arg, void *ptr, size_t old_size, size_t new_size);
static bool reserve(struct mg_lua *lua, size_t used);
static void release(struct mg_lua *lua);

struct mg_account *mg_account_ref(const char *project)
{
    pthread_mutex_lock(&lock);
    struct mg_account *account = mg_map_get(&accounts, mg_view_cstr(project));
    if (!account) {
        account = mg_new(struct mg_account);
        account->project = mg_strdup(project);
        mg_map_put(&accounts, mg_view_cstr(project), account);
    }
    account->refs++;
    pthread_mutex_unlock(&lock);
    return account;
}

void mg_account_unref(struct mg_account *account)
{
    if (!account)
        return;
    pthread_mutex_lock(&lock);
    bool last = --account->refs == 0;
    if (last)
        mg_map_remove(&accounts, mg_view_cstr(account->project));
    if (last && accounts.count == 0)
        mg_map_fini(&accounts);
    pthread_mutex_unlock(&lock);
    if (last) {
        mg_free(account->project);
        mg_free(account);
    }
}

size_t mg_account_used(const struct mg_account *account)
{
    return atomic_load_explicit(&account->used, memory_order_relaxed);
}

lua_State *mg_lua_new_state(struct mg_lua *lua)
{
    /* Strings of some 100 KB are common and short-lived: mapping and unmapping each of them would
     * cost a hundred times their copy. */
    mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);

    lua->limit_bytes = lua->cap_bytes;
    lua->L = lua_newstate(allocate, lua);
    return lua->L;
}

void mg_lua_close_state(struct mg_lua *lua)
{
    if (lua->L)
        lua_close(lua->L);
    lua->L = NULL;
    release(lua);
}

static void *allocate(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    struct mg_lua *lua = arg;
    if (new_size == 0) {
        mg_free(ptr);
        lua->used_bytes -= old_size;
        return NULL;
    }
    size_t used = lua->used_bytes - old_size + new_size;
    if (new_size > old_size && (!reserve(lua, used) || mg_fault(MG_FAULT_LUA_ALLOC))) {
        lua->denied = true;
        return NULL;
    }
    void *moved = mg_try_realloc(ptr, new_size);
    if (!moved && new_size <= old_size)
        moved = ptr;                   /* Lua relies on shrinking */
    if (moved)
        lua->used_bytes = used;
    else
        lua->denied = true;
    return moved;
}

/* True when the state may grow to `used` bytes. */
static bool reserve(struct mg_lua *lua, size_t used)
{
    if (lua->cap_bytes == 0)
        return true;
    if (used > lua->limit_bytes)
        return false;
    if (used <= lua->reserved_bytes)
        return true;
    if (!lua->account)
        return true;

    size_t step = (used - lua->reserved_bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
    size_t before = atomic_fetch_add_explicit(&lua->account->used, step, memory_order_relaxed);
    if (before + step > MG_MAX_LUA_PROJECT_BYTES) {
        atomic_fetch_sub_explicit(&lua->account->used, step, memory_order_relaxed);
        return false;
    }
    lua->reserved_bytes += step;
    return true;
}

/* Gives everything back to the account. */
static void release(struct mg_lua *lua)
{
    if (lua->account)
        atomic_fetch_sub_explicit(&lua->account->used, lua->reserved_bytes, memory_order_relaxed);
    lua->reserved_bytes = 0;
}
