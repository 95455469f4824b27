#include "relay/token_source.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/rows.h"

enum { MOST_THREADS = 32 };

/* How long a failure is remembered, so that a rush of requests asks once: a key that was refused stays refused until somebody
 * changes it, an endpoint may be back any moment. A token younger than FRESH_US that is refused is not the token's fault. */
#define KEY_HOLD_US UINT64_C(30000000)
#define ENDPOINT_HOLD_US UINT64_C(2000000)
#define RETRY_RENEWAL_US UINT64_C(15000000)
#define FRESH_US UINT64_C(10000000)
#define EARLY_S 300                    /* before its end, or a fifth of its life when that is less */

struct mg_token_source {
    struct mg_row row;
    pthread_mutex_t lock;
    struct mg_token_spec spec;         /* owned copies of its strings; set once */
    struct mg_sealed *key;             /* one reference: what `token` was made of; NULL: none yet */
    bool plain;                        /* the key is a token itself */
    struct mg_sealed *token;           /* one reference; NULL: none */
    uint64_t made_us, renew_us, ends_us;         /* of the token; monotonic */
    uint64_t held_until_us;            /* nobody is asked before: the last try failed */
    struct mg_token_fault fault;       /* … and why */
    bool asking;                       /* a thread is */
    struct mg_list waits;              /* struct mg_token_wait */
};

struct mg_token_wait {
    struct mg_post post;
    struct mg_list link;               /* in `waits`; not linked: it was posted */
    struct mg_token_source *source;
    struct mg_loop *loop;
    void (*cb)(void *arg);             /* NULL: cancelled after it was posted; loop thread */
    void *arg;
};

static void source_init(void *row);

static struct mg_rows sources = {.size = sizeof(struct mg_token_source), .init = source_init};
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t threads_changed = PTHREAD_COND_INITIALIZER;
static int threads;
static atomic_bool stopping;

static void source_init(void *row)
{
    struct mg_token_source *source = row;
    pthread_mutex_init(&source->lock, NULL);
    mg_list_init(&source->waits);
}

struct mg_token_source *mg_token_source_find(mg_view scope, mg_view name, const struct mg_token_spec *spec)
{
    struct mg_buf full;                /* another endpoint is another source */
    mg_buf_init(&full, 8192);
    mg_err err = mg_buf_putf(&full, "%.*s %d %s %s %s %d", MG_FMT(name), spec->kind, spec->scope, spec->url ? spec->url : "",
                             spec->ca ? spec->ca : "", spec->operators);
    struct mg_token_source *source = err == MG_OK ? mg_rows_find(&sources, scope, mg_buf_view(&full)) : NULL;
    mg_buf_fini(&full);
    if (!source)
        return NULL;
    pthread_mutex_lock(&source->lock);
    if (!source->spec.scope)
        source->spec = (struct mg_token_spec){spec->kind, mg_strdup(spec->scope), mg_strdup(spec->url), mg_strdup(spec->ca), spec->operators};
    pthread_mutex_unlock(&source->lock);
    return source;
}

/* ---- the key --------------------------------------------------------------------------------- */

static void drop_token(struct mg_token_source *source)
{
    mg_sealed_unref(source->token);
    source->token = NULL;
}

/* Whether both hold the same text; *out_plain: it is a token itself. A generation that was built again has sealed it again. */
static bool same_key(const struct mg_sealed *old, const struct mg_sealed *key, bool *out_plain)
{
    struct mg_locked *page = mg_locked_take();
    bool opens = mg_sealed_open(key, page) == MG_OK;
    size_t len = page->len;
    *out_plain = opens && !mg_token_is_key(mg_view_of(page->ptr, len));
    bool same = opens && old && mg_sealed_open(old, page) == MG_OK && page->len == 2 * len && memcmp(page->ptr, page->ptr + len, len) == 0;
    mg_locked_give(page);
    return same;
}

