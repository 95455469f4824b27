#include "chat/resumed.h"

#include <limits.h>
#include <string.h>

#include "base/limits.h"

_Static_assert(MG_DELTA_TEXT == 0 && MG_DELTA_REASONING == 1 && MG_DELTA_REFUSAL == 2, "texts are kept by kind");

void mg_resumed_init(struct mg_resumed *resumed)
{
    *resumed = (struct mg_resumed){.parts = 0};
    for (int i = 0; i < MG_RESUMED_TEXTS; i++)
        mg_buf_init(&resumed->texts[i], MG_MAX_RESUMED_BYTES);
    mg_buf_init(&resumed->last_text, 6 * (size_t)MG_MAX_RESUMED_BYTES);
    mg_buf_init(&resumed->before, MG_MAX_TRANSLATED_BYTES);
    mg_buf_init(&resumed->scratch, MG_MAX_TRANSLATED_BYTES);
    mg_buf_init(&resumed->rest, MG_MAX_TRANSLATED_BYTES);
}

void mg_resumed_fini(struct mg_resumed *resumed)
{
    for (int i = 0; i < MG_RESUMED_TEXTS; i++)
        mg_buf_fini(&resumed->texts[i]);
    for (int i = 0; i < resumed->call_count; i++) {
        mg_buf_fini(&resumed->calls[i].id);
        mg_buf_fini(&resumed->calls[i].name);
        mg_buf_fini(&resumed->calls[i].arguments);
        mg_buf_fini(&resumed->calls[i].waiting);
    }
    mg_buf_fini(&resumed->last_text);
    mg_buf_fini(&resumed->before);
    mg_buf_fini(&resumed->scratch);
    mg_buf_fini(&resumed->rest);
}

/* ---- what was sent ----------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static mg_err squeeze(struct mg_squeeze *state, mg_view text, struct mg_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!state->in_string && is_blank(c))
            continue;
        MG_TRY(mg_buf_putc(out, c));
        if (state->escaped)
            state->escaped = false;
        else if (c == '\\' && state->in_string)
            state->escaped = true;
        else if (c == '"')
            state->in_string = !state->in_string;
    }
    return MG_OK;
}

static mg_err add_call(struct mg_resumed *resumed, mg_view text, mg_view id, mg_view name)
{
    if (resumed->call_count == MG_RESUMED_CALLS)
        return MG_E_TOO_LARGE;
    struct mg_resumed_call *call = &resumed->calls[resumed->call_count++];
    struct mg_squeeze state = {.in_string = false};
    *call = (struct mg_resumed_call){.upstream = 0};
    mg_buf_init(&call->id, MG_MAX_RESUMED_BYTES);
    mg_buf_init(&call->name, MG_MAX_RESUMED_BYTES);
    mg_buf_init(&call->arguments, MG_MAX_RESUMED_BYTES);
    mg_buf_init(&call->waiting, 6 * (size_t)MG_MAX_RESUMED_BYTES);
    MG_TRY(mg_buf_put(&call->id, id));
    MG_TRY(mg_buf_put(&call->name, name));
    (void)mg_json_pieces_feed(&call->pieces, text);
    MG_TRY(mg_buf_put_json(&call->waiting, text));
    return squeeze(&state, text, &call->arguments);
}

mg_err mg_resumed_add(struct mg_resumed *resumed, enum mg_delta_kind kind, mg_view text, mg_view id, mg_view name)
{
    resumed->parts++;
    resumed->last = kind;
    mg_buf_clear(&resumed->last_text);
    MG_TRY(mg_buf_put_json(&resumed->last_text, text));
    return kind == MG_DELTA_TOOL ? add_call(resumed, text, id, name) : mg_buf_put(&resumed->texts[kind], text);
}

mg_view mg_resumed_text(const struct mg_resumed *resumed, enum mg_delta_kind kind)
{
    return mg_buf_view(&resumed->texts[kind]);
}

size_t mg_resumed_bytes(const struct mg_resumed *resumed)
{
    size_t bytes = 0;
    for (int i = 0; i < MG_RESUMED_TEXTS; i++)
        bytes += resumed->texts[i].len;
    for (int i = 0; i < resumed->call_count; i++)
        bytes += resumed->calls[i].name.len + resumed->calls[i].arguments.len;
    return bytes;
}

bool mg_resumed_only_text(const struct mg_resumed *resumed)
{
    return resumed->texts[MG_DELTA_TEXT].len && !resumed->texts[MG_DELTA_REASONING].len && !resumed->texts[MG_DELTA_REFUSAL].len &&
           !resumed->call_count;
}

/* ---- what is said again ------------------------------------------------------------------------ */

/* Whoever wrote the call said "{}" where its provider said nothing. */
static bool call_settled(const struct mg_resumed_call *call)
{
    bool none = call->matched == 0 && mg_view_eq(mg_buf_view(&call->arguments), MG_VIEW("{}"));
    return call->seen && (call->matched == call->arguments.len || none);
}

bool mg_resumed_settled(const struct mg_resumed *resumed)
{
    if (resumed->goes_on || resumed->passed)
        return true;
    for (int i = 0; i < MG_RESUMED_TEXTS; i++)
        if (resumed->matched[i] < resumed->texts[i].len)
            return false;
    for (int i = 0; i < resumed->call_count; i++)
        if (!call_settled(&resumed->calls[i]))
            return false;
    return true;
}

/* Takes what both have in common from `said`. False: they differ. */
static bool match(mg_view *said, mg_view sent, size_t *matched)
{
    mg_view left = mg_view_skip(sent, *matched);
    size_t n = said->len < left.len ? said->len : left.len;
    bool same = mg_view_eq(mg_view_head(*said, n), mg_view_head(left, n));
    *matched += n;
    *said = mg_view_skip(*said, n);
    return same;
}

