/* The contract: lua/meta says what there is, the C tables what can be called, and both say the same. Every function is
 * called in every phase, and is allowed or refused as declared. Run in the project's folder. */
#include "api.h"
#include "base/mem.h"
#include "check.h"
#include "script/answers_lua.h"
#include "script/manifest.h"
#include "script/modules.h"
#include "script/pattern_lua.h"
#include "script/view_class.h"

#define EACH(item, list) for (size_t item = 0; item < sizeof(list) / sizeof((list)[0]); item++)

static const struct mg_lua_class *const classes[] = {&mg_lua_regex, &mg_lua_redactor, &mg_lua_matcher};

static lua_State *meta;                /* runs tests/tools/meta.lua; the list of declarations is at index 1 */

static void open_meta(void)
{
    const char *folder = getenv("MOONGATE_SOURCE_DIR");
    char code[1024];
    snprintf(code, sizeof code, "package.path = '%s/tests/tools/?.lua;' .. package.path "
             "local lines, dir = io.lines, '%s/' io.lines = function(p) return lines(dir .. p) end "
             "return require 'meta'.all()", folder ? folder : ".", folder ? folder : ".");
    meta = luaL_newstate();
    luaL_openlibs(meta);
    if (luaL_dostring(meta, code) != 0)
        check_failed(__FILE__, __LINE__, "%s", lua_tostring(meta, -1));
}

static void close_meta(void)
{
    lua_close(meta);
}

static const char *field(const char *name)
{
    lua_getfield(meta, -1, name);
    const char *text = lua_tostring(meta, -1);
    lua_pop(meta, 1);
    return text;
}

/* Leaves the declaration of that kind, class and name on top of the stack; false when there is none. */
static bool find_item(const char *kind, const char *class_, const char *name)
{
    for (int i = 1; i <= (int)lua_objlen(meta, 1); i++) {
        lua_rawgeti(meta, 1, i);
        const char *its_kind = field("kind"), *its_class = field("class"), *its_name = field("name");
        if (strcmp(its_kind, kind) == 0 && strcmp(its_name, name) == 0 &&
            (!class_ || (its_class && strcmp(its_class, class_) == 0)))
            return true;
        lua_pop(meta, 1);
    }
    return false;
}

static uint32_t phases_of_item(void)
{
    uint32_t mask = 0;
    lua_getfield(meta, -1, "phases");
    for (int i = 0; i < MG_LUA_PHASE_COUNT; i++) {
        lua_getfield(meta, -1, mg_lua_phase_name((enum mg_lua_phase)i));
        mask |= lua_toboolean(meta, -1) ? 1u << i : 0;
        lua_pop(meta, 1);
    }
    lua_pop(meta, 1);
    return mask;
}

/* moongate.text.utf8_len is declared as moongate.text.utf8.len. */
static void declared_name(const char *class_, const char *name, char *out_class, const char **out_name)
{
    bool utf8 = strncmp(name, "utf8_", 5) == 0;
    snprintf(out_class, 64, "%s%s", class_, utf8 ? ".utf8" : "");
    *out_name = utf8 ? name + 5 : name;
}

static void check_function(const char *class_, const struct mg_lua_function *function)
{
    char its_class[64];
    const char *name;
    declared_name(class_, function->name, its_class, &name);
    if (!find_item("function", its_class, name))
        check_failed(__FILE__, __LINE__, "%s.%s is not declared in lua/meta", its_class, name);
    const char *permission = field("permission");
    lua_getfield(meta, -1, "waits");
    bool waits = lua_toboolean(meta, -1);
    lua_pop(meta, 1);
    if (phases_of_item() != function->phases)
        check_failed(__FILE__, __LINE__, "%s.%s: phases %x in C, %x in lua/meta", its_class, name, function->phases, phases_of_item());
    if (waits != function->waits)
        check_failed(__FILE__, __LINE__, "%s.%s: C and lua/meta differ on whether it waits", its_class, name);
    if ((permission == NULL) != (function->permission == NULL) || (permission && strcmp(permission, function->permission) != 0))
        check_failed(__FILE__, __LINE__, "%s.%s: C and lua/meta differ on the permission", its_class, name);
    if (function->waits && (function->phases & ~(uint32_t)MG_LUA_WAITING))
        check_failed(__FILE__, __LINE__, "%s.%s waits where waiting is not possible", its_class, name);
    lua_pop(meta, 1);
}

