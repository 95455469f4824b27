#include "sim/sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "http/client.h"
#include "http/json.h"
#include "http/sse.h"
#include "sim/faults.h"

/* One answer, read to its end with the real client parser. */
struct answer {
    int status; /* 0: none came */
    mg_err err; /* of the parser */
    bool complete;
    bool reset;  /* the connection ended with a reset */
    bool silent; /* nothing came for a while */
    char type[64];
    char retry_after[16];
    struct mg_buf body;
    int events, broken; /* of a stream: with data; not JSON */
    bool done, error, named_error;
    int roles, finishes, usages;
    char finish[32];
    struct mg_buf text; /* content put together */
};

static struct mg_sim *sim;
static struct answer a;

static mg_err on_head(void *arg, const struct mg_http_response *response)
{
    struct answer *answer = arg;
    mg_view type = mg_headers_get(response->headers, MG_VIEW("content-type"));
    mg_view retry = mg_headers_get(response->headers, MG_VIEW("retry-after"));
    answer->status = response->status;
    snprintf(answer->type, sizeof(answer->type), "%.*s", MG_FMT(type));
    snprintf(answer->retry_after, sizeof(answer->retry_after), "%.*s", MG_FMT(retry));
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct answer *answer = arg;
    return mg_buf_put(&answer->body, bytes);
}

static mg_err on_end(void *arg)
{
    struct answer *answer = arg;
    answer->complete = true;
    return MG_OK;
}

static const struct mg_http_client_ops ops = {on_head, on_body, on_end};

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct answer *answer = arg;
    struct mg_json *json = NULL;
    if (event->is_comment)
        return MG_OK;
    answer->events++;
    answer->named_error |= mg_view_eq(event->name, MG_VIEW("error"));
    if (mg_view_eq(event->data, MG_VIEW("[DONE]"))) {
        answer->done = true;
        return MG_OK;
    }
    if (mg_json_parse(event->data, 8 << 20, &json, NULL) != MG_OK) {
        answer->broken++;
        return MG_OK;
    }
    mg_view finish = mg_json_string(mg_json_path(json, "choices[0].finish_reason"));
    mg_view content = mg_json_string(mg_json_path(json, "choices[0].delta.content"));
    answer->error |= mg_json_get(json, "error") != NULL;
    answer->roles += mg_json_path(json, "choices[0].delta.role") != NULL;
    answer->usages += mg_json_is(mg_json_get(json, "usage"), MG_JSON_OBJECT);
    answer->finishes += finish.len > 0;
    if (finish.len)
        snprintf(answer->finish, sizeof(answer->finish), "%.*s", MG_FMT(finish));
    mg_err err = mg_buf_put(&answer->text, content);
    mg_json_free(json);
    return err;
}

/* A machine that is busy is no provider that hangs: only faults that never end are not waited for. */
static int patience_ms = 10000;

static bool is_endless(const char *model)
{
    return strstr(model, "hang") || strstr(model, "stall") || strstr(model, "headers_only") ||
           strstr(model, "endless");
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)mg_sim_port(sim))};
    struct timeval patience = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Reads until the answer is complete, the peer ends, or patience ends. */
static void hear(int fd)
{
    static char bytes[65536];
    struct mg_http_client *client = mg_http_client_new(&mg_http_limits_default, &ops, &a);
    mg_http_client_begin(client, false);
    uint64_t until = mg_mono_us() + (uint64_t)patience_ms * 2000;
    while (a.err == MG_OK && !a.complete && mg_mono_us() < until) {
        size_t used;
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR)
            continue; /* libuv's io_uring, made on this thread, interrupts it */
        if (n > 0) {
            a.err = mg_http_client_feed(client, mg_view_of(bytes, (size_t)n), &used);
        } else if (n == 0) {
            a.err = mg_http_client_eof(client);
            break;
        } else {
            a.reset = errno == ECONNRESET;
            a.silent = errno == EAGAIN;
            break;
        }
    }
    mg_http_client_free(client);
    close(fd);
    struct mg_sse *sse = mg_sse_new(8 << 20, on_event, &a);
    if (!strncmp(a.type, "text/event-stream", 17))
        CHECK_OK(mg_sse_feed(sse, mg_buf_view(&a.body)));
    mg_sse_free(sse);
}

