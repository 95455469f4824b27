/* The declaration's paths are compiled into path sets; `meaning` says what a hit of path i is. tap.c scans with them.
 *
 * A typed row needs the words that stand beside its path, and they may come after it. So its hits are held until the
 * object around the words has ended, which is a path of its own (MG_IS_PART):
 *
 *     content[*].text ──TYPED──▶ held ┐
 *     content[*].type ──TAG────▶ word ┼─▶ content[*] ──PART──▶ what the held ones mean
 *
 * Rows that go by the event's type wait for the end of the event. */
#include "chat/adapter_parts.h"

#include <stddef.h>

#include "base/mem.h"

#define SHARED(X)                                                                                  \
    X(usage.input, MG_IS_INPUT) X(usage.input_more, MG_IS_INPUT_MORE) X(usage.output, MG_IS_OUTPUT) X(usage.total, MG_IS_TOTAL) \
    X(usage.cached_read, MG_IS_CACHED_READ) X(usage.cached_write, MG_IS_CACHED_WRITE)                 \
    X(usage.cached_write_long, MG_IS_CACHED_WRITE_LONG) X(usage.reasoning, MG_IS_REASONING_TOKENS)    \
    X(usage.input_audio, MG_IS_INPUT_AUDIO) X(usage.output_audio, MG_IS_OUTPUT_AUDIO) X(usage.model, MG_IS_MODEL) \
    X(usage.tier, MG_IS_TIER) X(usage.seconds, MG_IS_SECONDS) X(usage.searches, MG_IS_SEARCHES) X(usage_object, MG_IS_USAGE) X(error, MG_IS_ERROR) X(error_shape.mark, MG_IS_MARK)

#define ERROR(X)                                                                                   \
    X(error, MG_IS_ERROR) X(error_shape.type, MG_IS_ERROR_TYPE) X(error_shape.code, MG_IS_ERROR_CODE) \
    X(error_shape.message, MG_IS_ERROR_MESSAGE) X(error_shape.param, MG_IS_ERROR_PARAM)               \
    X(error_shape.detail, MG_IS_ERROR_DETAIL) X(error_shape.retry_after, MG_IS_RETRY_AFTER)

/* Of an answer or an event; the name is also what a typed row says. */
#define PARTS(X)                                                                                   \
    X(item, MG_IS_ITEM) X(index, MG_IS_INDEX) X(content, MG_IS_CONTENT) X(reasoning, MG_IS_REASONING) \
    X(tool_call, MG_IS_TOOL_CALL) X(block, MG_IS_BLOCK) X(tool_index, MG_IS_TOOL_INDEX) X(tool_id, MG_IS_TOOL_ID) \
    X(tool_name, MG_IS_TOOL_NAME) X(tool_arguments, MG_IS_TOOL_ARGUMENTS) X(refusal, MG_IS_REFUSAL)   \
    X(finish, MG_IS_FINISH) X(blocked, MG_IS_BLOCKED) X(data, MG_IS_DATA) X(image, MG_IS_IMAGE)

static bool meaning_of(const char *name, uint8_t *out_meaning)
{
#define X(part, means) {#part, means},
    static const struct {
        const char *name;
        uint8_t meaning;
    } names[] = {PARTS(X){"input_audio", MG_IS_INPUT_AUDIO},
                 {"output_audio", MG_IS_OUTPUT_AUDIO},
                 {"cached_write_long", MG_IS_CACHED_WRITE_LONG},
                 {"rare", MG_IS_NOTHING | MG_IS_RARE},
                 {"rare_data", MG_IS_DATA | MG_IS_RARE}};
#undef X
    for (size_t i = 0; i < MG_COUNT(names); i++)
        if (strcmp(names[i].name, name) == 0) {
            *out_meaning = names[i].meaning;
            return true;
        }
    return false;
}

static int find_path(const struct mg_path_set *set, const char *text)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->texts[i], text) == 0)
            return (int)i;
    return -1;
}

static bool add_path(struct mg_path_set *set, const char *text, unsigned meaning, int number)
{
    int known = find_path(set, text);
    if (known >= 0 && set->meaning[known] == meaning && set->number[known] == number)
        return true;
    if (known >= 0 || set->count == MG_JSON_PATHS) {
        set->bad = text;
        return false;
    }
    set->texts[set->count] = text;
    set->meaning[set->count] = (uint8_t)meaning;
    set->number[set->count++] = (uint8_t)number;
    return true;
}

static bool add_paths(struct mg_path_set *set, const mg_adapter_paths texts, enum mg_meaning meaning)
{
    for (int i = 0; i < MG_ADAPTER_PATHS && texts[i]; i++)
        if (!add_path(set, texts[i], meaning, 0))
            return false;
    return true;
}

static bool add_rare(struct mg_path_set *set, const mg_adapter_paths texts)
{
    for (int i = 0; i < MG_ADAPTER_PATHS && texts[i]; i++) {
        int known = find_path(set, texts[i]);
        if (known >= 0)
            set->meaning[known] |= MG_IS_RARE;
        else if (!add_path(set, texts[i], MG_IS_NOTHING | MG_IS_RARE, 0))
            return false;
    }
    return true;
}

/* ---- typed rows ------------------------------------------------------------------------------ */

/* "a[*].type" → "a[*]"; at the top of the document the end of the scan does it. */
static bool add_part(struct mg_path_set *set, int tag)
{
    const char *path = set->tags[tag], *dot = strrchr(path, '.');
    if (!dot)
        return true;
    size_t len = (size_t)(dot - path);
    char *part = mg_alloc(len + 1);
    memcpy(part, path, len);
    part[len] = '\0';
    set->made[tag] = part;
    return add_path(set, part, MG_IS_PART, tag);
}

