/* log.h - the process's log: one structured line an event, on stderr.
 *
 *     mg_log_info("listening", "address=%s:%d", host, port);
 *
 * A line is `time level event key=value`. mg_log_start() gives the log a thread's worth of
 * independence: from then on callers only copy the line into a bounded ring (4,096 lines of at
 * most 512 bytes) that mg_log_drain() empties from a thread that may wait; a full ring drops the
 * line and counts it. Before mg_log_start(), and in the CLI, lines are written directly. Thread
 * safe, async-signal unsafe. Never pass a secret. */
#ifndef MG_BASE_LOG_H
#define MG_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum mg_log_level { MG_LOG_DEBUG, MG_LOG_INFO, MG_LOG_WARN, MG_LOG_ERROR, MG_LOG_OFF };

void mg_log_level(enum mg_log_level level);      /* default MG_LOG_INFO */
void mg_log_start(void);
void mg_log_drain(void);                         /* writes what waits; call every 50 ms or so */
void mg_log_stop(void);                          /* drains, then direct writes again */
uint64_t mg_log_dropped(void);

/* `details` is printf-style text, by convention key=value pairs; quotes and controls are escaped. */
void mg_log(enum mg_log_level level, const char *event, const char *details, ...)
    __attribute__((format(printf, 3, 4)));

#define mg_log_debug(event, ...) mg_log(MG_LOG_DEBUG, (event), __VA_ARGS__)
#define mg_log_info(event, ...) mg_log(MG_LOG_INFO, (event), __VA_ARGS__)
#define mg_log_warn(event, ...) mg_log(MG_LOG_WARN, (event), __VA_ARGS__)
#define mg_log_error(event, ...) mg_log(MG_LOG_ERROR, (event), __VA_ARGS__)

#endif