static void adopt(struct mg_token_source *source, struct mg_sealed *key)
{
    if (source->key == key)
        return;
    if (!same_key(source->key, key, &source->plain)) {
        drop_token(source);
        source->held_until_us = 0;
    }
    mg_sealed_unref(source->key);
    source->key = mg_sealed_ref(key);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void on_post(struct mg_post *post)
{
    struct mg_token_wait *wait = mg_container_of(post, struct mg_token_wait, post);
    if (wait->cb)
        wait->cb(wait->arg);
    mg_free(wait);
}

static void tell(struct mg_token_wait *wait)
{
    mg_list_remove(&wait->link);
    mg_list_init(&wait->link);
    wait->post.run = on_post;
    mg_loop_post(wait->loop, &wait->post);
}

static void keep(struct mg_token_source *source, const struct mg_token_made *made)
{
    uint64_t now_us = mg_mono_us(), early_s = MG_MIN((uint64_t)EARLY_S, made->lasts_s / 5);
    drop_token(source);
    source->token = made->token;
    source->made_us = now_us;
    source->ends_us = now_us + made->lasts_s * 1000000u;
    source->renew_us = source->ends_us - early_s * 1000000u;
    source->held_until_us = 0;
}

/* A token that still holds is used on; that its renewal failed only the log tells. */
static void fail(struct mg_token_source *source, const struct mg_token_fault *fault)
{
    uint64_t now_us = mg_mono_us();
    source->fault = *fault;
    source->held_until_us = now_us + (source->token ? RETRY_RENEWAL_US : fault->class_ == MG_CLASS_auth ? KEY_HOLD_US : ENDPOINT_HOLD_US);
    mg_log_warn("token.failed", "of=%.*s for=%.*s %s", (int)source->row.scope_len, source->row.scope,
                (int)strcspn(source->row.name, " "), source->row.name, fault->text);
}

static void settle(struct mg_token_source *source, const struct mg_sealed *key, mg_err err, const struct mg_token_made *made,
                   const struct mg_token_fault *fault)
{
    pthread_mutex_lock(&source->lock);
    source->asking = false;
    bool stale = source->key != key && !same_key(source->key, key, &(bool){false});
    if (err == MG_OK && !stale)
        keep(source, made);
    else if (err == MG_OK)
        mg_sealed_unref(made->token);
    else if (err == MG_E_DENIED && !stale)
        fail(source, fault);
    while (!mg_list_empty(&source->waits))
        tell(mg_container_of(source->waits.next, struct mg_token_wait, link));
    pthread_mutex_unlock(&source->lock);
}

struct job {
    struct mg_token_source *source;
    struct mg_sealed *key;             /* one reference */
};

static void *run(void *arg)
{
    struct job *job = arg;
    struct mg_token_made made = {.token = NULL};
    struct mg_token_fault fault = {.class_ = MG_CLASS_none};
    mg_err err = mg_token_make(&job->source->spec, job->key, &stopping, &made, &fault);
    settle(job->source, job->key, err, &made, &fault);
    mg_sealed_unref(job->key);
    mg_free(job);
    pthread_mutex_lock(&threads_lock);
    threads--;
    pthread_cond_broadcast(&threads_changed);
    pthread_mutex_unlock(&threads_lock);
    return NULL;
}

static bool start_thread(struct job *job)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&threads_lock);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = threads < MOST_THREADS && pthread_create(&thread, &attributes, run, job) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    threads += started;
    pthread_mutex_unlock(&threads_lock);
    pthread_attr_destroy(&attributes);
    return started;
}

/* Of a source that is locked. */
static void ask(struct mg_token_source *source)
{
    struct job *job = mg_new(struct job);
    *job = (struct job){source, mg_sealed_ref(source->key)};
    source->asking = start_thread(job);
    if (source->asking)
        return;
    source->fault = (struct mg_token_fault){MG_CLASS_server_error, "too many token endpoints are asked at once"};
    source->held_until_us = mg_mono_us() + ENDPOINT_HOLD_US;
    mg_sealed_unref(job->key);
    mg_free(job);
}

/* ---- using ----------------------------------------------------------------------------------- */

static mg_err take(struct mg_token_source *source, struct mg_sealed **out_token, struct mg_token_fault *out_fault)
{
    uint64_t now_us = mg_mono_us();
    bool good = source->token && now_us < source->ends_us;
    if (source->plain) {
        *out_token = mg_sealed_ref(source->key);
        return MG_OK;
    }
    if (!source->asking && (!good || now_us >= source->renew_us) && now_us >= source->held_until_us)
        ask(source);
    if (good) {
        *out_token = mg_sealed_ref(source->token);
        return MG_OK;
    }
    if (source->asking)
        return MG_E_AGAIN;
    *out_fault = source->fault;
    return MG_E_DENIED;
}

mg_err mg_token_take(struct mg_token_source *source, struct mg_sealed *key, struct mg_sealed **out_token,
                     struct mg_token_fault *out_fault)
{
    pthread_mutex_lock(&source->lock);
    adopt(source, key);
    mg_err err = take(source, out_token, out_fault);
    pthread_mutex_unlock(&source->lock);
    return err;
}

struct mg_token_wait *mg_token_await(struct mg_token_source *source, struct mg_loop *loop, void (*cb)(void *arg), void *arg)
{
    struct mg_token_wait *wait = mg_new(struct mg_token_wait);
    *wait = (struct mg_token_wait){.source = source, .loop = loop, .cb = cb, .arg = arg};
    pthread_mutex_lock(&source->lock);
    mg_list_push_back(&source->waits, &wait->link);
    if (!source->asking)
        tell(wait);
    pthread_mutex_unlock(&source->lock);
    return wait;
}

void mg_token_await_cancel(struct mg_token_wait *wait)
{
    if (!wait)
        return;
    struct mg_token_source *source = wait->source;
    pthread_mutex_lock(&source->lock);
    bool posted = wait->post.run != NULL;
    if (!posted)
        mg_list_remove(&wait->link);
    pthread_mutex_unlock(&source->lock);
    wait->cb = NULL;
    if (!posted)
        mg_free(wait);
}

bool mg_token_refused(struct mg_token_source *source, const struct mg_sealed *token)
{
    pthread_mutex_lock(&source->lock);
    uint64_t now_us = mg_mono_us();
    bool ours = token && !source->plain && token != source->key;
    bool current = ours && source->token == token;
    bool young = current && now_us < source->made_us + FRESH_US;
    if (current && !young)
        drop_token(source);
    pthread_mutex_unlock(&source->lock);
    return ours && !young;             /* one that was replaced meanwhile: with the new one */
}

static void forget(void *arg, void *row)
{
    struct mg_token_source *source = row;
    (void)arg;
    pthread_mutex_lock(&source->lock);
    drop_token(source);
    mg_sealed_unref(source->key);
    source->key = NULL;
    source->held_until_us = 0;
    pthread_mutex_unlock(&source->lock);
}

void mg_token_sources_stop(void)
{
    atomic_store(&stopping, true);
    pthread_mutex_lock(&threads_lock);
    while (threads > 0)
        pthread_cond_wait(&threads_changed, &threads_lock);
    pthread_mutex_unlock(&threads_lock);
    mg_rows_each(&sources, MG_VIEW_NONE, forget, NULL);
    atomic_store(&stopping, false);
}
