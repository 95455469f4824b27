/* One attempt against a peer that sends what a row says: what is handed on, and what it ends as. Time is a fake clock. */
#include "relay/attempt.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "script/script.h"

enum { FIRST_TOKEN_MS = 5000, IDLE_MS = 2000, TOTAL_MS = 600000 };

static struct mg_loop loop;
static struct mg_pool pool;
static struct mg_upstream upstream;
static struct mg_attempt attempt;
static struct mg_attempt_record record;
static struct mg_body body = {.parts = {MG_VIEW("{}")}, .count = 1, .length = 2};
static struct mg_buf handed_on;        /* data of the events, or the body */
static uint64_t clock_us = 1000000000;
static int listener = -1, peer = -1, ended, heads;

static void on_head(void *arg, int status, struct mg_headers headers)
{
    heads++;
}

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    if (!event->is_comment)
        CHECK_OK(mg_buf_put(&handed_on, event->data));
}

static void on_flush(void *arg)
{
}

static void on_body(void *arg, mg_view bytes)
{
    CHECK_OK(mg_buf_put(&handed_on, bytes));
}

static void on_end(void *arg)
{
    ended++;
}

static const struct mg_attempt_ops ops = {
    .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body, .on_end = on_end};

static void load_adapter(void)
{
    static struct mg_adapter_decl decl;
    static struct mg_adapter *adapter;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&upstream.arena, 4096);
    CHECK_OK(mg_adapter_load("openai", &upstream.arena, &decl, &diag));
    CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    upstream.adapter = adapter;
}

static void listen_here(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 4) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    upstream.endpoint = (struct mg_endpoint){.host = "127.0.0.1", .port = ntohs(address.sin_port), .key = "peer"};
}

static void turn(void)
{
    mg_loop_turn(&loop, 0);
    mg_wheel_advance(&loop.wheel, mg_loop_now_us(&loop));
    mg_loop_turn(&loop, 0);
}

/* Lets so much time pass, in steps that no timer here is shorter than. */
static void pass(uint64_t ms)
{
    for (uint64_t step; ms > 0 && !ended; ms -= step) {
        step = MG_MIN(ms, (uint64_t)500);
        mg_clock_fake(clock_us += step * 1000);
        turn();
    }
}

static void begin(bool stream)
{
    mg_clock_fake(clock_us);
    mg_loop_init(&loop);
    mg_pool_init(&pool, &loop);
    mg_buf_init(&handed_on, 1 << 26);
    listen_here();
    load_adapter();
    ended = heads = 0;
    record = (struct mg_attempt_record){.number = 1};
    struct mg_attempt_call call = {
        .loop = &loop, .pool = &pool, .upstream = &upstream, .adapter = upstream.adapter, .head = MG_VIEW("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n"),
        .body = &body, .stream = stream, .record = &record, .ops = &ops, .deadline_us = UINT64_MAX,
        .timeouts = {.connect_ms = 1000, .first_token_ms = FIRST_TOKEN_MS, .idle_ms = IDLE_MS, .total_ms = TOTAL_MS},
    };
    mg_attempt_start(&attempt, &call);
    while ((peer = accept(listener, NULL, NULL)) < 0)
        turn();
    enum { REQUEST_BYTES = 40 };
    char request[256];                 /* read, so that hanging up is an end and no reset */
    for (ssize_t got = 0, n; got < REQUEST_BYTES; got += n > 0 ? n : 0, turn())
        n = recv(peer, request, sizeof request, MSG_DONTWAIT);
}

