#include "sim/wire.h"

#include "base/mem.h"
#include "sim/text.h"

enum { REQUESTS_PER_MINUTE = 10000, TOKENS_PER_MINUTE = 2000000 };

static mg_err put_string(struct mg_buf *out, const char *text);
static mg_err put_quoted(struct mg_buf *out, mg_view text);
static mg_err put_usage(const struct mg_sim_request *request, const struct mg_sim_answer *answer,
                        struct mg_buf *out);
static mg_err put_choice(const struct mg_sim_request *request, struct mg_sim_ident *ident,
                         const struct mg_sim_choice *choice, uint32_t index, struct mg_buf *out);
static mg_err put_message(struct mg_sim_ident *ident, const struct mg_sim_choice *choice,
                          struct mg_buf *out);
static mg_err put_head(const struct mg_sim_request *request, const struct mg_sim_ident *ident,
                       bool chunk, struct mg_buf *out);
static mg_err put_obfuscation(struct mg_sim_ident *ident, struct mg_buf *out);
static mg_err put_limits(const struct mg_sim_ident *ident, int exhausted_ms, struct mg_buf *out);

mg_err mg_sim_put_prefix(const struct mg_sim_request *request, const struct mg_sim_ident *ident,
                         struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("data: ")));
    MG_TRY(put_head(request, ident, true, out));
    return mg_buf_put(out, MG_VIEW("\"choices\":[{\"index\":"));
}

mg_err mg_sim_put_chunk(const struct mg_sim_request *request, struct mg_sim_ident *ident,
                        mg_view prefix, uint32_t choice, mg_view delta, const char *finish,
                        struct mg_buf *out)
{
    bool chat = request->surface == MG_SIM_CHAT;
    MG_TRY(mg_buf_put(out, prefix));
    MG_TRY(choice < 10 ? mg_buf_putc(out, (char)('0' + choice)) : mg_buf_putf(out, "%u", choice));
    MG_TRY(mg_buf_put(out, chat ? MG_VIEW(",\"delta\":") : MG_VIEW(",\"text\":")));
    MG_TRY(mg_buf_put(out, delta));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"logprobs\":null,\"finish_reason\":")));
    MG_TRY(put_string(out, finish));
    MG_TRY(mg_buf_put(out, MG_VIEW("}]")));
    if (request->include_usage)
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"usage\":null")));
    if (request->obfuscate && chat && !finish)
        MG_TRY(put_obfuscation(ident, out));
    return mg_buf_put(out, MG_VIEW("}\n\n"));
}

mg_err mg_sim_put_usage_chunk(const struct mg_sim_request *request,
                              const struct mg_sim_ident *ident, const struct mg_sim_answer *answer,
                              bool with_choice, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("data: ")));
    MG_TRY(put_head(request, ident, true, out));
    if (with_choice)
        MG_TRY(mg_buf_put(
            out, MG_VIEW("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}],")));
    else
        MG_TRY(mg_buf_put(out, MG_VIEW("\"choices\":[],")));
    MG_TRY(put_usage(request, answer, out));
    return mg_buf_put(out, MG_VIEW("}\n\n"));
}

mg_err mg_sim_put_role(const struct mg_sim_choice *choice, struct mg_buf *out)
{
    return mg_buf_put(out,
                      choice->said == MG_SIM_SAYS_TOOL
                          ? MG_VIEW("{\"role\":\"assistant\",\"content\":null,\"refusal\":null}")
                          : MG_VIEW("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"));
}

