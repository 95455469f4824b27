#include "gateway/offline.h"

#include <inttypes.h>
#include <string.h>

#include "gateway/keeping.h"
#include "gateway/last_good.h"
#include "gateway/respond.h"
#include "gateway/surface.h"

static const struct mg_config_offline *wanted(const struct mg_exchange *x)
{
    return &x->route->workflow->offline;
}

static void key_of(const struct mg_exchange *x, struct mg_last_good_key *out_key)
{
    mg_last_good_key(x->call.project, mg_view_cstr(x->surface->name), x->call.request.body, out_key);
}

static void free_copy(void *arg)
{
    mg_buf_fini(arg);
}

void mg_offline_begin(struct mg_exchange *x)
{
    if (!wanted(x)->last_good_ms || !x->call.request.stream || x->answer.copy)
        return;
    struct mg_buf *copy = mg_arena_new(&x->arena, struct mg_buf);
    mg_buf_init(copy, MG_LAST_GOOD_ANSWER_BYTES);
    mg_arena_cleanup(&x->arena, free_copy, copy);
    x->answer.copy = copy;
}

void mg_offline_keep(struct mg_exchange *x)
{
    struct mg_last_good_key key;
    mg_view answer = x->answer.copy ? mg_buf_view(x->answer.copy) : MG_VIEW_NONE;
    if (!answer.len)
        answer = x->whole;
    if (!wanted(x)->last_good_ms || !answer.len || mg_relay_attempt(&x->relay)->facts.status != 200)
        return;
    key_of(x, &key);
    mg_last_good_put(&key, answer, mg_exchange_now(x), wanted(x)->last_good_ms);
}

/* ---- the mark -------------------------------------------------------------------------------- */

/* Where the first event's JSON begins; the length of the stream when none does. */
static size_t first_brace(mg_view answer)
{
    size_t at = 0;
    while (at < answer.len) {
        mg_view line = mg_view_skip(answer, at);
        mg_view data = mg_view_starts(line, MG_VIEW("data:")) ? mg_view_skip(line, 5) : MG_VIEW_NONE;
        size_t blank = data.len && data.ptr[0] == ' ';
        if (data.len > blank && data.ptr[blank] == '{')
            return at + 5 + blank;
        at += mg_view_find(line, "\r\n") + 1;
    }
    return answer.len;
}

mg_view mg_offline_mark(struct mg_arena *arena, mg_view answer, mg_view mark)
{
    size_t blanks = 0;
    while (blanks < answer.len && strchr(" \t\r\n", answer.ptr[blanks]))
        blanks++;
    size_t at = blanks < answer.len && answer.ptr[blanks] == '{' ? blanks : first_brace(answer);
    if (at >= answer.len)
        return answer;
    mg_view before = mg_view_head(answer, at + 1), after = mg_view_skip(answer, at + 1);
    size_t next = 0;
    while (next < after.len && strchr(" \t\r\n", after.ptr[next]))
        next++;
    bool alone = next < after.len && after.ptr[next] == '}';
    return mg_arena_printf(arena, "%.*s%.*s%s%.*s", MG_FMT(before), MG_FMT(mark), alone ? "" : ",", MG_FMT(after));
}

/* ---- answering ------------------------------------------------------------------------------- */

static void answer_as(struct mg_exchange *x, mg_view body, const char *how)
{
    bool json = body.len && body.ptr[0] == '{';
    mg_exchange_lines(x, false);
    if (mg_http_put_header(&x->lines, MG_VIEW("x-moongate-offline"), mg_view_cstr(how)) != MG_OK ||
        mg_http_put_header(&x->lines, MG_VIEW("content-type"),
                           json ? MG_VIEW("application/json") : MG_VIEW("text/event-stream")) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "some header lines of the answer were left out");
    x->timeline->offline = true;
    mg_exchange_answer(x, 200, mg_buf_view(&x->lines), body);
}

static void answer_kept(struct mg_exchange *x)
{
    answer_as(x, x->keeping->own, x->keeping->own_type.ptr);
}

static bool answer_last_good(struct mg_exchange *x)
{
    struct mg_last_good_key key;
    uint64_t age_ms = 0;
    if (!wanted(x)->last_good_ms)
        return false;
    key_of(x, &key);
    mg_view answer = mg_last_good_get(&key, mg_exchange_now(x), wanted(x)->last_good_ms, &x->arena, &age_ms);
    if (!answer.len)
        return false;
    mg_view mark = mg_arena_printf(&x->arena, "\"moongate\":{\"offline\":\"last_good\",\"age_ms\":%" PRIu64 "}", age_ms);
    mg_timeline_note(x->timeline, mg_exchange_now(x), "offline", "the last good answer, %" PRIu64 " ms old", age_ms);
    answer_as(x, mg_offline_mark(&x->arena, answer, mark), "last_good");
    return true;
}

/* A text is no answer to whom asked for vectors. */
static bool takes_text(const struct mg_exchange *x)
{
    return x->surface->converse || strcmp(x->surface->name, "completions") == 0;
}

static mg_view text_of_function(struct mg_exchange *x)
{
    const struct mg_relay_result *result = &x->relay.result;
    struct mg_exhausted exhausted = {.class_ = result->class_, .status = result->status, .code = result->code,
                                     .message = result->message, .attempts = x->timeline->attempt_count};
    mg_view text = MG_VIEW_NONE;
    if (!wanted(x)->has_answer || !x->live->policy->offline)
        return text;
    if (x->live->policy->offline(x->live->policy_arg, &x->call, &exhausted, &text) != MG_OK)
        return MG_VIEW_NONE;
    return text;
}

void mg_exchange_offline(struct mg_exchange *x, mg_view text, const char *how)
{
    mg_view mark = mg_arena_printf(&x->arena, ",\"moongate\":{\"offline\":\"%s\"}", how);
    mg_view body = mg_respond_document(x, text, mark);
    mg_timeline_note(x->timeline, mg_exchange_now(x), "offline", "answered by the workflow's %s", how);
    if (x->keeping) {
        x->keeping->own = body;
        x->keeping->own_type = mg_view_cstr(how);
    }
    if (body.len && x->keeping && !mg_keeping_save_own(x, body, answer_kept))
        return;
    if (body.len)
        answer_as(x, body, how);
    else
        mg_exchange_refuse(x, 500, "answer_too_large", "The workflow's offline answer has more text than is possible.");
}

bool mg_offline_answer(struct mg_exchange *x)
{
    const struct mg_config_offline *offline = wanted(x);
    bool any = offline->last_good_ms || offline->has_answer || offline->text;
    if (!any || mg_class_is_client_fault(x->relay.result.class_))
        return false;
    if (answer_last_good(x))
        return true;
    if (!takes_text(x))
        return false;
    mg_view text = text_of_function(x);
    const char *how = text.len ? "function" : "text";
    if (!text.len)
        text = mg_view_cstr(offline->text);
    if (!text.len)
        return false;
    mg_exchange_offline(x, text, how);
    return true;
}
