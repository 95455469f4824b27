/*   file:   | header page | ring ........................................................ |
 *
 *   header: magic, version, worker, boot, size, two checkpoints written in turn
 *   ring:     freed ─▶ record record record │pad│ ◀─ wraps      read ─▶ record ◀─ head
 *   record: | sequence 8 | bytes 4 | type 2 | 0 2 | checksum 8 | payload | padding to 8 |
 *
 * Positions count bytes for ever; the place in the file is position % size. The checksum is seeded
 * with the boot id, so neither a record of an earlier process nor bytes a client chose can pass
 * for one. A record does not cross the end of the ring: a pad fills what is left. */
#include "store/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"

enum {
    PAGE = 4096,
    VERSION = 1,
    MIN_BYTES = 256 << 10,
    SLACK = MG_JOURNAL_ROOM(MG_MAX_JOURNAL_RECORD_BYTES)
};

#define MAGIC 0x0a0d474e4952474du /* "MGRING\r\n" in the file */

struct checkpoint {
    struct mg_journal_cursor cursor;
    uint64_t check; /* a torn write does not pass */
};

struct header {
    _Atomic uint64_t magic; /* stored last, when the file is allocated */
    uint32_t version;
    uint32_t worker;
    uint64_t boot;
    uint64_t size; /* of the ring, without this page */
    struct checkpoint checkpoints[2];
};

struct record {
    _Atomic uint64_t sequence; /* stored last: the record is valid from then on */
    uint32_t bytes;            /* of the payload */
    uint16_t type;
    uint16_t zero;
    uint64_t check;
    char payload[];
};
_Static_assert(sizeof(struct record) == MG_JOURNAL_OVERHEAD,
               "the header of a record is its overhead");

struct mg_journal {
    int fd;
    struct header *header; /* owned; the mapping of the whole file */
    char *ring;            /* behind the header page */
    uint64_t size;
    uint64_t boot;
    uint32_t worker;

    /* the writer's */
    _Atomic uint64_t head; /* position of the next record; the reader acquires it */
    _Atomic uint64_t reserved;
    _Atomic uint64_t shed;
    _Atomic uint64_t sequence; /* of the last record */
    size_t begun;              /* payload bytes given out by begin, 0 outside */

    char apart[64]; /* the reader's fields stand on another cache line */
    _Atomic uint64_t freed;
    struct mg_journal_cursor read;
    unsigned turn; /* which checkpoint is written next */
};

static mg_err map_file(const char *path, int flags, int *out_fd, struct stat *out_stat,
                       struct mg_diag *diag);
static mg_err allocate(int fd, const char *path, size_t size, struct mg_diag *diag);
static mg_err refuse_unread(const char *path, struct mg_diag *diag);
static uint64_t checksum(uint64_t boot, uint64_t sequence, const struct record *record);
static uint64_t check_cursor(uint64_t boot, struct mg_journal_cursor cursor);
static const struct record *record_at(const char *ring, uint64_t size, uint64_t *position);
static void fill_header(struct mg_journal *journal);

mg_err mg_journal_open(const char *path, size_t bytes, uint32_t worker, uint64_t boot,
                       struct mg_journal **out_journal, struct mg_diag *diag)
{
    int fd;
    struct stat stat;
    size_t size = (MG_MAX(bytes, (size_t)MIN_BYTES) + PAGE - 1) / PAGE * PAGE;

    MG_TRY(map_file(path, O_RDWR | O_CREAT, &fd, &stat, diag));
    mg_err err = stat.st_size >= PAGE ? refuse_unread(path, diag) : MG_OK;
    if (err == MG_OK)
        err = allocate(fd, path, size + PAGE, diag);
    if (err != MG_OK)
        goto fail;

    void *base = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        err =
            mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot map the journal: %s", strerror(errno));
        goto fail;
    }

    struct mg_journal *journal = mg_new(struct mg_journal);
    journal->fd = fd;
    journal->header = base;
    journal->ring = (char *)base + PAGE;
    journal->size = size;
    journal->boot = boot;
    journal->worker = worker;
    fill_header(journal);
    *out_journal = journal;
    return MG_OK;

fail:
    close(fd);
    return err;
}

void mg_journal_close(struct mg_journal *journal)
{
    if (!journal)
        return;
    munmap(journal->header, journal->size + PAGE);
    close(journal->fd);
    mg_free(journal);
}

