#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *ptr)
{
    if (!ptr) {
        fputs("moongate: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

void *mg_alloc(size_t size)
{
    return must(calloc(1, size ? size : 1));
}

void *mg_alloc_array(size_t size, size_t count)
{
    return must(calloc(count ? count : 1, size ? size : 1));
}

void *mg_realloc(void *ptr, size_t size)
{
    return must(realloc(ptr, size ? size : 1));
}

void *mg_try_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size ? size : 1);
}

void mg_free(void *ptr)
{
    free(ptr);
}

char *mg_strdup(const char *text)
{
    return text ? mg_strndup(text, strlen(text)) : NULL;
}

char *mg_strndup(const char *ptr, size_t len)
{
    char *copy = must(malloc(len + 1));
    if (len)
        memcpy(copy, ptr, len);
    copy[len] = '\0';
    return copy;
}

void mg_wipe(void *ptr, size_t size)
{
    if (size)
        explicit_bzero(ptr, size);
}

void mg_mem_give_back(void)
{
    malloc_trim(0);
}
