#include "runner/runner_tokens.h"

#include <string.h>

void runner_tokens_init(struct runner_tokens *q)
{
	*q = (struct runner_tokens){.tail = &q->head};
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->news, NULL);
	pthread_cond_init(&q->room, NULL);
}

/* The lock is held. */
static void enqueue(struct runner_tokens *q, struct runner_lane *lane)
{
	if (lane->queued)
		return;
	lane->queued = true;
	lane->next = NULL;
	*q->tail = lane;
	q->tail = &lane->next;
}

void runner_tokens_push(struct runner_tokens *q, struct runner_lane *lane, const struct runner_token *tok, bool last)
{
	pthread_mutex_lock(&q->lock);
	while (lane->n == RUNNER_LANE_MAX) {
		pthread_cond_signal(&q->news);
		pthread_cond_wait(&q->room, &q->lock);
	}
	lane->tokens[lane->n++] = *tok;
	enqueue(q, lane);
	if (last)
		pthread_cond_signal(&q->news);
	pthread_mutex_unlock(&q->lock);
}

void runner_tokens_end(struct runner_tokens *q, struct runner_lane *lane)
{
	pthread_mutex_lock(&q->lock);
	lane->ended = true;
	enqueue(q, lane);
	pthread_cond_signal(&q->news);
	pthread_mutex_unlock(&q->lock);
}

/* Hands over what a lane holds and returns the lane behind it, as it was when they were queued. */
static struct runner_lane *serve(struct runner_tokens *q, struct runner_lane *lane)
{
	struct runner_token tokens[RUNNER_LANE_MAX];
	pthread_mutex_lock(&q->lock);
	struct runner_lane *next = lane->next;
	int n = lane->n;
	bool ended = lane->ended;
	memcpy(tokens, lane->tokens, (size_t)n * sizeof *tokens);
	lane->n = 0;
	lane->ended = lane->queued = false;
	pthread_cond_signal(&q->room);
	pthread_mutex_unlock(&q->lock);
	lane->take(lane, tokens, n, ended);
	return next;
}

void runner_tokens_serve(struct runner_tokens *q)
{
	pthread_mutex_lock(&q->lock);
	while (!q->head)
		pthread_cond_wait(&q->news, &q->lock);
	struct runner_lane *lane = q->head;
	q->head = NULL;
	q->tail = &q->head;
	pthread_mutex_unlock(&q->lock);
	while (lane)
		lane = serve(q, lane);
}
