/* One row a project; only the builder's thread changes rows, under `lock` where others read them.
 *
 *     change or order ─▶ timer ─▶ look(): new files, gone files, rows whose files changed
 *                                   ├▶ build_row(): load ▶ scripts ▶ route
 *                                   └▶ swap(), once all are built: restore ▶ install ▶ report
 *
 * A generation that the last worker let go comes back by mail and is freed here; one that comes
 * back after the builder stopped is freed where it is. */
#include "gateway/builder.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/watch.h"

enum { BLIND_LOOK_MS = 1000, REBUILD_MS = 100 };

struct row {
    struct mg_list link;
    struct mg_builder_status status; /* under lock */
    struct mg_generation *live;      /* one reference, for who asks; under lock */
    uint32_t project;                /* index */
    bool installed;                  /* the workers have a generation of it */
    bool waiting;                    /* for one of its generations to end */
    bool force;                      /* build it at the next look, changed or not */
    bool seen;                       /* its file was there at this look */
    uint32_t alive;                  /* generations not freed yet */
    struct mg_arena files_arena;     /* owns files */
    const char **files;
    int file_count;
    uint64_t hash; /* of the files when they were last read */
};

/* The way back of a generation. */
struct ticket {
    struct mg_post post;
    struct mg_builder *builder;
    struct mg_generation *generation;
    uint32_t project;
};

struct mg_builder {
    struct mg_builder_options options;
    struct mg_loop loop;
    uv_thread_t thread;
    uv_sem_t built; /* the first look is over */
    struct mg_watch watch;
    struct mg_timer timer; /* the next look */
    uint64_t due_us;       /* when it fires; 0: it is not set */
    uint32_t next_project;
    uint64_t gateway_hash; /* of gateway.lua */
    struct mg_diag first;  /* of the first look: the first mistake */
    mg_err first_err;
    bool started; /* the first look is over; the two above stay */
    bool ending;  /* the loop has ended: no timer may be set */
    struct mg_list made; /* struct build, of this look, to be swapped in */
    size_t made_count;

    uv_mutex_t lock;     /* everything below */
    struct mg_list rows; /* struct row, by name */
    bool stopped;        /* no mail can be sent any more */
    uint32_t alive;      /* tickets out, and one until it has stopped: the last one frees */
};

static void run(void *arg);
static void look(struct mg_builder *builder);
static void build_row(struct mg_builder *builder, struct row *row);
static void swap(struct mg_builder *builder);
static void schedule(struct mg_builder *builder, uint64_t delay_ms);
static void on_change(void *arg, const char *name);
static void first_look(struct mg_builder *builder);
static void find_projects(struct mg_builder *builder);
static void remove_row(struct mg_builder *builder, struct row *row);
static void look_at_gateway_file(struct mg_builder *builder);
static int set_watches(struct mg_builder *builder);
static struct mg_generation *new_generation(struct mg_builder *builder, struct row *row,
                                            struct mg_config_project *config);
static void row_free(struct row *row);
static void let_go(struct mg_builder *builder);

/* ---- start, orders, stop */

mg_err mg_builder_start(const struct mg_builder_options *options, struct mg_builder **out_builder,
                        struct mg_diag *diag)
{
    struct mg_builder *builder = mg_new(struct mg_builder);
    builder->options = *options;
    builder->alive = 1;
    mg_list_init(&builder->rows);
    mg_list_init(&builder->made);
    uv_mutex_init(&builder->lock);
    uv_sem_init(&builder->built, 0);
    mg_loop_init(&builder->loop);
    mg_watch_init(&builder->watch, &builder->loop, on_change, builder);

    uv_thread_options_t thread = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                  .stack_size = MG_MAX_LUA_STACK_BYTES};
    if (uv_thread_create_ex(&builder->thread, &thread, run, builder) != 0) {
        mg_loop_fini(&builder->loop);
        let_go(builder);
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "the builder's thread could not be started");
    }
    uv_sem_wait(&builder->built);
    mg_err err = builder->first_err;
    if (err) {
        if (diag)
            *diag = builder->first;
        mg_builder_stop(builder);
        return err;
    }
    *out_builder = builder;
    return MG_OK;
}

struct order {
    struct mg_post post;
    struct mg_builder *builder;
    bool all;
    uint32_t project;
};

static void on_order(struct mg_post *post)
{
    struct order *order = mg_container_of(post, struct order, post);
    struct mg_builder *builder = order->builder;
    MG_LIST_EACH(link, next, &builder->rows)
    {
        struct row *row = mg_container_of(link, struct row, link);
        row->force = row->force || order->all || row->project == order->project;
    }
    schedule(builder, order->all ? 0 : REBUILD_MS);
    mg_free(order);
}

