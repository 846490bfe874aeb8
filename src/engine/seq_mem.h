/* seq_mem: the memory of one sequence: a page table for each memory group of the model. Full groups keep every position,
 * windowed groups only what a later token can still see.
 *
 * Owner: its pages, one hold each; the tables are allocated by seq_mem_init for the longest the sequence may get.
 * Thread rule: init and release anywhere while no engine runs it; the rest on the engine thread, without allocating. */
#ifndef CRIA_ENGINE_SEQ_MEM_H
#define CRIA_ENGINE_SEQ_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kv.h"

struct seq_table {
	uint32_t *pages;         /* entry i: items 32 i .. 32 i + 31; 0 where the window has passed */
	uint32_t n_begin, n_end; /* entries [n_begin, n_end) are held */
};

struct seq_mem {
	int n_group;
	struct seq_table *tables;    /* [n_group] */
	const uint32_t **page_lists; /* [n_group] tables[i].pages, the form that a batch takes */
};

/* False when there is not enough memory. */
bool seq_mem_init(struct seq_mem *s, int n_group, int64_t n_tok_max);
void seq_mem_release(struct seq_mem *s);

/* Holds pages for items up to n_tok, given that items before `next` are stored and no later token is to be computed
 * before `next`. False, with nothing changed but old window pages freed, when there are not enough. */
bool seq_mem_reserve(struct seq_mem *s, struct kv *kv, int64_t next, int64_t n_tok);
/* Forgets items from n_tok on. False when a window has already passed what a continuation at n_tok would need; that never
 * happens back to the last reserve's `next`. */
bool seq_mem_rollback(struct seq_mem *s, struct kv *kv, int64_t n_tok);
void seq_mem_drop(struct seq_mem *s, struct kv *kv); /* everything */
/* Makes room for pages that are stored already: the sequence keeps its first n_keep pages, less what a window at the end of
 * n_page pages has passed. The caller then sets the entries [n_keep, n_page) of each table that are not before its n_begin
 * to pages that it holds for the sequence. */
void seq_mem_jump(struct seq_mem *s, struct kv *kv, uint32_t n_keep, uint32_t n_page);
/* The first page of the group that item `next` can still see. */
uint32_t seq_mem_first_visible(const struct kv *kv, int group, int64_t next);
bool seq_mem_empty(const struct seq_mem *s);

#endif
