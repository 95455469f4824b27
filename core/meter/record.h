/* record.h - attempts and timelines as journal payloads, and back.
 *
 * A payload is a version byte (the one before this is still read), the exchange's id, numbers in groups of seven bits and strings
 * behind their length. Strings are cut to the sizes below, at a UTF-8 boundary. Decoding trusts
 * nothing: every length is checked, and a payload that ends early or has bytes left over is
 * MG_E_PROTOCOL. Classes, actions, reasons, phases and marks are stored by number: their lists
 * only grow at the end.
 *
 * An exchange reserves mg_record_worst_case() bytes of the ring when it is admitted. That covers
 * everything that is billed; an exchange with metadata, which bills are split by, reserves
 * mg_record_metadata_room() besides. Explanations (why, error, address, notes) are appended in room
 * that nobody reserved; when the ring is nearly full they are left out and counted. */
#ifndef MG_METER_RECORD_H
#define MG_METER_RECORD_H

#include "base/err.h"
#include "base/mem.h"
#include "meter/timeline.h"
#include "store/journal.h"

/* Bytes a string may have in a record. */
enum {
    MG_RECORD_ID = 39,
    MG_RECORD_PROJECT = 64,
    MG_RECORD_WORKFLOW = 64,
    MG_RECORD_KEY = 40,
    MG_RECORD_PROVIDER = 40,
    MG_RECORD_TARGET = 128,
    MG_RECORD_MODEL = 128,
    MG_RECORD_CREDENTIAL = 64,
    MG_RECORD_ARM = 64,
    MG_RECORD_DIALECT = 24,
    MG_RECORD_TIER = 16,
    MG_RECORD_TEXT = 256,              /* why, error, explain */
    MG_RECORD_ADDRESS = 64,
    MG_RECORD_STRING = 128,            /* path, client, user agent, session, error code */
};

/* Payload bytes at most. BASE is what is reserved, MAX is with all explanations. */
enum {
    MG_RECORD_STARTED_MAX = 752,
    MG_RECORD_FIRST_METADATA = 512,    /* metadata in a started record; there is none of longer ones */
    MG_RECORD_STARTED_FIRST_MAX = MG_RECORD_STARTED_MAX + MG_RECORD_STRING + MG_RECORD_FIRST_METADATA,
    MG_RECORD_REDIALED_MAX = 48,
    MG_RECORD_SETTLED_BASE = 464,
    MG_RECORD_SETTLED_MAX = 1040,
    MG_RECORD_EXCHANGE_BASE = 1120,
    MG_RECORD_EXCHANGE_MAX = 5504,
};

/* Ring bytes of an exchange that makes at most max_attempts upstream calls. */
static inline size_t mg_record_worst_case(unsigned max_attempts)
{
    return MG_JOURNAL_ROOM(MG_RECORD_EXCHANGE_BASE) + MG_JOURNAL_ROOM(MG_RECORD_STRING) +
           max_attempts * (MG_JOURNAL_ROOM(MG_RECORD_STARTED_MAX) + MG_JOURNAL_ROOM(MG_RECORD_REDIALED_MAX) +
                           MG_JOURNAL_ROOM(MG_RECORD_SETTLED_BASE));
}

/* What metadata takes in the record of the exchange, and in that of its first attempt, should the process die meanwhile. */
static inline size_t mg_record_metadata_bytes(size_t bytes)
{
    return (MG_MIN(bytes, (size_t)MG_MAX_METADATA_BYTES) + 15) & ~(size_t)15;
}
static inline size_t mg_record_first_metadata(size_t bytes)
{
    return bytes <= MG_RECORD_FIRST_METADATA ? mg_record_metadata_bytes(bytes) : 0;
}

/* Both, on top of the worst case. */
static inline size_t mg_record_metadata_room(size_t bytes)
{
    return mg_record_metadata_bytes(bytes) + mg_record_first_metadata(MG_MIN(bytes, (size_t)MG_RECORD_FIRST_METADATA));
}

