#include "meter/charge.h"

/* The attempt whose bytes the client got last. When nobody ended well, it is the last one that had
 * content to give: a hedge that lost had been cancelled before. */
static const struct mg_attempt_record *answering(const struct mg_timeline *timeline)
{
    const struct mg_attempt_record *answer = mg_timeline_answer(timeline);
    if (!answer || (answer->class_ == MG_CLASS_none && answer->status > 0))
        return answer;
    for (unsigned i = timeline->attempt_count; i-- > 0;)
        if (timeline->attempts[i].mark_us[MG_MARK_first_token] > 0)
            return &timeline->attempts[i];
    return NULL;
}

/* A rescue went on where this one broke off. */
static bool was_rescued(const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    const struct mg_attempt_record *end = timeline->attempts + timeline->attempt_count;
    for (const struct mg_attempt_record *next = attempt + 1; next < end; next++)
        if (next->reason == MG_REASON_rescue && next->resumed_bytes > 0)
            return attempt->mark_us[MG_MARK_first_token] > 0 && attempt->class_ != MG_CLASS_cancelled;
    return false;
}

bool mg_charge_served(const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    bool sent = timeline->phase_us[MG_PHASE_commit] > 0 && !timeline->offline &&
                (timeline->status < 400 || timeline->status == 499);
    return sent && (attempt == answering(timeline) || was_rescued(timeline, attempt));
}

uint64_t mg_charge_serving(const struct mg_timeline *timeline)
{
    uint64_t uncharged = 0;
    for (unsigned i = 0; i < timeline->attempt_count && i < 64; i++)
        if (!mg_charge_served(timeline, &timeline->attempts[i]))
            uncharged |= UINT64_C(1) << i;
    return uncharged;
}
