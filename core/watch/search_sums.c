/* Sums go column by column over the rows that were chosen: each row has a slot, which is the summary it counts in. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json_members.h"
#include "meter/ledger.h"
#include "watch/histogram.h"
#include "watch/search_parts.h"

enum { NO_SLOT = UINT32_MAX };

struct tally {
    struct mg_summary *sums;           /* borrowed array: one for each slot */
    struct mg_histogram *durations, *ttfts;      /* owned arrays */
    unsigned slots;
    uint32_t rows[MG_BLOCK_ROWS];      /* chosen ones that have a slot … */
    uint32_t slot[MG_BLOCK_ROWS];      /* … and which */
    uint32_t count;
};

static struct tally *new_tally(struct mg_summary *sums, unsigned slots)
{
    struct tally *tally = mg_new(struct tally);
    tally->sums = sums;
    tally->slots = slots;
    tally->durations = mg_new_array(struct mg_histogram, slots);
    tally->ttfts = mg_new_array(struct mg_histogram, slots);
    memset(sums, 0, slots * sizeof sums[0]);
    return tally;
}

static void free_tally(struct tally *tally)
{
    mg_free(tally->durations);
    mg_free(tally->ttfts);
    mg_free(tally);
}

/* ---- the rows of a part */

/* Calls body for each row k of the tally: i is its number in the block, sum its summary. */
#define EACH(tally, body)                                                                          \
    for (uint32_t k = 0; k < (tally)->count; k++) {                                                \
        uint32_t i = (tally)->rows[k];                                                             \
        struct mg_summary *sum = &(tally)->sums[(tally)->slot[k]];                                 \
        body;                                                                                      \
    }

/* The same over a column, whose cells' width is looked at once. */
#define EACH_CELL(tally, column, value, body)                                                      \
    do {                                                                                           \
        uint64_t base = (uint64_t)(column)->base, value = base;                                    \
        switch ((column)->width) {                                                                 \
        case 1: EACH(tally, value = base + ((const uint8_t *)(column)->cells)[i]; body) break;     \
        case 2: EACH(tally, value = base + ((const uint16_t *)(column)->cells)[i]; body) break;    \
        case 4: EACH(tally, value = base + ((const uint32_t *)(column)->cells)[i]; body) break;    \
        case 8: EACH(tally, value = base + ((const uint64_t *)(column)->cells)[i]; body) break;    \
        default: EACH(tally, (void)i; body) break;                                                 \
        }                                                                                          \
    } while (0)

static mg_err add_field(struct tally *tally, struct mg_block *block, enum mg_field field, size_t offset)
{
    const struct mg_column *column;
    MG_TRY(mg_block_column(block, field, &column));
    EACH_CELL(tally, column, value, *(uint64_t *)(void *)((char *)sum + offset) += value);
    return MG_OK;
}

static mg_err add_outcomes(struct tally *tally, struct mg_block *block)
{
    const struct mg_column *status, *flags, *attempts;
    MG_TRY(mg_block_column(block, MG_FIELD_status, &status));
    MG_TRY(mg_block_column(block, MG_FIELD_flags, &flags));
    MG_TRY(mg_block_column(block, MG_FIELD_attempts, &attempts));
    EACH(tally, sum->count++;
         sum->errors += mg_column_number(status, i) >= 400 || !(mg_column_number(flags, i) & MG_ROW_CLEAN));
    if (attempts->high > 1)
        EACH_CELL(tally, attempts, value, sum->retried += value > 1);
    return MG_OK;
}

static mg_err add_times(struct tally *tally, struct mg_block *block)
{
    const struct mg_column *durations, *ttfts, *times;
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
    MG_TRY(mg_block_column(block, MG_FIELD_duration_us, &durations));
    MG_TRY(mg_block_column(block, MG_FIELD_ttft_us, &ttfts));
    EACH_CELL(tally, durations, value, (void)sum; mg_histogram_add(&tally->durations[tally->slot[k]], value));
    EACH_CELL(tally, ttfts, value, (void)sum; if (value > 0) mg_histogram_add(&tally->ttfts[tally->slot[k]], value));
    EACH_CELL(tally, times, value, sum->first_us = sum->first_us ? MG_MIN(sum->first_us, value) : value;
              sum->last_us = MG_MAX(sum->last_us, value));
    return MG_OK;
}

