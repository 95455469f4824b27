/* One scan of a document gathers what its hits say in `struct look`; only when the document turns out to be valid does
 * take_over() add it to the tap. */
#include "chat/adapter_parts.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "http/wait.h"

enum { MAX_TOKENS = 1000000000 };         /* of one call; a counter then takes centuries to wrap */

void mg_tap_init(struct mg_tap *tap, const struct mg_adapter *adapter, bool stream)
{
    *tap = (struct mg_tap){.adapter = adapter, .stream = stream};
}

/* One piece of a tool call; numbers and spans may come in any order. */
struct tool_piece {
    int choice_place, call_place;      /* call_place -1: the call has no list around it */
    int index;                         /* -1: not said */
    mg_view name, arguments;           /* spans; empty: absent */
};

enum { LOOK_TOOLS = 2 * MG_TAP_TOOLS, RANK_NONE = MG_JSON_PATHS };

/* One scan of one document. */
struct look {
    struct mg_tap *tap;
    const struct mg_path_set *set;
    struct mg_tap_event *event;        /* NULL: a whole answer */
    mg_view doc;
    struct mg_usage usage;             /* taken over only when the document turns out valid */
    uint64_t content_bytes;
    bool content, useful, refused, blank, item, usage_seen, usage_bad, error;
    bool broken_arguments;             /* of a whole answer */
    char finish[40];
    struct mg_json_hit usage_hit;
    size_t type_rank, code_rank, message_rank;   /* path that the tap's text came from: an earlier declared one wins */
    int choice_count, tool_count;

    /* Not zeroed: the counts say what is in them. */
    struct {
        int place, number;
    } choices[MG_TAP_TEXTS];           /* the places in the list whose numbers stand there */
    struct tool_piece tools[LOOK_TOOLS];
};

static int number_of(const struct look *look, int place)
{
    for (int i = 0; i < look->choice_count; i++)
        if (look->choices[i].place == place)
            return look->choices[i].number;
    return place;
}

static bool has_bytes(const struct mg_json_hit *hit)
{
    if (hit->type == MG_JSON_STRING)
        return hit->value.len > 2;
    if (hit->type == MG_JSON_ARRAY || hit->type == MG_JSON_OBJECT)
        return !mg_json_span_is_empty(hit->value);
    return false;
}

/* Nothing but blanks, written out or escaped: no answer to anything. */
static bool is_blank(const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_STRING)
        return false;
    mg_view text = mg_view_of(hit->value.ptr + 1, hit->value.len - 2);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ' ')
            continue;
        if (text.ptr[i] != '\\' || !strchr("nrtf", text.ptr[i + 1]))
            return false;
        i++;
    }
    return true;
}

/* Copies a string or the spelling of a number, cut to size, without control bytes. */
static void copy_text(char *out, size_t size, const struct mg_json_hit *hit)
{
    mg_view text = hit->value;
    struct mg_buf buf;
    mg_buf_init(&buf, hit->value.len);
    if (hit->type == MG_JSON_STRING && mg_json_span_text(hit->value, &buf, &text) != MG_OK)
        text = MG_VIEW_NONE;
    text = mg_view_head(text, size - 1);
    text.len = mg_view_utf8_floor(text);
    for (size_t i = 0; i < text.len; i++)
        out[i] = (unsigned char)text.ptr[i] < 0x20 ? ' ' : text.ptr[i];
    out[text.len] = '\0';
    mg_buf_fini(&buf);
}

/* An error's word: the path that was declared first wins, of one path the first value. */
static void see_word(char *out, size_t size, size_t *rank, const struct mg_json_hit *hit)
{
    bool says_something = hit->type == MG_JSON_NUMBER || (hit->type == MG_JSON_STRING && hit->value.len > 2);
    if (says_something && hit->path < *rank) {
        copy_text(out, size, hit);
        *rank = hit->path;
    }
}

static void see_detail(struct mg_tap *tap, const struct mg_json_hit *hit)
{
    size_t used = strlen(tap->error_detail), room = sizeof tap->error_detail - used;
    if (hit->type != MG_JSON_STRING || room < 3)
        return;
    if (used > 0)
        tap->error_detail[used++] = ' ', room--;
    copy_text(tap->error_detail + used, room, hit);
}

