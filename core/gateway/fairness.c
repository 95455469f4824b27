#include "gateway/fairness.h"

#include "base/mem.h"

static void on_serve(struct mg_defer *defer);
static void on_patience(struct mg_timer *timer);

void mg_fair_init(struct mg_fair *fair, const struct mg_config_overload *rules, struct mg_loop *loop,
                  const struct mg_journal *journal)
{
    *fair = (struct mg_fair){.rules = rules, .loop = loop, .journal = journal};
    mg_map_init(&fair->shares);
    mg_list_init(&fair->lines);
}

void mg_fair_fini(struct mg_fair *fair)
{
    size_t at = 0;
    mg_view project;
    void *share;
    mg_loop_defer_cancel(&fair->serve);
    while (mg_map_next(&fair->shares, &at, &project, &share))
        mg_free(share);
    mg_map_fini(&fair->shares);
}

static double weight_of(const struct mg_config_overload *rules, mg_view project)
{
    for (int i = 0; i < rules->share_count; i++)
        if (mg_view_eq(mg_view_cstr(rules->shares[i].project), project))
            return rules->shares[i].share;
    return 1;
}

struct mg_fair_share *mg_fair_share(struct mg_fair *fair, mg_view project)
{
    struct mg_fair_share *share = mg_map_get(&fair->shares, project);
    if (share)
        return share;
    share = mg_new(struct mg_fair_share);
    share->weight = weight_of(fair->rules, project);
    mg_list_init(&share->line);
    mg_list_init(&share->link);
    mg_map_put(&fair->shares, project, share);
    return share;
}

bool mg_fair_must_wait(const struct mg_fair *fair, const struct mg_fair_share *share)
{
    struct mg_journal_stats stats;
    mg_journal_stats(fair->journal, &stats);
    return mg_journal_spare(fair->journal) + stats.reserved >= share->record_bytes;
}

/* ---- waiting ---------------------------------------------------------------------------------- */

static void step_out(struct mg_fair_wait *wait)
{
    struct mg_fair_share *share = wait->share;
    mg_list_remove(&wait->link);
    mg_timer_cancel(wait->fair->loop, &wait->patience);
    wait->state = MG_FAIR_OUT;
    wait->fair->waiting--;
    if (--share->waiting == 0)
        mg_list_remove(&share->link);
}

static double crowding(const struct mg_fair_share *share, uint32_t more)
{
    return (share->waiting + more) / share->weight;
}

static struct mg_fair_share *most_crowded(struct mg_fair *fair)
{
    struct mg_fair_share *most = NULL;
    MG_LIST_EACH(link, next, &fair->lines) {
        struct mg_fair_share *share = mg_container_of(link, struct mg_fair_share, link);
        if (!most || crowding(share, 0) > crowding(most, 0))
            most = share;
    }
    return most;
}

/* Room for one more of this project, if need be at the cost of the newest one of the project that fills the queue. */
static bool make_room(struct mg_fair *fair, const struct mg_fair_share *share)
{
    if (fair->waiting < fair->rules->queue)
        return true;
    struct mg_fair_share *most = most_crowded(fair);
    if (!most || most == share || crowding(share, 1) >= crowding(most, 0))
        return false;
    struct mg_fair_wait *newest = mg_container_of(most->line.prev, struct mg_fair_wait, link);
    step_out(newest);
    newest->cb(newest, false);
    return true;
}

bool mg_fair_wait(struct mg_fair *fair, struct mg_fair_share *share, struct mg_fair_wait *wait, mg_fair_cb cb)
{
    if (!make_room(fair, share))
        return false;
    wait->fair = fair;
    wait->share = share;
    wait->cb = cb;
    wait->state = MG_FAIR_WAITING;
    mg_list_push_back(&share->line, &wait->link);
    fair->waiting++;
    if (share->waiting++ == 0)
        mg_list_push_back(&fair->lines, &share->link);
    mg_timer_start(fair->loop, &wait->patience, fair->rules->queue_ms, on_patience);
    if (fair->running < fair->rules->in_flight)
        mg_loop_defer(fair->loop, &fair->serve, on_serve);
    return true;
}

static void on_patience(struct mg_timer *timer)
{
    struct mg_fair_wait *wait = mg_container_of(timer, struct mg_fair_wait, patience);
    step_out(wait);
    wait->cb(wait, false);
}

void mg_fair_left(struct mg_fair_wait *wait)
{
    if (wait->state == MG_FAIR_WAITING) {
        step_out(wait);
        return;
    }
    wait->fair->running--;
    wait->share->running--;
    wait->state = MG_FAIR_OUT;
    mg_loop_defer(wait->fair->loop, &wait->fair->serve, on_serve);
}

/* ---- serving ---------------------------------------------------------------------------------- */

static struct mg_fair_share *next_share(struct mg_fair *fair)
{
    struct mg_fair_share *best = NULL;
    MG_LIST_EACH(link, next, &fair->lines) {
        struct mg_fair_share *share = mg_container_of(link, struct mg_fair_share, link);
        if (!best || (share->running + 1) / share->weight < (best->running + 1) / best->weight)
            best = share;
    }
    return best;
}

static void on_serve(struct mg_defer *defer)
{
    struct mg_fair *fair = mg_container_of(defer, struct mg_fair, serve);
    while (fair->running < fair->rules->in_flight && fair->waiting) {
        struct mg_fair_share *share = next_share(fair);
        if (!mg_fair_has_room(fair, share))
            return;                    /* the next one that leaves looks again */
        struct mg_fair_wait *wait = mg_container_of(share->line.next, struct mg_fair_wait, link);
        step_out(wait);
        fair->running++;
        share->running++;
        wait->state = MG_FAIR_RUNNING;
        wait->cb(wait, true);          /* may end at once, and then leaves by itself */
    }
}
