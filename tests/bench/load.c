/* bench_load: sends chat completions and measures what comes back. One thread, one epoll.
 *
 *   closed loop (no --rate)    each connection sends its next request when the last answer is complete: saturation
 *   open loop (--rate R)       requests are due at fixed times whatever the answers do, and latency counts from the due
 *                              time, so a stall is charged to every request it delays
 *   --hold N                   opens N streams, says so, and keeps them until stdin ends
 *
 * CPU time of the --pid processes is read at both ends of the measured window. The result is one JSON object. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "wire.h"

enum { HEAD_BYTES = 8192, READ_BYTES = 262144, EVENTS = 256, PIDS = 8, HOLD_DIALS = 64, OPEN_DIALS = 4, BODY_BYTES = 1 << 20 };

/* ---- a histogram of nanoseconds: 128 buckets for each power of two, so within 1 % */

enum { SUB_BITS = 7, BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS };

struct histogram {
    uint64_t count, max, sum;
    uint32_t buckets[BUCKETS];
};

static void record(struct histogram *histogram, uint64_t ns);
static double quantile_us(const struct histogram *histogram, double q);
static void print_histogram(const char *name, const struct histogram *histogram);

/* ---- one connection and the call on it */

enum part { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct call {
    struct wire wire;
    struct mg_list all;      /* in `calls`, closed ones too: epoll may still name them */
    bool busy;               /* a request was sent or waits for the handshake, and its answer is not complete */
    bool sent;
    bool ready;              /* the handshake is done */
    struct call *next_idle;
    uint64_t due_ns;         /* when the request should have left */
    uint64_t last_ns;        /* of the last event of a stream; 0: none yet */
    enum part part;          /* of the answer */
    uint64_t left;           /* bytes of the body, or of the chunk */
    int status, events;      /* events: blank lines of the stream */
    bool after_newline;      /* for events cut between the two */
    size_t head_len;
    char head[HEAD_BYTES];   /* also the line of a chunk size or trailer */
};

static struct {
    int port, size, connections, chunks, gap_us, hold;
    double rate, seconds, warmup_s;
    int events;              /* least that a stream must have */
    const char *ca, *key, *model, *path;
    const char *body;        /* a file that is sent instead of our own */
    long pids[PIDS];
    int pid_count;
} want = {.size = 512, .connections = 32, .seconds = 1, .warmup_s = 0.2, .key = "none", .model = "bench",
          .path = "/v1/chat/completions"};

static struct {
    uint64_t requests, errors, events, dials;
    struct histogram latency, ttft, gap;
} got;

static struct mg_tls_context *tls;
static int epoll;
static char *request;
static size_t request_len;
static struct mg_list calls = {&calls, &calls};
static struct call *idle;
static int in_flight, held;
static int dialling;         /* connections whose handshake is not done */
static uint64_t window_from_ns, window_to_ns, next_due_ns;
static bool measuring, draining, blocked;    /* blocked: a request is due and no connection is free */

static void read_options(int argc, char **argv);
static void build_request(void);
static size_t build_body(char *out, size_t size);
static void call_new(uint64_t due_ns, bool busy);
static void call_start(struct call *call, uint64_t due_ns);
static void call_end(struct call *call);
static void call_idle(struct call *call);
static void call_lost(struct call *call, const char *why);
static void advance(struct call *call, uint32_t events);
static bool take(struct call *call, mg_view bytes, uint64_t now);
static bool take_line(struct call *call, mg_view *bytes);
static bool read_head(struct call *call);
static void take_body(struct call *call, mg_view body, uint64_t now);
static void send_due(uint64_t now);
static void turn(uint64_t until_ns);
static void run(void);
static void hold(void);
static uint64_t cpu_ns(void);

int main(int argc, char **argv)
{
    read_options(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1000);
    raise_file_limit();
    struct mg_diag diag;
    struct mg_tls_client_options with = {.ca_file = want.ca};
    if (want.ca && mg_tls_client_new(&with, &tls, &diag) != MG_OK)
        die(diag.text);
    build_request();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (want.hold)
        hold();
    else
        run();
    MG_LIST_EACH(item, next, &calls) {
        struct call *call = mg_container_of(item, struct call, all);
        wire_close(&call->wire);
        mg_free(call->wire.queue);
        mg_free(call);
    }
    mg_free(request);
    mg_tls_unref(tls);
    return 0;
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'}, {"size", 1, NULL, 's'},   {"connections", 1, NULL, 'c'}, {"chunks", 1, NULL, 'n'},
        {"gap-us", 1, NULL, 'g'}, {"hold", 1, NULL, 'h'}, {"rate", 1, NULL, 'r'},        {"seconds", 1, NULL, 't'},
        {"warmup", 1, NULL, 'w'}, {"ca", 1, NULL, 'a'},   {"key", 1, NULL, 'k'},         {"model", 1, NULL, 'm'},
        {"path", 1, NULL, 'u'},   {"pid", 1, NULL, 'P'},  {"body", 1, NULL, 'b'},
        {"events", 1, NULL, 'e'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int number = (int)strtol(optarg ? optarg : "0", NULL, 10);
        switch (option) {
        case 'p': want.port = number; break;
        case 's': want.size = number; break;
        case 'c': want.connections = number; break;
        case 'n': want.chunks = number; break;
        case 'g': want.gap_us = number; break;
        case 'h': want.hold = number; break;
        case 'r': want.rate = strtod(optarg, NULL); break;
        case 't': want.seconds = strtod(optarg, NULL); break;
        case 'w': want.warmup_s = strtod(optarg, NULL); break;
        case 'a': want.ca = optarg; break;
        case 'k': want.key = optarg; break;
        case 'm': want.model = optarg; break;
        case 'u': want.path = optarg; break;
        case 'b': want.body = optarg; break;
        case 'e': want.events = number; break;
        case 'P':
            if (want.pid_count < PIDS)
                want.pids[want.pid_count++] = number;
            break;
        default: exit(2);
        }
    }
    /* role, finish, usage and [DONE] stand beside the chunks; fewer is a truncated stream */
    if (want.chunks && !want.events)
        want.events = want.chunks + 3;
}

static size_t read_body(char *out)
{
    FILE *file = fopen(want.body, "rb");
    if (!file)
        die("cannot read --body");
    size_t len = fread(out, 1, BODY_BYTES, file);
    fclose(file);
    return len;
}

/* As the vendor's SDK sends it. The body has exactly want.size bytes. */
static void build_request(void)
{
    size_t room = (want.body ? BODY_BYTES : (size_t)want.size) + 4096;
    char *body = mg_alloc(room);
    request = mg_alloc(room);
    size_t body_len = want.body ? read_body(body) : build_body(body, room);
    int head_len = snprintf(request, room,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
                            "Content-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"
                            "X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.54.0\r\nX-Stainless-OS: Linux\r\n"
                            "X-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Async: false\r\n"
                            "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                            want.path, want.port, want.key, body_len);
    memcpy(request + head_len, body, body_len);
    request_len = (size_t)head_len + body_len;
    mg_free(body);
}

static size_t build_body(char *out, size_t size)
{
    static const char text[] = "She asked: \\\"Où est la lune?\\\" and the gate, which had stood there longer than the "
                               "road, answered in its own slow way.\\n";
    static const char end[] = "\"}],\"temperature\":0.7,\"max_completion_tokens\":256}";
    size_t total = (size_t)want.size;
    size_t len = (size_t)snprintf(out, size, "{\"model\":\"%s\",", want.model);
    if (want.chunks)
        len += (size_t)snprintf(out + len, size - len,
                                "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"bench_chunks\":%d,"
                                "\"bench_gap_us\":%d,", want.chunks, want.gap_us);
    len += (size_t)snprintf(out + len, size - len, "\"messages\":[{\"role\":\"system\",\"content\":\"");
    size_t message = len;
    for (int turns = 0; len + sizeof(text) + 64 + sizeof(end) < total;) {
        if (len - message > 1024)                /* a conversation of about a kilobyte a turn */
            message = len += (size_t)snprintf(out + len, size - len, "\"},{\"role\":\"%s\",\"content\":\"",
                                              turns++ % 2 ? "assistant" : "user");
        len += (size_t)snprintf(out + len, size - len, "%s", text);
    }
    while (len + sizeof(end) - 1 < total)
        out[len++] = '.';
    return len + (size_t)snprintf(out + len, size - len, "%s", end);
}

static void call_new(uint64_t due_ns, bool busy)
{
    struct call *call = mg_new(struct call);
    mg_list_push_back(&calls, &call->all);
    got.dials++;
    wire_open(&call->wire, epoll, wire_connect(want.port), tls, "127.0.0.1", call);
    call->ready = !tls;
    dialling += !call->ready;
    if (busy)
        call_start(call, due_ns);
    else if (call->ready)
        call_idle(call);
}

static void call_start(struct call *call, uint64_t due_ns)
{
    call->busy = true;
    call->due_ns = due_ns;
    call->last_ns = 0;
    call->part = HEAD;
    call->head_len = 0;
    call->events = 0;
    call->after_newline = false;
    in_flight++;
    call->sent = call->wire.secure;
    if (call->sent && !wire_write(&call->wire, mg_view_of(request, request_len)))
        call_lost(call, "cannot send");
}

static void call_end(struct call *call)
{
    uint64_t now = now_ns();
    in_flight--;
    call->busy = false;
    if (call->status != 200 || call->events < want.events) {
        call_lost(call, "not the answer");
        return;
    }
    if (measuring)
        got.requests++;
    if (call->due_ns >= window_from_ns && call->due_ns < window_to_ns)
        record(&got.latency, now - call->due_ns);
    if (want.rate == 0 && !draining) {
        call_start(call, now);
        return;
    }
    call_idle(call);
}

static void call_idle(struct call *call)
{
    call->next_idle = idle;
    idle = call;
}

/* A closed loop goes on with a new connection. */
static void call_lost(struct call *call, const char *why)
{
    if (got.errors++ < 3)
        fprintf(stderr, "bench_load: %s: status %d, %d events, %.*s\n", why, call->status, call->events,
                (int)MG_MIN(call->head_len, 300), call->head);
    if (call->busy)
        in_flight--;
    call->busy = false;
    dialling -= !call->ready;
    call->ready = true;
    wire_close(&call->wire);
    for (struct call **link = &idle; *link; link = &(*link)->next_idle)
        if (*link == call) {
            *link = call->next_idle;
            break;
        }
    if (got.errors > 100)
        die("too many errors");
    if (want.rate == 0 && !draining && !want.hold)
        call_new(now_ns(), true);
}

static void advance(struct call *call, uint32_t events)
{
    static char bytes[READ_BYTES];
    bool fine = wire_woken(&call->wire, events);
    if (fine && !call->ready && call->wire.secure) {
        call->ready = true;
        dialling--;
        if (!call->busy)
            call_idle(call);
    }
    if (fine && call->busy && !call->sent && call->wire.secure) {
        call->sent = true;
        fine = wire_write(&call->wire, mg_view_of(request, request_len));
    }
    ssize_t len = fine ? 0 : -1;
    uint64_t now = 0;
    while (call->wire.fd >= 0 && len >= 0 && (len = wire_read(&call->wire, bytes, sizeof(bytes))) > 0) {
        now = now ? now : now_ns();
        if (!take(call, mg_view_of(bytes, (size_t)len), now))
            len = -1;
    }
    if (len < 0 && call->wire.fd >= 0)
        call_lost(call, "connection lost");
}

static bool take(struct call *call, mg_view bytes, uint64_t now)
{
    while (bytes.len > 0 && call->wire.fd >= 0) {
        if (!call->busy)
            return false;                        /* an answer nobody asked for */
        if (call->part == LENGTH || call->part == CHUNK_DATA) {
            mg_view body = mg_view_head(bytes, call->left);
            take_body(call, body, now);
            bytes = mg_view_skip(bytes, body.len);
            call->left -= body.len;
            if (call->left > 0)
                return true;
            if (call->part == CHUNK_DATA)
                call->part = CHUNK_END;
            else
                call_end(call);
        } else if (!take_line(call, &bytes)) {
            return bytes.len == 0;
        } else if (call->part == HEAD) {
            if (!read_head(call))
                return false;
        } else if (call->part == CHUNK_SIZE) {
            call->left = strtoull(call->head, NULL, 16);
            call->part = call->left > 0 ? CHUNK_DATA : TRAILER;
        } else if (call->part == CHUNK_END) {
            call->part = CHUNK_SIZE;
        } else if (call->head[0] == '\r') {
            call_end(call);
        }
        if (call->part != LENGTH && call->part != CHUNK_DATA)
            call->head_len = 0;
    }
    return true;
}

/* True when the line (or the whole header) is complete in call->head; false needs more, or with bytes left: too long. */
static bool take_line(struct call *call, mg_view *bytes)
{
    mg_view end = call->part == HEAD ? MG_VIEW("\r\n\r\n") : MG_VIEW("\r\n");
    size_t before = call->head_len, part = MG_MIN(bytes->len, HEAD_BYTES - 1 - before);
    memcpy(call->head + before, bytes->ptr, part);
    size_t have = before + part;
    char *at = memmem(call->head, have, end.ptr, end.len);
    call->head_len = at ? (size_t)(at - call->head) + end.len : have;
    call->head[call->head_len] = 0;
    *bytes = mg_view_skip(*bytes, call->head_len - before);
    return at;
}

static bool read_head(struct call *call)
{
    if (call->head_len < 12)
        return false;
    call->status = (int)strtol(call->head + 9, NULL, 10);
    const char *length = strcasestr(call->head, "\r\ncontent-length:");
    if (!length && !strcasestr(call->head, "\r\ntransfer-encoding: chunked"))
        return false;
    call->part = length ? LENGTH : CHUNK_SIZE;
    call->left = length ? strtoull(length + 17, NULL, 10) : 0;
    if (length && call->left == 0)
        call_end(call);
    return true;
}

static void take_body(struct call *call, mg_view body, uint64_t now)
{
    if (call->status != 200 && call->head_len + body.len < HEAD_BYTES) {
        memcpy(call->head + call->head_len, body.ptr, body.len);     /* shown by call_lost() */
        call->head_len += body.len;
    }
    if (!want.chunks)
        return;
    int events = 0;
    for (size_t i = 0; i < body.len; i++) {
        bool newline = body.ptr[i] == '\n';
        events += newline && call->after_newline;
        call->after_newline = newline;
        if (!newline) {
            const char *next = memchr(body.ptr + i, '\n', body.len - i);
            i = next ? (size_t)(next - body.ptr) - 1 : body.len;
        }
    }
    if (events == 0)
        return;
    held += call->events == 0;
    call->events += events;
    if (measuring)
        got.events += (uint64_t)events;
    if (call->last_ns && measuring)
        record(&got.gap, now - call->last_ns);
    else if (call->due_ns >= window_from_ns && call->due_ns < window_to_ns)
        record(&got.ttft, now - call->due_ns);
    call->last_ns = now;
}

/* Few handshakes at a time: they take longer than the pause between requests, and would never catch up. */
static void send_due(uint64_t now)
{
    blocked = false;
    while (want.rate > 0 && !draining && next_due_ns <= now) {
        struct call *call = idle;
        if (call) {
            idle = call->next_idle;
            call_start(call, next_due_ns);
        } else if (dialling < OPEN_DIALS) {
            call_new(next_due_ns, true);
        } else {
            blocked = true;
            return;
        }
        next_due_ns += (uint64_t)(1e9 / want.rate);
    }
}

/* One look at the sockets; wakes at until_ns or when the next request is due. */
static void turn(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    if (want.rate > 0 && !draining && !blocked)
        until_ns = MG_MIN(until_ns, next_due_ns);
    uint64_t wait = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
    int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        struct call *call = events[i].data.ptr;
        if (call->wire.fd >= 0)
            advance(call, events[i].events);
    }
    send_due(now_ns());
}

static void run(void)
{
    next_due_ns = UINT64_MAX;
    for (int i = 0; i < want.connections; i++)
        call_new(now_ns(), want.rate == 0);
    for (uint64_t patience = now_ns() + 5000000000u; dialling > 0 && now_ns() < patience;)
        turn(patience);
    uint64_t start = now_ns();
    window_from_ns = start + (uint64_t)(want.warmup_s * 1e9);
    window_to_ns = window_from_ns + (uint64_t)(want.seconds * 1e9);
    next_due_ns = start + 1000000;
    while (now_ns() < window_from_ns)
        turn(window_from_ns);

    uint64_t cpu = cpu_ns(), from = now_ns();
    measuring = true;
    while (now_ns() < window_to_ns)
        turn(window_to_ns);
    measuring = false;
    double cpu_us = (double)(cpu_ns() - cpu) / 1e3, seconds = (double)(now_ns() - from) / 1e9;

    draining = true;
    while (in_flight > 0 && want.rate > 0 && now_ns() < window_to_ns + 3000000000u)
        turn(now_ns() + 10000000);

    double count = (double)MG_MAX(got.requests, 1u);
    printf("{\"requests\": %lu, \"errors\": %lu, \"unfinished\": %d, \"dials\": %lu, \"seconds\": %.3f, "
           "\"requests_per_s\": %.1f, \"cpu_us\": %.1f, \"cpu_us_per_request\": %.3f, \"busy\": %.3f, \"events\": %lu",
           got.requests, got.errors, want.rate > 0 ? in_flight : 0, got.dials, seconds, (double)got.requests / seconds, cpu_us,
           cpu_us / count, cpu_us / seconds / 1e6, got.events);
    print_histogram("latency", &got.latency);
    print_histogram("ttft", &got.ttft);
    print_histogram("gap", &got.gap);
    printf("}\n");
}

/* Few at a time, since what is measured comes after and a burst of handshakes would only time out. */
static void hold(void)
{
    int opened = 0;
    uint64_t patience = now_ns() + 60000000000u;
    while (held + (int)got.errors < want.hold && now_ns() < patience) {
        for (; opened < want.hold && opened - held - (int)got.errors < HOLD_DIALS; opened++)
            call_new(now_ns(), true);
        turn(now_ns() + 10000000);
    }
    printf("{\"held\": %d, \"errors\": %lu}\n", held, got.errors);
    fflush(stdout);
    struct epoll_event input = {.events = EPOLLIN};
    struct call quit = {.wire.fd = -1};
    input.data.ptr = &quit;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0)
        die("stdin");
    struct epoll_event events[EVENTS];
    for (bool stop = false; !stop;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct call *call = events[i].data.ptr;
            stop = stop || call == &quit;
            if (call->wire.fd >= 0)
                advance(call, events[i].events);
        }
    }
    printf("{\"held\": %d, \"errors\": %lu}\n", in_flight, got.errors);
}

