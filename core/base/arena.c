#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { ALIGN = 16, MAX_BLOCK = 65536 };

struct mg_arena_block {
    struct mg_arena_block *next;       /* older */
    size_t size;
    size_t used;
    _Alignas(ALIGN) char bytes[];
};

struct mg_arena_cleanup {
    struct mg_arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

void mg_arena_init(struct mg_arena *arena, size_t first_bytes)
{
    *arena = (struct mg_arena){.first_bytes = first_bytes};
}

static void run_cleanups(struct mg_arena *arena)
{
    while (arena->cleanups) {
        struct mg_arena_cleanup *cleanup = arena->cleanups;
        arena->cleanups = cleanup->next;
        cleanup->fn(cleanup->arg);
    }
}

/* Frees from the newest down to `keep`, which stays. */
static void free_down_to(struct mg_arena *arena, const struct mg_arena_block *keep)
{
    while (arena->block != keep) {
        struct mg_arena_block *block = arena->block;
        arena->block = block->next;
        mg_free(block);
    }
}

void mg_arena_reset(struct mg_arena *arena)
{
    run_cleanups(arena);
    struct mg_arena_block *oldest = arena->block;
    while (oldest && oldest->next)
        oldest = oldest->next;
    free_down_to(arena, oldest);
    if (oldest)
        oldest->used = 0;
    arena->used = 0;
}

void mg_arena_fini(struct mg_arena *arena)
{
    run_cleanups(arena);
    free_down_to(arena, NULL);
    arena->used = 0;
}

static void add_block(struct mg_arena *arena, size_t need)
{
    size_t size = arena->block ? MG_MIN(arena->block->size * 2, (size_t)MAX_BLOCK) : arena->first_bytes;
    size = MG_MAX(size, need);
    struct mg_arena_block *block = mg_realloc(NULL, sizeof *block + size);
    *block = (struct mg_arena_block){.next = arena->block, .size = size};
    arena->block = block;
}

static void *take(struct mg_arena *arena, size_t size)
{
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!arena->block || arena->block->size - arena->block->used < size)
        add_block(arena, size);
    void *ptr = arena->block->bytes + arena->block->used;
    arena->block->used += size;
    arena->used += size;
    return ptr;
}

void *mg_arena_alloc(struct mg_arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

mg_view mg_arena_dup(struct mg_arena *arena, mg_view bytes)
{
    char *copy = take(arena, bytes.len + 1);
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    return mg_view_of(copy, bytes.len);
}

const char *mg_arena_strdup(struct mg_arena *arena, const char *text)
{
    return text ? mg_arena_dup(arena, mg_view_cstr(text)).ptr : NULL;
}

mg_view mg_arena_printf(struct mg_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = take(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return mg_view_of(text, (size_t)n);
}

void mg_arena_cleanup(struct mg_arena *arena, void (*fn)(void *arg), void *arg)
{
    struct mg_arena_cleanup *cleanup = mg_arena_new(arena, struct mg_arena_cleanup);
    *cleanup = (struct mg_arena_cleanup){.next = arena->cleanups, .fn = fn, .arg = arg};
    arena->cleanups = cleanup;
}