/* A path of names and numbers ends with the name of the field. */
static void see_param(struct mg_tap *tap, const struct mg_json_hit *hit)
{
    if (hit->type == MG_JSON_STRING && hit->value.len > 2)
        copy_text(tap->error_param, sizeof tap->error_param, hit);
}

static void see_error(struct look *look, const struct mg_json_hit *hit)
{
    look->error |= hit->type == MG_JSON_OBJECT || has_bytes(hit);
    if (hit->type == MG_JSON_STRING)
        see_word(look->tap->error_message, sizeof look->tap->error_message, &look->message_rank, hit);
}

/* Every event of a stream repeats the model. */
static void see_served(struct mg_tap *tap, const struct mg_json_hit *hit)
{
    if (hit->type == MG_JSON_STRING && !tap->served[0])
        copy_text(tap->served, sizeof tap->served, hit);
}

/* Every event repeats this too, and the last word counts. */
static void see_tier(struct mg_tap *tap, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_STRING)
        return;
    mg_view inner = mg_view_head(mg_view_skip(hit->value, 1), hit->value.len - 2);
    if (!mg_view_eq(inner, mg_view_cstr(tap->tier)))
        copy_text(tap->tier, sizeof tap->tier, hit);
}

static void see_retry_after(struct mg_tap *tap, const struct mg_json_hit *hit)
{
    char text[32];
    copy_text(text, sizeof text, hit);
    (void)mg_wait_read(mg_view_cstr(text), &tap->error_retry_ms);
}

static void note_text(struct look *look, const struct mg_json_hit *hit, bool reasoning)
{
    struct mg_tap_event *event = look->event;
    if (!event)
        return;
    if (hit->type != MG_JSON_STRING || event->text_count == MG_TAP_TEXTS) {
        event->more_text = true;
        return;
    }
    event->texts[event->text_count++] = (struct mg_tap_text){
        .offset = (size_t)(hit->value.ptr - look->doc.ptr),
        .len = hit->value.len,
        .choice = (int)mg_json_hit_index(hit),
        .reasoning = reasoning,
    };
}

static void see_content(struct look *look, const struct mg_json_hit *hit, bool reasoning)
{
    if (!has_bytes(hit))
        return;
    look->content_bytes += hit->value.len;
    if (is_blank(hit)) {
        look->blank = true;
    } else {
        look->content = true;
        look->useful |= !reasoning;
    }
    note_text(look, hit, reasoning);
}

static void see_useful(struct look *look, const struct mg_json_hit *hit)
{
    look->content |= has_bytes(hit);
    look->useful |= has_bytes(hit);
}

static void see_refusal(struct look *look, const struct mg_json_hit *hit)
{
    bool said = has_bytes(hit) && !is_blank(hit);
    look->refused |= said;
    look->content |= said;
}

static bool small_number(const struct mg_json_hit *hit, int *out_number)
{
    uint64_t number;
    if (hit->type != MG_JSON_NUMBER || !mg_json_span_u64(hit->value, &number) || number > INT_MAX)
        return false;
    *out_number = (int)number;
    return true;
}

static void see_index(struct look *look, const struct mg_json_hit *hit)
{
    int number;
    if (look->choice_count == MG_TAP_TEXTS || !small_number(hit, &number))
        return;
    look->choices[look->choice_count].place = (int)mg_json_hit_index(hit);
    look->choices[look->choice_count++].number = number;
}

/* The piece that a hit inside a tool call belongs to; NULL: there are too many. */
static struct tool_piece *piece_of(struct look *look, const struct mg_json_hit *hit)
{
    int choice = hit->index_count ? (int)hit->index[0] : 0;
    int call = hit->index_count > 1 ? (int)hit->index[1] : -1;
    for (int i = 0; i < look->tool_count; i++)
        if (look->tools[i].choice_place == choice && look->tools[i].call_place == call)
            return &look->tools[i];
    if (look->tool_count == LOOK_TOOLS)
        return NULL;
    look->tools[look->tool_count] = (struct tool_piece){.choice_place = choice, .call_place = call, .index = -1};
    return &look->tools[look->tool_count++];
}

