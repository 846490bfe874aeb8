/* kv: the pages that hold the memory of sequences.
 *
 * Each memory group of the model (layers that share page tables) has its own reserved range of addresses, cut into blocks
 * of one page for all layers of the group. Pages become usable memory in slabs, the lowest first, and kv_trim gives the
 * memory of unused pages back to the system. All groups draw on one budget of bytes.
 *
 * Pages are counted: a page that several holders share is free when the last one lets go.
 *
 * Thread rule: the engine thread only, after kv_new. Taking and freeing allocates nothing. */
#ifndef CRIA_ENGINE_KV_H
#define CRIA_ENGINE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model_exec.h"

struct kv;

int kv_new(const struct model *m, size_t budget_bytes, struct kv **ret, struct err *err);
void kv_free(struct kv *kv);

int kv_n_group(const struct kv *kv);
int64_t kv_window(const struct kv *kv, int group);
uint8_t *kv_base(const struct kv *kv, int group);
size_t kv_block_bytes(const struct kv *kv, int group);
size_t kv_budget_bytes(const struct kv *kv);
size_t kv_used_bytes(const struct kv *kv);

/* False when the budget is used up or the system has no memory. The page belongs to one holder. */
bool kv_take(struct kv *kv, int group, uint32_t *ret_page);
void kv_share(struct kv *kv, int group, uint32_t page); /* one more holder */
void kv_drop(struct kv *kv, int group, uint32_t page);  /* one holder less */
uint32_t kv_n_holder(const struct kv *kv, int group, uint32_t page);
/* Returns the memory of free pages to the system; called when there is nothing to do. */
void kv_trim(struct kv *kv);

/* Bytes that n tokens of one sequence need, when it is fed at most n_step tokens at a time. Saturates. */
size_t kv_bytes_for(const struct model *m, int64_t n_tok, int64_t n_step);
size_t kv_block_size(const struct model *m, int group);

#endif
