/* wait_fuzz.c - whatever a provider writes for a time: none, or one that is not too long, and the same for a text that
 * only begins with it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/wait.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t now_us = UINT64_C(1795521600000000);
    mg_view in = mg_view_of((const char *)data, size);
    uint64_t whole = 0, head = 0, until = 0;
    bool is_whole = mg_wait_read(in, &whole), is_head = mg_wait_read_head(in, &head);
    bool is_moment = mg_wait_read_until(in, now_us, &until);
    must(whole <= MG_WAIT_MAX_MS && head <= MG_WAIT_MAX_MS && until <= MG_WAIT_MAX_MS, "too long\n");
    must(!is_whole || (is_head && head == whole && is_moment), "a time that is none\n");
    return 0;
}
