/* resumed.h - what a client has of an answer that broke off, and another attempt's deltas held against it.
 *
 * The dialect's Lua reads what was sent back into neutral parts (translator.h, `resume`). The other attempt generates again
 * from the start; what it says that the client has already is left out, and what comes after it goes on:
 *
 *    sent     "The answer is fo"
 *    deltas   "The ans"  left out · "wer is forty"  → "rty" · "-two"  → "-two"
 *
 * Nothing new may come before all that was sent was said again, or two texts would be put together: then the attempt has
 * diverged. Calls are matched in their order, names and arguments as they stand, blanks between the parts of arguments aside.
 * Opaque state belongs to what it came with: it passes only behind the seam. Loop thread only. */
#ifndef MG_CHAT_RESUMED_H
#define MG_CHAT_RESUMED_H

#include "base/buf.h"
#include "chat/translator.h"
#include "http/json_pieces.h"

enum { MG_RESUMED_CALLS = 32, MG_RESUMED_TEXTS = 3 };

/* Arguments without the blanks between their parts. */
struct mg_squeeze {
    bool in_string, escaped;
};

struct mg_resumed_call {
    struct mg_buf id, name;            /* decoded; an id may be empty */
    struct mg_buf arguments;           /* decoded and squeezed */
    struct mg_buf waiting;             /* the same as the client has them, as the inside of a JSON string */
    struct mg_json_pieces pieces;      /* of what the client has */
    struct mg_json_pieces again;       /* of what the new attempt said */
    struct mg_squeeze squeeze;         /* … likewise */
    size_t matched;                    /* bytes of `arguments` */
    int upstream;                      /* the new attempt's number of it */
    bool seen;                         /* the new attempt made it too */
};

struct mg_resumed {
    struct mg_buf texts[MG_RESUMED_TEXTS];       /* by kind: MG_DELTA_TEXT, _REASONING, _REFUSAL; decoded */
    size_t matched[MG_RESUMED_TEXTS];
    struct mg_resumed_call calls[MG_RESUMED_CALLS];
    int call_count;
    int parts;                         /* all of them; 0: nothing was said yet */
    enum mg_delta_kind last;           /* kind of the last part … */
    struct mg_buf last_text;           /* … and its text as the inside of a JSON string */
    bool open;                         /* … and the client waits for its end */
    bool goes_on;                      /* the attempt was given what was said: nothing comes again */
    bool passed;                       /* something new was handed on */
    struct mg_buf before;              /* events that the client needs before it: ends of what was half ended */
    struct mg_buf scratch, rest;       /* of the delta that is looked at */
};

void mg_resumed_init(struct mg_resumed *resumed);
void mg_resumed_fini(struct mg_resumed *resumed);

/* The next part of what was sent. id, name: of a call. MG_E_TOO_LARGE: more than can be kept. */
MG_MUST_USE mg_err mg_resumed_add(struct mg_resumed *resumed, enum mg_delta_kind kind, mg_view text, mg_view id, mg_view name);

/* All texts of one kind; decoded, until the next part. Bytes of text of any kind. */
mg_view mg_resumed_text(const struct mg_resumed *resumed, enum mg_delta_kind kind);
size_t mg_resumed_bytes(const struct mg_resumed *resumed);
bool mg_resumed_only_text(const struct mg_resumed *resumed);     /* no reasoning, no refusal, no calls */

/* Has the attempt said all that the client has? */
bool mg_resumed_settled(const struct mg_resumed *resumed);

/* One delta of the new attempt: *out_pass when something of it is new, and *delta is then that; its views live until the
 * next call. A call that the client knows gets the number mg_resumed_number() of it. MG_E_EXISTS: it says something else. */
MG_MUST_USE mg_err mg_resumed_take(struct mg_resumed *resumed, struct mg_delta *delta, bool *out_pass);

/* No provider has such a number. */
static inline int mg_resumed_number(int call)
{
    return -1 - call;
}

#endif
