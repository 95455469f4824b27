/* bench_mock: a provider that costs next to nothing. One thread, one epoll, every answer built before the first
 * request. It speaks the OpenAI chat format: a completion of about 1 KB, or a stream whose length and pace the
 * request's own body names near its start: "bench_chunks": N, "bench_gap_us": X (and "stream": true).
 *
 *   write 1: header, role chunk and first content chunk, at once    write N: last content, finish, usage, [DONE]
 *
 * With --speeches FOLDER it speaks other dialects, too: a request to /NAME/… gets NAME.json of that folder, one to
 * /NAME-N-X/… the stream of NAME.first, N times NAME.word and NAME.last, X microseconds apart.
 *
 * GET /stats answers what it has counted. Prints {"port": …, "tls_port": …} once it listens; SIGTERM ends it. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "wire.h"

enum { HEAD_BYTES = 8192, PEEK_BYTES = 512, READ_BYTES = 262144, EVENTS = 256, PIECE_BYTES = 8192, SPEECHES = 8 };

/* The fields of a chunk around its delta, as the vendor sends them. */
#define CHUNK(delta, finish, usage)                                                                                    \
    "data: {\"id\":\"chatcmpl-bench0123456789abcdefgh\",\"object\":\"chat.completion.chunk\",\"created\":1795392000,"  \
    "\"model\":\"bench\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[" delta finish  \
    "],\"usage\":" usage ",\"obfuscation\":\"q9zt4Kx\"}\n\n"
#define DELTA(delta) "{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":"
#define USAGE                                                                                                          \
    "{\"prompt_tokens\":120,\"completion_tokens\":100,\"total_tokens\":220,\"prompt_tokens_details\":"                 \
    "{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}"
#define HEADERS(type)                                                                                                  \
    "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT\r\nContent-Type: " type "\r\n"                             \
    "openai-organization: bench\r\nopenai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n"                         \
    "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 200000\r\nx-ratelimit-remaining-requests: 9999\r\n" \
    "x-ratelimit-remaining-tokens: 199880\r\nx-ratelimit-reset-requests: 8.64s\r\nx-ratelimit-reset-tokens: 36ms\r\n"  \
    "x-request-id: req_bench0123456789abcdef0123456789\r\n"

static const char ROLE[] = CHUNK(DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"), "null}", "null");
static const char WORD[] = CHUNK(DELTA("{\"content\":\" moonlight\"}"), "null}", "null");
static const char LAST[] = CHUNK(DELTA("{}"), "\"stop\"}", "null") CHUNK("", "", USAGE) "data: [DONE]\n\n";
static const char COMPLETION[] =
    "{\"id\":\"chatcmpl-bench0123456789abcdefgh\",\"object\":\"chat.completion\",\"created\":1795392000,\"model\":"
    "\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The gate stood where the "
    "path met the river, and nobody remembered who had built it.\\nBy day it was a plain thing of grey stone; by night "
    "the moon came up between its pillars and those who walked through found the other side a little changed.\\n\\n"
    "They said: \\\"What you carry in, you carry out, but not in the same order.\\\" So the merchants counted twice, the "
    "children ran through for luck, and the old ferryman, who had seen every tide, only smiled and untied his boat."
    "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":" USAGE
    ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}";

/* All that one dialect's provider says. */
struct speech {
    char name[32];
    mg_view answer, first, middle, last;   /* live as long as the process */
};

struct client {
    struct wire wire;
    bool listener;           /* accepts; the rest is unused */
    struct mg_tls_context *tls;        /* borrowed; listeners: what they speak */
    bool in_body;            /* the header is complete */
    size_t head_len, peek_len;
    uint64_t body_left;      /* bytes of the request's body still to come */
    const struct speech *speech;           /* of the stream being played */
    int chunks_left;         /* of it; 0: none */
    uint64_t gap_ns, due_ns; /* between chunks; when the next one leaves */
    int heap_at;             /* index in due.list */
    struct mg_list home;     /* in `alive` or `dead` */
    char head[HEAD_BYTES];
    char peek[PEEK_BYTES];   /* the first bytes of the body */
};

static struct {              /* streams by due_ns, smallest first: a binary heap */
    struct client **list;
    int count, size;
} due;

static struct {
    uint64_t connections, requests, streams, chunks;
} counted;

static struct speech speeches[SPEECHES];   /* the first is OpenAI's own */
static int speech_count;
static struct mg_list alive = {&alive, &alive};
static struct mg_list dead = {&dead, &dead};   /* closed, but epoll may still name them in this turn */
static volatile sig_atomic_t stopping;

