#include "chat/modalities.h"

#include <pthread.h>

#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"

/* Where a part says what it is: a word of its own, or a media type. */
static const char *const places[] = {
    "messages[*].content[*].type", "messages[*].content[*].content[*].type",
    "input[*].type", "input[*].content[*].type", "input[*].output[*].type",
    "contents[*].parts[*].inlineData.mimeType", "contents[*].parts[*].inline_data.mime_type",
    "contents[*].parts[*].fileData.mimeType", "contents[*].parts[*].file_data.mime_type",
};

static const struct {
    const char *word;                  /* a type, or with a slash the beginning of a media type */
    enum mg_modality modality;
} words[] = {
    {"image_url", MG_MODALITY_image}, {"input_image", MG_MODALITY_image}, {"image", MG_MODALITY_image}, {"image/", MG_MODALITY_image},
    {"input_audio", MG_MODALITY_audio}, {"audio/", MG_MODALITY_audio}, {"video/", MG_MODALITY_video}, {"video_url", MG_MODALITY_video},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct mg_json_paths *paths;    /* process life */

__attribute__((destructor)) static void free_paths(void)
{
    mg_json_paths_free(paths);
}

static void make_paths(void)
{
    paths = mg_json_paths_new(places, MG_COUNT(places));
}

static bool says(mg_view text, mg_view word)
{
    return mg_view_ends(word, MG_VIEW("/")) ? mg_view_starts(text, word) : mg_view_eq(text, word);
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    uint32_t *bits = arg;
    mg_view text = mg_json_plain(hit->value);
    for (size_t i = 0; i < MG_COUNT(words); i++)
        if (says(text, mg_view_cstr(words[i].word)))
            *bits |= 1u << words[i].modality;
    return MG_OK;
}

static bool has_word(mg_view body)
{
    static const char *const signs[] = {"image", "audio", "video"};
    for (size_t i = 0; i < MG_COUNT(signs); i++)
        if (mg_view_search(body, mg_view_cstr(signs[i])) < body.len)
            return true;
    return false;
}

uint32_t mg_modalities_in(mg_view body)
{
    uint32_t bits = 0;
    if (!has_word(body))
        return 0;
    pthread_once(&once, make_paths);
    return mg_json_scan(body, paths, on_hit, &bits, NULL) == MG_OK ? bits : 0;
}
