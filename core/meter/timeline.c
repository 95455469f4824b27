#include "meter/timeline.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

static const char *const phases[] = {
#define X(name) #name,
    MG_PHASE_LIST(X)
#undef X
};

static const char *const marks[] = {
#define X(name) #name,
    MG_MARK_LIST(X)
#undef X
};

static const char *const reasons[] = {
#define X(name) #name,
    MG_REASON_LIST(X)
#undef X
};

static const char dropped[] = "0 note more was dropped\n";
static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

const char *mg_phase_name(enum mg_phase phase)
{
    return phases[phase];
}

const char *mg_mark_name(enum mg_mark mark)
{
    return marks[mark];
}

const char *mg_reason_name(enum mg_reason reason)
{
    return reasons[reason];
}

/* A line break inside a text would forge a line. */
static void one_line(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
}

static bool was_dropped(const struct mg_timeline *timeline)
{
    mg_view note = mg_view_of(timeline->note, timeline->note_bytes);
    return mg_view_ends(note, mg_view_of(dropped, sizeof dropped - 1));
}

void mg_timeline_note(struct mg_timeline *timeline, uint64_t now_us, const char *kind,
                      const char *fmt, ...)
{
    char line[512];
    va_list args;
    if (was_dropped(timeline))
        return;

    int n = snprintf(line, sizeof line - 1, "%llu %s ",
                     (unsigned long long)(now_us - timeline->start_mono_us), kind);
    va_start(args, fmt);
    n += vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, args);
    va_end(args);
    size_t len = mg_view_utf8_floor(mg_view_of(line, MG_MIN((size_t)n, sizeof line - 2)));
    one_line(line, len);
    line[len++] = '\n';

    /* the last words always have room */
    mg_view text = mg_view_of(line, len);
    if (timeline->note_bytes + len > sizeof timeline->note - (sizeof dropped - 1))
        text = mg_view_of(dropped, sizeof dropped - 1);
    memcpy(timeline->note + timeline->note_bytes, text.ptr, text.len);
    timeline->note_bytes = (uint16_t)(timeline->note_bytes + text.len);
}

uint64_t mg_timeline_duration_us(const struct mg_timeline *timeline)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < MG_PHASE_COUNT; i++)
        last = MG_MAX(last, timeline->phase_us[i]);
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        last = MG_MAX(last, timeline->attempts[i].start_us + timeline->attempts[i].end_us);
    return last;
}

const struct mg_attempt_record *mg_timeline_answer(const struct mg_timeline *timeline)
{
    for (unsigned i = timeline->attempt_count; i-- > 0;)
        if (timeline->attempts[i].class_ == MG_CLASS_none && timeline->attempts[i].status > 0)
            return &timeline->attempts[i];
    return timeline->attempt_count > 0 ? &timeline->attempts[timeline->attempt_count - 1] : NULL;
}

static uint64_t first_token_of(const struct mg_attempt_record *attempt)
{
    uint64_t mark_us = attempt->mark_us[MG_MARK_first_token];
    return mark_us > 0 ? attempt->start_us + mark_us : 0;
}

uint64_t mg_timeline_first_token_us(const struct mg_timeline *timeline)
{
    const struct mg_attempt_record *answer = mg_timeline_answer(timeline);
    const struct mg_attempt_record *broken = answer;
    if (!answer)
        return 0;
    while (answer->resumed_bytes > 0 && broken > timeline->attempts) {
        broken--;
        bool counts = broken->resumed_bytes == 0 && broken->class_ != MG_CLASS_cancelled;
        if (counts && first_token_of(broken) > 0)
            return first_token_of(broken);
    }
    return first_token_of(answer);
}

/* ---- ids: Crockford's alphabet in lower case, 48 bits of milliseconds and 80 bits of chance */

