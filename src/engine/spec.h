/* spec: speculative decoding. A step in which every sequence decodes may carry, behind the next token of a sequence, the
 * tokens that its draft proposes. Each position is sampled from the model's own logits as ever, one draw for each token that
 * is given out; as long as the sample equals the guess, the next position's logits are valid too. The text is the same
 * whether anything was guessed or not, because a row's logits do not depend on the batch.
 *
 * Whether a guess is worth a row is a matter of time: what a step lasts without guesses is known to the pace, and what each
 * row more costs is learnt here. A row is taken when it raises the expected number of tokens per second. Where a step waits
 * for the weights, a row costs little; in a batch that is bound by arithmetic it costs its full share, and none is taken.
 *
 * Engine thread only. */
#ifndef CRIA_ENGINE_SPEC_H
#define CRIA_ENGINE_SPEC_H

#include <stdint.h>

#include "engine/seq.h"

struct engine;

/* All zero at the start. */
struct spec {
	double row_ns; /* each guess makes a step longer by so much; 0: not known */
};

/* A step of n_decode sequences and nothing else is planned: writes guesses behind the items of those that take part, and
 * lets them take that many more. */
void spec_plan(struct engine *e, int n_decode);
/* What the next token of s was guessed to be; -1: nothing. */
static inline int spec_guess(const struct seq *s)
{
	return s->n_right < s->n_draft ? s->ids[s->n_ids] : -1;
}
/* The new last token of s is what was guessed: it is an item whose keys and values are stored. */
void spec_accept(struct engine *e, struct seq *s);
/* After a step, for each sequence that goes on: wrong guesses leave its memory. */
void spec_settle(struct engine *e, struct seq *s);
/* A step with n_draft guesses took took_ns; base_ns: what it lasts without, 0 when that is not known. */
void spec_learn(struct spec *sp, double base_ns, int n_draft, int64_t took_ns);

#endif
