#include "cli/control.h"

#include <pwd.h>
#include <stdio.h>
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

void mg_control_actor(char *out, size_t size)
{
    const struct passwd *user = getpwuid(geteuid());
    if (user)
        snprintf(out, size, "local:%s", user->pw_name);
    else
        snprintf(out, size, "local:%ld", (long)geteuid());
}

mg_err mg_control_request(const char *data_dir, const char *method, const char *path, mg_view body,
                          int *out_status, struct mg_buf *out_body, struct mg_diag *diag)
{
    char socket_path[MG_FOLDER_PATH_BYTES], actor[64], headers[160];
    if (mg_folder_path(data_dir, "control.sock", socket_path) != MG_OK)
        return mg_diag_set(diag, MG_E_NOT_FOUND, data_dir, 0, "this path is too long");
    mg_control_actor(actor, sizeof(actor));
    snprintf(headers, sizeof(headers), "%sx-moongate-actor: %s\r\n",
             body.len ? "content-type: application/json\r\n" : "", actor);
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
