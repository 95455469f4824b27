#include "meter/record.h"

#include "base/mem.h"
#include "store_world.h"

static char long_text[8192];

static void fill(struct mg_timeline *timeline)
{
    static const uint64_t phase_us[] = {1, 20, 21, 22, 23, 40, 41, 55, 250000, 900000, 900100};
    *timeline = world_timeline(0);
    memcpy(timeline->phase_us, phase_us, sizeof phase_us);
    timeline->start_wall_us += 123456;
    timeline->upstream_us = 880000;
    timeline->plugin_us = 12;
    timeline->body_hash = 0xfedcba9876543210u;
    timeline->client = MG_VIEW("127.0.0.1");
    timeline->user_agent = MG_VIEW("OpenAI/Python 1.2");
    timeline->session = MG_VIEW("s-1");
    timeline->metadata = MG_VIEW("{\"team\":\"ü\"}");
    timeline->explain = MG_VIEW("cheapest first");
    timeline->error_code = MG_VIEW("upstream_failed");
    timeline->generation = 70000;
    timeline->status = 502;
    timeline->class_ = MG_CLASS_overloaded;
    timeline->stream = true;
    timeline->clean = false;
    timeline->offline = true;
    timeline->uncharged = 0x5;
    timeline->bytes_in = 1234;
    timeline->bytes_out = 56789;
    timeline->attempt_count = 2;
    mg_exchange_id(timeline->id, timeline->start_wall_us, (const unsigned char *)"0123456789");
    mg_timeline_note(timeline, 77, "plugin", "redact: %d hits", 3);
}

static struct mg_attempt_record an_attempt(void)
{
    return (struct mg_attempt_record){
        .start_us = 60,
        .end_us = 400000,
        .mark_us = {1000, 2000, 9000, 9100, 200000, 250000, 399999},
        .target = MG_VIEW("openai/gpt-4o"),
        .provider = MG_VIEW("openai"),
        .model = MG_VIEW("gpt-4o"),
        .why = MG_VIEW("healthy, weight 3"),
        .error = MG_VIEW("Overloaded"),
        .address = MG_VIEW("[2001:db8::1]:443"),
        .credential = MG_VIEW("spare"),
        .waited_us = 430000,
        .resumed_bytes = 812,
        .cost_microusd = 1234567,
        .cost_picousd = 1234566000001,
        .priced = true,
        .own_price = true,
        .arm = MG_VIEW("canary"),
        .dialect = MG_VIEW("openai"),
        .served = MG_VIEW("gpt-4o-2024-08-06"),
        .tier = MG_VIEW("priority"),
        .reason = MG_REASON_fallback,
        .class_ = MG_CLASS_overloaded,
        .action = MG_ACTION_fallback,
        .status = 529,
        .number = 2,
        .entry = 1,
        .reused = true,
        .redialed = true,
        .bytes_sent = 1200,
        .bytes_received = 300,
        .usage = {100, 20, 64, 8, 5, true, 3, 2, 4, 2500, 7, 1},
    };
}

