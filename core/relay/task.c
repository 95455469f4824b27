#include "relay/task.h"

#include "base/mem.h"

static const struct {
    const char *task, *surface;
} rows[] = {
    {MG_TASK_COUNT, "count_tokens"}, {MG_TASK_COUNT, "response_tokens"},
    {MG_TASK_EMBED, "embeddings"}, {MG_TASK_EMBED, "embed"},
};

const struct mg_adapter_operation *mg_task_operation(const struct mg_adapter *adapter, const char *task)
{
    const struct mg_adapter_operation *found = NULL;
    for (size_t i = 0; i < MG_COUNT(rows) && !found; i++)
        if (strcmp(rows[i].task, task) == 0)
            found = mg_adapter_operation(adapter, rows[i].surface);
    return found;
}

static bool speaks(const struct mg_adapter *adapter, const char *dialect, const char *surface)
{
    return strcmp(mg_adapter_declaration(adapter)->dialect, dialect) == 0 && mg_adapter_operation(adapter, surface);
}

const struct mg_adapter *mg_task_adapter(const struct mg_upstream *upstream, const char *dialect, const char *surface, const char *task)
{
    const struct mg_adapter *any = mg_task_operation(upstream->adapter, task) ? upstream->adapter : NULL;
    if (speaks(upstream->adapter, dialect, surface))
        return upstream->adapter;
    for (int i = 0; i < upstream->spoken_count; i++) {
        const struct mg_adapter *spoken = upstream->spoken[i];
        if (speaks(spoken, dialect, surface))
            return spoken;
        if (!any && mg_task_operation(spoken, task))
            any = spoken;
    }
    return any ? any : upstream->adapter;
}
