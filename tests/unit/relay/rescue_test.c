/* Every stream goes through the decoder and the tap that ship; the client puts deltas together as the OpenAI SDKs do, by
 * appending, so what it must get once and gets twice is seen in what it has at the end. */
#include "relay/rescue.h"

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "http/json.h"
#include "script/script.h"

enum { CALLS = 4, CLIENT_BYTES = 4 * MG_MAX_RESUMED_BYTES };

static const struct mg_adapter *adapter_of_tests(void)
{
    static struct mg_arena arena;
    static struct mg_adapter_decl decl;
    static struct mg_adapter *adapter;
    struct mg_diag diag = {.line = 0};
    if (adapter)
        return adapter;
    mg_arena_init(&arena, 4096);
    CHECK_OK(mg_adapter_load("openai", &arena, &decl, &diag));
    CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    return adapter;
}

/* ---- the client ------------------------------------------------------------------------------ */

struct client {
    struct mg_buf id, role, content, reasoning, finish;      /* of choice 0 */
    struct mg_buf second;              /* content of choice 1 */
    struct mg_buf call_id[CALLS], name[CALLS], arguments[CALLS];
    bool two_ids;
    int events, usages;
};

static void each_buf(struct client *client, void (*fn)(struct mg_buf *buf))
{
    struct mg_buf *const bufs[] = {&client->id, &client->role, &client->content, &client->reasoning, &client->finish, &client->second};
    for (size_t i = 0; i < MG_COUNT(bufs); i++)
        fn(bufs[i]);
    for (int i = 0; i < CALLS; i++) {
        fn(&client->call_id[i]);
        fn(&client->name[i]);
        fn(&client->arguments[i]);
    }
}

static void init_buf(struct mg_buf *buf)
{
    mg_buf_init(buf, CLIENT_BYTES);
}

static void append(struct mg_buf *buf, const struct mg_json *text)
{
    CHECK_OK(mg_buf_put(buf, mg_json_string(text)));
}

static void take_calls(struct client *client, const struct mg_json *calls)
{
    for (const struct mg_json *call = mg_json_first(calls); call; call = mg_json_next(call)) {
        int64_t index = 0;
        CHECK(mg_json_i64(mg_json_get(call, "index"), &index) && index < CALLS);
        append(&client->call_id[index], mg_json_get(call, "id"));
        append(&client->name[index], mg_json_path(call, "function.name"));
        append(&client->arguments[index], mg_json_path(call, "function.arguments"));
    }
}

static void take_choice(struct client *client, const struct mg_json *choice)
{
    int64_t index = 0;
    const struct mg_json *delta = mg_json_get(choice, "delta");
    (void)mg_json_i64(mg_json_get(choice, "index"), &index);
    if (index == 1) {
        append(&client->second, mg_json_get(delta, "content"));
        return;
    }
    append(&client->role, mg_json_get(delta, "role"));
    append(&client->content, mg_json_get(delta, "content"));
    append(&client->content, mg_json_get(choice, "text"));
    append(&client->reasoning, mg_json_get(delta, "reasoning_content"));
    append(&client->finish, mg_json_get(choice, "finish_reason"));
    take_calls(client, mg_json_get(delta, "tool_calls"));
}

/* The bytes that went out, as the client reads them. */
static mg_err on_client_event(void *arg, const struct mg_sse_event *event)
{
    struct client *client = arg;
    struct mg_json *chunk;
    if (event->is_comment || mg_view_eq(event->data, MG_VIEW("[DONE]")))
        return MG_OK;
    CHECK_OK(mg_json_parse(event->data, SIZE_MAX, &chunk, NULL));
    mg_view id = mg_json_string(mg_json_get(chunk, "id"));
    if (client->id.len == 0)
        CHECK_OK(mg_buf_put(&client->id, id));
    client->two_ids |= !mg_view_eq(mg_buf_view(&client->id), id);
    client->usages += mg_json_is(mg_json_get(chunk, "usage"), MG_JSON_OBJECT);
    for (const struct mg_json *choice = mg_json_first(mg_json_get(chunk, "choices")); choice; choice = mg_json_next(choice))
        take_choice(client, choice);
    client->events++;
    mg_json_free(chunk);
    return MG_OK;
}

/* ---- the world ------------------------------------------------------------------------------- */

static struct world {
    struct mg_arena arena;
    struct mg_rescue *rescue;
    struct mg_tap tap;                 /* of the attempt that is running */
    bool resuming;
    bool diverged;
    int suppressed;
    struct mg_sse *to_client;
    struct client client;
} world;

static void begin(void)
{
    world = (struct world){.diverged = false};
    mg_arena_init(&world.arena, 4096);
    world.rescue = mg_rescue_new(&world.arena);
    world.to_client = mg_sse_new(CLIENT_BYTES, on_client_event, &world.client);
    each_buf(&world.client, init_buf);
    mg_tap_init(&world.tap, adapter_of_tests(), true);
}

static void end(void)
{
    mg_sse_free(world.to_client);
    each_buf(&world.client, mg_buf_fini);
    mg_arena_fini(&world.arena);
}

