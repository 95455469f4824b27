#include "meter/operation.h"

#include "base/mem.h"

/* By how paths end, with and without /v1 in front of them. */
static const struct {
    const char *end, *name;
} rows[] = {
    {"/chat/completions", "chat"}, {":generateContent", "generate"}, {":streamGenerateContent", "generate"}, {":countTokens", "count_tokens"},
    {"/responses/input_tokens", "count_tokens"}, {":embedContent", "embeddings"}, {":batchEmbedContents", "embeddings"},
    {"/images/generations", "images"}, {"/images/edits", "image_edits"}, {"/images/variations", "image_variations"},
    {"/audio/speech", "audio_speech"}, {"/audio/transcriptions", "audio_transcriptions"}, {"/audio/translations", "audio_translations"},
};

static bool ends(mg_view text, mg_view end)
{
    return text.len >= end.len && mg_view_eq(mg_view_skip(text, text.len - end.len), end);
}

static mg_view last_word(mg_view path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/' && path.ptr[at - 1] != ':')
        at--;
    return mg_view_skip(path, at);
}

mg_view mg_operation_of(mg_view path)
{
    if (mg_view_starts(path, MG_VIEW("/providers/")))
        return MG_VIEW("passthrough");
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        if (ends(path, mg_view_cstr(rows[i].end)))
            return mg_view_cstr(rows[i].name);
    return last_word(path);
}
