#include "relay/credential.h"

#include "base/mem.h"
#include "http/wait.h"

/* How much left is near the end of a limit: a burst of this worker could use it up. */
enum { REQUESTS_NEAR = 256, TOKENS_NEAR = 1 << 20 };

enum { MINUTE_US = 60 * 1000 * 1000, UNSAID_RESET_US = 1000 * 1000 };

/* What an answer said about one limit. left is one more than it said; 0: nothing was said. */
struct limit {
    _Atomic uint64_t left;
    _Atomic uint64_t reset_us;
    _Atomic uint64_t spent;            /* by us since then */
};

struct mg_credential {
    struct mg_row row;
    _Atomic uint64_t benched_until_us;
    _Atomic uint32_t why;              /* enum mg_class */
    _Atomic uint32_t strikes;          /* in a row */
    struct limit requests, tokens;
};

static struct mg_rows credentials = {.size = sizeof(struct mg_credential)};

static void note(struct limit *limit, mg_view left_text, mg_view reset_text, uint64_t near, uint64_t now_us, uint64_t wall_us);
static uint64_t back_at(const struct limit *limit, uint64_t needed, uint64_t now_us);

struct mg_credential *mg_credential_find(mg_view scope, mg_view name)
{
    return mg_rows_find(&credentials, scope, name);
}

struct mg_credential *mg_credential_peek(mg_view scope, mg_view name)
{
    return mg_rows_peek(&credentials, scope, name);
}

struct each {
    void (*cb)(void *arg, struct mg_credential *credential);
    void *arg;
};

static void on_row(void *arg, void *row)
{
    struct each *each = arg;
    each->cb(each->arg, row);
}

void mg_credential_each(mg_view scope, void (*cb)(void *arg, struct mg_credential *credential), void *arg)
{
    struct each each = {cb, arg};
    mg_rows_each(&credentials, scope, on_row, &each);
}

const struct mg_row *mg_credential_row(const struct mg_credential *credential)
{
    return &credential->row;
}

/* ---- benches ------------------------------------------------------------------------------------ */

