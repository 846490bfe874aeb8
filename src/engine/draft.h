/* draft: guesses how a text goes on from what it said before. The longest end of the text that occurred earlier is looked
 * up, and what followed there is proposed: copies of the prompt, code that is repeated with small changes, lists, loops.
 * No second model, no arithmetic worth mentioning; the target model checks every guess.
 *
 * Earlier places are found through chains of positions that begin with the same few tokens, as compressors of the LZ77
 * family do, so a lookup looks at a bounded number of places whatever the text. How often guesses came true is kept for
 * matches of each length class: long matches are nearly always right in a copy, short ones hardly ever in free text.
 *
 * Owner: one draft belongs to one sequence and knows only that sequence's tokens. Thread rule: one thread at a time; after
 * draft_new nothing is allocated. */
#ifndef CRIA_ENGINE_DRAFT_H
#define CRIA_ENGINE_DRAFT_H

#include <stdint.h>

enum { DRAFT_MAX = 15 }; /* most tokens proposed at once */

struct draft;

/* For texts of up to n_max tokens. NULL when there is not enough memory. */
struct draft *draft_new(int64_t n_max);
void draft_free(struct draft *d);

/* The text is ids[0 .. n); it only grows from call to call, and what was there stays. Writes up to n_most (at most DRAFT_MAX)
 * proposed tokens to ids[n ..], for which there must be room, and returns how many. */
int draft_find(struct draft *d, int *ids, int64_t n, int n_most);
/* How likely each token of the last proposal is right, given that the ones before it are: 0 to 1. */
double draft_chance(const struct draft *d);
/* Of the last proposal n_tried tokens were checked in order, of which the first n_right were right. With n_tried 0 it was
 * not worth trying: the chance grows a little, so that it will be tried again some day. */
void draft_learn(struct draft *d, int n_tried, int n_right);

#endif
