/* form.h - a client's form with files: its beginning is kept, the rest only followed.
 *
 *   body  ├────────── window: kept ──────────┤├───────── handed on as it comes ─────────┤
 *          model=…  language=…  file= RIFF……………………………………………………………  --boundary--
 *
 * The fields of the window that are no files are shown as a JSON object, in which everything that knows JSON bodies works:
 * hooks, a target's parameters, repairs. What it became is spliced back into the window (mg_form_body()); fields that nobody
 * changed keep every byte.
 *
 * `model` and `stream` decide where a request goes and what it costs, so each may come once, as plain text, and only in the
 * window: the form is followed to its end, and one that names a second model to the provider never gets there whole. */
#ifndef MG_CHAT_FORM_H
#define MG_CHAT_FORM_H

#include "base/limits.h"
#include "chat/request.h"
#include "http/multipart.h"

struct mg_form_field {                 /* offsets in the body */
    mg_view name;                      /* in the arena */
    uint64_t start, value, end;
};

struct mg_form {
    struct mg_multipart multipart;
    struct mg_arena *arena;            /* borrowed */
    struct mg_form_field fields[MG_MAX_FORM_FIELDS];     /* of the window, no files, in order */
    int field_count;
    bool sealed;                       /* the window ends here; set by the owner before it feeds what is behind */
    bool has_model, has_stream;        /* one has begun */
    mg_view json;                      /* the fields as a JSON object; in the arena, once mg_form_scan() was called */
    const char *reason;
};

/* False: the content type is no form. */
bool mg_form_init(struct mg_form *form, struct mg_arena *arena, mg_view content_type);
void mg_form_fini(struct mg_form *form);

/* MG_E_BAD_REQUEST, MG_E_TOO_LARGE; final. */
MG_MUST_USE mg_err mg_form_feed(struct mg_form *form, mg_view bytes);
const char *mg_form_reason(const struct mg_form *form);        /* a sentence about the error; "": there was none */

/* The request that the window is: its JSON object, scanned. window outlives it. Fails as mg_request_scan_as(). */
MG_MUST_USE mg_err mg_form_scan(struct mg_form *form, mg_view window, struct mg_request *request, struct mg_arena *arena,
                                struct mg_json_error *out_error);

/* The window with the fields of the JSON object `fields` in place of its own, as pieces; they live as long as window and
 * arena. MG_E_TOO_LARGE: too many changes; MG_E_BAD_REQUEST: a new value would end its part of the form. */
MG_MUST_USE mg_err mg_form_body(const struct mg_form *form, mg_view window, mg_view fields, struct mg_arena *arena,
                                struct mg_body *out_body);

#endif
