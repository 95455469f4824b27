/* timeline.h - the record of one exchange and of its attempts, filled in place as it happens.
 *
 * Fixed-size structs: marking a transition is one store. Views point into the exchange's arena or
 * its generation and are written out when the record is encoded for the journal
 * (meter/record.h). Times are microseconds: `at_us` values are relative to the start of the
 * exchange (or of the attempt), 0 means "did not happen" and a mark never is 0 (a mark in the
 * same microsecond is stored as 1). Loop thread only. */
#ifndef MG_METER_TIMELINE_H
#define MG_METER_TIMELINE_H

#include <stdint.h>

#include "base/limits.h"
#include "base/view.h"
#include "meter/failure.h"

/* Phases, marks and reasons are stored by number: these lists may only grow at the end.
 *
 * The straight line of a request. A phase's mark is the moment it was left successfully. */
#define MG_PHASE_LIST(X)                                                                           \
    X(accept)       /* first byte of the request read */                                           \
    X(parse)        /* the head is here and well-formed */                                         \
    X(authenticate) /* the key is known */                                                         \
    X(admit)        /* there was room and the whole body is here */                                \
    X(resolve)      /* model name became a workflow */                                             \
    X(transform)    /* on_request hooks have run; the body is final and hashed */                  \
    X(mark)         /* prompt-cache prefix marked */                                               \
    X(route)        /* a plan exists */                                                            \
    X(commit)       /* status and first bytes went to the client */                                \
    X(relay)        /* last byte handed to the client's socket */                                  \
    X(settle)       /* recorded */

enum mg_phase {
#define X(name) MG_PHASE_##name,
    MG_PHASE_LIST(X)
#undef X
    MG_PHASE_COUNT
};

#define MG_MARK_LIST(X)                                                                            \
    X(dns)                                                                                         \
    X(connect)                                                                                     \
    X(tls)                                                                                         \
    X(sent)         /* last byte of the request handed to the socket */                            \
    X(first_byte)   /* of the answer */                                                            \
    X(first_token)  /* of content, reasoning or a tool call */                                     \
    X(last_byte)

enum mg_mark {
#define X(name) MG_MARK_##name,
    MG_MARK_LIST(X)
#undef X
    MG_MARK_COUNT
};

/* Why an attempt was made. */
#define MG_REASON_LIST(X) X(first) X(retry) X(fallback) X(hedge) X(rescue) X(shadow)

enum mg_reason {
#define X(name) MG_REASON_##name,
    MG_REASON_LIST(X)
#undef X
    MG_REASON_COUNT
};

struct mg_usage {
    uint64_t input_tokens;             /* all input, cached included */
    uint64_t output_tokens;            /* all output, reasoning included */
    uint64_t cached_read_tokens;       /* subset of input */
    uint64_t cached_write_tokens;      /* subset of input */
    uint64_t reasoning_tokens;         /* subset of output */
    bool reported;                     /* by the provider; else what is here is an estimate */
    uint64_t input_audio_tokens;       /* subset of input */
    uint64_t output_audio_tokens;      /* subset of output */
    uint64_t images;                   /* pictures made; these four are counted beside tokens, and never estimated */
    uint64_t audio_ms;                 /* sound listened to, as the provider says */
    uint64_t characters;               /* text spoken */
    uint64_t searches;                 /* units of reranking */
};

static inline uint64_t mg_usage_units(const struct mg_usage *usage)
{
    return usage->images | usage->audio_ms | usage->characters | usage->searches;
}

struct mg_attempt_record {
    uint64_t start_us;                 /* since the exchange began */
    uint64_t end_us;                   /* when it settled, since the attempt began; 0: with its last mark */
    uint64_t mark_us[MG_MARK_COUNT];   /* since the attempt began; dns..tls stay 0 on a warm connection */
    mg_view target;                    /* "provider/model"; at most 128 bytes are recorded */
    mg_view provider;
    mg_view model;                     /* as sent upstream */
    mg_view why;                       /* why this target: the plan's `explain`; at most 256 bytes */
    mg_view error;                     /* what the peer said, cut to 256 bytes, no secrets */
    mg_view address;                   /* of the peer */
    mg_view credential;                /* name of the API key it used; empty: the provider has none */
    mg_view arm;                       /* name of the workflow's choice it was; empty: it has no name of its own */
    mg_view dialect;                   /* what was spoken upstream: the adapter's name */
    mg_view vendor;                    /* whose prices hold when nobody's are known by the provider's name; empty: nobody's */
    mg_view served;                    /* model as the answer names it; empty: it does not, or as it was sent */
    mg_view tier;                      /* service tier as the answer names it; empty: it does not */
    uint64_t waited_us;                /* before it began: backoff, or for a place at the target */
    uint64_t resumed_bytes;            /* of a rescue: text that the client had before this attempt went on; 0: none */
    uint64_t cost_microusd;            /* cost_picousd, rounded up */
    uint64_t cost_picousd;             /* exact, at the prices of then; 0 also when they are not known: see priced */
    enum mg_reason reason;
    enum mg_class class_;
    enum mg_action action;             /* what was done next */
    uint16_t status;                   /* HTTP status of the answer, 0 when none came */
    uint16_t number;                   /* 1 is the first attempt of the exchange */
    uint16_t entry;                    /* index of the plan entry */
    bool reused;                       /* a pooled connection */
    bool priced;                       /* somebody knew what this model costs */
    bool own_price;                    /* … the target itself did; else the catalogue */
    bool redialed;                     /* the pooled connection was dead; sent again on a fresh one */
    uint64_t bytes_sent;               /* body bytes upstream */
    uint64_t bytes_received;           /* body bytes of the answer */
    struct mg_usage usage;
};

