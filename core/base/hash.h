/* hash.h - a fast 64-bit fingerprint of bytes, stable across processes and machines of one byte order.
 *
 * For recognising equal bodies in timelines and for consistent hashing; peers can build collisions,
 * so never for tables they fill (mg_hash in map.h is for those) and never for secrets. Eight bytes
 * a step, multiply and fold. */
#ifndef MG_BASE_HASH_H
#define MG_BASE_HASH_H

#include "base/view.h"

uint64_t mg_fingerprint(mg_view bytes);

#endif
