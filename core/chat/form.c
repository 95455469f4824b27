#include "chat/form.h"

#include "base/mem.h"
#include "http/json_members.h"

enum { VALUE_BYTES = 65536 };          /* of a field that is shown */

static mg_err on_part(void *arg, const struct mg_multipart_part *part);
static mg_err on_end(void *arg, const struct mg_multipart_part *part);

static const struct mg_multipart_ops ops = {.on_part = on_part, .on_end = on_end};

bool mg_form_init(struct mg_form *form, struct mg_arena *arena, mg_view content_type)
{
    mg_view boundary = mg_multipart_boundary(content_type);
    *form = (struct mg_form){.arena = arena};
    if (boundary.len)
        mg_multipart_init(&form->multipart, boundary, &mg_multipart_limits_default, &ops, form);
    return boundary.len > 0;
}

void mg_form_fini(struct mg_form *form)
{
    mg_multipart_fini(&form->multipart);
}

mg_err mg_form_feed(struct mg_form *form, mg_view bytes)
{
    return mg_multipart_feed(&form->multipart, bytes);
}

const char *mg_form_reason(const struct mg_form *form)
{
    return form->reason ? form->reason : mg_multipart_reason(&form->multipart);
}

static mg_err bad(struct mg_form *form, const char *reason)
{
    form->reason = reason;
    return MG_E_BAD_REQUEST;
}

/* ---- following --------------------------------------------------------------------------------- */

/* What decides about the request is there once, in plain, and in time. */
static mg_err take_once(struct mg_form *form, const struct mg_multipart_part *part, bool *has)
{
    if (*has)
        return bad(form, "'model' or 'stream' stands in the form twice");
    if (part->file)
        return bad(form, "'model' or 'stream' is a file in the form");
    if (form->sealed)
        return bad(form, "'model' or 'stream' comes too late in the form: send it before the file");
    *has = true;
    return MG_OK;
}

/* Others are handed on and not shown: as keys of an object they could be spelt in two ways. */
static bool is_plain(mg_view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= 0x20 || name.ptr[i] > 0x7e)
            return false;
    return true;
}

static mg_err on_part(void *arg, const struct mg_multipart_part *part)
{
    struct mg_form *form = arg;
    if (mg_view_eq(part->name, MG_VIEW("model")))
        MG_TRY(take_once(form, part, &form->has_model));
    if (mg_view_eq(part->name, MG_VIEW("stream")))
        MG_TRY(take_once(form, part, &form->has_stream));
    if (part->file || form->sealed || !is_plain(part->name))
        return MG_OK;
    if (form->field_count == MG_MAX_FORM_FIELDS)
        return bad(form, "the form has too many fields");
    form->fields[form->field_count++] = (struct mg_form_field){mg_arena_dup(form->arena, part->name), part->start, part->value, 0};
    return MG_OK;
}

static mg_err on_end(void *arg, const struct mg_multipart_part *part)
{
    struct mg_form *form = arg;
    struct mg_form_field *last = form->field_count ? &form->fields[form->field_count - 1] : NULL;
    if (last && last->start == part->start && !form->sealed)
        last->end = part->end;
    return MG_OK;
}

/* ---- the fields as JSON ------------------------------------------------------------------------ */

static mg_view value_of(const struct mg_form_field *field, mg_view window)
{
    return mg_view_head(mg_view_skip(window, field->value), field->end - field->value);
}

/* All of it is in the window, and it is no picture that somebody sends as a field. */
static bool is_shown(const struct mg_form_field *field)
{
    return field->end > 0 && field->end - field->value <= VALUE_BYTES;
}

static int next_of_name(const struct mg_form *form, mg_view name, int from)
{
    while (from < form->field_count && !(is_shown(&form->fields[from]) && mg_view_eq(form->fields[from].name, name)))
        from++;
    return from;
}

static mg_err put_text(struct mg_buf *out, mg_view text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

/* "stream" is a truth, everything else a text; what stands there more than once is a list. */
static mg_err put_value(const struct mg_form *form, int at, mg_view window, struct mg_buf *out)
{
    mg_view name = form->fields[at].name, text = value_of(&form->fields[at], window);
    int next = next_of_name(form, name, at + 1);
    if (mg_view_eq(name, MG_VIEW("stream")) && (mg_view_ieq(text, MG_VIEW("true")) || mg_view_ieq(text, MG_VIEW("false"))))
        return mg_buf_put(out, text.len == 4 ? MG_VIEW("true") : MG_VIEW("false"));
    if (next == form->field_count)
        return put_text(out, text);
    MG_TRY(mg_buf_putc(out, '['));
    MG_TRY(put_text(out, text));
    for (; next < form->field_count; next = next_of_name(form, name, next + 1)) {
        MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_text(out, value_of(&form->fields[next], window)));
    }
    return mg_buf_putc(out, ']');
}

static mg_err put_fields(const struct mg_form *form, mg_view window, struct mg_buf *out)
{
    MG_TRY(mg_buf_putc(out, '{'));
    for (int i = 0; i < form->field_count; i++) {
        if (next_of_name(form, form->fields[i].name, 0) != i)
            continue;                  /* it stands in the list of an earlier one, or is not shown */
        if (out->len > 1)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_text(out, form->fields[i].name));
        MG_TRY(mg_buf_putc(out, ':'));
        MG_TRY(put_value(form, i, window, out));
    }
    return mg_buf_putc(out, '}');
}

