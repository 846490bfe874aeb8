/* Writing the new file. The threads take pieces of tensors (some rows each) from one counter, turn them into the new type in
 * buffers of their own, and write them where they belong: places are known beforehand, so nobody waits for anybody. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "convert/convert_model.h"
#include "kern/pool.h"
#include "kern/quant/quant.h"

enum {
	PIECE_VALUES = 1 << 18,  /* about 1 MiB of f32 at a time and thread */
	ROW_VALUES_MAX = 1 << 26 /* of one row; vocabularies, the longest dimension there is, are rows, not columns */
};

struct piece {
	size_t i_tensor;
	int64_t r0, r1;
};

struct writing {
	struct convert_model *m;
	const struct convert_job *job;
	VEC(struct piece) pieces;
	size_t n_value_max;      /* of a piece */
	uint64_t total;
	_Atomic size_t next;
	_Atomic uint64_t done;
	_Atomic bool failed;
	pthread_mutex_t lock;    /* guards err */
	struct err err;
};

int64_t convert_n_row(const struct convert_tensor *t)
{
	return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3] / t->row;
}

int64_t convert_source_row(const struct convert_tensor *t, int64_t r)
{
	if (!t->n_head)
		return r;
	int64_t n = convert_n_row(t) / t->n_head, head = r / n, i = r % n;
	return head * n + (i & 1) * (n / 2) + i / 2;
}

static size_t row_bytes(int type, int64_t n_value)
{
	const struct gguf_type_info *info = gguf_type_info(type);
	return (size_t)(n_value / info->block) * (size_t)info->bytes;
}

static bool is_plain_copy(const struct convert_tensor *t)
{
	return t->type == t->src_type && !t->n_head && t->add == 0;
}

static void fail(struct writing *w, int code, const char *fmt, const char *what, const char *why)
{
	pthread_mutex_lock(&w->lock);
	if (!atomic_exchange(&w->failed, true))
		err_set(&w->err, code, fmt, what, why);
	pthread_mutex_unlock(&w->lock);
}

static bool put(struct writing *w, const void *data, size_t n, uint64_t offset)
{
	const char *p = data;
	while (n) {
		ssize_t k = pwrite(w->job->fd_out, p, n, (off_t)offset);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			fail(w, ERR_IO, "%s: %s", "the new model file cannot be written", strerror(errno));
			return false;
		}
		p += k;
		n -= (size_t)k;
		offset += (uint64_t)k;
	}
	return true;
}

static bool all_finite(const float *x, int64_t n)
{
	uint32_t worst = 0;
	for (int64_t i = 0; i < n; i++) {
		uint32_t v;
		memcpy(&v, &x[i], sizeof v);
		v &= 0x7fffffff;
		worst = v > worst ? v : worst;
	}
	return worst < 0x7f800000;
}

/* Rows of a piece as f32, in their new order. */
static bool read_rows(struct writing *w, const struct convert_tensor *t, const struct piece *p, float *x)
{
	const struct quant *q = quant_for(t->src_type);
	size_t stride = row_bytes(t->src_type, t->row);
	for (int64_t r = p->r0; r < p->r1; r++)
		q->to_f32(t->src + (size_t)convert_source_row(t, r) * stride, x + (r - p->r0) * t->row, t->row);
	int64_t n = (p->r1 - p->r0) * t->row;
	for (int64_t i = 0; t->add != 0 && i < n; i++)
		x[i] += t->add;
	if (t->type != t->src_type && !all_finite(x, n)) {
		fail(w, ERR_FORMAT, "the tensor %s has %s: the model is damaged, download it again", t->name,
		     "values that are infinite or no numbers");
		return false;
	}
	return true;
}

static void convert_piece(struct writing *w, const struct piece *p, float *x, uint8_t *out)
{
	const struct convert_tensor *t = &w->m->tensors.data[p->i_tensor];
	size_t stride = row_bytes(t->type, t->row), n = (size_t)(p->r1 - p->r0) * stride;
	uint64_t offset = w->m->w.tensors.data[p->i_tensor].offset + (size_t)p->r0 * stride;
	if (is_plain_copy(t)) {
		put(w, t->src + (size_t)p->r0 * stride, n, offset);
	} else if (read_rows(w, t, p, x)) {
		quant_encoder(t->type)(x, out, (p->r1 - p->r0) * t->row);
		put(w, out, n, offset);
	}
	atomic_fetch_add(&w->done, n);
}

