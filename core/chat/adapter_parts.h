/* adapter_parts.h - what adapter.c compiles and tap.c scans with; private to core/chat. */
#ifndef MG_CHAT_ADAPTER_PARTS_H
#define MG_CHAT_ADAPTER_PARTS_H

#include "chat/adapter.h"

/* What a hit of a path says. */
enum mg_meaning {
    MG_IS_ITEM, MG_IS_CONTENT, MG_IS_REASONING, MG_IS_TOOL_CALL, MG_IS_REFUSAL, MG_IS_FINISH, MG_IS_BLOCKED, MG_IS_DATA, MG_IS_IMAGE, MG_IS_SECONDS, MG_IS_SEARCHES, MG_IS_INDEX,
    MG_IS_BLOCK, MG_IS_TOOL_INDEX, MG_IS_TOOL_ID, MG_IS_TOOL_NAME, MG_IS_TOOL_ARGUMENTS,
    MG_IS_INPUT, MG_IS_INPUT_MORE, MG_IS_OUTPUT, MG_IS_TOTAL, MG_IS_CACHED_READ, MG_IS_CACHED_WRITE, MG_IS_CACHED_WRITE_LONG,
    MG_IS_REASONING_TOKENS, MG_IS_INPUT_AUDIO, MG_IS_OUTPUT_AUDIO, MG_IS_MODEL, MG_IS_TIER,
    MG_IS_USAGE, MG_IS_ERROR, MG_IS_ERROR_TYPE, MG_IS_ERROR_CODE, MG_IS_ERROR_MESSAGE, MG_IS_ERROR_PARAM, MG_IS_ERROR_DETAIL,
    MG_IS_RETRY_AFTER, MG_IS_MARK,
    MG_IS_TYPED,                       /* a row of `typed` says it, once the words are known */
    MG_IS_TAG,                         /* such a word */
    MG_IS_PART,                        /* the object around it: its words are known now */
    MG_IS_NOTHING,                     /* but rare */
    MG_IS_RARE = 0x80                  /* a flag beside any of them */
};

enum {
    MG_TAGS = 8,                       /* words of one set; number MG_TAG_EVENT is the event's type */
    MG_TAG_EVENT = 0,
    MG_TYPED_ROWS = 24,
    MG_SENSES = 96
};

struct mg_sense {
    mg_view word, word2;               /* borrowed from the declaration */
    uint8_t meaning;
};

struct mg_typed_row {
    uint8_t tag, tag2;                 /* numbers of words; tag2 MG_TAGS: none */
    uint8_t otherwise;                 /* MG_IS_NOTHING: nothing */
    uint8_t from, count;               /* of the set's senses */
};

struct mg_path_set {
    struct mg_json_paths *paths;       /* owned */
    const char *texts[MG_JSON_PATHS];  /* borrowed from the declaration, or owned: see made */
    uint8_t meaning[MG_JSON_PATHS];
    uint8_t number[MG_JSON_PATHS];     /* TYPED: of its row; TAG, PART: of the word */
    uint8_t depth[MG_JSON_PATHS];      /* arrays on the way that number choices: 0 or 1 */
    bool nested[MG_JSON_PATHS];        /* what stands in the elements of an array there is told by other paths */
    size_t count;
    const char *bad;                   /* what could not be compiled; NULL: nothing in particular */
    bool blocks;                       /* events say which part of the answer they are about */
    const char *tags[MG_TAGS];         /* paths of the words; NULL: none of that number */
    char *made[MG_TAGS];               /* owned: paths of the objects around them */
    struct mg_typed_row rows[MG_TYPED_ROWS];
    struct mg_sense senses[MG_SENSES];
    int row_count, sense_count;
};

struct mg_adapter {
    struct mg_adapter_decl decl;       /* shallow copy: its strings live in the loader's arena */
    struct mg_path_set chunk, answer;
    struct mg_path_set error;          /* the words of what turned out to be no answer: scanned only then */
};

/* False: *out_bad is malformed or unknown or has two meanings, or there is too much of it. */
bool mg_adapter_compile(struct mg_adapter *adapter, const char **out_bad);
void mg_path_set_fini(struct mg_path_set *set);

#endif
