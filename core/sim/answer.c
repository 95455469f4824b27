#include "sim/answer.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/json.h"
#include "sim/schema.h"
#include "sim/text.h"

enum { MAX_TOKENS = 262144, MAX_JSON_BYTES = 1 << 20 };

static void say(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                uint32_t tokens, struct mg_sim_choice *out);
static void apply_fault(struct mg_arena *arena, enum mg_sim_fault fault, int value,
                        struct mg_sim_choice *choice);
static void cut(struct mg_sim_choice *choice, uint64_t tokens, const char *finish);
static bool says_tool(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                      struct mg_sim_choice *out);
static bool says_json(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                      struct mg_sim_choice *out);
static const struct mg_json *choose_tool(const struct mg_sim_request *request,
                                         const struct mg_json *tools, const struct mg_json *choice);
static const struct mg_json *tool_named(const struct mg_json *tools, mg_view name);
static mg_view name_of(const struct mg_json *tool);
static bool mentions(mg_view prompt, mg_view tool);
static mg_view printed(struct mg_arena *arena, const struct mg_json *value);
static struct mg_json *tree(mg_view span);

void mg_sim_answer_make(struct mg_arena *arena, const struct mg_sim_request *request,
                        enum mg_sim_fault fault, int value, uint32_t tokens,
                        struct mg_sim_answer *out_answer)
{
    uint64_t seed = mg_fingerprint(request->prompt) ^ mg_fingerprint(request->tool_result);
    out_answer->choices = mg_arena_array(arena, struct mg_sim_choice, request->n);
    out_answer->output_tokens = 0;
    for (uint32_t i = 0; i < request->n; i++) {
        struct mg_sim_choice *choice = &out_answer->choices[i];
        say(arena, request, seed + i * 0x9e3779b97f4a7c15ull, tokens, choice);
        apply_fault(arena, fault, value, choice);
        out_answer->output_tokens += choice->tokens;
    }
}

static void say(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                uint32_t tokens, struct mg_sim_choice *out)
{
    if (!says_tool(arena, request, seed, out) && !says_json(arena, request, seed, out)) {
        mg_view about = request->after_tool ? request->tool_result : request->prompt;
        out->said = MG_SIM_SAYS_TEXT;
        out->finish = "stop";
        out->text = mg_sim_text(arena, about, seed, MG_MIN(tokens, (uint32_t)MAX_TOKENS));
        out->tokens = MG_MIN(tokens, (uint32_t)MAX_TOKENS);
    }
    if (request->max_tokens && request->max_tokens < out->tokens)
        cut(out, request->max_tokens, "length");
}

static void apply_fault(struct mg_arena *arena, enum mg_sim_fault fault, int value,
                        struct mg_sim_choice *choice)
{
    switch (fault) {
    case MG_SIM_FAULT_empty_content:
        *choice = (struct mg_sim_choice){.said = MG_SIM_SAYS_NOTHING, .finish = "stop"};
        break;
    case MG_SIM_FAULT_refusal:
        *choice = (struct mg_sim_choice){
            .said = MG_SIM_SAYS_REFUSAL,
            .finish = "stop",
            .tokens = 9,
            .text = MG_VIEW("I'm sorry, but I can't help with that request.")};
        break;
    case MG_SIM_FAULT_finish_length:
        cut(choice, (uint64_t)value, "length");
        break;
    case MG_SIM_FAULT_finish_content_filter:
        cut(choice, (uint64_t)value, "content_filter");
        break;
    case MG_SIM_FAULT_finish_error:
        cut(choice, (uint64_t)value, "error");
        break;
    case MG_SIM_FAULT_schema_mismatch:
        choice->text = MG_VIEW("{\"surprise\":[1,2,3]}");
        break;
    case MG_SIM_FAULT_bad_tool_arguments:
        choice->said = MG_SIM_SAYS_TOOL;
        choice->finish = "tool_calls";
        choice->text = mg_view_head(mg_arena_dup(arena, MG_VIEW("{\"location\":\"Lisb")), 17);
        if (!choice->tool.len)
            choice->tool = MG_VIEW("lookup");
        break;
    case MG_SIM_FAULT_huge_event:
        choice->text = mg_view_of(mg_arena_alloc(arena, (size_t)value + 1), (size_t)value);
        memset((char *)choice->text.ptr, 'x', choice->text.len);
        break;
    default:
        break;
    }
}

/* The first `tokens` of what would have been said. */
static void cut(struct mg_sim_choice *choice, uint64_t tokens, const char *finish)
{
    mg_view rest = choice->text;
    uint32_t kept = 0;
    while (kept < tokens && mg_sim_token(&rest).len)
        kept++;
    choice->text = mg_view_head(choice->text, choice->text.len - rest.len);
    choice->tokens = kept;
    choice->finish = finish;
}

