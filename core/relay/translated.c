#include "relay/translated.h"

#include "base/clock.h"
#include "config/known.h"
#include "relay/raw.h"
#include "relay/relay_parts.h"
#include "relay/task.h"

const struct mg_adapter *mg_relay_adapter(const struct mg_relay *relay, int candidate)
{
    const struct mg_upstream *upstream = relay->call.route->upstreams[candidate];
    if (relay->call.raw)
        return relay->call.raw->adapter;
    if (relay->call.task)
        return mg_task_adapter(upstream, relay->call.call->dialect, relay->call.surface, relay->call.task);
    return mg_upstream_adapter(upstream, relay->call.call->dialect, relay->call.surface);
}

static bool differs(const struct mg_relay *relay, const struct mg_adapter *adapter)
{
    return strcmp(mg_adapter_declaration(adapter)->dialect, relay->call.call->dialect) != 0;
}

static bool holds(mg_view body, char rare, size_t before, const char *word)
{
    size_t len = strlen(word);
    const char *end = body.ptr + body.len;
    for (const char *at = body.ptr; at && at < end; at++) {
        at = memchr(at, rare, (size_t)(end - at));
        if (!at)
            return false;
        if ((size_t)(at - body.ptr) >= before && (size_t)(end - at) + before >= len && memcmp(at - before, word, len) == 0)
            return true;
    }
    return false;
}

/* State of another vendor that a client sends back, as dialect.pack() in lua/moongate/dialect.lua writes it; Gemini's clients
 * decode it, and so it stands in base64 there. Looked for by a byte that is rare in prose: requests are long. */
static bool look_for_state(const struct mg_relay *relay, const struct mg_request *source)
{
    if (strcmp(relay->call.call->dialect, "gemini") == 0)
        return holds(source->body, 'W', 1, "bWcxO");
    return holds(source->body, ':', 3, "mg1:");
}

/* It is asked of each target, and looked for once. */
static bool carries_state(struct mg_relay *relay, const struct mg_request *source)
{
    if (relay->looked_through != source) {
        relay->looked_through = source;
        relay->has_state = look_for_state(relay, source);
    }
    return relay->has_state;
}

/* Also a conversation that began at another vendor, and goes on at one of the client's dialect. */
static bool translates(struct mg_relay *relay, const struct mg_adapter *adapter, const struct mg_request *source)
{
    bool may_differ = relay->call.converse || relay->call.task;
    return may_differ && (differs(relay, adapter) || carries_state(relay, source));
}

bool mg_lane_writes_on(const struct mg_lane *lane)
{
    return lane->reason == MG_REASON_rescue && lane->relay->call.reweaves;
}

bool mg_lane_answers_translated(const struct mg_lane *lane)
{
    return lane->translated && (!lane->translated->same || mg_lane_writes_on(lane));
}

/* ---- the request ------------------------------------------------------------------------------- */

void mg_relay_describe(const struct mg_relay *relay, int candidate, const struct mg_request *source, struct mg_translation *out)
{
    const struct mg_call *call = relay->call.call;
    const struct mg_adapter_decl *decl = mg_adapter_declaration(mg_relay_adapter(relay, candidate));
    const struct mg_config_target *target = target_of(relay, candidate);
    mg_view model = mg_view_cstr(target->model);
    *out = (struct mg_translation){
        .client = call->dialect,
        .provider = decl->dialect,
        .vendor = decl->name,
        .task = relay->call.task,
        .model = mg_view_eq(model, MG_VIEW("*")) ? source->model : model,
        .asked_model = source->model,
        .id = mg_view_skip(mg_view_cstr(call->timeline->id), sizeof "req_" - 1),
        .request = source->body,
        .created_s = call->timeline->start_wall_us / 1000000,
        .max_output = target->max_output,
        .prefill = target->prefill,
        .stream = source->stream,
        .include_usage = source->wants_usage,
        .lenient = relay->call.lenient,
    };
    out->known = mg_target_known(relay->call.route->config, target, out->model);
    if (!out->max_output && out->known)
        out->max_output = out->known->max_output;
}

static mg_err translate(struct mg_relay *relay, struct mg_relay_translated *row)
{
    const struct mg_translator *translator = relay->call.translator;
    struct mg_json_error error = {0, ""};
    mg_view body = MG_VIEW_NONE;
    MG_TRY(translator->ops->request(translator->arg, &row->what, arena(relay), &body, &row->report));
    row->what.memo = row->report.memo;
    mg_err err = mg_request_scan_as(&row->request, arena(relay), row->what.provider, body, &error);
    row->request.stream = row->source->stream;   /* some dialects say both in the path */
    if (!row->request.model.len)
        row->request.model = row->source->model;
    return err == MG_OK ? MG_OK : MG_E_SCRIPT;
}

static struct mg_relay_translated *row_of(struct mg_relay *relay, int candidate, const struct mg_request *source)
{
    for (struct mg_relay_translated *row = relay->translated; row; row = row->next)
        if (row->candidate == candidate && row->source == source)
            return row;
    struct mg_relay_translated *row = mg_arena_new(arena(relay), struct mg_relay_translated);
    row->candidate = candidate;
    row->same = !differs(relay, mg_relay_adapter(relay, candidate));
    row->source = source;
    row->next = relay->translated;
    relay->translated = row;
    mg_relay_describe(relay, candidate, source, &row->what);
    row->err = translate(relay, row);
    if (row->report.dropped.len)
        mg_timeline_note(timeline(relay), now_us(relay), "translate", "%s has no word for %.*s",
                         row->what.provider, MG_FMT(row->report.dropped));
    return row;
}

