#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "engine/mt19937.h"

const struct sampler_cfg sampler_cfg_default = {
	.seed = -1,
	.temperature = 0.8f,
	.top_k = 40,
	.top_p = 0.9f,
	.min_p = 0,
	.typical_p = 1,
	.repeat_last_n = 64,
	.repeat_penalty = 1,
	.presence_penalty = 0,
	.frequency_penalty = 0,
};

struct cand {
	float logit;
	int id;
	float p, key; /* of the step that needs them */
};

/* The row is searched in blocks of so many logits: the largest of a block mostly dismisses it. */
enum { BLOCK = 256 };

struct sampler {
	struct sampler_cfg cfg;
	const struct kern *kern;
	struct mt19937 rng;
	int n_vocab;
	struct cand *cands; /* [n_cand_max] */
	size_t n_cand_max;
	int *last;          /* ring of the latest n_last_max tokens */
	size_t n_last_max, n_last, i_last;
	float *before;      /* [n_last_max] what the logits of penalized tokens were */
	int *count;         /* [n_vocab] how often each token is in the ring; negated while penalize has seen it */
};

static bool penalizes(const struct sampler_cfg *c)
{
	return c->repeat_last_n != 0 && (c->repeat_penalty != 1 || c->presence_penalty != 0 || c->frequency_penalty != 0);
}

static uint32_t random_seed(void)
{
	uint32_t seed = 0;
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		seed = (uint32_t)(uintptr_t)&seed;
	return seed;
}

/* Candidates that can be alive at once: greedy choice needs none, top_k bounds the rest. */
static size_t cands_needed(const struct sampler_cfg *c, int n_vocab)
{
	bool greedy = c->temperature <= 0 && !(c->typical_p < 1);
	if (greedy)
		return 1;
	return c->top_k > 0 && c->top_k < n_vocab ? (size_t)c->top_k : (size_t)n_vocab;
}

struct sampler *sampler_new(const struct sampler_cfg *cfg, const struct kern *k, int n_vocab, int64_t n_ctx)
{
	struct sampler *s = mem_zalloc(sizeof *s);
	s->cfg = *cfg;
	s->kern = k;
	s->n_vocab = n_vocab;
	s->n_cand_max = cands_needed(cfg, n_vocab);
	s->cands = mem_calloc(s->n_cand_max, sizeof *s->cands);
	if (penalizes(cfg)) {
		int64_t n = cfg->repeat_last_n < 0 ? n_ctx : cfg->repeat_last_n;
		s->n_last_max = (size_t)(n < 1 ? 1 : n > n_ctx ? n_ctx : n);
		s->last = mem_calloc(s->n_last_max, sizeof *s->last);
		s->count = mem_calloc((size_t)n_vocab, sizeof *s->count);
		s->before = mem_calloc(s->n_last_max, sizeof *s->before);
	}
	mt19937_seed(&s->rng, cfg->seed < 0 ? random_seed() : (uint32_t)cfg->seed);
	return s;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	mem_free(s->before);
	mem_free(s->cands);
	mem_free(s->last);
	mem_free(s->count);
	mem_free(s);
}

void sampler_accept(struct sampler *s, int id)
{
	if (!s->n_last_max || id < 0 || id >= s->n_vocab)
		return;
	if (s->n_last < s->n_last_max)
		s->n_last++;
	else
		s->count[s->last[s->i_last]]--;
	s->last[s->i_last] = id;
	s->count[id]++;
	s->i_last = (s->i_last + 1) % s->n_last_max;
}

static void penalize(struct sampler *s, float *logits)
{
	const struct sampler_cfg *c = &s->cfg;
	for (size_t i = 0; i < s->n_last; i++) {
		int *n = &s->count[s->last[i]];
		float *l = &logits[s->last[i]];
		if (*n < 0)
			continue;
		s->before[i] = *l;
		*l = *l <= 0 ? *l * c->repeat_penalty : *l / c->repeat_penalty;
		*l -= (float)*n * c->frequency_penalty + c->presence_penalty;
		*n = -*n;
	}
}

