#include "sim/request.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/json_scan.h"

/* What is looked for in a body: options first, then what has text in it. */
#define PATH_LIST(X)                                                                               \
    X(MODEL, "model")                                                                              \
    X(STREAM, "stream")                                                                            \
    X(STREAM_OPTIONS, "stream_options")                                                            \
    X(INCLUDE_USAGE, "stream_options.include_usage")                                               \
    X(OBFUSCATION, "stream_options.include_obfuscation")                                           \
    X(N, "n")                                                                                      \
    X(MAX_TOKENS, "max_tokens")                                                                    \
    X(MAX_COMPLETION_TOKENS, "max_completion_tokens")                                              \
    X(TOOLS, "tools")                                                                              \
    X(TOOL_CHOICE, "tool_choice")                                                                  \
    X(RESPONSE_FORMAT, "response_format")                                                          \
    X(DIMENSIONS, "dimensions")                                                                    \
    X(ENCODING, "encoding_format")                                                                 \
    X(MESSAGES, "messages")                                                                        \
    X(ROLE, "messages[*].role")                                                                    \
    X(CONTENT, "messages[*].content")                                                              \
    X(PART_TEXT, "messages[*].content[*].text")                                                    \
    X(MESSAGE, "messages[*]")                                                                      \
    X(PROMPT, "prompt")                                                                            \
    X(INPUT, "input")

enum path {
#define X(name, path) PATH_##name,
    PATH_LIST(X)
#undef X
};

struct mg_sim_reader {
    struct mg_json_paths *paths; /* owned */
};

struct reading {
    struct mg_sim_request *request;
    struct mg_arena *arena;
    mg_view model; /* spans, quotes included */
    bool has_stream_options;
    bool n_is_bad;
    bool has_messages;
    mg_view role, text; /* of the message being read */
    mg_view user;       /* text span of the last user message */
    mg_view last_role, last_text;
    size_t text_bytes; /* of all messages */
    size_t messages;
};

static mg_err on_hit(void *arg, const struct mg_json_hit *hit);
static void take_option(struct reading *r, const struct mg_json_hit *hit);
static void take_text(struct reading *r, const struct mg_json_hit *hit);
static void end_message(struct reading *r);
static mg_err refuse(struct mg_sim_refusal *out, const char *message, const char *param,
                     const char *code);
static mg_err check(const struct reading *r, struct mg_sim_refusal *out);
static mg_view text_of(struct mg_arena *arena, mg_view span, size_t max);
static mg_view unless_null(const struct mg_json_hit *hit);
static uint64_t number(const struct mg_json_hit *hit);
static bool boolean(const struct mg_json_hit *hit, bool otherwise);

struct mg_sim_reader *mg_sim_reader_new(void)
{
    static const char *const paths[] = {
#define X(name, path) path,
        PATH_LIST(X)
#undef X
    };
    struct mg_sim_reader *reader = mg_new(struct mg_sim_reader);
    reader->paths = mg_json_paths_new(paths, MG_COUNT(paths));
    return reader;
}

void mg_sim_reader_free(struct mg_sim_reader *reader)
{
    if (!reader)
        return;
    mg_json_paths_free(reader->paths);
    mg_free(reader);
}

mg_err mg_sim_request_read(const struct mg_sim_reader *reader, enum mg_sim_surface surface,
                           mg_view body, struct mg_arena *arena, struct mg_sim_request *out_request,
                           struct mg_sim_refusal *out_refusal)
{
    struct mg_sim_request request = {.surface = surface, .obfuscate = true, .n = 1};
    struct reading r = {.request = &request, .arena = arena};
    if (mg_json_scan(body, reader->paths, on_hit, &r, NULL) != MG_OK)
        return refuse(out_refusal, "We could not parse the JSON body of your request.", NULL, NULL);
    MG_TRY(check(&r, out_refusal));
    request.model = text_of(arena, r.model, 512);
    request.prompt = text_of(arena, r.user, MG_SIM_PROMPT_BYTES);
    request.after_tool = mg_view_eq(r.last_role, MG_VIEW("\"tool\""));
    if (request.after_tool)
        request.tool_result = text_of(arena, r.last_text, 256);
    if (surface == MG_SIM_COMPLETIONS && !request.max_tokens)
        request.max_tokens = 16;
    request.input_tokens = r.text_bytes / 4 + 4 * r.messages + 3;
    *out_request = request;
    return MG_OK;
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct reading *r = arg;
    if (hit->path < PATH_MESSAGES)
        take_option(r, hit);
    else
        take_text(r, hit);
    return MG_OK;
}