static uint64_t cpu_ns(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < want.pid_count; i++) {
        clockid_t clock;
        struct timespec used = {0};
        if (clock_getcpuclockid((pid_t)want.pids[i], &clock) != 0 || clock_gettime(clock, &used) != 0)
            die("CPU time of --pid");
        sum += (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    }
    return sum;
}

static void record(struct histogram *histogram, uint64_t ns)
{
    int power = ns < (1u << SUB_BITS) ? 0 : 64 - __builtin_clzll(ns) - SUB_BITS;
    size_t at = power == 0 ? ns : ((size_t)power << SUB_BITS) + (size_t)((ns >> (power - 1)) - (1u << SUB_BITS));
    histogram->buckets[at]++;
    histogram->count++;
    histogram->sum += ns;
    histogram->max = MG_MAX(histogram->max, ns);
}

/* The middle of the bucket that holds the quantile. */
static double quantile_us(const struct histogram *histogram, double q)
{
    uint64_t rank = (uint64_t)ceil(q * (double)histogram->count), seen = 0;
    for (size_t at = 0; at < BUCKETS; at++) {
        seen += histogram->buckets[at];
        if (seen < rank || seen == 0)
            continue;
        size_t power = at >> SUB_BITS, low = at & ((1u << SUB_BITS) - 1);
        double base = power == 0 ? (double)low : ldexp((double)(low + (1u << SUB_BITS)), (int)power - 1);
        double width = power == 0 ? 0 : ldexp(1, (int)power - 1);
        return fmin(base + width / 2, (double)histogram->max) / 1e3;
    }
    return 0;
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
    double count = (double)MG_MAX(histogram->count, 1u);
    printf(", \"%s\": {\"count\": %lu, \"mean\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}", name,
           histogram->count, (double)histogram->sum / count / 1e3, quantile_us(histogram, 0.5), quantile_us(histogram, 0.99),
           quantile_us(histogram, 0.999), (double)histogram->max / 1e3);
}
