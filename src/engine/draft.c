#include "engine/draft.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

/* GRAM: the shortest match. PLACES_MAX: places that a lookup compares. MATCH_MAX: longer matches are not told apart. */
enum { GRAM = 3, PLACES_MAX = 16, MATCH_MAX = 32, BUCKETS_MIN = 1 << 8, BUCKETS_MAX = 1 << 16 };

/* Match lengths from which a class begins, and the chance it starts with. */
enum { N_CLASS = 4 };
static const struct {
	int from;
	double chance;
} classes[N_CLASS] = {{GRAM, 0.5}, {5, 0.6}, {8, 0.7}, {16, 0.8}};

/* Weight of one checked token in the chance of its class, and of one chance not taken in the way back to the start. */
static const double weight_new = 1.0 / 8, weight_back = 1.0 / 256;

/* A place is the index of the token that followed a gram; 0: none, as nothing comes before the first token. */
struct draft {
	int64_t n_max, n_known; /* n_known: places [GRAM, n_known) are entered */
	uint32_t *heads, mask;  /* [mask + 1] the latest place of each hash */
	uint32_t *prev;         /* [n_max] the place before it with the same hash */
	int64_t n_last, src;    /* the last proposal: length of the text, and the place it was taken from; src 0: none */
	int i_class;
	double chance[N_CLASS];
};

struct draft *draft_new(int64_t n_max)
{
	size_t n_bucket = BUCKETS_MIN;
	while (n_bucket < BUCKETS_MAX && (int64_t)n_bucket < n_max)
		n_bucket *= 2;
	struct draft *d = mem_zalloc(sizeof *d);
	d->n_max = n_max;
	d->n_known = GRAM;
	d->mask = (uint32_t)n_bucket - 1;
	d->heads = mem_try_alloc(n_bucket * sizeof *d->heads);
	d->prev = mem_try_alloc((size_t)n_max * sizeof *d->prev);
	if (!d->heads || !d->prev) {
		draft_free(d);
		return NULL;
	}
	memset(d->heads, 0, n_bucket * sizeof *d->heads);
	for (int i = 0; i < N_CLASS; i++)
		d->chance[i] = classes[i].chance;
	return d;
}

void draft_free(struct draft *d)
{
	if (!d)
		return;
	mem_free(d->heads);
	mem_free(d->prev);
	mem_free(d);
}

/* The bucket of the gram that ends before place i. */
static uint32_t *bucket(const struct draft *d, const int *ids, int64_t i)
{
	uint64_t h = 0;
	for (int k = 1; k <= GRAM; k++)
		h = (h ^ (uint32_t)ids[i - k]) * 0x9e3779b97f4a7c15u;
	return &d->heads[(h >> 40) & d->mask];
}

static void enter_until(struct draft *d, const int *ids, int64_t n)
{
	for (; d->n_known < n; d->n_known++) {
		uint32_t *head = bucket(d, ids, d->n_known);
		d->prev[d->n_known] = *head;
		*head = (uint32_t)d->n_known;
	}
}

/* How many tokens before place i equal the last ones of the text. */
static int match_len(const int *ids, int64_t n, int64_t i)
{
	int len = 0;
	while (len < MATCH_MAX && len < i && ids[i - 1 - len] == ids[n - 1 - len])
		len++;
	return len;
}

static bool better(const int *ids, int64_t n, int64_t i, int *best)
{
	int len = match_len(ids, n, i);
	if (len < GRAM || len <= *best)
		return false;
	*best = len;
	return true;
}

/* Sets d->src to the place with the longest match, the latest among equals. Where the last proposal came from, if it came
 * true, goes first: the chain may not reach back that far. */
static int find_place(struct draft *d, const int *ids, int64_t n)
{
	int64_t next = d->src ? d->src + (n - d->n_last) : 0;
	int best = 0;
	d->src = next && better(ids, n, next, &best) ? next : 0;
	int64_t i = *bucket(d, ids, n);
	for (int k = 0; i && k < PLACES_MAX && best < MATCH_MAX; k++, i = d->prev[i])
		if (better(ids, n, i, &best))
			d->src = i;
	return best;
}

int draft_find(struct draft *d, int *ids, int64_t n, int n_most)
{
	int room = (int)(d->n_max - n < DRAFT_MAX ? d->n_max - n : DRAFT_MAX);
	n_most = n_most < room ? n_most : room;
	if (n <= GRAM || n_most < 1)
		return 0;
	enter_until(d, ids, n);
	int len = find_place(d, ids, n);
	d->n_last = n;
	if (!d->src)
		return 0;
	d->i_class = 0;
	while (d->i_class + 1 < N_CLASS && len >= classes[d->i_class + 1].from)
		d->i_class++;
	/* A place near the end goes on with what is proposed: a loop is unrolled. */
	for (int i = 0; i < n_most; i++)
		ids[n + i] = ids[d->src + i];
	return n_most;
}

double draft_chance(const struct draft *d)
{
	return d->chance[d->i_class];
}

void draft_learn(struct draft *d, int n_tried, int n_right)
{
	double *p = &d->chance[d->i_class];
	if (!n_tried)
		*p += (classes[d->i_class].chance - *p) * weight_back;
	for (int i = 0; i < n_tried && i <= n_right; i++)
		*p += ((i < n_right) - *p) * weight_new;
}
