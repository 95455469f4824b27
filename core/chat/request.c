/* A request is scanned once; every edit is kept as "what instead of which span" until
 * mg_request_render() splices them all in one copy. */
#include "chat/request.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_members.h"


enum path {
    PATH_MODEL, PATH_STREAM, PATH_BACKGROUND, PATH_INCLUDE_USAGE, PATH_METADATA, PATH_MESSAGES, PATH_MESSAGE, PATH_ROLE,
    PATH_CONTENT, PATH_PART_TYPE, PATH_PART_TEXT, PATH_SYSTEM, PATH_STORE, PATH_PREVIOUS, PATH_CONVERSATION, PATH_INCLUDE, PATH_COUNT
};

struct mg_request_shape {
    const char *dialect;
    const char *messages;              /* the list … */
    const char *content;               /* … and what each of it holds */
    const char *system;                /* a field of its own for the system's words */
    bool parts;                        /* content is always a list of parts without a type */
    struct mg_json_paths *paths;       /* process life */
};

static struct mg_request_shape shapes[] = {
    {"openai_chat", "messages", "content", NULL, false, NULL},
    {"anthropic", "messages", "content", "system", false, NULL},
    {"openai_responses", "input", "content", "instructions", false, NULL},
    {"gemini", "contents", "parts", "systemInstruction", true, NULL},
    {"bedrock", "messages", "content", "system", false, NULL},
    {"cohere", "messages", "content", NULL, false, NULL},
};

/* Its requests may go on from an answer that somebody keeps. */
static bool is_stateful(const struct mg_request_shape *shape)
{
    return strcmp(shape->dialect, "openai_responses") == 0;
}

/* Parts are named so that a key given twice is refused: a guard and the provider could each read another one. */
__attribute__((constructor)) static void compile_paths(void)
{
    for (size_t i = 0; i < MG_COUNT(shapes); i++) {
        struct mg_request_shape *shape = &shapes[i];
        char message[64], role[96], content[96], type[128], text[128];
        snprintf(message, sizeof message, "%s[*]", shape->messages);
        snprintf(role, sizeof role, "%s.role", message);
        snprintf(content, sizeof content, "%s.%s", message, shape->content);
        snprintf(type, sizeof type, "%s[*].type", content);
        snprintf(text, sizeof text, "%s[*].text", content);
        const char *const paths[PATH_COUNT] = {
            [PATH_MODEL] = "model", [PATH_STREAM] = "stream", [PATH_BACKGROUND] = "background",
            [PATH_INCLUDE_USAGE] = "stream_options.include_usage", [PATH_METADATA] = "metadata",
            [PATH_MESSAGES] = shape->messages, [PATH_MESSAGE] = message, [PATH_ROLE] = role, [PATH_CONTENT] = content,
            [PATH_PART_TYPE] = type, [PATH_PART_TEXT] = text, [PATH_SYSTEM] = shape->system,
            [PATH_STORE] = "store", [PATH_PREVIOUS] = "previous_response_id", [PATH_CONVERSATION] = "conversation",
            [PATH_INCLUDE] = "include",
        };
        size_t count = is_stateful(shape) ? PATH_COUNT : shape->system ? PATH_STORE : PATH_SYSTEM;
        shape->paths = mg_json_paths_new(paths, count);
    }
}

__attribute__((destructor)) static void free_paths(void)
{
    for (size_t i = 0; i < MG_COUNT(shapes); i++)
        mg_json_paths_free(shapes[i].paths);
}

static const struct mg_request_shape *shape_of(const char *dialect)
{
    for (size_t i = 0; i < MG_COUNT(shapes); i++)
        if (strcmp(shapes[i].dialect, dialect) == 0)
            return &shapes[i];
    return &shapes[0];
}

struct scan {
    struct mg_request *request;
    struct mg_message open;            /* the message whose members are being reported */
    struct mg_json_error error;        /* of a value that is well-formed but wrong here */
};

