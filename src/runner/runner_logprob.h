/* runner_logprob: log-probabilities of one position, from the raw logits (before penalties and temperature). */
#ifndef CRIA_RUNNER_LOGPROB_H
#define CRIA_RUNNER_LOGPROB_H

#include <jansson.h>

#include "tok/tok.h"

enum { RUNNER_LOGPROB_TOP_MAX = 20 };

struct runner_logprob_item {
	int id;
	double logprob;
};

struct runner_logprob {
	struct runner_logprob_item chosen;
	struct runner_logprob_item top[RUNNER_LOGPROB_TOP_MAX]; /* [n_top], most likely first, lower id first on ties */
	int n_top;
};

/* ln of the sum of exp(logits); NaN counts as -inf. */
double runner_logprob_norm(const float *logits, int n_vocab);
/* The k greatest logits (k <= RUNNER_LOGPROB_TOP_MAX), as in `top` above; `logprob` is logit - norm. Returns how many. */
int runner_logprob_top(const float *logits, int n_vocab, int k, double norm, struct runner_logprob_item *ret);
void runner_logprob_of(const float *logits, int n_vocab, int id, int k, struct runner_logprob *ret);
/* {"token","logprob","bytes"} and, when k was asked for, "top_logprobs". Owned. */
json_t *runner_logprob_json(const struct runner_logprob *lp, const struct tok *t);

#endif
