/* model_exec: runs a model's recording over a batch of tokens on the pool.
 *
 * A step has a body, over all tokens of the batch, and a head, over the rows that were asked for, at most MODEL_HEAD_ROWS
 * at a time, so that logits take bounded memory however many are wanted.
 *
 * Owner: the executor owns its buffers, all allocated by model_exec_new; a step allocates nothing. KV pages, page tables
 * and the batch's arrays are the caller's. One executor is used by one thread at a time.
 *
 * One answer: a row's result depends on its sequence's tokens alone, not on the batch, its cuts or the threads. */
#ifndef CRIA_MODEL_EXEC_H
#define CRIA_MODEL_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kern/pool.h"
#include "model/model.h"

enum { MODEL_HEAD_ROWS = 32 };

/* One sequence's part of a step: rows row0 .. row0 + n of the batch are its items index .. index + n. */
struct model_seg {
	int row0, n;
	int64_t index;
	const uint32_t *const *pages; /* [groups] page tables: entry i is the page of items 32 i .. 32 i + 31 */
};

struct model_batch {
	int n_tok;
	const int *ids;     /* [n_tok] */
	const int *pos;     /* [n_tok] positions, which may differ from the item's index */
	const int *row_seg; /* [n_tok] index into segs */
	int n_seg;
	const struct model_seg *segs;
};

struct model_exec;

/* For batches of up to n_tok_max tokens. */
int model_exec_new(const struct model *m, struct pool *pool, int n_tok_max, struct model_exec **ret, struct err *err);
void model_exec_free(struct model_exec *x);

/* Memory groups of the model: layers that share page tables. */
int model_n_group(const struct model *m);
int64_t model_group_window(const struct model *m, int group); /* 0: all positions are kept */
size_t model_group_block_bytes(const struct model *m, int group);
/* Page i of the group is at base + i * block_bytes. */
void model_exec_set_pages(struct model_exec *x, int group, uint8_t *base, size_t block_bytes);

/* Body, then head for the first out_rows (n_out may be 0). */
void model_exec_step(struct model_exec *x, const struct model_batch *b, const int *out_rows, int n_out, bool want_logits);
/* Head again, for other rows of the same step. */
void model_exec_head(struct model_exec *x, const int *out_rows, int n_out, bool want_logits);
/* Results of the last head run: row i of out_rows. */
float *model_exec_logits(const struct model_exec *x, int i);       /* [n_vocab]; may be written to until the next run */
const float *model_exec_embd(const struct model_exec *x, int i);   /* [n_embd] */

#endif