static mg_err wrong(struct scan *scan, const struct mg_json_hit *hit, const char *reason)
{
    scan->error = (struct mg_json_error){(size_t)(hit->value.ptr - scan->request->body.ptr), reason};
    return MG_E_BAD_REQUEST;
}

/* Decoded text of a string span, in the arena when it had escapes. */
static mg_view decode(struct mg_arena *arena, mg_view span)
{
    mg_view plain = mg_json_plain(span);
    if (plain.len || span.len <= 2)
        return plain;
    struct mg_buf scratch;
    mg_buf_init(&scratch, span.len);
    mg_view text = MG_VIEW_NONE;
    if (mg_json_unescape(span, &scratch) == MG_OK)
        text = mg_arena_dup(arena, mg_buf_view(&scratch));
    mg_buf_fini(&scratch);
    return text;
}

static mg_err grow_messages(struct mg_request *request)
{
    if (request->message_count < request->message_cap)
        return MG_OK;
    if (request->message_count >= MG_MAX_JSON_SPANS)
        return MG_E_TOO_LARGE;
    size_t cap = request->message_cap ? request->message_cap * 2 : 16;
    struct mg_message *grown = mg_arena_array(request->arena, struct mg_message, cap);
    if (request->message_count)
        memcpy(grown, request->messages, request->message_count * sizeof *grown);
    request->messages = grown;
    request->message_cap = cap;
    return MG_OK;
}

static mg_err add_message(struct scan *scan, const struct mg_message *message)
{
    MG_TRY(grow_messages(scan->request));
    scan->request->messages[scan->request->message_count++] = *message;
    return MG_OK;
}

static mg_err end_message(struct scan *scan, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_OBJECT)
        return wrong(scan, hit, "a message must be an object");
    scan->open.bytes = hit->value;
    if (!scan->open.content.len)       /* a tool's result of the Responses API */
        scan->open.content = mg_json_member(hit->value, MG_VIEW("output"));
    struct mg_message message = scan->open;
    scan->open = (struct mg_message){0};
    return add_message(scan, &message);
}

static mg_err set_model(struct scan *scan, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_STRING)
        return wrong(scan, hit, "model must be a string");
    scan->request->model_span = hit->value;
    scan->request->model = decode(scan->request->arena, hit->value);
    return MG_OK;
}

static mg_err set_stream(struct scan *scan, const struct mg_json_hit *hit)
{
    if (hit->type == MG_JSON_NULL || mg_json_span_bool(hit->value, &scan->request->stream))
        return MG_OK;
    return wrong(scan, hit, "stream must be true or false");
}

/* A single string is what a user says. */
static mg_err set_messages(struct scan *scan, const struct mg_json_hit *hit)
{
    bool may_be_text = strcmp(scan->request->shape->messages, "input") == 0;
    scan->request->messages_span = hit->value;
    if (hit->type == MG_JSON_ARRAY)
        return MG_OK;
    if (hit->type != MG_JSON_STRING || !may_be_text)
        return wrong(scan, hit, may_be_text ? "input must be a string or an array" : "messages must be an array");
    struct mg_message message = {.bytes = hit->value, .content = hit->value, .role = MG_VIEW("user"), .bare = true};
    return add_message(scan, &message);
}

/* The system's words may come behind the messages; they are put in front in the end. */
static void set_system(struct scan *scan, const struct mg_json_hit *hit)
{
    if (hit->type != MG_JSON_NULL)
        scan->request->system_span = hit->value;
}

static mg_err put_system_first(struct mg_request *request)
{
    mg_view span = request->system_span;
    if (!span.len)
        return MG_OK;
    mg_view parts = span.ptr[0] == '{' ? mg_json_member(span, mg_view_cstr(request->shape->content)) : span;
    MG_TRY(grow_messages(request));
    memmove(&request->messages[1], &request->messages[0], request->message_count * sizeof *request->messages);
    request->messages[0] = (struct mg_message){.bytes = span, .content = parts, .role = MG_VIEW("system"), .bare = true, .apart = true};
    request->message_count++;
    return MG_OK;
}