static void ask(const char *method, const char *path, const char *body)
{
    struct mg_buf request;
    mg_buf_fini(&a.body);
    mg_buf_fini(&a.text);
    a = (struct answer){0};
    mg_buf_init(&a.body, 64 << 20);
    mg_buf_init(&a.text, 64 << 20);
    mg_buf_init(&request, 1 << 20);
    CHECK_OK(mg_buf_putf(
        &request, "%s %s HTTP/1.1\r\nhost: sim\r\nx-probe: yes\r\ncontent-length: %zu\r\n\r\n%s",
        method, path, strlen(body), body));
    int fd = dial();
    CHECK_INT(send(fd, mg_buf_view(&request).ptr, request.len, 0), request.len);
    mg_buf_fini(&request);
    hear(fd);
}

static void chat(const char *model, bool stream, const char *more)
{
    char body[4096];
    snprintf(body, sizeof(body),
             "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"What "
             "about harbours?\"}]%s}",
             model, stream ? "true" : "false", more);
    patience_ms = is_endless(model) ? 400 : 10000;
    ask("POST", "/v1/chat/completions", body);
    patience_ms = 10000;
}

/* What stands at a path of the last answer, as text; static. */
static const char *at(const char *path)
{
    static char text[4096];
    struct mg_json *json = NULL;
    struct mg_buf printed;
    CHECK_OK(mg_json_parse(mg_buf_view(&a.body), 64 << 20, &json, NULL));
    const struct mg_json *value = mg_json_path(json, path);
    mg_buf_init(&printed, sizeof(text));
    if (mg_json_is(value, MG_JSON_STRING))
        snprintf(text, sizeof(text), "%.*s", MG_FMT(mg_json_string(value)));
    else if (!value)
        snprintf(text, sizeof(text), "(absent)");
    else {
        CHECK_OK(mg_json_print(value, &printed));
        snprintf(text, sizeof(text), "%s", mg_buf_cstr(&printed));
    }
    mg_buf_fini(&printed);
    mg_json_free(json);
    return text;
}

static void start(const struct mg_config_sim_model *models, int count)
{
    struct mg_sim_options options = {.models = models, .model_count = count};
    struct mg_diag diag;
    CHECK_OK(mg_sim_start(&options, &sim, &diag));
}

static void stop(void)
{
    mg_sim_stop(sim);
    mg_buf_fini(&a.body);
    mg_buf_fini(&a.text);
}

TEST(an_answer_has_everything_an_sdk_reads)
{
    start(NULL, 0);
    chat("m", false, "");

    CHECK_INT(a.status, 200);
    CHECK_STR(a.type, "application/json");
    CHECK_STR(at("object"), "chat.completion");
    CHECK_STR(at("model"), "m");
    CHECK_STR(at("choices[0].message.role"), "assistant");
    CHECK_STR(at("choices[0].finish_reason"), "stop");
    CHECK_STR(at("choices[0].message.refusal"), "null");
    CHECK_STR(at("usage.completion_tokens"), "48");
    CHECK(strlen(at("choices[0].message.content")) > 100);
    stop();
}

TEST(a_stream_says_the_same_as_the_whole_answer)
{
    start(NULL, 0);
    chat("m", false, "");
    char whole[4096];
    snprintf(whole, sizeof(whole), "%s", at("choices[0].message.content"));
    chat("m", true, "");

    CHECK_STR(a.type, "text/event-stream; charset=utf-8");
    CHECK_VIEW(mg_buf_view(&a.text), mg_view_cstr(whole));
    CHECK_INT(a.roles, 1);
    CHECK_INT(a.finishes, 1);
    CHECK_INT(a.usages, 0);
    CHECK(a.done && a.complete);
    CHECK_INT(a.events, 1 + 48 + 1 + 1);
    stop();
}

TEST(usage_comes_in_a_chunk_of_its_own_when_asked_for)
{
    start(NULL, 0);
    chat("m", true, ",\"stream_options\":{\"include_usage\":true}");
    CHECK_INT(a.usages, 1);
    CHECK_INT(a.events, 1 + 48 + 1 + 1 + 1);
    CHECK(mg_view_search(mg_buf_view(&a.body), MG_VIEW("\"obfuscation\":\"")) < a.body.len);

    chat("m", true, ",\"stream_options\":{\"include_obfuscation\":false}");
    CHECK(mg_view_search(mg_buf_view(&a.body), MG_VIEW("obfuscation")) == a.body.len);
    stop();
}

