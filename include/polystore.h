/*
 * Polystore: one data layer over one log. Include this; it gathers the rest.
 *
 *   instance.h    open and close a Polystore
 *   session.h     who is asking: tenant, rights, deadline, memory
 *   txn.h         transactions: batch, interactive, asynchronous
 *   relational.h  records of the application's own tables, and SQL
 *   events.h      streams of events with expected versions
 *   search.h      full-text search over domains
 *   vector.h      the records whose vectors are nearest
 *   log.h         the log itself, and subscriptions to it
 *   settings.h    the configuration, for programs around an instance
 *   admin.h       status, projections, migrations, API keys
 *   adopt.h       taking over a database that is there, and letting go of it
 *
 * The library never logs, never exits, never touches signal handlers. An
 * instance may be used from any number of threads; a session and what comes
 * from it belong to one thread at a time.
 */
#ifndef POLYSTORE_H
#define POLYSTORE_H

#include "polystore/admin.h"
#include "polystore/adopt.h"
#include "polystore/events.h"
#include "polystore/instance.h"
#include "polystore/log.h"
#include "polystore/relational.h"
#include "polystore/search.h"
#include "polystore/session.h"
#include "polystore/settings.h"
#include "polystore/status.h"
#include "polystore/txn.h"
#include "polystore/value.h"
#include "polystore/vector.h"

#endif