/* Gemini's own word; and items that are no messages have no role. */
static mg_view role_of(const struct mg_request *request, mg_view span)
{
    mg_view role = decode(request->arena, span);
    return mg_view_eq(role, MG_VIEW("model")) ? MG_VIEW("assistant") : role;
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct scan *scan = arg;
    struct mg_request *request = scan->request;
    switch ((enum path)hit->path) {
    case PATH_MODEL: return set_model(scan, hit);
    case PATH_STREAM: return set_stream(scan, hit);
    case PATH_BACKGROUND: (void)mg_json_span_bool(hit->value, &request->background); break;
    case PATH_INCLUDE_USAGE: (void)mg_json_span_bool(hit->value, &request->wants_usage); break;
    case PATH_METADATA: request->metadata = hit->type == MG_JSON_OBJECT ? hit->value : MG_VIEW_NONE; break;
    case PATH_SYSTEM: set_system(scan, hit); break;
    case PATH_STORE: request->store = hit->value; break;
    case PATH_PREVIOUS: request->previous = hit->value; break;
    case PATH_CONVERSATION: request->conversation = hit->value; break;
    case PATH_INCLUDE: request->include = hit->value; break;
    case PATH_MESSAGES: return set_messages(scan, hit);
    case PATH_MESSAGE: return end_message(scan, hit);
    case PATH_ROLE: scan->open.role = role_of(request, hit->value); break;
    case PATH_CONTENT: scan->open.content = hit->value; break;
    case PATH_PART_TYPE:
    case PATH_PART_TEXT:
    case PATH_COUNT: break;
    }
    return MG_OK;
}

static bool is_object(mg_view body)
{
    size_t at = 0;
    while (at < body.len && (body.ptr[at] == ' ' || body.ptr[at] == '\t' || body.ptr[at] == '\n' || body.ptr[at] == '\r'))
        at++;
    return at < body.len && body.ptr[at] == '{';
}

static mg_err scan_shape(struct mg_request *request, struct mg_arena *arena, const struct mg_request_shape *shape, mg_view body,
                         struct mg_json_error *out_error)
{
    *request = (struct mg_request){.shape = shape, .arena = arena, .body = body};
    struct scan scan = {.request = request};
    mg_err err = mg_json_scan(body, shape->paths, on_hit, &scan, out_error);
    if (err == MG_OK && !is_object(body))
        err = wrong(&scan, &(struct mg_json_hit){.value = body}, "the body must be a JSON object");
    if (err != MG_OK && scan.error.reason)
        *out_error = scan.error;
    return err == MG_OK ? put_system_first(request) : err;
}

mg_err mg_request_scan(struct mg_request *request, struct mg_arena *arena, mg_view body, struct mg_json_error *out_error)
{
    return scan_shape(request, arena, &shapes[0], body, out_error);
}

mg_err mg_request_scan_as(struct mg_request *request, struct mg_arena *arena, const char *dialect, mg_view body,
                          struct mg_json_error *out_error)
{
    return scan_shape(request, arena, shape_of(dialect), body, out_error);
}

/* The object itself, without blanks around it. */
static mg_view object_of(mg_view body)
{
    size_t start = mg_view_find(body, "{");
    return mg_view_skip(body, start);
}

mg_view mg_request_field(const struct mg_request *request, mg_view key)
{
    return mg_json_member(object_of(request->body), key);
}

static bool settable(mg_view key)
{
    if (key.len == 0 || key.len > 128)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!word)
            return false;
    }
    return !mg_view_eq(key, MG_VIEW("model")) && !mg_view_eq(key, MG_VIEW("stream"));
}

/* Messages have their own doors. */
static bool is_settable(const struct mg_request *request, mg_view key)
{
    return settable(key) && !mg_view_eq(key, mg_view_cstr(request->shape->messages)) &&
           !(request->shape->system && mg_view_eq(key, mg_view_cstr(request->shape->system)));
}

static struct mg_param *find_param(struct mg_param *params, size_t count, mg_view key)
{
    for (size_t i = 0; i < count; i++)
        if (mg_view_eq(params[i].key, key))
            return &params[i];
    return NULL;
}

