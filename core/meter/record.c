#include "meter/record.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"

/* Versions 2 to 4 added what stands at the end of started and settled records; a reader takes all. */
enum { VERSION = 4, FIRST_VERSION = 1 };

/* Bits of an attempt's and an exchange's flags. */
enum { REUSED = 1, REDIALED = 2, REPORTED = 4, PRICED = 8, OWN_PRICE = 16 };
enum { STREAM = 1, CLEAN = 2, OFFLINE = 4 };

static _Atomic uint64_t cut;

/* ---- writing: the caller's room is as large as the sum of the maxima */

static char *put_u8(char *at, unsigned value)
{
    *at = (char)value;
    return at + 1;
}

static char *put_number(char *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        at = put_u8(at, (unsigned)(value & 0x7f) | 0x80);
    return put_u8(at, (unsigned)value);
}

static char *put_hash(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put_numbers(char *at, const uint64_t *values, unsigned count)
{
    at = put_u8(at, count);
    for (unsigned i = 0; i < count; i++)
        at = put_number(at, values[i]);
    return at;
}

static char *put_text(char *at, mg_view text, size_t max)
{
    if (text.len > max)
        text.len = mg_view_utf8_floor(mg_view_head(text, max));
    at = put_number(at, text.len);
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    return at + text.len;
}

static char *put_front(char *at, const struct mg_timeline *timeline)
{
    at = put_u8(at, VERSION);
    return put_text(at, mg_view_cstr(timeline->id), MG_RECORD_ID);
}

static unsigned price_flags(const struct mg_attempt_record *attempt)
{
    return (attempt->priced ? PRICED : 0u) | (attempt->own_price ? OWN_PRICE : 0u);
}

static char *put_owner(char *at, const struct mg_timeline *timeline)
{
    at = put_text(at, timeline->project, MG_RECORD_PROJECT);
    at = put_text(at, timeline->workflow, MG_RECORD_WORKFLOW);
    return put_text(at, timeline->key_id, MG_RECORD_KEY);
}

/* The first attempt tells it of the exchange, which may never have a record of its own. */
static char *put_whose(char *at, const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    bool tells = attempt->number == 1 && !timeline->redacted;
    bool fits = timeline->metadata.len <= MG_RECORD_FIRST_METADATA;
    at = put_text(at, tells ? timeline->session : MG_VIEW_NONE, MG_RECORD_STRING);
    return put_text(at, tells && fits ? timeline->metadata : MG_VIEW_NONE, MG_RECORD_FIRST_METADATA);
}

size_t mg_record_encode_started(char *out, const struct mg_timeline *timeline,
                                const struct mg_attempt_record *attempt, uint64_t input_estimate)
{
    char *at = put_front(out, timeline);
    at = put_number(at, attempt->number);
    at = put_number(at, attempt->entry);
    at = put_u8(at, attempt->reason);
    at = put_number(at, timeline->generation);
    at = put_number(at, timeline->start_wall_us);
    at = put_number(at, attempt->start_us);
    at = put_number(at, input_estimate);
    at = put_owner(at, timeline);
    at = put_text(at, attempt->target, MG_RECORD_TARGET);
    at = put_text(at, attempt->provider, MG_RECORD_PROVIDER);
    at = put_text(at, attempt->model, MG_RECORD_MODEL);
    at = put_text(at, attempt->credential, MG_RECORD_CREDENTIAL);
    at = put_text(at, attempt->arm, MG_RECORD_ARM);
    at = put_text(at, attempt->dialect, MG_RECORD_DIALECT);
    at = put_u8(at, timeline->charges_all);
    at = put_u8(at, price_flags(attempt));
    at = put_number(at, attempt->cost_picousd);
    at = put_text(at, attempt->vendor, MG_RECORD_DIALECT);
    return (size_t)(put_whose(at, timeline, attempt) - out);
}

size_t mg_record_encode_redialed(char out[MG_RECORD_REDIALED_MAX], const struct mg_timeline *timeline,
                                 const struct mg_attempt_record *attempt)
{
    char *at = put_front(out, timeline);
    at = put_number(at, attempt->number);
    return (size_t)(at - out);
}

static char *put_usage(char *at, const struct mg_usage *usage)
{
    const uint64_t tokens[] = {usage->input_tokens, usage->output_tokens, usage->cached_read_tokens,
                               usage->cached_write_tokens, usage->reasoning_tokens,
                               usage->input_audio_tokens, usage->output_audio_tokens,
                               usage->images, usage->audio_ms, usage->characters, usage->searches};
    return put_numbers(at, tokens, mg_usage_units(usage) ? MG_COUNT(tokens) : MG_COUNT(tokens) - 4);
}

/* Who did not say when it ended ended with its last mark. */
static uint64_t end_of(const struct mg_attempt_record *attempt)
{
    uint64_t end = attempt->end_us;
    for (unsigned i = 0; end == 0 && i < MG_MARK_COUNT; i++)
        end = MG_MAX(end, attempt->mark_us[MG_MARK_COUNT - 1 - i]);
    return end;
}

size_t mg_record_encode_settled(char *out, const struct mg_timeline *timeline,
                                const struct mg_attempt_record *attempt, bool with_text)
{
    char *at = put_front(out, timeline);
    at = put_number(at, attempt->number);
    at = put_u8(at, attempt->class_);
    at = put_u8(at, attempt->action);
    at = put_number(at, attempt->status);
    at = put_u8(at, (attempt->reused ? REUSED : 0u) | (attempt->redialed ? REDIALED : 0u) |
                        (attempt->usage.reported ? REPORTED : 0u) | price_flags(attempt));
    at = put_number(at, end_of(attempt));
    at = put_numbers(at, attempt->mark_us, MG_MARK_COUNT);
    at = put_number(at, attempt->bytes_sent);
    at = put_number(at, attempt->bytes_received);
    at = put_usage(at, &attempt->usage);
    at = put_text(at, with_text ? attempt->why : MG_VIEW_NONE, MG_RECORD_TEXT);
    at = put_text(at, with_text ? attempt->error : MG_VIEW_NONE, MG_RECORD_TEXT);
    at = put_text(at, with_text ? attempt->address : MG_VIEW_NONE, MG_RECORD_ADDRESS);
    at = put_numbers(
        at,
        (uint64_t[]){attempt->waited_us, attempt->resumed_bytes, attempt->cost_microusd,
                     attempt->cost_picousd},
        4);
    at = put_text(at, attempt->served, MG_RECORD_MODEL);
    at = put_text(at, attempt->tier, MG_RECORD_TIER);
    return (size_t)(at - out);
}

size_t mg_record_encode_exchange(char *out, const struct mg_timeline *timeline, bool with_text)
{
    char *at = put_front(out, timeline);
    mg_view note = mg_view_of(timeline->note, timeline->note_bytes);
    /* half a JSON object would be none */
    bool with_metadata = timeline->metadata.len <= MG_MAX_METADATA_BYTES;

    at = put_number(at, timeline->generation);
    at = put_number(at, timeline->status);
    at = put_u8(at, timeline->class_);
    at = put_u8(at, (timeline->stream ? STREAM : 0u) | (timeline->clean ? CLEAN : 0u) |
                        (timeline->offline ? OFFLINE : 0u));
    at = put_number(at, timeline->attempt_count);
    at = put_number(at, timeline->start_wall_us);
    at = put_numbers(at, timeline->phase_us, MG_PHASE_COUNT);
    at = put_number(at, timeline->upstream_us);
    at = put_number(at, timeline->plugin_us);
    at = put_hash(at, timeline->body_hash);
    at = put_number(at, timeline->bytes_in);
    at = put_number(at, timeline->bytes_out);
    at = put_owner(at, timeline);
    at = put_text(at, timeline->path, MG_RECORD_STRING);
    at = put_text(at, timeline->client, MG_RECORD_STRING);
    at = put_text(at, timeline->user_agent, MG_RECORD_STRING);
    at = put_text(at, timeline->session, MG_RECORD_STRING);
    at = put_text(at, timeline->error_code, MG_RECORD_STRING);
    at = put_text(at, with_text ? timeline->explain : MG_VIEW_NONE, MG_RECORD_TEXT);
    at = put_text(at, with_metadata ? timeline->metadata : MG_VIEW_NONE, MG_MAX_METADATA_BYTES);
    at = put_text(at, with_text ? note : MG_VIEW_NONE, MG_MAX_NOTE_BYTES);
    at = put_number(at, timeline->uncharged);
    return (size_t)(at - out);
}

/* ---- appending */

mg_err mg_record_started(struct mg_journal *journal, const struct mg_timeline *timeline,
                         const struct mg_attempt_record *attempt, uint64_t input_estimate)
{
    size_t more = attempt->number == 1 ? MG_RECORD_STRING + mg_record_first_metadata(timeline->metadata.len) : 0;
    char *room = mg_journal_begin(journal, MG_RECORD_STARTED_MAX + more);
    if (!room)
        return MG_E_BUSY;
    mg_journal_commit(journal, MG_JOURNAL_STARTED,
                      mg_record_encode_started(room, timeline, attempt, input_estimate));
    return MG_OK;
}

mg_err mg_record_redialed(struct mg_journal *journal, const struct mg_timeline *timeline,
                          const struct mg_attempt_record *attempt)
{
    char *room = mg_journal_begin(journal, MG_RECORD_REDIALED_MAX);
    if (!room)
        return MG_E_BUSY;
    mg_journal_commit(journal, MG_JOURNAL_REDIALED,
                      mg_record_encode_redialed(room, timeline, attempt));
    return MG_OK;
}

/* Room for the explanations is what nobody reserved. *out_max is what to begin with. */
static bool fits_text(struct mg_journal *journal, size_t base, size_t max, size_t *out_max)
{
    bool fits = mg_journal_spare(journal) >= MG_JOURNAL_ROOM(max);
    if (!fits)
        atomic_fetch_add_explicit(&cut, 1, memory_order_relaxed);
    *out_max = fits ? max : base;
    return fits;
}

mg_err mg_record_settled(struct mg_journal *journal, const struct mg_timeline *timeline,
                         const struct mg_attempt_record *attempt)
{
    size_t max;
    bool with_text = fits_text(journal, MG_RECORD_SETTLED_BASE, MG_RECORD_SETTLED_MAX, &max);
    char *room = mg_journal_begin(journal, max);
    if (!room)
        return MG_E_BUSY;
    mg_journal_commit(journal, MG_JOURNAL_SETTLED,
                      mg_record_encode_settled(room, timeline, attempt, with_text));
    return MG_OK;
}

mg_err mg_record_exchange(struct mg_journal *journal, const struct mg_timeline *timeline)
{
    size_t max;
    size_t base = MG_RECORD_EXCHANGE_BASE + mg_record_metadata_room(timeline->metadata.len);
    bool with_text = fits_text(journal, base, MG_RECORD_EXCHANGE_MAX, &max);
    char *room = mg_journal_begin(journal, max);
    if (!room)
        return MG_E_BUSY;
    mg_journal_commit(journal, MG_JOURNAL_EXCHANGE,
                      mg_record_encode_exchange(room, timeline, with_text));
    return MG_OK;
}

uint64_t mg_record_cut(void)
{
    return atomic_load_explicit(&cut, memory_order_relaxed);
}

/* ---- reading: the first wrong byte spoils the rest, and reads zeros from there */

struct in {
    const char *at, *end;
    unsigned version;
    bool bad;
};

static struct in in_of(mg_view payload)
{
    return (struct in){.at = payload.ptr, .end = payload.ptr + payload.len};
}

static inline unsigned get_u8(struct in *in)
{
    if (in->at < in->end)
        return (unsigned char)*in->at++;
    in->bad = true;
    return 0;
}

static uint64_t get_long_number(struct in *in, unsigned byte)
{
    uint64_t value = byte & 0x7f;
    for (unsigned shift = 7; shift < 64; shift += 7) {
        byte = get_u8(in);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    in->bad = true;
    return 0;
}

static inline uint64_t get_number(struct in *in)
{
    unsigned byte = get_u8(in);
    return byte < 0x80 ? byte : get_long_number(in, byte);
}

/* A number below `limit`: a count or a row of one of our lists. */
static unsigned get_below(struct in *in, unsigned limit)
{
    uint64_t value = get_number(in);
    if (value < limit)
        return (unsigned)value;
    in->bad = true;
    return 0;
}

static uint64_t get_hash(struct in *in)
{
    uint64_t value = 0;
    if ((size_t)(in->end - in->at) < sizeof value) {
        in->bad = true;
        return 0;
    }
    memcpy(&value, in->at, sizeof value);
    in->at += sizeof value;
    return value;
}

/* A list that an older version wrote is shorter, a newer one's is longer. */
static void get_numbers(struct in *in, uint64_t *out_values, unsigned max)
{
    unsigned count = get_u8(in);
    for (unsigned i = 0; i < count && !in->bad; i++) {
        uint64_t value = get_number(in);
        if (i < max)
            out_values[i] = value;
    }
}

static mg_view get_text(struct in *in)
{
    uint64_t len = get_number(in);
    if (len > (size_t)(in->end - in->at)) {
        in->bad = true;
        return MG_VIEW_NONE;
    }
    mg_view text = mg_view_of(in->at, (size_t)len);
    in->at += len;
    return text;
}

static mg_view get_front(struct in *in)
{
    in->version = get_u8(in);
    if (in->version < FIRST_VERSION || in->version > VERSION)
        in->bad = true;
    mg_view id = get_text(in);
    if (id.len > MG_RECORD_ID)
        in->bad = true;
    return in->bad ? MG_VIEW_NONE : id;
}

static void get_id(struct in *in, char out_id[40])
{
    mg_view id = get_front(in);
    memset(out_id, 0, 40);
    if (id.len > 0)
        memcpy(out_id, id.ptr, id.len);
}

static mg_err finish(const struct in *in)
{
    return in->bad || in->at < in->end ? MG_E_PROTOCOL : MG_OK;
}

mg_err mg_record_id(mg_view payload, mg_view *out_id)
{
    struct in in = in_of(payload);
    mg_view id = get_front(&in);
    if (in.bad)
        return MG_E_PROTOCOL;
    *out_id = id;
    return MG_OK;
}

mg_err mg_record_decode_started(mg_view payload, struct mg_started *out_started)
{
    struct in in = in_of(payload);
    struct mg_started started = {.charged = true};
    get_id(&in, started.id);
    started.number = (uint16_t)get_below(&in, UINT16_MAX + 1);
    started.entry = (uint16_t)get_below(&in, UINT16_MAX + 1);
    started.reason = (enum mg_reason)get_below(&in, MG_REASON_COUNT);
    started.generation = (uint32_t)get_number(&in);
    started.exchange_wall_us = get_number(&in);
    started.start_us = get_number(&in);
    started.input_estimate = get_number(&in);
    started.project = get_text(&in);
    started.workflow = get_text(&in);
    started.key_id = get_text(&in);
    started.target = get_text(&in);
    started.provider = get_text(&in);
    started.model = get_text(&in);
    if (in.version >= 2)
        started.credential = get_text(&in);
    if (in.version >= 3) {
        started.arm = get_text(&in);
        started.dialect = get_text(&in);
        started.charged = get_u8(&in) > 0;
    }
    if (in.version >= 4) {
        unsigned flags = get_u8(&in);
        started.priced = flags & PRICED;
        started.own_price = flags & OWN_PRICE;
        started.cost_picousd = get_number(&in);
        started.vendor = get_text(&in);
        started.session = get_text(&in);
        started.metadata = get_text(&in);
    }
    MG_TRY(finish(&in));
    *out_started = started;
    return MG_OK;
}

mg_err mg_record_decode_redialed(mg_view payload, uint16_t *out_number)
{
    struct in in = in_of(payload);
    get_front(&in);
    uint16_t number = (uint16_t)get_below(&in, UINT16_MAX + 1);
    MG_TRY(finish(&in));
    *out_number = number;
    return MG_OK;
}

static void get_usage(struct in *in, struct mg_usage *out_usage)
{
    uint64_t tokens[11] = {0};
    get_numbers(in, tokens, MG_COUNT(tokens));
    *out_usage = (struct mg_usage){tokens[0], tokens[1], tokens[2], tokens[3], tokens[4], false,
                                   tokens[5], tokens[6], tokens[7], tokens[8], tokens[9], tokens[10]};
}

mg_err mg_record_decode_settled(mg_view payload, char out_id[40],
                                struct mg_attempt_record *out_attempt)
{
    struct in in = in_of(payload);
    struct mg_attempt_record attempt = {0};
    uint64_t last[4] = {0};
    char id[40];
    get_id(&in, id);
    attempt.number = (uint16_t)get_below(&in, UINT16_MAX + 1);
    attempt.class_ = (enum mg_class)get_below(&in, MG_CLASS_COUNT);
    attempt.action = (enum mg_action)get_below(&in, MG_ACTION_COUNT);
    attempt.status = (uint16_t)get_below(&in, UINT16_MAX + 1);
    unsigned flags = get_u8(&in);
    attempt.reused = flags & REUSED;
    attempt.redialed = flags & REDIALED;
    attempt.priced = flags & PRICED;
    attempt.own_price = flags & OWN_PRICE;
    attempt.end_us = get_number(&in);
    get_numbers(&in, attempt.mark_us, MG_MARK_COUNT);
    attempt.bytes_sent = get_number(&in);
    attempt.bytes_received = get_number(&in);
    get_usage(&in, &attempt.usage);
    attempt.usage.reported = flags & REPORTED;
    attempt.why = get_text(&in);
    attempt.error = get_text(&in);
    attempt.address = get_text(&in);
    if (in.version >= 2)
        get_numbers(&in, last, MG_COUNT(last));
    attempt.waited_us = last[0];
    attempt.resumed_bytes = last[1];
    attempt.cost_microusd = last[2];
    attempt.cost_picousd = last[3];
    if (in.version >= 3) {
        attempt.served = get_text(&in);
        attempt.tier = get_text(&in);
    } else { /* it knew whole microdollars only, and 0 when it knew no price */
        attempt.cost_picousd = attempt.cost_microusd * 1000000u;
        attempt.priced = attempt.cost_microusd > 0;
    }
    MG_TRY(finish(&in));
    memcpy(out_id, id, sizeof id);
    *out_attempt = attempt;
    return MG_OK;
}

static void get_exchange_texts(struct in *in, struct mg_timeline *out_timeline)
{
    mg_view *texts[] = {&out_timeline->project, &out_timeline->workflow,
                        &out_timeline->key_id,  &out_timeline->path,
                        &out_timeline->client,  &out_timeline->user_agent,
                        &out_timeline->session, &out_timeline->error_code,
                        &out_timeline->explain, &out_timeline->metadata};
    for (size_t i = 0; i < MG_COUNT(texts); i++)
        *texts[i] = get_text(in);
    mg_view note = get_text(in);
    if (note.len > sizeof out_timeline->note)
        in->bad = true;
    else if (note.len > 0)
        memcpy(out_timeline->note, note.ptr, note.len);
    out_timeline->note_bytes = in->bad ? 0 : (uint16_t)note.len;
}

uint64_t mg_record_ended_us(mg_view payload)
{
    struct in in = in_of(payload);
    uint64_t phases[MG_PHASE_COUNT] = {0}, last = 0;
    get_front(&in);
    get_number(&in); /* generation, status, class, flags, attempts */
    get_number(&in);
    get_u8(&in);
    get_u8(&in);
    get_number(&in);
    uint64_t began = get_number(&in);
    get_numbers(&in, phases, MG_PHASE_COUNT);
    for (unsigned i = 0; i < MG_PHASE_COUNT; i++)
        last = MG_MAX(last, phases[i]);
    return in.bad ? 0 : began + last;
}

mg_err mg_record_decode_exchange(mg_view payload, struct mg_timeline *out_timeline)
{
    struct in in = in_of(payload);
    struct mg_timeline *timeline = out_timeline;
    /* the notes and most attempts are not used most of the time, and are most of the struct */
    memset(timeline, 0, offsetof(struct mg_timeline, note));
    memset(&timeline->note_bytes, 0,
           offsetof(struct mg_timeline, attempts) - offsetof(struct mg_timeline, note_bytes));
    get_id(&in, timeline->id);
    timeline->generation = (uint32_t)get_number(&in);
    timeline->status = (uint16_t)get_below(&in, UINT16_MAX + 1);
    timeline->class_ = (enum mg_class)get_below(&in, MG_CLASS_COUNT);
    unsigned flags = get_u8(&in);
    timeline->stream = flags & STREAM;
    timeline->clean = flags & CLEAN;
    timeline->offline = flags & OFFLINE;
    timeline->attempt_count = (uint16_t)get_below(&in, MG_MAX_ATTEMPTS + 1);
    timeline->start_wall_us = get_number(&in);
    get_numbers(&in, timeline->phase_us, MG_PHASE_COUNT);
    timeline->upstream_us = get_number(&in);
    timeline->plugin_us = get_number(&in);
    timeline->body_hash = get_hash(&in);
    timeline->bytes_in = get_number(&in);
    timeline->bytes_out = get_number(&in);
    get_exchange_texts(&in, timeline);
    if (in.version >= 3)
        timeline->uncharged = get_number(&in);
    memset(timeline->attempts, 0, timeline->attempt_count * sizeof timeline->attempts[0]);
    return finish(&in);
}