static void see_tool(struct look *look, enum mg_meaning meaning, const struct mg_json_hit *hit)
{
    struct tool_piece *piece = piece_of(look, hit);
    if (!piece) {
        if (look->event)
            look->event->more_tools = true;
    } else if (meaning == MG_IS_TOOL_INDEX) {
        (void)small_number(hit, &piece->index);
    } else if (meaning == MG_IS_TOOL_NAME) {
        if (has_bytes(hit))
            piece->name = hit->value;
    } else if (hit->type != MG_JSON_NULL) {
        piece->arguments = hit->value;
    }
}

static void see_finish(struct look *look, const struct mg_json_hit *hit)
{
    struct mg_tap_event *event = look->event;
    if (hit->type != MG_JSON_STRING)
        return;
    copy_text(look->finish, sizeof look->finish, hit);
    if (event && event->finished_count < MG_TAP_FINISHED)
        event->finished[event->finished_count++] = (int)mg_json_hit_index(hit);
}

/* Texts and ends were noted with their place in the list; its number may have come after them. */
static void number_choices(const struct look *look, struct mg_tap_event *event)
{
    for (int i = 0; i < event->text_count; i++)
        event->texts[i].choice = number_of(look, event->texts[i].choice);
    for (int i = 0; i < event->finished_count; i++)
        event->finished[i] = number_of(look, event->finished[i]);
}

/* Nonsense is not billed: with one such count the whole usage counts as not reported, and is estimated. */
static void see_count(struct look *look, uint64_t *count, const struct mg_json_hit *hit)
{
    uint64_t value;
    if (hit->type == MG_JSON_NUMBER && mg_json_span_u64(hit->value, &value) && value <= MAX_TOKENS)
        *count = value;
    else if (hit->type != MG_JSON_NULL)
        look->usage_bad = true;
}

static void see_usage(struct look *look, const struct mg_json_hit *hit)
{
    look->usage_hit = *hit;
    if (hit->type == MG_JSON_OBJECT)
        look->usage_seen = true;
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct look *look = arg;
    struct mg_tap *tap = look->tap;
    enum mg_meaning meaning = (enum mg_meaning)look->set->meaning[hit->path];
    switch (meaning) {
    case MG_IS_ITEM: look->item = true; break;
    case MG_IS_CONTENT: see_content(look, hit, false); break;
    case MG_IS_REASONING: see_content(look, hit, true); break;
    case MG_IS_TOOL_CALL:
    case MG_IS_DATA: see_useful(look, hit); break;
    case MG_IS_TOOL_INDEX:
    case MG_IS_TOOL_NAME:
    case MG_IS_TOOL_ARGUMENTS: see_tool(look, meaning, hit); break;
    case MG_IS_REFUSAL: see_refusal(look, hit); break;
    case MG_IS_FINISH: see_finish(look, hit); break;
    case MG_IS_INDEX: see_index(look, hit); break;
    case MG_IS_INPUT: see_count(look, &look->usage.input_tokens, hit); break;
    case MG_IS_OUTPUT: see_count(look, &look->usage.output_tokens, hit); break;
    case MG_IS_TOTAL: break;
    case MG_IS_CACHED_READ: see_count(look, &look->usage.cached_read_tokens, hit); break;
    case MG_IS_CACHED_WRITE: see_count(look, &look->usage.cached_write_tokens, hit); break;
    case MG_IS_REASONING_TOKENS: see_count(look, &look->usage.reasoning_tokens, hit); break;
    case MG_IS_INPUT_AUDIO: see_count(look, &look->usage.input_audio_tokens, hit); break;
    case MG_IS_OUTPUT_AUDIO: see_count(look, &look->usage.output_audio_tokens, hit); break;
    case MG_IS_MODEL: see_served(tap, hit); break;
    case MG_IS_TIER: see_tier(tap, hit); break;
    case MG_IS_USAGE: see_usage(look, hit); break;
    case MG_IS_ERROR: see_error(look, hit); break;
    case MG_IS_ERROR_TYPE: see_word(tap->error_type, sizeof tap->error_type, &look->type_rank, hit); break;
    case MG_IS_ERROR_CODE: see_word(tap->error_code, sizeof tap->error_code, &look->code_rank, hit); break;
    case MG_IS_ERROR_MESSAGE: see_word(tap->error_message, sizeof tap->error_message, &look->message_rank, hit); break;
    case MG_IS_ERROR_PARAM: see_param(tap, hit); break;
    case MG_IS_ERROR_DETAIL: see_detail(tap, hit); break;
    case MG_IS_RETRY_AFTER: see_retry_after(tap, hit); break;
    case MG_IS_MARK: look->error |= mg_view_eq(hit->value, MG_VIEW("\"error\"")); break;
    }
    return MG_OK;
}