static void take_option(struct reading *r, const struct mg_json_hit *hit)
{
    struct mg_sim_request *request = r->request;
    switch ((enum path)hit->path) {
    case PATH_MODEL:
        r->model = hit->value;
        break;
    case PATH_STREAM:
        request->stream = boolean(hit, false);
        break;
    case PATH_STREAM_OPTIONS:
        r->has_stream_options = hit->type != MG_JSON_NULL;
        break;
    case PATH_INCLUDE_USAGE:
        request->include_usage = boolean(hit, false);
        break;
    case PATH_OBFUSCATION:
        request->obfuscate = boolean(hit, true);
        break;
    case PATH_N:
        request->n = hit->type == MG_JSON_NULL ? 1 : (uint32_t)MG_MIN(number(hit), 1000u);
        r->n_is_bad = request->n < 1 || request->n > MG_SIM_CHOICES;
        break;
    case PATH_MAX_TOKENS:
    case PATH_MAX_COMPLETION_TOKENS:
        request->max_tokens = number(hit);
        break;
    case PATH_TOOLS:
        request->tools = unless_null(hit);
        break;
    case PATH_TOOL_CHOICE:
        request->tool_choice = unless_null(hit);
        break;
    case PATH_RESPONSE_FORMAT:
        request->response_format = unless_null(hit);
        break;
    case PATH_DIMENSIONS:
        request->dimensions = (uint32_t)MG_MIN(number(hit), 8192u);
        break;
    case PATH_ENCODING:
        request->base64 = mg_view_eq(hit->value, MG_VIEW("\"base64\""));
        break;
    default:
        break;
    }
}

static void take_text(struct reading *r, const struct mg_json_hit *hit)
{
    switch ((enum path)hit->path) {
    case PATH_MESSAGES:
        r->has_messages = hit->type == MG_JSON_ARRAY && r->messages > 0;
        break;
    case PATH_ROLE:
        r->role = hit->value;
        break;
    case PATH_CONTENT:
        if (hit->type == MG_JSON_STRING)
            r->text = hit->value;
        r->text_bytes += hit->value.len;
        break;
    case PATH_PART_TEXT:
        r->text = hit->value;
        break;
    case PATH_MESSAGE:
        end_message(r);
        break;
    case PATH_PROMPT:
        r->user = hit->value;
        r->text_bytes += hit->value.len;
        break;
    case PATH_INPUT:
        r->request->input = unless_null(hit);
        r->text_bytes += hit->value.len;
        break;
    default:
        break;
    }
}

/* Roles and contents come before the message they are in. */
static void end_message(struct reading *r)
{
    if (mg_view_eq(r->role, MG_VIEW("\"user\"")))
        r->user = r->text;
    r->last_role = r->role;
    r->last_text = r->text;
    r->role = r->text = MG_VIEW_NONE;
    r->messages++;
}

static mg_err check(const struct reading *r, struct mg_sim_refusal *out)
{
    const struct mg_sim_request *request = r->request;
    if (mg_json_span_type(r->model.len ? r->model : MG_VIEW("null")) != MG_JSON_STRING)
        return refuse(out, "you must provide a model parameter", NULL, NULL);
    if (request->surface == MG_SIM_CHAT && !r->has_messages)
        return refuse(out, "Missing required parameter: 'messages'.", "messages",
                      "missing_required_parameter");
    if (request->surface == MG_SIM_EMBEDDINGS && !request->input.len)
        return refuse(out, "Missing required parameter: 'input'.", "input",
                      "missing_required_parameter");
    if (r->has_stream_options && !request->stream)
        return refuse(out,
                      "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                      "stream_options", NULL);
    if (r->n_is_bad)
        return refuse(out, "Invalid 'n': expected an integer from 1 to 128.", "n", "invalid_value");
    return MG_OK;
}

static mg_err refuse(struct mg_sim_refusal *out, const char *message, const char *param,
                     const char *code)
{
    *out = (struct mg_sim_refusal){message, param, code};
    return MG_E_BAD_REQUEST;
}

/* The text of a string span, in the arena; empty for anything else. */
static mg_view text_of(struct mg_arena *arena, mg_view span, size_t max)
{
    struct mg_buf scratch;
    mg_view text = MG_VIEW_NONE;
    if (!span.len || mg_json_span_type(span) != MG_JSON_STRING)
        return text;
    mg_buf_init(&scratch, span.len + 1);
    if (mg_json_span_text(span, &scratch, &text) == MG_OK)
        text = mg_arena_dup(arena, mg_view_head(text, mg_view_utf8_floor(mg_view_head(text, max))));
    mg_buf_fini(&scratch);
    return text;
}

static mg_view unless_null(const struct mg_json_hit *hit)
{
    return hit->type == MG_JSON_NULL ? MG_VIEW_NONE : hit->value;
}

static uint64_t number(const struct mg_json_hit *hit)
{
    uint64_t value = 0;
    return hit->type == MG_JSON_NUMBER && mg_json_span_u64(hit->value, &value) ? value : 0;
}

static bool boolean(const struct mg_json_hit *hit, bool otherwise)
{
    bool value = otherwise;
    return hit->type == MG_JSON_BOOL && mg_json_span_bool(hit->value, &value) ? value : otherwise;
}
