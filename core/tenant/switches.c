#include "tenant/switches.h"

#include <stdatomic.h>

#include "base/list.h"
#include "base/mem.h"

struct mg_switched {
    struct mg_list link;               /* in the snapshot */
    const struct mg_switch *project;   /* NULL: only parts of it are disabled */
    struct mg_map names[MG_SWITCH_COUNT];        /* name → struct mg_switch */
};

struct mg_switches {
    atomic_uint refs;
    struct mg_switch *rows;            /* owned */
    struct mg_map projects;            /* name → struct mg_switched */
    struct mg_list all;                /* struct mg_switched; owned */
};

static const char *const kind_names[MG_SWITCH_COUNT] = {"project", "key", "workflow", "provider", "plugin"};

const char *mg_switch_kind_name(enum mg_switch_kind kind)
{
    return kind_names[kind];
}

bool mg_switch_kind_find(mg_view name, enum mg_switch_kind *out_kind)
{
    for (int i = 0; i < MG_SWITCH_COUNT; i++) {
        if (!mg_view_eq(name, mg_view_cstr(kind_names[i])))
            continue;
        *out_kind = (enum mg_switch_kind)i;
        return true;
    }
    return false;
}

static struct mg_switched *project_of(struct mg_switches *switches, const char *name)
{
    struct mg_switched *switched = mg_map_get(&switches->projects, mg_view_cstr(name));
    if (switched)
        return switched;
    switched = mg_new(struct mg_switched);
    for (int i = 0; i < MG_SWITCH_COUNT; i++)
        mg_map_init(&switched->names[i]);
    mg_list_push_back(&switches->all, &switched->link);
    mg_map_put(&switches->projects, mg_view_cstr(name), switched);
    return switched;
}

struct mg_switches *mg_switches_new(const struct mg_switch *rows, size_t count)
{
    if (count == 0)
        return NULL;
    struct mg_switches *switches = mg_new(struct mg_switches);
    atomic_init(&switches->refs, 1);
    switches->rows = mg_new_array(struct mg_switch, count);
    memcpy(switches->rows, rows, count * sizeof *rows);
    mg_map_init(&switches->projects);
    mg_list_init(&switches->all);
    for (size_t i = 0; i < count; i++) {
        struct mg_switch *row = &switches->rows[i];
        struct mg_switched *switched = project_of(switches, row->project);
        if (row->kind == MG_SWITCH_PROJECT)
            switched->project = row;
        else
            mg_map_put(&switched->names[row->kind], mg_view_cstr(row->name), row);
    }
    return switches;
}

struct mg_switches *mg_switches_ref(struct mg_switches *switches)
{
    if (switches)
        atomic_fetch_add_explicit(&switches->refs, 1, memory_order_relaxed);
    return switches;
}

static void switched_free(struct mg_switched *switched)
{
    for (int i = 0; i < MG_SWITCH_COUNT; i++)
        mg_map_fini(&switched->names[i]);
    mg_free(switched);
}

void mg_switches_unref(struct mg_switches *switches)
{
    if (!switches || atomic_fetch_sub_explicit(&switches->refs, 1, memory_order_acq_rel) > 1)
        return;
    struct mg_list *link;
    while ((link = mg_list_pop_front(&switches->all)))
        switched_free(mg_container_of(link, struct mg_switched, link));
    mg_map_fini(&switches->projects);
    mg_free(switches->rows);
    mg_free(switches);
}

const struct mg_switched *mg_switches_of(const struct mg_switches *switches, mg_view project)
{
    return switches ? mg_map_get(&switches->projects, project) : NULL;
}

const struct mg_switch *mg_switched_look(const struct mg_switched *switched, enum mg_switch_kind kind, mg_view name)
{
    return kind == MG_SWITCH_PROJECT ? switched->project : mg_map_get(&switched->names[kind], name);
}