static bool among(mg_adapter_texts texts, const char *text)
{
    for (; texts && *texts; texts++)
        if (**texts == *text && strcmp(*texts, text) == 0)
            return true;
    return false;
}

static enum mg_finish finish_of(const struct mg_adapter *adapter, const char *reason)
{
    const struct mg_adapter_decl *decl = &adapter->decl;
    return among(decl->finish_failed, reason)     ? MG_FINISH_FAILED
           : among(decl->finish_cut, reason)      ? MG_FINISH_CUT
           : among(decl->finish_filtered, reason) ? MG_FINISH_FILTERED
                                                  : MG_FINISH_DONE;
}

static void fail(struct mg_tap *tap, const char *code)
{
    tap->failed = true;
    if (!tap->error_code[0])
        snprintf(tap->error_code, sizeof tap->error_code, "%s", code);
    tap->error_class = mg_adapter_hint(tap->adapter, 0, tap);
}

static uint64_t bit_of(int choice)
{
    return UINT64_C(1) << MG_MIN(choice, 63);
}

/* A stream of two choices has not finished with the first of them. */
static void follow_choices(struct mg_tap *tap, const struct look *look)
{
    const struct mg_tap_event *event = look->event;
    for (int i = 0; i < look->choice_count; i++)
        tap->begun |= bit_of(look->choices[i].number);
    for (int i = 0; i < event->finished_count; i++)
        tap->ended |= bit_of(event->finished[i]);
    tap->finished = tap->ended != 0 && (tap->begun & ~tap->ended) == 0;
}

/* ---- tool calls ------------------------------------------------------------------------------ */

static bool is_string(mg_view span)
{
    return span.len > 0 && span.ptr[0] == '"';
}

/* No arguments at all are as good as "{}". */
static bool arguments_are_json(const struct mg_json_pieces *arguments)
{
    return mg_json_pieces_complete(arguments) || mg_json_pieces_empty(arguments);
}

static struct mg_tap_call *call_of(struct mg_tap *tap, int choice, int index)
{
    for (int i = 0; i < tap->call_count; i++)
        if (tap->calls[i].choice == choice && tap->calls[i].index == index)
            return &tap->calls[i];
    if (tap->call_count == MG_TAP_CALLS)
        return NULL;
    struct mg_tap_call *call = &tap->calls[tap->call_count++];
    *call = (struct mg_tap_call){.choice = choice, .index = index};
    return call;
}

/* Some vendors send whole calls, one after the other, without numbers: a name after complete arguments begins a new one. */
static void follow_call(struct mg_tap *tap, const struct tool_piece *piece, int choice, int index)
{
    struct mg_tap_call *call = call_of(tap, choice, index);
    if (!call)
        return;
    if (piece->name.len && mg_json_pieces_complete(&call->arguments))
        call->arguments = (struct mg_json_pieces){.depth = 0};
    if (is_string(piece->arguments))
        (void)mg_json_pieces_feed_string(&call->arguments, piece->arguments);
    else
        (void)mg_json_pieces_feed(&call->arguments, piece->arguments);
}

static void note_span(const struct look *look, mg_view span, size_t *out_offset, size_t *out_len)
{
    if (span.len) {
        *out_offset = (size_t)(span.ptr - look->doc.ptr);
        *out_len = span.len;
    }
}

