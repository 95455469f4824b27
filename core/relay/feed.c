#include "relay/feed.h"

#include <assert.h>

void mg_feed_init(struct mg_feed *feed, size_t max_pending, void (*room)(void *owner), void *owner)
{
    mg_buf_init(&feed->pending, max_pending);
    feed->room = room;
    feed->owner = owner;
}

void mg_feed_fini(struct mg_feed *feed)
{
    mg_buf_fini(&feed->pending);
    feed->ops = NULL;
}

static mg_err hand_on(struct mg_feed *feed, mg_view bytes)
{
    if (bytes.len == 0)
        return MG_OK;
    feed->taken = true;
    mg_err err = feed->ops->on_bytes(feed->arg, bytes);
    feed->full = err != MG_OK;         /* one that has ended leaves soon */
    return feed->full ? MG_E_AGAIN : MG_OK;
}

mg_err mg_feed_put(struct mg_feed *feed, mg_view bytes)
{
    if (feed->ops)
        return hand_on(feed, bytes);
    MG_TRY(mg_buf_put(&feed->pending, bytes));
    return MG_E_AGAIN;
}

void mg_feed_end(struct mg_feed *feed)
{
    feed->ended = true;
    if (feed->ops)
        feed->ops->on_end(feed->arg);
}

void mg_feed_take(struct mg_feed *feed, const struct mg_feed_ops *ops, void *arg)
{
    assert(!feed->ops && !feed->taken);
    feed->ops = ops;
    feed->arg = arg;
    feed->full = false;
    mg_err err = hand_on(feed, mg_buf_view(&feed->pending));
    mg_buf_fini(&feed->pending);
    if (feed->ended)
        ops->on_end(arg);
    else if (err == MG_OK)
        feed->room(feed->owner);
}

void mg_feed_drained(struct mg_feed *feed)
{
    if (!feed->full)
        return;
    feed->full = false;
    if (!feed->ended)
        feed->room(feed->owner);
}

void mg_feed_leave(struct mg_feed *feed, const void *arg)
{
    if (feed->ops && feed->arg == arg)
        feed->ops = NULL;
}
