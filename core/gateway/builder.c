/* One row a project; only the builder's thread changes rows, under `lock` where others read them.
 *
 *     change or order ─▶ timer (coalesce) ─▶ look(): new files, gone files, rows whose files' hash moved
 *                                              └▶ build_row(): load ▶ route ▶ scripts ▶ install ▶ report
 *
 * A generation that the last worker let go comes back by mail and is freed here; one that comes back after the
 * builder stopped is freed where it is. */
#include "gateway/builder.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/watch.h"

enum { BLIND_LOOK_MS = 1000 };

struct row {
    struct mg_list link;
    struct mg_builder_status status;   /* under lock */
    uint32_t project;                  /* index; given at the first build that succeeds */
    bool has_index;
    bool force;                        /* build it at the next look, changed or not */
    bool seen;                         /* its file was there at this look */
    uint32_t alive;                    /* generations not freed yet */
    uint32_t last_number;              /* given out, failed builds included */
    struct mg_arena files_arena;       /* owns files */
    const char **files;
    int file_count;
    uint64_t hash;                     /* of the files when they were last read */
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
    uv_sem_t built;                    /* the first look is over */
    struct mg_watch watch;
    struct mg_timer timer;
    bool timer_set;
    uint32_t next_project;
    uint64_t gateway_hash;             /* of gateway.lua */
    struct mg_diag first;              /* of the first look: the first mistake */
    mg_err first_err;

    uv_mutex_t lock;                   /* everything below */
    struct mg_list rows;               /* struct row, by name */
    bool stopped;                      /* no mail can be sent any more */
    uint32_t alive;                    /* tickets out */
    bool reload_all;
    uint64_t reload_mask_us;           /* keeps orders of one moment together */
};

static void run(void *arg);
static void look(struct mg_builder *builder);
static void build_row(struct mg_builder *builder, struct row *row);
static void schedule(struct mg_builder *builder, uint64_t delay_ms);
static void on_change(void *arg, const char *name);
static void builder_free(struct mg_builder *builder);

/* ---- start, orders, stop */

mg_err mg_builder_start(const struct mg_builder_options *options, struct mg_builder **out_builder, struct mg_diag *diag)
{
    struct mg_builder *builder = mg_new(struct mg_builder);
    builder->options = *options;
    mg_list_init(&builder->rows);
    uv_mutex_init(&builder->lock);
    uv_sem_init(&builder->built, 0);
    mg_loop_init(&builder->loop);
    mg_watch_init(&builder->watch, &builder->loop, on_change, builder);

    uv_thread_options_t thread = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = MG_MAX_LUA_STACK_BYTES};
    if (uv_thread_create_ex(&builder->thread, &thread, run, builder) != 0) {
        mg_loop_fini(&builder->loop);
        builder_free(builder);
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
};

static void on_order(struct mg_post *post)
{
    struct order *order = mg_container_of(post, struct order, post);
    struct mg_builder *builder = order->builder;
    MG_LIST_EACH(link, next, &builder->rows)
        mg_container_of(link, struct row, link)->force = true;
    schedule(builder, 0);
    mg_free(order);
}

void mg_builder_reload(struct mg_builder *builder)
{
    struct order *order = mg_new(struct order);
    order->builder = builder;
    order->post.run = on_order;
    mg_loop_post(&builder->loop, &order->post);
}

void mg_builder_stop(struct mg_builder *builder)
{
    if (!builder)
        return;
    mg_loop_stop(&builder->loop);
    uv_thread_join(&builder->thread);

    uv_mutex_lock(&builder->lock);
    builder->stopped = true;
    uv_mutex_unlock(&builder->lock);
    mg_loop_fini(&builder->loop);      /* runs what was posted before */
    uv_mutex_lock(&builder->lock);
    bool last = builder->alive == 0;
    uv_mutex_unlock(&builder->lock);
    if (last)
        builder_free(builder);         /* else the last ticket does */
}

static void run(void *arg)
{
    struct mg_builder *builder = arg;
    look(builder);
    uv_sem_post(&builder->built);
    mg_loop_run(&builder->loop);
    mg_timer_cancel(&builder->loop, &builder->timer);
    mg_watch_fini(&builder->watch);
}

static void row_free(struct row *row)
{
    mg_list_remove(&row->link);
    mg_arena_fini(&row->files_arena);
    mg_free(row);
}

static void builder_free(struct mg_builder *builder)
{
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
    MG_LIST_EACH(link, next, &builder->rows) {
        if (count < max)
            out_rows[count] = mg_container_of(link, struct row, link)->status;
        count++;
    }
    uv_mutex_unlock(&builder->lock);
    return count;
}