static mg_err add_part(struct tally *tally, struct mg_block *block)
{
    MG_TRY(add_outcomes(tally, block));
    MG_TRY(add_field(tally, block, MG_FIELD_input_tokens, offsetof(struct mg_summary, input_tokens)));
    MG_TRY(add_field(tally, block, MG_FIELD_output_tokens, offsetof(struct mg_summary, output_tokens)));
    MG_TRY(add_field(tally, block, MG_FIELD_cached_read_tokens, offsetof(struct mg_summary, cached_read_tokens)));
    MG_TRY(add_field(tally, block, MG_FIELD_cost_microusd, offsetof(struct mg_summary, cost_microusd)));
    return add_times(tally, block);
}

static void end_tally(struct tally *tally)
{
    static const unsigned thousandths[] = {500, 900, 950, 990};
    for (unsigned slot = 0; slot < tally->slots; slot++) {
        for (unsigned i = 0; i < MG_COUNT(thousandths) && tally->sums[slot].count > 0; i++) {
            tally->sums[slot].duration_us[i] = mg_histogram_at(&tally->durations[slot], thousandths[i]);
            tally->sums[slot].ttft_us[i] = mg_histogram_at(&tally->ttfts[slot], thousandths[i]);
        }
    }
}

/* ---- going over all parts, with a slot for each row */

typedef mg_err (*slots_fn)(void *arg, struct mg_block *block, const struct mg_selection *selection, struct tally *tally);

static mg_err go_over(struct mg_search *search, const struct mg_query *query, struct tally *tally, slots_fn slots, void *arg)
{
    uint64_t since_us, until_us;
    mg_search_begin(search, query, &since_us, &until_us);
    for (size_t i = 0; i < mg_search_parts(search); i++) {
        struct mg_block *block;
        MG_TRY(mg_search_part(search, query, i, since_us, until_us, &block));
        if (!block)
            continue;
        tally->count = 0;
        mg_err err = slots(arg, block, search->selection, tally);
        if (err == MG_OK)
            err = add_part(tally, block);
        search->effort.damaged += err == MG_E_STORE;
        if (err != MG_OK && err != MG_E_STORE)
            return err;
    }
    end_tally(tally);
    return MG_OK;
}

static void take(struct tally *tally, uint32_t row, uint32_t slot)
{
    tally->rows[tally->count] = row;
    tally->slot[tally->count++] = slot;
}

static mg_err one_slot(void *arg, struct mg_block *block, const struct mg_selection *selection, struct tally *tally)
{
    (void)arg, (void)block;
    for (uint32_t i = selection->from; i < selection->to; i++)
        if (selection->chosen[i])
            take(tally, i, 0);
    return MG_OK;
}

mg_err mg_search_summary(struct mg_search *search, const struct mg_query *query, struct mg_summary *out_summary)
{
    struct tally *tally = new_tally(out_summary, 1);
    mg_err err = go_over(search, query, tally, one_slot, NULL);
    free_tally(tally);
    return err;
}

/* ---- over time */

struct steps {
    uint64_t since_us, step_us;
    unsigned count;
};

static mg_err step_slots(void *arg, struct mg_block *block, const struct mg_selection *selection, struct tally *tally)
{
    const struct steps *steps = arg;
    const struct mg_column *times;
    uint64_t end_us = steps->since_us;
    uint32_t slot = NO_SLOT; /* rows come in the order of time: a division only where a step begins */
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
    for (uint32_t i = selection->from; i < selection->to; i++) {
        if (!selection->chosen[i])
            continue;
        uint64_t at_us = (uint64_t)mg_column_number(times, i);
        if (at_us >= end_us) {
            slot = (uint32_t)MG_MIN((at_us - steps->since_us) / steps->step_us, (uint64_t)steps->count);
            end_us = steps->since_us + (slot + 1) * steps->step_us;
        }
        if (slot < steps->count)
            take(tally, i, slot);
    }
    return MG_OK;
}

