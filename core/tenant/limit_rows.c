/* The table of rows: 256 stripes, each with a lock and 64 chains. A stripe looks at a bounded number of rows when it makes
 * a new one, and forgets those that say nothing any more. */
#include <pthread.h>

#include "base/map.h"
#include "tenant/limits_parts.h"

enum { STRIPES = 256, CHAINS = 64, PROJECT_SLOTS = 4 * MG_MAX_PROJECTS, LOOKED_AT = 64 };

struct stripe {
    pthread_mutex_t lock;
    struct mg_list chains[CHAINS];
    unsigned hand;                     /* the chain that is tidied next */
};

/* Values of one project. Slots are claimed by hash and never given up; projects come and go, but not by clients' hands. */
struct counter {
    _Atomic uint64_t hash;             /* 0: free */
    _Atomic uint32_t values;
};

static struct stripe stripes[STRIPES];
static struct counter counters[PROJECT_SLOTS];
static _Atomic uint32_t row_count;
static _Atomic uint32_t pool_count;     /* values beyond those that are a project's own */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    for (int i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&stripes[i].lock, NULL);
        for (int c = 0; c < CHAINS; c++)
            mg_list_init(&stripes[i].chains[c]);
    }
}

/* ---- counting --------------------------------------------------------------------------------- */

/* Of more projects than there are slots the last ones share a count. */
static struct counter *counter_of(mg_view project)
{
    uint64_t hash = mg_hash(project) | 1;
    for (unsigned i = 0; i < PROJECT_SLOTS; i++) {
        struct counter *counter = &counters[(hash + i) % PROJECT_SLOTS];
        uint64_t seen = atomic_load_explicit(&counter->hash, memory_order_relaxed);
        if (seen == hash || (!seen && atomic_compare_exchange_strong(&counter->hash, &seen, hash)) || seen == hash)
            return counter;
    }
    return &counters[hash % PROJECT_SLOTS];
}

uint32_t mg_limit_rows(void)
{
    return atomic_load_explicit(&row_count, memory_order_relaxed);
}

uint32_t mg_limit_values(mg_view project)
{
    return atomic_load_explicit(&counter_of(project)->values, memory_order_relaxed);
}