static const struct mg_request *source_of(const struct mg_relay *relay)
{
    return relay->prefill ? relay->prefill : &relay->call.call->request;
}

/* The client's own operation, or one of the same task in another dialect. */
static bool can_be_asked(const struct mg_relay *relay, const struct mg_adapter *adapter)
{
    return differs(relay, adapter) ? mg_task_operation(adapter, relay->call.task) != NULL
                                   : mg_adapter_operation(adapter, relay->call.surface) != NULL;
}

/* A provider may have chats and no pictures. */
static bool offers(struct mg_relay *relay, const struct mg_adapter *adapter, bool translated, mg_view *out_text)
{
    if (relay->call.raw)
        return true;                   /* whatever it is: the vendor answers */
    if (relay->call.task ? can_be_asked(relay, adapter) : translated || mg_adapter_operation(adapter, relay->call.surface))
        return true;
    *out_text = mg_arena_printf(arena(relay), "the adapter %s offers no %s", mg_adapter_declaration(adapter)->name, relay->call.surface);
    relay->unsayable = (struct mg_translation_report){
        .param = MG_VIEW("model"),
        .message = mg_arena_printf(arena(relay), "names nobody who has that: %.*s", MG_FMT(*out_text)),
        .always = true,
    };
    return false;
}

bool mg_relay_can_say(struct mg_relay *relay, int candidate, mg_view *out_text)
{
    const struct mg_adapter *adapter = mg_relay_adapter(relay, candidate);
    bool translated = translates(relay, adapter, source_of(relay));
    *out_text = MG_VIEW_NONE;
    if (!offers(relay, adapter, translated, out_text))
        return false;
    if (!translated)
        return true;
    struct mg_relay_translated *row = row_of(relay, candidate, source_of(relay));
    if (row->err == MG_OK)
        return true;
    if (row->err == MG_E_BAD_REQUEST && row->report.message.len) {
        relay->unsayable = row->report;
        *out_text = mg_arena_printf(arena(relay), "'%.*s' %.*s", MG_FMT(row->report.param), MG_FMT(row->report.message));
    } else {
        *out_text = mg_arena_printf(arena(relay), "the request could not be put into the dialect %s", row->what.provider);
    }
    return false;
}

mg_err mg_lane_translate(struct mg_lane *lane, const struct mg_request *request, const struct mg_request **out_request)
{
    struct mg_relay *relay = lane->relay;
    bool needed = translates(relay, lane->adapter, request);
    lane->translated = NULL;
    *out_request = request;
    if (!needed && !mg_lane_writes_on(lane))
        return MG_OK;
    lane->translated = row_of(relay, lane->candidate, request);
    if (!needed)
        return MG_OK;                  /* the request goes as it is; the answer is written on all the same */
    *out_request = &lane->translated->request;
    return lane->translated->err;
}

/* ---- the answer -------------------------------------------------------------------------------- */

/* What came is no answer that this client could read. */
static void untranslatable(struct mg_lane *lane, const char *why)
{
    struct mg_attempt *attempt = &lane->attempt;
    mg_timeline_note(timeline(lane->relay), now_us(lane->relay), "translate", "%s", why);
    mg_attempt_spoil(attempt, MG_CLASS_invalid_json, why);
}

static mg_err begin(struct mg_lane *lane, const struct mg_weave_ops *ops)
{
    const struct mg_relay_call *call = &lane->relay->call;
    MG_TRY(mg_weave_new(call->translator, &lane->translated->what, call->client_adapter, ops, lane, &lane->weave));
    if (!mg_lane_writes_on(lane))
        return MG_OK;
    mg_err err = mg_weave_resume(lane->weave, mg_sent_view(lane->relay->sent), lane->relay->prefill);
    if (err != MG_OK) {
        mg_weave_free(lane->weave);
        lane->weave = NULL;
    }
    return err;
}

static bool weave_of(struct mg_lane *lane, const struct mg_weave_ops *ops)
{
    if (lane->weave || begin(lane, ops) == MG_OK)
        return true;
    untranslatable(lane, "the stream could not be put into the client's dialect");
    return false;
}

static void woven(struct mg_lane *lane, mg_err err, const char *why)
{
    if (err == MG_OK || !lane->busy)
        return;
    if (err == MG_E_EXISTS)
        mg_relay_diverged(lane->relay, lane);
    else
        untranslatable(lane, why);
}

void mg_lane_translate_event(struct mg_lane *lane, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                             const struct mg_weave_ops *ops)
{
    if (event->is_comment) {
        ops->emit(lane, event, seen);
        return;
    }
    if (weave_of(lane, ops))
        woven(lane, mg_weave_event(lane->weave, &lane->attempt.tap, event, seen), "an event could not be put into the client's dialect");
}

void mg_lane_translate_end(struct mg_lane *lane)
{
    if (lane->weave)
        woven(lane, mg_weave_end(lane->weave, &lane->attempt.tap), "the end of the stream could not be put into the client's dialect");
}

bool mg_lane_translate_body(struct mg_lane *lane, mg_view body, mg_view *out_body)
{
    const struct mg_translator *translator = lane->relay->call.translator;
    if (translator->ops->answer(translator->arg, &lane->translated->what, arena(lane->relay), body, out_body) == MG_OK)
        return true;
    untranslatable(lane, "the answer could not be put into the client's dialect");
    return false;
}