mg_err mg_search_series(struct mg_search *search, const struct mg_query *query, uint64_t since_us, uint64_t step_us,
                        unsigned count, struct mg_summary *out)
{
    struct steps steps = {since_us, step_us, MG_MIN(count, (unsigned)MG_SEARCH_STEPS)};
    struct tally *tally = new_tally(out, steps.count);
    mg_err err = go_over(search, query, tally, step_slots, &steps);
    free_tally(tally);
    return err;
}

/* ---- by a field */

/* Values by their hash under the process's seed (base/map.h), which is as good as the value. What is looked up is small and
 * lies together: columns have many words. */
struct bucket {
    uint64_t hash;                     /* 0: free */
    uint64_t rows;                     /* afterwards: the slot among the largest, or NO_SLOT */
};

enum { BUCKETS = 262144 };             /* a power of two above twice MG_SEARCH_KEYS */

struct grouping {
    struct mg_search *search;
    enum mg_field field;
    mg_view metadata_key;
    struct bucket *buckets;            /* owned array */
    mg_view *values;                   /* owned array: the bucket's, in the arena */
    unsigned count;
    struct mg_arena arena;
    uint32_t of_word[MG_BLOCK_ROWS];   /* count of rows, or slot, of each word of a part */
};

static mg_view group_value(const struct grouping *grouping, mg_view word)
{
    if (grouping->field != MG_FIELD_metadata)
        return word;
    mg_view value = word.len > 0 ? mg_json_member(word, grouping->metadata_key) : MG_VIEW_NONE;
    return value.len >= 2 && value.ptr[0] == '"' ? mg_view_of(value.ptr + 1, value.len - 2) : value;
}

/* The value's bucket, or a free one. */
static size_t find_bucket(const struct grouping *grouping, uint64_t hash)
{
    size_t at = hash & (BUCKETS - 1);
    while (grouping->buckets[at].hash && grouping->buckets[at].hash != hash)
        at = (at + 1) & (BUCKETS - 1);
    return at;
}

static uint64_t hash_of(mg_view value)
{
    uint64_t hash = mg_hash(value);
    return hash ? hash : 1;
}

static void count_word(struct grouping *grouping, mg_view word, uint32_t rows)
{
    mg_view value = group_value(grouping, word);
    uint64_t hash = hash_of(value);
    struct bucket *bucket = &grouping->buckets[find_bucket(grouping, hash)];
    if (!bucket->hash && grouping->count == MG_SEARCH_KEYS)
        return;
    if (!bucket->hash) {
        bucket->hash = hash;
        grouping->values[bucket - grouping->buckets] = mg_arena_dup(&grouping->arena, value);
        grouping->count++;
    }
    bucket->rows += rows;
}

static mg_err count_part(struct grouping *grouping, struct mg_block *block)
{
    const struct mg_selection *selection = grouping->search->selection;
    const struct mg_column *column;
    MG_TRY(mg_block_column(block, grouping->field, &column));
    memset(grouping->of_word, 0, column->word_count * sizeof grouping->of_word[0]);
    for (uint32_t i = selection->from; i < selection->to; i++)
        grouping->of_word[mg_column_cell(column, i)] += selection->chosen[i];
    for (uint32_t word = 0; word < column->word_count; word++)
        if (grouping->of_word[word] > 0)
            count_word(grouping, mg_column_word(column, word), grouping->of_word[word]);
    return MG_OK;
}

static mg_err count_all(struct grouping *grouping, const struct mg_query *query)
{
    uint64_t since_us, until_us;
    mg_search_begin(grouping->search, query, &since_us, &until_us);
    for (size_t i = 0; i < mg_search_parts(grouping->search); i++) {
        struct mg_block *block;
        MG_TRY(mg_search_part(grouping->search, query, i, since_us, until_us, &block));
        mg_err err = block ? count_part(grouping, block) : MG_OK;
        if (err != MG_OK && err != MG_E_STORE)
            return err;
    }
    return MG_OK;
}

struct candidate {
    uint64_t rows;
    mg_view value;
    size_t bucket;
};