static bool says_tool(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                      struct mg_sim_choice *out)
{
    if (!request->tools.len || request->surface != MG_SIM_CHAT)
        return false;
    struct mg_json *tools = tree(request->tools), *choice = tree(request->tool_choice);
    const struct mg_json *tool = choose_tool(request, tools, choice);
    if (tool) {
        const struct mg_json *parameters = mg_json_path(tool, "function.parameters");
        struct mg_json *arguments = mg_sim_satisfy(parameters, seed);
        out->said = MG_SIM_SAYS_TOOL;
        out->tool = mg_arena_dup(arena, name_of(tool));
        out->text = printed(arena, arguments);
        out->finish = "tool_calls";
        out->tokens = (uint32_t)(out->text.len / 4 + out->tool.len / 4 + 6);
        mg_json_free(arguments);
    }
    mg_json_free(choice);
    mg_json_free(tools);
    return tool != NULL;
}

static bool says_json(struct mg_arena *arena, const struct mg_sim_request *request, uint64_t seed,
                      struct mg_sim_choice *out)
{
    if (!request->response_format.len || request->surface != MG_SIM_CHAT)
        return false;
    struct mg_json *format = tree(request->response_format);
    mg_view type = mg_json_string(mg_json_get(format, "type"));
    struct mg_json *value = NULL;
    if (mg_view_eq(type, MG_VIEW("json_schema"))) {
        value = mg_sim_satisfy(mg_json_path(format, "json_schema.schema"), seed);
    } else if (mg_view_eq(type, MG_VIEW("json_object"))) {
        value = mg_json_new_object();
        mg_json_add(value, MG_VIEW("answer"),
                    mg_json_new_string(mg_sim_text(arena, request->prompt, seed, 12)));
        mg_json_add(value, MG_VIEW("confident"), mg_json_new_bool(true));
    }
    if (value) {
        out->said = MG_SIM_SAYS_TEXT;
        out->text = printed(arena, value);
        out->finish = "stop";
        out->tokens = (uint32_t)(out->text.len / 4 + 1);
    }
    mg_json_free(value);
    mg_json_free(format);
    return out->text.len > 0;
}

/* Which tool is called: one that is demanded, or, before its result is there, one the user
 * mentions. NULL: none. */
static const struct mg_json *choose_tool(const struct mg_sim_request *request,
                                         const struct mg_json *tools, const struct mg_json *choice)
{
    mg_view word = mg_json_string(choice);
    if (mg_view_eq(word, MG_VIEW("none")) || request->after_tool)
        return NULL;
    if (mg_view_eq(word, MG_VIEW("required")) ||
        mg_view_eq(mg_json_string(mg_json_path(choice, "allowed_tools.mode")), MG_VIEW("required")))
        return mg_json_first(tools);
    mg_view named = mg_json_string(mg_json_path(choice, "function.name"));
    if (named.len)
        return tool_named(tools, named);
    for (const struct mg_json *each = mg_json_first(tools); each; each = mg_json_next(each)) {
        if (mentions(request->prompt, name_of(each)))
            return each;
    }
    return NULL;
}

static const struct mg_json *tool_named(const struct mg_json *tools, mg_view name)
{
    for (const struct mg_json *each = mg_json_first(tools); each; each = mg_json_next(each)) {
        if (mg_view_eq(name_of(each), name))
            return each;
    }
    return NULL;
}

static mg_view name_of(const struct mg_json *tool)
{
    return mg_json_string(mg_json_path(tool, "function.name"));
}

/* True when the prompt has the name, or a long word of it: "get_weather" is mentioned by "What is
 * the weather?". */
static bool mentions(mg_view prompt, mg_view tool)
{
    if (!tool.len || mg_view_search(prompt, tool) < prompt.len)
        return tool.len > 0;
    for (mg_view rest = tool; rest.len;) {
        mg_view word = mg_view_cut(&rest, '_');
        if (word.len > 3 && mg_view_search(prompt, word) < prompt.len)
            return true;
    }
    return false;
}

static mg_view printed(struct mg_arena *arena, const struct mg_json *value)
{
    struct mg_buf text;
    mg_buf_init(&text, MAX_JSON_BYTES);
    mg_view out = MG_VIEW("{}");
    if (mg_json_print(value, &text) == MG_OK)
        out = mg_arena_dup(arena, mg_buf_view(&text));
    mg_buf_fini(&text);
    return out;
}

/* NULL for an empty span and for what has no tree (a repeated key deep inside). */
static struct mg_json *tree(mg_view span)
{
    struct mg_json *value = NULL;
    if (!span.len || mg_json_parse(span, MAX_JSON_BYTES, &value, NULL) != MG_OK)
        return NULL;
    return value;
}
