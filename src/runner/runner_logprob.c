#include "runner/runner_logprob.h"

#include <math.h>

#include "base/utf8.h"

double runner_logprob_norm(const float *logits, int n_vocab)
{
	double max = -INFINITY, sum = 0;
	for (int i = 0; i < n_vocab; i++)
		if (logits[i] > max)
			max = logits[i];
	if (!isfinite(max))
		return max;
	for (int i = 0; i < n_vocab; i++)
		if (!isnan(logits[i]))
			sum += exp(logits[i] - max);
	return max + log(sum);
}

int runner_logprob_top(const float *logits, int n_vocab, int k, double norm, struct runner_logprob_item *ret)
{
	int n = 0;
	for (int id = 0; id < n_vocab && k > 0; id++) {
		double lp = logits[id] - norm;
		if (isnan(lp) || (n == k && lp <= ret[n - 1].logprob))
			continue;
		int at = n < k ? n++ : n - 1;
		for (; at > 0 && ret[at - 1].logprob < lp; at--)
			ret[at] = ret[at - 1];
		ret[at] = (struct runner_logprob_item){id, lp};
	}
	return n;
}

void runner_logprob_of(const float *logits, int n_vocab, int id, int k, struct runner_logprob *ret)
{
	double norm = runner_logprob_norm(logits, n_vocab);
	ret->chosen = (struct runner_logprob_item){id, logits[id] - norm};
	ret->n_top = runner_logprob_top(logits, n_vocab, k < RUNNER_LOGPROB_TOP_MAX ? k : RUNNER_LOGPROB_TOP_MAX, norm, ret->top);
}

static json_t *item_json(const struct runner_logprob_item *item, const struct tok *t)
{
	struct str piece = {0}, text = {0};
	tok_piece(t, item->id, true, &piece);
	json_t *bytes = json_array();
	for (size_t i = 0; i < piece.len; i++)
		json_array_append_new(bytes, json_integer((unsigned char)piece.data[i]));
	for (size_t i = 0; i < piece.len;) {
		uint32_t cp;
		i += utf8_next(piece.data + i, piece.len - i, &cp);
		str_add_cp(&text, cp);
	}
	json_t *o = json_object();
	json_object_set_new(o, "token", json_stringn(str_cstr(&text), text.len));
	/* -inf has no form in JSON; the least float stands for it. */
	json_object_set_new(o, "logprob", json_real(isfinite(item->logprob) ? item->logprob : -3.4028234663852886e38));
	json_object_set_new(o, "bytes", bytes);
	str_release(&piece);
	str_release(&text);
	return o;
}

json_t *runner_logprob_json(const struct runner_logprob *lp, const struct tok *t)
{
	json_t *o = item_json(&lp->chosen, t);
	if (lp->n_top) {
		json_t *top = json_array();
		for (int i = 0; i < lp->n_top; i++)
			json_array_append_new(top, item_json(&lp->top[i], t));
		json_object_set_new(o, "top_logprobs", top);
	}
	return o;
}
