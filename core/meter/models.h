/* models.h - what is known about models: how much they read and write, what they can and refuse, how long they are there.
 *
 * The catalogue is config/models.json, which the binary carries, and on top of it what `moongate models import` wrote into the
 * data folder; nothing is fetched. Any thread may ask it, nothing is allocated and nothing is locked; a row stays where it is as
 * long as the process lives. The file is described in docs/reference/models.md. What it does not say is not known, and a model it does not name is not known at all: whoever
 * asks goes on as without a catalogue. */
#ifndef MG_METER_MODELS_H
#define MG_METER_MODELS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

#define MG_MODALITY_LIST(X) X(text) X(image) X(document) X(audio) X(video)
#define MG_ABILITY_LIST(X) X(tools) X(structured_output) X(reasoning) X(caching) X(prefill)

enum mg_modality {
#define X(name) MG_MODALITY_##name,
    MG_MODALITY_LIST(X)
#undef X
    MG_MODALITY_COUNT
};

enum mg_ability {
#define X(name) MG_ABILITY_##name,
    MG_ABILITY_LIST(X)
#undef X
    MG_ABILITY_COUNT
};

extern const char *const mg_modality_names[MG_MODALITY_COUNT], *const mg_ability_names[MG_ABILITY_COUNT];

enum mg_known { MG_NOT_KNOWN, MG_KNOWN_NO, MG_KNOWN_YES };

enum { MG_MODEL_SOON_DAYS = 30 };      /* who retires within these is told of */

struct mg_model {
    const char *name, *vendor;
    uint32_t context_window, max_output;         /* tokens; 0: not known */
    uint32_t input, output;            /* bits of enum mg_modality; 0: not known */
    enum mg_known can[MG_ABILITY_COUNT];
    const char *refuses;               /* words of docs/reference/models.md, blanks between; NULL: not known */
    bool deprecated, retired;          /* today, whenever that began */
    uint64_t deprecated_us, retires_us;          /* wall clock; 0: not known, or not yet decided */
};

/* By the name as a provider knows it; then without what vendors put around it ("anthropic/claude-opus-5", "@20260101",
 * "us.anthropic.claude-opus-5-v1:0", a date at the end). NULL: nobody knows it. */
const struct mg_model *mg_model_find(mg_view name);

/* Whether it is gone at that moment, or will be soon; *out_days is how long it is still there, 0: it is gone. */
bool mg_model_ends(const struct mg_model *model, uint64_t now_us, unsigned *out_days);

/* In the order of the file. */
typedef void (*mg_model_cb)(void *arg, const struct mg_model *model);
void mg_models_each(mg_model_cb cb, void *arg);

struct mg_models_facts {
    const char *collected, *source;    /* when they were looked up, and where */
    size_t count;
};
struct mg_models_facts mg_models_facts(void);

/* From now on this catalogue is asked first: what it says of a model stands on top of what the binary knows of it. An empty text
 * changes nothing. One thread at a time. */
MG_MUST_USE mg_err mg_models_use(mg_view json, const char *file, struct mg_diag *diag);
/* The same with <data_dir>/models.json, when it is there and not the one that is in force. */
MG_MUST_USE mg_err mg_models_use_folder(const char *data_dir, struct mg_diag *diag);
void mg_models_release(void);          /* at the end of the process; tests */

/* One model as a project knows it: a JSON object with fields of the catalogue on top of `base` (NULL: nothing is known). Strings
 * are in the arena, or base's. */
MG_MUST_USE mg_err mg_model_read(mg_view json, const char *name, const struct mg_model *base, struct mg_arena *arena,
                                 struct mg_model *out_model, struct mg_diag *diag);

struct mg_models_import {
    size_t models, changed;            /* taken; of these, those of which something else is known now */
    size_t left_out;                   /* of vendors that have no row here, or nothing is said of them */
};

/* Converts a public list into a catalogue: a genai-prices v2 document (an array of providers), of which the context windows
 * and what is deprecated are taken, or one that is a catalogue already. `collected` is the date to write into it. */
MG_MUST_USE mg_err mg_models_convert(mg_view json, const char *file, const char *collected, struct mg_buf *out,
                                     struct mg_models_import *out_import, struct mg_diag *diag);

/* A catalogue that is read and thrown away: what is wrong with it, with the model where it is. */
MG_MUST_USE mg_err mg_models_check(mg_view json, const char *file, struct mg_diag *diag);

#endif
