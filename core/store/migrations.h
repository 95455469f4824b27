/* migrations.h - the schema, one numbered step after the other.
 *
 * Every layer's tables are here, so that one list says what a store of version N looks like. A
 * step that was released is never edited: add a row with a higher number at the end (gaps are
 * fine). Each runs in a transaction of its own and is recorded in PRAGMA user_version. How steps
 * are tested is in docs/internals/store.md. */
#ifndef MG_STORE_MIGRATIONS_H
#define MG_STORE_MIGRATIONS_H

/* Exchanges are append-only in the order they settled, without secondary indexes: an insert costs
 * one b-tree append. at_us is unique and increasing, so it is the time filter and the page cursor;
 * an id is found by scanning forward from the time the id carries (meter/timeline.h). `detail` is
 * the records of the exchange and its attempts as the journal had them (meter/record.h). */
#define MG_SQL_EXCHANGES                                                                           \
    "CREATE TABLE exchanges ("                                                                     \
    " at_us INTEGER PRIMARY KEY,"      /* when it settled; unique, so perhaps a little later */ \
    " start_us INTEGER NOT NULL,"      /* wall clock */                                            \
    " id TEXT NOT NULL,"                                                                           \
    " project TEXT, workflow TEXT, key_id TEXT, path TEXT, session TEXT,"                          \
    " provider TEXT, model TEXT,"      /* of the last attempt */                                   \
    " tried TEXT,"                     /* \n provider \t model \n of all, when several */           \
    " status INTEGER NOT NULL,"        /* as sent to the client */                                 \
    " class TEXT NOT NULL,"            /* failure class of the last word; none on success */       \
    " flags INTEGER NOT NULL,"         /* bits of meter/ledger.h */                                 \
    " attempts INTEGER NOT NULL,"                                                                  \
    " generation INTEGER NOT NULL,"                                                                \
    " duration_us INTEGER NOT NULL,"                                                               \
    " overhead_us INTEGER NOT NULL,"   /* duration without waiting for upstreams */                \
    " ttft_us INTEGER,"                /* first content token, from the start of the exchange */   \
    " input_tokens INTEGER NOT NULL,"  /* of all attempts: what is billed */                       \
    " output_tokens INTEGER NOT NULL,"                                                             \
    " detail BLOB NOT NULL);"

/* How far each ring has been stored, written with the rows, so once is exactly once: records up to
 * `stored` have their rows; what stands before (sequence, position) is of no use any more, because
 * exchanges open there are in open_exchanges too. */
#define MG_SQL_JOURNALS                                                                            \
    "CREATE TABLE journals ("                                                                      \
    " boot INTEGER NOT NULL, worker INTEGER NOT NULL,"                                             \
    " sequence INTEGER NOT NULL, position INTEGER NOT NULL, stored INTEGER NOT NULL,"              \
    " PRIMARY KEY (boot, worker)) WITHOUT ROWID;"

/* Exchanges in flight for longer than a sync interval: their records so far. */
#define MG_SQL_OPEN_EXCHANGES                                                                      \
    "CREATE TABLE open_exchanges ("                                                                \
    " id TEXT PRIMARY KEY, detail BLOB NOT NULL) WITHOUT ROWID;"

#define MG_SQL_KEYS                                                                                \
    "CREATE TABLE keys ("                                                                          \
    " id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, hash BLOB NOT NULL,"         \
    " created_us INTEGER NOT NULL, expires_us INTEGER, revoked_us INTEGER, last_used_us INTEGER,"  \
    " metadata TEXT);"                                                                             \
    "CREATE UNIQUE INDEX keys_hash ON keys (hash);"

/* Rows from before have 0: nothing waited for a place then, and nobody knew prices. */
#define MG_SQL_WAITED_AND_COST                                                                     \
    "ALTER TABLE exchanges ADD COLUMN waited_us INTEGER NOT NULL DEFAULT 0;"      /* of all attempts */ \
    "ALTER TABLE exchanges ADD COLUMN cost_microusd INTEGER NOT NULL DEFAULT 0;"  /* likewise */

/* What a key may do, and which key took its place. Rows from before may use all of their project. Then what is disabled by
 * hand (tenant/switches.h), and who may administer (tenant/members.h). */
#define MG_SQL_TEAMS                                                                               \
    "ALTER TABLE keys ADD COLUMN workflows TEXT;"      /* JSON array; NULL: all */                  \
    "ALTER TABLE keys ADD COLUMN limits TEXT;"         /* JSON object; NULL: none of its own */     \
    "ALTER TABLE keys ADD COLUMN replaces TEXT;"       /* ids, of a rotation */                     \
    "ALTER TABLE keys ADD COLUMN replaced_by TEXT;"                                                \
    "CREATE TABLE switches ("                                                                      \
    " kind TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, message TEXT NOT NULL,"       \
    " actor TEXT NOT NULL, since_us INTEGER NOT NULL,"                                             \
    " PRIMARY KEY (kind, project, name)) WITHOUT ROWID;"                                           \
    "CREATE TABLE members ("                                                                        \
    " name TEXT PRIMARY KEY, role TEXT NOT NULL, project TEXT,"    /* NULL: all projects */        \
    " hash BLOB NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER) WITHOUT ROWID;"         \
    "CREATE UNIQUE INDEX members_hash ON members (hash);"