/* Everything at its largest. */
static void fill_to_the_brim(struct mg_timeline *timeline, struct mg_attempt_record *attempt)
{
    mg_view text = mg_view_of(long_text, sizeof long_text);
    memset(long_text, 'x', sizeof long_text);
    memset(timeline, 0, sizeof *timeline);
    memset(timeline->id, 'i', 39);
    memset(timeline->phase_us, 0xff, sizeof timeline->phase_us);
    memset(timeline->note, 'n', sizeof timeline->note);
    timeline->note_bytes = sizeof timeline->note;
    timeline->start_wall_us = timeline->upstream_us = timeline->plugin_us = timeline->body_hash =
        UINT64_MAX;
    timeline->bytes_in = timeline->bytes_out = timeline->uncharged = UINT64_MAX;
    timeline->project = timeline->workflow = timeline->key_id = timeline->path = timeline->client =
        text;
    timeline->user_agent = timeline->session = timeline->explain = timeline->error_code = text;
    timeline->metadata = mg_view_head(text, MG_MAX_METADATA_BYTES);
    timeline->generation = UINT32_MAX;
    timeline->status = UINT16_MAX;
    timeline->class_ = MG_CLASS_COUNT - 1;
    timeline->attempt_count = MG_MAX_ATTEMPTS;

    memset(attempt, 0, sizeof *attempt);
    memset(attempt->mark_us, 0xff, sizeof attempt->mark_us);
    attempt->start_us = attempt->end_us = attempt->bytes_sent = attempt->bytes_received =
        UINT64_MAX;
    attempt->waited_us = attempt->resumed_bytes = attempt->cost_microusd = attempt->cost_picousd = UINT64_MAX;
    attempt->arm = attempt->dialect = attempt->vendor = attempt->served = attempt->tier = text;
    attempt->target = attempt->provider = attempt->model = attempt->why = attempt->error =
        attempt->address = attempt->credential = text;
    attempt->status = attempt->number = attempt->entry = UINT16_MAX;
    attempt->usage =
        (struct mg_usage){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, true, UINT64_MAX, UINT64_MAX,
                          UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
}

TEST(a_started_attempt_comes_back_as_it_went)
{
    static struct mg_timeline timeline;
    char room[MG_RECORD_STARTED_MAX];
    struct mg_started got;
    struct mg_attempt_record attempt = an_attempt();
    fill(&timeline);
    attempt.vendor = MG_VIEW("anthropic");
    attempt.priced = true;
    attempt.own_price = false;
    attempt.cost_picousd = 123456789;

    size_t len = mg_record_encode_started(room, &timeline, &attempt, 300);
    CHECK_OK(mg_record_decode_started(mg_view_of(room, len), &got));

    CHECK_STR(got.id, timeline.id);
    CHECK_INT(got.number, 2);
    CHECK_INT(got.entry, 1);
    CHECK_INT(got.reason, MG_REASON_fallback);
    CHECK_INT(got.generation, 70000);
    CHECK_INT(got.exchange_wall_us, timeline.start_wall_us);
    CHECK_INT(got.start_us, 60);
    CHECK_INT(got.input_estimate, 300);
    CHECK_VIEW(got.project, timeline.project);
    CHECK_VIEW(got.workflow, timeline.workflow);
    CHECK_VIEW(got.key_id, timeline.key_id);
    CHECK_VIEW(got.target, attempt.target);
    CHECK_VIEW(got.provider, attempt.provider);
    CHECK_VIEW(got.model, attempt.model);
    CHECK_VIEW(got.credential, attempt.credential);
    CHECK_VIEW(got.arm, attempt.arm);
    CHECK_VIEW(got.dialect, attempt.dialect);
    CHECK_INT(got.session.len + got.metadata.len, 0);              /* it is the second */
    CHECK_VIEW(got.vendor, MG_VIEW("anthropic"));
    CHECK_INT(got.cost_picousd, 123456789);
    CHECK(got.priced && !got.own_price);
    CHECK(!got.charged);
}

TEST(a_settled_attempt_comes_back_as_it_went)
{
    static struct mg_timeline timeline;
    char room[MG_RECORD_SETTLED_MAX], id[40];
    struct mg_attempt_record got, attempt = an_attempt();
    fill(&timeline);

    size_t len = mg_record_encode_settled(room, &timeline, &attempt, true);
    CHECK_OK(mg_record_decode_settled(mg_view_of(room, len), id, &got));

    CHECK_STR(id, timeline.id);
    CHECK_INT(got.number, 2);
    CHECK_INT(got.class_, attempt.class_);
    CHECK_INT(got.action, attempt.action);
    CHECK_INT(got.status, 529);
    CHECK(got.reused && got.redialed);
    CHECK_INT(got.end_us, attempt.end_us);
    CHECK(memcmp(got.mark_us, attempt.mark_us, sizeof got.mark_us) == 0);
    CHECK_INT(got.bytes_sent, 1200);
    CHECK_INT(got.bytes_received, 300);
    CHECK_INT(got.usage.input_tokens, 100);
    CHECK_INT(got.usage.output_tokens, 20);
    CHECK_INT(got.usage.cached_read_tokens, 64);
    CHECK_INT(got.usage.cached_write_tokens, 8);
    CHECK_INT(got.usage.reasoning_tokens, 5);
    CHECK(got.usage.reported);
    CHECK_VIEW(got.why, attempt.why);
    CHECK_VIEW(got.error, attempt.error);
    CHECK_VIEW(got.address, attempt.address);
    CHECK_INT(got.waited_us, 430000);
    CHECK_INT(got.resumed_bytes, 812);
    CHECK_INT(got.cost_microusd, 1234567);
    CHECK_INT(got.cost_picousd, 1234566000001);
    CHECK(got.priced && got.own_price);
    CHECK_VIEW(got.served, attempt.served);
    CHECK_VIEW(got.tier, attempt.tier);
    CHECK_INT(got.usage.input_audio_tokens, 3);
    CHECK_INT(got.usage.output_audio_tokens, 2);
    CHECK(got.usage.images == 4 && got.usage.audio_ms == 2500 && got.usage.characters == 7 && got.usage.searches == 1);
}

TEST(an_exchange_comes_back_as_it_went)
{
    static struct mg_timeline timeline, got;
    char room[MG_RECORD_EXCHANGE_MAX];
    fill(&timeline);

    size_t len = mg_record_encode_exchange(room, &timeline, true);
    CHECK_OK(mg_record_decode_exchange(mg_view_of(room, len), &got));

    CHECK_STR(got.id, timeline.id);
    CHECK_INT(got.generation, 70000);
    CHECK_INT(got.status, 502);
    CHECK_INT(got.class_, MG_CLASS_overloaded);
    CHECK(got.stream && !got.clean && got.offline);
    CHECK_INT(got.uncharged, 0x5);
    CHECK_INT(got.attempt_count, 2);
    CHECK_INT(got.start_wall_us, timeline.start_wall_us);
    CHECK(memcmp(got.phase_us, timeline.phase_us, sizeof got.phase_us) == 0);
    CHECK_INT(got.upstream_us, 880000);
    CHECK_INT(got.plugin_us, 12);
    CHECK(got.body_hash == timeline.body_hash);
    CHECK_INT(got.bytes_in, 1234);
    CHECK_INT(got.bytes_out, 56789);
    CHECK_VIEW(got.project, timeline.project);
    CHECK_VIEW(got.workflow, timeline.workflow);
    CHECK_VIEW(got.key_id, timeline.key_id);
    CHECK_VIEW(got.path, timeline.path);
    CHECK_VIEW(got.client, timeline.client);
    CHECK_VIEW(got.user_agent, timeline.user_agent);
    CHECK_VIEW(got.session, timeline.session);
    CHECK_VIEW(got.metadata, timeline.metadata);
    CHECK_VIEW(got.explain, timeline.explain);
    CHECK_VIEW(got.error_code, timeline.error_code);
    CHECK_VIEW(mg_view_of(got.note, got.note_bytes), MG_VIEW("77 plugin redact: 3 hits\n"));
}

TEST(the_largest_records_stay_within_their_stated_maxima)
{
    static struct mg_timeline timeline, got;
    struct mg_attempt_record attempt, settled;
    struct mg_started started;
    char room[MG_RECORD_EXCHANGE_MAX + 4096], id[40];
    fill_to_the_brim(&timeline, &attempt);

    size_t len = mg_record_encode_started(room, &timeline, &attempt, UINT64_MAX);
    CHECK(len <= MG_RECORD_STARTED_MAX && len > MG_RECORD_STARTED_MAX - 24);
    CHECK_OK(mg_record_decode_started(mg_view_of(room, len), &started));
    attempt.number = 1;
    timeline.metadata = mg_view_head(timeline.metadata, MG_RECORD_FIRST_METADATA);
    len = mg_record_encode_started(room, &timeline, &attempt, UINT64_MAX);
    CHECK(len <= MG_RECORD_STARTED_FIRST_MAX && len > MG_RECORD_STARTED_FIRST_MAX - 24);
    CHECK_OK(mg_record_decode_started(mg_view_of(room, len), &started));
    CHECK_INT(started.metadata.len, MG_RECORD_FIRST_METADATA);
    fill_to_the_brim(&timeline, &attempt);
    len = mg_record_encode_settled(room, &timeline, &attempt, false);
    CHECK(len <= MG_RECORD_SETTLED_BASE && len > MG_RECORD_SETTLED_BASE - 24);
    len = mg_record_encode_settled(room, &timeline, &attempt, true);
    CHECK(len <= MG_RECORD_SETTLED_MAX && len > MG_RECORD_SETTLED_MAX - 48);
    CHECK_OK(mg_record_decode_settled(mg_view_of(room, len), id, &settled));
    len = mg_record_encode_exchange(room, &timeline, false);
    size_t with_metadata = MG_RECORD_EXCHANGE_BASE + mg_record_metadata_bytes(timeline.metadata.len);
    CHECK(len <= with_metadata && len > with_metadata - 128);
    len = mg_record_encode_exchange(room, &timeline, true);
    CHECK(len <= MG_RECORD_EXCHANGE_MAX && len > MG_RECORD_EXCHANGE_MAX - 160);
    CHECK_OK(mg_record_decode_exchange(mg_view_of(room, len), &got));
    CHECK((size_t)MG_RECORD_EXCHANGE_MAX <= MG_MAX_JOURNAL_RECORD_BYTES);
}

/* As version 1 wrote them. */
static const char old_started[] =
    "\x01\x07\x72\x65\x71\x5f\x6f\x6c\x64\x01\x00\x01\x07\xc0\xc4\x90\x8b\x94\x8b\x91"
    "\x03\x3c\xac\x02\x04\x61\x63\x6d\x65\x04\x66\x61\x73\x74\x05\x6b\x65\x79\x5f\x37"
    "\x0d\x6f\x70\x65\x6e\x61\x69\x2f\x67\x70\x74\x2d\x34\x6f\x06\x6f\x70\x65\x6e\x61"
    "\x69\x06\x67\x70\x74\x2d\x34\x6f";
static const char old_settled[] =
    "\x01\x07\x72\x65\x71\x5f\x6f\x6c\x64\x01\x00\x00\xc8\x01\x04\x80\xb5\x18\x07\xe8"
    "\x07\xd0\x0f\xa8\x46\x8c\x47\xc0\x9a\x0c\x90\xa1\x0f\xff\xb4\x18\xb0\x09\xac\x02"
    "\x05\x64\x14\x40\x08\x05\x08\x77\x65\x69\x67\x68\x74\x20\x33\x02\x6e\x6f\x0d\x31"
    "\x39\x32\x2e\x30\x2e\x32\x2e\x31\x3a\x34\x34\x33";
static const char old_exchange[] =
    "\x01\x07\x72\x65\x71\x5f\x6f\x6c\x64\x07\xc8\x01\x00\x03\x01\xc0\xc4\x90\x8b\x94"
    "\x8b\x91\x03\x0b\x01\x14\x15\x16\x17\x28\x29\x37\x90\xa1\x0f\xa0\xf7\x36\x84\xf8"
    "\x36\x80\xdb\x35\x0c\x10\x32\x54\x76\x98\xba\xdc\xfe\x00\x00\x04\x61\x63\x6d\x65"
    "\x04\x66\x61\x73\x74\x05\x6b\x65\x79\x5f\x37\x14\x2f\x76\x31\x2f\x63\x68\x61\x74"
    "\x2f\x63\x6f\x6d\x70\x6c\x65\x74\x69\x6f\x6e\x73\x00\x00\x00\x00\x0e\x63\x68\x65"
    "\x61\x70\x65\x73\x74\x20\x66\x69\x72\x73\x74\x00\x00";

#define BYTES(array) mg_view_of((array), sizeof(array) - 1)

TEST(records_of_the_version_before_are_still_read)
{
    static struct mg_timeline timeline;
    struct mg_started started;
    struct mg_attempt_record settled;
    char id[40];

    CHECK_OK(mg_record_decode_started(BYTES(old_started), &started));
    CHECK_OK(mg_record_decode_settled(BYTES(old_settled), id, &settled));
    CHECK_OK(mg_record_decode_exchange(BYTES(old_exchange), &timeline));

    CHECK_STR(started.id, "req_old");
    CHECK_VIEW(started.model, MG_VIEW("gpt-4o"));
    CHECK_INT(started.reason, MG_REASON_retry);
    CHECK_INT(started.credential.len, 0);
    CHECK_STR(id, "req_old");
    CHECK_VIEW(settled.address, MG_VIEW("192.0.2.1:443"));
    CHECK_INT(settled.usage.reasoning_tokens, 5);
    CHECK_INT(settled.waited_us + settled.resumed_bytes + settled.cost_microusd, 0);
    CHECK_VIEW(timeline.explain, MG_VIEW("cheapest first"));
    CHECK_INT(mg_record_ended_us(BYTES(old_exchange)), 1764000000123456u + 900100);
}

TEST(the_first_started_record_says_whose_the_exchange_is_unless_that_may_be_redacted)
{
    static struct mg_timeline timeline;
    char room[MG_RECORD_STARTED_FIRST_MAX], padded[MG_RECORD_FIRST_METADATA + 1];
    struct mg_started got;
    struct mg_attempt_record attempt = an_attempt();
    fill(&timeline);
    attempt.number = 1;

    CHECK_OK(mg_record_decode_started(mg_view_of(room, mg_record_encode_started(room, &timeline, &attempt, 300)), &got));
    CHECK_VIEW(got.session, timeline.session);
    CHECK_VIEW(got.metadata, timeline.metadata);

    timeline.redacted = true;
    CHECK_OK(mg_record_decode_started(mg_view_of(room, mg_record_encode_started(room, &timeline, &attempt, 300)), &got));
    CHECK_INT(got.session.len + got.metadata.len, 0);

    timeline.redacted = false;
    memset(padded, ' ', sizeof padded);
    timeline.metadata = mg_view_of(padded, sizeof padded);
    CHECK_OK(mg_record_decode_started(mg_view_of(room, mg_record_encode_started(room, &timeline, &attempt, 300)), &got));
    CHECK_INT(got.metadata.len, 0);
}

TEST(a_started_record_of_version_3_knew_no_cost)
{
    char bytes[sizeof old_started + 16];
    struct mg_started started;
    memcpy(bytes, old_started, sizeof old_started - 1);
    memcpy(bytes + sizeof old_started - 1, "\x01k\x01" "a\x06openai\x01", 12);
    bytes[0] = 3;

    CHECK_OK(mg_record_decode_started(mg_view_of(bytes, sizeof old_started + 11), &started));

    CHECK_VIEW(started.credential, MG_VIEW("k"));
    CHECK_VIEW(started.dialect, MG_VIEW("openai"));
    CHECK(started.charged && !started.priced);
    CHECK_INT(started.cost_picousd + started.vendor.len, 0);
}

TEST(a_record_of_version_2_knew_whole_microdollars_only)
{
    char bytes[sizeof old_settled + 4], id[40];
    struct mg_attempt_record settled;
    memcpy(bytes, old_settled, sizeof old_settled - 1);
    memcpy(bytes + sizeof old_settled - 1, "\x03\x07\x00\x05", 4);
    bytes[0] = 2;

    CHECK_OK(mg_record_decode_settled(mg_view_of(bytes, sizeof old_settled + 3), id, &settled));

    CHECK_INT(settled.waited_us, 7);
    CHECK_INT(settled.cost_microusd, 5);
    CHECK_INT(settled.cost_picousd, 5000000);
    CHECK(settled.priced && !settled.own_price);
    CHECK_INT(settled.served.len + settled.tier.len, 0);
}

TEST(a_record_of_a_version_nobody_knows_is_refused)
{
    struct mg_started started;
    char bytes[sizeof old_started];
    memcpy(bytes, old_started, sizeof bytes);
    for (int version = 0; version < 256; version++) {
        bytes[0] = (char)version;
        if (version != 1)
            CHECK_INT(mg_record_decode_started(BYTES(bytes), &started), MG_E_PROTOCOL);
    }
}

TEST(a_long_string_is_cut_between_characters)
{
    static struct mg_timeline timeline, got;
    char room[MG_RECORD_EXCHANGE_MAX], path[MG_RECORD_STRING + 8];
    fill(&timeline);
    memset(path, 'p', sizeof path);
    memcpy(path + MG_RECORD_STRING - 1, "ü", 2);
    timeline.path = mg_view_of(path, sizeof path);
    timeline.metadata = mg_view_of(long_text, MG_MAX_METADATA_BYTES + 1);

    size_t len = mg_record_encode_exchange(room, &timeline, true);
    CHECK_OK(mg_record_decode_exchange(mg_view_of(room, len), &got));

    CHECK_INT(got.path.len, MG_RECORD_STRING - 1);
    CHECK_INT(got.metadata.len, 0);
}

typedef mg_err (*decoder)(mg_view payload);

static mg_err decode_started(mg_view payload)
{
    struct mg_started started;
    return mg_record_decode_started(payload, &started);
}

static mg_err decode_settled(mg_view payload)
{
    char id[40];
    struct mg_attempt_record attempt;
    return mg_record_decode_settled(payload, id, &attempt);
}

static mg_err decode_exchange(mg_view payload)
{
    static struct mg_timeline timeline;
    return mg_record_decode_exchange(payload, &timeline);
}

/* Copies to the heap, so that a sanitizer sees one byte too many. */
static mg_err decode_exactly(decoder decode, const char *bytes, size_t len)
{
    char *copy = mg_alloc(len + 1);
    memcpy(copy + 1, bytes, len);
    mg_err err = decode(mg_view_of(copy + 1, len));
    mg_free(copy);
    return err;
}

static void cut_and_damage(decoder decode, const char *bytes, size_t len)
{
    char spoilt[MG_RECORD_EXCHANGE_MAX + 1];
    for (size_t at = 0; at < len; at++)
        CHECK_INT(decode_exactly(decode, bytes, at), MG_E_PROTOCOL);
    memcpy(spoilt, bytes, len);
    spoilt[len] = 0;
    CHECK_INT(decode_exactly(decode, spoilt, len + 1), MG_E_PROTOCOL);

    /* any answer will do, as long as nothing is read that is not there */
    for (size_t at = 0; at < len; at++) {
        for (unsigned value = 0; value < 256; value += at < 80 ? 1 : 51) {
            spoilt[at] = (char)value;
            mg_err err = decode_exactly(decode, spoilt, len);
            CHECK(err == MG_OK || err == MG_E_PROTOCOL);
        }
        spoilt[at] = bytes[at];
    }
}

TEST(a_record_that_is_cut_or_damaged_anywhere_is_refused_or_harmless)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record attempt = an_attempt();
    char room[MG_RECORD_EXCHANGE_MAX];
    fill(&timeline);

    cut_and_damage(decode_started, room, mg_record_encode_started(room, &timeline, &attempt, 300));
    cut_and_damage(decode_settled, room, mg_record_encode_settled(room, &timeline, &attempt, true));
    cut_and_damage(decode_exchange, room, mg_record_encode_exchange(room, &timeline, true));
}

