/* runner_tokens: the way of drawn tokens from the engine thread, which goes on with the next step, to the token thread, which
 * makes text of them.
 *
 * A lane is the way of one sequence. It holds at most RUNNER_LANE_MAX tokens: where the token thread is further behind, the
 * engine thread waits for it, so that memory is bounded and an answer that has ended is noticed soon.
 *
 * Owner: a lane is its sequence's, zeroed but for `take`; it stays in place until `take` was told that it ended, and may be
 * used again then.
 * Locks: the queue's own is a leaf; nothing is called under it. */
#ifndef CRIA_RUNNER_TOKENS_H
#define CRIA_RUNNER_TOKENS_H

#include <pthread.h>
#include <stdbool.h>

enum { RUNNER_LANE_MAX = 8 };

struct runner_logprob;

struct runner_token {
	int id;
	bool eog;
	struct runner_logprob *logprob; /* the receiver's; NULL: not asked for */
};

struct runner_lane {
	/* Token thread: what came since the last call, in order; `ended`: it was the last call. */
	void (*take)(struct runner_lane *lane, const struct runner_token *tokens, int n, bool ended);
	struct runner_lane *next; /* in the queue of lanes that hold something */
	bool queued, ended;
	int n;
	struct runner_token tokens[RUNNER_LANE_MAX];
};

struct runner_tokens {
	pthread_mutex_t lock;
	pthread_cond_t news, room;
	struct runner_lane *head, **tail;
};

void runner_tokens_init(struct runner_tokens *q);

/* Engine thread. `last`: nothing follows soon, so that the token thread begins. */
void runner_tokens_push(struct runner_tokens *q, struct runner_lane *lane, const struct runner_token *tok, bool last);
void runner_tokens_end(struct runner_tokens *q, struct runner_lane *lane);
/* Token thread: waits until a lane holds something, and calls `take` of all that do. */
void runner_tokens_serve(struct runner_tokens *q);

#endif
