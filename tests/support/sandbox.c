#include "sandbox.h"

#include <pthread.h>

#include "check.h"
#include "script/sandbox.h"

static struct mg_instance inline_instance = {.name = "inline", .project = "test", .inline_code = true};

struct snippet {
    const char *text;
    char *out;
    size_t size;
};

void sandbox_open(struct mg_lua *lua)
{
    struct mg_diag diag = {.line = 0};
    CHECK_OK(mg_script_init(&diag));
    memset(lua, 0, sizeof(*lua));
    lua->kind = MG_LUA_PROJECT;
    if (mg_sandbox_open(lua, "test", &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
}

void sandbox_close(struct mg_lua *lua)
{
    mg_sandbox_close(lua);
    mg_script_fini();
}

static int no_file(lua_State *L)
{
    (void)L;
    return 0;
}

static int run_snippet(lua_State *L)
{
    struct snippet *snippet = mg_lua_of(L)->body_arg;
    mg_sandbox_load(L, mg_view_cstr(snippet->text), "=snippet");
    mg_sandbox_prelude(L, "environment");
    lua_newtable(L);
    lua_pushcfunction(L, no_file);
    lua_call(L, 2, 1);
    lua_setfenv(L, -2);

    int before = lua_gettop(L) - 1;
    lua_call(L, 0, LUA_MULTRET);
    size_t at = 0;
    for (int i = before + 1; i <= lua_gettop(L) && at < snippet->size; i++) {
        int type = lua_type(L, i);
        bool plain = type == LUA_TSTRING || type == LUA_TNUMBER;
        const char *text = plain ? lua_tostring(L, i)
                           : type == LUA_TBOOLEAN ? (lua_toboolean(L, i) ? "true" : "false")
                                                  : lua_typename(L, type);
        at += (size_t)snprintf(snippet->out + at, snippet->size - at, "%s%s", i > before + 1 ? "," : "", text);
    }
    return 0;
}

enum mg_lua_end sandbox_run(struct mg_lua *lua, const char *text, uint32_t budget_us, char *out_text, size_t size)
{
    struct mg_lua_run run = {.instance = &inline_instance, .phase = MG_LUA_PHASE_route};
    struct snippet snippet = {.text = text, .out = out_text, .size = size};
    out_text[0] = '\0';
    enum mg_lua_end end = mg_lua_enter(lua, &run, budget_us, run_snippet, &snippet);
    if (end != MG_LUA_ENDED)
        mg_lua_fault_text(lua, end, out_text, size);
    return end;
}

struct thread_arg {
    void (*fn)(void);
    jmp_buf *outer;
    bool failed;
};

static void *run_thread(void *arg)
{
    struct thread_arg *thread = arg;
    jmp_buf outer;
    memcpy(&outer, &check_abort, sizeof(outer));
    if (setjmp(check_abort) == 0)
        thread->fn();
    else
        thread->failed = true;
    memcpy(&check_abort, &outer, sizeof(outer));
    return NULL;
}

void sandbox_thread(void (*fn)(void))
{
    struct thread_arg arg = {.fn = fn};
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16 * 1024 * 1024);
    CHECK(pthread_create(&thread, &attr, run_thread, &arg) == 0);
    pthread_attr_destroy(&attr);
    pthread_join(thread, NULL);
    if (arg.failed)
        longjmp(check_abort, 1);
}