/* The magic goes first and comes last: a file that was not finished is an empty one. */
static void fill_header(struct mg_journal *journal)
{
    struct header *header = journal->header;
    atomic_store(&header->magic, 0);
    header->version = VERSION;
    header->worker = journal->worker;
    header->boot = journal->boot;
    header->size = journal->size;
    header->checkpoints[0] =
        (struct checkpoint){{0, 0}, check_cursor(journal->boot, (struct mg_journal_cursor){0, 0})};
    header->checkpoints[1] = header->checkpoints[0];
    atomic_store_explicit(&header->magic, MAGIC, memory_order_release);
}

/* ---- the writer */

static uint64_t used(const struct mg_journal *journal)
{
    return atomic_load_explicit(&journal->head, memory_order_relaxed) -
           atomic_load_explicit(&journal->freed, memory_order_acquire);
}

size_t mg_journal_spare(const struct mg_journal *journal)
{
    uint64_t taken =
        used(journal) + atomic_load_explicit(&journal->reserved, memory_order_relaxed) + SLACK;
    return taken < journal->size ? (size_t)(journal->size - taken) : 0;
}

/* Only the writer changes these, so a load and a store do. */
static void add(_Atomic uint64_t *counter, uint64_t delta)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + delta,
                          memory_order_relaxed);
}

bool mg_journal_reserve(struct mg_journal *journal, size_t bytes)
{
    if (bytes > mg_journal_spare(journal)) {
        add(&journal->shed, 1);
        return false;
    }
    add(&journal->reserved, bytes);
    return true;
}

void mg_journal_unreserve(struct mg_journal *journal, size_t bytes)
{
    assert(atomic_load_explicit(&journal->reserved, memory_order_relaxed) >= bytes);
    add(&journal->reserved, -(uint64_t)bytes);
}

static void publish(struct mg_journal *journal, struct record *record, enum mg_journal_type type,
                    size_t bytes)
{
    uint64_t sequence = atomic_load_explicit(&journal->sequence, memory_order_relaxed) + 1;
    record->bytes = (uint32_t)bytes;
    record->type = (uint16_t)type;
    record->zero = 0;
    record->check = checksum(journal->boot, sequence, record);
    atomic_store_explicit(&record->sequence, sequence, memory_order_release);
    atomic_store_explicit(&journal->sequence, sequence, memory_order_relaxed);
    atomic_store_explicit(&journal->head,
                          atomic_load_explicit(&journal->head, memory_order_relaxed) +
                              MG_JOURNAL_ROOM(bytes),
                          memory_order_release);
}

/* Fills what is left of the ring, so that the next record stands in one piece. */
static void pad(struct mg_journal *journal, uint64_t head, uint64_t left)
{
    if (left >= MG_JOURNAL_OVERHEAD)
        publish(journal, (struct record *)(void *)(journal->ring + head % journal->size),
                MG_JOURNAL_PAD, left - MG_JOURNAL_OVERHEAD);
    else
        atomic_store_explicit(&journal->head, head + left, memory_order_release);
}

char *mg_journal_begin(struct mg_journal *journal, size_t max_bytes)
{
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_relaxed);
    uint64_t left = journal->size - head % journal->size;
    size_t need = MG_JOURNAL_ROOM(max_bytes);

    assert(max_bytes > 0 && max_bytes <= MG_MAX_JOURNAL_RECORD_BYTES && !journal->begun);
    if (mg_fault(MG_FAULT_JOURNAL_APPEND))
        return NULL;
    if (left >= need)
        left = 0;
    if (used(journal) + left + need > journal->size)
        return NULL;
    if (left > 0)
        pad(journal, head, left);
    journal->begun = max_bytes;
    head = atomic_load_explicit(&journal->head, memory_order_relaxed);
    return ((struct record *)(void *)(journal->ring + head % journal->size))->payload;
}

void mg_journal_commit(struct mg_journal *journal, enum mg_journal_type type, size_t bytes)
{
    assert(bytes <= journal->begun && type != MG_JOURNAL_PAD);
    journal->begun = 0;
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_relaxed);
    publish(journal, (struct record *)(void *)(journal->ring + head % journal->size), type, bytes);
}

mg_err mg_journal_append(struct mg_journal *journal, enum mg_journal_type type, mg_view payload)
{
    if (payload.len > MG_MAX_JOURNAL_RECORD_BYTES)
        return MG_E_TOO_LARGE;
    char *room = mg_journal_begin(journal, MG_MAX(payload.len, (size_t)1));
    if (!room)
        return MG_E_BUSY;
    if (payload.len > 0)
        memcpy(room, payload.ptr, payload.len);
    mg_journal_commit(journal, type, payload.len);
    return MG_OK;
}

/* ---- the reader */

