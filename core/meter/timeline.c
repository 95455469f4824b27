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

bool mg_exchange_id_time(mg_view id, uint64_t *out_wall_us)
{
    uint64_t ms = 0;
    if (id.len != 30 || !mg_view_starts(id, MG_VIEW("req_")))
        return false;
    for (size_t i = 4; i < 30; i++) {
        const char *digit = id.ptr[i] ? strchr(base32, id.ptr[i]) : NULL;
        if (!digit)
            return false;
        if (i < 14)
            ms = ms << 5 | (uint64_t)(digit - base32);
    }
    *out_wall_us = (ms & 0xffffffffffffu) * 1000;
    return true;
}