bool mg_request_set_param(struct mg_request *request, mg_view key, mg_view json)
{
    if (!is_settable(request, key) || (json.len && mg_json_check(json, NULL) != MG_OK))
        return false;
    struct mg_param *param = find_param(request->params, request->param_count, key);
    if (!param && request->param_count == MG_REQUEST_PARAMS)
        return false;
    if (!param)
        param = &request->params[request->param_count++];
    *param = (struct mg_param){mg_arena_dup(request->arena, key),
                               json.len ? mg_arena_dup(request->arena, json) : MG_VIEW_NONE};
    return true;
}

static bool is_string(mg_view span)
{
    return span.len && span.ptr[0] == '"';
}

/* Texts of parts; a tool's result holds parts again, or a string. */
static mg_err put_parts(struct mg_buf *text, mg_view parts, int depth)
{
    struct mg_json_member part;
    for (size_t at = 0; mg_json_next_member(parts, &at, &part);) {
        if (part.value.ptr[0] != '{')
            continue;
        mg_view span = mg_json_member(part.value, MG_VIEW("text")), inner = mg_json_member(part.value, MG_VIEW("content"));
        if (is_string(span))
            MG_TRY(mg_json_unescape(span, text));
        if (is_string(inner))
            MG_TRY(mg_json_unescape(inner, text));
        else if (inner.len && inner.ptr[0] == '[' && depth < 4)
            MG_TRY(put_parts(text, inner, depth + 1));
    }
    return MG_OK;
}

static mg_view join_parts(struct mg_arena *arena, mg_view parts)
{
    struct mg_buf text;
    mg_buf_init(&text, parts.len);
    mg_err err = put_parts(&text, parts, 0);
    mg_view joined = err == MG_OK ? mg_arena_dup(arena, mg_buf_view(&text)) : MG_VIEW_NONE;
    mg_buf_fini(&text);
    return joined;
}

mg_view mg_request_message_text(struct mg_request *request, size_t i)
{
    mg_view content = request->messages[i].content;
    if (content.len && content.ptr[0] == '"')
        return decode(request->arena, content);
    return content.len && content.ptr[0] == '[' ? join_parts(request->arena, content) : MG_VIEW_NONE;
}

/* The text as a JSON string in the arena. Escaping takes at most six bytes for one. */
static mg_view quote(struct mg_arena *arena, mg_view text)
{
    struct mg_buf out;
    mg_buf_init(&out, text.len * 6 + 2);
    mg_err err = mg_buf_putc(&out, '"');
    if (err == MG_OK)
        err = mg_buf_put_json(&out, text);
    if (err == MG_OK)
        err = mg_buf_putc(&out, '"');
    mg_view quoted = err == MG_OK ? mg_arena_dup(arena, mg_buf_view(&out)) : MG_VIEW("\"\"");
    mg_buf_fini(&out);
    return quoted;
}

/* A text as the content of a message. */
static mg_view content_of(const struct mg_request *request, mg_view text)
{
    mg_view quoted = quote(request->arena, text);
    return request->shape->parts ? mg_arena_printf(request->arena, "[{\"text\":%.*s}]", MG_FMT(quoted)) : quoted;
}

void mg_request_message_set(struct mg_request *request, size_t i, mg_view text)
{
    struct mg_message *message = &request->messages[i];
    mg_view content = content_of(request, text);
    mg_view before, after, name = MG_VIEW_NONE;
    if (message->content.len) {
        before = mg_view_head(message->bytes, (size_t)(message->content.ptr - message->bytes.ptr));
        after = mg_view_skip(message->bytes, before.len + message->content.len);
    } else {
        before = mg_view_head(message->bytes, message->bytes.len - 1);
        after = MG_VIEW("}");
        name = mg_arena_printf(request->arena, "%s\"%s\":", mg_json_span_is_empty(message->bytes) ? "" : ",", request->shape->content);
    }
    size_t content_at = before.len + name.len;
    message->bytes = mg_arena_printf(request->arena, "%.*s%.*s%.*s%.*s", MG_FMT(before), MG_FMT(name), MG_FMT(content), MG_FMT(after));
    message->content = mg_view_of(message->bytes.ptr + content_at, content.len);
    message->edited = true;
}

