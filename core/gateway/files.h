/* files.h - files that a provider keeps: whose they are, and who may ask for them.
 *
 * An id is the provider's own and means something to the account that made it alone. So a request goes to one provider, which
 * the header x-moongate-provider names, or the only one of the project that has files; and always with its first key. What a
 * shared account keeps would be every project's to read: there it is refused. */
#ifndef MG_GATEWAY_FILES_H
#define MG_GATEWAY_FILES_H

#include "gateway/exchange.h"

/* Finds the route and the file's id. False: it was answered. */
MG_MUST_USE bool mg_files_resolve(struct mg_exchange *x);

#endif