static void send_all(mg_view bytes)
{
    CHECK(fcntl(peer, F_SETFL, O_NONBLOCK) == 0);
    while (bytes.len > 0 && !ended) {
        ssize_t n = send(peer, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        bytes = mg_view_skip(bytes, n > 0 ? (size_t)n : 0);
        turn();
    }
    for (int i = 0; i < 5; i++)
        turn();
}

static void send_text(const char *text)
{
    send_all(mg_view_cstr(text));
}

static void hang_up(void)
{
    close(peer);
    peer = -1;
    for (int i = 0; i < 100 && !ended; i++)
        turn();
}

static void finish(void)
{
    if (peer >= 0)
        close(peer);
    close(listener);
    mg_attempt_fini(&attempt);
    mg_pool_fini(&pool);
    mg_buf_fini(&handed_on);
    mg_adapter_free((struct mg_adapter *)upstream.adapter);
    mg_arena_fini(&upstream.arena);
    for (int i = 0; i < 5; i++)
        mg_loop_turn(&loop, 0);
    mg_loop_fini(&loop);
    mg_clock_fake(0);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define JSON OK_HEAD "content-type: application/json\r\nconnection: close\r\n\r\n"
#define SSE OK_HEAD "content-type: text/event-stream\r\nconnection: close\r\n\r\n"
#define D(delta) "data: {\"choices\":[{\"index\":0,\"delta\":{" delta "}}]}\n\n"
#define TEXT D("\"content\":\"hi\"")
#define END(reason) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"
#define CALL(arguments) D("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"" arguments "\"}}]")
#define WHOLE(message, reason) JSON "{\"choices\":[{\"index\":0,\"message\":{" message "},\"finish_reason\":\"" reason "\"}]}"

static const struct {
    const char *name;
    bool stream;
    const char *answer;                /* the connection closes after it */
    enum mg_class class_;
} rows[] = {
    {"a good stream", true, SSE TEXT END("stop") "data: [DONE]\n\n", MG_CLASS_none},
    {"no [DONE]", true, SSE TEXT END("stop"), MG_CLASS_none},
    {"no finish", true, SSE TEXT "data: [DONE]\n\n", MG_CLASS_truncated_stream},
    {"nothing", true, SSE, MG_CLASS_truncated_stream},
    {"blank text", true, SSE D("\"content\":\"\\n \"") END("stop"), MG_CLASS_empty_response},
    {"reasoning alone", true, SSE D("\"reasoning\":\"hm\"") END("stop"), MG_CLASS_empty_response},
    {"reasoning to the limit", true, SSE D("\"reasoning\":\"hm\"") END("length"), MG_CLASS_none},
    {"a refusal", true, SSE D("\"refusal\":\"no\"") END("stop"), MG_CLASS_refusal},
    {"cut by a filter", true, SSE TEXT END("content_filter"), MG_CLASS_content_filter},
    {"a tool call", true, SSE CALL("{}") END("tool_calls"), MG_CLASS_none},
    {"a broken tool call", true, SSE CALL("{\\\"a") END("tool_calls"), MG_CLASS_invalid_json},
    {"a tool call to the limit", true, SSE CALL("{\\\"a") END("length"), MG_CLASS_none},
    {"an error event", true, SSE TEXT "event: error\ndata: {}\n\n", MG_CLASS_server_error},
    {"a failed finish", true, SSE TEXT END("error"), MG_CLASS_server_error},
    {"broken events alone", true, SSE "data: {\n\ndata: }\n\ndata: [DONE]\n\n", MG_CLASS_invalid_json},
    {"an unlabelled stream", true, OK_HEAD "connection: close\r\n\r\n" TEXT END("stop"), MG_CLASS_none},
    {"a stream labelled as text", true, OK_HEAD "content-type: text/plain\r\nconnection: close\r\n\r\n\n\n: hello\n\n" TEXT END("stop"), MG_CLASS_none},
    {"text, asked for events", true, OK_HEAD "content-type: text/plain\r\nconnection: close\r\n\r\nwelcome", MG_CLASS_invalid_json},
    {"an answer, asked for events", true, WHOLE("\"content\":\"hi\"", "stop"), MG_CLASS_server_error},
    {"an error, asked for events", true, JSON "{\"error\":{\"code\":\"slow_down\"}}", MG_CLASS_overloaded},
    {"a page, asked for events", true, OK_HEAD "connection: close\r\n\r\n<html>", MG_CLASS_server_error},
    {"framing that breaks", true, OK_HEAD "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", MG_CLASS_truncated_stream},

    {"a good answer", false, WHOLE("\"content\":\"hi\"", "stop"), MG_CLASS_none},
    {"blanks before it", false, JSON "\n\n\n {\"choices\":[{\"index\":0,\"message\":{\"content\":\"hi\"}}]}", MG_CLASS_none},
    {"blank text", false, WHOLE("\"content\":\" \\n\\t\"", "stop"), MG_CLASS_empty_response},
    {"null", false, WHOLE("\"content\":null", "stop"), MG_CLASS_empty_response},
    {"no choices", false, JSON "{\"choices\":[]}", MG_CLASS_empty_response},
    {"no body", false, JSON, MG_CLASS_empty_response},
    {"blanks alone", false, JSON " \n ", MG_CLASS_empty_response},
    {"empty to the limit", false, WHOLE("\"content\":\"\"", "length"), MG_CLASS_none},
    {"a refusal", false, WHOLE("\"content\":null,\"refusal\":\"no\"", "stop"), MG_CLASS_refusal},
    {"cut by a filter", false, WHOLE("\"content\":\"h\"", "content_filter"), MG_CLASS_content_filter},
    {"broken arguments", false, WHOLE("\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]", "tool_calls"), MG_CLASS_invalid_json},
    {"not JSON", false, JSON "{\"choices\":[", MG_CLASS_invalid_json},
    {"words", false, OK_HEAD "content-type: text/plain\r\nconnection: close\r\n\r\nwelcome", MG_CLASS_invalid_json},
    {"an error", false, JSON "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}", MG_CLASS_overloaded},
    {"a page", false, OK_HEAD "content-type: text/html; charset=utf-8\r\nconnection: close\r\n\r\nhello", MG_CLASS_server_error},
    {"less than its length", false, OK_HEAD "content-type: application/json\r\ncontent-length: 99\r\n\r\n{}", MG_CLASS_truncated_stream},
    {"an embedding", false, JSON "{\"data\":[{\"embedding\":[0.1]}]}", MG_CLASS_none},

    {"a redirect", false, "HTTP/1.1 302 Found\r\nlocation: /\r\nconnection: close\r\n\r\n", MG_CLASS_server_error},
    {"a page with 403", false, "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n<!DOCTYPE html>", MG_CLASS_server_error},
    {"a page with 404", true, "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n<html>", MG_CLASS_server_error},
    {"a page with 413", true, "HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\n<html>", MG_CLASS_payload_too_large},
    {"a page with 429", true, "HTTP/1.1 429 Too Many\r\nconnection: close\r\n\r\n<html>", MG_CLASS_rate_limited},
    {"a page with 504", true, "HTTP/1.1 504 Timeout\r\nconnection: close\r\n\r\n<html>", MG_CLASS_server_error},
    {"504 without a page", true, "HTTP/1.1 504 Timeout\r\nconnection: close\r\n\r\n{}", MG_CLASS_timeout_total},
};

static void check_row(size_t i)
{
    enum mg_class got = attempt.facts.hint;
    if (!ended || got != rows[i].class_ || attempt.ok != (got == MG_CLASS_none))
        check_failed(__FILE__, __LINE__, "%s (%s) is %s, want %s: %s", rows[i].name, rows[i].stream ? "stream" : "whole", mg_class_name(got),
                     mg_class_name(rows[i].class_), attempt.tap.error_message);
}

TEST(tells_what_an_answer_is_worth)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(rows[i].stream);
        send_text(rows[i].answer);
        hang_up();
        check_row(i);
        finish();
    }
}

