/* The declaration's paths are compiled into two path sets, one for events of a stream and one for
 * whole answers; `meaning` says what a hit of path i is. */
#include "chat/adapter.h"

#include <limits.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"

enum { MAX_TOKENS = 1000000000 };         /* of one call; a counter then takes centuries to wrap */

enum meaning {
    IS_ITEM, IS_CONTENT, IS_REASONING, IS_TOOL_CALL, IS_REFUSAL, IS_FINISH, IS_DATA, IS_INDEX,
    IS_INPUT, IS_OUTPUT, IS_TOTAL, IS_CACHED_READ, IS_CACHED_WRITE, IS_REASONING_TOKENS,
    IS_USAGE, IS_ERROR, IS_ERROR_TYPE, IS_ERROR_CODE, IS_ERROR_MESSAGE
};

struct path_set {
    struct mg_json_paths *paths;       /* owned */
    const char *texts[MG_JSON_PATHS];  /* borrowed from the declaration */
    uint8_t meaning[MG_JSON_PATHS];
    size_t count;
};

struct mg_adapter {
    struct mg_adapter_decl decl;       /* shallow copy: its strings live in the loader's arena */
    struct path_set chunk, answer;
};

static bool add_path(struct path_set *set, const char *text, enum meaning meaning)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->texts[i], text) == 0)
            return set->meaning[i] == meaning;
    if (set->count == MG_JSON_PATHS)
        return false;
    set->texts[set->count] = text;
    set->meaning[set->count++] = (uint8_t)meaning;
    return true;
}

static bool add_paths(struct path_set *set, const mg_adapter_paths texts, enum meaning meaning)
{
    for (int i = 0; i < MG_ADAPTER_PATHS && texts[i]; i++)
        if (!add_path(set, texts[i], meaning))
            return false;
    return true;
}

static bool add_shared(struct path_set *set, const struct mg_adapter_decl *decl)
{
    return add_paths(set, decl->usage.input, IS_INPUT) && add_paths(set, decl->usage.output, IS_OUTPUT) &&
           add_paths(set, decl->usage.total, IS_TOTAL) && add_paths(set, decl->usage.cached_read, IS_CACHED_READ) &&
           add_paths(set, decl->usage.cached_write, IS_CACHED_WRITE) &&
           add_paths(set, decl->usage.reasoning, IS_REASONING_TOKENS) && add_paths(set, decl->usage_object, IS_USAGE) &&
           add_paths(set, decl->error, IS_ERROR) && add_paths(set, decl->error_shape.type, IS_ERROR_TYPE) &&
           add_paths(set, decl->error_shape.code, IS_ERROR_CODE) &&
           add_paths(set, decl->error_shape.message, IS_ERROR_MESSAGE);
}

#define ADD_PARTS(set, decl, part)                                                                 \
    (add_paths((set), (decl)->part.item, IS_ITEM) && add_paths((set), (decl)->part.index, IS_INDEX) && \
     add_paths((set), (decl)->part.content, IS_CONTENT) &&                                         \
     add_paths((set), (decl)->part.reasoning, IS_REASONING) &&                                     \
     add_paths((set), (decl)->part.tool_call, IS_TOOL_CALL) &&                                     \
     add_paths((set), (decl)->part.refusal, IS_REFUSAL) && add_paths((set), (decl)->part.finish, IS_FINISH) && \
     add_paths((set), (decl)->part.data, IS_DATA) && add_shared((set), (decl)))

static bool compile(struct path_set *set)
{
    set->paths = mg_json_paths_try_new(set->texts, set->count);
    return set->paths != NULL;
}

mg_err mg_adapter_new(const struct mg_adapter_decl *decl, struct mg_adapter **out_adapter, struct mg_diag *diag)
{
    struct mg_adapter *adapter = mg_new(struct mg_adapter);
    adapter->decl = *decl;
    bool ok = ADD_PARTS(&adapter->chunk, decl, chunk) && ADD_PARTS(&adapter->answer, decl, answer);
    if (!ok || !compile(&adapter->chunk) || !compile(&adapter->answer)) {
        mg_adapter_free(adapter);
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0,
                           "adapter %s: a JSON path is malformed or has two meanings, or there are more than %d", decl->name,
                           MG_JSON_PATHS);
    }
    *out_adapter = adapter;
    return MG_OK;
}

void mg_adapter_free(struct mg_adapter *adapter)
{
    if (!adapter)
        return;
    mg_json_paths_free(adapter->chunk.paths);
    mg_json_paths_free(adapter->answer.paths);
    mg_free(adapter);
}

const struct mg_adapter_decl *mg_adapter_declaration(const struct mg_adapter *adapter)
{
    return &adapter->decl;
}

