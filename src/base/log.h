/* log: one line an event on stderr: `2026-08-01T10:00:00.123Z INFO event key=value ...`. Values with blanks are quoted by
 * the caller's format. Request-scoped lines carry req=ID. Thread-safe; one write(2) a line. */
#ifndef CRIA_BASE_LOG_H
#define CRIA_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* A word shown in each line after the level ("runner smollm2"); copied, at most 63 bytes. Empty by default. */
void log_set_name(const char *name);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
