#include "sim/faults.h"

#include "base/mem.h"
#include "check.h"
#include "meter/failure.h"

TEST(every_fault_is_found_by_its_name)
{
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++)
        CHECK_INT(mg_sim_fault_find(mg_view_cstr(mg_sim_faults[i].name)), i);
    CHECK_INT(mg_sim_fault_find(MG_VIEW("nonsense")), MG_SIM_FAULT_NONE);
}

TEST(every_fault_names_a_class_of_the_taxonomy)
{
    enum mg_class found;
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++)
        CHECK(mg_class_find(mg_view_cstr(mg_sim_faults[i].class_), &found));
}

TEST(every_answer_fault_has_an_answer_and_no_other_has)
{
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
        bool has = mg_sim_answer_find((enum mg_sim_fault)i) != NULL;
        CHECK_INT(has, mg_sim_faults[i].kind == MG_SIM_ANSWER);
    }
}

TEST(a_model_name_chooses_a_fault_and_its_value)
{
    static const struct {
        const char *model;
        bool is;
        enum mg_sim_fault fault;
        int value;
    } rows[] = {
        {"fault:rate_limited", true, MG_SIM_FAULT_rate_limited, 1},
        {"fault:rate_limited:30", true, MG_SIM_FAULT_rate_limited, 30},
        {"fault:status:418", true, MG_SIM_FAULT_status, 418},
        {"fault:stall:0", true, MG_SIM_FAULT_stall, 0},
        {"fault:nonsense", false, 0, 0},
        {"fault:stall:x", false, 0, 0},
        {"fault:stall:", false, 0, 0},
        {"fault:stall:99999999999", false, 0, 0},
        {"fault", false, 0, 0},
        {"gpt-4o", false, 0, 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        enum mg_sim_fault fault = MG_SIM_FAULT_NONE;
        int value = 0;
        CHECK_INT(mg_sim_fault_of_model(mg_view_cstr(rows[i].model), &fault, &value), rows[i].is);
        CHECK_INT(fault, rows[i].fault);
        CHECK_INT(value, rows[i].value);
    }
}

MG_TEST_MAIN()
