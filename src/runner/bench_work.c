/* What a token costs, from the tensor directory, and how much of the machine a result is. */
#include <stdio.h>
#include <string.h>

#include "model/model_exec.h"
#include "runner/bench_int.h"

static int64_t key_i64(const struct runner_load *l, const char *name)
{
	char key[160];
	int64_t v = 0;
	struct err ignored;
	snprintf(key, sizeof key, "%s.%s", model_arch(l->model), name);
	gguf_get_i64(l->gguf, key, &v, &ignored);
	return v;
}

/* Experts count by the share that is used. The table of embeddings is read by row, unless it is the output matrix too. */
void bench_work(const struct runner_load *l, struct bench_work *ret)
{
	const struct gguf *g = l->gguf;
	bool own_head = gguf_tensor(g, "output.weight") != NULL;
	int64_t n_expert = key_i64(l, "expert_count"), n_used = key_i64(l, "expert_used_count");
	*ret = (struct bench_work){0};
	for (size_t i = 0; i < gguf_n_tensor(g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(g, i);
		const struct kern_mat_ops *ops = kern_mat_ops_for(l->kern, t->type);
		bool embd = !strcmp(t->name, "token_embd.weight");
		if (t->n_dims < 2 || !ops || (embd && own_head) || strstr(t->name, "position_embd") || strstr(t->name, "token_types"))
			continue;
		double share = strstr(t->name, "_exps.") && n_expert > 0 ? (double)n_used / (double)n_expert : 1;
		ret->weight_bytes += share * (double)t->n_bytes;
		if (!embd && strcmp(t->name, "output.weight"))
			*(ops->act_kind == KERN_ACT_I8 ? &ret->i8 : &ret->f32) += share * (double)t->n_elem;
	}
}

double bench_kv_bytes(const struct model *m, double pos)
{
	double total = 0;
	for (int i = 0; i < model_n_group(m); i++) {
		double window = (double)model_group_window(m, i), n = window > 0 && window < pos ? window : pos;
		total += n * (double)model_group_block_bytes(m, i) / KERN_PAGE_TOK;
	}
	return total;
}

void bench_share(const struct model *m, const struct bench_machine *machine, const struct bench_work *work, struct bench_result *r)
{
	struct bench_stat s;
	bench_stat(r, &s);
	bool known = machine->mul_i8 > 0 && machine->mul_f32 > 0;
	r->mul_share = known ? s.mean * (work->i8 / machine->mul_i8 + work->f32 / machine->mul_f32) : -1;
	r->read_share = -1;
	if (!strcmp(r->what, "decode")) {
		double pos = (r->depth ? r->depth : BENCH_SHORT_TOK) + r->n_tok / 2.0;
		r->read_share = s.mean * (work->weight_bytes / r->n_stream + bench_kv_bytes(m, pos)) / machine->read;
	}
}
