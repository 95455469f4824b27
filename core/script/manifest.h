/* manifest.h - plugin.json: what a plugin says of itself, checked; and its settings, completed by defaults.
 *
 * Unknown members are errors. Everything is in the caller's arena. Any thread. */
#ifndef MG_SCRIPT_MANIFEST_H
#define MG_SCRIPT_MANIFEST_H

#include "http/json.h"
#include "script/script.h"

enum mg_stage { MG_STAGE_ADMIT, MG_STAGE_TRANSFORM, MG_STAGE_GUARD, MG_STAGE_POLICY, MG_STAGE_OBSERVE };

struct mg_stream_rule {                /* how on_chunk treats streams */
    enum mg_filter_mode mode;
    uint32_t hold;                     /* characters kept back */
    uint32_t max_hold_ms;
    bool content, reasoning;           /* channels */
};

struct mg_manifest {
    struct mg_json *json;              /* owned by the arena */
    const char *name, *version;
    enum mg_stage stage;
    bool hooks[MG_HOOK_COUNT];
    bool has_stream;
    struct mg_stream_rule stream;
    uint32_t burst_us[MG_HOOK_COUNT];  /* the plugin's own, tighter bursts; 0: the usual one */
    size_t memory_bytes;               /* growth of one call; 0: no limit of its own */
    int fail[MG_HOOK_COUNT];           /* 1 closed, 0 open, -1 the stage decides */
    const char *const *needs;          /* permissions as grants spell them; ends with NULL */
};

/* MG_E_CONFIG, with the member in diag's text. `name` is the folder's name. */
MG_MUST_USE mg_err mg_manifest_read(mg_view text, const char *name, struct mg_arena *arena, struct mg_manifest *out_manifest,
                                    struct mg_diag *diag);

/* The settings `config` (JSON object text) checked against the manifest's schema, with its defaults.
 * Errors name the place as a JSON pointer. */
MG_MUST_USE mg_err mg_manifest_config(const struct mg_manifest *manifest, mg_view config, struct mg_arena *arena,
                                      mg_view *out_config, struct mg_diag *diag);

/* JSON texts of the configuration: lists of strings, and maps of hooks to "open" or "closed". */
MG_MUST_USE mg_err mg_read_strings(mg_view json, struct mg_arena *arena, const char *const **out_list);
MG_MUST_USE mg_err mg_read_fail_modes(mg_view json, int fail[MG_HOOK_COUNT]);
MG_MUST_USE mg_err mg_read_stream_rule(mg_view json, struct mg_stream_rule *out_rule);

const char *mg_hook_name(enum mg_hook hook);
/* Of those a plugin may have. */
bool mg_hook_find(mg_view name, enum mg_hook *out_hook);

#endif
