/* arena.h - memory that is freed whole: one per exchange, one per generation.
 *
 * Allocation is a pointer bump; blocks double up to 64 KiB. mg_arena_reset() runs the cleanups
 * (last registered first), keeps the first block and forgets the rest, so a recycled arena serves
 * its next exchange without a malloc. The caller bounds what it puts in: sizes that a peer chooses
 * are checked against limits.h first. Not thread safe. */
#ifndef MG_BASE_ARENA_H
#define MG_BASE_ARENA_H

#include "base/view.h"

struct mg_arena_block;
struct mg_arena_cleanup;

struct mg_arena {
    struct mg_arena_block *block;      /* owned; newest first */
    struct mg_arena_cleanup *cleanups; /* in the arena itself */
    size_t first_bytes;
    size_t used;                       /* bytes handed out since the last reset */
};

void mg_arena_init(struct mg_arena *arena, size_t first_bytes);
void mg_arena_reset(struct mg_arena *arena);
void mg_arena_fini(struct mg_arena *arena);

void *mg_arena_alloc(struct mg_arena *arena, size_t size);   /* zeroed, aligned to 16 */
#define mg_arena_new(arena, type) ((type *)mg_arena_alloc((arena), sizeof(type)))
#define mg_arena_array(arena, type, count) ((type *)mg_arena_alloc((arena), sizeof(type) * (count)))

/* Copies; the result is NUL-terminated behind its length. */
mg_view mg_arena_dup(struct mg_arena *arena, mg_view bytes);
const char *mg_arena_strdup(struct mg_arena *arena, const char *text);
mg_view mg_arena_printf(struct mg_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* fn(arg) runs at reset or fini: the way outside resources hang on an exchange. */
void mg_arena_cleanup(struct mg_arena *arena, void (*fn)(void *arg), void *arg);

#endif
