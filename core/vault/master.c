#include "vault/master.h"

#include <string.h>

#include "base/mem.h"

mg_err mg_master_open(const struct mg_master_spec *spec, const char *data_dir, bool may_create,
                      struct mg_master **out_master, struct mg_diag *diag)
{
    static const struct mg_master_spec by_default = {.kind = "file"};
    if (!spec || !spec->kind)
        spec = &by_default;
    if (strcmp(spec->kind, "file") == 0)
        return mg_master_file(spec, data_dir, may_create, out_master, diag);
    if (strcmp(spec->kind, "env") == 0)
        return mg_master_env(spec, out_master, diag);
    if (strcmp(spec->kind, "aws_kms") == 0 || strcmp(spec->kind, "gcp_kms") == 0 || strcmp(spec->kind, "transit") == 0)
        return mg_master_service(spec, out_master, diag);
    return mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "vault.master: there is no kind \"%s\"", spec->kind);
}

void mg_master_close(struct mg_master *master)
{
    if (master)
        master->ops->free(master);
}