TEST(max_tokens_ends_an_answer_with_length)
{
    start(NULL, 0);
    chat("m", false, ",\"max_completion_tokens\":7");
    CHECK_STR(at("choices[0].finish_reason"), "length");
    CHECK_STR(at("usage.completion_tokens"), "7");
    chat("m", true, ",\"max_tokens\":7");
    CHECK_STR(a.finish, "length");
    stop();
}

TEST(a_mentioned_tool_is_called_with_its_required_arguments)
{
    static const char *const tools =
        ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"find_harbours\","
        "\"parameters\":{\"type\":\"object\","
        "\"properties\":{\"city\":{\"type\":\"string\"},\"depth\":{\"type\":\"integer\","
        "\"minimum\":100,\"maximum\":110},"
        "\"kind\":{\"enum\":[\"sea\",\"river\"]}},\"required\":[\"city\",\"depth\",\"kind\"]}}}]";
    start(NULL, 0);
    chat("m", false, tools);
    CHECK_STR(at("choices[0].finish_reason"), "tool_calls");
    CHECK_STR(at("choices[0].message.content"), "null");
    CHECK_STR(at("choices[0].message.tool_calls[0].function.name"), "find_harbours");

    struct mg_json *arguments = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(at("choices[0].message.tool_calls[0].function.arguments")),
                           4096, &arguments, NULL));
    double depth = mg_json_double(mg_json_get(arguments, "depth"), 0);
    CHECK(depth >= 100 && depth <= 110);
    CHECK(mg_json_string(mg_json_get(arguments, "city")).len > 0);
    CHECK_VIEW(mg_json_string(mg_json_get(arguments, "kind")), MG_VIEW("sea"));
    mg_json_free(arguments);

    chat("m", true, tools);
    CHECK_STR(a.finish, "tool_calls");
    stop();
}

TEST(a_schema_is_satisfied)
{
    start(NULL, 0);
    chat("m", false,
         ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
         "\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},"
         "\"minItems\":"
         "3},\"next\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"tags\","
         "\"next\"]}}}");
    struct mg_json *value = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(at("choices[0].message.content")), 4096, &value, NULL));
    CHECK_INT(mg_json_count(mg_json_get(value, "tags")), 3);
    CHECK(mg_json_get(value, "next") != NULL);
    mg_json_free(value);
    stop();
}

TEST(several_choices_are_told_apart)
{
    start(NULL, 0);
    chat("m", false, ",\"n\":3");
    CHECK_STR(at("choices[2].index"), "2");
    CHECK_STR(at("usage.completion_tokens"), "144");
    chat("m", true, ",\"n\":3");
    CHECK_INT(a.events, 3 * (1 + 48 + 1) + 1);
    stop();
}

TEST(completions_and_embeddings_speak_their_own_format)
{
    start(NULL, 0);
    ask("POST", "/v1/completions", "{\"model\":\"m\",\"prompt\":\"Once upon\"}");
    CHECK_STR(at("object"), "text_completion");
    CHECK_STR(at("usage.completion_tokens"), "16");
    CHECK(strlen(at("choices[0].text")) > 20);

    ask("POST", "/v1/embeddings",
        "{\"model\":\"m\",\"input\":[\"a\",\"b\",\"a\"],\"dimensions\":4}");
    char first[256];
    snprintf(first, sizeof(first), "%s", at("data[0].embedding"));
    CHECK_STR(at("data[2].embedding"), first);
    CHECK(strcmp(at("data[1].embedding"), first) != 0);
    ask("POST", "/v1/embeddings",
        "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":3,\"encoding_format\":\"base64\"}");
    CHECK_INT(strlen(at("data[0].embedding")), 16);
    stop();
}