/* The system's first words, where a dialect keeps them apart. */
static struct mg_message system_message(const struct mg_request *request, mg_view text)
{
    mg_view content = content_of(request, text), bytes = content;
    if (request->shape->parts) {
        bytes = mg_arena_printf(request->arena, "{\"%s\":%.*s}", request->shape->content, MG_FMT(content));
        content = mg_json_member(bytes, mg_view_cstr(request->shape->content));
    }
    return (struct mg_message){.bytes = bytes, .content = content, .role = MG_VIEW("system"), .bare = true, .apart = true, .edited = true};
}

/* The dialect's own word for a role. */
static mg_view role_word(const struct mg_request *request, mg_view role)
{
    if (!request->shape->parts)
        return role;
    return mg_view_eq(role, MG_VIEW("assistant")) ? MG_VIEW("model") : MG_VIEW("user");
}

static struct mg_message new_message(const struct mg_request *request, mg_view role, mg_view text)
{
    mg_view bytes = mg_arena_printf(request->arena, "{\"role\":%.*s,\"%s\":%.*s}",
                                    MG_FMT(quote(request->arena, role_word(request, role))), request->shape->content,
                                    MG_FMT(content_of(request, text)));
    return (struct mg_message){
        .bytes = bytes,
        .role = mg_arena_dup(request->arena, role),
        .content = mg_json_member(bytes, mg_view_cstr(request->shape->content)),
        .edited = true,
    };
}

mg_err mg_request_message_insert(struct mg_request *request, size_t i, mg_view role, mg_view text)
{
    bool has_system = request->message_count && request->messages[0].apart;
    bool apart = i == 0 && !has_system && request->shape->system && mg_view_eq(role, MG_VIEW("system"));
    MG_TRY(grow_messages(request));
    i = i < request->message_count ? i : request->message_count;
    i += i == 0 && has_system;
    memmove(&request->messages[i + 1], &request->messages[i], (request->message_count - i) * sizeof *request->messages);
    request->messages[i] = apart ? system_message(request, text) : new_message(request, role, text);
    request->message_count++;
    request->restructured |= !apart;
    request->system_moved |= apart;
    return MG_OK;
}

void mg_request_message_remove(struct mg_request *request, size_t i)
{
    bool apart = request->messages[i].apart;
    request->restructured |= !apart;
    request->system_moved |= apart;
    request->message_count--;
    memmove(&request->messages[i], &request->messages[i + 1], (request->message_count - i) * sizeof *request->messages);
}

/* Edits of one body, kept sorted by offset. */
struct edits {
    struct mg_splice *items;
    size_t count, cap;
};

/* What is put in at a place stands before what is cut out there. */
static bool comes_behind(const struct mg_splice *edit, size_t offset, size_t len)
{
    return edit->offset > offset || (edit->offset == offset && edit->len > 0 && len == 0);
}

static void add_edit(struct edits *edits, size_t offset, size_t len, mg_view with)
{
    size_t at = edits->count;
    for (; at > 0 && comes_behind(&edits->items[at - 1], offset, len); at--)
        edits->items[at] = edits->items[at - 1];
    edits->items[at] = (struct mg_splice){offset, len, with};
    edits->count++;
}

static mg_err put_param(struct mg_param *params, size_t *count, mg_view key, mg_view value)
{
    struct mg_param *param = find_param(params, *count, key);
    if (!param && *count == MG_REQUEST_PARAMS)
        return MG_E_TOO_LARGE;
    if (!param)
        param = &params[(*count)++];
    *param = (struct mg_param){key, value};
    return MG_OK;
}

static size_t first_listed(const struct mg_request *request)
{
    return request->message_count && request->messages[0].apart ? 1 : 0;
}