mg_err mg_sim_put_piece(const struct mg_sim_request *request, const struct mg_sim_choice *choice,
                        mg_view piece, struct mg_buf *out)
{
    if (request->surface == MG_SIM_COMPLETIONS)
        return put_quoted(out, piece);
    bool tool = choice->said == MG_SIM_SAYS_TOOL;
    if (tool)
        MG_TRY(
            mg_buf_put(out, MG_VIEW("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":")));
    else
        MG_TRY(mg_buf_put(out, choice->said == MG_SIM_SAYS_REFUSAL ? MG_VIEW("{\"refusal\":")
                                                                   : MG_VIEW("{\"content\":")));
    MG_TRY(put_quoted(out, piece));
    return mg_buf_put(out, tool ? MG_VIEW("}}]}") : MG_VIEW("}"));
}

mg_err mg_sim_put_tool_open(const struct mg_sim_choice *choice, struct mg_sim_ident *ident,
                            struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(
        out, "{\"tool_calls\":[{\"index\":0,\"id\":\"call_%012llx%012llx\",\"type\":\"function\",",
        (unsigned long long)mg_sim_random(&ident->random),
        (unsigned long long)mg_sim_random(&ident->random)));
    MG_TRY(mg_buf_put(out, MG_VIEW("\"function\":{\"name\":")));
    MG_TRY(put_quoted(out, choice->tool));
    return mg_buf_put(out, MG_VIEW(",\"arguments\":\"\"}}]}"));
}

mg_err mg_sim_put_answer(const struct mg_sim_request *request, struct mg_sim_ident *ident,
                         const struct mg_sim_answer *answer, bool with_usage, struct mg_buf *out)
{
    MG_TRY(put_head(request, ident, false, out));
    MG_TRY(mg_buf_put(out, MG_VIEW("\"choices\":[")));
    for (uint32_t i = 0; i < request->n; i++) {
        if (i)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_choice(request, ident, &answer->choices[i], i, out));
    }
    MG_TRY(mg_buf_putc(out, ']'));
    if (with_usage) {
        MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_usage(request, answer, out));
    }
    return mg_buf_putc(out, '}');
}

mg_err mg_sim_put_error(const char *message, const char *type, const char *param, const char *code,
                        struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"error\":{\"message\":")));
    MG_TRY(put_string(out, message));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"type\":")));
    MG_TRY(put_string(out, type));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"param\":")));
    MG_TRY(put_string(out, param));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"code\":")));
    MG_TRY(put_string(out, code));
    return mg_buf_put(out, MG_VIEW("}}"));
}

mg_err mg_sim_put_html(int status, const char *title, struct mg_buf *out)
{
    return mg_buf_putf(
        out,
        "<!DOCTYPE html>\r\n<html>\r\n<head><title>%d "
        "%s</title></head>\r\n<body>\r\n<center><h1>%d %s"
        "</h1></center>\r\n<hr><center>cloud proxy</center>\r\n</body>\r\n</html>\r\n",
        status, title, status, title);
}

mg_err mg_sim_put_headers(const struct mg_sim_ident *ident, const char *type, int retry_after_s,
                          bool exhausted, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out,
                       "content-type: %s\r\nx-request-id: %s\r\nopenai-processing-ms: %llu\r\n",
                       type, ident->request_id, (unsigned long long)ident->took_ms));
    MG_TRY(mg_buf_put(
        out, MG_VIEW("openai-version: 2020-10-01\r\nopenai-organization: org-simulated\r\n")));
    MG_TRY(put_limits(ident, exhausted ? retry_after_s * 1000 : -1, out));
    if (retry_after_s >= 0)
        MG_TRY(mg_buf_putf(out, "retry-after: %d\r\n", retry_after_s));
    if (retry_after_s >= 0 && ident->limit)
        MG_TRY(
            mg_buf_putf(out, "retry-after-ms: %llu\r\n", (unsigned long long)ident->reset_ms));
    return MG_OK;
}

/* exhausted_ms: nothing is left, for that long; -1: there is. Without a limit in force the figures fall and rise, but
 * never so low that anybody should mind. */
static mg_err put_limits(const struct mg_sim_ident *ident, int exhausted_ms, struct mg_buf *out)
{
    unsigned used = (unsigned)(ident->calls % (REQUESTS_PER_MINUTE / 2));
    unsigned limit = REQUESTS_PER_MINUTE, left = REQUESTS_PER_MINUTE - used;
    unsigned long long reset_ms = used * 6, tokens_reset_ms = used * 3;
    if (exhausted_ms >= 0) {
        left = 0;
        reset_ms = tokens_reset_ms = (unsigned)exhausted_ms;
    }
    if (ident->limit) {
        limit = ident->limit;
        left = ident->left;
        reset_ms = ident->reset_ms;
    }
    MG_TRY(
        mg_buf_putf(out,
                    "x-ratelimit-limit-requests: %u\r\nx-ratelimit-remaining-requests: %u\r\n"
                    "x-ratelimit-reset-requests: %llums\r\n",
                    limit, left, reset_ms));
    return mg_buf_putf(out,
                       "x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %u\r\n"
                       "x-ratelimit-reset-tokens: %llums\r\n",
                       TOKENS_PER_MINUTE,
                       exhausted_ms >= 0 && !ident->limit ? 0 : TOKENS_PER_MINUTE - used * 100,
                       tokens_reset_ms);
}

