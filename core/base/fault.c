#include "base/fault.h"

atomic_int mg_fault_armed[MG_FAULT_COUNT];

void mg_fault_arm(enum mg_fault_point point, int nth)
{
    atomic_store(&mg_fault_armed[point], nth);
}

bool mg_fault_hit(enum mg_fault_point point)
{
    return atomic_fetch_sub(&mg_fault_armed[point], 1) == 1;
}