TEST(the_id_is_at_the_front_of_all_three)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record attempt = an_attempt();
    char room[MG_RECORD_EXCHANGE_MAX];
    mg_view id;
    fill(&timeline);

    CHECK_OK(mg_record_id(mg_view_of(room, mg_record_encode_started(room, &timeline, &attempt, 1)),
                          &id));
    CHECK_VIEW(id, mg_view_cstr(timeline.id));
    CHECK_OK(mg_record_id(
        mg_view_of(room, mg_record_encode_settled(room, &timeline, &attempt, true)), &id));
    CHECK_VIEW(id, mg_view_cstr(timeline.id));
    CHECK_OK(mg_record_id(mg_view_of(room, mg_record_encode_exchange(room, &timeline, true)), &id));
    CHECK_VIEW(id, mg_view_cstr(timeline.id));
    CHECK_INT(mg_record_id(MG_VIEW("\2ab"), &id), MG_E_PROTOCOL);
    CHECK_INT(mg_record_id(MG_VIEW("\5\1a"), &id), MG_E_PROTOCOL);
}

struct tally {
    unsigned started, redialed, settled, exchanges;
    size_t explained; /* bytes of why and notes that came through */
};

static mg_err count_record(void *arg, const struct mg_journal_record *record)
{
    static struct mg_timeline timeline;
    struct tally *tally = arg;
    struct mg_attempt_record attempt;
    struct mg_started started;
    char id[40];
    if (record->type == MG_JOURNAL_STARTED) {
        MG_TRY(mg_record_decode_started(record->payload, &started));
        tally->started++;
    } else if (record->type == MG_JOURNAL_REDIALED) {
        uint16_t number;
        MG_TRY(mg_record_decode_redialed(record->payload, &number));
        tally->redialed++;
    } else if (record->type == MG_JOURNAL_SETTLED) {
        MG_TRY(mg_record_decode_settled(record->payload, id, &attempt));
        tally->explained += attempt.why.len;
        tally->settled++;
    } else {
        MG_TRY(mg_record_decode_exchange(record->payload, &timeline));
        tally->explained += timeline.note_bytes;
        tally->exchanges++;
    }
    return MG_OK;
}

