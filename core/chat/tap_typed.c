/* Paths whose meaning depends on words beside them: adapter_set.c draws it. */
#include "chat/tap_parts.h"

void mg_look_word(struct mg_look *look, const struct mg_json_hit *hit)
{
    bool quoted = hit->type == MG_JSON_STRING;
    look->words[look->set->number[hit->path]] =
        quoted ? mg_view_head(mg_view_skip(hit->value, 1), hit->value.len - 2) : hit->value;
}

void mg_look_hold(struct mg_look *look, const struct mg_json_hit *hit)
{
    if (look->held_count < MG_LOOK_HELD)
        look->held[look->held_count++] = *hit;
    else if (look->event)
        look->event->more_text = look->event->more_tools = true;
}

mg_view mg_look_type(const struct mg_look *look)
{
    return look->words[MG_TAG_EVENT].len ? look->words[MG_TAG_EVENT] : look->name;
}

static mg_view word_of(const struct mg_look *look, int tag)
{
    return tag == MG_TAG_EVENT ? mg_look_type(look) : look->words[tag];
}

static unsigned meaning_of(const struct mg_look *look, const struct mg_typed_row *row)
{
    mg_view word = word_of(look, row->tag), word2 = row->tag2 < MG_TAGS ? word_of(look, row->tag2) : MG_VIEW_NONE;
    for (int i = row->from; i < row->from + row->count; i++) {
        const struct mg_sense *sense = &look->set->senses[i];
        if (mg_view_eq(sense->word, word) && (row->tag2 == MG_TAGS || mg_view_eq(sense->word2, word2)))
            return sense->meaning;
    }
    return row->otherwise;
}

void mg_look_resolve(struct mg_look *look, int tag)
{
    int kept = 0;
    for (int i = 0; i < look->held_count; i++) {
        const struct mg_typed_row *row = &look->set->rows[look->set->number[look->held[i].path]];
        if (row->tag == tag)
            mg_look_see(look, meaning_of(look, row), &look->held[i]);
        else
            look->held[kept++] = look->held[i];
    }
    look->held_count = kept;
    if (tag != MG_TAG_EVENT)
        look->words[tag] = MG_VIEW_NONE;     /* the next element has its own */
}
