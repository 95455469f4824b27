#include "gateway/passthrough_path.h"

#include "base/mem.h"

enum { MAX_PATH = 1024 };

#define PREFIX MG_VIEW("/providers/")

bool mg_passthrough_split(mg_view path, mg_view *out_name, mg_view *out_rest)
{
    if (!mg_view_starts(path, PREFIX))
        return false;
    path = mg_view_skip(path, PREFIX.len);
    size_t len = mg_view_find(path, "/");
    *out_name = mg_view_head(path, len);
    *out_rest = mg_view_skip(path, len);
    return len > 0 && out_rest->len > 1;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static int octet(mg_view text, size_t at)
{
    int high = at + 2 < text.len ? hex(text.ptr[at + 1]) : -1;
    int low = at + 2 < text.len ? hex(text.ptr[at + 2]) : -1;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* "." and "..", also with the parameters that some servers cut off: "..;a=b". */
static bool is_dots(mg_view segment)
{
    mg_view name = mg_view_head(segment, mg_view_find(segment, ";"));
    return mg_view_eq(name, MG_VIEW(".")) || mg_view_eq(name, MG_VIEW(".."));
}

static const char *check_segments(mg_view path)
{
    for (mg_view rest = mg_view_skip(path, 1); rest.len > 0;) {
        mg_view segment = mg_view_head(rest, mg_view_find(rest, "/"));
        if (segment.len == 0)
            return "it has an empty segment";
        if (is_dots(segment))
            return "it has a segment of dots";
        rest = mg_view_skip(rest, MG_MIN(segment.len + 1, rest.len));
    }
    return NULL;
}

static const char *check_octet(int c)
{
    if (c < 0x20 || c == 0x7f)
        return "it has a control character, or a '%' that begins none of its codes";
    if (c == '\\' || c == '?' || c == '#')
        return "it has a '\\', '?' or '#' that belongs to no path";
    return c == '%' ? "it is encoded twice" : NULL;
}

const char *mg_passthrough_decode(struct mg_arena *arena, mg_view rest, const char **out_why)
{
    char *out = mg_arena_alloc(arena, rest.len + 1);
    size_t len = 0;
    *out_why = rest.len > MAX_PATH ? "it is too long" : NULL;
    for (size_t i = 0; i < rest.len && !*out_why; i++) {
        bool coded = rest.ptr[i] == '%';
        int c = coded ? octet(rest, i) : (unsigned char)rest.ptr[i];
        *out_why = check_octet(c);
        out[len++] = (char)c;
        i += coded ? 2 : 0;
    }
    while (len > 1 && out[len - 1] == '/' && out[len - 2] != '/')
        len--;
    out[len] = '\0';
    if (!*out_why)
        *out_why = check_segments(mg_view_of(out, len));
    return *out_why ? NULL : out;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* What the vendors call the parts of their API that manage an account. */
static const char *const administration[] = {
    "/organization*", "/organisations*", "/projects", "/projects/*", "/api_keys*", "/api-keys*", "/apikeys*", "/api-key*", "/api_key*",
    "/keys", "/keys/*", "/key", "/key/*", "/auth/*", "/admin/*", "/admin_api*", "/users", "/users/*", "/invites*", "/workspaces*",
    "/service_accounts*", "/serviceaccounts*", "/members*", "/billing*", "/credits*", "/usage", "/usage/*", "/dashboard/*", "/iam/*", "/account",
    "/account/*",
};

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static mg_view in_small(const char *text, char *out, size_t room)
{
    size_t len = 0;
    for (; text[len] && len < room; len++)
        out[len] = small(text[len]);
    return mg_view_of(out, len);
}

/* At the front, or behind a version or another first segment or two: "/v1/organization/…", "/api/v1/keys". */
static bool administers(const char *decoded)
{
    char text[MAX_PATH + 64];
    mg_view path = in_small(decoded, text, sizeof text);
    for (int depth = 0; depth < 4 && path.len > 1; depth++) {
        for (size_t i = 0; i < MG_COUNT(administration); i++)
            if (mg_view_glob(mg_view_cstr(administration[i]), path))
                return true;
        path = mg_view_skip(path, 1);
        path = mg_view_skip(path, mg_view_find(path, "/"));
    }
    return false;
}

static bool fits(const char *rule, mg_view method, mg_view path, bool any_case)
{
    char small_rule[256], small_path[MAX_PATH + 64];
    mg_view pattern = mg_view_cstr(rule);
    size_t space = mg_view_find(pattern, " ");
    if (space < pattern.len && !mg_view_eq(mg_view_head(pattern, space), method))
        return false;
    pattern = space < pattern.len ? mg_view_skip(pattern, space + 1) : pattern;
    if (any_case) {
        pattern = in_small(pattern.ptr, small_rule, sizeof small_rule);
        path = in_small(path.ptr, small_path, sizeof small_path);
    }
    return mg_view_glob(pattern, path);
}

const char *mg_passthrough_denies(const struct mg_config_passthrough *rules, mg_view method, const char *decoded)
{
    mg_view path = mg_view_cstr(decoded);
    bool allowed = rules->allow_count == 0;
    for (int i = 0; i < rules->deny_count; i++)
        if (fits(rules->deny[i], method, path, true))
            return "`deny` of its passthrough names it";
    for (int i = 0; i < rules->allow_count && !allowed; i++)
        allowed = fits(rules->allow[i], method, path, false);
    if (!allowed)
        return "`allow` of its passthrough does not name it";
    if (!rules->administration && administers(decoded))
        return "it looks like the administration of an account, which `administration` of its passthrough would open";
    return NULL;
}

/* ---- at the vendor --------------------------------------------------------------------------- */

static mg_view segment(mg_view path)
{
    path = mg_view_skip(path, 1);
    return mg_view_head(path, mg_view_find(path, "/"));
}

/* "v1", "v1beta", "v2alpha1" */
static bool is_version(mg_view text)
{
    size_t at = 1;
    if (text.len < 2 || text.ptr[0] != 'v' || text.ptr[1] < '0' || text.ptr[1] > '9')
        return false;
    while (at < text.len && ((text.ptr[at] >= '0' && text.ptr[at] <= '9') || (text.ptr[at] >= 'a' && text.ptr[at] <= 'z')))
        at++;
    return at == text.len && text.len <= 12;
}

static mg_view before_version(mg_view base_path)
{
    size_t at = base_path.len;
    while (at > 0 && base_path.ptr[at - 1] != '/')
        at--;
    return at > 0 && is_version(mg_view_skip(base_path, at)) ? mg_view_head(base_path, at - 1) : base_path;
}

/* "/v1/…", or as Google spells uploads: "/upload/v1beta/…". */
static bool names_version(mg_view rest)
{
    mg_view first = segment(rest);
    if (mg_view_eq(first, MG_VIEW("upload")))
        first = segment(mg_view_skip(rest, first.len + 1));
    return is_version(first);
}

static bool is_below(mg_view base_path, mg_view rest)
{
    return base_path.len && mg_view_starts(rest, base_path) && rest.len > base_path.len && rest.ptr[base_path.len] == '/';
}

/* How its client may spell it, and what it is then. */
static mg_view mapped(struct mg_arena *arena, mg_view base_path, mg_view root, mg_view rest)
{
    if (is_below(base_path, rest))
        return rest;
    mg_view before = root.len < base_path.len && names_version(rest) ? root : base_path;
    return mg_arena_printf(arena, "%.*s%.*s", MG_FMT(before), MG_FMT(rest));
}

void mg_passthrough_place(struct mg_arena *arena, mg_view base_path, mg_view rest, struct mg_passthrough_place *out_place)
{
    mg_view root = before_version(base_path);
    out_place->path = mapped(arena, base_path, root, rest);
    out_place->ruled = mg_view_skip(out_place->path, root.len);
    out_place->below = base_path.len == 0 || is_below(base_path, out_place->path) ? mg_view_skip(out_place->path, base_path.len) : MG_VIEW_NONE;
}

static bool is_name(mg_view text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (mg_view_ieq(text, mg_view_cstr(names[i])))
            return true;
    return false;
}

static bool carries_key(struct mg_arena *arena, mg_view parameter, const char *vendors)
{
    static const char *const names[] = {"key", "api_key", "api-key", "apikey", "access_token", "token", "authorization",
                                        "subscription-key", "x-goog-api-key", "x-api-key"};
    mg_view name = mg_view_head(parameter, mg_view_find(parameter, "="));
    char *plain = mg_arena_alloc(arena, name.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < name.len; i++) {
        int c = name.ptr[i] == '%' ? octet(name, i) : (unsigned char)name.ptr[i];
        plain[len++] = (char)c;
        i += name.ptr[i] == '%' && c >= 0 ? 2 : 0;
    }
    name = mg_view_trim(mg_view_of(plain, len));
    return is_name(name, names, MG_COUNT(names)) || mg_view_ieq(mg_view_head(name, 6), MG_VIEW("x-amz-")) ||
           (vendors && mg_view_ieq(name, mg_view_cstr(vendors)));
}

mg_view mg_passthrough_query(struct mg_arena *arena, mg_view query, const char *vendors)
{
    char *out = mg_arena_alloc(arena, query.len + 1);
    size_t len = 0;
    while (query.len > 0) {
        mg_view parameter = mg_view_head(query, mg_view_find(query, "&"));
        query = mg_view_skip(query, MG_MIN(parameter.len + 1, query.len));
        if (!parameter.len || carries_key(arena, parameter, vendors))
            continue;
        if (len > 0)
            out[len++] = '&';
        memcpy(out + len, parameter.ptr, parameter.len);
        len += parameter.len;
    }
    return mg_view_of(out, len);
}

/* Keys under other names, signatures that the client's SDK made for an account of its own, and what makes another request of
 * this one behind our rules. */
bool mg_passthrough_keeps(mg_view name)
{
    static const char *const names[] = {
        "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-original-uri", "x-rewrite-url",
        "x-host", "x-original-host", "ocp-apim-subscription-key", "x-auth-token", "x-access-token", "x-api-token", "x-auth-key"};
    return is_name(name, names, MG_COUNT(names)) || mg_view_ieq(mg_view_head(name, 6), MG_VIEW("x-amz-"));
}

/* What an answer says of our account at the vendor is not for whoever asked. */
bool mg_passthrough_hides(mg_view name)
{
    static const char *const names[] = {
        "authorization", "www-authenticate", "x-api-key", "api-key", "x-goog-api-key", "openai-organization", "openai-project",
        "anthropic-organization-id", "anthropic-workspace-id", "x-amz-security-token", "authentication-info"};
    return is_name(name, names, MG_COUNT(names));
}

/* ---- known operations ------------------------------------------------------------------------ */

/* Those whose bodies are JSON with the model in it or in the path, and whose answers the taps read. */
static bool can_be_read(const char *surface)
{
    static const char *const names[] = {"chat", "responses", "messages", "generate", "converse", "completions", "embeddings", "count_tokens",
                                        "embed"};
    return is_name(mg_view_cstr(surface), names, MG_COUNT(names));
}

/* False: it is another path. */
static bool matches(struct mg_arena *arena, const char *template, mg_view path, mg_view *out_model)
{
    static const mg_view hole = {"{model}", 7};
    mg_view whole = mg_view_head(mg_view_cstr(template), mg_view_find(mg_view_cstr(template), "?"));
    const char *at = memmem(whole.ptr, whole.len, hole.ptr, hole.len);
    *out_model = MG_VIEW_NONE;
    if (!at)
        return mg_view_eq(whole, path);
    mg_view before = mg_view_head(whole, (size_t)(at - whole.ptr)), after = mg_view_skip(whole, before.len + hole.len);
    if (path.len <= before.len + after.len || !mg_view_starts(path, before) ||
        !mg_view_eq(mg_view_skip(path, path.len - after.len), after))
        return false;
    mg_view model = mg_view_head(mg_view_skip(path, before.len), path.len - before.len - after.len);
    const char *why, *plain = mg_passthrough_decode(arena, mg_arena_printf(arena, "/%.*s", MG_FMT(model)), &why);
    if (!plain || mg_view_find(model, "/") < model.len)
        return false;
    *out_model = mg_view_cstr(plain + 1);
    return true;
}

static bool find_in(struct mg_arena *arena, const struct mg_adapter *adapter, mg_view path, struct mg_passthrough_operation *out)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    for (int i = 0; i < decl->operation_count; i++) {
        const struct mg_adapter_operation *row = &decl->operations[i];
        mg_view model;
        bool streamed = strcmp(row->path, row->stream_path) != 0 && matches(arena, row->stream_path, path, &model);
        if (!can_be_read(row->surface) || !(streamed || matches(arena, row->path, path, &model)))
            continue;
        *out = (struct mg_passthrough_operation){adapter, row, model, streamed};
        return true;
    }
    return false;
}

bool mg_passthrough_find(struct mg_arena *arena, const struct mg_upstream *upstream, mg_view method, mg_view below,
                         struct mg_passthrough_operation *out_operation)
{
    if (!mg_view_eq(method, MG_VIEW("POST")) || !below.len)
        return false;
    bool found = find_in(arena, upstream->adapter, below, out_operation);
    for (int i = 0; i < upstream->spoken_count && !found; i++)
        found = find_in(arena, upstream->spoken[i], below, out_operation);
    return found;
}
