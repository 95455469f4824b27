/* vectorscan.h - libhs.so.5, loaded on first use. For patterns.c alone. */
#ifndef MG_SCRIPT_VECTORSCAN_H
#define MG_SCRIPT_VECTORSCAN_H

#include <hs/hs.h>

#include "base/err.h"

/* The functions in use, by the names they have in the library without the prefix "hs_". */
#define MG_VECTORSCAN_LIST(X)                                                                      \
    X(compile_ext_multi)                                                                           \
    X(free_compile_error)                                                                          \
    X(free_database)                                                                               \
    X(expression_info)                                                                             \
    X(alloc_scratch)                                                                               \
    X(free_scratch)                                                                                \
    X(scan)                                                                                        \
    X(set_misc_allocator)                                                                          \
    X(valid_platform)

struct mg_vectorscan {
#define X(name) __typeof__(&hs_##name) name;
    MG_VECTORSCAN_LIST(X)
#undef X
};

/* The same table every time; E_CONFIG with a sentence that names what to install. Any thread. */
MG_MUST_USE mg_err mg_vectorscan(const struct mg_vectorscan **out_table, struct mg_diag *diag);

#endif
