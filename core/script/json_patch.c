#include "script/json_patch.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"

/* Two passes: what is set or added first, what is removed then, so that a comma never has to please both. A member that
 * a path names is seen before the object it is in; what was not seen by then is added there. */
enum { SPLICES = 1024 };

struct target {                        /* an edit on its way */
    const struct mg_json_edit *edit;
    mg_view parent, key;               /* parts of its path; key is empty when it ends in [*] */
    int parent_path;                   /* index into paths; -1: none */
    bool seen;                         /* since its parent was last left */
    bool placed;                       /* set or added somewhere */
};

struct pass {
    struct target targets[MG_JSON_EDITS];
    size_t target_count;
    const char *paths[MG_JSON_PATHS];  /* of the targets, then parents */
    size_t path_count;
    struct mg_splice splices[SPLICES];
    size_t splice_count;
    struct mg_json_hit cuts[SPLICES];
    size_t cut_count;
    struct mg_arena arena;             /* parents' paths, text that is added */
};

static bool inside(const char *path, const char *other)
{
    size_t len = strlen(other);
    return strncmp(path, other, len) == 0 &&
           (len == 0 || path[len] == '\0' || path[len] == '.' || path[len] == '[');
}

static mg_err refuse_conflicts(const struct mg_json_edit *edits, size_t count, const char **out_culprit)
{
    for (size_t i = 0; i < count; i++) {
        struct mg_json_paths *one = mg_json_paths_try_new(&edits[i].path, 1);
        bool bad = !one || !mg_view_utf8(mg_view_cstr(edits[i].path), NULL);
        mg_json_paths_free(one);
        for (size_t j = 0; j < count && !bad; j++)
            bad = i != j && inside(edits[i].path, edits[j].path);
        if (bad) {
            *out_culprit = edits[i].path;
            return MG_E_CONFIG;
        }
    }
    return MG_OK;
}

/* ---- first pass: set and add */

static int path_index(struct pass *pass, mg_view path)
{
    for (size_t i = pass->target_count; i < pass->path_count; i++)
        if (mg_view_eq(mg_view_cstr(pass->paths[i]), path))
            return (int)i;
    pass->paths[pass->path_count] = mg_arena_dup(&pass->arena, path).ptr;
    return (int)pass->path_count++;
}

static void split_path(struct target *target)
{
    mg_view path = mg_view_cstr(target->edit->path);
    const char *dot = path.len ? memrchr(path.ptr, '.', path.len) : NULL;
    size_t at = dot ? (size_t)(dot - path.ptr) : 0;
    target->parent = mg_view_head(path, at);
    target->key = mg_view_ends(path, MG_VIEW("]")) ? MG_VIEW_NONE : mg_view_skip(path, dot ? at + 1 : 0);
}

static void plan_sets(struct pass *pass, const struct mg_json_edit *edits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (edits[i].value.len > 0) {
            pass->paths[pass->target_count] = edits[i].path;
            pass->targets[pass->target_count++].edit = &edits[i];
        }
    pass->path_count = pass->target_count;
    for (size_t i = 0; i < pass->target_count; i++) {
        struct target *target = &pass->targets[i];
        split_path(target);
        target->parent_path = target->key.len ? path_index(pass, target->parent) : -1;
    }
}

static mg_err add_splice(struct pass *pass, mg_view doc, mg_view at, mg_view with)
{
    if (pass->splice_count == SPLICES)
        return MG_E_TOO_LARGE;
    pass->splices[pass->splice_count++] = (struct mg_splice){(size_t)(at.ptr - doc.ptr), at.len, with};
    return MG_OK;
}

static mg_view member_text(struct pass *pass, const struct target *target, bool comma)
{
    struct mg_buf key;
    mg_buf_init(&key, 6 * target->key.len + 1);
    mg_err err = mg_buf_put_json(&key, target->key);
    mg_view text = err != MG_OK ? MG_VIEW_NONE
                                : mg_arena_printf(&pass->arena, "%s\"%.*s\":%.*s", comma ? "," : "",
                                                  MG_FMT(mg_buf_view(&key)), MG_FMT(target->edit->value));
    mg_buf_fini(&key);
    return text;
}

struct scan {
    struct pass *pass;
    mg_view doc;
};

