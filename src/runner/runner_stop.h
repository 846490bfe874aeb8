/* runner_stop: finds stop strings in a stream of text and holds back what may still become one. What comes out does not
 * depend on where the stream is cut: the stop string that ends first wins, and of those that end at the same byte the
 * longest. Text before it has been released, it and all after it never are. Not thread-safe: one owner. */
#ifndef CRIA_RUNNER_STOP_H
#define CRIA_RUNNER_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum { RUNNER_STOP_MAX = 256, RUNNER_STOP_BYTES_MAX = 4096 };

/* One stop string as an automaton (Knuth, Morris, Pratt 1977): `state` bytes of it end the stream seen so far. */
struct runner_stop_word {
	char *text;
	size_t n, state;
	size_t *fail; /* [n], the state to fall back to when byte i does not match */
};

struct runner_stop {
	struct runner_stop_word *words; /* [n_word] */
	size_t n_word;
	struct str held;
	bool matched;
};

/* Copies the strings; empty ones are left out. ERR_INVALID past the limits above. */
int runner_stop_init(struct runner_stop *s, char *const *texts, size_t n_text, struct err *err);
void runner_stop_release(struct runner_stop *s);
/* Feeds n bytes and appends to out what can be released. True when a stop string was found, from then on for ever. */
bool runner_stop_push(struct runner_stop *s, const char *p, size_t n, struct str *out);
/* The end of the stream: appends what was held back, unless a stop string was found. */
void runner_stop_flush(struct runner_stop *s, struct str *out);

#endif
