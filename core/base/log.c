/* The ring is Vyukov's bounded queue: each slot carries a turn number. A writer claims a slot by
 * moving `head`, fills it and publishes it by advancing the slot's turn; the one drainer follows.
 * Turns are kept relative to the slot's place, so that a ring nobody has filled is all zeros and
 * takes no memory. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { SLOTS = 4096, LINE_BYTES = 512 };

struct slot {
    _Atomic uint64_t turn;             /* less the slot's index; see turn_of() */
    unsigned len;
    char line[LINE_BYTES];
};

static struct slot ring[SLOTS];
static _Atomic uint64_t head;
static uint64_t tail;                  /* drainer only, under drain_lock */
static _Atomic uint64_t dropped;
static _Atomic int threshold = MG_LOG_INFO;
static _Atomic bool queued;
static pthread_mutex_t drain_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static void write_all(const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, ptr, len);
        if (n <= 0)
            return;
        ptr += n;
        len -= (size_t)n;
    }
}

void mg_log_level(enum mg_log_level level)
{
    atomic_store(&threshold, (int)level);
}

static uint64_t turn_of(struct slot *slot)
{
    return atomic_load_explicit(&slot->turn, memory_order_acquire) + (uint64_t)(slot - ring);
}

static void set_turn(struct slot *slot, uint64_t turn)
{
    atomic_store_explicit(&slot->turn, turn - (uint64_t)(slot - ring), memory_order_release);
}

void mg_log_start(void)
{
    atomic_store(&queued, true);
}

static bool drain_one(void)
{
    struct slot *slot = &ring[tail % SLOTS];
    if (turn_of(slot) != tail + 1)
        return false;
    write_all(slot->line, slot->len);
    set_turn(slot, tail + SLOTS);
    tail++;
    return true;
}

void mg_log_drain(void)
{
    pthread_mutex_lock(&drain_lock);
    while (atomic_load(&queued) && drain_one())
        continue;
    pthread_mutex_unlock(&drain_lock);
}

void mg_log_stop(void)
{
    mg_log_drain();
    atomic_store(&queued, false);
}

uint64_t mg_log_dropped(void)
{
    return atomic_load(&dropped);
}

/* Control bytes would let a peer forge lines. */
static void tame(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

static size_t format_line(char *line, enum mg_log_level level, const char *event, const char *details, va_list args)
{
    uint64_t now = mg_wall_us();
    time_t seconds = (time_t)(now / 1000000u);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(line, LINE_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, LINE_BYTES - n, ".%03uZ %s %s ", (unsigned)(now / 1000u % 1000u),
                          level_names[level], event);
    if (n < LINE_BYTES - 1)
        n += (size_t)vsnprintf(line + n, LINE_BYTES - n, details, args);
    if (n > LINE_BYTES - 2)
        n = LINE_BYTES - 2;
    line[n] = '\0';
    tame(line);
    line[n] = '\n';
    return n + 1;
}

static struct slot *claim(uint64_t *out_turn)
{
    uint64_t at = atomic_load_explicit(&head, memory_order_relaxed);
    for (;;) {
        struct slot *slot = &ring[at % SLOTS];
        uint64_t turn = turn_of(slot);
        if (turn == at) {
            if (atomic_compare_exchange_weak(&head, &at, at + 1)) {
                *out_turn = at;
                return slot;
            }
            continue;                  /* another writer was quicker; `at` is the new head */
        }
        if (turn < at)
            return NULL;               /* the slot still holds a line of the round before */
        at = atomic_load_explicit(&head, memory_order_relaxed);
    }
}

static void enqueue(const char *line, size_t len)
{
    uint64_t turn;
    struct slot *slot = claim(&turn);
    if (!slot) {
        atomic_fetch_add(&dropped, 1);
        return;
    }
    memcpy(slot->line, line, len);
    slot->len = (unsigned)len;
    set_turn(slot, turn + 1);
}

void mg_log(enum mg_log_level level, const char *event, const char *details, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char line[LINE_BYTES];
    va_list args;
    va_start(args, details);
    size_t len = format_line(line, level, event, details, args);
    va_end(args);
    if (atomic_load(&queued))
        enqueue(line, len);
    else
        write_all(line, len);
}
