#include "script/manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    AUTO_HOLD = 128,                   /* the bound of hold = "auto", and the default */
    MAX_HOLD = 4096,
    DEFAULT_MAX_HOLD_MS = 400,
    MAX_NEEDS = 64,
};

static const char *const hook_names[] = {"on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log",
                                         "on_bill", "on_invoice", "accept", "offline", "charge"};

static mg_err read_members(struct mg_manifest *manifest, const char *name, struct mg_diag *diag);
static mg_err read_hooks(struct mg_manifest *manifest, struct mg_diag *diag);
static mg_err read_needs(struct mg_manifest *manifest, struct mg_arena *arena, struct mg_diag *diag);
static mg_err read_limits(struct mg_manifest *manifest, struct mg_diag *diag);
static mg_err read_stream(const struct mg_json *json, struct mg_stream_rule *out_rule);
static mg_err read_fail(const struct mg_json *json, int fail[MG_HOOK_COUNT]);

const char *mg_hook_name(enum mg_hook hook)
{
    return hook_names[hook];
}

bool mg_hook_find(mg_view name, enum mg_hook *out_hook)
{
    for (int i = 0; i < MG_HOOK_OF_PLUGINS; i++) {
        if (mg_view_eq(name, mg_view_cstr(hook_names[i]))) {
            *out_hook = (enum mg_hook)i;
            return true;
        }
    }
    return false;
}

static void free_json(void *arg)
{
    mg_json_free(arg);
}

