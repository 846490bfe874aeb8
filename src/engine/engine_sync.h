/* engine_sync: one sequence from beginning to end on the calling thread's time. For probes and tests. */
#ifndef CRIA_ENGINE_SYNC_H
#define CRIA_ENGINE_SYNC_H

#include "engine/engine.h"

/* Submits cfg and waits for its end; cfg's own hooks, on_end too, are called on the engine thread as usual. Returns 0 or
 * the error that kept it from starting or ended it. ret_end and ret_stats may be NULL. */
int engine_sync_run(struct engine *e, const struct seq_cfg *cfg, enum seq_end *ret_end, struct seq_stats *ret_stats,
		    struct err *err);

#endif