/* A worker may still ask when the builder has stopped: its generation keeps us until it goes. */
static void give_order(struct mg_builder *builder, bool all, uint32_t project)
{
    struct order *order = mg_new(struct order);
    *order = (struct order){
        .post = {.run = on_order}, .builder = builder, .all = all, .project = project};
    uv_mutex_lock(&builder->lock);
    bool stopped = builder->stopped;
    if (!stopped)
        mg_loop_post(&builder->loop, &order->post);
    uv_mutex_unlock(&builder->lock);
    if (stopped)
        mg_free(order);
}

void mg_builder_reload(struct mg_builder *builder)
{
    give_order(builder, true, 0);
}

void mg_builder_rebuild(struct mg_builder *builder, uint32_t project)
{
    give_order(builder, false, project);
}

/* The one before is let go, on its way home by mail. */
static void set_live(struct mg_builder *builder, struct row *row, struct mg_generation *generation)
{
    uv_mutex_lock(&builder->lock);
    struct mg_generation *before = row->live;
    row->live = generation;
    uv_mutex_unlock(&builder->lock);
    mg_generation_unref(before);
}

void mg_builder_stop(struct mg_builder *builder)
{
    if (!builder)
        return;
    mg_loop_stop(&builder->loop);
    uv_thread_join(&builder->thread);
    MG_LIST_EACH(link, next, &builder->rows)
    set_live(builder, mg_container_of(link, struct row, link), NULL);

    uv_mutex_lock(&builder->lock);
    builder->stopped = true;
    uv_mutex_unlock(&builder->lock);
    mg_loop_fini(&builder->loop); /* runs what was posted before */
    let_go(builder);
}

static void run(void *arg)
{
    struct mg_builder *builder = arg;
    first_look(builder);
    uv_sem_post(&builder->built);
    mg_loop_run(&builder->loop);
    builder->ending = true;
    mg_timer_cancel(&builder->loop, &builder->timer);
    mg_watch_fini(&builder->watch);
}

static void row_free(struct row *row)
{
    mg_list_remove(&row->link);
    mg_arena_fini(&row->files_arena);
    mg_free(row);
}

/* One of those that need the builder is done with it; the last one frees it. */
static void let_go(struct mg_builder *builder)
{
    uv_mutex_lock(&builder->lock);
    bool last = --builder->alive == 0;
    uv_mutex_unlock(&builder->lock);
    if (!last)
        return;
    MG_LIST_EACH(link, next, &builder->rows)
    row_free(mg_container_of(link, struct row, link));
    uv_mutex_destroy(&builder->lock);
    uv_sem_destroy(&builder->built);
    mg_free(builder);
}

size_t mg_builder_list(struct mg_builder *builder, struct mg_builder_status *out_rows, size_t max)
{
    size_t count = 0;
    uv_mutex_lock(&builder->lock);
    MG_LIST_EACH(link, next, &builder->rows)
    {
        if (count < max)
            out_rows[count] = mg_container_of(link, struct row, link)->status;
        count++;
    }
    uv_mutex_unlock(&builder->lock);
    return count;
}

size_t mg_builder_live(struct mg_builder *builder, mg_view project,
                       struct mg_generation **out_generations, size_t max)
{
    size_t count = 0;
    uv_mutex_lock(&builder->lock);
    MG_LIST_EACH(link, next, &builder->rows)
    {
        struct row *row = mg_container_of(link, struct row, link);
        bool asked = project.len == 0 || mg_view_eq(project, mg_view_cstr(row->status.project));
        if (row->live && asked && count < max)
            out_generations[count++] = mg_generation_ref(row->live);
    }
    uv_mutex_unlock(&builder->lock);
    return count;
}

/* ---- looking */

static void on_timer(struct mg_timer *timer)
{
    struct mg_builder *builder = mg_container_of(timer, struct mg_builder, timer);
    builder->due_us = 0;
    look(builder);
}

/* The next look is in delay_ms, or earlier when one was due already. */
static void schedule(struct mg_builder *builder, uint64_t delay_ms)
{
    uint64_t due_us = mg_mono_us() + delay_ms * 1000;
    if (builder->ending || (builder->due_us && builder->due_us <= due_us))
        return;
    builder->due_us = due_us;
    mg_timer_start(&builder->loop, &builder->timer, delay_ms, on_timer);
}

static void on_change(void *arg, const char *name)
{
    (void)name;
    schedule(arg, MG_BUILDER_COALESCE_MS);
}