/* The record at *position, which moves over an end of the ring too short for a header. */
static const struct record *record_at(const char *ring, uint64_t size, uint64_t *position)
{
    uint64_t left = size - *position % size;
    if (left < MG_JOURNAL_OVERHEAD)
        *position += left;
    return (const struct record *)(const void *)(ring + *position % size);
}

mg_err mg_journal_read(struct mg_journal *journal, mg_journal_cb cb, void *arg, unsigned max,
                       unsigned *out_count)
{
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_acquire);
    unsigned count = 0;

    while (count < max && journal->read.position < head) {
        uint64_t position = journal->read.position;
        const struct record *record = record_at(journal->ring, journal->size, &position);
        if (position == head)
            break;
        struct mg_journal_cursor next = {journal->read.sequence + 1,
                                         position + MG_JOURNAL_ROOM(record->bytes)};
        assert(atomic_load_explicit(&record->sequence, memory_order_acquire) == next.sequence);
        if (record->type != MG_JOURNAL_PAD) {
            struct mg_journal_record item = {journal->boot,
                                             next.sequence,
                                             next.position,
                                             journal->worker,
                                             (enum mg_journal_type)record->type,
                                             {record->payload, record->bytes}};
            MG_TRY(cb(arg, &item));
            count++;
        }
        journal->read = next;
    }
    *out_count = count;
    return MG_OK;
}

struct mg_journal_cursor mg_journal_tell(const struct mg_journal *journal)
{
    return journal->read;
}

void mg_journal_seek(struct mg_journal *journal, struct mg_journal_cursor cursor)
{
    assert(cursor.position >= atomic_load_explicit(&journal->freed, memory_order_relaxed));
    journal->read = cursor;
}

void mg_journal_free_to(struct mg_journal *journal, struct mg_journal_cursor cursor)
{
    assert(cursor.position <= journal->read.position);
    journal->turn ^= 1;
    journal->header->checkpoints[journal->turn] =
        (struct checkpoint){cursor, check_cursor(journal->boot, cursor)};
    atomic_store_explicit(&journal->freed, cursor.position, memory_order_release);
}

mg_err mg_journal_sync(struct mg_journal *journal)
{
    if (mg_fault(MG_FAULT_JOURNAL_SYNC))
        return MG_E_STORE;
    return msync(journal->header, journal->size + PAGE, MS_SYNC) == 0 ? MG_OK : MG_E_STORE;
}

/* ---- any thread */

void mg_journal_stats(const struct mg_journal *journal, struct mg_journal_stats *out_stats)
{
    uint64_t freed = atomic_load_explicit(&journal->freed, memory_order_acquire);
    *out_stats = (struct mg_journal_stats){
        .size = journal->size,
        .used = atomic_load_explicit(&journal->head, memory_order_relaxed) - freed,
        .reserved = atomic_load_explicit(&journal->reserved, memory_order_relaxed),
        .records = atomic_load_explicit(&journal->sequence, memory_order_relaxed),
        .shed = atomic_load_explicit(&journal->shed, memory_order_relaxed),
    };
}

/* ---- start-up */

static bool valid_header(const struct header *header, uint64_t file_bytes)
{
    return header->magic == MAGIC && header->version == VERSION && header->size >= MIN_BYTES &&
           header->size % PAGE == 0 && header->size == file_bytes - PAGE;
}

static struct mg_journal_cursor last_checkpoint(const struct header *header)
{
    struct mg_journal_cursor last = {0, 0};
    for (size_t i = 0; i < MG_COUNT(header->checkpoints); i++) {
        const struct checkpoint *checkpoint = &header->checkpoints[i];
        if (checkpoint->check == check_cursor(header->boot, checkpoint->cursor) &&
            checkpoint->cursor.position >= last.position)
            last = checkpoint->cursor;
    }
    return last;
}

/* Bytes of a dead process are judged before they are believed. */
static bool valid_record(const struct header *header, const struct record *record,
                         uint64_t sequence, uint64_t position)
{
    return record->sequence == sequence && record->zero == 0 && position % 8 == 0 &&
           MG_JOURNAL_ROOM(record->bytes) <= header->size - position % header->size &&
           record->check == checksum(header->boot, sequence, record);
}

static mg_err recover_ring(const struct header *header, struct mg_journal_cursor at,
                           mg_journal_cb cb, void *arg, uint64_t *out_count)
{
    const char *ring = (const char *)header + PAGE;
    uint64_t count = 0, start = at.position;

    for (;;) {
        const struct record *record = record_at(ring, header->size, &at.position);
        if (at.position - start >= header->size ||
            !valid_record(header, record, at.sequence + 1, at.position))
            break;
        at = (struct mg_journal_cursor){at.sequence + 1,
                                        at.position + MG_JOURNAL_ROOM(record->bytes)};
        if (record->type == MG_JOURNAL_PAD)
            continue;
        struct mg_journal_record item = {header->boot,
                                         at.sequence,
                                         at.position,
                                         header->worker,
                                         (enum mg_journal_type)record->type,
                                         {record->payload, record->bytes}};
        MG_TRY(cb(arg, &item));
        count++;
    }
    *out_count = count;
    return MG_OK;
}

