#include "sim/faults.h"

#include "base/mem.h"

const struct mg_sim_fault_row mg_sim_faults[MG_SIM_FAULT_COUNT] = {
    [MG_SIM_FAULT_NONE] = {"none", MG_SIM_CONTENT, 0, "nothing goes wrong", "none"},
#define X(name, kind, value, text, class_)                                                         \
    [MG_SIM_FAULT_##name] = {#name, MG_SIM_##kind, value, text, class_},
    MG_SIM_FAULT_LIST(X)
#undef X
};

static const struct mg_sim_answer_row answers[] = {
#define X(name, status, type, code, param, message, retry_after)                                   \
    {MG_SIM_FAULT_##name, status, type, code, param, message, retry_after},
    MG_SIM_ANSWER_LIST(X)
#undef X
};

enum mg_sim_fault mg_sim_fault_find(mg_view name)
{
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
        if (mg_view_eq(name, mg_view_cstr(mg_sim_faults[i].name)))
            return (enum mg_sim_fault)i;
    }
    return MG_SIM_FAULT_NONE;
}

bool mg_sim_fault_of_model(mg_view model, enum mg_sim_fault *out_fault, int *out_value)
{
    mg_view rest = model;
    if (!mg_view_eq(mg_view_cut(&rest, ':'), MG_VIEW("fault")))
        return false;
    enum mg_sim_fault fault = mg_sim_fault_find(mg_view_cut(&rest, ':'));
    if (fault == MG_SIM_FAULT_NONE)
        return false;
    uint64_t value = (uint64_t)mg_sim_faults[fault].value;
    if (rest.ptr && (!mg_view_u64(rest, &value) || value > 2147483647))
        return false;
    *out_fault = fault;
    *out_value = (int)value;
    return true;
}

const struct mg_sim_answer_row *mg_sim_answer_find(enum mg_sim_fault fault)
{
    for (size_t i = 0; i < MG_COUNT(answers); i++) {
        if (answers[i].fault == fault)
            return &answers[i];
    }
    return NULL;
}