static mg_err bad(struct mg_diag *diag, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static mg_err bad(struct mg_diag *diag, const char *fmt, ...)
{
    struct mg_diag said = {.line = 0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(said.text, sizeof(said.text), fmt, args);
    va_end(args);
    snprintf(said.file, sizeof(said.file), "%s", diag ? diag->file : "");    /* diag is written, so its parts are copied */
    return mg_diag_set(diag, MG_E_CONFIG, said.file, 0, "%s", said.text);
}

mg_err mg_manifest_read(mg_view text, const char *name, struct mg_arena *arena, struct mg_manifest *out_manifest,
                        struct mg_diag *diag)
{
    struct mg_json_error error;
    struct mg_manifest manifest = {.stage = MG_STAGE_TRANSFORM};
    if (mg_json_parse(text, MG_MAX_LUA_SOURCE_BYTES, &manifest.json, &error) != MG_OK)
        return bad(diag, "not valid JSON at byte %zu: %s", error.offset, error.reason);
    mg_arena_cleanup(arena, free_json, manifest.json);
    if (!mg_json_is(manifest.json, MG_JSON_OBJECT))
        return bad(diag, "expected a JSON object");

    MG_TRY(read_members(&manifest, name, diag));
    MG_TRY(read_hooks(&manifest, diag));
    MG_TRY(read_needs(&manifest, arena, diag));
    MG_TRY(read_limits(&manifest, diag));
    *out_manifest = manifest;
    return MG_OK;
}

static bool find_name(mg_view name, const char *const *names, size_t count, size_t *out_index)
{
    for (size_t i = 0; i < count; i++) {
        if (mg_view_eq(name, mg_view_cstr(names[i]))) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

static const char *text_of(const struct mg_json *json, const char *key)
{
    mg_view text = mg_json_string(mg_json_get(json, key));
    return text.len ? text.ptr : NULL; /* trees keep a NUL behind their strings */
}

static mg_err read_members(struct mg_manifest *manifest, const char *name, struct mg_diag *diag)
{
    static const char *const members[] = {"manifest", "name",   "version", "api",     "moongate", "title",       "summary",
                                          "license",  "homepage", "source", "stage",  "hooks",    "stream",      "fail",
                                          "permissions", "limits", "config", "depends", "tests",  "types",       "files"};
    static const char *const stages[] = {"admit", "transform", "guard", "policy", "observe"};
    size_t at;
    for (struct mg_json *m = mg_json_first(manifest->json); m; m = mg_json_next(m)) {
        if (!find_name(mg_json_key(m), members, MG_COUNT(members), &at))
            return bad(diag, "unknown member \"%.*s\"", MG_FMT(mg_json_key(m)));
    }
    int64_t number = 0;
    if (!mg_json_i64(mg_json_get(manifest->json, "manifest"), &number) || number != 1)
        return bad(diag, "\"manifest\" must be 1");
    if (!mg_json_i64(mg_json_get(manifest->json, "api"), &number) || number != 1)
        return bad(diag, "\"api\" must be 1: this gateway speaks no other");
    manifest->name = text_of(manifest->json, "name");
    manifest->version = text_of(manifest->json, "version");
    const char *last = manifest->name ? strrchr(manifest->name, '/') : NULL;
    if (!manifest->name || (strcmp(manifest->name, name) != 0 && (!last || strcmp(last + 1, name) != 0)))
        return bad(diag, "\"name\" must end in the name of its folder, %s", name);
    if (!manifest->version)
        return bad(diag, "\"version\" is missing");
    if (!find_name(mg_json_string(mg_json_get(manifest->json, "stage")), stages, MG_COUNT(stages), &at))
        return bad(diag, "\"stage\" must be admit, transform, guard, policy or observe");
    manifest->stage = (enum mg_stage)at;
    return MG_OK;
}

static mg_err read_hooks(struct mg_manifest *manifest, struct mg_diag *diag)
{
    const struct mg_json *hooks = mg_json_get(manifest->json, "hooks");
    if (!mg_json_is(hooks, MG_JSON_ARRAY))
        return bad(diag, "\"hooks\" must list the hooks of init.lua");
    for (struct mg_json *item = mg_json_first(hooks); item; item = mg_json_next(item)) {
        enum mg_hook hook;
        if (!mg_hook_find(mg_json_string(item), &hook))
            return bad(diag, "\"hooks\": this gateway has no hook \"%.*s\"", MG_FMT(mg_json_string(item)));
        manifest->hooks[hook] = true;
    }
    for (int i = 0; i < MG_HOOK_COUNT; i++)
        manifest->fail[i] = -1;
    const struct mg_json *fail = mg_json_get(manifest->json, "fail");
    if (fail && read_fail(fail, manifest->fail) != MG_OK)
        return bad(diag, "\"fail\" must map hooks to \"open\" or \"closed\"");
    const struct mg_json *stream = mg_json_get(manifest->json, "stream");
    manifest->has_stream = stream != NULL;
    if (stream && read_stream(stream, &manifest->stream) != MG_OK)
        return bad(diag, "\"stream\" must be {mode, hold, max_hold_ms, channels}; mode is observe, filter, buffer or reject, "
                         "hold a number of characters up to %d or \"auto\"", (int)MAX_HOLD);
    return MG_OK;
}

/* {"net": ["https://a"], "kv": {…}, "stats": true} → "net:https://a", "kv", "stats" */
static mg_err read_needs(struct mg_manifest *manifest, struct mg_arena *arena, struct mg_diag *diag)
{
    static const char *const kinds[] = {"content", "net", "secrets", "kv", "metrics", "stats", "prompts", "jobs", "events"};
    static const char *const grants[] = {"content", "net", "secret", "kv", "metrics", "stats", "prompts", "jobs", "events"};
    static const size_t detailed = 3;  /* the first three are granted value by value */
    const char **needs = mg_arena_array(arena, const char *, MAX_NEEDS + 1);
    size_t count = 0, kind;
    manifest->needs = needs;
    for (struct mg_json *p = mg_json_first(mg_json_get(manifest->json, "permissions")); p; p = mg_json_next(p)) {
        if (!find_name(mg_json_key(p), kinds, MG_COUNT(kinds), &kind))
            return bad(diag, "\"permissions\": unknown \"%.*s\"", MG_FMT(mg_json_key(p)));
        if (kind >= detailed) {
            if (count == MAX_NEEDS)
                return bad(diag, "\"permissions\": more than %d", (int)MAX_NEEDS);
            needs[count++] = grants[kind];
            continue;
        }
        for (struct mg_json *item = mg_json_first(p); item; item = mg_json_next(item)) {
            if (count == MAX_NEEDS || !mg_json_string(item).len)
                return bad(diag, "\"permissions\": \"%s\" must be a list of at most %d strings", kinds[kind], (int)MAX_NEEDS);
            needs[count++] = mg_arena_printf(arena, "%s:%.*s", grants[kind], MG_FMT(mg_json_string(item))).ptr;
        }
    }
    return MG_OK;
}

/* {"memory_kb": 4096, "burst_ms": {"on_request": 5}}: a plugin may only tighten what holds for all. */
static mg_err read_limits(struct mg_manifest *manifest, struct mg_diag *diag)
{
    const struct mg_json *limits = mg_json_get(manifest->json, "limits");
    for (struct mg_json *m = mg_json_first(limits); m; m = mg_json_next(m)) {
        int64_t kb = 0;
        bool memory = mg_view_eq(mg_json_key(m), MG_VIEW("memory_kb"));
        if (!memory && !mg_view_eq(mg_json_key(m), MG_VIEW("burst_ms")))
            return bad(diag, "\"limits\": unknown \"%.*s\"", MG_FMT(mg_json_key(m)));
        if (memory && (!mg_json_i64(m, &kb) || kb < 64 || kb > MG_MAX_LUA_STATE_BYTES / 1024))
            return bad(diag, "\"limits\": \"memory_kb\" must be from 64 to %d", MG_MAX_LUA_STATE_BYTES / 1024);
        if (memory)
            manifest->memory_bytes = (size_t)kb * 1024;
        for (struct mg_json *b = memory ? NULL : mg_json_first(m); b; b = mg_json_next(b)) {
            enum mg_hook hook;
            double burst_ms = mg_json_double(b, 0);
            if (!mg_hook_find(mg_json_key(b), &hook) || burst_ms < 0.1 || burst_ms > 1000)
                return bad(diag, "\"limits\": \"burst_ms\" must map hooks to milliseconds");
            manifest->burst_us[hook] = (uint32_t)(burst_ms * 1000);
        }
    }
    return MG_OK;
}

static mg_err read_fail(const struct mg_json *json, int fail[MG_HOOK_COUNT])
{
    for (struct mg_json *m = mg_json_first(json); m; m = mg_json_next(m)) {
        enum mg_hook hook;
        mg_view mode = mg_json_string(m);
        bool closed = mg_view_eq(mode, MG_VIEW("closed"));
        if (!mg_hook_find(mg_json_key(m), &hook) || (!closed && !mg_view_eq(mode, MG_VIEW("open"))))
            return MG_E_CONFIG;
        fail[hook] = closed;
    }
    return MG_OK;
}

static mg_err read_channels(const struct mg_json *channels, struct mg_stream_rule *rule)
{
    rule->content = rule->reasoning = channels == NULL;
    for (struct mg_json *item = mg_json_first(channels); item; item = mg_json_next(item)) {
        mg_view name = mg_json_string(item);
        if (mg_view_eq(name, MG_VIEW("content")))
            rule->content = true;
        else if (mg_view_eq(name, MG_VIEW("reasoning")))
            rule->reasoning = true;
        else
            return MG_E_CONFIG;
    }
    return MG_OK;
}

/* "auto" asks for as little as the patterns allow; until a set of patterns can tell, its bound is held. */
static mg_err read_hold(const struct mg_json *hold, struct mg_stream_rule *rule)
{
    int64_t number = AUTO_HOLD;
    bool automatic = !hold || mg_view_eq(mg_json_string(hold), MG_VIEW("auto"));
    if (!automatic && (!mg_json_i64(hold, &number) || number < 0 || number > MAX_HOLD))
        return MG_E_CONFIG;
    rule->hold = (uint32_t)number;
    return MG_OK;
}

static mg_err read_stream(const struct mg_json *json, struct mg_stream_rule *out_rule)
{
    static const char *const modes[] = {"observe", "filter", "buffer", "reject"};
    static const char *const members[] = {"mode", "hold", "max_hold_ms", "channels"};
    struct mg_stream_rule rule = {.max_hold_ms = DEFAULT_MAX_HOLD_MS};
    size_t at = 1;
    for (struct mg_json *m = mg_json_first(json); m; m = mg_json_next(m)) {
        if (!find_name(mg_json_key(m), members, MG_COUNT(members), &at))
            return MG_E_CONFIG;
    }
    const struct mg_json *mode = mg_json_get(json, "mode");
    at = 1;
    if (mode && !find_name(mg_json_string(mode), modes, MG_COUNT(modes), &at))
        return MG_E_CONFIG;
    rule.mode = (enum mg_filter_mode)(MG_FILTER_OBSERVE + at);

    int64_t max_hold_ms = DEFAULT_MAX_HOLD_MS;
    const struct mg_json *limit = mg_json_get(json, "max_hold_ms");
    if (limit && (!mg_json_i64(limit, &max_hold_ms) || max_hold_ms < 1 || max_hold_ms > 60000))
        return MG_E_CONFIG;
    rule.max_hold_ms = (uint32_t)max_hold_ms;
    MG_TRY(read_hold(mg_json_get(json, "hold"), &rule));
    MG_TRY(read_channels(mg_json_get(json, "channels"), &rule));
    *out_rule = rule;
    return MG_OK;
}

/* --- texts of the configuration -------------------------------------------------------------- */

mg_err mg_read_strings(mg_view json, struct mg_arena *arena, const char *const **out_list)
{
    struct mg_json *tree = NULL;
    MG_TRY(mg_json_parse(json, MG_MAX_LUA_SOURCE_BYTES, &tree, NULL));
    const char **list = mg_arena_array(arena, const char *, mg_json_count(tree) + 1);
    size_t count = 0;
    for (struct mg_json *item = mg_json_first(tree); item; item = mg_json_next(item))
        list[count++] = mg_arena_dup(arena, mg_json_string(item)).ptr;
    mg_json_free(tree);
    *out_list = list;
    return MG_OK;
}

mg_err mg_read_fail_modes(mg_view json, int fail[MG_HOOK_COUNT])
{
    struct mg_json *tree = NULL;
    MG_TRY(mg_json_parse(json, MG_MAX_LUA_SOURCE_BYTES, &tree, NULL));
    mg_err err = read_fail(tree, fail);
    mg_json_free(tree);
    return err;
}

mg_err mg_read_stream_rule(mg_view json, struct mg_stream_rule *out_rule)
{
    struct mg_json *tree = NULL;
    MG_TRY(mg_json_parse(json, MG_MAX_LUA_SOURCE_BYTES, &tree, NULL));
    mg_err err = read_stream(tree, out_rule);
    mg_json_free(tree);
    return err;
}
