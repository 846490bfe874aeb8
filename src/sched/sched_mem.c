#include "sched/sched_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

/* ---- what a model needs ---- */

enum {
	OTHER_BYTES = 128 << 20,  /* activations, logits, tokenizer, threads: measured 40-120 MiB for 0.1-8 B models */
	KV_BLOCK = 32,            /* values that q8_0 has one scale for */
	KV_SEQ_MAX = 64           /* full-length sequences beyond which a larger budget is of no use */
};
#define KV_PER_TOK_MAX (INT64_C(64) << 20)

static int64_t sat_add(int64_t a, int64_t b)
{
	int64_t r;
	return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

static int64_t sat_mul(int64_t a, int64_t b)
{
	int64_t r;
	return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The metadata key "<arch>.<name>"; an array counts by its largest element. */
static int64_t kv_int(const json_t *facts, const char *name, int64_t fallback)
{
	char key[256];
	const char *arch = json_string_value(json_object_get(facts, "arch"));
	int64_t max = -1;
	snprintf(key, sizeof key, "%s.%s", arch ? arch : "", name);
	json_t *v = json_object_get(json_object_get(facts, "kv"), key);
	for (size_t i = 0; i < json_array_size(v); i++)
		max = most(max, json_integer_value(json_array_get(v, i)));
	if (json_is_integer(v))
		max = json_integer_value(v);
	return max > 0 ? max : fallback;
}

/* Bytes of KV_BLOCK values of the cache. */
static int64_t block_bytes(const char *kv_type)
{
	return kv_type && !strcmp(kv_type, "q8_0") ? KV_BLOCK + 2 : KV_BLOCK * 2;
}

void sched_mem_model(const json_t *facts, int64_t file_bytes, const char *kv_type, struct sched_mem_model *ret)
{
	int64_t n_layer = json_integer_value(json_object_get(facts, "block_count"));
	int64_t n_embd = json_integer_value(json_object_get(facts, "embedding_length"));
	int64_t n_head = kv_int(facts, "attention.head_count", 32);
	int64_t n_head_kv = kv_int(facts, "attention.head_count_kv", n_head);
	int64_t head_dim = n_embd > 0 ? most(n_embd / n_head, 1) : 128;
	int64_t k_dim = kv_int(facts, "attention.key_length", head_dim), v_dim = kv_int(facts, "attention.value_length", head_dim);
	if (n_layer <= 0)
		n_layer = 64;
	int64_t n_block = sat_add(sat_add(k_dim, KV_BLOCK - 1) / KV_BLOCK, sat_add(v_dim, KV_BLOCK - 1) / KV_BLOCK);
	int64_t per_tok = sat_mul(sat_mul(n_layer, n_head_kv), sat_mul(n_block, block_bytes(kv_type)));
	ret->weights_bytes = file_bytes;
	ret->n_ctx_train = json_integer_value(json_object_get(facts, "context_length"));
	if (ret->n_ctx_train <= 0)
		ret->n_ctx_train = SCHED_MEM_N_CTX_AUTO;
	/* The file is hostile: a product beyond any real model is not worth refusing the load for. */
	ret->kv_bytes_per_tok = least(per_tok, KV_PER_TOK_MAX);
}

static int64_t need(const struct sched_mem_model *m, int64_t n_ctx)
{
	int64_t kv = sat_mul(m->kv_bytes_per_tok, least(n_ctx, m->n_ctx_train));
	return sat_add(sat_add(m->weights_bytes, OTHER_BYTES), kv);
}

int64_t sched_mem_want(const struct sched_mem_model *m, int64_t n_ctx_cfg)
{
	return need(m, n_ctx_cfg > 0 ? n_ctx_cfg : SCHED_MEM_N_CTX_WANT);
}

int64_t sched_mem_least(const struct sched_mem_model *m)
{
	return need(m, SCHED_MEM_N_CTX_LEAST);
}

void sched_mem_plan(const struct sched_mem_model *m, int64_t n_ctx_cfg, int64_t avail_bytes, struct sched_mem_plan *ret)
{
	int64_t spare = avail_bytes - least(need(m, 0), avail_bytes), per_tok = m->kv_bytes_per_tok;
	/* A fifth stays free for the page cache, other programs and estimates that were too low. */
	int64_t granted = most(spare / 5 * 4 / per_tok, SCHED_MEM_N_CTX_LEAST);
	int64_t n_max = least(least(m->n_ctx_train, granted), most(SCHED_MEM_N_CTX_AUTO, n_ctx_cfg));
	int64_t one = sat_mul(n_max, per_tok);
	ret->n_ctx_max = n_max;
	ret->n_ctx_default = least(n_max, n_ctx_cfg > 0 ? n_ctx_cfg : SCHED_MEM_N_CTX_AUTO);
	ret->kv_bytes = most(one, least(spare / 2, sat_mul(one, KV_SEQ_MAX)));
	ret->want_bytes = least(sched_mem_want(m, n_ctx_cfg), need(m, n_max));
}

/* ---- what there is ---- */

/* Reads a small file of /proc or /sys as text. */
static bool read_file(const char *root, const char *path, char *buf, size_t cap)
{
	char full[4096];
	size_t n = 0;
	snprintf(full, sizeof full, "%s%s", root, path);
	int fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (n < cap - 1) {
		ssize_t got = read(fd, buf + n, cap - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	close(fd);
	buf[n] = '\0';
	return true;
}

/* The number behind a word that starts a line; -1 when there is none. */
static int64_t number_of(const char *text, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, word, n) && (p[n] == ' ' || p[n] == ':' || p[n] == '\t'))
			return strtoll(p + n + 1, NULL, 10);
	return -1;
}

/* Where the two versions of control groups keep their numbers. Page cache of a group can be reclaimed, so it is free. */
static const struct group_files {
	const char *mount, *limit, *usage, *active, *inactive;
} group_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file", "total_inactive_file"},
  group_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "active_file", "inactive_file"};

/* What one group leaves; INT64_MAX without limit or when it cannot be read (a path outside this mount namespace). */
static int64_t group_left(const char *root, const struct group_files *f, const char *group)
{
	char path[4096], text[8192];
	snprintf(path, sizeof path, "%s%s/%s", f->mount, group, f->limit);
	if (!read_file(root, path, text, sizeof text) || text[0] < '0' || text[0] > '9')
		return INT64_MAX; /* "max" */
	int64_t limit = strtoll(text, NULL, 10), cache = 0;
	if (limit >= INT64_MAX / 2)
		return INT64_MAX;
	snprintf(path, sizeof path, "%s%s/%s", f->mount, group, f->usage);
	if (!read_file(root, path, text, sizeof text))
		return INT64_MAX;
	int64_t usage = strtoll(text, NULL, 10);
	snprintf(path, sizeof path, "%s%s/memory.stat", f->mount, group);
	if (read_file(root, path, text, sizeof text))
		cache = most(number_of(text, f->active), 0) + most(number_of(text, f->inactive), 0);
	return most(limit - most(usage - cache, 0), 0);
}

/* The group of this process and every one above it. */
static int64_t groups_left(const char *root, const struct group_files *f, char *group)
{
	int64_t left = INT64_MAX;
	for (;;) {
		size_t n = strlen(group);
		while (n && group[n - 1] == '/')
			group[--n] = '\0';
		left = least(left, group_left(root, f, group));
		char *slash = strrchr(group, '/');
		if (!slash)
			return left;
		*slash = '\0';
	}
}

static int64_t all_groups_left(const char *root)
{
	char text[8192];
	int64_t left = INT64_MAX;
	if (!read_file(root, "/proc/self/cgroup", text, sizeof text))
		return left;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		/* hierarchy:controllers:path */
		char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		bool v2 = !strcmp(controllers, ":");
		if (v2 || !strcmp(controllers, ":memory"))
			left = least(left, groups_left(root, v2 ? &group_v2 : &group_v1, path));
	}
	return left;
}

int64_t sched_mem_available(const char *root)
{
	char text[8192];
	int64_t avail = INT64_MAX;
	if (read_file(root, "/proc/meminfo", text, sizeof text)) {
		int64_t kb = number_of(text, "MemAvailable");
		if (kb >= 0)
			avail = sat_mul(kb, 1024);
	}
	return least(avail, all_groups_left(root));
}

void sched_mem_resident(pid_t pid, int64_t *ret_own, int64_t *ret_mapped)
{
	char path[64], text[8192];
	*ret_own = *ret_mapped = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (!read_file("", path, text, sizeof text))
		return;
	*ret_own = sat_mul(most(number_of(text, "RssAnon"), 0), 1024);
	*ret_mapped = sat_mul(most(number_of(text, "RssFile"), 0), 1024);
}

void sched_mem_text(int64_t bytes, char out[SCHED_MEM_TEXT_BYTES])
{
	double mib = (double)bytes / (1 << 20);
	if (mib >= 1024)
		snprintf(out, SCHED_MEM_TEXT_BYTES, "%.1f GiB", mib / 1024);
	else
		snprintf(out, SCHED_MEM_TEXT_BYTES, "%.1f MiB", mib);
}
