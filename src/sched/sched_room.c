/* sched_room: memory for a model that wants to start. It adds up what the running ones hold, unloads idle ones (shortest
 * keep-alive first), asks a busy one to end when no idle one is left, or says that the model never fits. Models that wait
 * are served in the order in which they came. */
#include "sched/sched_runner.h"

#include <limits.h>

#include "base/log.h"

struct room {
	int64_t avail_bytes;     /* what the model may use now */
	int64_t potential_bytes; /* what it could use if it were alone */
	int n_process;
	bool leaving;            /* a process is on its way out: its memory comes back soon */
};

static int64_t positive(int64_t v)
{
	return v > 0 ? v : 0;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Counts one running model. Its own pages are missing from the free memory already; its mapped ones, and what a loading one
 * will still take, are not. */
static void count(struct room *room, const struct sched_runner *r, int64_t *claimed, int64_t *freed)
{
	int64_t own, mapped;
	sched_mem_resident(r->child.pid, &own, &mapped);
	if (r->state == RUNNER_LOADING) {
		room->avail_bytes -= positive(r->plan.want_bytes - own);
			} else {
		room->avail_bytes -= mapped;
		*claimed += sched_runner_size_bytes(r);
	}
	*freed += own;
	room->n_process++;
	room->leaving |= r->state == RUNNER_DRAINING || r->state == RUNNER_DEAD;
}

static void measure(const struct sched_runner *me, struct room *room)
{
	int64_t measured = sched_mem_available(""), limit = me->s->cfg.mem_limit_bytes, claimed = 0, freed = 0;
	*room = (struct room){.avail_bytes = measured};
	for (const struct sched_runner *r = me->s->runners; r; r = r->next)
		if (r != me && sched_runner_has_process(r))
			count(room, r, &claimed, &freed);
	room->potential_bytes = sched_sum(measured, freed);
	if (limit > 0) {
		room->avail_bytes = least(room->avail_bytes, limit - claimed);
		room->potential_bytes = least(room->potential_bytes, limit);
	}
	room->avail_bytes = positive(room->avail_bytes);
}

/* Somebody else has waited longer for memory. */
static bool is_behind(const struct sched_runner *me)
{
	for (const struct sched_runner *r = me->s->runners; r; r = r->next)
		if (r != me && r->state == RUNNER_STARTING && r->prep.done && !r->prep.err.code && r->jobs.n && r->state_ns < me->state_ns)
			return true;
	return false;
}

/* The model in this state that leaves first: shortest keep-alive, then idle for longest. */
static struct sched_runner *victim(const struct sched_runner *me, enum sched_runner_state state)
{
	struct sched_runner *best = NULL;
	for (struct sched_runner *r = me->s->runners; r; r = r->next) {
		if (r == me || r->state != state)
			continue;
		if (!best || r->keep_ns < best->keep_ns || (r->keep_ns == best->keep_ns && r->idle_ns < best->idle_ns))
			best = r;
	}
	return best;
}

static int too_large(const struct sched_runner *r, int64_t least_bytes, const struct room *room, struct err *err)
{
	char need[SCHED_MEM_TEXT_BYTES], have[SCHED_MEM_TEXT_BYTES];
	sched_mem_text(least_bytes, need);
	sched_mem_text(room->potential_bytes, have);
	return err_set(err, ERR_NOMEM,
		       "model requires more system memory (%s) than is available (%s): %s does not fit, use a smaller model or free memory",
		       need, have, r->label);
}

static int grant(struct sched_runner *r, const struct room *room)
{
	sched_mem_plan(&r->prep.mem, r->s->cfg.n_ctx_default, room->avail_bytes, &r->plan);
	return 1;
}

int sched_room_make(struct sched_runner *r, struct err *err)
{
	int max_loaded = r->s->cfg.max_loaded > 0 ? r->s->cfg.max_loaded : INT_MAX;
	int64_t least_bytes = sched_mem_least(&r->prep.mem), want = sched_mem_want(&r->prep.mem, r->s->cfg.n_ctx_default);
	struct room room;
	if (is_behind(r))
		return 0;
	measure(r, &room);
	if (room.potential_bytes < least_bytes)
		return too_large(r, least_bytes, &room, err);
	bool free_slot = room.n_process < max_loaded;
	/* Nobody is unloaded for a wish that cannot come true. */
	if (free_slot && room.avail_bytes >= least(want, room.potential_bytes))
		return grant(r, &room);
	if (room.leaving)
		return 0;
	struct sched_runner *v = victim(r, RUNNER_READY);
	if (v) {
		log_info("runner model=%s unloads to make room for %s", v->label, r->label);
		sched_runner_quit(v);
		return 0;
	}
	if (free_slot && room.avail_bytes >= least_bytes)
		return grant(r, &room);
	v = victim(r, RUNNER_BUSY);
	if (v && !v->evict) {
		log_info("runner model=%s unloads when its requests are done, to make room for %s", v->label, r->label);
		v->evict = true;
	} else if (!v && room.n_process == 0) {
		return too_large(r, least_bytes, &room, err);
	}
	return 0;
}
