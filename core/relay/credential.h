/* credential.h - what is known of one upstream API key: is it benched, and how much does the provider still let it do?
 *
 * Two rows: one of the key (bench for auth and billing: all its models) and one of the key at a model (limits of the
 * answer headers are per model, and so are cooling after a 429 and missing permissions). Any thread, relaxed atomics;
 * all calls take NULL. Times are monotonic microseconds, passed in. */
#ifndef MG_RELAY_CREDENTIAL_H
#define MG_RELAY_CREDENTIAL_H

#include "chat/adapter.h"
#include "http/headers.h"
#include "relay/rows.h"

struct mg_credential;                  /* a row of either kind */

struct mg_credential *mg_credential_find(mg_view scope, mg_view name);      /* "provider#key" or "provider/model#key" */
struct mg_credential *mg_credential_peek(mg_view scope, mg_view name);

struct mg_credential_view {
    uint64_t benched_until_us;         /* 0: it is not; UINT64_MAX: until a human acts */
    enum mg_class why;
    bool requests_known, tokens_known;
    uint64_t requests_left, tokens_left;
    uint64_t requests_reset_us, tokens_reset_us;    /* monotonic; 0: not said */
};

/* Not to be used before then; the longer of two benches holds. UINT64_MAX: until mg_credential_reset(). */
void mg_credential_bench(struct mg_credential *credential, uint64_t until_us, enum mg_class why);
/* The key was refused. Benched for 5 minutes, the next time in a row for 30, then for 2 hours, then until
 * mg_credential_reset(); attempts that were under way together count once. */
void mg_credential_strike(struct mg_credential *credential, enum mg_class why, uint64_t now_us);
/* An attempt that began then was good: a bench that had ended by then, and what led to it, is forgotten. */
void mg_credential_worked(struct mg_credential *credential, uint64_t start_us);
/* By hand: usable at once, nothing is held against it. */
void mg_credential_reset(struct mg_credential *credential);

/* What an answer's headers say about its limits: values come as "12", "6m0s", "1.5s", "300ms", seconds, HTTP or
 * RFC 3339 dates (wire reference). A limit that is used up without a word about its reset is back in a second. */
void mg_credential_note(struct mg_credential *credential, const struct mg_limit_headers *names, struct mg_headers headers,
                        uint64_t now_us, uint64_t wall_us);

/* 0: usable for a request of about that many tokens; else when it will be (UINT64_MAX: not before a human acts).
 * A key whose last answer said "0 requests left" is not usable until its reset, so its 429 is never provoked. */
uint64_t mg_credential_usable_at(const struct mg_credential *credential, uint64_t tokens, uint64_t now_us);

/* A request of about that many tokens goes out. Since answers tell of the past, what went out since the last one is
 * counted here. */
void mg_credential_spend(struct mg_credential *credential, uint64_t tokens);
/* What is under way already may use it up before its reset: another key is the better choice, if there is one. */
bool mg_credential_is_low(const struct mg_credential *credential, uint64_t tokens, uint64_t now_us);

/* When the limits that the last answer called used up are back; 0: none is. */
uint64_t mg_credential_reset_at(const struct mg_credential *credential, uint64_t now_us);

void mg_credential_read(const struct mg_credential *credential, struct mg_credential_view *out_view);

/* Calls back for every row of the scope (empty: all), in no order. */
void mg_credential_each(mg_view scope, void (*cb)(void *arg, struct mg_credential *credential), void *arg);
const struct mg_row *mg_credential_row(const struct mg_credential *credential);     /* its names */

#endif
