#include "vault/locked.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/mem.h"

struct page {
    struct mg_locked text;
    bool taken;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t page_of_thread;
static atomic_bool refused;

static void free_page(void *arg)
{
    struct page *page = arg;
    mg_wipe(page->text.ptr, page->text.max);
    munmap(page->text.ptr, page->text.max);
    mg_free(page);
}

static void start(void)
{
    if (pthread_key_create(&page_of_thread, free_page) != 0)
        abort();
}

static struct page *new_page(void)
{
    struct page *page = mg_new(struct page);
    void *memory = mmap(NULL, MG_LOCKED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    (void)madvise(memory, MG_LOCKED_BYTES, MADV_DONTDUMP);
    (void)madvise(memory, MG_LOCKED_BYTES, MADV_DONTFORK);
    if (mlock(memory, MG_LOCKED_BYTES) != 0 && !atomic_exchange(&refused, true))
        mg_log_warn("vault.not_locked", "note=\"memory for secrets may be swapped out: raise the limit of locked memory "
                                        "(ulimit -l, LimitMEMLOCK=)\"");
    page->text = (struct mg_locked){.ptr = memory, .max = MG_LOCKED_BYTES};
    pthread_setspecific(page_of_thread, page);
    return page;
}

struct mg_locked *mg_locked_take(void)
{
    pthread_once(&once, start);
    struct page *page = pthread_getspecific(page_of_thread);
    if (!page)
        page = new_page();
    assert(!page->taken && page->text.len == 0);
    page->taken = true;
    return &page->text;
}

void mg_locked_give(struct mg_locked *locked)
{
    struct page *page = mg_container_of(locked, struct page, text);
    assert(page->taken);
    mg_wipe(locked->ptr, locked->len);
    locked->len = 0;
    page->taken = false;
}

mg_err mg_locked_put(struct mg_locked *locked, mg_view bytes)
{
    if (bytes.len > locked->max - locked->len)
        return MG_E_TOO_LARGE;
    if (bytes.len)
        memcpy(locked->ptr + locked->len, bytes.ptr, bytes.len);
    locked->len += bytes.len;
    return MG_OK;
}

bool mg_locked_works(void)
{
    return !atomic_load(&refused);
}