static void work(void *arg, int i_thread, int n_thread)
{
	(void)n_thread;
	struct writing *w = arg;
	int64_t told_ns = 0;
	float *x = mem_try_aligned(64, w->n_value_max * sizeof *x);
	uint8_t *out = mem_try_aligned(64, w->n_value_max * sizeof *x);
	if (!x || !out)
		fail(w, ERR_NOMEM, "%s%s", "not enough memory to convert the model", "");
	while (!atomic_load(&w->failed)) {
		size_t i = atomic_fetch_add(&w->next, 1);
		if (i >= w->pieces.n)
			break;
		convert_piece(w, &w->pieces.data[i], x, out);
		int64_t now_ns = i_thread == 0 ? clock_now_ns() : 0;
		if (i_thread == 0 && w->job->progress && now_ns - told_ns >= NS_PER_S / 10) {
			w->job->progress(w->job->user, atomic_load(&w->done), w->total);
			told_ns = now_ns;
		}
	}
	mem_free(x);
	mem_free(out);
}

static int check_tensor(const struct convert_tensor *t, struct err *err)
{
	if (is_plain_copy(t))
		return 0;
	if (!quant_for(t->src_type))
		return err_set(err, ERR_UNSUPPORTED, "the tensor %s has type %s, which can be copied but not turned into another; take "
						     "a file of another type", t->name, gguf_type_info(t->src_type)->name);
	if (t->row > ROW_VALUES_MAX)
		return err_set(err, ERR_LIMIT, "the tensor %s has rows of %lld values; at most %d can be converted", t->name,
			       (long long)t->row, ROW_VALUES_MAX);
	return 0;
}

static void cut(struct writing *w)
{
	for (size_t i = 0; i < w->m->tensors.n; i++) {
		const struct convert_tensor *t = &w->m->tensors.data[i];
		int64_t n_row = convert_n_row(t), step = t->row >= PIECE_VALUES ? 1 : PIECE_VALUES / t->row;
		if (!is_plain_copy(t) && (size_t)(step * t->row) > w->n_value_max)
			w->n_value_max = (size_t)(step * t->row);
		for (int64_t r = 0; r < n_row; r += step)
			vec_push(&w->pieces, ((struct piece){i, r, r + step < n_row ? r + step : n_row}));
	}
}

/* Zeros between the last tensor's end and its padding: a hole reads as zeros, but the file must reach its full size. */
static bool put_end(struct writing *w)
{
	return put(w, "", 1, w->total - 1);
}

static int run(struct writing *w, struct err *err)
{
	struct str head = {0};
	int rc = gguf_write_end(&w->m->w, &head, &w->total, err);
	if (!rc) {
		cut(w);
		struct pool *pool = pool_new(pool_n_threads(w->job->n_thread));
		if (w->total > head.len)
			put_end(w);
		put(w, head.data, head.len, 0);
		pool_run(pool, work, w);
		pool_free(pool);
		if (atomic_load(&w->failed)) {
			*err = w->err;
			rc = err->code;
		} else if (w->job->progress) {
			w->job->progress(w->job->user, w->total, w->total);
		}
	}
	str_release(&head);
	vec_release(&w->pieces);
	return rc;
}

int convert_write(struct convert_model *m, const struct convert_job *job, struct err *err)
{
	struct writing w = {.m = m, .job = job, .n_value_max = 64, .lock = PTHREAD_MUTEX_INITIALIZER};
	int rc = 0;
	if (m->file_type >= 0)
		gguf_write_u32(&m->w, "general.file_type", (uint32_t)m->file_type);
	gguf_write_u32(&m->w, "general.quantization_version", 2);
	for (size_t i = 0; !rc && i < m->tensors.n; i++) {
		const struct convert_tensor *t = &m->tensors.data[i];
		rc = check_tensor(t, err);
		if (!rc)
			gguf_write_tensor(&m->w, t->name, t->type, t->n_dims, t->ne);
	}
	return rc ? rc : run(&w, err);
}
