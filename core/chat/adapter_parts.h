/* adapter_parts.h - what adapter.c compiles and tap.c scans with; private to core/chat. */
#ifndef MG_CHAT_ADAPTER_PARTS_H
#define MG_CHAT_ADAPTER_PARTS_H

#include "chat/adapter.h"

/* What a hit of a path says. */
enum mg_meaning {
    MG_IS_ITEM, MG_IS_CONTENT, MG_IS_REASONING, MG_IS_TOOL_CALL, MG_IS_REFUSAL, MG_IS_FINISH, MG_IS_DATA, MG_IS_INDEX,
    MG_IS_TOOL_INDEX, MG_IS_TOOL_NAME, MG_IS_TOOL_ARGUMENTS,
    MG_IS_INPUT, MG_IS_OUTPUT, MG_IS_TOTAL, MG_IS_CACHED_READ, MG_IS_CACHED_WRITE, MG_IS_REASONING_TOKENS,
    MG_IS_INPUT_AUDIO, MG_IS_OUTPUT_AUDIO, MG_IS_MODEL, MG_IS_TIER,
    MG_IS_USAGE, MG_IS_ERROR, MG_IS_ERROR_TYPE, MG_IS_ERROR_CODE, MG_IS_ERROR_MESSAGE, MG_IS_ERROR_PARAM, MG_IS_ERROR_DETAIL,
    MG_IS_RETRY_AFTER, MG_IS_MARK
};

struct mg_path_set {
    struct mg_json_paths *paths;       /* owned */
    const char *texts[MG_JSON_PATHS];  /* borrowed from the declaration */
    uint8_t meaning[MG_JSON_PATHS];
    size_t count;
};

struct mg_adapter {
    struct mg_adapter_decl decl;       /* shallow copy: its strings live in the loader's arena */
    struct mg_path_set chunk, answer;
    struct mg_path_set error;          /* the words of what turned out to be no answer: scanned only then */
};

#endif
