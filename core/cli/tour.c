#include "cli/tour.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/history.h"
#include "http/json.h"
#include "http/sse.h"

enum { MARGIN = 3, WIDTH = 92, TIMEOUT_S = 60 };

/* One chat, printed as it arrives. */
struct chat {
    const struct mg_tour *tour;
    const struct mg_paint *paint;
    uint64_t begin_us, first_us;
    int status;
    char id[64], provider[64], model[64], attempts[8];
    struct mg_sse *sse; /* NULL: the answer is no stream */
    struct mg_buf rest; /* of an answer that is no stream */
    int column;
    bool finished; /* [DONE] came */
};

static bool chat(const struct mg_tour *tour, const char *question, struct chat *chat);
static mg_err ask(struct chat *chat, const char *question, struct mg_diag *diag);
static void on_head(void *arg, const struct mg_http_response *response);
static mg_err on_body(void *arg, mg_view bytes);
static mg_err on_event(void *arg, const struct mg_sse_event *event);
static void print_text(struct chat *chat, mg_view text);
static bool print_outcome(struct chat *chat, mg_err err, const struct mg_diag *diag);
static void copy_header(const struct mg_http_response *response, const char *name, char *out,
                        size_t size);
static void title(const char *number, const char *text);
static void print_trace(const struct mg_tour *tour, const char *id);
static void print_clients(const struct mg_tour *tour);
static void print_next(const struct mg_tour *tour);
static void print_path(void);

int mg_tour_run(const struct mg_tour *tour)
{
    struct chat first, second;
    title("1", "A chat, streamed through the gateway");
    if (!chat(tour, "Why does a harbour need a lighthouse?", &first))
        return tour->ending(tour->arg) ? MG_EXIT_OK : MG_EXIT_FAILED;
    if (tour->ending(tour->arg))
        return MG_EXIT_OK;

    title("2", "The next one: its first provider fails");
    if (!chat(tour, "And what does a lighthouse need?", &second))
        return tour->ending(tour->arg) ? MG_EXIT_OK : MG_EXIT_FAILED;

    title("3", "Why it went there");
    print_trace(tour, second.id);
    title("4", "Your turn");
    print_clients(tour);
    print_next(tour);
    return MG_EXIT_OK;
}

/* True when it was answered to the end. */
static bool chat(const struct mg_tour *tour, const char *question, struct chat *chat)
{
    struct mg_diag diag = {.line = 0};
    *chat = (struct chat){.tour = tour, .paint = mg_cli_paint(stdout), .begin_us = mg_mono_us()};
    printf("   %s> %s%s\n\n", chat->paint->bold, question, chat->paint->off);
    fflush(stdout);
    mg_buf_init(&chat->rest, 65536);
    mg_err err = ask(chat, question, &diag);
    bool good = print_outcome(chat, err, &diag);
    mg_sse_free(chat->sse);
    mg_buf_fini(&chat->rest);
    return good;
}

static mg_err ask(struct chat *chat, const char *question, struct mg_diag *diag)
{
    char headers[MG_MAX_REQUEST_LINE_BYTES], body[1024];
    snprintf(headers, sizeof(headers),
             "authorization: Bearer %s\r\ncontent-type: application/json\r\n", chat->tour->key);
    int len = snprintf(body, sizeof(body),
                       "{\"model\":\"chat\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"%s\"}]}",
                       question);
    const struct mg_call_spec spec = {
        .host = "127.0.0.1",
        .port = chat->tour->port,
        .method = "POST",
        .path = "/v1/chat/completions",
        .headers = headers,
        .body = mg_view_of(body, (size_t)len),
        .timeout_s = TIMEOUT_S,
        .on_head = on_head,
        .on_body = on_body,
        .arg = chat,
    };
    return mg_call(&spec, &chat->status, diag);
}

static void on_head(void *arg, const struct mg_http_response *response)
{
    struct chat *chat = arg;
    mg_view type = mg_headers_get(response->headers, MG_VIEW("content-type"));
    copy_header(response, "x-request-id", chat->id, sizeof(chat->id));
    copy_header(response, "x-moongate-provider", chat->provider, sizeof(chat->provider));
    copy_header(response, "x-moongate-model", chat->model, sizeof(chat->model));
    copy_header(response, "x-moongate-attempts", chat->attempts, sizeof(chat->attempts));
    if (mg_view_starts(type, MG_VIEW("text/event-stream")))
        chat->sse = mg_sse_new(MG_MAX_SSE_EVENT_BYTES, on_event, chat);
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct chat *chat = arg;
    return chat->sse ? mg_sse_feed(chat->sse, bytes) : mg_buf_put(&chat->rest, bytes);
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct chat *chat = arg;
    struct mg_json *json = NULL;
    if (mg_view_eq(event->data, MG_VIEW("[DONE]")))
        chat->finished = true;
    if (event->is_comment || chat->finished ||
        mg_json_parse(event->data, MG_MAX_SSE_EVENT_BYTES, &json, NULL) != MG_OK)
        return MG_OK;
    mg_view text = mg_json_string(mg_json_path(json, "choices[0].delta.content"));
    if (text.len && !chat->first_us)
        chat->first_us = mg_mono_us();
    print_text(chat, text);
    mg_json_free(json);
    return MG_OK;
}

