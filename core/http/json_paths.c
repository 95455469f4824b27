#include "http/json_paths.h"

#include <assert.h>

#include "base/mem.h"

static bool add_path(struct mg_json_paths *set, mg_view path, int index);
static int add_member(struct mg_json_paths *set, int node, mg_view key);
static int add_element(struct mg_json_paths *set, int node);
static int add_node(struct mg_json_paths *set);
static size_t count_steps(const char *const *paths, size_t count, size_t *out_bytes);

struct mg_json_paths *mg_json_paths_new(const char *const *paths, size_t count)
{
    struct mg_json_paths *set = mg_json_paths_try_new(paths, count);
    assert(set);
    return set;
}

struct mg_json_paths *mg_json_paths_try_new(const char *const *paths, size_t count)
{
    size_t bytes = 0, steps = count_steps(paths, count, &bytes);
    if (count > MG_JSON_PATHS)
        return NULL;
    struct mg_json_paths *set = mg_new(struct mg_json_paths);
    set->text = mg_alloc(bytes + 1);
    set->nodes = mg_new_array(struct mg_json_node, steps + 1);
    set->edges = mg_new_array(struct mg_json_edge, steps + 1);
    add_node(set);

    char *at = set->text;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(paths[i]);
        memcpy(at, paths[i], len);
        if (!add_path(set, mg_view_of(at, len), (int)i)) {
            mg_json_paths_free(set);
            return NULL;
        }
        at += len;
    }
    return set;
}

void mg_json_paths_free(struct mg_json_paths *set)
{
    if (!set)
        return;
    mg_free(set->text);
    mg_free(set->nodes);
    mg_free(set->edges);
    mg_free(set);
}

static bool add_path(struct mg_json_paths *set, mg_view path, int index)
{
    int node = 0;
    for (bool begins = true; path.len > 0; begins = false) {
        if (mg_view_starts(path, MG_VIEW("[*]"))) {
            node = add_element(set, node);
            path = mg_view_skip(path, 3);
            continue;
        }
        if (!begins && path.ptr[0] != '.')
            return false;
        path = mg_view_skip(path, begins ? 0 : 1);
        size_t len = mg_view_find(path, ".[");
        if (len == 0)
            return false;
        node = add_member(set, node, mg_view_head(path, len));
        path = mg_view_skip(path, len);
    }
    if (set->nodes[node].path != MG_JSON_NOWHERE)
        return false;        /* the same path again */
    set->nodes[node].path = index;
    return true;
}

static int add_member(struct mg_json_paths *set, int node, mg_view key)
{
    const struct mg_json_name name = mg_json_name(key, key.len);
    int known = mg_json_paths_member(set, node, &name);
    if (known != MG_JSON_NOWHERE)
        return known;
    int to = add_node(set), edge = set->edge_count++;
    int *last = &set->nodes[node].edges;         /* what is named first is looked for first */
    while (*last != MG_JSON_NOWHERE)
        last = &set->edges[*last].next;
    set->edges[edge] = (struct mg_json_edge){name, to, MG_JSON_NOWHERE};
    *last = edge;
    return to;
}

static int add_element(struct mg_json_paths *set, int node)
{
    if (set->nodes[node].element == MG_JSON_NOWHERE) {
        int to = add_node(set);
        set->nodes[node].element = to;
    }
    return set->nodes[node].element;
}

static int add_node(struct mg_json_paths *set)
{
    set->nodes[set->node_count] = (struct mg_json_node){MG_JSON_NOWHERE, MG_JSON_NOWHERE, MG_JSON_NOWHERE};
    return set->node_count++;
}

/* An upper bound: every '.' and '[' begins a step, and so does every path. */
static size_t count_steps(const char *const *paths, size_t count, size_t *out_bytes)
{
    size_t steps = count;
    for (size_t i = 0; i < count; i++) {
        *out_bytes += strlen(paths[i]);
        for (const char *c = paths[i]; *c; c++)
            steps += *c == '.' || *c == '[';
    }
    return steps;
}