static void look(struct mg_builder *builder)
{
    find_projects(builder);
    MG_LIST_EACH(link, next, &builder->rows)
    {
        struct row *row = mg_container_of(link, struct row, link);
        if (!row->seen)
            remove_row(builder, row);
        else if (row->force || mg_config_files_hash(row->files, row->file_count) != row->hash)
            build_row(builder, row);
    }
    swap(builder);
    look_at_gateway_file(builder);
    if (set_watches(builder) > 0)
        schedule(builder, MG_BUILDER_COALESCE_MS); /* for what changed before they were watched */
    if (mg_watch_blind(&builder->watch))
        schedule(builder, BLIND_LOOK_MS);
}

static void first_look(struct mg_builder *builder)
{
    look(builder);
    bool any = false;
    MG_LIST_EACH(link, next, &builder->rows)
    any = any || mg_container_of(link, struct row, link)->installed;
    if (any)
        builder->first_err = MG_OK;
    else if (!builder->first_err)
        builder->first_err =
            mg_diag_set(&builder->first, MG_E_NOT_FOUND, builder->options.config->dir, 0,
                        "there is no project: write projects/NAME.lua beside gateway.lua");
    builder->started = true;
}

/* Rows stay sorted by name. */
static struct row *row_of(struct mg_builder *builder, const char *name, const char *path)
{
    struct mg_list *before = &builder->rows;
    MG_LIST_EACH(link, next, &builder->rows)
    {
        struct row *row = mg_container_of(link, struct row, link);
        int order = strcmp(row->status.project, name);
        if (order == 0)
            return row;
        if (order < 0)
            before = link;
    }
    struct row *row = mg_new(struct row);
    (void)snprintf(row->status.project, sizeof row->status.project, "%s", name);
    (void)snprintf(row->status.path, sizeof row->status.path, "%s", path);
    mg_arena_init(&row->files_arena, 512);
    row->project = builder->next_project++;
    row->force = true;
    uv_mutex_lock(&builder->lock);
    mg_list_push_front(before, &row->link);
    uv_mutex_unlock(&builder->lock);
    return row;
}

static void find_project(struct mg_builder *builder, const char *folder, const char *file)
{
    struct mg_builder_status fit;
    size_t len = strlen(file);
    if (len <= 4 || file[0] == '.' || strcmp(file + len - 4, ".lua") != 0)
        return;
    int name = snprintf(fit.project, sizeof fit.project, "%.*s", (int)(len - 4), file);
    int path = snprintf(fit.path, sizeof fit.path, "%s/%s", folder, file);
    if (name >= (int)sizeof fit.project || path >= (int)sizeof fit.path) {
        mg_log_error("project.ignored", "file=%s/%s reason=\"its path is too long\"", folder, file);
        return;
    }
    row_of(builder, fit.project, fit.path)->seen = true;
}

static void set_seen(struct mg_builder *builder, bool seen)
{
    MG_LIST_EACH(link, next, &builder->rows)
    mg_container_of(link, struct row, link)->seen = seen;
}

/* A folder that cannot be read takes nothing off the air: it may be on its way back. */
static void find_projects(struct mg_builder *builder)
{
    const char *root = builder->options.config->dir;
    char folder[PATH_MAX];
    if (!root) {
        row_of(builder, "default", "")->seen = true;
        return;
    }
    (void)snprintf(folder, sizeof folder, "%s/projects", root);
    DIR *dir = opendir(folder);
    if (!dir) {
        set_seen(builder, true);
        return;
    }
    set_seen(builder, false);
    struct dirent *entry;
    for (int count = 0; (entry = readdir(dir)) && count < MG_MAX_PROJECTS; count++)
        find_project(builder, folder, entry->d_name);
    closedir(dir);
}

static void remove_row(struct mg_builder *builder, struct row *row)
{
    bool installed = row->installed;
    uint32_t project = row->project;
    mg_log_info("project.removed", "project=%s", row->status.project);
    set_live(builder, row, NULL);
    uv_mutex_lock(&builder->lock);
    row_free(row);
    uv_mutex_unlock(&builder->lock);
    if (installed)
        builder->options.ops->remove(builder->options.arg, project);
}

static void look_at_gateway_file(struct mg_builder *builder)
{
    const char *path = builder->options.config_path;
    uint64_t hash = path ? mg_config_files_hash(&path, 1) : 0;
    if (builder->gateway_hash && hash != builder->gateway_hash)
        mg_log_warn("gateway.changed", "file=%s note=\"it takes effect at the next start\"", path);
    builder->gateway_hash = hash;
}

