/* Weights of a recording: looked up by name, held to the shape that the architecture states, marked as used. */
#include "model/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "kern/quant/quant.h"

enum { NAME_BYTES = 96 };

void graph_fail(struct graph *g, int code, const char *fmt, ...)
{
	if (g->code)
		return;
	char text[768];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	g->code = err_set(g->err, code, "%s", text);
}

static void *zalloc(struct graph *g, size_t n, size_t size)
{
	size_t n_bytes;
	void *p = size_mul(n, size, &n_bytes) ? arena_zalloc(g->arena, n_bytes) : NULL;
	if (!p)
		graph_fail(g, ERR_NOMEM, "not enough memory for the model's tables");
	return p;
}

#define NAME_FROM_FMT(name, fmt)                                                                                       \
	char name[NAME_BYTES];                                                                                         \
	do {                                                                                                           \
		va_list ap_;                                                                                           \
		va_start(ap_, fmt);                                                                                    \
		vsnprintf(name, sizeof name, fmt, ap_);                                                                \
		va_end(ap_);                                                                                           \
	} while (0)

bool graph_has(const struct graph *g, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	return gguf_tensor(g->g, name) != NULL;
}

static size_t index_of(const struct graph *g, const struct gguf_tensor *t)
{
	return (size_t)(t - gguf_tensor_at(g->g, 0));
}

static void shape_text(const int64_t ne[4], int n_dims, char *out, size_t n_out)
{
	size_t n = 0;
	out[0] = '\0';
	for (int i = 0; i < n_dims && n < n_out; i++)
		n += (size_t)snprintf(out + n, n_out - n, "%s%lld", i ? ", " : "", (long long)ne[i]);
}

/* The tensor of this name with shape [n0, n1, n2], marked as used; NULL after a failure. */
static const struct gguf_tensor *take(struct graph *g, const char *name, int64_t n0, int64_t n1, int64_t n2)
{
	if (g->code)
		return NULL;
	const struct gguf_tensor *t = gguf_tensor(g->g, name);
	if (!t) {
		graph_fail(g, ERR_FORMAT, "the model has no tensor %s; the file is incomplete or of another kind", name);
		return NULL;
	}
	int64_t want[4] = {n0, n1, n2, 1};
	if (memcmp(t->ne, want, sizeof want)) {
		char is[96], must[96];
		shape_text(t->ne, t->n_dims > 0 ? t->n_dims : 1, is, sizeof is);
		shape_text(want, n2 > 1 ? 3 : n1 > 1 ? 2 : 1, must, sizeof must);
		graph_fail(g, ERR_FORMAT, "tensor %s has shape [%s]; by the model's metadata it must be [%s]", name, is, must);
		return NULL;
	}
	g->used[index_of(g, t)] = true;
	return t;
}

/* The matrix already made of rows [row0, row0 + n) of t, or NULL. */
static struct graph_mat *find_mat(const struct graph *g, const struct gguf_tensor *t, int64_t row0, int64_t n)
{
	for (size_t i = 0; i < g->mats.n; i++) {
		struct graph_mat *m = g->mats.data[i];
		if (m->t == t && m->row0 == row0 && m->w.n_out == n)
			return m;
	}
	return NULL;
}

static struct graph_mat *new_mat(struct graph *g, const struct gguf_tensor *t, int64_t n_in, int64_t row0, int64_t n)
{
	if (g->code)
		return NULL;
	struct graph_mat *m = zalloc(g, 1, sizeof *m);
	if (!m)
		return NULL;
	int64_t n_rows = t->n_elem / n_in;
	size_t row_bytes = t->n_bytes / (size_t)n_rows;
	m->t = t;
	m->row0 = row0;
	int rc = kern_mat_init(g->k, &m->w, t->type, n_in, n, t->data + (size_t)row0 * row_bytes, g->err);
	if (rc) {
		g->code = err_prefix(g->err, "tensor %s", t->name);
		return NULL;
	}
	vec_push(&g->mats, m);
	return m;
}

struct graph_mat *graph_mat(struct graph *g, int64_t n_in, int64_t n_out, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	const struct gguf_tensor *t = take(g, name, n_in, n_out, 1);
	struct graph_mat *m = t ? find_mat(g, t, 0, n_out) : NULL;
	return m || !t ? m : new_mat(g, t, n_in, 0, n_out);
}

