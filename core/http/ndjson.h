/* ndjson.h - decode a body of JSON documents, one a line, as it arrives.
 *
 * Feed it chunks cut anywhere; it calls back once per line that is not blank, without its line end (LF or CRLF). Only a
 * line that is cut is kept, at most max_line_bytes of it. What is in a line is not looked at. Loop thread only. */
#ifndef MG_HTTP_NDJSON_H
#define MG_HTTP_NDJSON_H

#include "base/buf.h"

struct mg_ndjson;

/* The line is borrowed until it returns. An error stops the decoder and is handed back by mg_ndjson_feed(). */
typedef mg_err (*mg_ndjson_cb)(void *arg, mg_view line);

struct mg_ndjson *mg_ndjson_new(size_t max_line_bytes, mg_ndjson_cb cb, void *arg);
void mg_ndjson_free(struct mg_ndjson *lines);                 /* NULL is a no-op */

/* MG_E_TOO_LARGE, or what the callback returned. Final. */
MG_MUST_USE mg_err mg_ndjson_feed(struct mg_ndjson *lines, mg_view chunk);

/* The body is complete: its last line needs no line end. */
MG_MUST_USE mg_err mg_ndjson_finish(struct mg_ndjson *lines);

#endif