static int by_rows(const void *a, const void *b)
{
    const struct candidate *first = a, *second = b;
    if (first->rows != second->rows)
        return first->rows > second->rows ? -1 : 1;
    size_t shorter = MG_MIN(first->value.len, second->value.len);
    int order = shorter > 0 ? memcmp(first->value.ptr, second->value.ptr, shorter) : 0;
    return order ? order : (first->value.len > second->value.len) - (first->value.len < second->value.len);
}

/* Gives the largest their slots; answers how many there are. *out_largest is the caller's to free. */
static unsigned choose_largest(struct grouping *grouping, unsigned limit, struct candidate **out_largest)
{
    size_t count = 0;
    struct candidate *all = *out_largest = mg_new_array(struct candidate, MG_MAX(grouping->count, 1u));
    for (size_t at = 0; at < BUCKETS; at++) {
        struct bucket *bucket = &grouping->buckets[at];
        if (bucket->hash)
            all[count++] = (struct candidate){bucket->rows, grouping->values[at], at};
        bucket->rows = NO_SLOT;
    }
    qsort(all, count, sizeof all[0], by_rows);
    unsigned chosen = (unsigned)MG_MIN(count, (size_t)limit);
    for (unsigned i = 0; i < chosen; i++)
        grouping->buckets[all[i].bucket].rows = i;
    return chosen;
}

static mg_err group_slots(void *arg, struct mg_block *block, const struct mg_selection *selection, struct tally *tally)
{
    struct grouping *grouping = arg;
    const struct mg_column *column;
    MG_TRY(mg_block_column(block, grouping->field, &column));
    for (uint32_t word = 0; word < column->word_count; word++) {
        uint64_t hash = hash_of(group_value(grouping, mg_column_word(column, word)));
        const struct bucket *bucket = &grouping->buckets[find_bucket(grouping, hash)];
        grouping->of_word[word] = bucket->hash ? (uint32_t)bucket->rows : NO_SLOT;
    }
    for (uint32_t i = selection->from; i < selection->to; i++) {
        uint32_t slot = selection->chosen[i] ? grouping->of_word[mg_column_cell(column, i)] : NO_SLOT;
        if (slot != NO_SLOT)
            take(tally, i, slot);
    }
    return MG_OK;
}

static mg_err tell_groups(struct grouping *grouping, const struct mg_query *query, const struct candidate *largest, unsigned count,
                          mg_group_cb cb, void *arg)
{
    struct mg_summary *sums = mg_new_array(struct mg_summary, count);
    struct tally *tally = new_tally(sums, count);
    mg_err err = go_over(grouping->search, query, tally, group_slots, grouping);
    for (unsigned i = 0; i < count && err == MG_OK; i++)
        err = cb(arg, &(struct mg_group){.value = largest[i].value, .summary = sums[i]});
    free_tally(tally);
    mg_free(sums);
    return err;
}

static struct grouping *new_grouping(struct mg_search *search, enum mg_field field, mg_view metadata_key)
{
    struct grouping *grouping = mg_new(struct grouping);
    grouping->search = search;
    grouping->field = field;
    grouping->metadata_key = metadata_key;
    grouping->buckets = mg_new_array(struct bucket, BUCKETS);
    grouping->values = mg_new_array(mg_view, BUCKETS);
    mg_arena_init(&grouping->arena, 65536);
    return grouping;
}

static void free_grouping(struct grouping *grouping)
{
    mg_arena_fini(&grouping->arena);
    mg_free(grouping->buckets);
    mg_free(grouping->values);
    mg_free(grouping);
}

mg_err mg_search_groups(struct mg_search *search, const struct mg_query *query, enum mg_field field, mg_view metadata_key,
                        unsigned limit, mg_group_cb cb, void *arg)
{
    struct grouping *grouping = new_grouping(search, field, metadata_key);
    struct candidate *largest = NULL;
    mg_err err = count_all(grouping, query);
    unsigned count = err == MG_OK ? choose_largest(grouping, MG_MIN(limit, (unsigned)MG_SEARCH_GROUPS), &largest) : 0;
    if (count > 0)
        err = tell_groups(grouping, query, largest, count, cb, arg);
    mg_free(largest);
    free_grouping(grouping);
    return err;
}