struct graph_mat *graph_mat_part(struct graph *g, int64_t n_in, int64_t n_out, int64_t r0, int64_t n, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	BUG_ON(r0 < 0 || n < 1 || r0 + n > n_out);
	const struct gguf_tensor *t = take(g, name, n_in, n_out, 1);
	return t ? new_mat(g, t, n_in, r0, n) : NULL;
}

const struct graph_experts *graph_experts(struct graph *g, int64_t n_in, int64_t n_out, int n_expert, const char *stem_fmt, ...)
{
	NAME_FROM_FMT(stem, stem_fmt);
	char name[NAME_BYTES + 32];
	struct graph_experts *e = zalloc(g, 1, sizeof *e);
	if (!e)
		return NULL;
	e->n = n_expert;
	e->mats = zalloc(g, (size_t)n_expert, sizeof *e->mats);
	snprintf(name, sizeof name, "%s_exps.weight", stem);
	bool stacked = gguf_tensor(g->g, name) != NULL;
	const struct gguf_tensor *t = NULL;
	for (int i = 0; i < n_expert && !g->code; i++) {
		if (!stacked)
			snprintf(name, sizeof name, "%s.%d.weight", stem, i);
		if (!stacked || i == 0)
			t = take(g, name, n_in, n_out, stacked ? n_expert : 1);
		if (t)
			e->mats[i] = new_mat(g, t, n_in, stacked ? i * n_out : 0, n_out);
		if (!e->mats[i])
			break;
		e->mats[i]->multiplied = true;
		if (t->type != e->mats[0]->w.type)
			graph_fail(g, ERR_UNSUPPORTED, "tensor %s and the first expert's differ in type; the experts of a layer "
				   "must share one", name);
	}
	return g->code ? NULL : e;
}

/* Values [i0, i0 + n) of t's row `row` as f32 on a 64-byte boundary. */
static const float *floats_of(struct graph *g, const struct gguf_tensor *t, int64_t row, int64_t i0, int64_t n)
{
	const struct quant *q = quant_for(t->type);
	if (!q) {
		graph_fail(g, ERR_UNSUPPORTED, "tensor %s has a type that cannot be computed with; supported: %s", t->name,
			   quant_names());
		return NULL;
	}
	/* Whole rows are converted, as a quantized block may straddle the range. */
	char *all = zalloc(g, (size_t)t->ne[0] + 32, sizeof(float));
	char *part = zalloc(g, (size_t)n + 32, sizeof(float));
	if (!all || !part)
		return NULL;
	float *row_f32 = (float *)(void *)(all + (-(uintptr_t)all & 63));
	float *ret = (float *)(void *)(part + (-(uintptr_t)part & 63));
	q->to_f32(t->data + (size_t)row * (t->n_bytes / (size_t)(t->n_elem / t->ne[0])), row_f32, t->ne[0]);
	memcpy(ret, row_f32 + i0, (size_t)n * sizeof *ret);
	return ret;
}

const float *graph_vec(struct graph *g, int64_t n, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	const struct gguf_tensor *t = take(g, name, n, 1, 1);
	return t ? floats_of(g, t, 0, 0, n) : NULL;
}

const float *graph_vec_opt(struct graph *g, int64_t n, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	if (!gguf_tensor(g->g, name))
		return NULL;
	const struct gguf_tensor *t = take(g, name, n, 1, 1);
	return t ? floats_of(g, t, 0, 0, n) : NULL;
}

const float *graph_vec_part_opt(struct graph *g, int64_t n_all, int64_t i0, int64_t n, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	BUG_ON(i0 < 0 || n < 1 || i0 + n > n_all);
	if (!gguf_tensor(g->g, name))
		return NULL;
	const struct gguf_tensor *t = take(g, name, n_all, 1, 1);
	return t ? floats_of(g, t, 0, i0, n) : NULL;
}

const float *graph_row(struct graph *g, int64_t n, int64_t n_row, int64_t row, const char *fmt, ...)
{
	NAME_FROM_FMT(name, fmt);
	const struct gguf_tensor *t = take(g, name, n, n_row, 1);
	return t ? floats_of(g, t, row, 0, n) : NULL;
}
