#include "cli/control.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/call.h"
#include "store/folder.h"
#include "vault/ask.h"

enum { HEAD_BYTES = 20480, REMOTE_MS = MG_CONTROL_TIMEOUT_S * 1000 };

static mg_err on_body(void *arg, mg_view bytes)
{
    return mg_buf_put(arg, bytes);
}

mg_err mg_control_put_escaped(struct mg_buf *out, const char *text)
{
    for (; *text; text++) {
        bool plain = (*text >= '0' && *text <= '9') ||
                     ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z') || strchr("-_.~:/", *text);
        MG_TRY(plain ? mg_buf_putc(out, *text) : mg_buf_putf(out, "%%%02X", (unsigned char)*text));
    }
    return MG_OK;
}

static void put_user(char *out, size_t size)
{
    const struct passwd *user = getpwuid(geteuid());
    if (user)
        snprintf(out, size, "%s", user->pw_name);
    else
        snprintf(out, size, "%ld", (long)geteuid());
}

/* For whom root acts, if somebody became it for this command: "" when nobody says so. Any process can claim it, so it only ever
 * stands beside who it is. */
static const char *claimed(void)
{
    const char *name = getenv("SUDO_USER");
    bool plain = name && *name && strlen(name) <= 32;
    for (size_t i = 0; plain && name[i]; i++)
        plain = name[i] > ' ' && name[i] < 0x7f && !strchr("\"'()\\", name[i]);
    return plain ? name : "";
}

void mg_control_actor(char *out, size_t size)
{
    char user[40];
    put_user(user, sizeof(user));
    const char *other = strcmp(claimed(), user) == 0 ? "" : claimed();
    snprintf(out, size, *other ? "local:%s(%s)" : "local:%s", user, other);
}

/* NULL: it is not set, or empty. */
static const char *from_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* A whole line, unless the value could end it. */
static mg_err put_header(struct mg_buf *head, const char *start, const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return MG_E_BAD_REQUEST;
    return mg_buf_putf(head, "%s %s\r\n", start, value);
}

static mg_err put_head(struct mg_buf *head, mg_view body)
{
    const char *project = from_env("MOONGATE_PROJECT");
    if (body.len)
        MG_TRY(mg_buf_put(head, MG_VIEW("content-type: application/json\r\n")));
    return project ? put_header(head, "x-moongate-project:", project) : MG_OK;
}

static mg_err ask_remote(const char *method, const char *path, mg_view body, struct mg_buf *head, int *out_status, struct mg_buf *out_body,
                         struct mg_diag *diag)
{
    const char *url = from_env("MOONGATE_URL"), *token = from_env("MOONGATE_TOKEN");
    if (!mg_ask_is_private(mg_view_cstr(url)))
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "MOONGATE_URL must be https, or this machine: the token would be read on the way");
    if (token && put_header(head, "authorization: Bearer", token) != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "MOONGATE_TOKEN is no token");
    const struct mg_ask question = {.method = method, .url = url, .path = mg_view_cstr(path), .ca = from_env("MOONGATE_CA"),
                                    .headers = mg_buf_view(head), .body = body, .whom = "the gateway", .total_ms = REMOTE_MS};
    mg_err err = mg_ask(&question, out_status, out_body, diag);
    return err == MG_E_CONNECT || err == MG_E_NOT_FOUND ? MG_E_IO : err;       /* those mean that none runs here */
}

static mg_err ask_local(const char *data_dir, const char *method, const char *path, mg_view body, struct mg_buf *head, int *out_status,
                        struct mg_buf *out_body, struct mg_diag *diag)
{
    char socket_path[MG_FOLDER_PATH_BYTES];
    if (mg_folder_path(data_dir, "control.sock", socket_path) != MG_OK)
        return mg_diag_set(diag, MG_E_NOT_FOUND, data_dir, 0, "this path is too long");
    if (*claimed())
        MG_TRY(mg_buf_putf(head, "x-moongate-actor: %s\r\n", claimed()));
    const struct mg_call_spec spec = {
        .unix_path = socket_path,
        .method = method,
        .path = path,
        .headers = mg_buf_cstr(head),
        .body = body,
        .timeout_s = MG_CONTROL_TIMEOUT_S,
        .on_body = on_body,
        .arg = out_body,
    };
    mg_err err = mg_call(&spec, out_status, diag);
    if (err == MG_E_TOO_LARGE)
        mg_diag_set(diag, err, NULL, 0, "the answer is too long");
    return err;
}

mg_err mg_control_request(const char *data_dir, const char *method, const char *path, mg_view body,
                          int *out_status, struct mg_buf *out_body, struct mg_diag *diag)
{
    struct mg_buf head;
    mg_buf_init(&head, HEAD_BYTES);
    mg_err err = mg_buf_reserve(&head, HEAD_BYTES);               /* at once: growing would leave copies of a token */
    if (err == MG_OK && (err = put_head(&head, body)) == MG_E_BAD_REQUEST)
        mg_diag_set(diag, err, NULL, 0, "MOONGATE_PROJECT is no name");
    if (err == MG_OK)
        err = from_env("MOONGATE_URL") ? ask_remote(method, path, body, &head, out_status, out_body, diag)
                                       : ask_local(data_dir, method, path, body, &head, out_status, out_body, diag);
    if (head.ptr)
        mg_wipe(head.ptr, head.cap);
    mg_buf_fini(&head);
    return err;
}