mg_err mg_journal_recover(const char *path, mg_journal_known_cb known, mg_journal_cb cb, void *arg,
                          uint64_t *out_count, struct mg_diag *diag)
{
    int fd;
    struct stat stat;
    MG_TRY(map_file(path, O_RDONLY, &fd, &stat, diag));
    if (stat.st_size < PAGE + MIN_BYTES) {
        close(fd);
        return mg_diag_set(diag, MG_E_PROTOCOL, path, 0, "is no journal: too short");
    }
    struct header *header = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (header == MAP_FAILED)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot map the journal: %s",
                           strerror(errno));

    mg_err err = MG_OK;
    if (!valid_header(header, (uint64_t)stat.st_size)) {
        err = mg_diag_set(diag, MG_E_PROTOCOL, path, 0, "is no journal of this version");
    } else {
        struct mg_journal_cursor at = last_checkpoint(header), stored = {0, 0};
        if (known)
            err = known(arg, header->boot, header->worker, &stored);
        if (stored.position > at.position)
            at = stored;
        if (err == MG_OK)
            err = recover_ring(header, at, cb, arg, out_count);
    }
    munmap(header, (size_t)stat.st_size);
    return err;
}

/* ---- files */

static mg_err map_file(const char *path, int flags, int *out_fd, struct stat *out_stat,
                       struct mg_diag *diag)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return mg_diag_set(diag, errno == ENOENT ? MG_E_NOT_FOUND : MG_E_SYSTEM, path, 0,
                           "cannot open the journal: %s", strerror(errno));
    if (fstat(fd, out_stat) != 0) {
        close(fd);
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot stat the journal: %s",
                           strerror(errno));
    }
    *out_fd = fd;
    return MG_OK;
}

static mg_err allocate(int fd, const char *path, size_t size, struct mg_diag *diag)
{
    int code = posix_fallocate(fd, 0, (off_t)size);
    if (code == 0 && ftruncate(fd, (off_t)size) != 0)
        code = errno;
    if (code != 0)
        return mg_diag_set(
            diag, MG_E_SYSTEM, path, 0,
            "cannot allocate the journal's %zu bytes: %s; free some room or set journal.bytes",
            size, strerror(code));
    return MG_OK;
}

static mg_err stop_at_once(void *arg, const struct mg_journal_record *record)
{
    return MG_E_EXISTS;
}

/* A file whose header never was finished holds nothing; a damaged one is a human's to judge. */
static mg_err refuse_unread(const char *path, struct mg_diag *diag)
{
    uint64_t count;
    uint64_t start = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool blank =
        fd >= 0 && pread(fd, &start, sizeof start, 0) == (ssize_t)sizeof start && start == 0;
    if (fd >= 0)
        close(fd);
    if (blank)
        return MG_OK;
    mg_err err = mg_journal_recover(path, NULL, stop_at_once, NULL, &count, diag);
    if (err == MG_E_EXISTS)
        return mg_diag_set(diag, err, path, 0, "holds records that were not recovered");
    return err;
}

/* ---- checksums: eight bytes a step, folded products; damage and staleness, not forgery */

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t mix(uint64_t hash, const char *ptr, size_t len)
{
    const uint64_t odd = 0xd6e8feb86659fd93u;
    uint64_t word;
    for (; len >= 8; ptr += 8, len -= 8) {
        memcpy(&word, ptr, 8);
        hash = fold(hash ^ word, odd) + len;
    }
    word = 0;
    if (len > 0)
        memcpy(&word, ptr, len);
    return fold(hash ^ word, odd) + len;
}

static uint64_t checksum(uint64_t boot, uint64_t sequence, const struct record *record)
{
    uint64_t seed = fold(boot ^ 0x9e3779b97f4a7c15u, sequence ^ 0xc2b2ae3d27d4eb4fu) ^
                    record->bytes ^ (uint64_t)record->type << 32;
    /* a pad has no payload worth reading */
    return mix(seed, record->payload, record->type == MG_JOURNAL_PAD ? 0 : record->bytes);
}

static uint64_t check_cursor(uint64_t boot, struct mg_journal_cursor cursor)
{
    return mix(boot ^ 0xa0761d6478bd642fu, (const char *)&cursor, sizeof cursor);
}
