/* fault.h - injection points: places where a test can make a system call fail.
 *
 *     if (mg_fault(MG_FAULT_JOURNAL_APPEND)) return MG_E_STORE;
 *
 * The list is sorted and closed; a test trips each. One relaxed load when nothing is armed. */
#ifndef MG_BASE_FAULT_H
#define MG_BASE_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>

#define MG_FAULT_LIST(X)                                                                           \
    X(ACCEPT)                                                                                      \
    X(CONNECT)                                                                                     \
    X(JOURNAL_APPEND)                                                                              \
    X(JOURNAL_SYNC)                                                                                \
    X(LUA_ALLOC)                                                                                   \
    X(RESOLVE)                                                                                     \
    X(STORE_WRITE)                                                                                 \
    X(WRITE)

enum mg_fault_point {
#define X(name) MG_FAULT_##name,
    MG_FAULT_LIST(X)
#undef X
    MG_FAULT_COUNT
};

extern atomic_int mg_fault_armed[MG_FAULT_COUNT];

/* Tests: the nth call from now (1 = the next) fails, and only that one; 0 disarms. */
void mg_fault_arm(enum mg_fault_point point, int nth);

bool mg_fault_hit(enum mg_fault_point point);

static inline bool mg_fault(enum mg_fault_point point)
{
    return atomic_load_explicit(&mg_fault_armed[point], memory_order_relaxed) > 0 && mg_fault_hit(point);
}

#endif