static mg_view new_array(struct mg_request *request)
{
    struct mg_buf out;
    mg_buf_init(&out, MG_MAX_BODY_BYTES);
    mg_err err = mg_buf_putc(&out, '[');
    for (size_t i = first_listed(request), first = i; i < request->message_count && err == MG_OK; i++) {
        const struct mg_message *message = &request->messages[i];
        if (i > first)
            err = mg_buf_putc(&out, ',');
        if (err == MG_OK && message->bare)
            err = mg_buf_putf(&out, "{\"role\":\"user\",\"content\":%.*s}", MG_FMT(message->bytes));
        else if (err == MG_OK)
            err = mg_buf_put(&out, message->bytes);
    }
    if (err == MG_OK)
        err = mg_buf_putc(&out, ']');
    mg_view array = err == MG_OK ? mg_arena_dup(request->arena, mg_buf_view(&out)) : MG_VIEW_NONE;
    mg_buf_fini(&out);
    return array;
}

static void replace(const struct mg_request *request, struct edits *edits, mg_view span, mg_view with)
{
    add_edit(edits, (size_t)(span.ptr - request->body.ptr), span.len, with);
}

/* Messages that kept their places are spliced one by one: their neighbours keep every byte. */
static void edit_in_place(struct mg_request *request, struct edits *edits)
{
    struct mg_json_member element;
    size_t i = first_listed(request);
    if (is_string(request->messages_span)) {
        if (request->messages[i].edited)
            replace(request, edits, request->messages_span, request->messages[i].bytes);
        return;
    }
    for (size_t at = 0; mg_json_next_member(request->messages_span, &at, &element); i++)
        if (request->messages[i].edited)
            replace(request, edits, element.value, request->messages[i].bytes);
}

/* The field itself comes and goes as a parameter does. */
static mg_err edit_system(struct mg_request *request, struct edits *edits)
{
    const struct mg_message *system = first_listed(request) ? &request->messages[0] : NULL;
    if (system && request->system_span.len) {
        if (system->edited)
            replace(request, edits, request->system_span, system->bytes);
        return MG_OK;
    }
    if (!request->system_moved)
        return MG_OK;
    return put_param(request->params, &request->param_count, mg_view_cstr(request->shape->system),
                     system ? system->bytes : MG_VIEW_NONE);
}

static mg_err edit_messages(struct mg_request *request, struct edits *edits)
{
    MG_TRY(edit_system(request, edits));
    if (!request->messages_span.len)
        return MG_OK;
    if (!request->restructured) {
        edit_in_place(request, edits);
        return MG_OK;
    }
    mg_view array = new_array(request);
    if (!array.len)
        return MG_E_TOO_LARGE;
    replace(request, edits, request->messages_span, array);
    return MG_OK;
}

/* Sets and removes top-level members. `model` or, where the path names it, the conversation is among them and stays, so
 * what is put in front of the first member is always followed by another one. */
static void edit_params(mg_view body, struct mg_arena *arena, const struct mg_param *params, size_t count,
                        struct edits *edits)
{
    mg_view object = object_of(body);
    bool done[MG_REQUEST_PARAMS] = {false};
    bool kept_before = false;
    size_t last_end = 0, cut_from = 0;
    struct mg_json_member m;
    for (size_t at = 0; mg_json_next_member(object, &at, &m);) {
        size_t start = (size_t)(m.member.ptr - body.ptr);
        if (cut_from) {                /* what was removed in front goes with its comma */
            add_edit(edits, cut_from, start - cut_from, MG_VIEW_NONE);
            cut_from = 0;
        }
        const struct mg_param *param = find_param((struct mg_param *)params, count, m.key);
        if (param)
            done[param - params] = true;
        if (param && param->value.len)
            add_edit(edits, (size_t)(m.value.ptr - body.ptr), m.value.len, param->value);
        else if (param && kept_before)
            add_edit(edits, last_end, start + m.member.len - last_end, MG_VIEW_NONE);
        else if (param)
            cut_from = start;
        kept_before |= !param || param->value.len;
        last_end = start + m.member.len;
    }
    for (size_t i = 0; i < count; i++)
        if (!done[i] && params[i].value.len)
            add_edit(edits, (size_t)(object.ptr - body.ptr) + 1, 0,
                     mg_arena_printf(arena, "\"%.*s\":%.*s,", MG_FMT(params[i].key), MG_FMT(params[i].value)));
}

