/* mem.h - the only door to malloc.
 *
 * Small fixed-size allocations never fail: they abort the process, because no caller can do
 * better. Sizes that a peer or a plugin chooses go through mg_buf, which has a maximum. */
#ifndef MG_BASE_MEM_H
#define MG_BASE_MEM_H

#include <stddef.h>

/* One zeroed object of the type. */
#define mg_new(type) ((type *)mg_alloc(sizeof(type)))
#define mg_new_array(type, count) ((type *)mg_alloc_array(sizeof(type), (count)))

#define mg_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define MG_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MG_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MG_MAX(a, b) ((a) > (b) ? (a) : (b))

void *mg_alloc(size_t size);                      /* zeroed; aborts when there is no memory */
void *mg_alloc_array(size_t size, size_t count);  /* zeroed; aborts on overflow too */
void *mg_realloc(void *ptr, size_t size);         /* not zeroed; aborts */
void *mg_try_realloc(void *ptr, size_t size);     /* NULL when there is no memory; for buffers and Lua */
void mg_free(void *ptr);                          /* NULL is a no-op */
char *mg_strdup(const char *text);                /* NULL stays NULL */
char *mg_strndup(const char *ptr, size_t len);    /* adds the NUL */

/* Hands free memory back to the system. May take milliseconds and holds up other threads' allocations: not on a worker. */
void mg_mem_give_back(void);

/* Overwrites with zeros in a way the compiler may not drop. For secrets. */
void mg_wipe(void *ptr, size_t size);

#endif
