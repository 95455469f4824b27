/* Runs every example of docs/guide/lua-api-by-example.md. A block is a plugin; each comment behind it
 *
 *     <!-- check HOOK [{ chunk }]: CODE ==> RESULT -->
 *
 * calls the hook, then the code, which finds what the hook returned in `outcome`. */
#include "api.h"

#include <stdlib.h>

#include "base/buf.h"
#include "check.h"
#include "io/resolve.h"
#include "script/plugins.h"

static struct api api;
static struct mg_buf page;

static enum mg_lua_phase phase_of(mg_view name)
{
    for (int i = 0; i < MG_LUA_PHASE_COUNT; i++)
        if (mg_view_eq(name, mg_view_cstr(mg_lua_phase_name((enum mg_lua_phase)i))))
            return (enum mg_lua_phase)i;
    check_failed(__FILE__, __LINE__, "no phase is called %.*s", MG_FMT(name));
}

static const char *arguments_of(enum mg_lua_phase phase, mg_view chunk)
{
    static char text[256];
    switch (phase) {
    case MG_LUA_PHASE_on_request:
        return "req";
    case MG_LUA_PHASE_route:
        return "req, candidates";
    case MG_LUA_PHASE_on_attempt:
        return "req, att";
    case MG_LUA_PHASE_classify:
        return "att";
    case MG_LUA_PHASE_on_response:
        return "res";
    case MG_LUA_PHASE_on_log:
        return "rec";
    default:
        snprintf(text, sizeof text, "%.*s", MG_FMT(chunk));
        return text;
    }
}

/* Outcomes in words: "deny 403 over_limit". */
static const char *result(const char *got)
{
    static char text[512];
    const struct mg_hook_outcome *o = &api.outcome;
    if (!api.has_outcome)
        return got;
    if (o->kind == MG_HOOK_DENY)
        snprintf(text, sizeof text, "deny %d %.*s", o->status, MG_FMT(o->code));
    else if (o->kind == MG_HOOK_RESPOND)
        snprintf(text, sizeof text, "respond %d %.*s", o->status, MG_FMT(o->text));
    else if (o->kind == MG_HOOK_REPLACE)
        snprintf(text, sizeof text, "replace %.*s", MG_FMT(o->text));
    else
        snprintf(text, sizeof text, "retry %.*s", MG_FMT(o->message));
    return text;
}

/* "HOOK [{…}]: CODE ==> RESULT" */
static void check(mg_view line)
{
    char code[2048];
    size_t colon = mg_view_search(line, MG_VIEW(": ")), arrow = mg_view_search(line, MG_VIEW(" ==>"));
    mg_view head = mg_view_head(line, colon), hook = mg_view_head(head, mg_view_find(head, " "));
    mg_view then = mg_view_head(mg_view_skip(line, colon + 2), arrow - colon - 2);
    mg_view want = mg_view_trim(mg_view_skip(line, arrow + 4));
    CHECK(arrow < line.len);
    enum mg_lua_phase phase = phase_of(hook);
    snprintf(code, sizeof code, "local outcome = keep.self:%.*s(%s) %.*s", MG_FMT(hook),
             arguments_of(phase, mg_view_skip(head, hook.len)), MG_FMT(then));
    mg_view got = mg_view_cstr(result(api_run(&api, phase, code)));
    if (mg_view_eq(got, MG_VIEW("nil")))
        got = MG_VIEW_NONE;
    if (!mg_view_eq(got, want))
        check_failed(__FILE__, __LINE__, "%.*s\n  gave %.*s", MG_FMT(line), MG_FMT(got));
}

static void build(mg_view block)
{
    char code[8192];
    snprintf(code, sizeof code, "local M = (function() %.*s end)() "
             "keep.self = M.new and assert(M.new {}) or setmetatable({ config = {} }, { __index = M })", MG_FMT(block));
    const char *got = api_run(&api, MG_LUA_PHASE_new, code);
    if (got[0])
        check_failed(__FILE__, __LINE__, "%s\n%.*s", got, MG_FMT(block));
}

static void fresh(void)
{
    static const char *const grants[] = {"net:https://dlp.acme.example", NULL};
    static char name[16];
    static int number;
    api_open(&api);
    snprintf(name, sizeof name, "guide%d", number++);
    api.instance.name = name;
    api.instance.grants = grants;
}

TEST(every_example_does_what_the_page_says)
{
    char path[512];
    int blocks = 0, checks = 0;
    const char *folder = getenv("MOONGATE_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/docs/guide/lua-api-by-example.md", folder ? folder : ".");
    mg_buf_init(&page, 1 << 20);
    CHECK_OK(mg_read_file(path, &page));
    mg_resolve_override("dlp.acme.example", NULL, 0);
    fresh();

    mg_view rest = mg_buf_view(&page), fence = MG_VIEW("```lua\n"), begin = MG_VIEW("<!-- check ");
    while (rest.len > 0) {
        if (mg_view_starts(rest, fence)) {
            rest = mg_view_skip(rest, fence.len);
            size_t end = mg_view_search(rest, MG_VIEW("\n```"));
            api_close(&api);
            fresh();
            build(mg_view_head(rest, end));
            rest = mg_view_skip(rest, end);
            blocks++;
        } else if (mg_view_starts(rest, begin)) {
            rest = mg_view_skip(rest, begin.len);
            check(mg_view_head(rest, mg_view_search(rest, MG_VIEW(" -->"))));
            checks++;
        }
        rest = mg_view_skip(rest, mg_view_find(rest, "\n") + 1);
    }
    CHECK(blocks >= 12 && checks >= blocks);
    api_close(&api);
    mg_resolve_override(NULL, NULL, 0);
    mg_buf_fini(&page);
}

MG_TEST_MAIN()
