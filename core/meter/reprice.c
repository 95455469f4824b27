#include "meter/reprice.h"

#include "base/clock.h"
#include "base/mem.h"

struct mg_reprice_change {
    uint64_t at_us;
    unsigned number;                   /* of the attempt; 0: of the whole exchange, in microdollars */
    bool priced;
    uint64_t cost;
};

struct looking {
    struct mg_reprice *reprice;
    const struct mg_prices *prices;
    uint64_t microusd;                 /* of the exchange so far */
    bool changed;                      /* something of the exchange is */
};

static void add_change(struct mg_reprice *reprice, struct mg_reprice_change change)
{
    if (reprice->change_count == reprice->change_room) {
        reprice->change_room = MG_MAX((size_t)64, reprice->change_room * 2);
        reprice->changes = mg_realloc(reprice->changes, reprice->change_room * sizeof reprice->changes[0]);
    }
    reprice->changes[reprice->change_count++] = change;
}

/* False: it keeps the cost it has. */
static bool cost_now(struct looking *looking, const struct mg_usage_event *event, bool *out_priced, uint64_t *out_cost)
{
    static const struct mg_price of_target;      /* nobody remembers what it was, but that it was */
    const struct mg_attempt_record *attempt = event->attempt;
    struct mg_price_call call = {
        .project = event->exchange->project,
        .provider = attempt->provider,
        .vendor = attempt->vendor,
        .model = attempt->model,
        .served = attempt->served,
        .tier = attempt->tier,
        .at_us = event->exchange->start_wall_us + attempt->start_us,
        .own = attempt->own_price ? &of_target : NULL,
    };
    const struct mg_price *price = mg_prices_find(looking->prices, &call);
    if (price == &of_target) {
        looking->reprice->kept++;
        return false;
    }
    *out_cost = price ? mg_price_cost(price, &attempt->usage, attempt->tier) : 0;
    *out_priced = price != NULL;
    return true;
}

static void end_exchange(struct looking *looking, const struct mg_usage_event *event)
{
    looking->reprice->exchanges++;
    if (looking->changed)
        add_change(looking->reprice, (struct mg_reprice_change){.at_us = event->at_us, .cost = looking->microusd});
    looking->changed = false;
    looking->microusd = 0;
}

static mg_err look_at(void *arg, const struct mg_usage_event *event)
{
    struct looking *looking = arg;
    struct mg_reprice *reprice = looking->reprice;
    const struct mg_attempt_record *attempt = event->attempt;
    uint64_t cost = event->cost_picousd;
    bool priced = event->priced;
    bool known = cost_now(looking, event, &priced, &cost);
    if (known && (priced != event->priced || cost != event->cost_picousd)) {
        add_change(reprice, (struct mg_reprice_change){event->at_us, attempt->number, priced, cost});
        reprice->changed++;
        looking->changed = true;
    }
    reprice->attempts++;
    reprice->unpriced += !priced && attempt->usage.input_tokens + attempt->usage.output_tokens > 0;
    reprice->before_picousd += event->cost_picousd;
    reprice->after_picousd += cost;
    looking->microusd += mg_microusd(cost);
    if (attempt->number == event->exchange->attempt_count)
        end_exchange(looking, event);
    return MG_OK;
}

mg_err mg_reprice_read(struct mg_db *db, const struct mg_prices *prices, const struct mg_usage_range *range,
                       struct mg_reprice *out_reprice)
{
    struct mg_usage_range piece = *range;
    struct looking looking = {.reprice = out_reprice, .prices = prices};
    *out_reprice = (struct mg_reprice){0};
    if (!piece.max_exchanges)
        piece.max_exchanges = MG_REPRICE_EXCHANGES;
    MG_TRY(mg_usage_each(db, &piece, look_at, &looking, &out_reprice->next_us));
    out_reprice->done = out_reprice->next_us == range->from_us || (range->to_us && out_reprice->next_us >= range->to_us);
    return MG_OK;
}

static mg_err write_change(const struct mg_reprice_change *change, struct mg_stmt *attempt, struct mg_stmt *exchange)
{
    struct mg_stmt *stmt = change->number ? attempt : exchange;
    mg_stmt_bind_int(stmt, 1, (int64_t)change->at_us);
    mg_stmt_bind_int(stmt, 2, (int64_t)MG_MIN(change->cost, (uint64_t)INT64_MAX));
    if (change->number) {
        mg_stmt_bind_int(stmt, 3, change->number);
        mg_stmt_bind_int(stmt, 4, change->priced);
        mg_stmt_bind_int(stmt, 5, (int64_t)mg_wall_us());
    }
    return mg_stmt_run(stmt);
}

mg_err mg_reprice_write(void *arg, struct mg_db *db)
{
    const struct mg_reprice *reprice = arg;
    struct mg_stmt *attempt = NULL, *exchange = NULL;
    mg_err err = mg_db_prepare(db,
                               "INSERT INTO repriced (at_us, cost_picousd, number, priced, repriced_us) VALUES (?1, ?2, ?3, ?4, ?5) "
                               "ON CONFLICT (at_us, number) DO UPDATE SET cost_picousd = excluded.cost_picousd, priced = excluded.priced, "
                               "repriced_us = excluded.repriced_us",
                               &attempt);
    if (err == MG_OK)
        err = mg_db_prepare(db, "UPDATE exchanges SET cost_microusd = ?2 WHERE at_us = ?1", &exchange);
    for (size_t i = 0; i < reprice->change_count && err == MG_OK; i++)
        err = write_change(&reprice->changes[i], attempt, exchange);
    mg_stmt_free(attempt);
    mg_stmt_free(exchange);
    return err;
}

void mg_reprice_fini(struct mg_reprice *reprice)
{
    mg_free(reprice->changes);
    reprice->changes = NULL;
    reprice->change_count = reprice->change_room = 0;
}