/* Takes it back: each token's count is negative until the place that penalized it is met again. */
static void forgive(struct sampler *s, float *logits)
{
	for (size_t i = 0; i < s->n_last; i++) {
		int *n = &s->count[s->last[i]];
		if (*n > 0)
			continue;
		logits[s->last[i]] = s->before[i];
		*n = -*n;
	}
}

static float clean(float logit)
{
	return isnan(logit) ? -INFINITY : logit;
}

static int block_len(const struct sampler *s, int from)
{
	return s->n_vocab - from < BLOCK ? s->n_vocab - from : BLOCK;
}

static int argmax(const struct sampler *s, const float *logits)
{
	float top = -INFINITY;
	int best = -1;
	for (int i = 0; i < s->n_vocab; i += BLOCK) {
		float max = s->kern->max(logits + i, block_len(s, i));
		if (max > top) {
			top = max;
			best = i;
		}
	}
	while (best >= 0 && logits[best] != top)
		best++;
	return best < 0 ? 0 : best;
}

/* Larger logit first, then smaller id: a total order, so that every selection has one result. */
static bool before(const struct cand *a, const struct cand *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int by_logit(const void *a, const void *b)
{
	return before(a, b) ? -1 : 1;
}

static int by_key(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return by_logit(a, b);
}

/* Restores the heap whose root is the last of the chosen. */
static void sift_down(struct cand *heap, size_t n, size_t i)
{
	for (;;) {
		size_t last = i, l = 2 * i + 1, r = l + 1;
		if (l < n && before(&heap[last], &heap[l]))
			last = l;
		if (r < n && before(&heap[last], &heap[r]))
			last = r;
		if (last == i)
			return;
		struct cand t = heap[i];
		heap[i] = heap[last];
		heap[last] = t;
		i = last;
	}
}

/* The k best of all logits in order: most are dismissed by one comparison with the worst of the chosen. */
static size_t select_best(struct sampler *s, const float *logits, size_t k)
{
	struct cand *c = s->cands;
	for (size_t i = 0; i < k; i++)
		c[i] = (struct cand){.logit = clean(logits[i]), .id = (int)i};
	for (size_t i = k / 2; i-- > 0;)
		sift_down(c, k, i);
	for (int from = (int)k; from < s->n_vocab; from += BLOCK) {
		int n = block_len(s, from);
		if (!(s->kern->max(logits + from, n) > c[0].logit))
			continue;
		for (int i = from; i < from + n; i++)
			if (logits[i] > c[0].logit) {
				c[0] = (struct cand){.logit = logits[i], .id = i};
				sift_down(c, k, 0);
			}
	}
	qsort(c, k, sizeof *c, by_logit);
	return k;
}

static size_t take_all(struct sampler *s, const float *logits)
{
	for (int i = 0; i < s->n_vocab; i++)
		s->cands[i] = (struct cand){.logit = clean(logits[i]), .id = i};
	return (size_t)s->n_vocab;
}

/* p of each candidate; returns false when none has any probability. */
static bool probabilities(struct cand *c, size_t n)
{
	float max = -INFINITY;
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		max = c[i].logit > max ? c[i].logit : max;
	if (!isfinite(max))
		return false;
	for (size_t i = 0; i < n; i++)
		sum += c[i].p = expf(c[i].logit - max);
	for (size_t i = 0; i < n; i++)
		c[i].p = (float)(c[i].p / sum);
	return true;
}

/* Locally typical sampling (arXiv:2202.00666): nearest to the expected information first. */
static size_t keep_typical(struct cand *c, size_t n, float typical_p)
{
	double entropy = 0, sum = 0;
	if (!(typical_p < 1) || !probabilities(c, n))
		return n;
	for (size_t i = 0; i < n; i++)
		if (c[i].p > 0)
			entropy -= (double)c[i].p * log(c[i].p);
	for (size_t i = 0; i < n; i++)
		c[i].key = c[i].p > 0 ? (float)fabs(-log(c[i].p) - entropy) : INFINITY;
	qsort(c, n, sizeof *c, by_key);
	for (size_t i = 0; i < n; i++) {
		sum += c[i].p;
		if (sum > typical_p)
			return i + 1;
	}
	return n;
}

/* The first candidates, as many as make up top_p; n when all of them do not. */
static size_t nucleus(const struct cand *c, size_t n, float top_p, bool *reached)
{
	double sum = 0;
	*reached = true;
	for (size_t i = 0; i < n; i++) {
		sum += c[i].p;
		if (sum >= top_p)
			return i + 1;
	}
	*reached = false;
	return n;
}

/* Nucleus sampling (arXiv:1904.09751). */
static size_t keep_top_p(struct cand *c, size_t n, float top_p, bool sorted)
{
	bool reached;
	if (!(top_p < 1) || !probabilities(c, n))
		return n;
	if (!sorted)
		qsort(c, n, sizeof *c, by_logit);
	return nucleus(c, n, top_p, &reached);
}

/* The nucleus of the whole vocabulary without sorting all of it: more and more of the best are selected until they
 * reach top_p. Gives what take_all and keep_top_p give. */
static size_t nucleus_of_all(struct sampler *s, const float *logits)
{
	struct cand *c = s->cands;
	size_t n_vocab = (size_t)s->n_vocab;
	float max = clean(logits[argmax(s, logits)]);
	double sum = 0;
	bool reached = !isfinite(max);
	if (reached)
		return take_all(s, logits);
	for (size_t i = 0; i < n_vocab; i++)
		sum += expf(clean(logits[i]) - max);
	size_t n = 0;
	for (size_t k = 256; !reached; k *= 8) {
		k = k < n_vocab ? k : n_vocab;
		select_best(s, logits, k);
		for (size_t i = 0; i < k; i++)
			c[i].p = (float)(expf(c[i].logit - max) / sum);
		n = nucleus(c, k, s->cfg.top_p, &reached);
		reached |= k == n_vocab;
	}
	return n;
}

static size_t keep_min_p(struct cand *c, size_t n, float min_p)
{
	float max = -INFINITY;
	size_t kept = 0;
	if (!(min_p > 0))
		return n;
	for (size_t i = 0; i < n; i++)
		max = c[i].logit > max ? c[i].logit : max;
	float least = max + logf(min_p);
	for (size_t i = 0; i < n; i++)
		if (c[i].logit >= least)
			c[kept++] = c[i];
	return kept ? kept : n;
}

static int best_of(const struct cand *c, size_t n)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (before(&c[i], &c[best]))
			best = i;
	return c[best].id;
}