/* Wraps between words; a piece is rarely more than one. */
static void print_text(struct chat *chat, mg_view text)
{
    if (!text.len)
        return;
    int width = (int)MG_MIN(mg_history_columns(stdout, WIDTH), (unsigned)WIDTH);
    if (!chat->column || chat->column + (int)text.len > width) {
        printf("%s%*s", chat->column ? "\n" : "", MARGIN, "");
        text = text.ptr[0] == ' ' ? mg_view_skip(text, 1) : text;
        chat->column = MARGIN;
    }
    printf("%s%.*s%s", chat->paint->cyan, MG_FMT(text), chat->paint->off);
    fflush(stdout);
    chat->column += (int)text.len;
}

static bool print_outcome(struct chat *chat, mg_err err, const struct mg_diag *diag)
{
    const struct mg_paint *paint = chat->paint;
    bool good = err == MG_OK && chat->status == 200 && chat->finished;
    if (chat->column)
        printf("\n\n");
    if (good) {
        bool several = strcmp(chat->attempts, "1") != 0;
        printf("   %s%s answered by %s/%s after %s attempt%s, first token after %llu ms%s\n",
               several ? paint->yellow : paint->green,
               several ? "failed over:" : "ok:", chat->provider, chat->model, chat->attempts,
               several ? "s" : "", (unsigned long long)((chat->first_us - chat->begin_us) / 1000),
               paint->off);
    } else if (!chat->tour->ending(chat->tour->arg)) {
        printf("   %snot answered%s: ", paint->red, paint->off);
        if (err != MG_OK)
            printf("%s\n", *diag->text ? diag->text : mg_err_text(err));
        else
            printf("%d %.*s\n", chat->status, MG_FMT(mg_buf_view(&chat->rest)));
    }
    fflush(stdout);
    return good;
}

static void copy_header(const struct mg_http_response *response, const char *name, char *out,
                        size_t size)
{
    mg_view value = mg_headers_get(response->headers, mg_view_cstr(name));
    snprintf(out, size, "%.*s", MG_FMT(value));
}

static void title(const char *number, const char *text)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    printf("\n%s%s  %s%s\n\n", paint->bold, number, text, paint->off);
    fflush(stdout);
}

/* The same command a person would type. */
static void print_trace(const struct mg_tour *tour, const char *id)
{
    char command[] = "trace", data[] = "--data", dir[1024], request[64];
    snprintf(dir, sizeof(dir), "%s", tour->data_dir);
    snprintf(request, sizeof(request), "%s", id);
    char *words[] = {command, request, data, dir, NULL};
    printf("   $ moongate trace -c %s %s\n\n", tour->dir, id);
    fflush(stdout);
    mg_cli_trace(4, words);
}

static void print_clients(const struct mg_tour *tour)
{
    printf("   curl http://127.0.0.1:%d/v1/chat/completions \\\n"
           "     -H 'Authorization: Bearer %s' \\\n"
           "     -H 'Content-Type: application/json' \\\n"
           "     -d "
           "'{\"model\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n",
           tour->port, tour->key);
    printf("   # Python, with the official SDK: pip install openai\n"
           "   from openai import OpenAI\n"
           "   client = OpenAI(base_url=\"http://127.0.0.1:%d/v1\", api_key=\"%s\")\n"
           "   print(client.chat.completions.create(model=\"chat\",\n"
           "         messages=[{\"role\": \"user\", \"content\": "
           "\"Hello\"}]).choices[0].message.content)\n\n",
           tour->port, tour->key);
    printf(
        "   // Node, with the official SDK: npm install openai\n"
        "   import OpenAI from \"openai\";\n"
        "   const client = new OpenAI({ baseURL: \"http://127.0.0.1:%d/v1\", apiKey: \"%s\" });\n"
        "   console.log((await client.chat.completions.create({ model: \"chat\",\n"
        "     messages: [{ role: \"user\", content: \"Hello\" }] "
        "})).choices[0].message.content);\n",
        tour->port, tour->key);
}

static void print_next(const struct mg_tour *tour)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    printf("\n%sWhat to try next%s\n\n", paint->bold, paint->off);
    print_path();
    printf("   %s/projects/policies/route.lua\n"
           "      set PREFER to \"backup\", save, ask again: the next request obeys\n",
           tour->dir);
    printf("   %s/projects/demo.lua\n"
           "      break something else (`moongate sim --faults`), or add a real provider\n",
           tour->dir);
    printf("   moongate logs -c %s -f\n"
           "      in another terminal: requests as they happen\n\n",
           tour->dir);
    fflush(stdout);
}

/* Fresh from a build, the shell does not find the command that the lines below name. */
static void print_path(void)
{
    char folder[4096];
    ssize_t len = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    const char *path = getenv("PATH");
    if (len <= 0)
        return;
    folder[len] = '\0';
    *strrchr(folder, '/') = '\0';
    if (!path || !strstr(path, folder))
        printf("   export PATH=%s:$PATH\n      so that your shell finds `moongate`\n", folder);
}
