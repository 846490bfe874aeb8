#include "runner/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine_sync.h"
#include "runner/runner_load.h"

enum { STREAMS_MAX = 64, LIST_MAX = 16, READ_BYTES = 256 << 20, PEAK_TURNS = 4 << 20 };

struct bench {
	const char *file, *kv_type;
	int n_prompt, n_gen, n_repeat, n_thread;
	int streams[LIST_MAX], n_streams;
	struct runner_load load;
	uint64_t seed;          /* each measured prompt is a new one */
	double read_bytes_s, products_s; /* limits of the machine; products 0: not known */
	double step_bytes;      /* weights read for one decoded token */
	double macs_body, macs_head; /* products for one token: layers, output matrix */
};

/* ---- the machine ---- */

struct limit_job {
	const struct kern *kern;
	uint8_t *data;
	size_t n_bytes;
	_Atomic uint64_t sink;
};

static void read_all(void *arg, int i_thread, int n_thread)
{
	struct limit_job *j = arg;
	int64_t r0, r1;
	uint64_t sum[8] = {0};
	pool_share((int64_t)j->n_bytes, 64, i_thread, n_thread, &r0, &r1);
	for (int64_t i = r0; i < r1; i += 64) {
		const uint64_t *p = (const uint64_t *)(const void *)(j->data + i);
		for (int k = 0; k < 8; k++)
			sum[k] += p[k];
	}
	for (int k = 0; k < 8; k++)
		j->sink += sum[k];
}

static void multiply(void *arg, int i_thread, int n_thread)
{
	struct limit_job *j = arg;
	(void)i_thread, (void)n_thread;
	j->sink += (uint64_t)j->kern->peak(PEAK_TURNS);
}

/* Seconds of the fastest of some runs. */
static double best_of(struct pool *pool, void (*fn)(void *arg, int i_thread, int n_thread), void *arg)
{
	double best = 1e30;
	for (int i = 0; i < 4; i++) {
		int64_t t = clock_now_ns();
		pool_run(pool, fn, arg);
		double s = (double)(clock_now_ns() - t) / 1e9;
		best = s < best ? s : best;
	}
	return best;
}

static int measure_limits(struct bench *b, struct err *err)
{
	struct limit_job j = {.kern = b->load.kern, .n_bytes = READ_BYTES, .data = mem_try_aligned(64, READ_BYTES)};
	if (!j.data)
		return err_set(err, ERR_NOMEM, "there are no %d MiB to measure memory speed with", READ_BYTES >> 20);
	memset(j.data, 1, READ_BYTES);
	b->read_bytes_s = READ_BYTES / best_of(b->load.pool, read_all, &j);
	if (j.kern->peak) {
		double s = best_of(b->load.pool, multiply, &j);
		b->products_s = (double)j.kern->peak(1) * PEAK_TURNS * pool_size(b->load.pool) / s;
	}
	mem_free(j.data);
	return 0;
}

/* ---- the model ---- */

/* Bytes and products of one token, from the tensor directory. Experts count by the share that is used. */
static void count_work(struct bench *b)
{
	const struct gguf *g = b->load.gguf;
	bool own_head = gguf_tensor(g, "output.weight") != NULL;
	char key[160];
	int64_t n_expert = 0, n_used = 0;
	struct err ignored;
	snprintf(key, sizeof key, "%s.expert_count", model_arch(b->load.model));
	gguf_get_i64(g, key, &n_expert, &ignored);
	snprintf(key, sizeof key, "%s.expert_used_count", model_arch(b->load.model));
	gguf_get_i64(g, key, &n_used, &ignored);
	for (size_t i = 0; i < gguf_n_tensor(g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(g, i);
		bool embd = !strcmp(t->name, "token_embd.weight");
		if (t->n_dims < 2 || (embd && own_head) || strstr(t->name, "position_embd") || strstr(t->name, "token_types"))
			continue;
		double share = strstr(t->name, "_exps.") && n_expert > 0 ? (double)n_used / (double)n_expert : 1;
		b->step_bytes += share * (double)t->n_bytes;
		*(embd || !strcmp(t->name, "output.weight") ? &b->macs_head : &b->macs_body) += share * (double)t->n_elem;
	}
}

static int *prompt_new(struct bench *b, int n)
{
	int *ids = mem_alloc((size_t)n * sizeof *ids), n_vocab = model_n_vocab(b->load.model);
	for (int i = 0; i < n; i++) {
		b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
		ids[i] = (int)((b->seed >> 33) % (uint64_t)n_vocab);
	}
	return ids;
}

static const struct sampler_cfg greedy = {.seed = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};

static bool keep_going(void *user, const struct seq_token *tok)
{
	(void)user, (void)tok;
	return true;
}

static int run_one(struct bench *b, int n_prompt, int n_gen, struct seq_stats *ret, struct err *err)
{
	int *ids = prompt_new(b, n_prompt);
	struct seq_cfg cfg = {.ids = ids, .n_ids = (size_t)n_prompt, .n_predict = n_gen, .sampler = greedy, .ignore_eog = true,
			      .on_token = keep_going};
	enum seq_end end;
	int rc = engine_sync_run(b->load.engine, &cfg, &end, ret, err);
	mem_free(ids);
	return rc;
}

/* ---- many streams ---- */

/* Counts tokens between the moment when all streams decode and the moment when the first one ends. */
struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int n, n_started, n_ended;
	int64_t n_tok, t0_ns, t1_ns, n_counted;
};