/* Appends to the journal in place. *started* goes before the attempt's first byte upstream, *redialed* before the first
 * byte goes there again (at most once an attempt: the provider may have read it twice, and may bill it twice):
 * `input_estimate`, at the cost that the attempt has then, is what is billed should the process die before it settles. These cannot fail
 * when mg_record_worst_case() and, for metadata, mg_record_metadata_room() were reserved; MG_E_BUSY otherwise. */
MG_MUST_USE mg_err mg_record_started(struct mg_journal *journal, const struct mg_timeline *timeline,
                                     const struct mg_attempt_record *attempt, uint64_t input_estimate);
MG_MUST_USE mg_err mg_record_redialed(struct mg_journal *journal, const struct mg_timeline *timeline,
                                      const struct mg_attempt_record *attempt);
MG_MUST_USE mg_err mg_record_settled(struct mg_journal *journal, const struct mg_timeline *timeline,
                                     const struct mg_attempt_record *attempt);
MG_MUST_USE mg_err mg_record_exchange(struct mg_journal *journal, const struct mg_timeline *timeline);

/* The encoders behind them, for tests and tools: bytes written, at most the MAX; that of the first attempt of an exchange
 * at most STARTED_FIRST_MAX, since it has its session and metadata too. `with_text` false
 * leaves the explanations out and stays within the BASE and the metadata. */
size_t mg_record_encode_started(char *out, const struct mg_timeline *timeline,
                                const struct mg_attempt_record *attempt, uint64_t input_estimate);
size_t mg_record_encode_redialed(char out[MG_RECORD_REDIALED_MAX], const struct mg_timeline *timeline,
                                 const struct mg_attempt_record *attempt);
size_t mg_record_encode_settled(char *out, const struct mg_timeline *timeline,
                                const struct mg_attempt_record *attempt, bool with_text);
size_t mg_record_encode_exchange(char *out, const struct mg_timeline *timeline, bool with_text);

/* What an attempt was when it began. Views borrow the payload. */
struct mg_started {
    char id[40];                       /* of the exchange */
    uint16_t number;
    uint16_t entry;
    enum mg_reason reason;
    uint32_t generation;
    uint64_t exchange_wall_us;         /* when the exchange began */
    uint64_t start_us;                 /* since then */
    uint64_t input_estimate;           /* tokens */
    mg_view project, workflow, key_id, target, provider, model;
    mg_view credential;                /* empty in records of version 1 */
    mg_view arm, dialect;              /* empty in records of version 2 */
    mg_view vendor;                    /* empty in records of version 3 */
    mg_view session, metadata;         /* of the exchange, in that of its first attempt; else empty */
    bool charged;                      /* should it be cut off, the project pays for it all the same */
    bool priced, own_price;            /* as in struct mg_attempt_record; false in records of version 3 */
    uint64_t cost_picousd;             /* of the input estimate */
};

MG_MUST_USE mg_err mg_record_decode_started(mg_view payload, struct mg_started *out_started);

MG_MUST_USE mg_err mg_record_decode_redialed(mg_view payload, uint16_t *out_number);

/* Fills id, number and what an end adds; target, provider, vendor, model, credential, reason and
 * start_us come from the started record and stay empty here. */
MG_MUST_USE mg_err mg_record_decode_settled(mg_view payload, char out_id[40], struct mg_attempt_record *out_attempt);

/* Everything but the attempts: attempt_count is set and so many are zeroed. Views borrow the
 * payload, notes are copied. On an error *out_timeline holds rubbish. */
MG_MUST_USE mg_err mg_record_decode_exchange(mg_view payload, struct mg_timeline *out_timeline);

/* The exchange id at the front of any of the three, without decoding the rest. */
MG_MUST_USE mg_err mg_record_id(mg_view payload, mg_view *out_id);

/* When an exchange record says that it settled (wall clock), without decoding the rest; 0 when it
 * cannot be read. */
uint64_t mg_record_ended_us(mg_view payload);

/* Settled and exchange records whose explanations were left out because the ring was nearly full. */
uint64_t mg_record_cut(void);

#endif