TEST(a_cut_changes_nothing)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mg_view answer = mg_view_cstr(rows[i].answer);
        size_t from = 0;
        begin(rows[i].stream);
        for (size_t at = 1; at < answer.len && !ended; at += 1 + at % 31) {
            send_all(mg_view_of(answer.ptr + from, at - from));
            from = at;
        }
        send_all(mg_view_skip(answer, from));
        hang_up();
        check_row(i);
        finish();
    }
}

TEST(the_end_of_a_broken_tool_call_is_not_handed_on)
{
    begin(true);
    send_text(SSE CALL("{\\\"a") END("tool_calls") "data: [DONE]\n\n");
    CHECK(ended);
    CHECK(strstr(mg_buf_cstr(&handed_on), "tool_calls\":[") != NULL);
    CHECK(strstr(mg_buf_cstr(&handed_on), "finish_reason") == NULL);
    CHECK(strstr(mg_buf_cstr(&handed_on), "[DONE]") == NULL);
    finish();
}

/* ---- timers */

TEST(comments_do_not_keep_a_stream_waiting_for_its_first_token)
{
    begin(true);
    send_text(SSE D("\"role\":\"assistant\""));
    for (int i = 0; i < 20 && !ended; i++) {
        send_text(": processing\n\n" D("\"content\":\" \""));
        pass(500);
    }
    CHECK(ended && attempt.facts.hint == MG_CLASS_timeout_ttft);
    CHECK(attempt.facts.elapsed_ms >= FIRST_TOKEN_MS && attempt.facts.elapsed_ms < FIRST_TOKEN_MS + 2000);
    finish();
}

