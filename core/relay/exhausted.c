/* Of several failures the client reads the most useful one, what else was tried, and when to come back. */
#include "base/mem.h"
#include "relay/relay_parts.h"
#include "relay/translated.h"

static const char *target_id(const struct mg_relay *relay, int candidate)
{
    return relay->call.candidates[candidate].target->id;
}

/* What the client can do something about comes first, then what passes by itself, then what only the operator can mend. */
static int rank_of(enum mg_class class_)
{
    if (class_ == MG_CLASS_refusal)
        return 2;                      /* an answer, which the workflow did not want */
    switch (mg_class_blame(class_)) {
    case MG_BLAME_client: return 4;
    case MG_BLAME_provider: return 2;
    case MG_BLAME_account: return class_ == MG_CLASS_rate_limited ? 3 : 1;
    default: return 2;
    }
}

static bool is_json(const struct mg_attempt *attempt)
{
    return attempt->tap.error_message[0] && !attempt->tap.malformed;
}

static int failure_status(enum mg_class class_)
{
    int status = mg_class_status(class_);
    return status < 400 ? 502 : status;
}

static mg_view sentence(const struct mg_relay *relay, const struct mg_lane *lane, enum mg_class class_)
{
    const struct mg_attempt *attempt = &lane->attempt;
    const char *said = attempt->tap.error_message;
    const char *how = attempt->facts.timeout ? attempt->facts.timeout : attempt->facts.transport;
    return mg_arena_printf(arena(relay), "%s failed with %s%s%s%s%s%s (attempt %u of %u).", target_id(relay, lane->candidate),
                           mg_class_name(class_), how ? " (" : "", how ? how : "", how ? ")" : "", said[0] ? ": " : "", said,
                           lane->number, (unsigned)relay->max_attempts);
}

/* The provider's words in an error of the client's dialect: its own body would be in another. */
static void put_in_words(struct mg_relay *relay, const struct mg_attempt *attempt, enum mg_class class_)
{
    relay->result.message = mg_arena_dup(arena(relay), mg_view_cstr(attempt->tap.error_message));
    if (class_ == MG_CLASS_context_length)
        relay->result.code = MG_VIEW("context_length_exceeded");   /* what SDKs look for */
}

static bool must_act(enum mg_class class_)
{
    return class_ == MG_CLASS_auth || class_ == MG_CLASS_permission || class_ == MG_CLASS_quota_billing;
}

static bool says_no(const struct mg_attempt *attempt)
{
    return mg_view_ieq(mg_headers_get(attempt->headers, MG_VIEW("x-should-retry")), MG_VIEW("false"));
}

/* A client's own mistake, or what befell a key of its own, is told in the provider's words; a provider's failure in ours, naming the target. */
void mg_relay_remember(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict)
{
    const struct mg_attempt *attempt = &lane->attempt;
    bool own_key = lane->credential == MG_CREDENTIAL_CALLER && mg_class_blame(verdict->class_) == MG_BLAME_account;
    int rank = own_key ? 4 : rank_of(verdict->class_);
    if (rank < relay->rank)
        return;
    relay->rank = rank;
    relay->result = (struct mg_relay_result){
        .class_ = verdict->class_,
        .status = verdict->client_status ? verdict->client_status : failure_status(verdict->class_),
        .code = verdict->client_code.len ? verdict->client_code : mg_view_cstr(mg_class_name(verdict->class_)),
        .message = verdict->client_message,
        .retry_after_ms = attempt->facts.retry_after_ms,
        .in_vain = must_act(verdict->class_) || says_no(attempt),
    };
    bool mistake = mg_class_is_client_fault(verdict->class_) || (own_key && verdict->class_ != MG_CLASS_rate_limited);
    bool theirs = mistake && attempt->facts.status >= 400 && is_json(attempt) && !verdict->client_status;
    if (theirs) {
        int status = attempt->facts.status;      /* 429 and 5xx would make its SDK try again in vain */
        relay->result.status = status < 500 && (own_key || status != 429) ? status : mg_class_status(verdict->class_);
        bool theirs_alone = strcmp(mg_adapter_declaration(lane->adapter)->dialect, relay->call.call->dialect) != 0;
        if (mg_lane_answers_translated(lane) || theirs_alone)
            put_in_words(relay, attempt, verdict->class_);
        else
            relay->result.body = mg_arena_dup(arena(relay), mg_buf_view(&attempt->body));
    }
    if (!relay->result.message.len)
        relay->result.message = sentence(relay, lane, verdict->class_);
}

