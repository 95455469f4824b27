#include "watch/trace.h"

#include <stdio.h>

#include "base/mem.h"
#include "meter/charge.h"
#include "meter/ledger.h"
#include "watch/json_out.h"
#include "watch/search.h"

mg_err mg_watch_trace(struct mg_search *search, mg_view id, struct mg_buf *bytes, struct mg_timeline *out_timeline,
                      bool *out_interrupted)
{
    int64_t flags;
    mg_buf_clear(bytes);
    MG_TRY(mg_search_detail(search, id, bytes, &flags));
    *out_interrupted = flags & MG_ROW_INTERRUPTED;
    return mg_ledger_decode(mg_buf_view(bytes), out_timeline) == MG_OK ? MG_OK : MG_E_STORE;
}

/* ---- to JSON */

static void put_marks(struct mg_json_out *out, const struct mg_attempt_record *attempt)
{
    mg_json_out_open(out, "marks", '{');
    for (unsigned i = 0; i < MG_MARK_COUNT; i++)
        if (attempt->mark_us[i] > 0)
            mg_json_out_number(out, mg_mark_name((enum mg_mark)i), attempt->mark_us[i]);
    mg_json_out_close(out, '}');
}

static void put_usage(struct mg_json_out *out, const struct mg_usage *usage)
{
    mg_json_out_open(out, "usage", '{');
    mg_json_out_number(out, "input_tokens", usage->input_tokens);
    mg_json_out_number(out, "output_tokens", usage->output_tokens);
    mg_json_out_number(out, "cached_read_tokens", usage->cached_read_tokens);
    mg_json_out_number(out, "cached_write_tokens", usage->cached_write_tokens);
    mg_json_out_number(out, "reasoning_tokens", usage->reasoning_tokens);
    mg_json_out_bool(out, "reported", usage->reported);
    mg_json_out_close(out, '}');
}

static void put_attempt(struct mg_json_out *out, const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    mg_json_out_open(out, NULL, '{');
    mg_json_out_number(out, "number", attempt->number);
    mg_json_out_number(out, "entry", attempt->entry);
    mg_json_out_text(out, "reason", mg_view_cstr(mg_reason_name(attempt->reason)));
    mg_json_out_text(out, "target", attempt->target);
    mg_json_out_text(out, "provider", attempt->provider);
    mg_json_out_text(out, "model", attempt->model);
    mg_json_out_text(out, "model_served", attempt->served.len ? attempt->served : attempt->model);
    mg_json_out_text(out, "tier", attempt->tier);
    mg_json_out_text(out, "arm", attempt->arm);
    mg_json_out_text(out, "dialect", attempt->dialect);
    mg_json_out_text(out, "credential", attempt->credential);
    mg_json_out_text(out, "why", attempt->why);
    mg_json_out_text(out, "address", attempt->address);
    mg_json_out_bool(out, "reused", attempt->reused);
    mg_json_out_bool(out, "redialed", attempt->redialed);
    mg_json_out_number(out, "waited_us", attempt->waited_us);
    mg_json_out_number(out, "start_us", attempt->start_us);
    mg_json_out_number(out, "end_us", attempt->end_us);
    put_marks(out, attempt);
    mg_json_out_number(out, "status", attempt->status);
    mg_json_out_text(out, "class", mg_view_cstr(mg_class_name(attempt->class_)));
    mg_json_out_text(out, "action", mg_view_cstr(mg_action_name(attempt->action)));
    mg_json_out_text(out, "error", attempt->error);
    mg_json_out_number(out, "bytes_sent", attempt->bytes_sent);
    mg_json_out_number(out, "bytes_received", attempt->bytes_received);
    mg_json_out_number(out, "resumed_bytes", attempt->resumed_bytes);
    mg_json_out_number(out, "cost_microusd", attempt->cost_microusd);
    mg_json_out_bool(out, "priced", attempt->priced);
    mg_json_out_bool(out, "charged", mg_charge_is(timeline, attempt));
    put_usage(out, &attempt->usage);
    mg_json_out_close(out, '}');
}

/* A client may call anything metadata; only an object stands here unquoted. */
static void put_metadata(struct mg_json_out *out, mg_view metadata)
{
    struct mg_json *tree = NULL;
    if (metadata.len > 0 && mg_json_parse(metadata, MG_MAX_METADATA_BYTES, &tree, NULL) == MG_OK &&
        mg_json_is(tree, MG_JSON_OBJECT)) {
        mg_json_out_key(out, "metadata");
        if (out->err == MG_OK)
            out->err = mg_json_print(tree, out->buf);
    } else {
        mg_json_out_text(out, "metadata", metadata);
    }
    mg_json_free(tree);
}