/* The word's number, MG_TAGS when there are too many. */
static int add_tag(struct mg_path_set *set, const char *path)
{
    for (int i = 0; i < MG_TAGS; i++)
        if (set->tags[i] && strcmp(set->tags[i], path) == 0)
            return i;
    for (int i = MG_TAG_EVENT + 1; i < MG_TAGS; i++)
        if (!set->tags[i]) {
            set->tags[i] = path;
            return add_path(set, path, MG_IS_TAG, i) ? i : MG_TAGS;
        }
    return MG_TAGS;
}

static bool add_senses(struct mg_path_set *set, const struct mg_adapter_typed *typed, struct mg_typed_row *row)
{
    *row = (struct mg_typed_row){.tag2 = MG_TAGS, .otherwise = MG_IS_NOTHING, .from = (uint8_t)set->sense_count};
    if (typed->otherwise && !meaning_of(typed->otherwise, &row->otherwise))
        return false;
    for (int i = 0; i < typed->sense_count; i++) {
        const struct mg_adapter_sense *sense = &typed->senses[i];
        uint8_t meaning;
        if (set->sense_count == MG_SENSES || !meaning_of(sense->means, &meaning)) {
            set->bad = sense->means;
            return false;
        }
        set->senses[set->sense_count++] = (struct mg_sense){
            mg_view_cstr(sense->word), sense->word2 ? mg_view_cstr(sense->word2) : MG_VIEW_NONE, meaning};
        row->count++;
    }
    return true;
}

static bool add_typed(struct mg_path_set *set, const struct mg_adapter_typed *typed)
{
    if (set->row_count == MG_TYPED_ROWS)
        return false;
    struct mg_typed_row *row = &set->rows[set->row_count];
    if (!add_senses(set, typed, row) || !add_path(set, typed->path, MG_IS_TYPED, set->row_count++))
        return false;
    int tag = typed->tag ? add_tag(set, typed->tag) : MG_TAG_EVENT;
    if (tag == MG_TAGS || (tag != MG_TAG_EVENT && !set->made[tag] && !add_part(set, tag)))
        return false;
    row->tag = (uint8_t)tag;
    if (!typed->tag2)
        return true;
    row->tag2 = (uint8_t)add_tag(set, typed->tag2);
    return row->tag2 != MG_TAGS;
}

static bool add_types(struct mg_path_set *set, const struct mg_adapter_parts *parts)
{
    set->tags[MG_TAG_EVENT] = parts->type[0];
    if (parts->type[0] && !add_path(set, parts->type[0], MG_IS_TAG, MG_TAG_EVENT))
        return false;
    for (int i = 0; i < parts->typed_count; i++)
        if (!add_typed(set, &parts->typed[i]))
            return false;
    return true;
}

/* ---- sets ------------------------------------------------------------------------------------ */

/* Under "choices[*]" the first array on the way numbers choices; under "content" none does. */
static void find_choices(struct mg_path_set *set, const struct mg_adapter_parts *parts)
{
    for (int k = 0; k < MG_ADAPTER_PATHS && parts->item[k]; k++) {
        mg_view item = mg_view_cstr(parts->item[k]);
        for (size_t i = 0; mg_view_ends(item, MG_VIEW("[*]")) && i < set->count; i++)
            if (mg_view_starts(mg_view_cstr(set->texts[i]), item))
                set->depth[i] = 1;
    }
}

/* "a" beside "a[*].text" */
static void find_nested(struct mg_path_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < set->count; k++) {
            size_t len = strlen(set->texts[i]);
            set->nested[i] |= strncmp(set->texts[k], set->texts[i], len) == 0 && strncmp(set->texts[k] + len, "[*]", 3) == 0;
        }
}

static bool compile(struct mg_path_set *set)
{
    set->paths = mg_json_paths_try_new(set->texts, set->count);
    for (size_t i = 0; !set->paths && i < set->count; i++) {
        struct mg_json_paths *alone = mg_json_paths_try_new(&set->texts[i], 1);
        if (!alone)
            set->bad = set->texts[i];
        mg_json_paths_free(alone);
    }
    return set->paths != NULL;
}

static bool fill_parts(struct mg_path_set *set, const struct mg_adapter_decl *decl, const struct mg_adapter_parts *parts)
{
#define X(part, means) add_paths(set, parts->part, means) &&
#define S(field, means) add_paths(set, decl->field, means) &&
    bool ok = PARTS(X) SHARED(S) add_types(set, parts) && add_rare(set, parts->rare);
#undef X
#undef S
    find_choices(set, parts);
    find_nested(set);
    set->blocks = parts->block[0] != NULL;
    return ok && compile(set);
}

static bool fill_error(struct mg_path_set *set, const struct mg_adapter_decl *decl)
{
#define S(field, means) add_paths(set, decl->field, means) &&
    return ERROR(S) compile(set);
#undef S
}

bool mg_adapter_compile(struct mg_adapter *adapter, const char **out_bad)
{
    const struct mg_adapter_decl *decl = &adapter->decl;
    struct mg_path_set *sets[] = {&adapter->chunk, &adapter->answer, &adapter->error};
    bool ok = fill_parts(sets[0], decl, &decl->chunk) && fill_parts(sets[1], decl, &decl->answer) && fill_error(sets[2], decl);
    for (size_t i = 0; i < MG_COUNT(sets) && !ok; i++)
        if (sets[i]->bad)
            *out_bad = sets[i]->bad;
    return ok;
}

void mg_path_set_fini(struct mg_path_set *set)
{
    mg_json_paths_free(set->paths);
    for (int i = 0; i < MG_TAGS; i++)
        mg_free(set->made[i]);
}
