/* operation.h - what was asked for, in a word, by the path that it was asked at: "chat", "messages", "passthrough". */
#ifndef MG_METER_OPERATION_H
#define MG_METER_OPERATION_H

#include "base/view.h"

/* A static text, or the last word of the path where it has no name here; empty for an empty path. */
mg_view mg_operation_of(mg_view path);

#endif