static void put_notes(struct mg_json_out *out, const struct mg_timeline *timeline)
{
    mg_view rest = mg_view_of(timeline->note, timeline->note_bytes);
    mg_json_out_open(out, "notes", '[');
    while (rest.len > 0) {
        uint64_t at = 0;
        mg_view line = mg_view_cut(&rest, '\n');
        mg_view_u64(mg_view_cut(&line, ' '), &at);
        mg_json_out_open(out, NULL, '{');
        mg_json_out_number(out, "at_us", at);
        mg_json_out_text(out, "kind", mg_view_cut(&line, ' '));
        mg_json_out_text(out, "text", line);
        mg_json_out_close(out, '}');
    }
    mg_json_out_close(out, ']');
}

static uint64_t cost_of(const struct mg_timeline *timeline)
{
    uint64_t cost = 0;
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        cost += timeline->attempts[i].cost_microusd;
    return cost;
}

static void put_front(struct mg_json_out *out, const struct mg_timeline *timeline, bool interrupted)
{
    uint64_t duration = mg_timeline_duration_us(timeline);
    mg_json_out_text(out, "id", mg_view_cstr(timeline->id));
    mg_json_out_number(out, "start_us", timeline->start_wall_us);
    mg_json_out_text(out, "project", timeline->project);
    mg_json_out_text(out, "workflow", timeline->workflow);
    mg_json_out_text(out, "key_id", timeline->key_id);
    mg_json_out_text(out, "path", timeline->path);
    mg_json_out_text(out, "client", timeline->client);
    mg_json_out_text(out, "user_agent", timeline->user_agent);
    mg_json_out_text(out, "session", timeline->session);
    mg_json_out_number(out, "generation", timeline->generation);
    mg_json_out_number(out, "status", timeline->status);
    mg_json_out_text(out, "class", mg_view_cstr(mg_class_name(timeline->class_)));
    mg_json_out_text(out, "error_code", timeline->error_code);
    mg_json_out_bool(out, "stream", timeline->stream);
    mg_json_out_bool(out, "clean", timeline->clean);
    mg_json_out_bool(out, "offline", timeline->offline);
    mg_json_out_bool(out, "interrupted", interrupted);
    mg_json_out_number(out, "duration_us", duration);
    mg_json_out_number(out, "upstream_us", timeline->upstream_us);
    mg_json_out_number(out, "overhead_us", duration - MG_MIN(duration, timeline->upstream_us));
    mg_json_out_number(out, "plugin_us", timeline->plugin_us);
    mg_json_out_number(out, "bytes_in", timeline->bytes_in);
    mg_json_out_number(out, "bytes_out", timeline->bytes_out);
    mg_json_out_number(out, "cost_microusd", cost_of(timeline));
    mg_json_out_text(out, "explain", timeline->explain);
}

mg_err mg_watch_timeline_json(const struct mg_timeline *timeline, bool interrupted,
                              struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    char hash[20];
    int n = snprintf(hash, sizeof hash, "%016" PRIx64, timeline->body_hash);

    mg_json_out_open(&json, NULL, '{');
    put_front(&json, timeline, interrupted);
    mg_json_out_text(&json, "body_hash",
                     timeline->body_hash ? mg_view_of(hash, (size_t)n) : MG_VIEW_NONE);
    put_metadata(&json, timeline->metadata);
    mg_json_out_open(&json, "phases", '{');
    for (unsigned i = 0; i < MG_PHASE_COUNT; i++)
        if (timeline->phase_us[i] > 0)
            mg_json_out_number(&json, mg_phase_name((enum mg_phase)i), timeline->phase_us[i]);
    mg_json_out_close(&json, '}');
    mg_json_out_open(&json, "attempts", '[');
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        put_attempt(&json, timeline, &timeline->attempts[i]);
    mg_json_out_close(&json, ']');
    put_notes(&json, timeline);
    mg_json_out_close(&json, '}');
    return mg_json_out_end(&json);
}

mg_err mg_watch_trace_json(struct mg_search *search, mg_view id, struct mg_buf *out)
{
    struct mg_timeline *timeline = mg_new(struct mg_timeline);
    struct mg_buf bytes;
    bool interrupted;
    mg_buf_init(&bytes, MG_TRACE_DETAIL_BYTES);
    mg_err err = mg_watch_trace(search, id, &bytes, timeline, &interrupted);
    if (err == MG_OK)
        err = mg_watch_timeline_json(timeline, interrupted, out);
    mg_buf_fini(&bytes);
    mg_free(timeline);
    return err;
}

/* ---- from JSON */

static uint64_t number(const struct mg_json *object, const char *key)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_get(object, key), &value) && value > 0 ? (uint64_t)value : 0;
}

static mg_view text(const struct mg_json *object, const char *key)
{
    return mg_json_string(mg_json_get(object, key));
}

static bool truth(const struct mg_json *object, const char *key)
{
    return mg_json_bool(mg_json_get(object, key), false);
}

static enum mg_class class_of(const struct mg_json *object)
{
    enum mg_class class_ = MG_CLASS_none;
    mg_class_find(text(object, "class"), &class_);
    return class_;
}

