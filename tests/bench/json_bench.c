/* json_bench.c - what one scan, one validation, one tree and one decoded stream cost, by size of the body.
 *
 * usage: json_bench [ROUNDS]   Prints the least of ROUNDS (50) timings of each, in microseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "http/json.h"
#include "http/sse.h"

static const char *const path_list[] = {
    "model", "stream", "stream_options", "messages", "messages[*]", "messages[*].role", "messages[*].content", "max_tokens", "tools", "user",
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(mg_err err)
{
    if (err) {
        fprintf(stderr, "%s\n", mg_err_text(err));
        exit(1);
    }
}

/* A chat request of about `bytes` bytes; text is what its messages say over and over. */
static void make_request(struct mg_buf *doc, size_t bytes, const char *text)
{
    mg_buf_init(doc, 2 * bytes + 4096);
    must(mg_buf_put(doc, MG_VIEW("{\"model\":\"gpt-4o\",\"stream\":true,\"temperature\":0.7,\"messages\":[")));
    for (size_t i = 0; doc->len < bytes; i++) {
        must(mg_buf_putf(doc, "%s{\"role\":\"%s\",\"content\":\"", i ? "," : "", i % 2 ? "assistant" : "user"));
        for (int n = 0; n < 8 && doc->len < bytes; n++)
            must(mg_buf_put(doc, mg_view_cstr(text)));
        must(mg_buf_put(doc, MG_VIEW("\"}")));
    }
    must(mg_buf_put(doc, MG_VIEW("],\"max_tokens\":1000,\"user\":\"u\"}")));
}

static void make_stream(struct mg_buf *doc, size_t bytes)
{
    mg_buf_init(doc, 2 * bytes + 4096);
    while (doc->len < bytes)
        must(mg_buf_put(doc, MG_VIEW("data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\","
                                     "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
                                     "\"logprobs\":null,\"finish_reason\":null}]}\n\n")));
}

static size_t hits;

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    (void)arg;
    (void)hit;
    hits++;
    return MG_OK;
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    (void)arg;
    hits += event->data.len > 0;
    return MG_OK;
}

static void do_scan(mg_view doc, void *paths)
{
    must(mg_json_scan(doc, paths, on_hit, NULL, NULL));
}

static void do_check(mg_view doc, void *unused)
{
    (void)unused;
    must(mg_json_check(doc, NULL));
}

static void do_tree(mg_view doc, void *unused)
{
    struct mg_json *tree;
    (void)unused;
    must(mg_json_parse(doc, doc.len, &tree, NULL));
    mg_json_free(tree);
}

static void do_stream(mg_view doc, void *sse)
{
    must(mg_sse_feed(sse, doc));
}

static double least(int rounds, void (*run)(mg_view, void *), mg_view doc, void *arg)
{
    double best = 1e18;
    int repeat = doc.len < 20000 ? 50 : 5;
    for (int round = 0; round < rounds; round++) {
        double begin = now_us();
        for (int i = 0; i < repeat; i++)
            run(doc, arg);
        best = MG_MIN(best, (now_us() - begin) / repeat);
    }
    return best;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {1 << 10, 8 << 10, 64 << 10, 512 << 10};
    static const char *const texts[][2] = {
        {"plain", "The quick brown fox jumps over the lazy dog and runs on. "},
        {"escapes", "Line one.\\nLine \\\"two\\\" of the text.\\n\\nLine three.\\n"},
        {"CJK", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87\xe7\xab\xa0\xe3\x81\xa7\xe3\x81\x99\xe3\x80\x82"},
    };
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 50;
    struct mg_json_paths *paths = mg_json_paths_new(path_list, MG_COUNT(path_list));
    struct mg_sse *sse = mg_sse_new(1 << 20, on_event, NULL);
    struct mg_buf doc;
    printf("%-8s %10s %10s %10s %10s\n", "text", "bytes", "scan", "check", "tree");
    for (size_t t = 0; t < MG_COUNT(texts); t++)
        for (size_t s = 0; s < MG_COUNT(sizes); s++) {
            make_request(&doc, sizes[s], texts[t][1]);
            mg_view view = mg_buf_view(&doc);
            printf("%-8s %10zu %10.2f %10.2f %10.2f\n", texts[t][0], view.len, least(rounds, do_scan, view, paths),
                   least(rounds, do_check, view, NULL), least(rounds, do_tree, view, NULL));
            mg_buf_fini(&doc);
        }
    make_stream(&doc, 16 << 10);
    printf("%-8s %10zu %10.2f\n", "SSE", doc.len, least(rounds, do_stream, mg_buf_view(&doc), sse));
    mg_buf_fini(&doc);
    mg_sse_free(sse);
    mg_json_paths_free(paths);
    return hits == 0;
}
