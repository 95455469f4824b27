#include "script/alloc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { STEP_BYTES = 64 * 1024 };

/* Small blocks of trusted states come from lists by size: a translation makes and drops hundreds of them, and nothing caps
 * those states. A sanitizer sees every block when there is no pool. */
enum { GRAIN = 16, CLASSES = 16, SMALL = GRAIN * CLASSES, CHUNK_BYTES = 64 * 1024 };

struct mg_lua_pool {
    void *idle[CLASSES];               /* each begins with the next */
    char *fresh;                       /* of the newest chunk, what was never given out */
    size_t left;
    void *chunks;                      /* each begins with the one before */
};

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

static size_t class_of(size_t size)
{
    return (size - 1) / GRAIN;
}

static void *pool_take(struct mg_lua_pool *pool, size_t size)
{
    size_t class_ = class_of(size), block = (class_ + 1) * GRAIN;
    void *taken = pool->idle[class_];
    if (taken) {
        memcpy(&pool->idle[class_], taken, sizeof taken);
        return taken;
    }
    if (pool->left < block) {
        char *chunk = mg_try_realloc(NULL, CHUNK_BYTES);
        if (!chunk)
            return NULL;
        memcpy(chunk, &pool->chunks, sizeof pool->chunks);
        pool->chunks = chunk;
        pool->fresh = chunk + GRAIN;
        pool->left = CHUNK_BYTES - GRAIN;
    }
    taken = pool->fresh;
    pool->fresh += block;
    pool->left -= block;
    return taken;
}

static void pool_give(struct mg_lua_pool *pool, void *block, size_t size)
{
    size_t class_ = class_of(size);
    memcpy(block, &pool->idle[class_], sizeof(void *));
    pool->idle[class_] = block;
}

static void pool_free(struct mg_lua_pool *pool)
{
    for (void *chunk = pool ? pool->chunks : NULL, *before; chunk; chunk = before) {
        memcpy(&before, chunk, sizeof before);
        mg_free(chunk);
    }
    mg_free(pool);
}

static bool is_small(const struct mg_lua *lua, size_t size)
{
    return lua->pool && size > 0 && size <= SMALL;
}

/* As realloc(), of a block that was `old_size`. */
static void *resize(struct mg_lua *lua, void *ptr, size_t old_size, size_t new_size)
{
    bool was_small = ptr && is_small(lua, old_size), small = is_small(lua, new_size);
    if (!was_small && !small)
        return mg_try_realloc(ptr, new_size);
    if (was_small && small && class_of(old_size) == class_of(new_size))
        return ptr;
    void *moved = small ? pool_take(lua->pool, new_size) : mg_try_realloc(NULL, new_size);
    if (moved && ptr) {
        memcpy(moved, ptr, MG_MIN(old_size, new_size));
        if (was_small)
            pool_give(lua->pool, ptr, old_size);
        else
            mg_free(ptr);
    }
    return moved;
}

static void drop(struct mg_lua *lua, void *ptr, size_t size)
{
    if (ptr && is_small(lua, size))
        pool_give(lua->pool, ptr, size);
    else
        mg_free(ptr);
}

lua_State *mg_lua_new_state(struct mg_lua *lua)
{
    /* Strings of some 100 KB are common and short-lived: mapping and unmapping each of them would
     * cost a hundred times their copy. */
    mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);

#ifndef __SANITIZE_ADDRESS__
    if (lua->kind == MG_LUA_TRUSTED)
        lua->pool = mg_new(struct mg_lua_pool);
#endif
    lua->limit_bytes = lua->cap_bytes;
    lua->L = lua_newstate(allocate, lua);
    return lua->L;
}

void mg_lua_close_state(struct mg_lua *lua)
{
    if (lua->L)
        lua_close(lua->L);
    lua->L = NULL;
    pool_free(lua->pool);
    lua->pool = NULL;
    release(lua);
}

static void *allocate(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    struct mg_lua *lua = arg;
    if (new_size == 0) {
        drop(lua, ptr, old_size);
        lua->used_bytes -= old_size;
        return NULL;
    }
    size_t used = lua->used_bytes - old_size + new_size;
    if (new_size > old_size && (!reserve(lua, used) || mg_fault(MG_FAULT_LUA_ALLOC))) {
        lua->denied = true;
        return NULL;
    }
    void *moved = resize(lua, ptr, old_size, new_size);
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