static void check_event(const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    CHECK(!event->data_in_raw || (event->data.ptr >= event->raw.ptr &&
                                  event->data.ptr + event->data.len <= event->raw.ptr + event->raw.len));
    for (int i = 0; i < seen->text_count; i++)
        CHECK(event->data.ptr[seen->texts[i].offset] == '"' &&
              event->data.ptr[seen->texts[i].offset + seen->texts[i].len - 1] == '"');
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    (void)arg;
    struct mg_sse_event out = *event;
    struct mg_tap_event seen = {.content = false}, out_seen = {.content = false};
    if (!event->is_comment)
        mg_tap_event(&world.tap, event->name, event->data, &seen);
    out_seen = seen;
    if (!world.resuming) {
        (void)mg_rescue_record(world.rescue, event, &seen);
        return mg_sse_feed(world.to_client, event->raw);
    }
    switch (mg_rescue_event(world.rescue, adapter_of_tests(), event, &seen, &out, &out_seen)) {
    case MG_RESUME_SUPPRESS: world.suppressed++; break;
    case MG_RESUME_DIVERGED: world.diverged = true; break;
    case MG_RESUME_FORWARD:
        CHECK(!world.diverged);
        check_event(&out, &out_seen);
        return mg_sse_feed(world.to_client, out.raw);
    }
    return MG_OK;
}

static void feed(mg_view bytes)
{
    struct mg_sse *sse = mg_sse_new(CLIENT_BYTES, on_event, NULL);
    CHECK_OK(mg_sse_feed(sse, bytes));
    mg_sse_free(sse);
}

/* The attempt that was running is gone; another one begins. */
static void again(void)
{
    world.resuming = true;
    world.diverged = false;
    mg_tap_init(&world.tap, adapter_of_tests(), true);
    mg_rescue_regenerate(world.rescue);
}

/* ---- writing streams ------------------------------------------------------------------------- */

#define HEAD(id) "data: {\"id\":\"" id "\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"m-" id "\",\"choices\":[{\"index\":0,"
#define CHUNK(id, delta) HEAD(id) "\"delta\":{" delta "},\"finish_reason\":null}]}\n\n"
#define SAYS(id, text) CHUNK(id, "\"content\":\"" text "\"")
#define THINKS(id, text) CHUNK(id, "\"reasoning_content\":\"" text "\"")
#define ROLE(id) CHUNK(id, "\"role\":\"assistant\",\"content\":\"\"")
#define CALL(id, n, call, name, arguments)                                                         \
    CHUNK(id, "\"tool_calls\":[{\"index\":" #n ",\"id\":\"" call "\",\"type\":\"function\",\"function\":{\"name\":\"" name   \
              "\",\"arguments\":\"" arguments "\"}}]")
#define ARGUES(id, n, arguments) CHUNK(id, "\"tool_calls\":[{\"index\":" #n ",\"function\":{\"arguments\":\"" arguments "\"}}]")
#define ENDS(id, why) HEAD(id) "\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define USAGE(id) "data: {\"id\":\"" id "\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
#define DONE "data: [DONE]\n\n"