/* Costs that `moongate usage reprice` found later than their attempts (meter/reprice.h), and how far each sink of usage
 * events has got (meter/export.h). */
#define MG_SQL_REPRICED_AND_EXPORTS                                                                \
    "CREATE TABLE repriced ("                                                                      \
    " at_us INTEGER NOT NULL, number INTEGER NOT NULL,"            /* exchange and attempt */      \
    " cost_picousd INTEGER NOT NULL, priced INTEGER NOT NULL, repriced_us INTEGER NOT NULL,"       \
    " PRIMARY KEY (at_us, number)) WITHOUT ROWID;"                                                 \
    "CREATE TABLE exports (name TEXT PRIMARY KEY, next_us INTEGER NOT NULL) WITHOUT ROWID;"

/* A data key of each project, wrapped by the master key `master` ('' is the audit log's project), and the newest version of
 * each secret; one that was removed keeps its row without ciphertext, so that its versions count on. `chain` and `mac` are
 * what vault/audit.h says. */
#define MG_SQL_VAULT                                                                               \
    "CREATE TABLE vault_keys ("                                                                    \
    " project TEXT PRIMARY KEY, wrapped BLOB NOT NULL, master TEXT NOT NULL, created_us INTEGER NOT NULL" \
    ") WITHOUT ROWID;"                                                                             \
    "CREATE TABLE secrets ("                                                                       \
    " project TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB,"           \
    " created_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, last_used_us INTEGER,"             \
    " PRIMARY KEY (project, name)) WITHOUT ROWID;"                                                 \
    "CREATE TABLE audit ("                                                                         \
    " seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL,"    \
    " project TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL, chain BLOB NOT NULL);"   \
    "CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, mac BLOB NOT NULL);"

/* Responses that clients may go on from (store/responses.h). A thread is what begins with a response that follows none; it is
 * kept and forgotten as one. `id` is NULL when another response took it; `name` is what it was. `parent` is the response before, -1 when that was gone
 * already. `bytes` is of the response, `total_bytes` of all up to it. */
#define MG_SQL_RESPONSES                                                                           \
    "CREATE TABLE response_projects ("                                                             \
    " project TEXT PRIMARY KEY, count INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;"    \
    "CREATE TABLE response_threads ("                                                              \
    " thread INTEGER PRIMARY KEY, project TEXT NOT NULL, expires_us INTEGER NOT NULL,"             \
    " count INTEGER NOT NULL, bytes INTEGER NOT NULL);"                                            \
    "CREATE INDEX response_threads_age ON response_threads (project, expires_us);"                 \
    "CREATE INDEX response_threads_end ON response_threads (expires_us);"                          \
    "CREATE TABLE responses ("                                                                     \
    " seq INTEGER PRIMARY KEY, project TEXT NOT NULL, id TEXT, name TEXT NOT NULL, owner TEXT NOT NULL," \
    " thread INTEGER NOT NULL, parent INTEGER, depth INTEGER NOT NULL, bytes INTEGER NOT NULL,"    \
    " total_bytes INTEGER NOT NULL, created_us INTEGER NOT NULL, sealed BLOB NOT NULL);"           \
    "CREATE UNIQUE INDEX responses_id ON responses (project, id);"                                 \
    "CREATE INDEX responses_thread ON responses (thread);"

/* Which response an item was answered in, for requests that name items instead of saying them again. */
#define MG_SQL_RESPONSE_ITEMS                                                                      \
    "CREATE TABLE response_items ("                                                                \
    " project TEXT NOT NULL, item TEXT NOT NULL, seq INTEGER NOT NULL,"                            \
    " PRIMARY KEY (project, item)) WITHOUT ROWID;"                                                 \
    "CREATE INDEX response_items_seq ON response_items (seq);"

/*    number  SQL */
#define MG_MIGRATION_LIST(X)                                                                       \
    X(1, MG_SQL_EXCHANGES MG_SQL_JOURNALS MG_SQL_OPEN_EXCHANGES MG_SQL_KEYS)                         \
    X(2, MG_SQL_WAITED_AND_COST)                                                                   \
    X(4, MG_SQL_TEAMS)                                                                             \
    X(5, MG_SQL_REPRICED_AND_EXPORTS)                                                              \
    X(6, MG_SQL_VAULT)                                                                             \
    X(8, MG_SQL_RESPONSES)                                                                         \
    X(10, MG_SQL_RESPONSE_ITEMS)

#endif