static bool was_edited(const struct mg_request *request)
{
    bool edited = request->restructured || request->system_moved || request->param_count > 0;
    for (size_t i = 0; !edited && i < request->message_count; i++)
        edited = request->messages[i].edited;
    return edited;
}

mg_err mg_request_render(struct mg_request *request, struct mg_json_error *out_error)
{
    if (!was_edited(request))
        return MG_OK;
    struct edits edits = {.cap = request->message_count + 2 * MG_REQUEST_PARAMS + 2};
    edits.items = mg_arena_array(request->arena, struct mg_splice, edits.cap);
    MG_TRY(edit_messages(request, &edits));
    edit_params(request->body, request->arena, request->params, request->param_count, &edits);

    struct mg_buf out;
    const struct mg_form *form = request->form;
    mg_buf_init(&out, MG_MAX_BODY_BYTES);
    mg_err err = mg_splice_apply(request->body, edits.items, edits.count, &out);
    if (err == MG_OK)
        err = scan_shape(request, request->arena, request->shape, mg_arena_dup(request->arena, mg_buf_view(&out)), out_error);
    request->form = form;
    mg_buf_fini(&out);
    return err;
}

static mg_err collect_params(const struct mg_request *request, const struct mg_body_change *change, struct mg_param *params, size_t *count)
{
    for (size_t i = 0; i < MG_COUNT(change->params); i++) {
        struct mg_json_member m;
        for (size_t at = 0; mg_json_next_member(change->params[i], &at, &m);)
            if (is_settable(request, m.key))
                MG_TRY(put_param(params, count, m.key, m.value));
    }
    return change->drop_model ? put_param(params, count, MG_VIEW("model"), MG_VIEW_NONE) : MG_OK;
}

/* "stream_options": its member set to true, whatever stood there. */
static void opt_into_usage(const struct mg_request *request, struct mg_arena *arena,
                           const struct mg_body_change *change, struct edits *edits)
{
    mg_view field = mg_request_field(request, mg_view_cstr(change->usage_field));
    size_t object_at = (size_t)(object_of(request->body).ptr - request->body.ptr);
    if (!field.len) {
        add_edit(edits, object_at + 1, 0,
                 mg_arena_printf(arena, "\"%s\":{\"%s\":true},", change->usage_field, change->usage_member));
        return;
    }
    size_t field_at = (size_t)(field.ptr - request->body.ptr);
    mg_view member = mg_json_member(field, mg_view_cstr(change->usage_member));
    if (member.len)
        add_edit(edits, (size_t)(member.ptr - request->body.ptr), member.len, MG_VIEW("true"));
    else if (field.ptr[0] == '{')
        add_edit(edits, field_at + 1, 0,
                 mg_arena_printf(arena, "\"%s\":true%s", change->usage_member, mg_json_span_is_empty(field) ? "" : ","));
    else
        add_edit(edits, field_at, field.len, mg_arena_printf(arena, "{\"%s\":true}", change->usage_member));
}

static void add_part(struct mg_body *body, mg_view part)
{
    if (part.len == 0)
        return;
    body->parts[body->count++] = part;
    body->length += part.len;
}

static void cut_up(mg_view doc, const struct edits *edits, struct mg_body *out)
{
    size_t at = 0;
    *out = (struct mg_body){.count = 0};
    for (size_t i = 0; i < edits->count; i++) {
        const struct mg_splice *edit = &edits->items[i];
        add_part(out, mg_view_of(doc.ptr + at, edit->offset - at));
        add_part(out, edit->with);
        at = edit->offset + edit->len;
    }
    add_part(out, mg_view_skip(doc, at));
}

/* ---- edits of single fields, on top of the parameters ----------------------------------------- */

/* The top-level fields as they will be sent, but for those that stand in the body and are not touched. */
struct fields {
    const struct mg_request *request;
    struct mg_param params[MG_REQUEST_PARAMS];
    size_t count;
};