TEST(a_bad_request_is_refused_like_a_provider_does)
{
    static const struct {
        const char *body, *code;
    } rows[] = {
        {"{", "null"},
        {"{\"model\":1,\"messages\":[{}]}", "null"},
        {"{\"model\":\"m\",\"messages\":[]}", "missing_required_parameter"},
        {"{\"model\":\"m\",\"messages\":[{}],\"stream_options\":{}}", "null"},
        {"{\"model\":\"m\",\"messages\":[{}],\"n\":0}", "invalid_value"},
    };
    start(NULL, 0);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        ask("POST", "/v1/chat/completions", rows[i].body);
        CHECK_INT(a.status, 400);
        CHECK_STR(at("error.code"), rows[i].code);
    }
    ask("GET", "/v1/chat/completions", "");
    CHECK_INT(a.status, 405);
    ask("GET", "/v1/nothing", "");
    CHECK_INT(a.status, 404);
    stop();
}

TEST(every_answer_fault_sends_its_status_and_body)
{
    start(NULL, 0);
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
        const struct mg_sim_answer_row *row = mg_sim_answer_find((enum mg_sim_fault)i);
        char model[64];
        if (!row)
            continue;
        snprintf(model, sizeof(model), "fault:%s", mg_sim_faults[i].name);
        chat(model, i % 2 == 0, "");
        CHECK_INT(a.status, row->status);
        CHECK(a.complete);
        CHECK_INT(*a.retry_after != 0, row->retry_after);
        if (row->type) {
            CHECK_STR(at("error.type"), row->type);
            CHECK_STR(at("error.code"), row->code ? row->code : "null");
        } else {
            CHECK_STR(a.type, "text/html");
        }
    }
    chat("fault:rate_limited:30", false, "");
    CHECK_STR(a.retry_after, "30");
    chat("fault:status:418", false, "");
    CHECK_INT(a.status, 418);
    stop();
}

/* What a client sees of each stream fault. */
TEST(every_stream_fault_does_what_it_says)
{
    enum {
        COMPLETE = 1,
        RESET = 2,
        SILENT = 4,
        DONE = 8,
        FINISH = 16,
        ERROR = 32,
        BROKEN = 64,
        CUT = 128,
        NAMED = 256
    };
    static const struct {
        const char *model;
        int want;
        int min_events;
    } rows[] = {
        {"fault:reset_early", RESET, 0},
        {"fault:close_early", CUT, 0},
        {"fault:hang", SILENT, 0},
        {"fault:headers_only", SILENT, 0},
        {"fault:stall:5", SILENT, 6},
        {"fault:cut:5", CUT, 6},
        {"fault:cut:500", CUT, 49},
        {"fault:cut_clean:5", COMPLETE, 6},
        {"fault:reset:5", RESET, 0},
        {"fault:bad_framing", CUT, 0},
        {"fault:bad_head", CUT, 0},
        {"fault:keepalive", COMPLETE | DONE | FINISH, 51},
        {"fault:error_first", COMPLETE | ERROR, 1},
        {"fault:error_mid", COMPLETE | ERROR, 5},
        {"fault:error_event", COMPLETE | ERROR | NAMED, 5},
        {"fault:error_done", COMPLETE | ERROR | DONE, 2},
        {"fault:malformed_event", COMPLETE | DONE | FINISH | BROKEN, 52},
        {"fault:no_done", COMPLETE | FINISH, 50},
        {"fault:no_done_hang", SILENT | FINISH, 50},
        {"fault:done_without_finish", COMPLETE | DONE, 5},
        {"fault:finish_error", COMPLETE | DONE | FINISH, 6},
        {"fault:huge_event:2000000", COMPLETE | DONE | FINISH, 4},
        {"fault:empty_content", COMPLETE | DONE | FINISH, 3},
        {"fault:refusal", COMPLETE | DONE | FINISH, 5},
        {"fault:finish_length", COMPLETE | DONE | FINISH, 8},
        {"fault:finish_content_filter", COMPLETE | DONE | FINISH, 6},
        {"fault:slow_ttft:50", COMPLETE | DONE | FINISH, 51},
        {"fault:slow_headers:50", COMPLETE | DONE | FINISH, 51},
        {"fault:trickle:400", COMPLETE | DONE | FINISH, 51},
    };
    start(NULL, 0);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        chat(rows[i].model, true, "");
        bool cut = a.err != MG_OK && !a.reset;
        int seen = (a.complete ? COMPLETE : 0) | (a.reset ? RESET : 0) | (a.silent ? SILENT : 0) |
                   (a.done ? DONE : 0) | (a.finishes ? FINISH : 0) | (a.error ? ERROR : 0) |
                   (a.broken ? BROKEN : 0) | (cut ? CUT : 0) | (a.named_error ? NAMED : 0);
        if (seen != rows[i].want || a.events < rows[i].min_events)
            check_failed(__FILE__, __LINE__, "%s: saw %d with %d events, want %d with %d",
                         rows[i].model, seen, a.events, rows[i].want, rows[i].min_events);
    }
    chat("fault:usage_with_choices", true, ",\"stream_options\":{\"include_usage\":true}");
    CHECK_INT(a.usages, 1);
    chat("fault:no_usage", true, ",\"stream_options\":{\"include_usage\":true}");
    CHECK_INT(a.usages, 0);
    stop();
}