static void note_tool(const struct look *look, const struct tool_piece *piece, int choice, int index)
{
    struct mg_tap_event *event = look->event;
    bool odd = piece->call_place < 0 || (piece->arguments.len && !is_string(piece->arguments));
    if (odd || event->tool_count == MG_TAP_TOOLS) {
        event->more_tools = true;
        return;
    }
    struct mg_tap_tool *tool = &event->tools[event->tool_count++];
    *tool = (struct mg_tap_tool){.choice = choice, .index = index};
    note_span(look, piece->name, &tool->name_offset, &tool->name_len);
    note_span(look, piece->arguments, &tool->arguments_offset, &tool->arguments_len);
}

static void follow_tools(struct look *look)
{
    for (int i = 0; i < look->tool_count; i++) {
        const struct tool_piece *piece = &look->tools[i];
        int choice = number_of(look, piece->choice_place);
        int index = piece->index >= 0 ? piece->index : MG_MAX(piece->call_place, 0);
        note_tool(look, piece, choice, index);
        follow_call(look->tap, piece, choice, index);
    }
}

/* Of the choices that end here: a length limit may cut arguments, nothing else. */
static bool ends_broken_calls(const struct mg_tap *tap, const struct mg_tap_event *event)
{
    for (int c = 0; c < tap->call_count; c++)
        for (int i = 0; i < event->finished_count; i++)
            if (tap->calls[c].choice == event->finished[i] && !arguments_are_json(&tap->calls[c].arguments))
                return true;
    return false;
}

static bool has_broken_calls(const struct look *look)
{
    for (int i = 0; i < look->tool_count; i++) {
        struct mg_json_pieces pieces = {.depth = 0};
        mg_view arguments = look->tools[i].arguments;
        if (is_string(arguments) && (!mg_json_pieces_feed_string(&pieces, arguments) || !arguments_are_json(&pieces)))
            return true;
    }
    return false;
}

/* The document was valid: what it said holds. */
static void take_over(struct look *look)
{
    struct mg_tap *tap = look->tap;
    tap->content |= look->content;
    tap->useful |= look->useful;
    tap->refused |= look->refused;
    tap->content_bytes += look->content_bytes;
    if (look->usage_seen && !look->usage_bad) {
        tap->usage = look->usage;
        tap->usage.reported = true;
    }
    if (look->finish[0]) {
        memcpy(tap->finish, look->finish, sizeof tap->finish);
        tap->end = finish_of(tap->adapter, look->finish);
    }
    if (look->event) {
        follow_choices(tap, look);
        follow_tools(look);
    } else {
        tap->finished = look->finish[0] != '\0';
    }
    bool cut = tap->end == MG_FINISH_CUT || tap->end == MG_FINISH_FILTERED;
    if (look->finish[0] && !cut)
        tap->broken_arguments |= look->event ? ends_broken_calls(tap, look->event) : has_broken_calls(look);
    if (look->error)
        fail(tap, "");
    else if (look->finish[0] && tap->end == MG_FINISH_FAILED)
        fail(tap, look->finish);
}

static void describe(const struct look *look, struct mg_tap_event *event)
{
    event->content = look->content || (look->blank && look->tap->content);
    event->finish = look->finish[0] != '\0';
    event->refusal = look->refused;
    event->error = look->tap->failed;
    event->usage_only = look->usage_seen && !look->item && !look->content;
    if (look->usage_hit.member.ptr) {
        mg_view cut = mg_json_cut_span(look->doc, &look->usage_hit);
        event->cut_offset = (size_t)(cut.ptr - look->doc.ptr);
        event->cut_len = cut.len;
    }
}

static void look_at(struct look *look, struct mg_tap *tap, const struct mg_path_set *set, mg_view doc)
{
    memset(look, 0, offsetof(struct look, choices));
    look->tap = tap;
    look->set = set;
    look->doc = doc;
    look->type_rank = look->code_rank = look->message_rank = RANK_NONE;
}

