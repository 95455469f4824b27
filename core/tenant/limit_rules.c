/* The rules behind the rows: a list that only grows, and by what operators write. Who reads it needs no lock: a rule is
 * complete before it is put in front. */
#include <pthread.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "tenant/limits_parts.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map by_name;          /* under the lock */
static _Atomic(const struct mg_limit_rule *) newest;

static struct mg_limit_rule *rule_new(const struct mg_limit_id *id)
{
    const mg_view texts[] = {id->project, id->workflow, id->field};
    struct mg_limit_rule *rule = mg_alloc(sizeof *rule + texts[0].len + texts[1].len + texts[2].len + 3);
    const char **names[] = {&rule->project, &rule->workflow, &rule->field};
    char *at = (char *)(rule + 1);
    rule->scope = id->scope;
    for (int i = 0; i < 3; i++) {
        *names[i] = at;
        if (texts[i].len)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
        *at++ = '\0';
    }
    return rule;
}

struct mg_limit_rule *mg_limit_rule_take(const struct mg_limit_id *id)
{
    char name[1024];
    int len = snprintf(name, sizeof name, "%d\n%.*s\n%.*s\n%.*s", (int)id->scope, MG_FMT(id->project), MG_FMT(id->workflow),
                       MG_FMT(id->field));
    mg_view key = mg_view_of(name, MG_MIN((size_t)len, sizeof name - 1));
    pthread_mutex_lock(&lock);
    struct mg_limit_rule *rule = mg_map_get(&by_name, key);
    if (!rule) {
        rule = rule_new(id);
        rule->next = atomic_load_explicit(&newest, memory_order_relaxed);
        mg_map_put(&by_name, key, rule);
        atomic_store_explicit(&newest, rule, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return rule;
}

const struct mg_limit_rule *mg_limit_rule_of(const struct mg_limit_id *id)
{
    return mg_limit_rule_take(id);
}

void mg_limit_rules_each(mg_limit_rule_cb cb, void *arg)
{
    const struct mg_limit_rule *rule = atomic_load_explicit(&newest, memory_order_acquire);
    for (; rule; rule = rule->next)
        cb(arg, rule);
}

const struct mg_limit_rule *mg_limit_row_rule(const struct mg_limit_row *row)
{
    return row->rule;
}

void mg_limit_count_refusal(struct mg_limit_row *row, enum mg_limit_kind kind, enum mg_period period)
{
    int slot = mg_limit_slot(kind, period);
    atomic_fetch_add_explicit(&row->refused[slot], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&row->rule->refused[slot], 1, memory_order_relaxed);
}
