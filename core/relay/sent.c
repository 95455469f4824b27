#include "relay/sent.h"

#include "base/limits.h"

struct mg_sent {
    struct mg_buf events;
    bool lost;                         /* more came than can be kept */
    bool read;                         /* `said` tells of all of them */
    bool possible;
    struct mg_resumed said;
};

static void free_sent(void *arg)
{
    struct mg_sent *sent = arg;
    mg_buf_fini(&sent->events);
    mg_resumed_fini(&sent->said);
}

struct mg_sent *mg_sent_new(struct mg_arena *arena)
{
    struct mg_sent *sent = mg_arena_new(arena, struct mg_sent);
    mg_buf_init(&sent->events, MG_MAX_BUFFERED_BYTES);
    mg_resumed_init(&sent->said);
    mg_arena_cleanup(arena, free_sent, sent);
    return sent;
}

mg_err mg_sent_put(struct mg_sent *sent, const struct mg_sse_event *event)
{
    if (sent->lost || event->is_comment)
        return MG_OK;
    sent->read = false;
    mg_err err = mg_sse_put_event(&sent->events, event->name, event->data);
    if (err == MG_OK)
        return MG_OK;
    sent->lost = true;
    mg_buf_fini(&sent->events);
    return MG_E_TOO_LARGE;
}

mg_view mg_sent_view(const struct mg_sent *sent)
{
    return mg_buf_view(&sent->events);
}

static bool read_back(struct mg_sent *sent, const struct mg_translator *translator, const struct mg_translation *what)
{
    struct mg_translated *stream;
    struct mg_stream_style style;
    uint64_t seq;
    mg_resumed_fini(&sent->said);
    mg_resumed_init(&sent->said);
    if (translator->ops->begin(translator->arg, what, &stream, &style) != MG_OK)
        return false;
    mg_err err = translator->ops->resume(stream, mg_sent_view(sent), &sent->said, &seq);
    translator->ops->end(stream);
    return err == MG_OK && sent->said.parts > 0;
}

const struct mg_resumed *mg_sent_said(struct mg_sent *sent, const struct mg_translator *translator, const struct mg_translation *what)
{
    if (!sent->read)
        sent->possible = !sent->lost && read_back(sent, translator, what);
    sent->read = true;
    return sent->possible ? &sent->said : NULL;
}
