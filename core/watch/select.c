#include "watch/select.h"

#include <string.h>

#include "base/mem.h"
#include "http/json_members.h"
#include "meter/ledger.h"

/* ---- words */

/* All of a condition's patterns are plain texts: then only words of their lengths are looked at. */
static bool is_plain(const struct mg_condition *condition)
{
    return condition->literal || mg_view_find(condition->patterns, ",*") == condition->patterns.len;
}

bool mg_condition_matches(const struct mg_condition *condition, mg_view text)
{
    mg_view rest = condition->patterns;
    if (condition->literal || rest.len == 0)
        return mg_view_eq(rest, text);
    while (rest.len > 0)
        if (mg_view_glob(mg_view_cut(&rest, ','), text))
            return true;
    return false;
}

/* "\n<provider>\t<model>\n…": some attempt's. */
static bool tried_matches(const struct mg_condition *condition, mg_view tried)
{
    while (tried.len > 0) {
        mg_view model = mg_view_cut(&tried, '\n');
        mg_view provider = mg_view_cut(&model, '\t');
        if (provider.len > 0 && mg_condition_matches(condition, condition->field == MG_FIELD_provider ? provider : model))
            return true;
    }
    return false;
}

/* A text as it is spelt between its quotes; a number, true or null as they stand. */
static bool metadata_matches(const struct mg_condition *condition, mg_view metadata)
{
    mg_view value = metadata.len > 0 ? mg_json_member(metadata, condition->key) : MG_VIEW_NONE;
    bool text = value.len >= 2 && value.ptr[0] == '"';
    return value.len > 0 && mg_condition_matches(condition, text ? mg_view_of(value.ptr + 1, value.len - 2) : value);
}

/* Marks the words that match; answers how many do. */
static uint32_t match_words(const struct mg_condition *condition, const struct mg_column *column,
                            bool (*matches)(const struct mg_condition *, mg_view), uint8_t *words)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < column->word_count; i++)
        count += words[i] = matches(condition, mg_column_word(column, i));
    return count;
}

static uint32_t match_plain(mg_view text, const struct mg_column *column, uint8_t *words)
{
    uint32_t count = 0, from = 0;
    memset(words, 0, column->word_count);
    for (uint32_t i = 0; i < column->word_count; from = column->ends[i++])
        if (column->ends[i] - from == text.len && memcmp(column->letters + from, text.ptr, text.len) == 0)
            count += words[i] = 1;
    return count;
}

