/* prefix: the pages of earlier sequences, kept so that a sequence that begins the same way does not compute them again.
 *
 * A tree whose nodes are full pages: a node is the items of one page, below the node of the page before it; its hash
 * continues its parent's, and a first page's that of an isolation domain. The hash only finds candidates: items, parent and
 * domain are compared, so equal hashes never mix two texts.
 *
 * Where a text parts from a stored one inside a page, the page's beginning is copied into a page of the sequence's own
 * (prefix_copy): the items behind it are written anew. For this the last page of a sequence that has ended is kept too,
 * though it is not full; nothing goes on behind such a node.
 *
 * A node holds one page of each memory group. Windowed groups may lack theirs: the page of a window that everyone has passed
 * is given up on its own. A sequence can go on after a node when every group has what the next item sees.
 *
 * Owner: the tree holds each of its pages once (kv_share); what sequences hold beside it is theirs. Nodes that a sequence
 * stands on, and all above them, stay; the rest goes, least recently used first, when somebody asks.
 *
 * Thread rule: the engine thread only, after prefix_new. Nothing else here allocates. */
#ifndef CRIA_ENGINE_PREFIX_H
#define CRIA_ENGINE_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/kv.h"
#include "engine/seq_mem.h"

struct prefix;

/* Where a sequence stands: the node of its page n_page - 1. All zero but the domain: nowhere yet. */
struct prefix_at {
	uint64_t domain;
	uint32_t i_node; /* 0: none */
	uint32_t n_page; /* pages of the sequence that the tree knows */
};

/* `off`: a tree that keeps nothing. */
int prefix_new(struct kv *kv, bool off, struct prefix **ret, struct err *err);
void prefix_free(struct prefix *p); /* nobody may stand in it */

/* Looks for stored pages behind the n_done items that a sequence has, up to item n_max, puts them into its tables and
 * returns how many items it has now. Pages of its own that the found ones replace are dropped. */
int64_t prefix_extend(struct prefix *p, struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done, int64_t n_max);
/* For a sequence whose n_done items end with a page that the tree knows: copies as much of a page stored behind it as the
 * next items, up to n_max, have in common with it, and returns how many items it has now. */
int64_t prefix_copy(struct prefix *p, const struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done,
		    int64_t n_max);
/* How many items, up to n_max, prefix_extend would find for a sequence that has none. */
int64_t prefix_n_stored(const struct prefix *p, uint64_t domain, const int *ids, int64_t n_max);
/* Enters the full pages among the first n_done items of a sequence, whose contents must be final: nobody writes them again.
 * A page that the tree has already takes the place of the sequence's own. */
void prefix_put(struct prefix *p, struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done);
/* Enters what is behind the full pages of a sequence that goes no further. */
void prefix_put_rest(struct prefix *p, const struct prefix_at *at, const struct seq_mem *mem, const int *ids, int64_t n_done);
/* The sequence stands nowhere from now on; its pages remain its own. */
void prefix_leave(struct prefix *p, struct prefix_at *at);

/* Gives up what was not used for longest: a last node, or the windowed pages of any. False when nothing can be. */
bool prefix_evict(struct prefix *p);
/* Evicts until the tree holds at most n_bytes, if it can. */
void prefix_shrink(struct prefix *p, size_t n_bytes);

size_t prefix_bytes(const struct prefix *p);  /* of the pages it holds, those that sequences use too included */
bool prefix_is_off(const struct prefix *p);   /* nothing will ever be found */
uint32_t prefix_n_node(const struct prefix *p);

#endif