static const struct row {
    const char *name, *sent, *fresh;
    bool diverged;
    const char *content, *reasoning, *finish, *arguments;    /* what the client has at the end */
    int usages;
} rows[] = {
    {"the same in the same pieces", ROLE("a") SAYS("a", "one ") SAYS("a", "two "),
     ROLE("b") SAYS("b", "one ") SAYS("b", "two ") SAYS("b", "three") ENDS("b", "stop") USAGE("b") DONE, false, "one two three", "",
     "stop", "", 1},
    {"a piece that is known in part", ROLE("a") SAYS("a", "one tw"), ROLE("b") SAYS("b", "one ") SAYS("b", "two") ENDS("b", "stop") DONE,
     false, "one two", "", "stop", "", 0},
    {"all in one piece with its role and its end", ROLE("a") SAYS("a", "one"),
     HEAD("b") "\"delta\":{\"role\":\"assistant\",\"content\":\"one two\"},\"finish_reason\":\"stop\"}]}\n\n" DONE, false, "one two", "",
     "stop", "", 0},
    {"a role with every piece", ROLE("a") SAYS("a", "one"),
     CHUNK("b", "\"role\":\"assistant\",\"content\":\"o\"") CHUNK("b", "\"content\":\"ne\",\"role\":\"assistant\"")
     CHUNK("b", "\"role\":\"assistant\",\"content\":\" two\"") CHUNK("b", "\"role\":\"assistant\",\"content\":\"\"") ENDS("b", "stop"),
     false, "one two", "", "stop", "", 0},
    {"only the end was missing", ROLE("a") SAYS("a", "one"), SAYS("b", "one") ENDS("b", "stop") USAGE("b") DONE, false, "one", "", "stop",
     "", 1},
    {"another spelling of the same text", ROLE("a") SAYS("a", "na\\u00efve \\ud83d\\ude00\\nx"),
     SAYS("b", "na\xc3\xafve ") SAYS("b", "\xf0\x9f\x98\x80\\u000ax\\t\xe2\x82\xac") ENDS("b", "stop"), false,
     "na\xc3\xafve \xf0\x9f\x98\x80\nx\t\xe2\x82\xac", "", "stop", "", 0},
    {"another word", ROLE("a") SAYS("a", "one two"), SAYS("b", "one t") SAYS("b", "oo"), true, "one two", "", "", "", 0},
    {"another word in the piece that would go on", ROLE("a") SAYS("a", "one two"), SAYS("b", "one") SAYS("b", " twa three"), true, "one two",
     "", "", "", 0},
    {"a blank more", ROLE("a") SAYS("a", "one two"), SAYS("b", "one  two three"), true, "one two", "", "", "", 0},
    {"a leading blank less", ROLE("a") SAYS("a", "\\n") SAYS("a", "one"), SAYS("b", "one two"), true, "\none", "", "", "", 0},
    {"an end too early", ROLE("a") SAYS("a", "one two"), SAYS("b", "one") ENDS("b", "stop"), true, "one two", "", "", "", 0},
    {"an end with its last word, too early", ROLE("a") SAYS("a", "one two"),
     HEAD("b") "\"delta\":{\"content\":\"one\"},\"finish_reason\":\"stop\"}]}\n\n", true, "one two", "", "", "", 0},
    {"done without an end, too early", ROLE("a") SAYS("a", "one two"), SAYS("b", "one") DONE, true, "one two", "", "", "", 0},
    {"thinking is matched too", ROLE("a") THINKS("a", "so ") THINKS("a", "then") SAYS("a", "x"),
     ROLE("b") THINKS("b", "so th") THINKS("b", "en") SAYS("b", "xy") ENDS("b", "stop"), false, "xy", "so then", "stop", "", 0},
    {"it broke while thinking", ROLE("a") THINKS("a", "so th"), THINKS("b", "so then") SAYS("b", "xy") ENDS("b", "stop"), false, "xy",
     "so then", "stop", "", 0},
    {"thinking and text in one piece", ROLE("a") THINKS("a", "so th"),
     CHUNK("b", "\"reasoning_content\":\"so then\",\"content\":\"xy\"") ENDS("b", "stop"), false, "xy", "so then", "stop", "", 0},
    {"thinking that is shorter than what was sent of it", ROLE("a") THINKS("a", "so then"), THINKS("b", "so") SAYS("b", "xy"), true, "",
     "so then", "", "", 0},
    {"a comment and a broken event on the way", ROLE("a") SAYS("a", "one"),
     ": wait\n\n" SAYS("b", "on") "data: {\"choices\":[{\n\n" SAYS("b", "e two") ": wait\n\n" ENDS("b", "stop"), false, "one two", "", "stop",
     "", 0},
    {"an error inside the new stream", ROLE("a") SAYS("a", "one"), SAYS("b", "on") "data: {\"error\":{\"message\":\"no\"}}\n\n", false, "one",
     "", "", "", 0},
    {"usage with every event", ROLE("a") SAYS("a", "one"),
     HEAD("b") "\"delta\":{\"content\":\"one\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n" USAGE("b")
     SAYS("b", " two") ENDS("b", "stop") USAGE("b") DONE, false, "one two", "", "stop", "", 2},
    {"the old completions", "data: {\"id\":\"a\",\"choices\":[{\"text\":\"one \",\"index\":0}]}\n\n",
     "data: {\"id\":\"b\",\"choices\":[{\"text\":\"one two\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n", false, "one two", "", "stop", "",
     0},
    {"line ends of another kind", ROLE("a") SAYS("a", "one"),
     "data: {\"id\":\"b\",\r\ndata: \"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"one two\"}}]}\r\n\r\n"
     ENDS("b", "stop"), false, "one two", "", "stop", "", 0},
    {"a choice nobody knows", ROLE("a") SAYS("a", "one"),
     "data: {\"id\":\"b\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}\n\n", true, "one", "", "", "", 0},
    {"a refusal instead", ROLE("a") SAYS("a", "one"), CHUNK("b", "\"refusal\":\"I cannot\""), true, "one", "", "", "", 0},

    {"arguments that go on", ROLE("a") CALL("a", 0, "call_a", "find", "") ARGUES("a", 0, "{\\\"q\\\":"),
     ROLE("b") CALL("b", 0, "call_b", "find", "") ARGUES("b", 0, "{\\\"q\\\":1") ARGUES("b", 0, "}") ENDS("b", "tool_calls"), false, "", "",
     "tool_calls", "{\"q\":1}", 0},
    {"a call whose head alone was sent", ROLE("a") CALL("a", 0, "call_a", "find", ""),
     CALL("b", 0, "call_b", "find", "{\\\"q\\\":1}") ENDS("b", "tool_calls"), false, "", "", "tool_calls", "{\"q\":1}", 0},
    {"a whole call in one piece", ROLE("a") CALL("a", 0, "call_a", "find", "") ARGUES("a", 0, "{\\\"q\\\":"),
     CALL("b", 0, "call_b", "find", "{\\\"q\\\":1}") ENDS("b", "tool_calls"), false, "", "", "tool_calls", "{\"q\":1}", 0},
    {"text and then the call", ROLE("a") SAYS("a", "let me "), SAYS("b", "let me see") CALL("b", 0, "call_a", "find", "{\\\"q\\\"")
     ARGUES("b", 0, ":1}") ENDS("b", "tool_calls"), false, "let me see", "", "tool_calls", "{\"q\":1}", 0},
    {"a call before the text was matched", ROLE("a") SAYS("a", "let me see"), SAYS("b", "let me") CALL("b", 0, "call_b", "find", "{}"), true,
     "let me see", "", "", NULL, 0},
    {"other arguments", ROLE("a") CALL("a", 0, "call_a", "find", "{\\\"q\\\":1"), CALL("b", 0, "call_b", "find", "{\\\"q\\\":2}"), true, "",
     "", "", "{\"q\":1", 0},
    {"other blanks in the arguments", ROLE("a") CALL("a", 0, "call_a", "find", "{\\\"q\\\":"),
     CALL("b", 0, "call_b", "find", "{\\\"q\\\": 1}"), false, "", "", "", "{\"q\": 1}", 0},
    {"other blanks before the end of what was sent", ROLE("a") CALL("a", 0, "call_a", "find", "{\\\"q\\\":1"),
     CALL("b", 0, "call_b", "find", "{\\\"q\\\": 1}"), true, "", "", "", "{\"q\":1", 0},
    {"another name", ROLE("a") CALL("a", 0, "call_a", "find", ""), CALL("b", 0, "call_b", "fetch", "{}"), true, "", "", "", "", 0},
    {"a longer name", ROLE("a") CALL("a", 0, "call_a", "find", ""), CALL("b", 0, "call_b", "find_all", "{}"), true, "", "", "", "", 0},
    {"a shorter name", ROLE("a") CALL("a", 0, "call_a", "find", ""), CALL("b", 0, "call_b", "fin", "{}"), true, "", "", "", "", 0},
    {"text where a call was", ROLE("a") CALL("a", 0, "call_a", "find", "{"), SAYS("b", "I would rather"), true, "", "", "", "{", 0},
};

