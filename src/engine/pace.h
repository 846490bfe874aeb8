/* pace: how many prompt tokens a step may take, learnt from how long steps last.
 *
 * While nobody generates, bites are large: that costs less for a token, and only a cancellation waits for the step. Beside
 * sequences that generate, a step may last PACE_RATIO times as long as one that only generates, so that nobody's next token
 * is late; where more prompts than generating sequences wait, it may last as long as all would wait for an equal share of
 * the machine, up to a quarter of a second. So prompts always get at least (PACE_RATIO - 1) / PACE_RATIO of the time, 3/8,
 * and never less than PACE_MIN tokens of a step: a prompt takes at most about three times what it takes alone, and as many
 * times more as there are others.
 *
 * What a step without prompts lasts is measured for each number of generating sequences; where it is not known, or long ago,
 * one step takes no prompt tokens.
 *
 * Thread rule: the engine thread only. Reads no clock. */
#ifndef CRIA_ENGINE_PACE_H
#define CRIA_ENGINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_SIZES = 64, PACE_MIN = 4 };
#define PACE_RATIO 1.6

struct pace {
	int n_budget;      /* tokens of a step */
	int alone;         /* prompt tokens of a step while nobody generates */
	double tok_ns;     /* what a prompt token costs beside others; 0: not known */
	int64_t i_step;    /* steps learnt from */
	int64_t i_probe;   /* the last one that measured */
	struct {
		double ns; /* 0: not known */
		int64_t i_step;
	} decode[PACE_SIZES]; /* a step of i + 1 generating sequences, or more for the last */
};

void pace_init(struct pace *p, int n_budget);
/* Prompt tokens of the next step, with n_decode generating sequences and n_prefill prompts; 0 only where n_decode is not. */
int pace_allow(struct pace *p, int n_decode, int n_prefill);
/* What a step of n_decode generating sequences lasts; 0: not known, or measured too long ago. */
double pace_decode_ns(const struct pace *p, int n_decode);
/* A step with n_prompt prompt tokens; `full`: as many as were allowed. */
void pace_learn(struct pace *p, int n_decode, int n_prompt, bool full, int64_t took_ns);
/* A step that is like none of these. */
void pace_pass(struct pace *p);

#endif