static mg_err put_rest(struct mg_resumed *resumed, mg_view rest, struct mg_delta *delta)
{
    mg_buf_clear(&resumed->rest);
    MG_TRY(mg_buf_putc(&resumed->rest, '"'));
    MG_TRY(mg_buf_put_json(&resumed->rest, rest));
    MG_TRY(mg_buf_putc(&resumed->rest, '"'));
    delta->text = mg_buf_view(&resumed->rest);
    return MG_OK;
}

/* Only behind all that was sent. */
static mg_err pass(struct mg_resumed *resumed, bool *out_pass)
{
    if (!mg_resumed_settled(resumed))
        return MG_E_EXISTS;
    resumed->passed = true;
    *out_pass = true;
    return MG_OK;
}

static mg_err take_text(struct mg_resumed *resumed, struct mg_delta *delta, bool *out_pass)
{
    struct mg_buf *sent = &resumed->texts[delta->kind];
    size_t before = resumed->matched[delta->kind];
    mg_view said;
    if (delta->text.len <= 2)
        return MG_OK;
    MG_TRY(mg_json_span_text(delta->text, &resumed->scratch, &said));
    if (!match(&said, mg_buf_view(sent), &resumed->matched[delta->kind]))
        return MG_E_EXISTS;
    if (!said.len)
        return MG_OK;
    if (resumed->matched[delta->kind] > before)
        MG_TRY(put_rest(resumed, said, delta));
    return pass(resumed, out_pass);
}

/* Some vendors number no calls, or all the same: a name after whole arguments begins another. NULL: a new one. */
static struct mg_resumed_call *find_call(struct mg_resumed *resumed, const struct mg_delta *delta)
{
    struct mg_resumed_call *next = NULL;
    for (int i = resumed->call_count - 1; i >= 0; i--) {
        struct mg_resumed_call *call = &resumed->calls[i];
        bool another = delta->name.len > 2 && mg_json_pieces_complete(&call->again);
        if (call->seen && call->upstream == delta->tool && !another)
            return call;
        if (!call->seen)
            next = call;
    }
    return next;
}

static mg_err take_name(struct mg_resumed *resumed, struct mg_resumed_call *call, const struct mg_delta *delta)
{
    mg_view name;
    if (call->seen)
        return MG_OK;
    call->seen = true;
    call->upstream = delta->tool;
    MG_TRY(mg_json_span_text(delta->name, &resumed->scratch, &name));
    return mg_view_eq(name, mg_buf_view(&call->name)) ? MG_OK : MG_E_EXISTS;
}

static mg_err take_arguments(struct mg_resumed *resumed, struct mg_resumed_call *call, struct mg_delta *delta, bool *out_pass)
{
    mg_view text, said;
    bool again = call->matched < call->arguments.len;
    MG_TRY(mg_json_span_text(delta->text, &resumed->scratch, &text));
    (void)mg_json_pieces_feed(&call->again, text);
    mg_buf_clear(&resumed->rest);
    MG_TRY(squeeze(&call->squeeze, text, &resumed->rest));
    said = mg_buf_view(&resumed->rest);
    if (!match(&said, mg_buf_view(&call->arguments), &call->matched))
        return MG_E_EXISTS;
    if (!said.len)
        return MG_OK;
    if (mg_json_pieces_complete(&call->pieces))
        return MG_E_EXISTS;            /* the client may have run it */
    if (again) {
        mg_buf_clear(&resumed->scratch);
        MG_TRY(mg_buf_put(&resumed->scratch, said));
        MG_TRY(put_rest(resumed, mg_buf_view(&resumed->scratch), delta));
    }
    return pass(resumed, out_pass);
}

static mg_err take_call(struct mg_resumed *resumed, struct mg_delta *delta, bool *out_pass)
{
    struct mg_resumed_call *call = find_call(resumed, delta);
    if (!call) {
        for (int i = 0; i < resumed->call_count; i++)
            if (resumed->calls[i].upstream == delta->tool)
                resumed->calls[i].upstream = INT_MIN;        /* the number is another call's now */
        return pass(resumed, out_pass);
    }
    MG_TRY(take_name(resumed, call, delta));
    delta->tool = mg_resumed_number((int)(call - resumed->calls));
    delta->id = delta->name = delta->signature = MG_VIEW_NONE;
    return delta->text.len > 2 ? take_arguments(resumed, call, delta, out_pass) : MG_OK;
}

/* What a thought that is still open is signed with belongs to it; anything else came with what was sent. */
static bool is_news(const struct mg_resumed *resumed)
{
    bool unsigned_thought = resumed->open && resumed->last == MG_DELTA_REASONING;
    return resumed->passed || (unsigned_thought && mg_resumed_settled(resumed));
}

mg_err mg_resumed_take(struct mg_resumed *resumed, struct mg_delta *delta, bool *out_pass)
{
    *out_pass = false;
    if (delta->kind == MG_DELTA_FINISH) {
        *out_pass = true;
        return MG_OK;
    }
    if (delta->choice != 0)
        return MG_E_EXISTS;
    if (resumed->goes_on) {
        *out_pass = resumed->passed = true;
        return MG_OK;
    }
    switch (delta->kind) {
    case MG_DELTA_TEXT:
    case MG_DELTA_REASONING:
    case MG_DELTA_REFUSAL: return take_text(resumed, delta, out_pass);
    case MG_DELTA_TOOL: return take_call(resumed, delta, out_pass);
    default: *out_pass = is_news(resumed); return MG_OK;
    }
}