static void check_row(const struct row *row)
{
    const struct client *client = &world.client;
    if (world.diverged != row->diverged)
        check_failed(__FILE__, __LINE__, "%s: diverged %d", row->name, world.diverged);
    if (client->two_ids)
        check_failed(__FILE__, __LINE__, "%s: the id changes", row->name);
    const struct {
        const struct mg_buf *got;
        const char *want;
    } texts[] = {{&client->content, row->content}, {&client->reasoning, row->reasoning}, {&client->finish, row->finish},
                 {&client->arguments[0], row->arguments}};
    for (size_t i = 0; i < MG_COUNT(texts); i++)
        if (texts[i].want && !mg_view_eq(mg_buf_view(texts[i].got), mg_view_cstr(texts[i].want)))
            check_failed(__FILE__, __LINE__, "%s: text %zu is \"%.*s\"", row->name, i, MG_FMT(mg_buf_view(texts[i].got)));
    if (client->usages != row->usages)
        check_failed(__FILE__, __LINE__, "%s: %d usages", row->name, client->usages);
}

TEST(what_was_sent_is_left_out_and_the_rest_goes_on)
{
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin();
        feed(mg_view_cstr(rows[i].sent));
        again();
        feed(mg_view_cstr(rows[i].fresh));

        check_row(&rows[i]);
        bool role_was_sent = strstr(rows[i].sent, "\"role\"") != NULL;
        CHECK_VIEW(mg_buf_view(&world.client.role), role_was_sent ? MG_VIEW("assistant") : MG_VIEW_NONE);
        bool called = world.client.call_id[0].len > 0;
        CHECK_VIEW(mg_buf_view(&world.client.call_id[0]), called ? MG_VIEW("call_a") : MG_VIEW_NONE);
        CHECK_VIEW(mg_buf_view(&world.client.name[0]), called ? MG_VIEW("find") : MG_VIEW_NONE);
        end();
    }
}

TEST(a_name_and_an_id_are_those_the_client_knows_and_every_other_byte_stays)
{
    begin();
    feed(MG_VIEW(SAYS("a", "one")));
    again();
    struct mg_sse_event out;
    struct mg_tap_event seen, out_seen;
    mg_view data = MG_VIEW("{ \"id\" : \"b\", \"created\":18,\"model\":\"m\\u0062\", \"choices\":[ {\"index\":0,\"delta\":{ \"role\" : "
                           "\"assistant\" , \"content\": \"one\\u0020two\" , \"x\":[1.0] } } ],\"usage\":null, \"extra\":{\"role\":\"kept\"}}");
    mg_tap_event(&world.tap, MG_VIEW_NONE, data, &seen);
    struct mg_sse_event event = {.data = data, .raw = data};

    CHECK_INT(mg_rescue_event(world.rescue, adapter_of_tests(), &event, &seen, &out, &out_seen), MG_RESUME_FORWARD);

    CHECK_VIEW(out.data, MG_VIEW("{ \"id\" : \"a\", \"created\":17,\"model\":\"m\\u0062\", \"choices\":[ {\"index\":0,\"delta\":{ "
                                 "\"content\": \" two\" , \"x\":[1.0] } } ],\"usage\":null, \"extra\":{\"role\":\"kept\"}}"));
    CHECK_VIEW(mg_view_of(out.data.ptr + out_seen.cut_offset, out_seen.cut_len), MG_VIEW(",\"usage\":null"));
    CHECK_INT(out_seen.text_count, 1);
    CHECK_VIEW(mg_view_of(out.data.ptr + out_seen.texts[0].offset, out_seen.texts[0].len), MG_VIEW("\" two\""));
    CHECK_INT(mg_rescue_bytes(world.rescue), 7);
    end();
}

