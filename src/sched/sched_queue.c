#include "sched/sched_queue.h"

#include "base/mem.h"

static struct sched_job **slot(const struct sched_queue *q, uint64_t id)
{
	return (struct sched_job **)&q->buckets[id % SCHED_QUEUE_BUCKETS];
}

void sched_queue_push(struct sched_queue *q, struct sched_list *list, struct sched_job *j)
{
	j->id = ++q->last_id;
	struct sched_job **at = slot(q, j->id);
	j->hash_next = *at;
	*at = j;
	j->next = NULL;
	j->prev = list->last;
	if (list->last)
		list->last->next = j;
	else
		list->first = j;
	list->last = j;
	list->n++;
	q->n++;
}

struct sched_job *sched_queue_find(const struct sched_queue *q, uint64_t id)
{
	struct sched_job *j = *slot(q, id);
	while (j && j->id != id)
		j = j->hash_next;
	return j;
}

void sched_queue_remove(struct sched_queue *q, struct sched_list *list, struct sched_job *j)
{
	struct sched_job **at = slot(q, j->id);
	while (*at != j)
		at = &(*at)->hash_next;
	*at = j->hash_next;
	if (j->prev)
		j->prev->next = j->next;
	else
		list->first = j->next;
	if (j->next)
		j->next->prev = j->prev;
	else
		list->last = j->prev;
	list->n--;
	q->n--;
	sched_queue_free_job(j);
}

size_t sched_queue_n_waiting(const struct sched_list *list)
{
	size_t n = 0;
	for (const struct sched_job *j = list->first; j; j = j->next)
		n += j->n_event == 0 && !j->canceled;
	return n;
}

void sched_queue_free_job(struct sched_job *j)
{
	str_release(&j->gen);
	mem_free(j);
}
