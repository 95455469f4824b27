#include "cli/control.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/call.h"
#include "store/folder.h"

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

mg_err mg_control_request(const char *data_dir, const char *method, const char *path, mg_view body,
                          int *out_status, struct mg_buf *out_body, struct mg_diag *diag)
{
    char socket_path[MG_FOLDER_PATH_BYTES], headers[160];
    if (mg_folder_path(data_dir, "control.sock", socket_path) != MG_OK)
        return mg_diag_set(diag, MG_E_NOT_FOUND, data_dir, 0, "this path is too long");
    snprintf(headers, sizeof(headers), "%s%s%s%s", body.len ? "content-type: application/json\r\n" : "",
             *claimed() ? "x-moongate-actor: " : "", claimed(), *claimed() ? "\r\n" : "");
    const struct mg_call_spec spec = {
        .unix_path = socket_path,
        .method = method,
        .path = path,
        .headers = headers,
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