struct mg_timeline {
    char id[40];                       /* "req_" and 26 characters; NUL-terminated */
    uint64_t start_wall_us;
    uint64_t start_mono_us;
    uint64_t phase_us[MG_PHASE_COUNT];
    uint64_t upstream_us;              /* time spent waiting for upstreams; the rest is overhead */
    uint64_t plugin_us;                /* CPU in Lua hooks */
    uint64_t body_hash;                /* of the one transformed request all attempts are built from */
    mg_view project, workflow, key_id, path, client, user_agent, session;   /* each cut to 128 bytes */
    mg_view metadata;                  /* JSON object as the client sent it, ≤ METADATA_BYTES */
    mg_view explain;                   /* the plan's own words */
    mg_view error_code;                /* of the error the client got; empty on success */
    char note[MG_MAX_NOTE_BYTES];      /* lines "at_us kind text\n": plugin faults, skipped events … */
    uint16_t note_bytes;
    uint32_t generation;
    uint16_t status;                   /* sent to the client; 499 when it left first */
    enum mg_class class_;              /* of the last word */
    bool stream;
    bool redacted;                     /* on_log will say what stays of session and metadata: nothing of them before that */
    bool clean;                        /* the answer ended as it should */
    bool offline;                      /* nothing answered; the workflow's `offline` did */
    bool charges_all;                  /* the project pays for every attempt (meter/charge.h): so it does for one that a
                                          crash cut off */
    uint64_t uncharged;                /* attempts the project does not pay for: bit number - 1 */
    uint64_t bytes_in, bytes_out;      /* body bytes from and to the client */
    uint16_t attempt_count;
    struct mg_attempt_record attempts[MG_MAX_ATTEMPTS];
};

/* Stores now for the phase; `now_us` is the loop's time. */
static inline void mg_timeline_phase(struct mg_timeline *timeline, enum mg_phase phase, uint64_t now_us)
{
    uint64_t at = now_us - timeline->start_mono_us;
    timeline->phase_us[phase] = at ? at : 1;
}

/* Appends a line to `note`; what does not fit is dropped and the last line says so. */
void mg_timeline_note(struct mg_timeline *timeline, uint64_t now_us, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* When the last thing happened, since the exchange began. */
uint64_t mg_timeline_duration_us(const struct mg_timeline *timeline);

/* The attempt that answered, or else the last one; NULL when there was none. */
const struct mg_attempt_record *mg_timeline_answer(const struct mg_timeline *timeline);

/* What all its attempts together come to, and how long it took. */
struct mg_totals {
    uint64_t duration_us;
    uint64_t overhead_us;              /* duration without waiting for upstreams */
    uint64_t ttft_us;                  /* mg_timeline_first_token_us */
    uint64_t waited_us;
    uint64_t cost_microusd;
    struct mg_usage usage;             /* `reported` is false when some attempt's tokens are estimates */
};
void mg_timeline_totals(const struct mg_timeline *timeline, struct mg_totals *out_totals);

/* "\n<provider>\t<model>\n…" of all attempts, into room, when there are several; else empty. */
enum { MG_TRIED_BYTES = MG_MAX_ATTEMPTS * (40 + 128 + 2) + 2 };
mg_view mg_timeline_tried(const struct mg_timeline *timeline, char room[MG_TRIED_BYTES]);

/* When the first token of the answer came, since the exchange began; 0: none did. Of a stream that was rescued, it is
 * the broken attempt's. */
uint64_t mg_timeline_first_token_us(const struct mg_timeline *timeline);

const char *mg_phase_name(enum mg_phase phase);
const char *mg_mark_name(enum mg_mark mark);
const char *mg_reason_name(enum mg_reason reason);

/* Writes "req_" and 26 characters: a ULID, so ids sort by time and the time is in the id. `random`
 * is 80 bits of which nobody else has the same. */
void mg_exchange_id(char out_id[40], uint64_t wall_us, const unsigned char random[10]);

/* Its parts as numbers, and back: 48 bits of milliseconds, 64 and 16 bits of chance. False: it is not one of ours. */
struct mg_id_parts {
    uint64_t ms, high;
    uint16_t low;
};
bool mg_exchange_id_parts(mg_view id, struct mg_id_parts *out_parts);
void mg_exchange_id_of(const struct mg_id_parts *parts, char out_id[40]);

/* When an exchange with this id began, to the millisecond; false when it is not one of ours. */
bool mg_exchange_id_time(mg_view id, uint64_t *out_wall_us);

#endif