TEST(an_event_with_nothing_known_in_it_is_handed_on_without_a_copy)
{
    begin();
    feed(MG_VIEW(SAYS("a", "one")));
    again();
    feed(MG_VIEW(SAYS("b", "one")));
    CHECK(!mg_rescue_matching(world.rescue));
    struct mg_sse_event out;
    struct mg_tap_event seen, out_seen;
    mg_view data = MG_VIEW("{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" two\"}}]}");
    mg_tap_event(&world.tap, MG_VIEW_NONE, data, &seen);
    struct mg_sse_event event = {.data = data, .raw = data};

    CHECK_INT(mg_rescue_event(world.rescue, adapter_of_tests(), &event, &seen, &out, &out_seen), MG_RESUME_FORWARD);
    CHECK(out.data.ptr == data.ptr && out.raw.ptr == data.ptr);
    end();
}

/* A text with characters of every length and all that JSON escapes. */
static const char *const letters[] = {"a", "b", " ", "\n", "\"", "\\", "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "/", "\t"};

/* Two ways to write it. */
static void put_letter(struct mg_buf *out, size_t letter, bool escaped)
{
    static const char *const spelt[] = {"\\u0061", "b", "\\u0020", "\\u000a", "\\u0022", "\\u005c", "\\u0001", "\\u00e9", "\\u20ac",
                                        "\\ud83d\\ude00", "\\/", "\\t"};
    if (escaped)
        CHECK_OK(mg_buf_put(out, mg_view_cstr(spelt[letter])));
    else
        CHECK_OK(mg_buf_put_json(out, mg_view_cstr(letters[letter])));
}

static unsigned seed;

static unsigned dice(unsigned sides)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

enum { MAX_TEXT = 40 };

struct text {
    size_t letters[MAX_TEXT];
    size_t count;
};

static void roll(struct text *text)
{
    text->count = 1 + dice(MAX_TEXT - 1);
    for (size_t i = 0; i < text->count; i++)
        text->letters[i] = dice(MG_COUNT(letters));
}

static void decode(const struct text *text, size_t count, struct mg_buf *out)
{
    mg_buf_init(out, 4 * MAX_TEXT);
    for (size_t i = 0; i < count; i++)
        CHECK_OK(mg_buf_put(out, mg_view_cstr(letters[text->letters[i]])));
}

/* Feeds [from, to) in pieces; step 0: of random sizes, empty ones among them. */
static void say(const struct text *text, size_t from, size_t to, size_t step, char id)
{
    struct mg_buf event;
    mg_buf_init(&event, 4096);
    while (from < to && !world.diverged) {
        size_t n = step ? step : dice(6);
        n = MG_MIN(n, to - from);
        mg_buf_clear(&event);
        CHECK_OK(mg_buf_putf(&event, "data: {\"id\":\"%c\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"", id,
                             dice(2) ? "\"role\":\"assistant\"," : ""));
        for (size_t i = 0; i < n; i++)
            put_letter(&event, text->letters[from + i], dice(2));
        CHECK_OK(mg_buf_put(&event, MG_VIEW("\"}}]}\n\n")));
        feed(mg_buf_view(&event));
        from += n;
    }
    mg_buf_fini(&event);
}

TEST(goes_on_at_every_cut_of_both_streams)
{
    struct text text = {.count = MG_COUNT(letters)};
    struct mg_buf whole;
    for (size_t i = 0; i < text.count; i++)
        text.letters[i] = i;
    decode(&text, text.count, &whole);
    for (size_t cut = 1; cut <= text.count; cut++)
        for (size_t step = 1; step <= text.count; step++) {
            begin();
            say(&text, 0, cut, 3, 'a');
            again();
            say(&text, 0, text.count, step, 'b');

            CHECK(!world.diverged && !world.client.two_ids && !mg_rescue_matching(world.rescue));
            CHECK_VIEW(mg_buf_view(&world.client.content), mg_buf_view(&whole));
            end();
        }
    mg_buf_fini(&whole);
}

TEST(any_text_broken_anywhere_any_number_of_times_comes_out_whole)
{
    for (seed = 0; seed < 3000; seed = seed + 1) {
        unsigned round = seed;
        struct text text;
        struct mg_buf whole;
        roll(&text);
        decode(&text, text.count, &whole);
        begin();
        say(&text, 0, 1 + dice((unsigned)text.count), 0, 'a');
        for (unsigned breaks = dice(3); breaks > 0; breaks--) {
            again();
            say(&text, 0, dice((unsigned)text.count), 0, 'b');
        }
        again();
        say(&text, 0, text.count, 0, 'c');

        if (world.diverged || world.client.two_ids || !mg_view_eq(mg_buf_view(&world.client.content), mg_buf_view(&whole)))
            check_failed(__FILE__, __LINE__, "round %u: \"%.*s\"", round, MG_FMT(mg_buf_view(&world.client.content)));
        CHECK_INT(mg_rescue_bytes(world.rescue), whole.len);
        end();
        mg_buf_fini(&whole);
        seed = round;
    }
}

TEST(other_words_are_told_at_once_and_nothing_after_the_common_part_goes_out)
{
    for (seed = 0; seed < 3000; seed = seed + 1) {
        unsigned round = seed;
        struct text text, other;
        struct mg_buf sent;
        roll(&text);
        size_t cut = 1 + dice((unsigned)text.count), at = dice((unsigned)cut);
        other = text;
        other.letters[at] = (text.letters[at] + 1 + dice(MG_COUNT(letters) - 1)) % MG_COUNT(letters);
        decode(&text, cut, &sent);
        begin();
        say(&text, 0, cut, 0, 'a');
        again();
        say(&other, 0, other.count, 0, 'b');

        if (!world.diverged || !mg_rescue_matching(world.rescue) ||
            !mg_view_eq(mg_buf_view(&world.client.content), mg_buf_view(&sent)))
            check_failed(__FILE__, __LINE__, "round %u: \"%.*s\"", round, MG_FMT(mg_buf_view(&world.client.content)));
        CHECK(mg_rescue_possible(world.rescue));

        again();
        say(&text, 0, text.count, 0, 'c');
        CHECK(!world.diverged);
        end();
        mg_buf_fini(&sent);
        seed = round;
    }
}

TEST(a_tool_call_goes_on_at_every_cut_of_its_arguments)
{
    static const char arguments[] = "{\"q\":\"a b\"}";
    size_t len = strlen(arguments);
    for (size_t cut = 0; cut <= len; cut++)
        for (size_t step = 1; step <= len; step++) {
            struct mg_buf event;
            mg_buf_init(&event, 4096);
            begin();
            for (int attempt = 0; attempt < 2; attempt++) {
                size_t end_at = attempt ? len : cut;
                char id = attempt ? 'b' : 'a';
                if (attempt)
                    again();
                for (size_t at = 0; at == 0 || at < end_at; at += step) {
                    mg_buf_clear(&event);
                    CHECK_OK(mg_buf_putf(&event, "data: {\"id\":\"%c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,", id));
                    if (at == 0)
                        CHECK_OK(mg_buf_putf(&event, "\"id\":\"call_%c\",\"type\":\"function\",", id));
                    CHECK_OK(mg_buf_putf(&event, "\"function\":{%s\"arguments\":\"", at == 0 ? "\"name\":\"find\"," : ""));
                    CHECK_OK(mg_buf_put_json(&event, mg_view_of(arguments + at, MG_MIN(step, end_at - at))));
                    CHECK_OK(mg_buf_put(&event, MG_VIEW("\"}}]}}]}\n\n")));
                    feed(mg_buf_view(&event));
                }
            }
            CHECK(!world.diverged && mg_rescue_has_tools(world.rescue));
            CHECK_VIEW(mg_buf_view(&world.client.arguments[0]), mg_view_cstr(arguments));
            CHECK_VIEW(mg_buf_view(&world.client.name[0]), MG_VIEW("find"));
            CHECK_VIEW(mg_buf_view(&world.client.call_id[0]), MG_VIEW("call_a"));
            end();
            mg_buf_fini(&event);
        }
}

TEST(a_second_call_begins_after_the_first_was_matched)
{
    begin();
    feed(MG_VIEW(CALL("a", 0, "call_a", "find", "{}") CALL("a", 1, "call_a2", "open", "{\\\"n\\\":")));
    again();
    feed(MG_VIEW(CALL("b", 0, "call_b", "find", "{}") CALL("b", 1, "call_b2", "open", "{\\\"n\\\":1}") CALL("b", 2, "call_b3", "shut", "")
                 ARGUES("b", 2, "{}") ENDS("b", "tool_calls")));

    CHECK(!world.diverged);
    CHECK_VIEW(mg_buf_view(&world.client.call_id[0]), MG_VIEW("call_a"));
    CHECK_VIEW(mg_buf_view(&world.client.call_id[1]), MG_VIEW("call_a2"));
    CHECK_VIEW(mg_buf_view(&world.client.call_id[2]), MG_VIEW("call_b3"));
    CHECK_VIEW(mg_buf_view(&world.client.arguments[1]), MG_VIEW("{\"n\":1}"));
    CHECK_VIEW(mg_buf_view(&world.client.name[2]), MG_VIEW("shut"));
    CHECK_VIEW(mg_buf_view(&world.client.arguments[2]), MG_VIEW("{}"));
    end();
}

TEST(several_calls_of_one_event_keep_their_ids_one_by_one)
{
    begin();
    feed(MG_VIEW(CALL("a", 0, "call_a", "find", "{}")));
    again();
    feed(MG_VIEW(CHUNK("b", "\"tool_calls\":[{\"index\":0,\"id\":\"call_b\",\"type\":\"function\",\"function\":{\"name\":\"find\","
                            "\"arguments\":\"{}\"}},{\"index\":1,\"id\":\"call_b1\",\"type\":\"function\",\"function\":{\"name\":\"open\","
                            "\"arguments\":\"{}\"}}],\"role\":\"assistant\"")));

    CHECK(!world.diverged);
    CHECK_VIEW(mg_buf_view(&world.client.call_id[0]), MG_VIEW("call_a"));
    CHECK_VIEW(mg_buf_view(&world.client.name[0]), MG_VIEW("find"));
    CHECK_VIEW(mg_buf_view(&world.client.call_id[1]), MG_VIEW("call_b1"));
    CHECK_VIEW(mg_buf_view(&world.client.role), MG_VIEW_NONE);
    end();
}

#define SECOND(id, text) "data: {\"id\":\"" id "\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"" text "\"}}]}\n\n"

TEST(two_choices_go_on_each_for_itself)
{
    begin();
    feed(MG_VIEW(SAYS("a", "one ") SECOND("a", "un ") SAYS("a", "two") ENDS("a", "stop")));
    again();
    feed(MG_VIEW(SECOND("b", "un de") SAYS("b", "one two") ENDS("b", "stop") SECOND("b", "ux")));

    CHECK(!world.diverged);
    CHECK_VIEW(mg_buf_view(&world.client.content), MG_VIEW("one two"));
    CHECK_VIEW(mg_buf_view(&world.client.finish), MG_VIEW("stop"));
    CHECK_VIEW(mg_buf_view(&world.client.second), MG_VIEW("un deux"));
    end();

    begin();
    feed(MG_VIEW(SAYS("a", "one") ENDS("a", "stop") SECOND("a", "un ")));
    again();
    feed(MG_VIEW(SECOND("b", "un ") SAYS("b", "one and more")));
    CHECK(world.diverged);
    CHECK_VIEW(mg_buf_view(&world.client.content), MG_VIEW("one"));
    end();
}

TEST(what_cannot_be_compared_or_kept_cannot_be_resumed)
{
    static const char *const events[] = {
        CHUNK("a", "\"refusal\":\"no\""),
        CHUNK("a", "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]"),
        CHUNK("a", "\"audio\":{\"data\":\"AAAA\"}"),
        CHUNK("a", "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}"),
    };
    for (size_t i = 0; i < MG_COUNT(events); i++) {
        begin();
        feed(MG_VIEW(SAYS("a", "one")));
        CHECK(mg_rescue_possible(world.rescue));
        feed(mg_view_cstr(events[i]));
        if (mg_rescue_possible(world.rescue))
            check_failed(__FILE__, __LINE__, "event %zu", i);
        feed(MG_VIEW(SAYS("a", "two")));
        CHECK(!mg_rescue_possible(world.rescue));
        end();
    }

    begin();
    for (int i = 0; i < 9; i++) {
        struct mg_buf event;
        mg_buf_init(&event, 4096);
        CHECK(mg_rescue_possible(world.rescue) == (i <= 8));
        CHECK_OK(mg_buf_putf(&event, "data: {\"id\":\"a\",\"choices\":[{\"index\":%d,\"delta\":{\"content\":\"x\"}}]}\n\n", i + 1));
        feed(mg_buf_view(&event));
        mg_buf_fini(&event);
    }
    CHECK(!mg_rescue_possible(world.rescue));
    end();
}

TEST(what_cannot_be_compared_is_handed_on_once_nothing_has_to_be_compared)
{
    begin();
    feed(MG_VIEW(ROLE("a") SAYS("a", "one")));
    again();
    feed(MG_VIEW(SAYS("b", "one")));
    struct mg_sse_event out;
    struct mg_tap_event seen, out_seen;
    mg_view data = MG_VIEW("{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"refusal\":\"I cannot\"}}]}");
    mg_tap_event(&world.tap, MG_VIEW_NONE, data, &seen);
    struct mg_sse_event event = {.data = data, .raw = data};

    CHECK_INT(mg_rescue_event(world.rescue, adapter_of_tests(), &event, &seen, &out, &out_seen), MG_RESUME_FORWARD);
    CHECK_VIEW(out.data, MG_VIEW("{\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"I cannot\"}}]}"));
    CHECK(!mg_rescue_possible(world.rescue));
    end();
}

TEST(a_call_that_the_new_attempt_began_is_left_as_it_comes)
{
    begin();
    feed(MG_VIEW(SAYS("a", "one")));
    again();
    feed(MG_VIEW(SAYS("b", "one") CALL("b", 0, "call_b", "fi", "{") CALL("b", 0, "", "nd", "}")));

    CHECK(!world.diverged);
    CHECK_VIEW(mg_buf_view(&world.client.name[0]), MG_VIEW("find"));
    CHECK_VIEW(mg_buf_view(&world.client.call_id[0]), MG_VIEW("call_b"));
    CHECK_VIEW(mg_buf_view(&world.client.arguments[0]), MG_VIEW("{}"));

    struct mg_sse_event out;
    struct mg_tap_event seen, out_seen;
    mg_view data = MG_VIEW("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_b\",\"function\":{\"arguments\":\" \"}}]}}]}");
    mg_tap_event(&world.tap, MG_VIEW_NONE, data, &seen);
    struct mg_sse_event event = {.data = data, .raw = data};
    CHECK_INT(mg_rescue_event(world.rescue, adapter_of_tests(), &event, &seen, &out, &out_seen), MG_RESUME_FORWARD);
    CHECK(out.data.ptr == data.ptr);
    end();
}

/* One event with that many letters. */
static void say_much(size_t bytes)
{
    struct mg_buf event;
    mg_buf_init(&event, CLIENT_BYTES);
    CHECK_OK(mg_buf_put(&event, MG_VIEW("data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")));
    for (size_t i = 0; i < bytes; i++)
        CHECK_OK(mg_buf_putc(&event, 'x'));
    CHECK_OK(mg_buf_put(&event, MG_VIEW("\"}}]}\n\n")));
    feed(mg_buf_view(&event));
    mg_buf_fini(&event);
}

TEST(keeps_a_bounded_text_and_goes_on_without_it)
{
    begin();
    say_much(MG_MAX_RESUMED_BYTES / 2);
    say_much(MG_MAX_RESUMED_BYTES / 2);
    CHECK(mg_rescue_possible(world.rescue));
    CHECK_INT(mg_rescue_bytes(world.rescue), MG_MAX_RESUMED_BYTES);

    again();
    say_much(MG_MAX_RESUMED_BYTES / 2);
    say_much(MG_MAX_RESUMED_BYTES / 2);
    CHECK(mg_rescue_possible(world.rescue) && !mg_rescue_matching(world.rescue));
    say_much(10);
    say_much(10);
    CHECK(!world.diverged && !mg_rescue_possible(world.rescue));
    CHECK_INT(world.client.content.len, MG_MAX_RESUMED_BYTES + 20);
    end();

    begin();
    say_much(MG_MAX_RESUMED_BYTES - 1);
    say_much(2);
    CHECK(!mg_rescue_possible(world.rescue));
    end();
}

/* ---- prefill --------------------------------------------------------------------------------- */

static struct mg_request request;

static void ask(const char *body)
{
    struct mg_json_error error;
    CHECK_OK(mg_request_scan(&request, &world.arena, mg_view_cstr(body), &error));
}

TEST(a_prefill_ends_the_conversation_with_what_was_sent)
{
    static const struct {
        const char *body, *want;
    } bodies[] = {
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"\\\"one\\\"\"}],\"stream\":true}"},
        {"{\"n\":1,\"messages\":[],\"model\":\"m\"}", "{\"n\":1,\"messages\":[{\"role\":\"assistant\",\"content\":\"\\\"one\\\"\"}],\"model\":\"m\"}"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}, {\"role\":\"assistant\",\"name\":\"x\",\"content\":\"Say: \"}]}",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}, {\"role\":\"assistant\",\"name\":\"x\",\"content\":\"Say: \\\"one\\\"\"}]}"},
    };
    for (size_t i = 0; i < MG_COUNT(bodies); i++) {
        struct mg_request prefilled;
        begin();
        feed(MG_VIEW(ROLE("a") SAYS("a", "\\\"on") SAYS("a", "e\\\"")));
        ask(bodies[i].body);
        struct mg_request before = request;
        CHECK_OK(mg_rescue_prefill_request(world.rescue, &request, &world.arena, &prefilled));

        CHECK_VIEW(prefilled.body, mg_view_cstr(bodies[i].want));
        CHECK(memcmp(&before, &request, sizeof before) == 0);
        CHECK_VIEW(request.body, mg_view_cstr(bodies[i].body));
        CHECK_INT(prefilled.stream, request.stream);
        end();
    }
}

