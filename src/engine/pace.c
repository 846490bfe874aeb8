#include "engine/pace.h"

#include "base/clock.h"

/* A step without generating sequences aims at ALONE_NS, and no step that others wait for at more than SHARED_NS. */
static const double ALONE_NS = NS_PER_S, SHARED_NS = NS_PER_S / 4.0;

enum {
	ALONE_MIN = 64,  /* keeps bites worth reading the weights for */
	FRESH_STEPS = 64, /* a measurement is good for so many steps, */
	PROBE_STEPS = 8,  /* and is repeated no more often than this */
};

void pace_init(struct pace *p, int n_budget)
{
	*p = (struct pace){.n_budget = n_budget, .alone = n_budget, .i_probe = -PROBE_STEPS};
}

static int class_of(int n_decode)
{
	return (n_decode < PACE_SIZES ? n_decode : PACE_SIZES) - 1;
}

/* Of the nearest number of sequences that was measured; 0: none was. */
static double decode_ns(const struct pace *p, int n_decode)
{
	int at = class_of(n_decode);
	for (int d = 0; d < PACE_SIZES; d++) {
		if (at - d >= 0 && p->decode[at - d].ns > 0)
			return p->decode[at - d].ns;
		if (at + d < PACE_SIZES && p->decode[at + d].ns > 0)
			return p->decode[at + d].ns;
	}
	return 0;
}

double pace_decode_ns(const struct pace *p, int n_decode)
{
	int at = class_of(n_decode);
	return p->i_step - p->decode[at].i_step < FRESH_STEPS ? p->decode[at].ns : 0;
}

static bool must_probe(const struct pace *p, int n_decode)
{
	return pace_decode_ns(p, n_decode) <= 0 && p->i_step - p->i_probe >= PROBE_STEPS;
}

static int clamp(double n, int least, int most)
{
	least = least < most ? least : most;
	return n < least ? least : n > most ? most : (int)n;
}

int pace_allow(struct pace *p, int n_decode, int n_prefill)
{
	if (!n_decode)
		return p->alone;
	if (!n_prefill)
		return 0;
	if (must_probe(p, n_decode)) {
		p->i_probe = p->i_step;
		return 0;
	}
	double base = decode_ns(p, n_decode), goal = base * (1 + (double)n_prefill / n_decode);
	goal = goal < SHARED_NS ? goal : SHARED_NS;
	goal = goal > base * PACE_RATIO ? goal : base * PACE_RATIO;
	return clamp(p->tok_ns > 0 ? (goal - base) / p->tok_ns : 0, PACE_MIN, p->n_budget);
}

static void learn_alone(struct pace *p, double took_ns)
{
	if (took_ns > ALONE_NS)
		p->alone = clamp(p->alone * 0.75, ALONE_MIN, p->n_budget);
	else if (took_ns < ALONE_NS / 2)
		p->alone = clamp(p->alone * 1.25 + 1, ALONE_MIN, p->n_budget);
}

/* Quick to believe a shorter time, slow to believe a longer one: what disturbs a measurement makes it longer. */
static void learn_decode(struct pace *p, int n_decode, double took_ns)
{
	int at = class_of(n_decode);
	double *ns = &p->decode[at].ns;
	*ns = *ns > 0 && took_ns > *ns ? *ns + (took_ns - *ns) / 8 : *ns > 0 ? (*ns + took_ns) / 2 : took_ns;
	p->decode[at].i_step = p->i_step;
}

static void learn_tok(struct pace *p, int n_decode, int n_prompt, double took_ns)
{
	double base = decode_ns(p, n_decode), ns = (took_ns - base) / n_prompt;
	if (base <= 0)
		return;
	if (p->tok_ns <= 0) {
		p->tok_ns = ns > 0 ? ns : base / p->n_budget;
		return;
	}
	ns = ns < p->tok_ns / 2 ? p->tok_ns / 2 : ns > p->tok_ns * 2 ? p->tok_ns * 2 : ns;
	p->tok_ns += (ns - p->tok_ns) / 4;
}

void pace_pass(struct pace *p)
{
	p->i_step++;
}

void pace_learn(struct pace *p, int n_decode, int n_prompt, bool full, int64_t took_ns)
{
	p->i_step++;
	if (!n_decode) {
		if (full)
			learn_alone(p, (double)took_ns);
	} else if (n_prompt) {
		learn_tok(p, n_decode, n_prompt, (double)took_ns);
	} else {
		learn_decode(p, n_decode, (double)took_ns);
	}
}
