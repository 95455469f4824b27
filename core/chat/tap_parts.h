/* tap_parts.h - one scan of one document, shared by the files tap*.c; private to core/chat.
 *
 * Everything is gathered in `struct look`; only when the document turns out to be valid is it added to the tap. */
#ifndef MG_CHAT_TAP_PARTS_H
#define MG_CHAT_TAP_PARTS_H

#include "chat/adapter_parts.h"

/* One piece of a tool call; numbers and spans may come in any order. */
struct mg_tool_piece {
    int choice_place, call_place;      /* call_place -1: the call has no list around it */
    int index;                         /* -1: not said */
    mg_view id, name, arguments;       /* spans; empty: absent */
};

/* A content string of the first choice of a whole answer. */
struct mg_text_span {
    mg_view span;
    struct mg_text_span *next;
};

enum { MG_LOOK_TOOLS = 2 * MG_TAP_TOOLS, MG_LOOK_HELD = 16, MG_RANK_NONE = MG_JSON_PATHS };

struct mg_look {
    struct mg_tap *tap;
    const struct mg_path_set *set;
    struct mg_tap_event *event;        /* NULL: a whole answer */
    mg_view doc;
    mg_view name;                      /* of the event */
    struct mg_usage usage;             /* taken over only when the document turns out valid */
    uint64_t usage_more, usage_long;
    uint64_t images, audio_ms, searches;
    uint64_t content_bytes;
    bool content, useful, refused, blank, item, usage_seen, usage_bad, error;
    char finish[40], blocked[40];
    struct mg_json_hit usage_hit;
    size_t type_rank, code_rank, message_rank, finish_rank;    /* path that the text came from: an earlier declared one wins */
    int block;                         /* -1: the event does not say */
    int choice_count, tool_count, held_count;
    mg_view words[MG_TAGS];            /* what stands at the set's tags; a string without its quotes */
    struct mg_arena *texts_arena;      /* NULL: the texts of the answer are not wanted */
    struct mg_text_span *first_text, **last_text;

    /* Not zeroed: the counts say what is in them. */
    struct {
        int place, number;
    } choices[MG_TAP_TEXTS];           /* the places in the list whose numbers stand there */
    struct mg_tool_piece tools[MG_LOOK_TOOLS];
    struct mg_json_hit held[MG_LOOK_HELD];       /* of typed rows whose words are not known yet */
};

/* The place of a hit's choice in the list of choices; 0 when they have none. */
static inline int mg_look_choice(const struct mg_look *look, const struct mg_json_hit *hit)
{
    return look->set->depth[hit->path] && hit->index_count ? (int)hit->index[0] : 0;
}

/* The number of the choice at a place. */
static inline int mg_look_number(const struct mg_look *look, int place)
{
    for (int i = 0; i < look->choice_count; i++)
        if (look->choices[i].place == place)
            return look->choices[i].number;
    return place;
}

static inline bool mg_hit_has_bytes(const struct mg_json_hit *hit)
{
    if (hit->type == MG_JSON_STRING)
        return hit->value.len > 2;
    if (hit->type == MG_JSON_ARRAY || hit->type == MG_JSON_OBJECT)
        return !mg_json_span_is_empty(hit->value);
    return false;
}

bool mg_hit_small_number(const struct mg_json_hit *hit, int *out_number);

void mg_look_at(struct mg_look *look, struct mg_tap *tap, const struct mg_path_set *set, mg_view doc);
/* Scans; what typed rows mean is known afterwards. */
MG_MUST_USE mg_err mg_look_scan(struct mg_look *look);
void mg_look_see(struct mg_look *look, unsigned meaning, const struct mg_json_hit *hit);   /* what a hit says */

/* tap_typed.c */
void mg_look_hold(struct mg_look *look, const struct mg_json_hit *hit);
void mg_look_word(struct mg_look *look, const struct mg_json_hit *hit);
void mg_look_resolve(struct mg_look *look, int tag);   /* the words of an object are known: see what was held of it */
mg_view mg_look_type(const struct mg_look *look);      /* the event's type, else its name */

/* tap_tools.c */
void mg_look_tool(struct mg_look *look, enum mg_meaning meaning, const struct mg_json_hit *hit);
void mg_look_follow_tools(struct mg_look *look);       /* of an event: tells its pieces, and follows the calls */
bool mg_look_ends_broken_calls(const struct mg_look *look);    /* … of the choices that end in this event or answer */

/* tap_usage.c */
void mg_look_usage(struct mg_look *look);              /* the counters, as the rest of the program counts */

#endif