TEST(what_comes_after_a_prefill_is_the_continuation)
{
    begin();
    feed(MG_VIEW(ROLE("a") SAYS("a", "one ")));
    again();
    feed(MG_VIEW(SAYS("b", "uno ")));
    CHECK(world.diverged);

    world.diverged = false;
    mg_rescue_prefill(world.rescue);
    feed(MG_VIEW(ROLE("c") CHUNK("c", "\"role\":\"assistant\",\"content\":\"two \"") SAYS("c", "three") ENDS("c", "stop") USAGE("c") DONE));

    CHECK(!world.diverged && !world.client.two_ids);
    CHECK_INT(world.suppressed, 1);    /* the role alone */
    CHECK_VIEW(mg_buf_view(&world.client.content), MG_VIEW("one two three"));
    CHECK_VIEW(mg_buf_view(&world.client.role), MG_VIEW("assistant"));
    CHECK_VIEW(mg_buf_view(&world.client.finish), MG_VIEW("stop"));
    CHECK_INT(world.client.usages, 1);
    end();
}

TEST(no_prefill_goes_on_with_what_is_not_one_plain_text)
{
    static const struct {
        const char *sent, *body;
    } refused[] = {
        {ROLE("a"), "{\"messages\":[]}"},
        {SAYS("a", "x"), "{\"prompt\":\"x\"}"},
        {SAYS("a", "x"), "{\"n\":2,\"messages\":[]}"},
        {SAYS("a", "x") SECOND("a", "y"), "{\"n\":2,\"messages\":[]}"},
        {THINKS("a", "x") SAYS("a", "x"), "{\"messages\":[]}"},
        {SAYS("a", "x") CALL("a", 0, "c", "f", ""), "{\"messages\":[]}"},
        {SECOND("a", "y"), "{\"messages\":[]}"},
    };
    for (size_t i = 0; i < MG_COUNT(refused); i++) {
        struct mg_request prefilled = {.stream = true};
        begin();
        feed(mg_view_cstr(refused[i].sent));
        ask(refused[i].body);
        if (mg_rescue_prefill_request(world.rescue, &request, &world.arena, &prefilled) != MG_E_PROTOCOL)
            check_failed(__FILE__, __LINE__, "row %zu", i);
        CHECK(prefilled.stream && !prefilled.body.len);
        end();
    }
}

MG_TEST_MAIN()