/* Adds one unless `most` are there. */
static bool count_up(_Atomic uint32_t *count, uint32_t most)
{
    uint32_t before = atomic_load_explicit(count, memory_order_relaxed);
    do {
        if (before >= most)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(count, &before, before + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void count_down(_Atomic uint32_t *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* One value more. What it takes of the common pool is taken before it counts, and given back after it counted: the pool may
 * seem fuller than it is for a moment, and never emptier. */
static bool add_value(struct counter *counter)
{
    uint32_t before = atomic_load_explicit(&counter->values, memory_order_relaxed);
    do {
        bool pooled = before >= MG_MAX_LIMIT_VALUES_OWN;
        if (before >= MG_MAX_LIMIT_VALUES || (pooled && !count_up(&pool_count, MG_MAX_LIMIT_ROWS)))
            return false;
        if (atomic_compare_exchange_weak_explicit(&counter->values, &before, before + 1, memory_order_relaxed, memory_order_relaxed))
            return true;
        if (pooled)
            count_down(&pool_count);
    } while (true);
}

static void drop_value(struct counter *counter)
{
    if (atomic_fetch_sub_explicit(&counter->values, 1, memory_order_relaxed) > MG_MAX_LIMIT_VALUES_OWN)
        count_down(&pool_count);
}

static bool is_counted(enum mg_limit_scope scope, bool shared)
{
    return scope == MG_SCOPE_METADATA && !shared;
}

/* Clients choose metadata; everything else is bounded by what operators wrote, and always finds room. */
static bool reserve(const struct mg_limit_id *id, bool shared)
{
    if (is_counted(id->scope, shared) && !add_value(counter_of(id->project)))
        return false;
    atomic_fetch_add_explicit(&row_count, 1, memory_order_relaxed);
    return true;
}

static void forget(struct mg_limit_row *row)
{
    if (is_counted(row->scope, row->shared))
        drop_value(counter_of(mg_view_of(row->text[0], row->length[0])));
    count_down(&row_count);
    mg_list_remove(&row->link);
    mg_free(row);
}

/* ---- rows ------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct mg_limit_id *id, bool shared)
{
    uint64_t hash = (uint64_t)id->scope << 1 | shared;
    const mg_view texts[] = {id->project, id->workflow, id->field, id->value};
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (texts[i].len ? mg_hash(texts[i]) : 0x51ed27)) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static bool is_row(const struct mg_limit_row *row, const struct mg_limit_id *id, bool shared, uint64_t hash)
{
    const mg_view texts[] = {id->project, id->workflow, id->field, id->value};
    if (row->hash != hash || row->scope != id->scope || row->shared != shared)
        return false;
    for (int i = 0; i < 4; i++)
        if (!mg_view_eq(mg_view_of(row->text[i], row->length[i]), texts[i]))
            return false;
    return true;
}

static struct mg_limit_row *row_new(const struct mg_limit_id *id, bool shared, uint64_t hash, uint64_t now_us)
{
    const mg_view texts[] = {id->project, id->workflow, id->field, id->value};
    size_t size = sizeof(struct mg_limit_row);
    for (int i = 0; i < 4; i++)
        size += texts[i].len + 1;
    struct mg_limit_row *row = mg_alloc(size);
    char *at = (char *)(row + 1);
    row->hash = hash;
    row->shared = shared;
    row->scope = id->scope;
    row->born_us = now_us;
    row->rule = mg_limit_rule_take(id);
    for (int i = 0; i < 4; i++) {
        row->text[i] = at;
        row->length[i] = (uint16_t)texts[i].len;
        if (texts[i].len)
            memcpy(at, texts[i].ptr, texts[i].len);
        at[texts[i].len] = '\0';
        at += texts[i].len + 1;
    }
    return row;
}

/* Under the lock: nobody can take a reference meanwhile. */
static void tidy(struct stripe *stripe, uint64_t now_us, uint64_t wall_us)
{
    int looked = 0;
    for (int i = 0; i < CHAINS && looked < LOOKED_AT; i++) {
        struct mg_list *chain = &stripe->chains[stripe->hand++ % CHAINS];
        MG_LIST_EACH(link, next, chain) {
            struct mg_limit_row *row = mg_container_of(link, struct mg_limit_row, link);
            if (atomic_load_explicit(&row->refs, memory_order_acquire) == 0 && mg_limit_row_is_idle(row, now_us, wall_us))
                forget(row);
            if (++looked >= LOOKED_AT)
                return;
        }
    }
}

static struct mg_limit_row *find(struct mg_list *chain, const struct mg_limit_id *id, bool shared, uint64_t hash)
{
    for (struct mg_list *link = chain->next; link != chain; link = link->next) {
        struct mg_limit_row *row = mg_container_of(link, struct mg_limit_row, link);
        if (is_row(row, id, shared, hash))
            return row;
    }
    return NULL;
}

/* NULL: there is no room for it. */
static struct mg_limit_row *take(const struct mg_limit_id *id, bool shared, uint64_t now_us, uint64_t wall_us)
{
    uint64_t hash = hash_of(id, shared);
    struct stripe *stripe = &stripes[hash % STRIPES];
    struct mg_list *chain = &stripe->chains[hash / STRIPES % CHAINS];
    pthread_mutex_lock(&stripe->lock);
    struct mg_limit_row *row = find(chain, id, shared, hash);
    if (!row) {
        tidy(stripe, now_us, wall_us);
        if (reserve(id, shared)) {
            row = row_new(id, shared, hash, now_us);
            mg_list_push_front(chain, &row->link);
        }
    }
    if (row)
        atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&stripe->lock);
    return row;
}

struct mg_limit_row *mg_limit_row_take(const struct mg_limit_id *id, uint64_t now_us, uint64_t wall_us)
{
    pthread_once(&once, init);
    struct mg_limit_row *row = take(id, false, now_us, wall_us);
    if (row)
        return row;
    struct mg_limit_id others = *id;
    others.value = MG_VIEW_NONE;
    return take(&others, true, now_us, wall_us);
}

/* Whoever holds it has a reference already, so that nobody forgets it meanwhile. */
struct mg_limit_row *mg_limit_row_hold(const struct mg_limit_row *row)
{
    struct mg_limit_row *held = (struct mg_limit_row *)row;
    if (held)
        atomic_fetch_add_explicit(&held->refs, 1, memory_order_relaxed);
    return held;
}

struct mg_limit_row *mg_limit_row_peek(const struct mg_limit_id *id)
{
    pthread_once(&once, init);
    uint64_t hash = hash_of(id, false);
    struct stripe *stripe = &stripes[hash % STRIPES];
    pthread_mutex_lock(&stripe->lock);
    struct mg_limit_row *row = find(&stripe->chains[hash / STRIPES % CHAINS], id, false, hash);
    if (row)
        atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&stripe->lock);
    return row;
}

/* A reference on each row of a stripe that counts a key or a value; the array grows. */
static size_t take_all(struct stripe *stripe, struct mg_limit_row ***rows, size_t *cap)
{
    size_t count = 0;
    pthread_mutex_lock(&stripe->lock);
    for (int c = 0; c < CHAINS; c++)
        for (struct mg_list *link = stripe->chains[c].next; link != &stripe->chains[c]; link = link->next) {
            struct mg_limit_row *row = mg_container_of(link, struct mg_limit_row, link);
            if (row->scope != MG_SCOPE_KEY && row->scope != MG_SCOPE_METADATA)
                continue;
            if (count == *cap) {
                *cap = *cap * 2 + 256;
                *rows = mg_realloc(*rows, *cap * sizeof **rows);
            }
            atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed);
            (*rows)[count++] = row;
        }
    pthread_mutex_unlock(&stripe->lock);
    return count;
}

void mg_limit_rows_each(mg_limit_row_cb cb, void *arg)
{
    struct mg_limit_row **rows = NULL;
    size_t cap = 0;
    pthread_once(&once, init);
    for (int s = 0; s < STRIPES; s++) {
        size_t count = take_all(&stripes[s], &rows, &cap);
        for (size_t i = 0; i < count; i++) {
            cb(arg, rows[i]);
            mg_limit_row_drop(rows[i]);
        }
    }
    mg_free(rows);
}

void mg_limit_row_drop(struct mg_limit_row *row)
{
    if (row)
        atomic_fetch_sub_explicit(&row->refs, 1, memory_order_release);
}

bool mg_limit_row_is_shared(const struct mg_limit_row *row)
{
    return row->shared;
}

enum mg_limit_scope mg_limit_row_scope(const struct mg_limit_row *row)
{
    return row->scope;
}

const char *mg_limit_row_workflow(const struct mg_limit_row *row)
{
    return row->text[1];
}

const char *mg_limit_row_field(const struct mg_limit_row *row)
{
    return row->text[2];
}

const char *mg_limit_row_value(const struct mg_limit_row *row)
{
    return row->text[3];
}
