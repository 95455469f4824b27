/* What hits of the declared paths say: tap_parts.h has the scan that they are gathered in. */
#include "chat/tap_parts.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/wait.h"

enum { MAX_TOKENS = 1000000000 };         /* of one call; a counter then takes centuries to wrap */

void mg_tap_init(struct mg_tap *tap, const struct mg_adapter *adapter, bool stream)
{
    *tap = (struct mg_tap){.adapter = adapter, .stream = stream};
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

static void see_error(struct mg_look *look, const struct mg_json_hit *hit)
{
    look->error |= hit->type == MG_JSON_OBJECT || mg_hit_has_bytes(hit);
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

static struct mg_tap_text text_at(const struct mg_look *look, const struct mg_json_hit *hit, bool reasoning)
{
    return (struct mg_tap_text){
        .offset = (size_t)(hit->value.ptr - look->doc.ptr),
        .len = hit->value.len,
        .choice = mg_look_choice(look, hit),
        .reasoning = reasoning,
    };
}

/* Of a whole answer only the first choice's content is ever asked for. */
static void keep_text(struct mg_look *look, const struct mg_json_hit *hit, bool reasoning)
{
    if (reasoning || hit->type != MG_JSON_STRING || mg_look_choice(look, hit) != 0)
        return;
    struct mg_text_span *text = mg_arena_new(look->texts_arena, struct mg_text_span);
    text->span = hit->value;
    *look->last_text = text;
    look->last_text = &text->next;
}

static void note_text(struct mg_look *look, const struct mg_json_hit *hit, bool reasoning)
{
    struct mg_tap_event *event = look->event;
    if (!event)
        return;
    if (hit->type != MG_JSON_STRING || event->text_count == MG_TAP_TEXTS) {
        event->more_text = true;
        return;
    }
    event->texts[event->text_count++] = text_at(look, hit, reasoning);
}

static void see_content(struct mg_look *look, const struct mg_json_hit *hit, bool reasoning)
{
    if (look->texts_arena)
        keep_text(look, hit, reasoning);
    if (!mg_hit_has_bytes(hit) || (hit->type == MG_JSON_ARRAY && look->set->nested[hit->path]))
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

static void see_useful(struct mg_look *look, const struct mg_json_hit *hit)
{
    look->content |= mg_hit_has_bytes(hit);
    look->useful |= mg_hit_has_bytes(hit);
}

/* A number is data too: a count of tokens. */
static void see_data(struct mg_look *look, const struct mg_json_hit *hit)
{
    see_useful(look, hit);
    look->content |= hit->type == MG_JSON_NUMBER;
    look->useful |= hit->type == MG_JSON_NUMBER;
}

static void see_image(struct mg_look *look, const struct mg_json_hit *hit)
{
    see_data(look, hit);
    look->images += mg_hit_has_bytes(hit);
}

/* Fractions of seconds count; nonsense does not. */
static void see_seconds(struct mg_look *look, const struct mg_json_hit *hit)
{
    char text[32], *end;
    copy_text(text, sizeof text, hit);
    double seconds = strtod(text, &end);
    if (end != text && !*end && seconds >= 0 && seconds <= MAX_TOKENS)
        look->audio_ms = (uint64_t)(seconds * 1000 + 0.5);
}

static void see_refusal(struct mg_look *look, const struct mg_json_hit *hit)
{
    bool has_bytes = mg_hit_has_bytes(hit), said = has_bytes && !is_blank(hit);
    struct mg_tap_event *event = look->event;
    look->refused |= said;
    look->content |= said;
    if (!event || !has_bytes || hit->type != MG_JSON_STRING)
        return;
    if (event->refused.len)
        event->more_text = true;
    else
        event->refused = text_at(look, hit, false);
}

static void see_index(struct mg_look *look, const struct mg_json_hit *hit)
{
    int number;
    if (look->choice_count == MG_TAP_TEXTS || !mg_hit_small_number(hit, &number))
        return;
    look->choices[look->choice_count].place = mg_look_choice(look, hit);
    look->choices[look->choice_count++].number = number;
}

static void end_choice(struct mg_tap_event *event, int place)
{
    for (int i = 0; i < event->finished_count; i++)
        if (event->finished[i] == place)
            return;
    if (event->finished_count < MG_TAP_FINISHED)
        event->finished[event->finished_count++] = place;
}

static void see_finish(struct mg_look *look, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_STRING)
        return;
    if (hit->path <= look->finish_rank) {
        copy_text(look->finish, sizeof look->finish, hit);
        look->finish_rank = hit->path;
    }
    if (look->event)
        end_choice(look->event, mg_look_choice(look, hit));
}

/* The provider's policy ended it: where no finish reason says so, this does. */
static void see_blocked(struct mg_look *look, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_STRING || hit->value.len <= 2)
        return;
    copy_text(look->blocked, sizeof look->blocked, hit);
    if (look->event)
        end_choice(look->event, mg_look_choice(look, hit));
}

/* Texts and ends were noted with their place in the list; its number may have come after them. */
static void number_choices(const struct mg_look *look, struct mg_tap_event *event)
{
    for (int i = 0; i < event->text_count; i++)
        event->texts[i].choice = mg_look_number(look, event->texts[i].choice);
    event->refused.choice = mg_look_number(look, event->refused.choice);
    for (int i = 0; i < event->finished_count; i++)
        event->finished[i] = mg_look_number(look, event->finished[i]);
}

/* Nonsense is not billed: with one such count the whole usage counts as not reported, and is estimated. */
static void see_count(struct mg_look *look, uint64_t *count, const struct mg_json_hit *hit)
{
    uint64_t value;
    if (hit->type == MG_JSON_NUMBER && mg_json_span_u64(hit->value, &value) && value <= MAX_TOKENS)
        *count = value;
    else if (hit->type != MG_JSON_NULL)
        look->usage_bad = true;
}

static void see_usage(struct mg_look *look, const struct mg_json_hit *hit)
{
    look->usage_hit = *hit;
    if (hit->type == MG_JSON_OBJECT)
        look->usage_seen = true;
}

/* Nulls and what is empty say nothing. */
static bool says_something(const struct mg_json_hit *hit)
{
    return mg_hit_has_bytes(hit) || hit->type == MG_JSON_NUMBER || hit->type == MG_JSON_BOOL;
}

void mg_look_see(struct mg_look *look, unsigned meaning, const struct mg_json_hit *hit)
{
    struct mg_tap *tap = look->tap;
    if (meaning & MG_IS_RARE) {
        if (look->event)
            look->event->rare |= says_something(hit);
        meaning &= ~(unsigned)MG_IS_RARE;
    }
    switch ((enum mg_meaning)meaning) {
    case MG_IS_ITEM: look->item = true; break;
    case MG_IS_CONTENT: see_content(look, hit, false); break;
    case MG_IS_REASONING: see_content(look, hit, true); break;
    case MG_IS_TOOL_CALL: see_useful(look, hit); break;
    case MG_IS_DATA: see_data(look, hit); break;
    case MG_IS_IMAGE: see_image(look, hit); break;
    case MG_IS_SECONDS: see_seconds(look, hit); break;
    case MG_IS_SEARCHES: see_count(look, &look->searches, hit); break;
    case MG_IS_TOOL_INDEX:
    case MG_IS_TOOL_ID:
    case MG_IS_TOOL_NAME:
    case MG_IS_TOOL_ARGUMENTS: mg_look_tool(look, (enum mg_meaning)meaning, hit); break;
    case MG_IS_REFUSAL: see_refusal(look, hit); break;
    case MG_IS_FINISH: see_finish(look, hit); break;
    case MG_IS_BLOCKED: see_blocked(look, hit); break;
    case MG_IS_INDEX: see_index(look, hit); break;
    case MG_IS_BLOCK: (void)mg_hit_small_number(hit, &look->block); break;
    case MG_IS_INPUT: see_count(look, &look->usage.input_tokens, hit); break;
    case MG_IS_INPUT_MORE: see_count(look, &look->usage_more, hit); break;
    case MG_IS_OUTPUT: see_count(look, &look->usage.output_tokens, hit); break;
    case MG_IS_TOTAL: break;
    case MG_IS_CACHED_READ: see_count(look, &look->usage.cached_read_tokens, hit); break;
    case MG_IS_CACHED_WRITE: see_count(look, &look->usage.cached_write_tokens, hit); break;
    case MG_IS_CACHED_WRITE_LONG: see_count(look, &look->usage_long, hit); break;
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
    case MG_IS_TYPED: mg_look_hold(look, hit); break;
    case MG_IS_TAG: mg_look_word(look, hit); break;
    case MG_IS_PART: mg_look_resolve(look, look->set->number[hit->path]); break;
    case MG_IS_NOTHING:
    case MG_IS_RARE: break;
    }
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct mg_look *look = arg;
    mg_look_see(look, look->set->meaning[hit->path], hit);
    return MG_OK;
}

mg_err mg_look_scan(struct mg_look *look)
{
    MG_TRY(mg_json_scan(look->doc, look->set->paths, on_hit, look, NULL));
    if (look->held_count)
        mg_look_resolve(look, MG_TAG_EVENT);
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
    return among(decl->finish_failed, reason)                          ? MG_FINISH_FAILED
           : among(decl->finish_cut, reason)                           ? MG_FINISH_CUT
           : among(decl->finish_filtered, reason)                      ? MG_FINISH_FILTERED
           : among(decl->finish_refused, reason)                       ? MG_FINISH_REFUSED
           : decl->finish_done && !among(decl->finish_done, reason) &&
                     !among(decl->finish_later, reason)                ? MG_FINISH_FAILED
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
static void follow_choices(struct mg_tap *tap, const struct mg_look *look)
{
    const struct mg_tap_event *event = look->event;
    for (int i = 0; i < look->choice_count; i++)
        tap->begun |= bit_of(look->choices[i].number);
    for (int i = 0; i < event->finished_count; i++)
        tap->ended |= bit_of(event->finished[i]);
    tap->finished = tap->ended != 0 && (tap->begun & ~tap->ended) == 0;
}

/* How the answer ended, if it does here. */
static void take_finish(struct mg_look *look)
{
    struct mg_tap *tap = look->tap;
    if (look->blocked[0] && !look->finish[0])
        memcpy(look->finish, look->blocked, sizeof look->finish);
    if (!look->finish[0])
        return;
    memcpy(tap->finish, look->finish, sizeof tap->finish);
    tap->end = look->blocked[0] ? MG_FINISH_FILTERED : finish_of(tap->adapter, look->finish);
    look->refused |= tap->end == MG_FINISH_REFUSED;
    bool later = among(tap->adapter->decl.finish_later, look->finish);
    look->content |= later;
    look->useful |= later;
}

/* The document was valid: what it said holds. */
static void take_over(struct mg_look *look)
{
    struct mg_tap *tap = look->tap;
    take_finish(look);
    if (look->event) {
        follow_choices(tap, look);
        mg_look_follow_tools(look);
    } else {
        tap->finished = look->finish[0] != '\0';
    }
    tap->content |= look->content;
    tap->useful |= look->useful;
    tap->refused |= look->refused;
    tap->content_bytes += look->content_bytes;
    tap->images += look->images;
    tap->audio_ms = look->audio_ms ? look->audio_ms : tap->audio_ms;
    tap->searches += look->searches;
    if (look->usage_seen && !look->usage_bad)
        mg_look_usage(look);
    bool cut = tap->end == MG_FINISH_CUT || tap->end == MG_FINISH_FILTERED;
    if (look->finish[0] && !cut)
        tap->broken_arguments |= mg_look_ends_broken_calls(look);
    if (look->error)
        fail(tap, "");
    else if (look->finish[0] && tap->end == MG_FINISH_FAILED)
        fail(tap, look->finish);
}

static void describe(const struct mg_look *look, struct mg_tap_event *event)
{
    event->content = look->content || (look->blank && look->tap->content);
    event->finish = look->finish[0] != '\0';
    event->refusal = look->refused;
    event->error = look->tap->failed;
    event->rare |= event->lost_tools || event->more_text;
    if (!look->tap->adapter->decl.usage_optional)
        return;
    event->usage_only = look->usage_seen && !look->item && !look->content;
    if (look->usage_hit.member.ptr) {
        mg_view cut = mg_json_cut_span(look->doc, &look->usage_hit);
        event->cut_offset = (size_t)(cut.ptr - look->doc.ptr);
        event->cut_len = cut.len;
    }
}

void mg_look_at(struct mg_look *look, struct mg_tap *tap, const struct mg_path_set *set, mg_view doc)
{
    memset(look, 0, offsetof(struct mg_look, choices));
    look->tap = tap;
    look->set = set;
    look->doc = doc;
    look->block = -1;
    look->type_rank = look->code_rank = look->message_rank = look->finish_rank = MG_RANK_NONE;
    if (tap->adapter->decl.usage.partial) {
        look->usage = tap->said;
        look->usage_more = tap->said_more;
        look->usage_long = tap->cached_write_long_tokens;
    }
}

/* Answers have no such words, so they are not looked for until there is an error, or a document that is no answer. */
static void read_error(struct mg_look *look)
{
    look->set = &look->tap->adapter->error;
    look->type_rank = look->code_rank = look->message_rank = MG_RANK_NONE;
    if (mg_json_scan(look->doc, look->set->paths, on_hit, look, NULL) != MG_OK)
        look->tap->malformed = true;   /* it was valid a moment ago */
}

static bool type_among(const struct mg_look *look, mg_adapter_texts names)
{
    mg_view type = mg_look_type(look);
    for (; names && *names; names++)
        if (mg_view_eq(type, mg_view_cstr(*names)))
            return true;
    return false;
}

/* In an event stream the name is the only word for the kind of error. */
static void read_error_event(struct mg_look *look)
{
    struct mg_tap *tap = look->tap;
    read_error(look);
    if (tap->adapter->decl.framing == MG_FRAMING_EVENTSTREAM)
        mg_tap_error_header(tap, look->name);
}

void mg_tap_event(struct mg_tap *tap, mg_view name, mg_view data, struct mg_tap_event *out_event)
{
    const struct mg_adapter_decl *decl = &tap->adapter->decl;
    memset(out_event, 0, offsetof(struct mg_tap_event, texts));
    tap->events++;
    if (decl->done && mg_view_eq(mg_view_trim(data), mg_view_cstr(decl->done))) {
        tap->done = true;
        out_event->done = true;
        return;
    }
    struct mg_look look;
    mg_look_at(&look, tap, &tap->adapter->chunk, data);
    look.event = out_event;
    look.name = name;
    if (mg_look_scan(&look) != MG_OK) {
        tap->malformed = true;
        tap->skipped++;
        memset(out_event, 0, offsetof(struct mg_tap_event, texts));
        out_event->malformed = true;
        return;
    }
    look.error |= type_among(&look, decl->error_events);
    number_choices(&look, out_event);
    if (look.error)
        read_error_event(&look);
    take_over(&look);
    describe(&look, out_event);
    if (type_among(&look, decl->done_events))
        tap->done = out_event->done = true;
}

void mg_tap_error_header(struct mg_tap *tap, mg_view value)
{
    value = mg_view_trim(mg_view_head(value, mg_view_find(value, ":")));
    if (!tap->error_type[0])
        snprintf(tap->error_type, sizeof tap->error_type, "%.*s", MG_FMT(value));
}

void mg_tap_body(struct mg_tap *tap, mg_view body)
{
    struct mg_look look;
    mg_look_at(&look, tap, &tap->adapter->answer, body);
    if (mg_look_scan(&look) != MG_OK) {
        tap->malformed = true;
        return;
    }
    if (look.error || !look.item)
        read_error(&look);
    take_over(&look);
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
