#include "script/vectorscan.h"

#include <dlfcn.h>
#include <pthread.h>

#include "base/mem.h"

static const char LIBRARY[] = "libhs.so.5";

static struct mg_vectorscan table;
static const char *failed;             /* static text; NULL: the table is complete */

static void *misc_alloc(size_t size)
{
    return mg_try_realloc(NULL, size);
}

static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        failed = "patterns need Vectorscan (libhs.so.5): install the Debian package libvectorscan5";
        return;
    }
#define X(name) *(void **)(void *)&table.name = dlsym(library, "hs_" #name);                       \
    if (!table.name)                                                                               \
        failed = "libhs.so.5 lacks hs_" #name ": install the Debian package libvectorscan5";
    MG_VECTORSCAN_LIST(X)
#undef X
    if (!failed && table.valid_platform() != HS_SUCCESS)
        failed = "patterns need a processor with SSE4.2 (or NEON), which Vectorscan asks for";
    /* expression_info() hands memory over that is ours to free. */
    if (!failed)
        table.set_misc_allocator(misc_alloc, mg_free);
}

mg_err mg_vectorscan(const struct mg_vectorscan **out_table, struct mg_diag *diag)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (failed)
        return mg_diag_set(diag, MG_E_CONFIG, "", 0, "%s", failed);
    *out_table = &table;
    return MG_OK;
}
