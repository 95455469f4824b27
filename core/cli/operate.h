/* operate.h - how the admin plane asks a gateway: the glue between the two, in one table. */
#ifndef MG_CLI_OPERATE_H
#define MG_CLI_OPERATE_H

#include "admin/admin.h"

struct mg_operate {
    struct mg_gateway *gateway;        /* borrowed */
    const struct mg_config_gateway *config;      /* borrowed */
    uint64_t start_wall_us;
};

/* For mg_admin_options; their arg is a struct mg_operate. */
extern const struct mg_admin_ops mg_operate_ops;

#endif