/* "Tried: a/x server_error 500; b/y timeout_ttft." for errors after more than one attempt. */
static mg_view summary(const struct mg_relay *relay)
{
    const struct mg_timeline *timeline = relay->call.call->timeline;
    struct mg_buf text;
    mg_buf_init(&text, 2048);
    mg_err err = mg_buf_put(&text, MG_VIEW(" Tried: "));
    for (unsigned i = 0; i < timeline->attempt_count && err == MG_OK; i++) {
        const struct mg_attempt_record *attempt = &timeline->attempts[i];
        err = mg_buf_putf(&text, "%s%.*s %s", i ? "; " : "", MG_FMT(attempt->target), mg_class_name(attempt->class_));
        if (err == MG_OK && attempt->status)
            err = mg_buf_putf(&text, " %u", attempt->status);
    }
    mg_view out = mg_arena_printf(arena(relay), "%.*s.", MG_FMT(mg_buf_view(&text)));
    mg_buf_fini(&text);
    return out;
}

/* When the first of the targets can be asked again; 0: unknown, or one can be asked now. */
static uint64_t back_in_ms(const struct mg_relay *relay)
{
    uint64_t now = mg_loop_now_us(relay->call.call->loop), first = UINT64_MAX;
    for (int i = 0; i < relay->call.route->count; i++) {
        uint64_t until = 0;
        mg_relay_reach_state(relay, i, &until);
        if (until <= now)
            return 0;
        first = MG_MIN(first, until);
    }
    return first == UINT64_MAX ? 0 : (first - now + 999) / 1000;
}

static void planned_error(struct mg_relay *relay, const char *why)
{
    const struct mg_plan *plan = relay->call.plan;
    relay->result.status = plan->exhausted_status;
    relay->result.code = plan->exhausted_code.len ? plan->exhausted_code : MG_VIEW("no_target");
    relay->result.message = mg_arena_printf(arena(relay), "No target could answer: %s.", why);
    relay->result.body = MG_VIEW_NONE;
    relay->result.retry_after_ms = (uint64_t)plan->exhausted_retry_after_s * 1000;
}

/* Not one attempt: the deadline was over before it began, or every target is being left alone. Of a benched key the
 * client reads what benched it. */
static void never_asked(struct mg_relay *relay, const char *why)
{
    bool late = mg_loop_now_us(relay->call.call->loop) >= relay->deadline_us;
    bool benched = mg_class_blame(relay->refused_class) == MG_BLAME_account;
    relay->result.class_ = late ? MG_CLASS_timeout_total : benched ? relay->refused_class : MG_CLASS_overloaded;
    relay->result.in_vain = !late && must_act(relay->result.class_);
    relay->result.status = late ? 504 : mg_class_status(relay->result.class_);
    relay->result.code = late ? MG_VIEW("deadline_exceeded")
                         : benched ? mg_view_cstr(mg_class_name(relay->refused_class)) : MG_VIEW("no_target_available");
    relay->result.message = relay->refused_text.len
                                ? mg_arena_printf(arena(relay), "No attempt was made: %s (%.*s).", why, MG_FMT(relay->refused_text))
                                : mg_arena_printf(arena(relay), "No attempt was made: %s.", why);
}

/* Nobody's dialect has a word for something that was asked. */
static void never_said(struct mg_relay *relay)
{
    const struct mg_translation_report *report = &relay->unsayable;
    relay->result.class_ = MG_CLASS_invalid_request;
    relay->result.status = 400;
    relay->result.code = report->code.len ? report->code : MG_VIEW("unsupported_parameter");
    relay->result.param = report->param;
    relay->result.message = mg_arena_printf(arena(relay), "'%.*s' %.*s.%s", MG_FMT(report->param), MG_FMT(report->message),
                                            report->always ? "" : " Send the header 'x-moongate-lenient: true' to have it left out.");
}

/* Who is told "too many" or "not now" is told when, too: by the providers, their breakers and benches; where none of them
 * says, by what the class waits for. */
static uint64_t retry_after_ms(const struct mg_relay *relay)
{
    const struct mg_relay_result *result = &relay->result;
    if (mg_class_is_client_fault(result->class_))
        return result->retry_after_ms;
    bool later = result->status == 429 || result->status == 503;
    uint64_t told_ms = MG_MAX(result->retry_after_ms, back_in_ms(relay));
    return told_ms || !later ? told_ms : MG_MAX(mg_class_delay_ms(result->class_), 1000u);
}

void mg_relay_exhausted(struct mg_relay *relay, const char *why)
{
    struct mg_relay_result *result = &relay->result;
    mg_timeline_note(relay->call.call->timeline, mg_loop_now_us(relay->call.call->loop), "exhausted", "%s", why);
    if (relay->call.plan->exhausted_status) {
        planned_error(relay, why);
        return;
    }
    if (relay->made == 0 && relay->unsayable.message.len)
        never_said(relay);
    else if (relay->made == 0)
        never_asked(relay, why);
    else if (relay->made > 1 && !result->body.len)
        result->message = mg_arena_printf(arena(relay), "%.*s%.*s", MG_FMT(result->message), MG_FMT(summary(relay)));
    result->retry_after_ms = retry_after_ms(relay);
}
