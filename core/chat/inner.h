/* inner.h - members inside the lists of a request: "messages[*].reasoning_content" names one of each message.
 *
 * Edits of top-level fields are splices that an attempt puts into its body (request.h); these change what stands in a list,
 * as long as the conversation, and so the request is made anew without them. */
#ifndef MG_CHAT_INNER_H
#define MG_CHAT_INNER_H

#include "chat/request.h"

/* Is the field of an edit such a path? Its last name is what an error is about. */
bool mg_inner_is_path(const char *field);
const char *mg_inner_name(const char *path);

bool mg_inner_has(const struct mg_request *request, const char *path);

/* The request without what any of the paths names; in the arena, and `request` itself when there is nothing. */
MG_MUST_USE mg_err mg_inner_without(const struct mg_request *request, const char *dialect, const char *const *paths, size_t count,
                                    struct mg_arena *arena, const struct mg_request **out_request);

#endif