TEST(a_silent_stream_is_idle)
{
    begin(true);
    send_text(SSE TEXT);
    pass(IDLE_MS + 1000);
    CHECK(ended && attempt.facts.hint == MG_CLASS_timeout_idle);
    finish();
}

TEST(a_stream_that_began_and_falls_silent_before_content_is_idle)
{
    begin(true);
    send_text(SSE D("\"role\":\"assistant\""));
    pass(IDLE_MS + 1000);
    CHECK(ended && attempt.facts.hint == MG_CLASS_timeout_idle);
    finish();
}

TEST(comments_keep_a_stream_alive_for_a_minute_without_content)
{
    begin(true);
    send_text(SSE TEXT);
    for (int i = 0; i < 50; i++) {
        send_text(": keep-alive\n\n");
        pass(1000);
    }
    CHECK(!ended);
    send_text(TEXT);                   /* content: a minute more */
    for (int i = 0; i < 50; i++) {
        send_text(D(""));
        pass(1000);
    }
    CHECK(!ended);
    for (int i = 0; i < 15 && !ended; i++) {
        send_text("\n");
        pass(1000);
    }
    CHECK(ended && attempt.facts.hint == MG_CLASS_timeout_idle);
    CHECK_STR(attempt.tap.error_message, "the stream is kept open, but no content comes");
    finish();
}

TEST(a_finished_stream_that_stays_open_is_complete_in_seconds)
{
    begin(true);
    send_text(SSE TEXT END("stop"));
    pass(3000);
    CHECK(ended && attempt.ok);
    finish();

    begin(true);
    send_text(SSE TEXT END("stop"));
    for (int i = 0; i < 15 && !ended; i++) {
        send_text(": still here\n\n");
        pass(1000);
    }
    CHECK(ended && attempt.ok);
    CHECK(attempt.facts.elapsed_ms <= 12000);
    finish();
}

TEST(a_stream_that_finishes_with_nothing_is_not_waited_for)
{
    begin(true);
    send_text(SSE END("stop"));
    pass(3000);
    CHECK(ended && attempt.facts.hint == MG_CLASS_empty_response);
    finish();
}

TEST(what_a_slow_client_took_is_not_the_providers_time)
{
    begin(true);
    send_text(SSE TEXT);
    mg_attempt_pause(&attempt, true);
    pass(120000);
    CHECK(!ended);
    mg_attempt_pause(&attempt, false);
    pass(1000);
    CHECK(!ended);
    pass(IDLE_MS);
    CHECK(ended && attempt.facts.hint == MG_CLASS_timeout_idle);
    finish();
}

/* ---- bounds */

static void send_blanks(size_t count)
{
    char blanks[8192];
    memset(blanks, '\n', sizeof blanks);
    for (; count > 0 && !ended; count -= sizeof blanks)
        send_all(mg_view_of(blanks, sizeof blanks));
}

