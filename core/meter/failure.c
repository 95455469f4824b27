#include "meter/failure.h"

static const struct {
    const char *name;
    enum mg_action action;
    enum mg_blame blame;
    int weight;
    uint32_t delay_ms;
    int status;
} classes[] = {
#define X(name, action, blame, weight, delay_ms, status) {#name, MG_ACTION_##action, MG_BLAME_##blame, weight, delay_ms, status},
    MG_CLASS_LIST(X)
#undef X
};

static const char *const actions[] = {
#define X(name) #name,
    MG_ACTION_LIST(X)
#undef X
};

const char *mg_class_name(enum mg_class class_)
{
    return classes[class_].name;
}

enum mg_action mg_class_action(enum mg_class class_)
{
    return classes[class_].action;
}

bool mg_class_is_client_fault(enum mg_class class_)
{
    return classes[class_].blame == MG_BLAME_client;
}

enum mg_blame mg_class_blame(enum mg_class class_)
{
    return classes[class_].blame;
}

double mg_class_weight(enum mg_class class_)
{
    return classes[class_].weight / 100.0;
}

uint32_t mg_class_delay_ms(enum mg_class class_)
{
    return classes[class_].delay_ms;
}

int mg_class_status(enum mg_class class_)
{
    return classes[class_].status;
}

bool mg_class_find(mg_view name, enum mg_class *out_class)
{
    for (int i = 0; i < MG_CLASS_COUNT; i++) {
        if (mg_view_eq(name, mg_view_cstr(classes[i].name))) {
            *out_class = (enum mg_class)i;
            return true;
        }
    }
    return false;
}

const char *mg_action_name(enum mg_action action)
{
    return actions[action];
}

bool mg_action_find(mg_view name, enum mg_action *out_action)
{
    for (int i = 0; i < MG_ACTION_COUNT; i++) {
        if (mg_view_eq(name, mg_view_cstr(actions[i]))) {
            *out_action = (enum mg_action)i;
            return true;
        }
    }
    return false;
}