TEST(every_admitted_exchange_can_record_its_worst_case_even_in_a_ring_that_nobody_drains)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record attempt;
    struct mg_journal *journal;
    struct tally tally = {0};
    unsigned admitted = 0, count;
    fill_to_the_brim(&timeline, &attempt);
    CHECK_OK(mg_journal_open(check_fresh_path("ring"), 1 << 20, 0, 1, &journal, NULL));

    timeline.metadata = mg_view_head(timeline.metadata, MG_RECORD_FIRST_METADATA);
    while (mg_journal_reserve(journal, mg_record_worst_case(4) + mg_record_metadata_room(timeline.metadata.len)))
        admitted++;
    for (unsigned i = 0; i < admitted; i++) {
        for (unsigned n = 0; n < 4; n++) {
            attempt.number = (uint16_t)(n + 1);
            CHECK_OK(mg_record_started(journal, &timeline, &attempt, 1));
            CHECK_OK(mg_record_redialed(journal, &timeline, &attempt));
            CHECK_OK(mg_record_settled(journal, &timeline, &attempt));
        }
        CHECK_OK(mg_record_exchange(journal, &timeline));
    }
    CHECK_OK(mg_journal_read(journal, count_record, &tally, UINT32_MAX, &count));

    CHECK(admitted > 110);
    CHECK_INT(tally.started, 4 * admitted);
    CHECK_INT(tally.redialed, 4 * admitted);
    CHECK_INT(tally.settled, 4 * admitted);
    CHECK_INT(tally.exchanges, admitted);
    CHECK(mg_record_cut() >= 5 * admitted - 20);
    mg_journal_close(journal);
}

TEST(explanations_are_recorded_while_there_is_room)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record attempt = an_attempt();
    struct mg_journal *journal;
    struct tally tally = {0};
    unsigned count;
    fill(&timeline);
    CHECK_OK(mg_journal_open(check_fresh_path("ring"), 1 << 20, 0, 1, &journal, NULL));

    CHECK_OK(mg_record_settled(journal, &timeline, &attempt));
    CHECK_OK(mg_record_exchange(journal, &timeline));
    CHECK_OK(mg_journal_read(journal, count_record, &tally, 10, &count));

    CHECK_INT(tally.explained, attempt.why.len + timeline.note_bytes);
    mg_journal_close(journal);
}

MG_TEST_MAIN()