TEST(endless_blanks_are_no_answer)
{
    begin(false);
    send_text(JSON);
    send_blanks(2 << 20);
    CHECK(ended && attempt.facts.hint == MG_CLASS_server_error);
    CHECK(attempt.body.len == 0 && handed_on.len == 0);
    finish();

    begin(false);
    send_text(JSON "{\"choices\":");
    send_blanks(2 << 20);
    CHECK(ended && attempt.facts.hint == MG_CLASS_server_error);
    CHECK(handed_on.len == 0);
    finish();

    begin(true);
    send_text(SSE);
    send_blanks(2 << 20);
    CHECK(ended && attempt.facts.hint == MG_CLASS_server_error);
    finish();
}

/* More than is held, so it is passed on: its end is still looked at. */
static void send_long(const char *end)
{
    char text[8192];
    memset(text, 'x', sizeof text);
    begin(false);
    send_text(JSON "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"");
    for (size_t sent = 0; sent < 3u << 19; sent += sizeof text)
        send_all(mg_view_of(text, sizeof text));
    send_text(end);
    hang_up();
    CHECK(ended && attempt.streaming_body && handed_on.len > 0);
}

TEST(an_answer_that_is_passed_on_must_end_as_json)
{
    send_long("\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}");
    CHECK(attempt.ok);
    CHECK_INT(record.usage.output_tokens, 9);
    finish();

    send_long("\"},\"finish_re");
    CHECK(!attempt.ok && attempt.facts.hint == MG_CLASS_truncated_stream);
    finish();

    send_long("\"}]}");
    CHECK(!attempt.ok && attempt.facts.hint == MG_CLASS_invalid_json);
    finish();
}

/* ---- when to come back */

TEST(reads_when_to_come_back)
{
    static const struct {
        const char *headers, *body;
        uint64_t ms;
    } waits[] = {
        {"retry-after: 2\r\n", "{}", 2000},
        {"retry-after: 2\r\nretry-after-ms: 150\r\n", "{}", 150},
        {"retry-after: 1\r\nx-ratelimit-reset-requests: 9s\r\n", "{}", 1000},
        {"", "{\"error\":{\"message\":\"Please try again in 1.5s.\"}}", 1500},
        {"", "{\"error\":{\"details\":[{\"retryDelay\":\"12s\"}]}}", 12000},
        {"x-ratelimit-reset-requests: 1m0s\r\nx-ratelimit-reset-tokens: 6s\r\n", "{}", 6000},
        {"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\nx-ratelimit-remaining-tokens: 5\r\nx-ratelimit-reset-tokens: 6s\r\n", "{}", 60000},
        {"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-requests: 1m0s\r\nx-ratelimit-remaining-requests: 5\r\nx-ratelimit-reset-tokens: 6s\r\n", "{}", 6000},
        {"", "{}", 0},
    };
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        begin(false);
        send_text("HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\n");
        send_text(waits[i].headers);
        send_text("\r\n");
        send_text(waits[i].body);
        hang_up();
        CHECK_INT(attempt.facts.hint, MG_CLASS_rate_limited);
        if (attempt.facts.retry_after_ms != waits[i].ms)
            check_failed(__FILE__, __LINE__, "row %zu is %llu ms", i, (unsigned long long)attempt.facts.retry_after_ms);
        finish();
    }
}

TEST(a_limit_of_requests_does_not_say_when_there_is_money_again)
{
    begin(false);
    send_text("HTTP/1.1 429 Too Many Requests\r\nx-ratelimit-remaining-requests: 99\r\nx-ratelimit-reset-requests: 6ms\r\n"
              "connection: close\r\n\r\n{\"error\":{\"code\":\"insufficient_quota\"}}");
    hang_up();
    CHECK_INT(attempt.facts.hint, MG_CLASS_quota_billing);
    CHECK_INT(attempt.facts.retry_after_ms, 0);
    finish();
}

TEST(a_clients_own_fault_asks_nobody_to_come_back)
{
    begin(false);
    send_text("HTTP/1.1 400 Bad Request\r\nretry-after: 5\r\nconnection: close\r\n\r\n{\"error\":{\"message\":\"try again in 9s\"}}");
    hang_up();
    CHECK_INT(attempt.facts.hint, MG_CLASS_invalid_request);
    CHECK_INT(attempt.facts.retry_after_ms, 0);
    finish();
}

MG_TEST_MAIN()