/* Answers have no such words, so they are not looked for until there is an error, or a document that is no answer. */
static void read_error(struct look *look)
{
    look->set = &look->tap->adapter->error;
    look->type_rank = look->code_rank = look->message_rank = RANK_NONE;
    if (mg_json_scan(look->doc, look->set->paths, on_hit, look, NULL) != MG_OK)
        look->tap->malformed = true;   /* it was valid a moment ago */
}

void mg_tap_event(struct mg_tap *tap, mg_view name, mg_view data, struct mg_tap_event *out_event)
{
    const struct mg_adapter_decl *decl = &tap->adapter->decl;
    *out_event = (struct mg_tap_event){.content = false};
    tap->events++;
    if (decl->done && mg_view_eq(mg_view_trim(data), mg_view_cstr(decl->done))) {
        tap->done = true;
        out_event->done = true;
        return;
    }
    struct look look;
    look_at(&look, tap, &tap->adapter->chunk, data);
    look.event = out_event;
    if (mg_json_scan(data, look.set->paths, on_hit, &look, NULL) != MG_OK) {
        tap->malformed = true;
        tap->skipped++;
        *out_event = (struct mg_tap_event){.malformed = true};
        return;
    }
    look.error |= decl->error_event && mg_view_eq(name, mg_view_cstr(decl->error_event));
    number_choices(&look, out_event);
    if (look.error)
        read_error(&look);
    take_over(&look);
    describe(&look, out_event);
}

void mg_tap_body(struct mg_tap *tap, mg_view body)
{
    struct look look;
    look_at(&look, tap, &tap->adapter->answer, body);
    if (mg_json_scan(body, look.set->paths, on_hit, &look, NULL) != MG_OK) {
        tap->malformed = true;
        return;
    }
    if (look.error || !look.item)
        read_error(&look);
    take_over(&look);
}

/* The first content string of the first choice. */
struct find {
    const struct mg_path_set *set;
    mg_view span;
};

static mg_err on_text_hit(void *arg, const struct mg_json_hit *hit)
{
    struct find *find = arg;
    if (find->set->meaning[hit->path] == MG_IS_CONTENT && hit->type == MG_JSON_STRING && !find->span.ptr)
        find->span = hit->value;
    return MG_OK;
}

static mg_view text_span(const struct mg_adapter *adapter, mg_view body)
{
    struct find find = {.set = &adapter->answer};
    return mg_json_scan(body, find.set->paths, on_text_hit, &find, NULL) == MG_OK ? find.span : MG_VIEW_NONE;
}

mg_view mg_tap_text_of(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body)
{
    mg_view span = text_span(adapter, body), text = MG_VIEW_NONE;
    struct mg_buf scratch;
    mg_buf_init(&scratch, span.len + 1);
    if (span.ptr && mg_json_span_text(span, &scratch, &text) == MG_OK)
        text = mg_arena_dup(arena, text);
    mg_buf_fini(&scratch);
    return text;
}

mg_view mg_tap_replace_text(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body, mg_view text)
{
    mg_view span = text_span(adapter, body), whole = body;
    struct mg_buf out;
    mg_buf_init(&out, body.len + text.len * 6 + 2);
    if (!span.ptr)
        return body;
    mg_view before = mg_view_head(body, (size_t)(span.ptr - body.ptr));
    if (mg_buf_put(&out, before) == MG_OK && mg_buf_putc(&out, '"') == MG_OK && mg_buf_put_json(&out, text) == MG_OK &&
        mg_buf_putc(&out, '"') == MG_OK && mg_buf_put(&out, mg_view_skip(body, before.len + span.len)) == MG_OK)
        whole = mg_arena_dup(arena, mg_buf_view(&out));
    mg_buf_fini(&out);
    return whole;
}

uint64_t mg_tap_retry_ms(const struct mg_tap *tap)
{
    uint64_t ms = tap->error_retry_ms;
    for (mg_adapter_texts text = tap->adapter->decl.retry_texts; !ms && text && *text; text++) {
        const char *at = strcasestr(tap->error_message, *text);
        if (at)
            (void)mg_wait_read_head(mg_view_cstr(at + strlen(*text)), &ms);
    }
    return ms;
}