static void on_signal(int number);
static void build_own(void);
static void read_speeches(const char *folder);
static void build_speech(const char *name, const char *body, const char *before, const char *word, const char *after);
static mg_view build(const char *head, const char *body, bool chunked, const char *tail);
static struct client *client_new(int epoll, int fd, struct mg_tls_context *tls, bool listener);
static void client_close(struct client *client);
static void accept_all(int epoll, struct client *listener);
static void serve(struct client *client, uint32_t events);
static bool take(struct client *client, mg_view bytes);
static size_t take_head(struct client *client, mg_view bytes);
static uint64_t content_length(mg_view head);
static uint64_t number_in(mg_view text, const char *key);
static bool respond(struct client *client);
static bool respond_stats(struct client *client);
static bool play(struct client *client);
static void heap_push(struct client *client);
static void heap_remove(struct client *client);
static void heap_sift(int at);
static void play_due(uint64_t now);
static void loop(int epoll);
static void bury(void);

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"tls-port", 1, NULL, 't'}, {"certs", 1, NULL, 'c'},
                                            {"speeches", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    int port = 0, tls_port = 0, option;
    const char *certs = NULL, *folder = NULL;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            port = (int)strtol(optarg, NULL, 10);
        else if (option == 't')
            tls_port = (int)strtol(optarg, NULL, 10);
        else if (option == 'c')
            certs = optarg;
        else if (option == 's')
            folder = optarg;
        else
            return 2;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    prctl(PR_SET_TIMERSLACK, 1000);
    raise_file_limit();
    build_own();
    if (folder)
        read_speeches(folder);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    client_new(epoll, wire_listen(&port), NULL, true);
    struct mg_tls_context *tls = NULL;
    if (certs) {                                 /* a folder: cert.pem and key.pem are made there */
        char cert[512], key[512];
        struct mg_diag diag;
        snprintf(cert, sizeof(cert), "%s/cert.pem", certs);
        snprintf(key, sizeof(key), "%s/key.pem", certs);
        struct mg_tls_server_options with = {.cert_file = cert, .key_file = key};
        if (mg_tls_self_signed("127.0.0.1", cert, key, &diag) != MG_OK || mg_tls_server_new(&with, &tls, &diag) != MG_OK)
            die(diag.text);
        client_new(epoll, wire_listen(&tls_port), tls, true);
    }
    printf("{\"port\": %d, \"tls_port\": %d}\n", port, tls_port);
    fflush(stdout);
    loop(epoll);
    MG_LIST_EACH(item, next, &alive)
        client_close(mg_container_of(item, struct client, home));
    bury();
    mg_tls_unref(tls);
    return 0;
}

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void build_own(void)
{
    build_speech("openai", COMPLETION, ROLE, WORD, LAST);
}

/* A file of the folder, or nothing; lives as long as the process. */
static const char *file_text(const char *folder, const char *name, const char *part)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s.%s", folder, name, part);
    FILE *file = fopen(path, "rb");
    char *text = mg_alloc(PIECE_BYTES);
    text[file ? fread(text, 1, PIECE_BYTES - 1, file) : 0] = 0;
    if (file)
        fclose(file);
    return text;
}

static void read_speeches(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        die("cannot read --speeches");
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *end = strstr(entry->d_name, ".json");
        if (!end)
            continue;
        *end = 0;
        build_speech(entry->d_name, file_text(folder, entry->d_name, "json"), file_text(folder, entry->d_name, "first"),
                     file_text(folder, entry->d_name, "word"), file_text(folder, entry->d_name, "last"));
    }
    closedir(dir);
}

static void build_speech(const char *name, const char *body, const char *before, const char *word, const char *after)
{
    char head[PIECE_BYTES], piece[2 * PIECE_BYTES];
    if (speech_count == SPEECHES)
        die("too many speeches");
    struct speech *speech = &speeches[speech_count++];
    snprintf(speech->name, sizeof(speech->name), "%s", name);
    snprintf(head, sizeof(head), HEADERS("application/json") "Content-Length: %zu\r\n\r\n", strlen(body));
    speech->answer = build(head, body, false, "");
    snprintf(piece, sizeof(piece), "%s%s", before, word);
    speech->first = build(HEADERS("text/event-stream; charset=utf-8") "Transfer-Encoding: chunked\r\n\r\n", piece, true, "");
    speech->middle = build("", word, true, "");
    snprintf(piece, sizeof(piece), "%s%s", word, after);
    speech->last = build("", piece, true, "0\r\n\r\n");
}

