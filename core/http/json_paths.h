/* json_paths.h - a compiled set of paths: a tree of steps; private to core/http.
 *
 *     "model", "messages[*].role", "messages[*]"
 *
 *     0 ──model──▶ 1 (path 0)
 *     └──messages──▶ 2 ──[*]──▶ 3 (path 2) ──role──▶ 4 (path 1)                                   */
#ifndef MG_HTTP_JSON_PATHS_H
#define MG_HTTP_JSON_PATHS_H

#include "http/json_name.h"
#include "http/json_scan.h"

enum { MG_JSON_NOWHERE = -1 };         /* no path leads here */

struct mg_json_edge {
    struct mg_json_name key; /* borrowed from the set's text */
    int to;                  /* node behind it */
    int next;                /* another edge of the same node, or MG_JSON_NOWHERE */
};

struct mg_json_node {
    int path;                /* that ends here, or MG_JSON_NOWHERE */
    int element;             /* node of the elements, or MG_JSON_NOWHERE */
    int edges;               /* first edge, or MG_JSON_NOWHERE */
};

struct mg_json_paths {
    char *text;              /* owned; all paths behind each other */
    struct mg_json_node *nodes;        /* owned; the document is node 0 */
    struct mg_json_edge *edges;        /* owned */
    int node_count;
    int edge_count;
};

/* The node a member leads to. */
static inline int mg_json_paths_member(const struct mg_json_paths *paths, int node, const struct mg_json_name *key)
{
    for (int e = paths->nodes[node].edges; e >= 0; e = paths->edges[e].next)
        if (mg_json_name_eq(&paths->edges[e].key, key))
            return paths->edges[e].to;
    return MG_JSON_NOWHERE;
}

#endif
