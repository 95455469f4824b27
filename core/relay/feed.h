/* feed.h - the rest of a request's body, which arrives while it is sent.
 *
 *   client ──put──▶ feed ──on_bytes──▶ attempt ──▶ provider
 *     ▲   "wait"  ◀──┘ │  ◀── "wait" ──┘   room when its socket has drained
 *     └──── room ──────┘
 *
 * Nobody keeps more of it than what one read brought: whoever puts bytes in is told to wait while nobody takes them, or while
 * the taker's socket is full, and stops reading. What was taken is gone: there is no second attempt after that. One taker
 * at a time; loop thread only. */
#ifndef MG_RELAY_FEED_H
#define MG_RELAY_FEED_H

#include "base/buf.h"

struct mg_feed_ops {                   /* of the taker; from mg_feed_put(), mg_feed_end(), or inside mg_feed_take() */
    mg_err (*on_bytes)(void *arg, mg_view bytes);    /* MG_E_AGAIN: taken, but wait; other errors: the taker has ended */
    void (*on_end)(void *arg);         /* that was all */
};

struct mg_feed {                       /* caller-owned; fields are feed.c's to write */
    uint64_t length;                   /* of the rest in bytes, when it is known beforehand … */
    bool chunked;                      /* … and it is not */
    bool ended;                        /* all of it was put in */
    bool taken;                        /* bytes of it are gone */
    bool full;                         /* the taker waits for its socket */
    struct mg_buf pending;             /* owned; put in while nobody took it */
    const struct mg_feed_ops *ops;     /* of the taker; NULL: there is none */
    void *arg;
    void (*room)(void *owner);         /* whoever puts in may go on */
    void *owner;
};

/* Zeroed before. max_pending: what may come while nobody takes, one read at least. */
void mg_feed_init(struct mg_feed *feed, size_t max_pending, void (*room)(void *owner), void *owner);
void mg_feed_fini(struct mg_feed *feed);

/* MG_E_AGAIN: it has them, but no more until `room`. MG_E_TOO_LARGE: nobody takes, and whoever puts in did not wait. */
MG_MUST_USE mg_err mg_feed_put(struct mg_feed *feed, mg_view bytes);
void mg_feed_end(struct mg_feed *feed);

/* What is pending comes at once; then, from here or from mg_feed_end(), the end. */
void mg_feed_take(struct mg_feed *feed, const struct mg_feed_ops *ops, void *arg);
/* The taker's socket has drained. */
void mg_feed_drained(struct mg_feed *feed);
/* The taker `arg` goes; harmless when it is another, or none. */
void mg_feed_leave(struct mg_feed *feed, const void *arg);

/* Bytes of it are with somebody: what was sent cannot be sent again. NULL: there is none. */
static inline bool mg_feed_is_gone(const struct mg_feed *feed)
{
    return feed && feed->taken;
}

#endif