struct member {
	struct crowd *crowd;
	bool started;
};

static bool on_token(void *user, const struct seq_token *tok)
{
	struct member *m = user;
	struct crowd *c = m->crowd;
	(void)tok;
	pthread_mutex_lock(&c->lock);
	if (!m->started && ++c->n_started == c->n) {
		c->t0_ns = clock_now_ns();
		c->n_tok = 0;
	} else {
		c->n_tok++;
	}
	m->started = true;
	pthread_mutex_unlock(&c->lock);
	return true;
}

static void on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct crowd *c = ((struct member *)user)->crowd;
	(void)end, (void)stats, (void)err;
	pthread_mutex_lock(&c->lock);
	if (!c->n_ended++) {
		c->t1_ns = clock_now_ns();
		c->n_counted = c->n_tok;
	}
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static int run_crowd(struct bench *b, int n, double *ret_tok_s, struct err *err)
{
	struct crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .n = n};
	struct member members[STREAMS_MAX] = {0};
	int n_in = 0, rc = 0;
	for (; n_in < n && !rc; n_in += !rc) {
		int *ids = prompt_new(b, 16);
		members[n_in].crowd = &c;
		struct seq_cfg cfg = {.ids = ids, .n_ids = 16, .n_predict = b->n_gen, .sampler = greedy, .ignore_eog = true,
				      .user = &members[n_in], .on_token = on_token, .on_end = on_end};
		uint64_t id;
		rc = engine_submit(b->load.engine, &cfg, &id, err);
		mem_free(ids);
	}
	pthread_mutex_lock(&c.lock);
	while (c.n_ended < n_in)
		pthread_cond_wait(&c.changed, &c.lock);
	pthread_mutex_unlock(&c.lock);
	*ret_tok_s = c.t1_ns > c.t0_ns && c.t0_ns ? (double)c.n_counted * 1e9 / (double)(c.t1_ns - c.t0_ns) : 0;
	return rc;
}

/* ---- the report ---- */

static void print_row(const char *what, double tok_s, double limit_tok_s, const char *limit)
{
	printf("%-24s %10.1f tok/s", what, tok_s);
	if (limit_tok_s > 0)
		printf("   %3.0f%% of %.0f (%s)", 100 * tok_s / limit_tok_s, limit_tok_s, limit);
	printf("\n");
	fflush(stdout);
}

/* Of n streams: the lower of what memory and arithmetic allow. */
static double decode_limit(const struct bench *b, int n, const char **ret_name)
{
	double mem = n * b->read_bytes_s / b->step_bytes;
	double mul = b->products_s / (b->macs_body + b->macs_head);
	bool by_mem = mul <= 0 || mem < mul;
	*ret_name = by_mem ? "memory" : "arithmetic";
	return by_mem ? mem : mul;
}

static int measure(struct bench *b, struct err *err)
{
	double prefill = 0, decode = 0;
	struct seq_stats s;
	int rc = run_one(b, 64, 8, &s, err); /* warms caches and pages */
	for (int i = 0; i < b->n_repeat && !rc; i++) {
		rc = run_one(b, b->n_prompt, 1, &s, err);
		double v = (double)s.n_prompt * 1e9 / (double)(s.prefill_ns ? s.prefill_ns : 1);
		prefill = v > prefill ? v : prefill;
	}
	if (rc)
		return rc;
	char label[64];
	const char *name;
	snprintf(label, sizeof label, "prefill %d", b->n_prompt);
	print_row(label, prefill, b->products_s / b->macs_body, "arithmetic");
	for (int i = 0; i < b->n_streams; i++) {
		decode = 0;
		for (int k = 0; k < b->n_repeat && !rc; k++) {
			double v = 0;
			rc = run_crowd(b, b->streams[i], &v, err);
			decode = v > decode ? v : decode;
		}
		if (rc)
			return rc;
		snprintf(label, sizeof label, "decode %d, %d stream%s", b->n_gen, b->streams[i], b->streams[i] > 1 ? "s" : "");
		double limit = decode_limit(b, b->streams[i], &name);
		print_row(label, decode, limit, name);
	}
	return 0;
}