TEST(every_body_fault_does_what_it_says)
{
    static const struct {
        const char *model;
        int status;
        bool complete;
        const char *type, *has;
    } rows[] = {
        {"fault:short_body", 200, false, "application/json", "chat.completion"},
        {"fault:cut", 200, false, "application/json", "chat.completion"},
        {"fault:cut_clean", 200, true, "application/json", "chat.completion"},
        {"fault:stall", 200, false, "application/json", "chat.completion"},
        {"fault:keepalive", 200, true, "application/json", "\n\n\n{"},
        {"fault:trickle:200", 200, true, "application/json", "finish_reason"},
        {"fault:error_200", 200, true, "application/json", "{\"error\":"},
        {"fault:error_mid", 200, true, "application/json", "{\"error\":"},
        {"fault:invalid_json", 200, true, "application/json", "{\"id\":"},
        {"fault:html_200", 200, true, "text/html", "<html>"},
        {"fault:empty_body", 200, true, "application/json", ""},
        {"fault:wrong_type", 200, true, "text/plain", "chat.completion"},
        {"fault:empty_content", 200, true, "application/json", "\"content\":\"\""},
        {"fault:refusal", 200, true, "application/json", "\"content\":null"},
        {"fault:bad_tool_arguments", 200, true, "application/json", "{\\\"location\\\":\\\"Lisb\""},
        {"fault:endless_whitespace", 200, false, "application/json", "\n"},
    };
    start(NULL, 0);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        chat(rows[i].model, false, "");
        if (a.status != rows[i].status || a.complete != rows[i].complete ||
            strcmp(a.type, rows[i].type) != 0 ||
            (*rows[i].has &&
             mg_view_search(mg_buf_view(&a.body), mg_view_cstr(rows[i].has)) == a.body.len))
            check_failed(__FILE__, __LINE__, "%s: status %d, complete %d, %s: %s", rows[i].model,
                         a.status, a.complete, a.type, mg_buf_cstr(&a.body));
    }
    chat("fault:json_for_stream", true, "");
    CHECK_STR(a.type, "application/json");
    chat("fault:endless_comments", true, "");
    CHECK(!a.complete && mg_view_search(mg_buf_view(&a.body),
                                        MG_VIEW(": keep-alive\n\n: keep-alive")) < a.body.len);
    stop();
}

TEST(a_schedule_says_which_calls_fail_and_survives_a_reload_that_does_not_concern_it)
{
    static const struct mg_config_fault third[] = {{.name = "server_error", .every = 3}};
    static const struct mg_config_fault late[] = {
        {.name = "overloaded", .every = 1, .after = 2, .count = 2}};
    static const struct mg_config_fault never[] = {{.name = "overloaded", .probability = 0}};
    static const struct mg_config_sim_model models[] = {
        {.model = "third", .faults = third, .fault_count = 1},
        {.model = "late-*", .faults = late, .fault_count = 1},
        {.model = "never", .faults = never, .fault_count = 1},
    };
    static const struct {
        const char *model;
        int status[6];
    } rows[] = {
        {"third", {200, 200, 500, 200, 200, 500}},
        {"late-x", {200, 200, 503, 503, 200, 200}},
        {"never", {200, 200, 200, 200, 200, 200}},
        {"unknown", {404, 404, 404, 404, 404, 404}},
    };
    start(models, 3);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        for (int call = 0; call < 6; call++) {
            chat(rows[i].model, false, "");
            CHECK_INT(a.status, rows[i].status[call]);
        }
    }
    chat("fault:auth", false, "");
    CHECK_INT(a.status, 401);
    ask("GET", "/v1/models", "");
    CHECK_STR(at("data[0].id"), "third");
    CHECK_STR(at("data[1].id"), "never");

    chat("third", false, "");
    chat("third", false, "");
    mg_sim_configure(sim, models, 3); /* the same again: its schedule goes on */
    chat("third", false, "");
    CHECK_INT(a.status, 500);
    chat("third", false, "");
    chat("third", false, "");
    mg_sim_configure(sim, models, 1); /* others: it starts again */
    chat("third", false, "");
    CHECK_INT(a.status, 200);
    chat("late-x", false, "");
    CHECK_INT(a.status, 404);
    stop();
}

