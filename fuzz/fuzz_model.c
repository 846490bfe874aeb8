/* layer: engine */
/* A model file of any bytes: loading refuses it or gives a model that can be run. Large shapes are left out to keep the
 * search fast. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine_sync.h"
#include "gguf/gguf.h"
#include "kern/pool.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct model *m, struct pool *pool)
{
	struct engine_cfg ec = {.pool = pool, .n_ctx_max = 16, .n_step_tok = 4};
	struct engine *e;
	struct err err;
	int n_vocab = model_n_vocab(m), ids[6];
	for (int i = 0; i < 6; i++)
		ids[i] = i * 5 % n_vocab;
	if (engine_new(m, &ec, &e, &err))
		return;
	struct seq_cfg c = {.ids = ids, .n_ids = 6, .n_predict = 3, .sampler = sampler_cfg_default};
	c.sampler.seed = 1;
	c.embed = model_is_encoder(m);
	engine_sync_run(e, &c, NULL, NULL, &err);
	engine_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pool *pool;
	const struct kern *k;
	struct gguf *g;
	struct model *m;
	struct err err;
	if (!pool)
		pool = pool_new(1);
	if (size > 64 * 1024 || kern_choose("ref", NULL, &k, &err))
		return 0;
	void *copy = mem_try_aligned(64, size + 64);
	memcpy(copy, data, size);
	if (gguf_open_mem(copy, size, &g, &err) == 0) {
		if (model_new(g, k, k->kv_type, pool, 0, NULL, NULL, &m, &err) == 0) {
			run(m, pool);
			model_free(m);
		}
		gguf_close(g);
	}
	mem_free(copy);
	return 0;
}