static void check_functions(const char *class_, const struct mg_lua_function *functions)
{
    for (const struct mg_lua_function *f = functions; f && f->name; f++)
        check_function(class_, f);
}

TEST(every_function_in_c_is_declared_with_its_phases_and_permission)
{
    char name[64];
    open_meta();
    for (size_t i = 0; mg_lua_modules[i]; i++) {
        snprintf(name, sizeof name, "moongate.%s", mg_lua_modules[i]->name);
        check_functions(name, mg_lua_modules[i]->functions);
    }
    EACH(i, classes)
        check_functions(classes[i]->name, classes[i]->methods);
    EACH(i, mg_view_classes)
        check_functions(mg_view_classes[i]->name, mg_view_classes[i]->methods);
    close_meta();
}

static bool has_function(const struct mg_lua_function *functions, const char *name)
{
    for (const struct mg_lua_function *f = functions; f && f->name; f++)
        if (strcmp(f->name, name) == 0)
            return true;
    return false;
}

static bool is_in_c(const char *class_, const char *name)
{
    char its_class[64], utf8_name[64];
    for (size_t i = 0; mg_lua_modules[i]; i++) {
        snprintf(its_class, sizeof its_class, "moongate.%s", mg_lua_modules[i]->name);
        if (strcmp(its_class, class_) == 0 && has_function(mg_lua_modules[i]->functions, name))
            return true;
    }
    snprintf(utf8_name, sizeof utf8_name, "utf8_%s", name);
    if (strcmp(class_, "moongate.text.utf8") == 0 && has_function(mg_lua_text_module.functions, utf8_name))
        return true;
    EACH(i, classes)
        if (strcmp(classes[i]->name, class_) == 0 && has_function(classes[i]->methods, name))
            return true;
    EACH(i, mg_view_classes)
        if (strcmp(mg_view_classes[i]->name, class_) == 0 && has_function(mg_view_classes[i]->methods, name))
            return true;
    return false;
}

/* Hooks are the plugin's own; chunks belong to the filters, whose test calls both methods; `has` is the prelude's. */
static bool is_elsewhere(const char *class_, const char *name)
{
    return strcmp(class_, "moongate.Plugin") == 0 || strcmp(class_, "moongate.Workflow") == 0 ||
           strcmp(class_, "moongate.Project") == 0 || strcmp(class_, "moongate.Chunk") == 0 ||
           (strcmp(class_, "moongate") == 0 && strcmp(name, "has") == 0);
}

TEST(every_declared_function_is_in_c)
{
    open_meta();
    for (int i = 1; i <= (int)lua_objlen(meta, 1); i++) {
        lua_rawgeti(meta, 1, i);
        const char *class_ = field("class"), *name = field("name");
        if (strcmp(field("kind"), "function") == 0 && !is_elsewhere(class_, name) && !is_in_c(class_, name))
            check_failed(__FILE__, __LINE__, "%s.%s is declared, but not in C", class_, name);
        lua_pop(meta, 1);
    }
    close_meta();
}

/* The declaration of a class is on top of the stack. */
static bool declares_field(const char *name)
{
    bool found = false;
    lua_getfield(meta, -1, "fields");
    for (int i = 1; i <= (int)lua_objlen(meta, -1) && !found; i++) {
        lua_rawgeti(meta, -1, i);
        found = strcmp(field("name"), name) == 0;
        lua_pop(meta, 1);
    }
    lua_pop(meta, 1);
    return found;
}

static bool view_has_field(const struct mg_view_class *class_, const char *name)
{
    for (const struct mg_view_field *f = class_->fields; f && f->name; f++)
        if (strcmp(f->name, name) == 0)
            return true;
    return class_->get && name[0] == '[';
}