static void print_machine(const struct bench *b)
{
	printf("%s\n%s, kernels %s, KV %s, %d threads; reads %.1f GB/s", b->file, kern_cpu_name(), b->load.kern->name,
	       kern_kv_type_name(b->load.kv_type), pool_size(b->load.pool), b->read_bytes_s / 1e9);
	if (b->products_s > 0)
		printf(", multiplies %.0f G bytes/s", b->products_s / 1e9);
	printf("\n%.1f MB read and %.1f M products a token\n\n", b->step_bytes / 1e6, (b->macs_body + b->macs_head) / 1e6);
}

static int run(struct bench *b, int fd, struct err *err)
{
	int rc = runner_load_open(&b->load, fd, NULL, err);
	if (!rc)
		rc = runner_load_compute(&b->load, getenv("CRIA_KERNELS"), getenv("CRIA_CPU"), b->kv_type, b->n_thread, err);
	if (!rc)
		rc = measure_limits(b, err);
	int64_t n_ctx = b->n_prompt + b->n_gen + 64, n_most = 1;
	for (int i = 0; i < b->n_streams; i++)
		n_most = b->streams[i] > n_most ? b->streams[i] : n_most;
	if (!rc)
		rc = runner_load_start(&b->load, n_ctx, 0, NULL, NULL, err);
	if (!rc && model_is_encoder(b->load.model))
		rc = err_set(err, ERR_UNSUPPORTED, "%s is an embedding model; there is nothing to decode", b->file);
	if (!rc) { /* again, with room for all streams */
		size_t kv = engine_kv_bytes_per_tok(b->load.engine) * (size_t)(n_most * (b->n_gen + 128) + n_ctx);
		runner_load_stop(&b->load);
		rc = runner_load_start(&b->load, n_ctx, kv, NULL, NULL, err);
	}
	if (!rc) {
		count_work(b);
		print_machine(b);
		rc = measure(b, err);
	}
	runner_load_close(&b->load);
	return rc;
}

static bool parse_list(const char *text, struct bench *b)
{
	b->n_streams = 0;
	for (char *end; *text; text = *end ? end + 1 : end) {
		long v = strtol(text, &end, 10);
		if (end == text || v < 1 || v > STREAMS_MAX || b->n_streams == LIST_MAX || (*end && *end != ','))
			return false;
		b->streams[b->n_streams++] = (int)v;
	}
	return b->n_streams > 0;
}

static bool parse_args(int argc, char **argv, struct bench *b)
{
	const struct {
		const char *flag;
		int *value, min, max;
	} numbers[] = {{"--prompt", &b->n_prompt, 16, 1 << 20}, {"--tokens", &b->n_gen, 4, 1 << 16},
		       {"--repeat", &b->n_repeat, 1, 100}, {"--threads", &b->n_thread, 1, 1024}};
	for (int i = 1; i < argc; i++) {
		size_t k = 0;
		if (argv[i][0] != '-' && !b->file) {
			b->file = argv[i];
			continue;
		}
		if (i + 1 == argc)
			return false;
		if (!strcmp(argv[i], "--kv")) {
			b->kv_type = argv[++i];
			continue;
		}
		if (!strcmp(argv[i], "--streams")) {
			if (!parse_list(argv[++i], b))
				return false;
			continue;
		}
		while (k < ARRAY_LEN(numbers) && strcmp(argv[i], numbers[k].flag))
			k++;
		if (k == ARRAY_LEN(numbers))
			return false;
		char *end;
		long v = strtol(argv[++i], &end, 10);
		if (*end || v < numbers[k].min || v > numbers[k].max)
			return false;
		*numbers[k].value = (int)v;
	}
	return b->file;
}

int bench_main(int argc, char **argv)
{
	struct bench b = {.n_prompt = 512, .n_gen = 128, .n_repeat = 3, .streams = {1, 2, 4, 8, 16, 32}, .n_streams = 6, .seed = 1};
	struct err err;
	if (!parse_args(argc, argv, &b)) {
		fprintf(stderr, "usage: cria bench MODEL|FILE.gguf [--prompt 512] [--tokens 128] [--streams 1,2,4,8,16,32] [--repeat 3] "
				"[--threads N] [--kv f16|bf16|q8_0]\n"
				"Streams: at most %d. CRIA_KERNELS and CRIA_CPU choose the kernels.\n", STREAMS_MAX);
		return 2;
	}
	int fd = open(b.file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "Error: %s cannot be opened: %s\n", b.file, strerror(errno));
		return 1;
	}
	log_set_level(LOG_WARN);
	int rc = run(&b, fd, &err);
	close(fd);
	if (rc)
		fprintf(stderr, "Error: %s\n", err.msg);
	return rc ? 1 : 0;
}
