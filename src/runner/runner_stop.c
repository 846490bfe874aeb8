#include "runner/runner_stop.h"

#include <string.h>

#include "base/mem.h"

static void word_init(struct runner_stop_word *w, const char *text, size_t n)
{
	*w = (struct runner_stop_word){.text = mem_strndup(text, n), .n = n, .fail = mem_calloc(n, sizeof *w->fail)};
	for (size_t i = 1, k = 0; i < n; i++) {
		while (k && w->text[i] != w->text[k])
			k = w->fail[k - 1];
		k += w->text[i] == w->text[k];
		w->fail[i] = k;
	}
}

int runner_stop_init(struct runner_stop *s, char *const *texts, size_t n_text, struct err *err)
{
	*s = (struct runner_stop){0};
	if (n_text > RUNNER_STOP_MAX)
		return err_set(err, ERR_INVALID, "%zu stop strings were given; at most %d are allowed", n_text, RUNNER_STOP_MAX);
	for (size_t i = 0; i < n_text; i++)
		if (strlen(texts[i]) > RUNNER_STOP_BYTES_MAX)
			return err_set(err, ERR_INVALID, "a stop string is %zu bytes long; at most %d are allowed", strlen(texts[i]),
				       RUNNER_STOP_BYTES_MAX);
	s->words = mem_calloc(n_text, sizeof *s->words);
	for (size_t i = 0; i < n_text; i++)
		if (*texts[i])
			word_init(&s->words[s->n_word++], texts[i], strlen(texts[i]));
	return 0;
}

void runner_stop_release(struct runner_stop *s)
{
	for (size_t i = 0; i < s->n_word; i++) {
		mem_free(s->words[i].text);
		mem_free(s->words[i].fail);
	}
	mem_free(s->words);
	str_release(&s->held);
	*s = (struct runner_stop){0};
}

/* True when the byte completes the word. A completed word is never fed again. */
static bool word_step(struct runner_stop_word *w, char c)
{
	while (w->state && w->text[w->state] != c)
		w->state = w->fail[w->state - 1];
	w->state += w->text[w->state] == c;
	return w->state == w->n;
}

bool runner_stop_push(struct runner_stop *s, const char *p, size_t n, struct str *out)
{
	if (s->matched)
		return true;
	size_t hold = 0; /* bytes at the end that may begin a stop string */
	size_t n_before = s->held.len;
	str_add(&s->held, p, n);
	for (size_t i = 0; i < n && !s->matched; i++) {
		size_t longest = 0;
		hold = 0;
		for (size_t k = 0; k < s->n_word; k++) {
			struct runner_stop_word *w = &s->words[k];
			if (word_step(w, p[i]) && w->n > longest)
				longest = w->n;
			if (w->state > hold)
				hold = w->state;
		}
		if (longest) {
			s->matched = true;
			str_truncate(&s->held, n_before + i + 1);
			hold = longest;
		}
	}
	if (n) {
		str_add(out, s->held.data, s->held.len - hold);
		str_cut_front(&s->held, s->held.len - hold);
	}
	return s->matched;
}

void runner_stop_flush(struct runner_stop *s, struct str *out)
{
	if (!s->matched && s->held.len)
		str_add(out, s->held.data, s->held.len);
	str_clear(&s->held);
}