void mg_exchange_id(char out_id[40], uint64_t wall_us, const unsigned char random[10])
{
    uint64_t ms = wall_us / 1000;
    char *at = out_id;
    memcpy(at, "req_", 4);
    at += 4;
    for (int shift = 45; shift >= 0; shift -= 5)
        *at++ = base32[ms >> shift & 31];
    for (unsigned bit = 0; bit < 80; bit += 5) {
        unsigned pair = (unsigned)random[bit / 8] << 8 | (bit / 8 < 9 ? random[bit / 8 + 1] : 0u);
        *at++ = base32[pair >> (11 - bit % 8) & 31];
    }
    *at = '\0';
}

/* 26 digits of five bits: 128 bits behind two that are 0. */
bool mg_exchange_id_parts(mg_view id, struct mg_id_parts *out_parts)
{
    unsigned __int128 bits = 0;
    if (id.len != 30 || !mg_view_starts(id, MG_VIEW("req_")))
        return false;
    for (size_t i = 4; i < 30; i++) {
        const char *digit = id.ptr[i] ? strchr(base32, id.ptr[i]) : NULL;
        if (!digit)
            return false;
        bits = bits << 5 | (unsigned)(digit - base32);
    }
    *out_parts = (struct mg_id_parts){(uint64_t)(bits >> 80) & 0xffffffffffffu, (uint64_t)(bits >> 16), (uint16_t)bits};
    return true;
}

void mg_exchange_id_of(const struct mg_id_parts *parts, char out_id[40])
{
    unsigned char random[10];
    for (int i = 0; i < 8; i++)
        random[i] = (unsigned char)(parts->high >> (56 - 8 * i));
    random[8] = (unsigned char)(parts->low >> 8);
    random[9] = (unsigned char)parts->low;
    mg_exchange_id(out_id, parts->ms * 1000, random);
}

bool mg_exchange_id_time(mg_view id, uint64_t *out_wall_us)
{
    struct mg_id_parts parts;
    if (!mg_exchange_id_parts(id, &parts))
        return false;
    *out_wall_us = parts.ms * 1000;
    return true;
}

static void add_usage(struct mg_usage *sum, const struct mg_usage *usage)
{
    sum->input_tokens += usage->input_tokens;
    sum->output_tokens += usage->output_tokens;
    sum->cached_read_tokens += usage->cached_read_tokens;
    sum->cached_write_tokens += usage->cached_write_tokens;
    sum->reasoning_tokens += usage->reasoning_tokens;
    sum->input_audio_tokens += usage->input_audio_tokens;
    sum->output_audio_tokens += usage->output_audio_tokens;
    sum->images += usage->images;
    sum->audio_ms += usage->audio_ms;
    sum->characters += usage->characters;
    sum->searches += usage->searches;
    sum->reported = sum->reported && (usage->reported || usage->input_tokens + usage->output_tokens == 0);
}

void mg_timeline_totals(const struct mg_timeline *timeline, struct mg_totals *out_totals)
{
    *out_totals = (struct mg_totals){
        .duration_us = mg_timeline_duration_us(timeline),
        .ttft_us = mg_timeline_first_token_us(timeline),
        .usage.reported = true,
    };
    out_totals->overhead_us = out_totals->duration_us - MG_MIN(out_totals->duration_us, timeline->upstream_us);
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        const struct mg_attempt_record *attempt = &timeline->attempts[i];
        add_usage(&out_totals->usage, &attempt->usage);
        out_totals->waited_us += attempt->waited_us;
        out_totals->cost_microusd += attempt->cost_microusd;
    }
}

mg_view mg_timeline_tried(const struct mg_timeline *timeline, char room[MG_TRIED_BYTES])
{
    size_t len = 0;
    if (timeline->attempt_count < 2)
        return MG_VIEW_NONE;
    room[len++] = '\n';
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        const struct mg_attempt_record *attempt = &timeline->attempts[i];
        len += (size_t)snprintf(room + len, MG_TRIED_BYTES - len, "%.*s\t%.*s\n", MG_FMT(mg_view_head(attempt->provider, 40)),
                                MG_FMT(mg_view_head(attempt->model, 128)));
    }
    return mg_view_of(room, len);
}
