/* transcript.h - pages that say what a provider sent and what its tap must make of it, and running them.
 *
 * A page is Markdown (tests/wire has one for each dialect). Of its fenced blocks `stream` is an event stream and `answer` a
 * whole body; each is followed by a `tap` block: what each event was, the figures, and how it ended. A stream is cut at
 * every byte and must always come out the same; no part of an answer may say anything. Main thread; it allocates freely. */
#ifndef MG_CHAT_TRANSCRIPT_H
#define MG_CHAT_TRANSCRIPT_H

#include "chat/adapter.h"

/* A case that came out otherwise. Views live until the callback returns. */
struct mg_transcript_fault {
    mg_view kind;                      /* "stream" or "answer" */
    size_t line;                       /* of the page, where the block begins */
    size_t cut;                        /* where the bytes were cut in two */
    mg_view got, want;                 /* lines; of an answer whose part said something: one line that says so */
};

/* Once for each case that failed. */
typedef void (*mg_transcript_cb)(void *arg, const struct mg_transcript_fault *fault);

/* Runs every case of the page; *out_cases says how many there were. MG_E_CONFIG with a diag when the page is not made like
 * one, at the block that is not. */
MG_MUST_USE mg_err mg_transcript_run(const struct mg_adapter *adapter, mg_view page, mg_transcript_cb on_fault, void *arg,
                                     int *out_cases, struct mg_diag *diag);

#endif