TEST(views_have_the_declared_fields_and_no_others)
{
    open_meta();
    EACH(i, mg_view_classes) {
        const struct mg_view_class *class_ = mg_view_classes[i];
        if (!find_item("class", NULL, class_->name))
            check_failed(__FILE__, __LINE__, "the class %s is not declared", class_->name);
        for (const struct mg_view_field *f = class_->fields; f && f->name; f++)
            if (!declares_field(f->name))
                check_failed(__FILE__, __LINE__, "%s.%s is not declared", class_->name, f->name);
        lua_getfield(meta, -1, "fields");
        for (int k = 1; k <= (int)lua_objlen(meta, -1); k++) {
            lua_rawgeti(meta, -1, k);
            if (!view_has_field(class_, field("name")))
                check_failed(__FILE__, __LINE__, "%s.%s is declared, but not in C", class_->name, field("name"));
            lua_pop(meta, 1);
        }
        lua_pop(meta, 2);
    }
    close_meta();
}

TEST(every_hook_and_every_failure_class_is_declared)
{
    open_meta();
    for (int hook = 0; hook < MG_HOOK_COUNT; hook++)
        if (!find_item("function", hook < MG_HOOK_OF_PLUGINS ? "moongate.Plugin" : hook < MG_HOOK_CHARGE ? "moongate.Workflow" : "moongate.Project",
                       mg_hook_name((enum mg_hook)hook)))
            check_failed(__FILE__, __LINE__, "the hook %s is not declared", mg_hook_name((enum mg_hook)hook));
    CHECK(find_item("alias", NULL, "moongate.Class"));
    for (int class_ = MG_CLASS_none + 1; class_ < MG_CLASS_COUNT; class_++) {
        char quoted[40];
        snprintf(quoted, sizeof quoted, "\"%s\"", mg_class_name((enum mg_class)class_));
        if (!strstr(field("alias"), quoted))
            check_failed(__FILE__, __LINE__, "the class %s is not declared", quoted);
    }
    close_meta();
}

static struct api api;

/* Calls without arguments: what comes back tells whether the gate let it through, not whether it made sense. */
static void call_everywhere(const char *expression, const struct mg_lua_function *function, uint32_t skip)
{
    char code[256];
    for (int i = 0; i < MG_LUA_PHASE_COUNT; i++) {
        if (skip & 1u << i)
            continue;
        snprintf(code, sizeof code, "local f = %s return select(2, pcall(f))", expression);
        const char *got = api_run(&api, (enum mg_lua_phase)i, code);
        bool refused = strstr(got, "cannot be called in") || strstr(got, "may not wait");
        bool declared = function->phases & 1u << i;
        if (refused == declared || strncmp(got, "error: ", 7) == 0)
            check_failed(__FILE__, __LINE__, "%s in %s: %s", expression, mg_lua_phase_name((enum mg_lua_phase)i), got);
    }
}

TEST(every_function_is_allowed_or_refused_in_every_phase_as_declared)
{
    static const char *const views[MG_VIEW_KIND_COUNT] = {
        [MG_VIEW_request] = "req", [MG_VIEW_messages] = "req.messages", [MG_VIEW_message] = "req.messages[1]",
        [MG_VIEW_response] = "res"};
    static const char *const values[] = {"keep.regex", "keep.redactor", "keep.matcher"};
    static const char *const grants[] = {"net:https://a.example", NULL};
    char expression[128];
    api_open(&api);
    api.instance.grants = grants;
    api_run(&api, MG_LUA_PHASE_new, "keep.regex = moongate.re.compile 'x' keep.matcher = moongate.text.matcher { 'x' } "
                                    "keep.redactor = moongate.text.redactor { words = { 'x' } }");

    for (size_t i = 0; mg_lua_modules[i]; i++)
        for (const struct mg_lua_function *f = mg_lua_modules[i]->functions; f->name; f++) {
            bool utf8 = strncmp(f->name, "utf8_", 5) == 0;
            snprintf(expression, sizeof expression, "moongate.%s%s%s", mg_lua_modules[i]->name, utf8 ? ".utf8." : ".",
                     utf8 ? f->name + 5 : f->name);
            call_everywhere(expression, f, 0);
        }
    EACH(i, classes)
        for (const struct mg_lua_function *f = classes[i]->methods; f->name; f++) {
            snprintf(expression, sizeof expression, "%s.%s", values[i], f->name);
            call_everywhere(expression, f, 0);
        }
    EACH(i, mg_view_classes)
        for (const struct mg_lua_function *f = mg_view_classes[i]->methods; f && f->name; f++) {
            snprintf(expression, sizeof expression, "%s.%s", views[i], f->name);
            call_everywhere(expression, f, MG_LUA_SETUP);     /* there is no exchange whose views could be had */
        }
    api_close(&api);
}