/* Lives as long as the process. */
static mg_view build(const char *head, const char *body, bool chunked, const char *tail)
{
    size_t size = strlen(head) + strlen(body) + strlen(tail) + 64;
    char *out = mg_alloc(size);
    int len = chunked ? snprintf(out, size, "%s%zx\r\n%s\r\n%s", head, strlen(body), body, tail)
                      : snprintf(out, size, "%s%s%s", head, body, tail);
    return mg_view_of(out, (size_t)len);
}

static struct client *client_new(int epoll, int fd, struct mg_tls_context *tls, bool listener)
{
    struct client *client = mg_new(struct client);
    client->heap_at = -1;
    client->listener = listener;
    client->tls = tls;
    mg_list_push_back(&alive, &client->home);
    wire_open(&client->wire, epoll, fd, listener ? NULL : tls, NULL, client);
    return client;
}

static void client_close(struct client *client)
{
    if (client->wire.fd < 0)
        return;
    heap_remove(client);
    wire_close(&client->wire);
    mg_list_remove(&client->home);
    mg_list_push_back(&dead, &client->home);
}

static void accept_all(int epoll, struct client *listener)
{
    int fd;
    while ((fd = accept4(listener->wire.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        counted.connections++;
        client_new(epoll, fd, listener->tls, false);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept");
}

static void serve(struct client *client, uint32_t events)
{
    static char bytes[READ_BYTES];
    ssize_t got = wire_woken(&client->wire, events) ? 0 : -1;
    while (got >= 0 && (got = wire_read(&client->wire, bytes, sizeof(bytes))) > 0)
        if (!take(client, mg_view_of(bytes, (size_t)got)))
            got = -1;
    if (got < 0)
        client_close(client);
}

static bool take(struct client *client, mg_view bytes)
{
    while (bytes.len > 0) {
        if (!client->in_body) {
            size_t used = take_head(client, bytes);
            if (used == 0)
                return false;
            bytes = mg_view_skip(bytes, used);
        } else {
            mg_view body = mg_view_head(bytes, client->body_left);
            mg_view peek = mg_view_head(body, PEEK_BYTES - client->peek_len);
            memcpy(client->peek + client->peek_len, peek.ptr, peek.len);
            client->peek_len += peek.len;
            client->body_left -= body.len;
            bytes = mg_view_skip(bytes, body.len);
        }
        if (client->in_body && client->body_left == 0 && !respond(client))
            return false;
    }
    return true;
}

/* The number of bytes used; 0 refuses a header that is too long. */
static size_t take_head(struct client *client, mg_view bytes)
{
    mg_view part = mg_view_head(bytes, HEAD_BYTES - client->head_len);
    size_t before = client->head_len;
    memcpy(client->head + before, part.ptr, part.len);
    client->head_len += part.len;
    char *end = memmem(client->head, client->head_len, "\r\n\r\n", 4);
    if (!end)
        return client->head_len < HEAD_BYTES ? part.len : 0;
    client->head_len = (size_t)(end - client->head) + 4;
    client->in_body = true;
    client->body_left = content_length(mg_view_of(client->head, client->head_len));
    return client->head_len - before;
}

static uint64_t content_length(mg_view head)
{
    static const mg_view name = {"content-length:", 15};
    for (size_t at = mg_view_find(head, "\n"); at < head.len; at = mg_view_find(head, "\n")) {
        head = mg_view_skip(head, at + 1);
        if (mg_view_ieq(mg_view_head(head, name.len), name))
            return strtoull(head.ptr + name.len, NULL, 10);
    }
    return 0;
}

/* The digits that follow `"key":` and blanks. */
static uint64_t number_in(mg_view text, const char *key)
{
    const char *at = memmem(text.ptr, text.len, key, strlen(key));
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* Whose words the path asks for; its pace, if it names one, goes to `out_chunks` and `out_gap_us`. */
static const struct speech *speech_of(const char *head, uint64_t *out_chunks, uint64_t *out_gap_us)
{
    const char *path = strstr(head, " /");
    for (int i = 1; path && i < speech_count; i++) {
        size_t len = strlen(speeches[i].name);
        const char *end = path + 2 + len;
        if (strncmp(path + 2, speeches[i].name, len) != 0 || (*end != '/' && *end != '-'))
            continue;
        if (*end == '-') {
            char *gap = NULL;
            *out_chunks = strtoull(end + 1, &gap, 10);
            *out_gap_us = *gap == '-' ? strtoull(gap + 1, NULL, 10) : 0;
        }
        return &speeches[i];
    }
    return &speeches[0];
}

static bool respond(struct client *client)
{
    mg_view peek = mg_view_of(client->peek, client->peek_len);
    client->peek[MG_MIN(client->peek_len, PEEK_BYTES - 1)] = 0;
    client->in_body = false;
    client->head_len = client->peek_len = 0;
    if (memcmp(client->head, "GET /stats", 10) == 0)
        return respond_stats(client);
    counted.requests++;
    uint64_t chunks = number_in(peek, "\"bench_chunks\":"), gap_us = number_in(peek, "\"bench_gap_us\":");
    const struct speech *speech = speech_of(client->head, &chunks, &gap_us);
    if (chunks == 0)
        return wire_write(&client->wire, speech->answer);
    heap_remove(client);
    counted.streams++;
    client->speech = speech;
    client->gap_ns = gap_us * 1000;
    client->due_ns = now_ns();
    client->chunks_left = (int)chunks - 1;
    counted.chunks++;
    if (client->chunks_left > 0) {
        client->due_ns += client->gap_ns;
        heap_push(client);
    }
    return wire_write(&client->wire, speech->first) && (client->chunks_left > 0 || wire_write(&client->wire, speech->last));
}

static bool respond_stats(struct client *client)
{
    char body[256], all[512];
    int len = snprintf(body, sizeof(body), "{\"connections\": %lu, \"requests\": %lu, \"streams\": %lu, \"chunks\": %lu}",
                       counted.connections, counted.requests, counted.streams, counted.chunks);
    len = snprintf(all, sizeof(all), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len, body);
    return wire_write(&client->wire, mg_view_of(all, (size_t)len));
}

/* The next chunk of the stream on top of the heap. */
static bool play(struct client *client)
{
    counted.chunks++;
    client->due_ns += client->gap_ns;
    if (--client->chunks_left == 0)
        heap_remove(client);
    else
        heap_sift(client->heap_at);
    return wire_write(&client->wire, client->chunks_left == 0 ? client->speech->last : client->speech->middle);
}

static void heap_push(struct client *client)
{
    if (due.count == due.size) {
        due.size = due.size ? 2 * due.size : 1024;
        due.list = mg_realloc(due.list, sizeof(*due.list) * (size_t)due.size);
    }
    client->heap_at = due.count;
    due.list[due.count++] = client;
    heap_sift(client->heap_at);
}

static void heap_remove(struct client *client)
{
    if (client->heap_at < 0)
        return;
    struct client *moved = due.list[--due.count];
    due.list[client->heap_at] = moved;
    moved->heap_at = client->heap_at;
    client->heap_at = -1;
    if (moved != client)
        heap_sift(moved->heap_at);
}

/* Moves what stands at `at` up or down to its place. */
static void heap_sift(int at)
{
    struct client *client = due.list[at];
    for (int up; at > 0 && due.list[up = (at - 1) / 2]->due_ns > client->due_ns; at = up) {
        due.list[at] = due.list[up];
        due.list[at]->heap_at = at;
    }
    for (int child; (child = 2 * at + 1) < due.count; at = child) {
        if (child + 1 < due.count && due.list[child + 1]->due_ns < due.list[child]->due_ns)
            child++;
        if (due.list[child]->due_ns >= client->due_ns)
            break;
        due.list[at] = due.list[child];
        due.list[at]->heap_at = at;
    }
    due.list[at] = client;
    client->heap_at = at;
}

static void play_due(uint64_t now)
{
    while (due.count > 0 && due.list[0]->due_ns <= now) {
        struct client *client = due.list[0];
        if (!play(client))
            client_close(client);
    }
}

static void loop(int epoll)
{
    struct epoll_event events[EVENTS];
    while (!stopping) {
        uint64_t now = now_ns(), wait = due.count == 0 ? 1000000000u : due.list[0]->due_ns - MG_MIN(now, due.list[0]->due_ns);
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client->listener)
                accept_all(epoll, client);
            else if (client->wire.fd >= 0)
                serve(client, events[i].events);
        }
        play_due(now_ns());
        bury();
    }
}

static void bury(void)
{
    for (struct mg_list *item; (item = mg_list_pop_front(&dead));) {
        struct client *client = mg_container_of(item, struct client, home);
        mg_free(client->wire.queue);
        mg_free(client);
    }
}