/* Which word a letter belongs to. */
static uint32_t word_at(const struct mg_column *column, size_t letter)
{
    uint32_t low = 0, high = column->word_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (column->ends[middle] <= letter)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What metadata with the value has in it: the text between quotes, unless it may be a number or a word of JSON's. */
static mg_view needle_of(mg_view value, char room[MG_QUERY_TEXT + 2])
{
    bool bare = value.len == 0 || mg_view_find(value, "0123456789{[") == 0 || value.ptr[0] == '-' || mg_view_eq(value, MG_VIEW("true")) ||
                mg_view_eq(value, MG_VIEW("false")) || mg_view_eq(value, MG_VIEW("null"));
    if (bare)
        return value;
    room[0] = room[value.len + 1] = '"';
    memcpy(room + 1, value.ptr, value.len);
    return mg_view_of(room, value.len + 2);
}

/* Only metadata with the text in it somewhere is looked at more closely. */
static uint32_t match_metadata(const struct mg_condition *condition, const struct mg_column *column, uint8_t *words)
{
    char room[MG_QUERY_TEXT + 2];
    uint32_t count = 0;
    mg_view needle = needle_of(condition->patterns, room);
    mg_view letters = mg_view_of(column->letters, column->word_count ? column->ends[column->word_count - 1] : 0);
    memset(words, 0, column->word_count);
    for (const char *at = letters.ptr, *end = letters.ptr + letters.len; at < end;) {
        const char *hit = memmem(at, (size_t)(end - at), needle.ptr, needle.len);
        if (!hit)
            break;
        uint32_t word = word_at(column, (size_t)(hit - letters.ptr));
        count += words[word] = metadata_matches(condition, mg_column_word(column, word));
        at = letters.ptr + column->ends[word];
    }
    return count;
}

/* ---- one condition: chosen[i] &= it holds for row i */

static void choose_none(struct mg_selection *selection)
{
    memset(selection->chosen + selection->from, 0, selection->to - selection->from);
}

#define KEEP_EACH(selection, holds)                                                                \
    for (uint32_t i = (selection)->from; i < (selection)->to; i++)                                 \
        (selection)->chosen[i] &= (uint8_t)(holds)

static void keep_words(struct mg_selection *selection, const struct mg_column *column, uint8_t flip)
{
    const uint8_t *words = selection->words;
    switch (column->width) {
    case 1: KEEP_EACH(selection, words[((const uint8_t *)column->cells)[i]] ^ flip); break;
    case 2: KEEP_EACH(selection, words[((const uint16_t *)column->cells)[i]] ^ flip); break;
    default: KEEP_EACH(selection, words[mg_column_cell(column, i)] ^ flip);
    }
}

static mg_err keep_text(struct mg_block *block, const struct mg_condition *condition,
                        struct mg_selection *selection)
{
    const struct mg_column *column;
    uint32_t count;
    MG_TRY(mg_block_column(block, condition->field, &column));
    if (condition->kind == MG_COND_METADATA)
        count = is_plain(condition) ? match_metadata(condition, column, selection->words)
                                    : match_words(condition, column, metadata_matches, selection->words);
    else
        count = is_plain(condition) ? match_plain(condition->patterns, column, selection->words)
                                    : match_words(condition, column, mg_condition_matches, selection->words);
    if (count == (condition->negate ? column->word_count : 0))
        choose_none(selection);
    else if (count != (condition->negate ? 0 : column->word_count))
        keep_words(selection, column, condition->negate);
    return MG_OK;
}

/* The last attempt stands in columns, all of several in `tried`. */
static mg_err keep_tried(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    const struct mg_column *last, *tried;
    uint8_t *match_tried;
    MG_TRY(mg_block_column(block, condition->field, &last));
    MG_TRY(mg_block_column(block, MG_FIELD_tried, &tried));
    uint32_t count = match_words(condition, last, mg_condition_matches, selection->words);
    match_tried = mg_alloc(MG_MAX(tried->word_count, 1u));
    count += match_words(condition, tried, tried_matches, match_tried);
    if (count == 0 && !condition->negate)
        choose_none(selection);
    else if (count > 0)
        KEEP_EACH(selection, (selection->words[mg_column_cell(last, i)] | match_tried[mg_column_cell(tried, i)]) ^ condition->negate);
    mg_free(match_tried);
    return MG_OK;
}

static void keep_cells(struct mg_selection *selection, const struct mg_column *column, uint64_t low, uint64_t high, uint8_t flip)
{
    uint64_t span = high - low;
    switch (column->width) {
    case 1: KEEP_EACH(selection, ((uint8_t)(((const uint8_t *)column->cells)[i] - (uint8_t)low) <= (uint8_t)span) ^ flip); break;
    case 2: KEEP_EACH(selection, ((uint16_t)(((const uint16_t *)column->cells)[i] - (uint16_t)low) <= (uint16_t)span) ^ flip); break;
    case 4: KEEP_EACH(selection, (((const uint32_t *)column->cells)[i] - (uint32_t)low <= (uint32_t)span) ^ flip); break;
    case 8: KEEP_EACH(selection, (((const uint64_t *)column->cells)[i] - low <= span) ^ flip); break;
    default: break;
    }
}

static mg_err keep_numbers(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    const struct mg_column *column;
    MG_TRY(mg_block_column(block, condition->field, &column));
    int64_t low = MG_MAX(condition->low, column->low), high = MG_MIN(condition->high, column->high);
    bool none = low > high, all = low == column->low && high == column->high;
    if (condition->negate ? all : none)
        choose_none(selection);
    else if (!all && !none)
        keep_cells(selection, column, (uint64_t)low - (uint64_t)column->base, (uint64_t)high - (uint64_t)column->base,
                   condition->negate);
    return MG_OK;
}

static mg_err keep_sums(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    const struct mg_column *input, *output;
    MG_TRY(mg_block_column(block, MG_FIELD_input_tokens, &input));
    MG_TRY(mg_block_column(block, MG_FIELD_output_tokens, &output));
    for (uint32_t i = selection->from; i < selection->to; i++) {
        int64_t sum = mg_column_number(input, i) + mg_column_number(output, i);
        selection->chosen[i] &= (sum >= condition->low && sum <= condition->high) ^ condition->negate;
    }
    return MG_OK;
}

static mg_err keep_flags(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    const struct mg_column *flags;
    MG_TRY(mg_block_column(block, MG_FIELD_flags, &flags));
    KEEP_EACH(selection, ((mg_column_number(flags, i) & condition->mask) != 0) ^ condition->negate);
    return MG_OK;
}

static mg_err keep_errors(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    const struct mg_column *flags, *status;
    MG_TRY(mg_block_column(block, MG_FIELD_flags, &flags));
    MG_TRY(mg_block_column(block, MG_FIELD_status, &status));
    KEEP_EACH(selection, (mg_column_number(status, i) >= 400 || !(mg_column_number(flags, i) & MG_ROW_CLEAN)) ^ condition->negate);
    return MG_OK;
}

static mg_err keep(struct mg_block *block, const struct mg_condition *condition, struct mg_selection *selection)
{
    switch (condition->kind) {
    case MG_COND_NUMBER: return keep_numbers(block, condition, selection);
    case MG_COND_SUM: return keep_sums(block, condition, selection);
    case MG_COND_FLAGS: return keep_flags(block, condition, selection);
    case MG_COND_ERROR: return keep_errors(block, condition, selection);
    case MG_COND_TRIED: return keep_tried(block, condition, selection);
    case MG_COND_TEXT:
    case MG_COND_METADATA: return keep_text(block, condition, selection);
    }
    return MG_OK;
}

/* ---- all of them */

/* The first row at or after at_us. */
static uint32_t first_row(const struct mg_column *times, uint64_t at_us)
{
    uint32_t low = 0, high = times->rows;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if ((uint64_t)mg_column_number(times, middle) < at_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static mg_err choose_span(struct mg_block *block, uint64_t since_us, uint64_t until_us, struct mg_selection *selection)
{
    const struct mg_column *times;
    selection->from = 0;
    selection->to = mg_block_rows(block);
    if (mg_block_first_us(block) < since_us || mg_block_last_us(block) >= until_us) {
        MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
        selection->from = first_row(times, since_us);
        selection->to = MG_MAX(selection->from, first_row(times, until_us));
    }
    memset(selection->chosen + selection->from, 1, selection->to - selection->from);
    return MG_OK;
}

static uint32_t count_chosen(const struct mg_selection *selection)
{
    uint32_t count = 0;
    for (uint32_t i = selection->from; i < selection->to; i++)
        count += selection->chosen[i];
    return count;
}

mg_err mg_select(struct mg_block *block, const struct mg_query *query, uint64_t since_us, uint64_t until_us,
                 struct mg_selection *out_selection)
{
    MG_TRY(choose_span(block, since_us, until_us, out_selection));
    out_selection->count = out_selection->to - out_selection->from;
    for (unsigned i = 0; i < query->count && out_selection->count > 0; i++) {
        MG_TRY(keep(block, &query->conditions[i], out_selection));
        out_selection->count = count_chosen(out_selection);
    }
    return MG_OK;
}