static mg_view field_value(struct fields *fields, mg_view key)
{
    const struct mg_param *param = find_param(fields->params, fields->count, key);
    return param ? param->value : mg_request_field(fields->request, key);
}

/* An edit takes room for two fields; without it the request goes out as it is. */
static mg_err apply_edit(struct fields *fields, const struct mg_body_edit *edit)
{
    mg_view field = mg_view_cstr(edit->field), value = field_value(fields, field);
    if (!value.len || !is_settable(fields->request, field) || fields->count + 2 > MG_REQUEST_PARAMS)
        return MG_OK;
    if (edit->op == MG_EDIT_SET)
        return put_param(fields->params, &fields->count, field, mg_view_cstr(edit->to));
    if (edit->op == MG_EDIT_RENAME && is_settable(fields->request, mg_view_cstr(edit->to)))
        MG_TRY(put_param(fields->params, &fields->count, mg_view_cstr(edit->to), value));
    return put_param(fields->params, &fields->count, field, MG_VIEW_NONE);
}

static bool adds_usage(const struct mg_request *request, const struct mg_body_change *change, struct fields *fields)
{
    return request->stream && !request->wants_usage && change->usage_member &&
           !find_param(fields->params, fields->count, mg_view_cstr(change->usage_field));
}

/* An edit of the field that usage is asked for in wins over asking. */
static bool edits_usage(const struct mg_body_change *change)
{
    bool edited = false;
    for (size_t i = 0; change->usage_field && i < change->edit_count; i++)
        edited |= strcmp(change->edits[i]->field, change->usage_field) == 0;
    return edited;
}

static mg_err collect_fields(const struct mg_request *request, const struct mg_body_change *change, struct fields *out)
{
    out->request = request;
    out->count = 0;
    MG_TRY(collect_params(request, change, out->params, &out->count));
    for (size_t i = 0; i < change->edit_count; i++)
        MG_TRY(apply_edit(out, change->edits[i]));
    return MG_OK;
}

mg_view mg_request_sends(const struct mg_request *request, const struct mg_body_change *change, mg_view field)
{
    struct fields fields;
    if (collect_fields(request, change, &fields) != MG_OK)
        return MG_VIEW_NONE;
    mg_view value = field_value(&fields, field);
    bool usage = !value.len && change->usage_field && mg_view_eq(field, mg_view_cstr(change->usage_field)) &&
                 !edits_usage(change) && adds_usage(request, change, &fields);
    return usage ? MG_VIEW("{}") : value;
}

/* Where a model need not be named, the body may not name it. */
static void set_model_name(const struct mg_request *request, struct mg_arena *arena, mg_view name, struct edits *edits)
{
    mg_view quoted = quote(arena, name), object = object_of(request->body);
    if (request->model_span.len)
        replace(request, edits, request->model_span, quoted);
    else
        add_edit(edits, (size_t)(object.ptr - request->body.ptr) + 1, 0,
                 mg_arena_printf(arena, "\"model\":%.*s%s", MG_FMT(quoted), mg_json_span_is_empty(object) ? "" : ","));
}

mg_err mg_request_for_attempt(const struct mg_request *request, struct mg_arena *arena,
                              const struct mg_body_change *change, struct mg_body *out_body)
{
    struct mg_splice items[MG_REQUEST_PARAMS + 3];
    struct edits edits = {.items = items, .cap = MG_REQUEST_PARAMS + 3};
    struct fields fields;
    MG_TRY(collect_fields(request, change, &fields));

    if (change->model.len && !mg_view_eq(change->model, request->model))
        set_model_name(request, arena, change->model, &edits);
    if (fields.count)
        edit_params(request->body, arena, fields.params, fields.count, &edits);
    if (adds_usage(request, change, &fields) && !edits_usage(change))
        opt_into_usage(request, arena, change, &edits);
    cut_up(request->body, &edits, out_body);
    return MG_OK;
}

uint64_t mg_request_tokens_estimate(const struct mg_request *request)
{
    return request->body.len / 4 + 1;
}