static void get_usage(const struct mg_json *object, struct mg_usage *out_usage)
{
    *out_usage = (struct mg_usage){
        .input_tokens = number(object, "input_tokens"),
        .output_tokens = number(object, "output_tokens"),
        .cached_read_tokens = number(object, "cached_read_tokens"),
        .cached_write_tokens = number(object, "cached_write_tokens"),
        .reasoning_tokens = number(object, "reasoning_tokens"),
        .reported = truth(object, "reported"),
    };
}

static void get_attempt(const struct mg_json *object, struct mg_attempt_record *out_attempt)
{
    struct mg_attempt_record *attempt = out_attempt;
    *attempt = (struct mg_attempt_record){
        .start_us = number(object, "start_us"),
        .end_us = number(object, "end_us"),
        .target = text(object, "target"),
        .provider = text(object, "provider"),
        .model = text(object, "model"),
        .why = text(object, "why"),
        .error = text(object, "error"),
        .address = text(object, "address"),
        .served = text(object, "model_served"),
        .tier = text(object, "tier"),
        .arm = text(object, "arm"),
        .dialect = text(object, "dialect"),
        .credential = text(object, "credential"),
        .waited_us = number(object, "waited_us"),
        .resumed_bytes = number(object, "resumed_bytes"),
        .cost_microusd = number(object, "cost_microusd"),
        .class_ = class_of(object),
        .status = (uint16_t)number(object, "status"),
        .number = (uint16_t)number(object, "number"),
        .entry = (uint16_t)number(object, "entry"),
        .reused = truth(object, "reused"),
        .redialed = truth(object, "redialed"),
        .priced = truth(object, "priced"),
        .bytes_sent = number(object, "bytes_sent"),
        .bytes_received = number(object, "bytes_received"),
    };
    mg_action_find(text(object, "action"), &attempt->action);
    for (unsigned i = 0; i < MG_REASON_COUNT; i++)
        if (mg_view_eq(text(object, "reason"), mg_view_cstr(mg_reason_name((enum mg_reason)i))))
            attempt->reason = (enum mg_reason)i;
    for (unsigned i = 0; i < MG_MARK_COUNT; i++)
        attempt->mark_us[i] = number(mg_json_get(object, "marks"), mg_mark_name((enum mg_mark)i));
    get_usage(mg_json_get(object, "usage"), &attempt->usage);
}

static void get_notes(const struct mg_json *array, struct mg_timeline *out_timeline)
{
    size_t room = sizeof out_timeline->note, len = 0;
    for (const struct mg_json *note = mg_json_first(array); note; note = mg_json_next(note)) {
        int n =
            snprintf(out_timeline->note + len, room - len, "%" PRIu64 " %.*s %.*s\n",
                     number(note, "at_us"), MG_FMT(text(note, "kind")), MG_FMT(text(note, "text")));
        if (n < 0 || (size_t)n >= room - len)
            break;
        len += (size_t)n;
    }
    out_timeline->note_bytes = (uint16_t)len;
}

mg_err mg_watch_timeline_parse(const struct mg_json *object, struct mg_timeline *out_timeline,
                               bool *out_interrupted)
{
    struct mg_timeline *timeline = out_timeline;
    mg_view id = text(object, "id");
    memset(timeline, 0, sizeof *timeline);
    if (id.len == 0 || id.len >= sizeof timeline->id)
        return MG_E_PROTOCOL;
    memcpy(timeline->id, id.ptr, id.len);
    timeline->start_wall_us = number(object, "start_us");
    timeline->project = text(object, "project");
    timeline->workflow = text(object, "workflow");
    timeline->key_id = text(object, "key_id");
    timeline->path = text(object, "path");
    timeline->client = text(object, "client");
    timeline->user_agent = text(object, "user_agent");
    timeline->session = text(object, "session");
    timeline->error_code = text(object, "error_code");
    timeline->explain = text(object, "explain");
    timeline->generation = (uint32_t)number(object, "generation");
    timeline->status = (uint16_t)number(object, "status");
    timeline->class_ = class_of(object);
    timeline->stream = truth(object, "stream");
    timeline->clean = truth(object, "clean");
    timeline->offline = truth(object, "offline");
    timeline->upstream_us = number(object, "upstream_us");
    timeline->plugin_us = number(object, "plugin_us");
    timeline->bytes_in = number(object, "bytes_in");
    timeline->bytes_out = number(object, "bytes_out");
    for (unsigned i = 0; i < MG_PHASE_COUNT; i++)
        timeline->phase_us[i] =
            number(mg_json_get(object, "phases"), mg_phase_name((enum mg_phase)i));
    const struct mg_json *attempt = mg_json_first(mg_json_get(object, "attempts"));
    for (; attempt && timeline->attempt_count < MG_MAX_ATTEMPTS; attempt = mg_json_next(attempt))
        get_attempt(attempt, &timeline->attempts[timeline->attempt_count++]);
    get_notes(mg_json_get(object, "notes"), timeline);
    *out_interrupted = truth(object, "interrupted");
    return MG_OK;
}