/* The folders of all files that count, and of those that may come; how many are new. */
static int set_watches(struct mg_builder *builder)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    const char *root = builder->options.config->dir;
    size_t count = 0, max = 2;
    MG_LIST_EACH(link, next, &builder->rows)
    max += (size_t)mg_container_of(link, struct row, link)->file_count;
    const char **paths = mg_arena_array(&arena, const char *, max);
    if (root) {
        paths[count++] = root;
        paths[count++] = mg_arena_printf(&arena, "%s/projects", root).ptr;
    }
    MG_LIST_EACH(link2, next2, &builder->rows)
    {
        struct row *row = mg_container_of(link2, struct row, link);
        for (int i = 0; i < row->file_count; i++) {
            mg_view path = mg_view_cstr(row->files[i]);
            size_t len = (size_t)(strrchr(row->files[i], '/') - row->files[i]);
            paths[count++] = mg_arena_dup(&arena, mg_view_head(path, MG_MAX(len, 1))).ptr;
        }
    }
    int added = mg_watch_set(&builder->watch, paths, (int)count);
    mg_arena_fini(&arena);
    return added;
}

/* ---- building */

struct build {
    struct mg_builder *builder;
    struct row *row;
    struct mg_config_report report;
    struct mg_config_project *config; /* until the generation owns it */
    struct mg_generation *generation; /* until it is installed */
    struct mg_script **scripts;       /* one a worker, until they are installed */
    struct mg_diag diag;
    uint64_t start_us;
    struct mg_list link; /* of builder->made */
};

static mg_err load(struct build *build)
{
    struct row *row = build->row;
    mg_err err;
    if (*row->status.path)
        err = mg_config_check_project(row->status.path, &build->config, &build->report);
    else
        err = mg_config_project_from_env(&build->config, &build->diag);
    if (!err)
        err = mg_config_check_accounts(build->builder->options.config, build->config,
                                       row->status.path, &build->report);
    if (err && build->report.count > 0) {
        build->diag = build->report.diags[0];
        size_t len = strlen(build->diag.text);
        if (build->report.total > 1)
            (void)snprintf(build->diag.text + len, sizeof build->diag.text - len, " (and %d more)",
                           build->report.total - 1);
    } else if (err == MG_E_NOT_FOUND) {
        (void)mg_diag_set(&build->diag, err, "", 0,
                          "there is no configuration and no provider's key: "
                          "export OPENAI_API_KEY, or start with -c DIR");
    }
    return err;
}

/* The watcher needs them after a failure too. */
static void keep_files(struct build *build)
{
    struct row *row = build->row;
    mg_arena_reset(&row->files_arena);
    row->files =
        mg_arena_array(&row->files_arena, const char *, (size_t)build->report.file_count + 1);
    for (int i = 0; i < build->report.file_count; i++)
        row->files[i] = mg_arena_strdup(&row->files_arena, build->report.files[i]);
    row->file_count = build->report.file_count;
    row->hash = build->report.hash;
}

static mg_err build_scripts(struct build *build)
{
    unsigned workers = build->builder->options.workers;
    const struct mg_config_project *config = build->generation->config;
    build->scripts = mg_new_array(struct mg_script *, workers + 1);
    if (!mg_script_needed(config))
        return MG_OK;
    for (unsigned i = 0; i < workers; i++)
        MG_TRY(mg_script_build(config, &build->scripts[i], &build->diag));
    return MG_OK;
}

static mg_err make(struct build *build)
{
    const struct mg_builder_options *options = &build->builder->options;
    mg_err err = load(build);
    keep_files(build);
    if (err)
        return err;
    build->generation = new_generation(build->builder, build->row, build->config);
    build->config = NULL;
    MG_TRY(build_scripts(build));
    return options->ops->route(options->arg, build->generation, &build->diag);
}

static void undo(struct build *build)
{
    for (unsigned i = 0; build->scripts && i < build->builder->options.workers; i++)
        mg_script_free(build->scripts[i]);
    mg_generation_unref(build->generation);
    mg_config_project_free(build->config);
}

static void went_live(struct build *build)
{
    const struct mg_builder_options *options = &build->builder->options;
    struct mg_builder_status *status = &build->row->status;
    uint32_t number = build->generation->number;
    set_live(build->builder, build->row, mg_generation_ref(build->generation));
    options->ops->install(options->arg, build->generation, build->scripts);
    build->row->installed = true;
    uv_mutex_lock(&build->builder->lock);
    status->number = number;
    status->built_wall_us = mg_wall_us();
    status->error[0] = '\0';
    status->error_wall_us = 0;
    uv_mutex_unlock(&build->builder->lock);
    double ms = (double)(mg_mono_us() - build->start_us) / 1000;
    mg_log_info("generation.swapped", "project=%s number=%u ms=%.1f", status->project, number, ms);
    options->ops->report(options->arg, status->project, number, true, &build->diag);
}

