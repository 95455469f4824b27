#include "relay/rows.h"

#include <assert.h>

#include "base/map.h"
#include "base/mem.h"

/* Rows begin on a cache line, so that what a row keeps apart for its writers stays apart. */
enum { LINE = 64 };

static uint64_t hash_of(mg_view scope, mg_view name);
static bool is_row(const struct mg_row *row, uint64_t hash, mg_view scope, mg_view name);
static _Atomic(struct mg_row *) *slot_of(struct mg_rows *rows, uint64_t hash, mg_view scope, mg_view name);
static struct mg_row *row_new(const struct mg_rows *rows, uint64_t hash, mg_view scope, mg_view name, void **out_memory);
static bool reserve(struct mg_rows *rows);

void *mg_rows_peek(struct mg_rows *rows, mg_view scope, mg_view name)
{
    uint64_t hash = hash_of(scope, name);
    return atomic_load_explicit(slot_of(rows, hash, scope, name), memory_order_acquire);
}

void *mg_rows_find(struct mg_rows *rows, mg_view scope, mg_view name)
{
    struct mg_row *row = mg_rows_peek(rows, scope, name);
    if (row || !reserve(rows))
        return row;
    void *memory;
    uint64_t hash = hash_of(scope, name);
    struct mg_row *made = row_new(rows, hash, scope, name, &memory);
    for (;;) {
        _Atomic(struct mg_row *) *slot = slot_of(rows, hash, scope, name);
        row = NULL;
        if (atomic_compare_exchange_strong_explicit(slot, &row, made, memory_order_acq_rel, memory_order_acquire))
            return made;
        if (is_row(row, hash, scope, name))
            break;
    }
    atomic_fetch_sub_explicit(&rows->count, 1, memory_order_relaxed);
    mg_free(memory);
    return row;
}

void mg_rows_each(struct mg_rows *rows, mg_view scope, void (*cb)(void *arg, void *row), void *arg)
{
    for (size_t i = 0; i < MG_ROWS_SLOTS; i++) {
        struct mg_row *row = atomic_load_explicit(&rows->slots[i], memory_order_acquire);
        if (row && (scope.len == 0 || mg_view_eq(mg_view_of(row->scope, row->scope_len), scope)))
            cb(arg, row);
    }
}

/* Both parts are hashed by themselves: a NUL-joined text would cost a copy. */
static uint64_t hash_of(mg_view scope, mg_view name)
{
    return mg_hash(scope) * 0x9e3779b97f4a7c15u ^ mg_hash(name);
}

static bool is_row(const struct mg_row *row, uint64_t hash, mg_view scope, mg_view name)
{
    return row->hash == hash && mg_view_eq(mg_view_of(row->scope, row->scope_len), scope) &&
           mg_view_eq(mg_view_of(row->name, row->name_len), name);
}

/* The slot that holds the row, or the empty one where it belongs. There always is an empty one: half of them are. */
static _Atomic(struct mg_row *) *slot_of(struct mg_rows *rows, uint64_t hash, mg_view scope, mg_view name)
{
    for (size_t at = hash % MG_ROWS_SLOTS;; at = (at + 1) % MG_ROWS_SLOTS) {
        struct mg_row *row = atomic_load_explicit(&rows->slots[at], memory_order_acquire);
        if (!row || is_row(row, hash, scope, name))
            return &rows->slots[at];
    }
}

static const char *copy_text(char *to, mg_view text)
{
    if (text.len)
        memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return to;
}

/* One piece of memory: the row, then its two texts. *out_memory is what mg_free() takes. */
static struct mg_row *row_new(const struct mg_rows *rows, uint64_t hash, mg_view scope, mg_view name, void **out_memory)
{
    assert(rows->size >= sizeof(struct mg_row));
    char *memory = mg_alloc(LINE + rows->size + scope.len + name.len + 2);
    struct mg_row *row = (struct mg_row *)(void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
    char *texts = (char *)row + rows->size;
    row->hash = hash;
    row->scope_len = scope.len;
    row->name_len = name.len;
    row->scope = copy_text(texts, scope);
    row->name = copy_text(texts + scope.len + 1, name);
    if (rows->init)
        rows->init(row);
    *out_memory = memory;
    return row;
}

static bool reserve(struct mg_rows *rows)
{
    if (atomic_fetch_add_explicit(&rows->count, 1, memory_order_relaxed) < MG_MAX_HEALTH_ROWS)
        return true;
    atomic_fetch_sub_explicit(&rows->count, 1, memory_order_relaxed);
    return false;
}