static mg_err leave_parent(struct scan *scan, const struct mg_json_hit *hit)
{
    struct pass *pass = scan->pass;
    bool comma = hit->type == MG_JSON_OBJECT && !mg_json_span_is_empty(hit->value);
    for (size_t i = 0; i < pass->target_count; i++) {
        struct target *target = &pass->targets[i];
        if (target->parent_path != (int)hit->path)
            continue;
        if (!target->seen && hit->type == MG_JSON_OBJECT) {
            mg_view brace = mg_view_of(hit->value.ptr + hit->value.len - 1, 0);
            MG_TRY(add_splice(pass, scan->doc, brace, member_text(pass, target, comma)));
            target->placed = comma = true;
        }
        target->seen = false;
    }
    return MG_OK;
}

static mg_err on_set(void *arg, const struct mg_json_hit *hit)
{
    struct scan *scan = arg;
    if (hit->path >= scan->pass->target_count)
        return leave_parent(scan, hit);
    struct target *target = &scan->pass->targets[hit->path];
    target->seen = target->placed = true;
    MG_TRY(add_splice(scan->pass, scan->doc, hit->value, target->edit->value));
    /* It may be the parent of nobody: paths do not nest. */
    return MG_OK;
}

static mg_err run(struct pass *pass, mg_view doc, mg_json_hit_cb cb, struct mg_json_error *out_error)
{
    struct scan scan = {pass, doc};
    struct mg_json_paths *paths = mg_json_paths_new(pass->paths, pass->path_count);
    mg_err err = mg_json_scan(doc, paths, cb, &scan, out_error);
    mg_json_paths_free(paths);
    return err;
}

static mg_err set_all(struct pass *pass, mg_view doc, struct mg_buf *out, struct mg_json_error *out_error,
                      const char **out_culprit)
{
    MG_TRY(run(pass, doc, on_set, out_error));
    for (size_t i = 0; i < pass->target_count; i++)
        if (!pass->targets[i].placed && pass->targets[i].key.len) {
            *out_culprit = pass->targets[i].edit->path;
            return MG_E_NOT_FOUND;
        }
    return mg_splice_apply(doc, pass->splices, pass->splice_count, out);
}

/* ---- second pass: remove */

static mg_err on_cut(void *arg, const struct mg_json_hit *hit)
{
    struct pass *pass = ((struct scan *)arg)->pass;
    if (pass->cut_count == SPLICES)
        return MG_E_TOO_LARGE;
    pass->cuts[pass->cut_count++] = *hit;
    return MG_OK;
}

static mg_err remove_all(struct pass *pass, mg_view doc, const struct mg_json_edit *edits, size_t count,
                         struct mg_buf *out, struct mg_json_error *out_error)
{
    pass->path_count = 0;
    for (size_t i = 0; i < count; i++)
        if (edits[i].value.len == 0)
            pass->paths[pass->path_count++] = edits[i].path;
    MG_TRY(run(pass, doc, on_cut, out_error));
    pass->splice_count = mg_json_cuts(doc, pass->cuts, pass->cut_count, pass->splices);
    return mg_splice_apply(doc, pass->splices, pass->splice_count, out);
}

static mg_err apply(struct pass *pass, mg_view doc, const struct mg_json_edit *edits, size_t count, struct mg_buf *out,
                    struct mg_json_error *out_error, const char **out_culprit)
{
    plan_sets(pass, edits, count);
    if (pass->target_count == count)
        return set_all(pass, doc, out, out_error, out_culprit);

    struct mg_buf middle;
    mg_buf_init(&middle, out->max);
    mg_err err = set_all(pass, doc, &middle, out_error, out_culprit);
    if (err == MG_OK)
        err = remove_all(pass, mg_buf_view(&middle), edits, count, out, out_error);
    mg_buf_fini(&middle);
    return err;
}

mg_err mg_json_patch(mg_view doc, const struct mg_json_edit *edits, size_t count, struct mg_buf *out,
                     struct mg_json_error *out_error, const char **out_culprit)
{
    if (count > MG_JSON_EDITS)
        return MG_E_TOO_LARGE;
    MG_TRY(refuse_conflicts(edits, count, out_culprit));
    struct pass *pass = mg_new(struct pass);
    mg_arena_init(&pass->arena, 1024);
    mg_err err = apply(pass, doc, edits, count, out, out_error, out_culprit);
    mg_arena_fini(&pass->arena);
    mg_free(pass);
    return err;
}