/* `"id":…,` up to where the choices begin. */
static mg_err put_head(const struct mg_sim_request *request, const struct mg_sim_ident *ident,
                       bool chunk, struct mg_buf *out)
{
    const char *object = request->surface == MG_SIM_COMPLETIONS ? "text_completion"
                         : chunk                                ? "chat.completion.chunk"
                                                                : "chat.completion";
    MG_TRY(mg_buf_putf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,\"model\":",
                       ident->id, object, (unsigned long long)ident->created_s));
    MG_TRY(put_quoted(out, request->model));
    return mg_buf_put(
        out, MG_VIEW(",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_simulated\","));
}

static mg_err put_choice(const struct mg_sim_request *request, struct mg_sim_ident *ident,
                         const struct mg_sim_choice *choice, uint32_t index, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out, "{\"index\":%u,", index));
    if (request->surface == MG_SIM_COMPLETIONS) {
        MG_TRY(mg_buf_put(out, MG_VIEW("\"text\":")));
        MG_TRY(put_quoted(out, choice->text));
    } else {
        MG_TRY(put_message(ident, choice, out));
    }
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"logprobs\":null,\"finish_reason\":")));
    MG_TRY(put_string(out, choice->finish));
    return mg_buf_putc(out, '}');
}

static mg_err put_message(struct mg_sim_ident *ident, const struct mg_sim_choice *choice,
                          struct mg_buf *out)
{
    bool text = choice->said == MG_SIM_SAYS_TEXT, nothing = choice->said == MG_SIM_SAYS_NOTHING;
    MG_TRY(mg_buf_put(out, MG_VIEW("\"message\":{\"role\":\"assistant\",\"content\":")));
    MG_TRY(text || nothing ? put_quoted(out, choice->text) : mg_buf_put(out, MG_VIEW("null")));
    if (choice->said == MG_SIM_SAYS_TOOL) {
        MG_TRY(mg_buf_putf(
            out, ",\"tool_calls\":[{\"id\":\"call_%012llx%012llx\",\"type\":\"function\",",
            (unsigned long long)mg_sim_random(&ident->random),
            (unsigned long long)mg_sim_random(&ident->random)));
        MG_TRY(mg_buf_put(out, MG_VIEW("\"function\":{\"name\":")));
        MG_TRY(put_quoted(out, choice->tool));
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"arguments\":")));
        MG_TRY(put_quoted(out, choice->text));
        MG_TRY(mg_buf_put(out, MG_VIEW("}}]")));
    }
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"refusal\":")));
    MG_TRY(choice->said == MG_SIM_SAYS_REFUSAL ? put_quoted(out, choice->text)
                                               : mg_buf_put(out, MG_VIEW("null")));
    return mg_buf_put(out, MG_VIEW(",\"annotations\":[]}"));
}

static mg_err put_usage(const struct mg_sim_request *request, const struct mg_sim_answer *answer,
                        struct mg_buf *out)
{
    unsigned long long in = request->input_tokens, said = answer->output_tokens;
    return mg_buf_putf(
        out,
        "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
        in, said, in + said);
}

/* Padding of random length hides from an eavesdropper how long a piece is. */
static mg_err put_obfuscation(struct mg_sim_ident *ident, struct mg_buf *out)
{
    static const char letters[] = "aZ3kQw9LmX0pRt7YbN2cVe5HsJ8dUf4GiK6oPlA1";
    uint64_t random = mg_sim_random(&ident->random);
    size_t from = random % 16, len = 1 + (random >> 8) % 16;
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"obfuscation\":\"")));
    MG_TRY(mg_buf_put(out, mg_view_of(letters + from, len)));
    return mg_buf_putc(out, '"');
}

/* NULL: null. */
static mg_err put_string(struct mg_buf *out, const char *text)
{
    return text ? put_quoted(out, mg_view_cstr(text)) : mg_buf_put(out, MG_VIEW("null"));
}

static mg_err put_quoted(struct mg_buf *out, mg_view text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}
