/* modalities.h - which kinds of media a conversation holds besides text, in any dialect of clients.
 *
 * Documents are not among them: whether a provider takes one depends on its format, and dialects know that. */
#ifndef MG_CHAT_MODALITIES_H
#define MG_CHAT_MODALITIES_H

#include "base/view.h"
#include "meter/models.h"

/* Bits of enum mg_modality: image, audio, video. The body is one that was scanned. Costs a search for tell-tale words; only a
 * body that has one is scanned again. */
uint32_t mg_modalities_in(mg_view body);

#endif