TEST(statistics_and_the_last_request_can_be_read_and_forgotten)
{
    start(NULL, 0);
    chat("m", true, "");
    chat("fault:auth", false, "");
    const char *body =
        "{ \"model\" : \"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\xc3\xa9\"}]  }";
    ask("POST", "/v1/chat/completions", body);

    ask("GET", "/_sim/last/body", "");
    CHECK_VIEW(mg_buf_view(&a.body), mg_view_cstr(body));
    ask("GET", "/_sim/last", "");
    CHECK_STR(at("target"), "/v1/chat/completions");
    CHECK_STR(at("headers[1]"), "[\"x-probe\",\"yes\"]");
    ask("GET", "/_sim/stats", "");
    CHECK_STR(at("requests"), "3");
    CHECK_STR(at("models.m.calls"), "2");
    CHECK_STR(at("models.m.streams"), "1");
    CHECK_STR(at("models.m.finished"), "2");
    CHECK_STR(at("models.fault:auth.faults"), "{\"auth\":1}");

    ask("DELETE", "/_sim/stats", "");
    CHECK_INT(a.status, 204);
    ask("GET", "/_sim/stats", "");
    CHECK_STR(at("models"), "{}");
    stop();
}

TEST(a_client_that_leaves_is_counted)
{
    start(NULL, 0);
    chat("fault:stall", true, "");
    for (int i = 0; i < 100; i++) {
        ask("GET", "/_sim/stats", "");
        if (!strcmp(at("models.fault:stall.cancelled"), "1"))
            break;
    }
    CHECK_STR(at("models.fault:stall.cancelled"), "1");
    stop();
}

TEST(a_phase_is_posted_seen_and_forgotten)
{
    start(NULL, 0);
    ask("POST", "/_sim/phase", "{\"model\":\"m\",\"requests\":1,\"window_ms\":60000}");
    CHECK_INT(a.status, 204);
    chat("m", false, "");
    CHECK_INT(a.status, 200);
    chat("m", true, "");
    CHECK_INT(a.status, 429);
    CHECK_STR(a.retry_after, "60");
    CHECK_STR(at("error.code"), "rate_limit_exceeded");
    chat("other", false, "");
    CHECK_INT(a.status, 200);

    ask("GET", "/_sim/phase", "");
    CHECK_STR(at("[0].model"), "m");
    CHECK_STR(at("[0].calls"), "2");
    CHECK_STR(at("[0].failed"), "1");
    ask("POST", "/_sim/phase", "{\"colour\":1}");
    CHECK_INT(a.status, 400);
    CHECK_STR(at("error.message"), "there is no field colour");
    ask("DELETE", "/_sim/phase", "");
    CHECK_INT(a.status, 204);
    chat("m", false, "");
    CHECK_INT(a.status, 200);
    ask("GET", "/_sim/stats", "");
    CHECK_STR(at("models.m.running"), "0");
    CHECK_STR(at("models.m.peak"), "1");
    stop();
}

TEST(the_pace_is_kept)
{
    struct mg_config_sim_model slow = {
        .model = "slow", .ttft_ms = 60, .tokens_per_s = 200, .output_tokens = 12};
    start(&slow, 1);
    uint64_t begin = mg_mono_us();
    chat("slow", true, "");
    uint64_t took = mg_mono_us() - begin;
    CHECK(a.done);
    CHECK(took >= 110000);

    begin = mg_mono_us();
    chat("slow", false, "");
    CHECK(mg_mono_us() - begin >= 120000);
    CHECK(a.complete);
    stop();
}

MG_TEST_MAIN()