const char *mg_adapter_path(const struct mg_adapter *adapter, const char *surface)
{
    for (int i = 0; i < adapter->decl.operation_count; i++)
        if (strcmp(adapter->decl.operations[i].surface, surface) == 0)
            return adapter->decl.operations[i].path;
    return NULL;
}

void mg_tap_init(struct mg_tap *tap, const struct mg_adapter *adapter, bool stream)
{
    *tap = (struct mg_tap){.adapter = adapter, .stream = stream};
}

/* One scan of one document. */
struct look {
    struct mg_tap *tap;
    const struct path_set *set;
    struct mg_tap_event *event;        /* NULL: a whole answer */
    mg_view doc;
    struct mg_usage usage;             /* taken over only when the document turns out valid */
    uint64_t content_bytes;
    bool content, refused, item, usage_seen, usage_bad, error;
    char finish[24];
    struct {
        int place, number;
    } choices[MG_TAP_TEXTS];           /* the places in the list whose numbers stand there */
    int choice_count;
    struct mg_json_hit usage_hit;
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

/* Copies a string or the spelling of a number, cut to size, without control bytes. */
static void copy_text(char *out, size_t size, const struct mg_json_hit *hit)
{
    mg_view text = hit->value;
    struct mg_buf buf;
    mg_buf_init(&buf, hit->value.len);
    if (hit->type == MG_JSON_STRING && mg_json_span_text(hit->value, &buf, &text) != MG_OK)
        text = MG_VIEW_NONE;
    if (hit->type == MG_JSON_NULL)
        text = MG_VIEW_NONE;
    text = mg_view_head(text, size - 1);
    text.len = mg_view_utf8_floor(text);
    for (size_t i = 0; i < text.len; i++)
        out[i] = (unsigned char)text.ptr[i] < 0x20 ? ' ' : text.ptr[i];
    out[text.len] = '\0';
    mg_buf_fini(&buf);
}

static void see_content(struct look *look, const struct mg_json_hit *hit, bool reasoning)
{
    if (!has_bytes(hit))
        return;
    look->content = true;
    look->content_bytes += hit->value.len;
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

static void see_index(struct look *look, const struct mg_json_hit *hit)
{
    uint64_t number;
    if (look->choice_count == MG_TAP_TEXTS || hit->type != MG_JSON_NUMBER || !mg_json_span_u64(hit->value, &number) ||
        number > INT_MAX)
        return;
    look->choices[look->choice_count].place = (int)mg_json_hit_index(hit);
    look->choices[look->choice_count++].number = (int)number;
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
    switch ((enum meaning)look->set->meaning[hit->path]) {
    case IS_ITEM: look->item = true; break;
    case IS_CONTENT: see_content(look, hit, false); break;
    case IS_REASONING: see_content(look, hit, true); break;
    case IS_TOOL_CALL:
    case IS_DATA: look->content |= has_bytes(hit); break;
    case IS_REFUSAL:
        look->refused |= has_bytes(hit);
        look->content |= has_bytes(hit);
        break;
    case IS_FINISH: see_finish(look, hit); break;
    case IS_INDEX: see_index(look, hit); break;
    case IS_INPUT: see_count(look, &look->usage.input_tokens, hit); break;
    case IS_OUTPUT: see_count(look, &look->usage.output_tokens, hit); break;
    case IS_TOTAL: break;
    case IS_CACHED_READ: see_count(look, &look->usage.cached_read_tokens, hit); break;
    case IS_CACHED_WRITE: see_count(look, &look->usage.cached_write_tokens, hit); break;
    case IS_REASONING_TOKENS: see_count(look, &look->usage.reasoning_tokens, hit); break;
    case IS_USAGE: see_usage(look, hit); break;
    case IS_ERROR: look->error |= hit->type == MG_JSON_OBJECT || has_bytes(hit); break;
    case IS_ERROR_TYPE: copy_text(tap->error_type, sizeof tap->error_type, hit); break;
    case IS_ERROR_CODE: copy_text(tap->error_code, sizeof tap->error_code, hit); break;
    case IS_ERROR_MESSAGE: copy_text(tap->error_message, sizeof tap->error_message, hit); break;
    }
    return MG_OK;
}

static bool finish_failed(const struct mg_adapter *adapter, const char *finish)
{
    for (const char *const *f = adapter->decl.finish_failed; f && *f; f++)
        if (strcmp(*f, finish) == 0)
            return true;
    return false;
}

static void fail(struct mg_tap *tap, const char *code)
{
    tap->failed = true;
    if (!tap->error_code[0])
        snprintf(tap->error_code, sizeof tap->error_code, "%s", code);
    tap->error_class = mg_adapter_hint(tap->adapter, 0, mg_view_cstr(tap->error_type), mg_view_cstr(tap->error_code),
                                       mg_view_cstr(tap->error_message));
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

/* The document was valid: what it said holds. */
static void take_over(struct look *look)
{
    struct mg_tap *tap = look->tap;
    tap->content |= look->content;
    tap->refused |= look->refused;
    tap->content_bytes += look->content_bytes;
    if (look->usage_seen && !look->usage_bad) {
        tap->usage = look->usage;
        tap->usage.reported = true;
    }
    if (look->finish[0])
        memcpy(tap->finish, look->finish, sizeof tap->finish);
    if (look->event)
        follow_choices(tap, look);
    else
        tap->finished = look->finish[0] != '\0';
    if (look->error)
        fail(tap, "");
    else if (look->finish[0] && finish_failed(tap->adapter, look->finish))
        fail(tap, look->finish);
}

static void describe(const struct look *look, struct mg_tap_event *event)
{
    event->content = look->content;
    event->finish = look->finish[0] != '\0';
    event->error = look->tap->failed;
    event->usage_only = look->usage_seen && !look->item && !look->content;
    if (look->usage_hit.member.ptr) {
        mg_view cut = mg_json_cut_span(look->doc, &look->usage_hit);
        event->cut_offset = (size_t)(cut.ptr - look->doc.ptr);
        event->cut_len = cut.len;
    }
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
    struct look look = {.tap = tap, .set = &tap->adapter->chunk, .event = out_event, .doc = data};
    if (mg_json_scan(data, look.set->paths, on_hit, &look, NULL) != MG_OK) {
        tap->malformed = true;
        tap->skipped++;
        *out_event = (struct mg_tap_event){.malformed = true};
        return;
    }
    look.error |= decl->error_event && mg_view_eq(name, mg_view_cstr(decl->error_event));
    number_choices(&look, out_event);
    take_over(&look);
    describe(&look, out_event);
}

void mg_tap_body(struct mg_tap *tap, mg_view body)
{
    struct look look = {.tap = tap, .set = &tap->adapter->answer, .doc = body};
    if (mg_json_scan(body, look.set->paths, on_hit, &look, NULL) == MG_OK)
        take_over(&look);
    else
        tap->malformed = true;
}

/* The first content string of the first choice. */
struct find {
    const struct path_set *set;
    mg_view span;
};

static mg_err on_text_hit(void *arg, const struct mg_json_hit *hit)
{
    struct find *find = arg;
    if (find->set->meaning[hit->path] == IS_CONTENT && hit->type == MG_JSON_STRING && !find->span.ptr)
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

static bool text_contains(mg_view text, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= text.len; i++)
        if (strncasecmp(text.ptr + i, part, n) == 0)
            return true;
    return false;
}

static bool rule_matches(const struct mg_adapter_rule *rule, int status, mg_view type, mg_view code, mg_view message)
{
    return (!rule->status || !status || rule->status == status) &&
           (!rule->type || mg_view_eq(type, mg_view_cstr(rule->type))) &&
           (!rule->code || mg_view_eq(code, mg_view_cstr(rule->code))) &&
           (!rule->text || text_contains(message, rule->text));
}

/* What a bare status says, the last resort of the wire reference. */
static enum mg_class class_of_status(int status)
{
    switch (status) {
    case 400: case 405: case 415: case 422: return MG_CLASS_invalid_request;
    case 401: return MG_CLASS_auth;
    case 402: return MG_CLASS_quota_billing;
    case 403: return MG_CLASS_permission;
    case 404: return MG_CLASS_model_not_found;
    case 408: case 504: return MG_CLASS_timeout_total;
    case 409: return MG_CLASS_conflict;
    case 413: return MG_CLASS_payload_too_large;
    case 429: return MG_CLASS_rate_limited;
    case 498: case 503: case 529: return MG_CLASS_overloaded;
    case 499: return MG_CLASS_cancelled;
    default: return MG_CLASS_server_error;
    }
}

enum mg_class mg_adapter_hint(const struct mg_adapter *adapter, int status, mg_view type, mg_view code, mg_view message)
{
    for (int i = 0; i < adapter->decl.rule_count; i++) {
        const struct mg_adapter_rule *rule = &adapter->decl.rules[i];
        bool says_more_than_status = rule->type || rule->code || rule->text;
        if ((status || says_more_than_status) && rule_matches(rule, status, type, code, message))
            return rule->class_;
    }
    uint64_t numeric;
    if (!status && mg_view_u64(code, &numeric) && numeric >= 400 && numeric < 600)
        status = (int)numeric;
    return class_of_status(status);
}