static void stayed(struct build *build)
{
    const struct mg_builder_options *options = &build->builder->options;
    struct mg_builder *builder = build->builder;
    struct mg_builder_status *status = &build->row->status;
    char text[sizeof status->error];
    if (!build->diag.file[0])
        (void)snprintf(build->diag.file, sizeof build->diag.file, "%s", status->path);
    mg_diag_print(&build->diag, text, sizeof text);
    uv_mutex_lock(&builder->lock);
    memcpy(status->error, text, sizeof text);
    status->error_wall_us = mg_wall_us();
    uv_mutex_unlock(&builder->lock);
    mg_log_error("generation.refused", "project=%s serving=%u error=\"%s\"", status->project,
                 status->number, text);
    options->ops->report(options->arg, status->project, status->number, false, &build->diag);
}

static void build_free(struct build *build)
{
    mg_free(build->scripts);
    mg_config_report_fini(&build->report);
    mg_free(build);
}

static void build_row(struct mg_builder *builder, struct row *row)
{
    row->waiting = row->alive >= MG_MAX_GENERATIONS;
    if (row->waiting) {
        mg_log_warn("generation.waiting",
                    "project=%s live=%u note=\"older ones still serve streams\"",
                    row->status.project, row->alive);
        row->force = true;
        return;
    }
    row->force = false;
    struct build *build = mg_new(struct build);
    build->builder = builder;
    build->row = row;
    build->start_us = mg_mono_us();
    mg_config_report_init(&build->report);
    mg_err err = make(build);
    if (err && !builder->started && !builder->first_err) {
        builder->first = build->diag;
        builder->first_err = err;
    }
    if (err) {
        undo(build);
        stayed(build);
        build_free(build);
    } else {
        mg_list_push_back(&builder->made, &build->link);
        builder->made_count++;
    }
}

static void restore(struct mg_builder *builder)
{
    const struct mg_builder_options *options = &builder->options;
    if (!options->ops->restore || builder->made_count == 0)
        return;
    struct mg_generation **generations = mg_new_array(struct mg_generation *, builder->made_count);
    size_t count = 0;
    MG_LIST_EACH(link, next, &builder->made)
    generations[count++] = mg_container_of(link, struct build, link)->generation;
    options->ops->restore(options->arg, generations, count);
    mg_free(generations);
}

/* What reading the store takes is taken once, however many projects were built. */
static void swap(struct mg_builder *builder)
{
    restore(builder);
    MG_LIST_EACH(link, next, &builder->made)
    {
        struct build *build = mg_container_of(link, struct build, link);
        mg_list_remove(link);
        went_live(build);
        build_free(build);
    }
    builder->made_count = 0;
}

/* ---- generations that come back */

static void on_return(struct mg_post *post)
{
    struct ticket *ticket = mg_container_of(post, struct ticket, post);
    struct mg_builder *builder = ticket->builder;
    MG_LIST_EACH(link, next, &builder->rows)
    {
        struct row *row = mg_container_of(link, struct row, link);
        if (row->project != ticket->project)
            continue;
        row->alive--;
        if (row->waiting)
            schedule(builder, 0);
    }
    mg_generation_free(ticket->generation);
    mg_free(ticket);
    let_go(builder);
}

/* Any thread: the last reference is gone. */
static void on_free(struct mg_generation *generation)
{
    struct ticket *ticket = generation->on_free_arg;
    struct mg_builder *builder = ticket->builder;
    uv_mutex_lock(&builder->lock);
    bool stopped = builder->stopped;
    if (!stopped)
        mg_loop_post(&builder->loop, &ticket->post);
    uv_mutex_unlock(&builder->lock);
    if (!stopped)
        return;
    mg_generation_free(generation);
    mg_free(ticket);
    let_go(builder);
}

static struct mg_generation *new_generation(struct mg_builder *builder, struct row *row,
                                            struct mg_config_project *config)
{
    struct ticket *ticket = mg_new(struct ticket);
    ticket->builder = builder;
    ticket->project = row->project;
    ticket->post.run = on_return;
    ticket->generation = mg_generation_new(config, row->project, row->status.number + 1);
    ticket->generation->on_free = on_free;
    ticket->generation->on_free_arg = ticket;
    row->alive++;
    uv_mutex_lock(&builder->lock);
    builder->alive++;
    uv_mutex_unlock(&builder->lock);
    return ticket->generation;
}
