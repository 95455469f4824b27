/* response_items.h - the items of kept responses: what a conversation is made of that its client does not send again.
 *
 * All of it is text in and text out: JSON that mg_json_scan() has accepted before, copied byte for byte where nothing has to
 * change. */
#ifndef MG_CHAT_RESPONSE_ITEMS_H
#define MG_CHAT_RESPONSE_ITEMS_H

#include "chat/request.h"

/* A response as it is kept. */
struct mg_kept {
    mg_view id;                        /* under which it was kept */
    mg_view input;                     /* JSON array: what its request added to the conversation */
    mg_view response;                  /* the response object, as its client read it */
    uint64_t created_us;               /* wall clock */
};

/* What an `input` holds, as an array: a text is a user's message. */
MG_MUST_USE mg_err mg_items_put_input(struct mg_buf *out, mg_view input);

size_t mg_items_count(mg_view array);
/* The last `count` elements with what stands between them; empty when count is 0. */
mg_view mg_items_tail(mg_view array, size_t count);

/* A request without `previous_response_id`, and with its fields of state spelt plainly, in whose `input` the items of `kept`, the first response first, come before its
 * own. Of what was answered, reasoning that cannot be told again is left out, and ids that this gateway made. *out_count: how
 * many items were put in front. */
MG_MUST_USE mg_err mg_items_put_request(struct mg_buf *out, const struct mg_request *request, const struct mg_kept *kept, size_t count,
                                        size_t *out_count);
bool mg_items_spelt_plainly(const struct mg_request *request);

/* An item of the input that names another one instead of saying it again. */
struct mg_item_reference {
    mg_view place;                     /* its bytes in the request */
    mg_view id;                        /* of the item it names */
    mg_view item;                      /* that item; whoever looks it up fills this and the next */
    mg_view response_id;               /* in whose output it was */
};

bool mg_items_is_reference(mg_view item);
/* Those of a request, in the arena. More than MG_MAX_RESPONSE_ITEMS are MG_E_TOO_LARGE. */
MG_MUST_USE mg_err mg_items_references(const struct mg_request *request, struct mg_arena *arena, struct mg_item_reference **out_references,
                                       size_t *out_count);
/* The request with what they name in their places. */
MG_MUST_USE mg_err mg_items_put_referenced(struct mg_buf *out, const struct mg_request *request, const struct mg_item_reference *references,
                                           size_t count);
/* The item of a response's output with that id; empty: there is none. */
mg_view mg_items_find(mg_view response, mg_view id);

/* A response object that says what its client asked for: the response it follows (a JSON string; empty: null), and that it is
 * stored. */
MG_MUST_USE mg_err mg_response_put(struct mg_buf *out, mg_view response, mg_view previous);

/* One page of what was said before the last of `kept` was answered: its input, and what the others said and were answered. */
struct mg_items_page {
    size_t limit;                      /* 1 … 100 */
    bool ascending;                    /* the oldest item first */
    mg_view after;                     /* id of an item: what comes behind it; empty: from the beginning */
};
/* MG_E_NOT_FOUND: there is no item `after`. */
MG_MUST_USE mg_err mg_items_put_page(struct mg_buf *out, struct mg_arena *arena, const struct mg_kept *kept, size_t count,
                                     const struct mg_items_page *page);

#endif