mg_err mg_form_scan(struct mg_form *form, mg_view window, struct mg_request *request, struct mg_arena *arena,
                    struct mg_json_error *out_error)
{
    struct mg_buf json;
    mg_buf_init(&json, 6 * (window.len + 1) + 16 * MG_MAX_FORM_FIELDS * MG_MAX_FORM_NAME_BYTES);
    mg_err err = put_fields(form, window, &json);
    form->json = err == MG_OK ? mg_arena_dup(arena, mg_buf_view(&json)) : MG_VIEW_NONE;
    mg_buf_fini(&json);
    if (err == MG_OK)
        err = mg_request_scan(request, arena, form->json, out_error);
    request->form = form;
    return err;
}

/* ---- and back ---------------------------------------------------------------------------------- */

struct pieces {
    struct mg_body *body;
    mg_view window;
    size_t at;                         /* of the window: what stands before it is in the body */
};

static mg_err put_piece(struct pieces *pieces, mg_view piece)
{
    struct mg_body *body = pieces->body;
    if (piece.len == 0)
        return MG_OK;
    if (body->count == MG_BODY_PARTS - 2)          /* two for who frames them */
        return MG_E_TOO_LARGE;
    body->parts[body->count++] = piece;
    body->length += piece.len;
    return MG_OK;
}

static mg_err keep_until(struct pieces *pieces, size_t offset)
{
    mg_view kept = mg_view_head(mg_view_skip(pieces->window, pieces->at), offset - pieces->at);
    pieces->at = offset;
    return put_piece(pieces, kept);
}

static mg_view delimiter_of(const struct mg_form *form)
{
    return mg_view_of(form->multipart.delimiter + 2, form->multipart.delimiter_len - 2);
}

/* What a field says: a string's text, the spelling of anything else. The client chose the delimiter: what a hook made of the
 * client's words may hold it. */
static mg_err put_text_of(struct pieces *pieces, const struct mg_form *form, struct mg_arena *arena, mg_view json)
{
    struct mg_buf scratch;
    mg_view text = json;
    mg_buf_init(&scratch, json.len + 1);
    mg_err err = json.ptr[0] == '"' ? mg_json_span_text(json, &scratch, &text) : MG_OK;
    if (err == MG_OK && mg_view_search(text, delimiter_of(form)) < text.len)
        err = MG_E_BAD_REQUEST;
    if (err == MG_OK)
        err = put_piece(pieces, mg_arena_dup(arena, text));
    mg_buf_fini(&scratch);
    return err;
}

static mg_err put_new(struct pieces *pieces, const struct mg_form *form, struct mg_arena *arena, mg_view name, mg_view json)
{
    struct mg_json_member element;
    if (json.len && json.ptr[0] == '[') {
        for (size_t at = 0; mg_json_next_member(json, &at, &element);)
            MG_TRY(put_new(pieces, form, arena, name, element.value));
        return MG_OK;
    }
    MG_TRY(put_piece(pieces, mg_arena_printf(arena, "%.*s\r\nContent-Disposition: form-data; name=\"%.*s\"\r\n\r\n",
                                             MG_FMT(delimiter_of(form)), MG_FMT(name))));
    MG_TRY(put_text_of(pieces, form, arena, json));
    return put_piece(pieces, MG_VIEW("\r\n"));
}

/* Nulls say that it shall not be there, as the absence does. */
static bool says_something(mg_view json)
{
    return json.len > 0 && !mg_view_eq(json, MG_VIEW("null"));
}

/* Lists are written anew in front; a single value keeps its place. */
static bool stays(const struct mg_form *form, mg_view name, mg_view json)
{
    int first = next_of_name(form, name, 0);
    return says_something(json) && json.ptr[0] != '[' && first < form->field_count &&
           next_of_name(form, name, first + 1) == form->field_count;
}

static mg_err put_added(struct pieces *pieces, const struct mg_form *form, mg_view fields, struct mg_arena *arena)
{
    struct mg_json_member m;
    for (size_t at = 0; mg_json_next_member(fields, &at, &m);) {
        mg_view before = mg_json_member(form->json, m.key);
        if (!mg_view_eq(before, m.value) && says_something(m.value) && !stays(form, m.key, m.value))
            MG_TRY(put_new(pieces, form, arena, m.key, m.value));
    }
    return MG_OK;
}

static mg_err put_changed(struct pieces *pieces, const struct mg_form *form, mg_view fields, struct mg_arena *arena)
{
    for (int i = 0; i < form->field_count; i++) {
        const struct mg_form_field *field = &form->fields[i];
        mg_view before = mg_json_member(form->json, field->name), now = mg_json_member(fields, field->name);
        if (!is_shown(field) || mg_view_eq(before, now))
            continue;
        bool in_place = stays(form, field->name, now);
        MG_TRY(keep_until(pieces, in_place ? field->value : field->start));
        if (in_place)
            MG_TRY(put_text_of(pieces, form, arena, now));
        pieces->at = in_place ? field->end : field->end + 2;
    }
    return MG_OK;
}

mg_err mg_form_body(const struct mg_form *form, mg_view window, mg_view fields, struct mg_arena *arena, struct mg_body *out_body)
{
    struct pieces pieces = {.body = out_body, .window = window};
    *out_body = (struct mg_body){.count = 0};
    MG_TRY(put_added(&pieces, form, fields, arena));
    MG_TRY(put_changed(&pieces, form, fields, arena));
    return keep_until(&pieces, window.len);
}
