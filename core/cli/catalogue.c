#include "cli/catalogue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "meter/prices.h"
#include "store/folder.h"

mg_err mg_catalogue_read(const char *path, struct mg_buf *out, struct mg_diag *diag)
{
    FILE *file = fopen(path, "rbe");
    mg_err err = MG_OK;
    if (!file)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, "cannot read it: %s", strerror(errno));
    for (size_t n = 1; n > 0 && err == MG_OK;) {
        err = mg_buf_reserve(out, 65536);
        if (err != MG_OK)
            break;
        n = fread(mg_buf_tail(out), 1, 65536, file);
        mg_buf_grew(out, n);
    }
    fclose(file);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, path, 0, "it is too large");
}

static mg_err write_whole(const char *path, mg_view text, struct mg_diag *diag)
{
    char temporary[MG_FOLDER_PATH_BYTES + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "wbe");
    bool good = file && fwrite(text.ptr, 1, text.len, file) == text.len && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file)
        good &= fclose(file) == 0;
    if (good && rename(temporary, path) == 0)
        return MG_OK;
    mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot write it: %s", strerror(errno));
    unlink(temporary);
    return MG_E_SYSTEM;
}

mg_err mg_catalogue_write(const char *data_dir, const char *name, mg_view text, char out_path[], struct mg_diag *diag)
{
    MG_TRY(mg_folder_create(data_dir, diag));
    MG_TRY(mg_folder_path(data_dir, name, out_path));
    return write_whole(out_path, text, diag);
}

int mg_catalogue_verb(const char *command, int argc, char **argv, const char *const *verbs, const char *need, struct mg_catalogue_verb *out)
{
    char known[128] = "";
    *out = (struct mg_catalogue_verb){argc > 1 ? argv[1] : verbs[0], argc > 2 ? argv[2] : NULL};
    for (int i = 0; verbs[i]; i++) {
        if (strcmp(out->verb, verbs[i]) == 0)
            return i == 0 || out->what ? MG_CLI_GO : mg_cli_complain(MG_EXIT_USAGE, command, "%s needs %s", verbs[i], need);
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "", verbs[i]);
    }
    return mg_cli_complain(MG_EXIT_USAGE, command, "there are %s, not \"%s\"", known, out->verb);
}

const char *mg_catalogue_date(char out[16], uint64_t at_us)
{
    time_t second = (time_t)(at_us / 1000000u);
    struct tm tm;
    gmtime_r(&second, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
    return out;
}

const char *mg_catalogue_today(char out[16])
{
    return mg_catalogue_date(out, (uint64_t)time(NULL) * 1000000u);
}

const char *mg_catalogue_dollars(char out[24], int64_t microusd)
{
    if (microusd == MG_RATE_NONE)
        return "-";
    int len = snprintf(out, 24, "%" PRId64 ".%06" PRId64, microusd / 1000000, microusd % 1000000);
    while (out[len - 1] == '0' && out[len - 3] != '.')
        out[--len] = '\0';
    return out;
}