TEST(every_function_with_a_permission_is_refused_without_it)
{
    char code[256];
    api_open(&api);
    api.instance.inline_code = false;
    for (size_t i = 0; mg_lua_modules[i]; i++)
        for (const struct mg_lua_function *f = mg_lua_modules[i]->functions; f->name; f++) {
            if (!f->permission)
                continue;
            snprintf(code, sizeof code, "return select(2, pcall(moongate.%s.%s))", mg_lua_modules[i]->name, f->name);
            const char *got = api_run(&api, MG_LUA_PHASE_on_request, code);
            if (!strstr(got, "needs the permission"))
                check_failed(__FILE__, __LINE__, "%s: %s", code, got);
        }
    api_close(&api);
}

/* The fenced example in a declaration. */
static const char *example_of(const char *class_)
{
    static char code[4096];
    size_t at = 0;
    bool inside = false;
    CHECK(find_item("class", NULL, class_));
    lua_getfield(meta, -1, "doc");
    for (int i = 1; i <= (int)lua_objlen(meta, -1); i++) {
        lua_rawgeti(meta, -1, i);
        const char *line = lua_tostring(meta, -1);
        if (strncmp(line, "```", 3) == 0)
            inside = !inside;
        else if (inside)
            at += (size_t)snprintf(code + at, sizeof code - at, "%s\n", line);
        lua_pop(meta, 1);
    }
    lua_pop(meta, 2);
    CHECK(at > 0);
    return code;
}

/* Every field of the class stands in its example, so that nothing is declared that is not read. */
static void check_example_is_whole(const char *class_, const char *code)
{
    CHECK(find_item("class", NULL, class_));
    lua_getfield(meta, -1, "fields");
    for (int i = 1; i <= (int)lua_objlen(meta, -1); i++) {
        char name[64];
        lua_rawgeti(meta, -1, i);
        snprintf(name, sizeof name, "%s", field("name"));
        name[strcspn(name, "?")] = '\0';
        if (!strstr(code, name))
            check_failed(__FILE__, __LINE__, "the example of %s lacks %s", class_, name);
        lua_pop(meta, 1);
    }
    lua_pop(meta, 2);
}

static int read_example(lua_State *L)
{
    const char *class_ = lua_tostring(L, lua_upvalueindex(1));
    static struct mg_plan plan;
    struct mg_verdict verdict = {0};
    struct mg_attempt_patch patch = {0};
    if (strcmp(class_, "moongate.Plan") == 0)
        mg_lua_read_plan(L, 1, &api.call, api.candidates, 2, &plan);
    else if (strcmp(class_, "moongate.Verdict") == 0)
        mg_lua_read_verdict(L, 1, &api.call, &api.facts, &verdict);
    else
        mg_lua_read_patch(L, 1, &api.call, &patch);
    return 0;
}

TEST(the_examples_of_plans_verdicts_and_patches_are_whole_and_are_understood)
{
    static const char *const answers[] = {"moongate.Plan", "moongate.Verdict", "moongate.Patch"};
    open_meta();
    EACH(i, answers) {
        const char *code = example_of(answers[i]);
        check_example_is_whole(answers[i], code);
        if (strcmp(answers[i], "moongate.Plan") == 0)
            check_example_is_whole("moongate.PlanEntry", code);
        api_open(&api);
        api.call.default_deadline_ms = 60000;
        api.call.default_max_attempts = 4;
        char wrapped[4300];
        snprintf(wrapped, sizeof wrapped, "local function make() %s end keep.read(make())", code);
        lua_pushstring(api.lua.L, answers[i]);
        lua_pushcclosure(api.lua.L, read_example, 1);
        lua_newtable(api.lua.L);
        lua_insert(api.lua.L, -2);
        lua_setfield(api.lua.L, -2, "read");
        lua_setfield(api.lua.L, LUA_REGISTRYINDEX, "keep");
        CHECK_STR(api_run(&api, MG_LUA_PHASE_route, wrapped), "");
        api_close(&api);
    }
    close_meta();
}

MG_TEST_MAIN()