void mg_credential_bench(struct mg_credential *credential, uint64_t until_us, enum mg_class why)
{
    if (!credential)
        return;
    uint64_t old = atomic_load_explicit(&credential->benched_until_us, memory_order_relaxed);
    do {
        if (old >= until_us)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&credential->benched_until_us, &old, until_us, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_store_explicit(&credential->why, (uint32_t)why, memory_order_relaxed);
}

static uint64_t strike_until(uint32_t strikes, uint64_t now_us)
{
    static const uint64_t benches_us[] = {UINT64_C(5) * MINUTE_US, UINT64_C(30) * MINUTE_US, UINT64_C(120) * MINUTE_US};
    return strikes < MG_COUNT(benches_us) ? now_us + benches_us[strikes] : UINT64_MAX;
}

void mg_credential_strike(struct mg_credential *credential, enum mg_class why, uint64_t now_us)
{
    if (!credential)
        return;
    uint64_t until_us = atomic_load_explicit(&credential->benched_until_us, memory_order_relaxed);
    uint32_t strikes = atomic_load_explicit(&credential->strikes, memory_order_relaxed);
    if (strikes > 0 && until_us > now_us)
        return;
    uint64_t next_us = MG_MAX(until_us, strike_until(strikes, now_us));
    if (!atomic_compare_exchange_strong_explicit(&credential->benched_until_us, &until_us, next_us, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    atomic_store_explicit(&credential->strikes, strikes + 1, memory_order_relaxed);
    atomic_store_explicit(&credential->why, (uint32_t)why, memory_order_relaxed);
}

void mg_credential_worked(struct mg_credential *credential, uint64_t start_us)
{
    if (!credential)
        return;
    uint64_t until_us = atomic_load_explicit(&credential->benched_until_us, memory_order_relaxed);
    if (until_us == 0 || start_us < until_us)
        return;
    if (atomic_compare_exchange_strong_explicit(&credential->benched_until_us, &until_us, 0, memory_order_relaxed,
                                                memory_order_relaxed))
        atomic_store_explicit(&credential->strikes, 0, memory_order_relaxed);
}

void mg_credential_reset(struct mg_credential *credential)
{
    if (!credential)
        return;
    atomic_store_explicit(&credential->strikes, 0, memory_order_relaxed);
    atomic_store_explicit(&credential->benched_until_us, 0, memory_order_relaxed);
    atomic_store_explicit(&credential->requests.left, 0, memory_order_relaxed);
    atomic_store_explicit(&credential->tokens.left, 0, memory_order_relaxed);
}

/* ---- limits ------------------------------------------------------------------------------------- */

/* The four in one pass: an answer has twenty headers, and most are not ours. */
struct said {
    mg_view requests_left, requests_reset, tokens_left, tokens_reset;
};

static void look(mg_view name, mg_view value, mg_view wanted, mg_view *out_value)
{
    if (name.len == wanted.len && mg_view_ieq(name, wanted))
        *out_value = value;
}

static struct said collect(const struct mg_limit_headers *names, struct mg_headers headers)
{
    struct said said = {.requests_left = MG_VIEW_NONE};
    mg_view requests_left = mg_view_cstr(names->requests_left), requests_reset = mg_view_cstr(names->requests_reset);
    mg_view tokens_left = mg_view_cstr(names->tokens_left), tokens_reset = mg_view_cstr(names->tokens_reset);
    char first = names->requests_left ? names->requests_left[0] : names->tokens_left ? names->tokens_left[0] : '\0';
    for (size_t i = 0; i < headers.count && first; i++) {
        mg_view name = headers.items[i].name, value = headers.items[i].value;
        if ((name.ptr[0] | 0x20) != first)
            continue;
        look(name, value, requests_left, &said.requests_left);
        look(name, value, requests_reset, &said.requests_reset);
        look(name, value, tokens_left, &said.tokens_left);
        look(name, value, tokens_reset, &said.tokens_reset);
    }
    return said;
}

void mg_credential_note(struct mg_credential *credential, const struct mg_limit_headers *names, struct mg_headers headers,
                        uint64_t now_us, uint64_t wall_us)
{
    if (!credential)
        return;
    struct said said = collect(names, headers);
    note(&credential->requests, said.requests_left, said.requests_reset, REQUESTS_NEAR, now_us, wall_us);
    note(&credential->tokens, said.tokens_left, said.tokens_reset, TOKENS_NEAR, now_us, wall_us);
}

uint64_t mg_credential_usable_at(const struct mg_credential *credential, uint64_t tokens, uint64_t now_us)
{
    if (!credential)
        return 0;
    uint64_t until_us = atomic_load_explicit(&credential->benched_until_us, memory_order_relaxed);
    uint64_t requests_us = back_at(&credential->requests, 1, now_us);
    uint64_t tokens_us = back_at(&credential->tokens, tokens, now_us);
    uint64_t at_us = MG_MAX(until_us, MG_MAX(requests_us, tokens_us));
    return at_us > now_us ? at_us : 0;
}

static void spend(struct limit *limit, uint64_t count)
{
    if (count > 0 && atomic_load_explicit(&limit->left, memory_order_relaxed) > 0)
        atomic_fetch_add_explicit(&limit->spent, count, memory_order_relaxed);
}

void mg_credential_spend(struct mg_credential *credential, uint64_t tokens)
{
    if (!credential)
        return;
    spend(&credential->requests, 1);
    spend(&credential->tokens, tokens);
}

static bool is_low(const struct limit *limit, uint64_t needed, uint64_t now_us)
{
    return back_at(limit, atomic_load_explicit(&limit->spent, memory_order_relaxed) + needed, now_us) > 0;
}

bool mg_credential_is_low(const struct mg_credential *credential, uint64_t tokens, uint64_t now_us)
{
    return credential && (is_low(&credential->requests, 1, now_us) || is_low(&credential->tokens, tokens, now_us));
}

uint64_t mg_credential_reset_at(const struct mg_credential *credential, uint64_t now_us)
{
    if (!credential)
        return 0;
    return MG_MAX(back_at(&credential->requests, 1, now_us), back_at(&credential->tokens, 1, now_us));
}

static void read_limit(const struct limit *limit, bool *out_known, uint64_t *out_left, uint64_t *out_reset_us)
{
    uint64_t left = atomic_load_explicit(&limit->left, memory_order_relaxed);
    *out_known = left > 0;
    *out_left = left > 0 ? left - 1 : 0;
    *out_reset_us = left > 0 ? atomic_load_explicit(&limit->reset_us, memory_order_relaxed) : 0;
}

void mg_credential_read(const struct mg_credential *credential, struct mg_credential_view *out)
{
    *out = (struct mg_credential_view){.why = MG_CLASS_none};
    if (!credential)
        return;
    out->benched_until_us = atomic_load_explicit(&credential->benched_until_us, memory_order_relaxed);
    if (out->benched_until_us)
        out->why = (enum mg_class)atomic_load_explicit(&credential->why, memory_order_relaxed);
    read_limit(&credential->requests, &out->requests_known, &out->requests_left, &out->requests_reset_us);
    read_limit(&credential->tokens, &out->tokens_known, &out->tokens_left, &out->tokens_reset_us);
}

/* "12", also "12.0" and what does not fit; false: it is no number. */
static bool read_left(mg_view text, uint64_t *out_left)
{
    text = mg_view_trim(text);
    mg_view whole = mg_view_head(text, mg_view_find(text, "."));
    return mg_view_u64(whole, out_left) && *out_left < UINT64_MAX;
}

/* Written only when it says something else than before: many workers read it. */
static void store(_Atomic uint64_t *to, uint64_t value)
{
    if (atomic_load_explicit(to, memory_order_relaxed) != value)
        atomic_store_explicit(to, value, memory_order_relaxed);
}

/* The time of the reset matters when the limit is near: before, it is not even read. */
static void note(struct limit *limit, mg_view left_text, mg_view reset_text, uint64_t near, uint64_t now_us, uint64_t wall_us)
{
    uint64_t left, reset_ms;
    if (!read_left(left_text, &left))
        return;
    bool said = left <= near && reset_text.len > 0 && mg_wait_read_until(reset_text, wall_us, &reset_ms);
    store(&limit->reset_us, said ? now_us + reset_ms * 1000 : left == 0 ? now_us + UNSAID_RESET_US : 0);
    store(&limit->left, left + 1);
    store(&limit->spent, 0);
}

/* When there will be that much again; 0: there is. */
static uint64_t back_at(const struct limit *limit, uint64_t needed, uint64_t now_us)
{
    uint64_t left = atomic_load_explicit(&limit->left, memory_order_relaxed);
    if (left == 0 || left - 1 >= needed)
        return 0;
    uint64_t reset_us = atomic_load_explicit(&limit->reset_us, memory_order_relaxed);
    return reset_us > now_us ? reset_us : 0;
}