/* The first candidate whose running sum reaches a uniform share of the whole. */
static int draw(struct sampler *s, struct cand *c, size_t n)
{
	float max = -INFINITY;
	double sum = 0, running = 0;
	for (size_t i = 0; i < n; i++)
		max = c[i].logit > max ? c[i].logit : max;
	double u = mt19937_unit(&s->rng);
	if (!isfinite(max))
		return best_of(c, n);
	for (size_t i = 0; i < n; i++)
		sum += c[i].p = expf(c[i].logit - max);
	for (size_t i = 0; i < n; i++) {
		running += c[i].p;
		if (running >= u * sum)
			return c[i].id;
	}
	return c[n - 1].id;
}

static int choose(struct sampler *s, const float *logits)
{
	const struct sampler_cfg *cfg = &s->cfg;
	if (s->n_cand_max == 1)
		return argmax(s, logits);
	bool bounded = cfg->top_k > 0, typical = cfg->typical_p < 1;
	size_t n;
	if (!bounded && !typical && cfg->top_p < 1) {
		n = nucleus_of_all(s, logits);
	} else {
		n = bounded ? select_best(s, logits, s->n_cand_max) : take_all(s, logits);
		n = keep_typical(s->cands, n, cfg->typical_p);
		n = keep_top_p(s->cands, n, cfg->top_p, bounded && !typical);
	}
	n = keep_min_p(s->cands, n, cfg->min_p);
	if (cfg->temperature <= 0)
		return best_of(s->cands, n);
	for (size_t i = 0; i < n; i++)
		s->cands[i].logit /= cfg->temperature;
	return draw(s, s->cands, n);
}

int sampler_draw(struct sampler *s, float *logits)
{
	penalize(s, logits);
	int id = choose(s, logits);
	forgive(s, logits);
	return id;
}
