#include "gguf/gguf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/bug.h"
#include "base/map.h"
#include "base/mem.h"

enum {
	MAX_KV = 1 << 20,        /* metadata keys; real files have under a hundred */
	MAX_TENSOR = 1 << 20,    /* real files have under a hundred thousand */
	MAX_KEY_BYTES = 65535,   /* the format's own limit */
	MAX_NAME_BYTES = 63,
	MAX_ARR = 1 << 30,       /* elements of one array */
	MAX_STR_BYTES = 1 << 30,
	ALIGN_DEFAULT = 32,
	ALIGN_MIN = 8,           /* f32 and f64 data can then be read in place */
	ALIGN_MAX = 65536,
	SHOWN_BYTES = 64,        /* of a name in a message */
};

struct gguf {
	const uint8_t *data;
	size_t n_bytes;
	bool mapped;
	int version;
	size_t n_kv, n_tensor;
	struct gguf_kv *kv;
	struct gguf_tensor *tensors;
	struct arena names;
	struct map by_key, by_name;
};

static const struct {
	const char *name;
	uint8_t bytes; /* 0: variable */
} kv_types[] = {
	[GGUF_KV_U8] = {"u8", 1},   [GGUF_KV_I8] = {"i8", 1},      [GGUF_KV_U16] = {"u16", 2}, [GGUF_KV_I16] = {"i16", 2},
	[GGUF_KV_U32] = {"u32", 4}, [GGUF_KV_I32] = {"i32", 4},    [GGUF_KV_F32] = {"f32", 4}, [GGUF_KV_BOOL] = {"bool", 1},
	[GGUF_KV_STR] = {"string", 0}, [GGUF_KV_ARR] = {"array", 0}, [GGUF_KV_U64] = {"u64", 8}, [GGUF_KV_I64] = {"i64", 8},
	[GGUF_KV_F64] = {"f64", 8},
};

size_t gguf_kv_bytes(int type)
{
	return type >= 0 && (size_t)type < ARRAY_LEN(kv_types) ? kv_types[type].bytes : 0;
}

/* ---- reading forward; every take checks what is left ---- */

struct cursor {
	const uint8_t *p;
	size_t pos, n;
};

static bool take(struct cursor *c, void *dst, size_t n)
{
	if (c->n - c->pos < n)
		return false;
	memcpy(dst, c->p + c->pos, n);
	c->pos += n;
	return true;
}

static bool take_str(struct cursor *c, struct gguf_str *ret)
{
	uint64_t n;
	if (!take(c, &n, sizeof n) || n > MAX_STR_BYTES || n > c->n - c->pos)
		return false;
	*ret = (struct gguf_str){(const char *)c->p + c->pos, (size_t)n};
	c->pos += (size_t)n;
	return true;
}

/* A name from a file as a message may show it. */
struct shown {
	char s[SHOWN_BYTES + 4];
};

static struct shown show(const char *s, size_t n)
{
	struct shown r;
	size_t m = n < SHOWN_BYTES ? n : SHOWN_BYTES;
	for (size_t i = 0; i < m; i++)
		r.s[i] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?';
	strcpy(r.s + m, n > m ? "..." : "");
	return r;
}

static int cut_short(struct err *err, const char *what, size_t i)
{
	return err_set(err, ERR_FORMAT, "the GGUF file ends inside %s %zu (or a length in it is wrong): it is incomplete "
		       "or damaged, download it again", what, i);
}

/* A name copied and NUL-terminated; it must be new to the map. */
static int take_name(struct gguf *g, struct map *m, struct gguf_str s, size_t max, const char *what, size_t i,
		     const char **ret, struct err *err)
{
	if (s.n == 0)
		return err_set(err, ERR_FORMAT, "the GGUF file's %s %zu has an empty name", what, i);
	if (s.n > max)
		return err_set(err, ERR_FORMAT, "the GGUF file's %s %zu has a name of %zu bytes; at most %zu are allowed", what, i,
			       s.n, max);
	if (memchr(s.s, '\0', s.n))
		return err_set(err, ERR_FORMAT, "the name of the GGUF file's %s %zu contains a NUL byte", what, i);
	if (map_get(m, s.s, s.n))
		return err_set(err, ERR_FORMAT, "the GGUF file has two %ss named \"%s\"", what, show(s.s, s.n).s);
	*ret = arena_strndup(&g->names, s.s, s.n);
	if (!*ret)
		return err_set(err, ERR_NOMEM, "not enough memory for the names of the GGUF file");
	map_put_ref(m, *ret, s.n)->i = (int64_t)i;
	return 0;
}

/* ---- metadata ---- */

static int read_array(struct cursor *c, struct gguf_kv *kv, struct err *err)
{
	int32_t elem;
	if (!take(c, &elem, 4) || !take(c, &kv->n, 8))
		return err_set(err, ERR_FORMAT, "the GGUF file ends inside the array \"%s\"", show(kv->key, strlen(kv->key)).s);
	struct shown key = show(kv->key, strlen(kv->key));
	if (elem == GGUF_KV_ARR)
		return err_set(err, ERR_FORMAT, "\"%s\" is an array of arrays, which GGUF does not allow", key.s);
	if (elem < 0 || (size_t)elem >= ARRAY_LEN(kv_types))
		return err_set(err, ERR_FORMAT, "the array \"%s\" has elements of unknown type %d", key.s, (int)elem);
	kv->elem_type = elem;
	kv->p = c->p + c->pos;
	size_t least = elem == GGUF_KV_STR ? 8 : kv_types[elem].bytes;
	if (kv->n > MAX_ARR || kv->n > (c->n - c->pos) / least)
		return err_set(err, ERR_FORMAT, "the array \"%s\" says it has %llu elements, more than the rest of the file holds",
			       key.s, (unsigned long long)kv->n);
	if (elem != GGUF_KV_STR) {
		c->pos += (size_t)kv->n * least;
		return 0;
	}
	for (uint64_t i = 0; i < kv->n; i++) {
		struct gguf_str s;
		if (!take_str(c, &s))
			return err_set(err, ERR_FORMAT, "string %llu of the array \"%s\" does not fit into the file",
				       (unsigned long long)i, key.s);
	}
	return 0;
}

static int read_kv(struct gguf *g, struct cursor *c, size_t i, struct err *err)
{
	struct gguf_kv *kv = &g->kv[i];
	struct gguf_str key;
	int32_t type;
	if (!take_str(c, &key))
		return cut_short(err, "metadata key", i);
	int rc = take_name(g, &g->by_key, key, MAX_KEY_BYTES, "metadata key", i, &kv->key, err);
	if (rc)
		return rc;
	if (!take(c, &type, 4))
		return cut_short(err, "metadata key", i);
	if (type < 0 || (size_t)type >= ARRAY_LEN(kv_types))
		return err_set(err, ERR_FORMAT, "the metadata key \"%s\" has unknown type %d", show(key.s, key.n).s, (int)type);
	*kv = (struct gguf_kv){.key = kv->key, .type = type, .elem_type = type, .n = 1, .p = c->p + c->pos};
	if (type == GGUF_KV_ARR)
		return read_array(c, kv, err);
	struct gguf_str s;
	size_t n = kv_types[type].bytes;
	if (type == GGUF_KV_STR ? !take_str(c, &s) : c->n - c->pos < n)
		return err_set(err, ERR_FORMAT, "the value of \"%s\" does not fit into the GGUF file", show(key.s, key.n).s);
	if (type != GGUF_KV_STR)
		c->pos += n;
	return 0;
}

/* ---- tensor directory ---- */

static int bad_tensor(struct err *err, int code, const struct gguf_tensor *t, const char *what, long long value)
{
	return err_set(err, code, "tensor \"%s\" %s (%lld)", show(t->name, strlen(t->name)).s, what, value);
}

/* Shape and type to counts: n_elem and n_bytes. */
static int measure(struct gguf_tensor *t, int32_t type, struct err *err)
{
	const struct gguf_type_info *info = gguf_type_info(type);
	if (!info)
		return bad_tensor(err, ERR_UNSUPPORTED, t, "has a type that is unknown or was removed from the format", type);
	t->type = type;
	t->n_elem = 1;
	for (int d = 0; d < 4; d++) {
		if (t->ne[d] < 1)
			return bad_tensor(err, ERR_FORMAT, t, "has a dimension below 1", (long long)t->ne[d]);
		if (__builtin_mul_overflow(t->n_elem, t->ne[d], &t->n_elem))
			return bad_tensor(err, ERR_FORMAT, t, "has more elements than 63 bits count", (long long)t->ne[d]);
	}
	if (t->ne[0] % info->block)
		return bad_tensor(err, ERR_FORMAT, t, "has rows that are no whole number of quantization blocks", (long long)t->ne[0]);
	if ((uint64_t)t->n_elem / (uint64_t)info->block > SIZE_MAX ||
	    !size_mul((size_t)(t->n_elem / info->block), (size_t)info->bytes, &t->n_bytes))
		return bad_tensor(err, ERR_FORMAT, t, "has more bytes than can be addressed", (long long)t->n_elem);
	return 0;
}

static int read_tensor(struct gguf *g, struct cursor *c, size_t i, uint64_t *ret_off, struct err *err)
{
	struct gguf_tensor *t = &g->tensors[i];
	struct gguf_str name;
	uint32_t n_dims;
	int32_t type;
	if (!take_str(c, &name))
		return cut_short(err, "tensor", i);
	int rc = take_name(g, &g->by_name, name, MAX_NAME_BYTES, "tensor", i, &t->name, err);
	if (rc)
		return rc;
	if (!take(c, &n_dims, 4))
		return cut_short(err, "tensor", i);
	if (n_dims > 4)
		return bad_tensor(err, ERR_FORMAT, t, "has more than 4 dimensions", n_dims);
	t->n_dims = (int)n_dims;
	for (int d = 0; d < 4; d++) {
		t->ne[d] = 1;
		if (d < t->n_dims && !take(c, &t->ne[d], 8))
			return cut_short(err, "tensor", i);
	}
	if (!take(c, &type, 4) || !take(c, ret_off, 8))
		return cut_short(err, "tensor", i);
	return measure(t, type, err);
}

static int get_align(const struct gguf *g, size_t *ret, struct err *err)
{
	int64_t a = ALIGN_DEFAULT;
	int rc = gguf_get_i64(g, "general.alignment", &a, err);
	if (rc < 0)
		return rc;
	if (a < ALIGN_MIN || a > ALIGN_MAX || (a & (a - 1)))
		return err_set(err, ERR_FORMAT, "general.alignment is %lld; it must be a power of two from %d to %d", (long long)a,
			       ALIGN_MIN, ALIGN_MAX);
	*ret = (size_t)a;
	return 0;
}

/* Offsets must be the running sum of padded sizes in file order: every writer does so, and no two tensors overlap. */
static int place(struct gguf *g, const uint64_t *off, size_t start, size_t align, struct err *err)
{
	size_t next = 0;
	for (size_t i = 0; i < g->n_tensor; i++) {
		struct gguf_tensor *t = &g->tensors[i];
		if (off[i] % align)
			return bad_tensor(err, ERR_FORMAT, t, "starts at an offset that breaks general.alignment", (long long)off[i]);
		if (off[i] != next)
			return bad_tensor(err, ERR_FORMAT, t, "does not start where the tensor before it ends", (long long)off[i]);
		size_t end, padded;
		if (!size_add(next, t->n_bytes, &end) || start > g->n_bytes || end > g->n_bytes - start)
			return bad_tensor(err, ERR_FORMAT, t, "reaches past the end of the file: it is incomplete, download it "
					  "again; bytes needed", (long long)t->n_bytes);
		t->data = g->data + start + next;
		if (!size_add(end, align - 1, &padded))
			return bad_tensor(err, ERR_FORMAT, t, "has more bytes than can be addressed", (long long)t->n_bytes);
		next = padded & ~(align - 1);
	}
	return 0;
}

/* ---- open ---- */

static int read_header(struct gguf *g, struct cursor *c, int64_t *ret_n_tensor, int64_t *ret_n_kv, struct err *err)
{
	uint8_t magic[4];
	uint32_t v;
	if (!take(c, magic, 4) || memcmp(magic, "GGUF", 4))
		return err_set(err, ERR_FORMAT, "not a GGUF file: it does not begin with the bytes \"GGUF\"");
	if (!take(c, &v, 4))
		return err_set(err, ERR_FORMAT, "the GGUF file ends inside its header");
	if (v && (v & 0xffff) == 0)
		return err_set(err, ERR_UNSUPPORTED, "the GGUF file is big-endian; only little-endian files can be read");
	if (v != 2 && v != 3)
		return err_set(err, v == 0 ? ERR_FORMAT : ERR_UNSUPPORTED, "the GGUF file has version %u; versions 2 and 3 can be "
			       "read", v);
	g->version = (int)v;
	if (!take(c, ret_n_tensor, 8) || !take(c, ret_n_kv, 8))
		return err_set(err, ERR_FORMAT, "the GGUF file ends inside its header");
	if (*ret_n_tensor < 0 || *ret_n_tensor > MAX_TENSOR)
		return err_set(err, ERR_FORMAT, "the GGUF file says it has %lld tensors; 0 to %d are possible",
			       (long long)*ret_n_tensor, MAX_TENSOR);
	if (*ret_n_kv < 0 || *ret_n_kv > MAX_KV)
		return err_set(err, ERR_FORMAT, "the GGUF file says it has %lld metadata keys; 0 to %d are possible",
			       (long long)*ret_n_kv, MAX_KV);
	return 0;
}

/* A directory of n entries of at least `least` bytes each in the file; NULL with *err set when it cannot be. */
static void *directory(const struct cursor *c, size_t n, size_t least, size_t size, const char *what, int *ret_rc,
		       struct err *err)
{
	if (n > (c->n - c->pos) / least) {
		*ret_rc = err_set(err, ERR_FORMAT, "the GGUF file says it has %zu %ss, more than its %zu bytes hold: it is "
				  "incomplete or damaged", n, what, c->n);
		return NULL;
	}
	void *p = mem_try_alloc(n * size); /* n and size are both below 2^21 */
	if (!p)
		*ret_rc = err_set(err, ERR_NOMEM, "not enough memory for the GGUF file's %zu %ss", n, what);
	else
		memset(p, 0, n * size);
	return p;
}

static int parse_tensors(struct gguf *g, struct cursor *c, size_t n_tensor, struct err *err)
{
	size_t align = ALIGN_DEFAULT, start = 0;
	int rc = get_align(g, &align, err);
	if (rc)
		return rc;
	/* name length, one byte of name, n_dims, type, offset */
	g->tensors = directory(c, n_tensor, 8 + 1 + 4 + 4 + 8, sizeof *g->tensors, "tensor", &rc, err);
	uint64_t *off = g->tensors ? directory(c, n_tensor, 8, sizeof *off, "tensor", &rc, err) : NULL;
	if (!off)
		return rc;
	g->n_tensor = n_tensor;
	for (size_t i = 0; i < n_tensor && !rc; i++)
		rc = read_tensor(g, c, i, &off[i], err);
	if (!rc && !size_add(c->pos, align - 1, &start))
		rc = cut_short(err, "tensor", n_tensor);
	if (!rc)
		rc = place(g, off, start & ~(align - 1), align, err);
	mem_free(off);
	return rc;
}

static int parse(struct gguf *g, struct err *err)
{
	struct cursor c = {g->data, 0, g->n_bytes};
	int64_t n_tensor = 0, n_kv = 0;
	int rc = read_header(g, &c, &n_tensor, &n_kv, err);
	if (rc)
		return rc;
	/* key length, one byte of key, type, value */
	g->kv = directory(&c, (size_t)n_kv, 8 + 1 + 4 + 1, sizeof *g->kv, "metadata key", &rc, err);
	if (!g->kv)
		return rc;
	g->n_kv = (size_t)n_kv;
	for (size_t i = 0; i < g->n_kv; i++)
		if ((rc = read_kv(g, &c, i, err)) != 0)
			return rc;
	return parse_tensors(g, &c, (size_t)n_tensor, err);
}

static int open_bytes(const void *data, size_t n, bool mapped, struct gguf **ret, struct err *err)
{
	struct gguf *g = mem_zalloc(sizeof *g);
	g->data = data;
	g->n_bytes = n;
	g->mapped = mapped;
	arena_init(&g->names, SIZE_MAX);
	int rc = parse(g, err);
	if (rc) {
		gguf_close(g);
		return rc;
	}
	*ret = g;
	return 0;
}

int gguf_open(int fd, struct gguf **ret, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_set(err, ERR_IO, "cannot read the size of the model file: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FORMAT, "not a GGUF file: it is no regular file");
	if (st.st_size == 0)
		return err_set(err, ERR_FORMAT, "not a GGUF file: it is empty");
	if ((uint64_t)st.st_size > PTRDIFF_MAX)
		return err_set(err, ERR_NOMEM, "the model file is too large to map: %lld bytes", (long long)st.st_size);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_set(err, errno == ENOMEM ? ERR_NOMEM : ERR_IO, "cannot map the model file of %lld bytes: %s",
			       (long long)st.st_size, strerror(errno));
	return open_bytes(p, (size_t)st.st_size, true, ret, err);
}

int gguf_open_mem(const void *data, size_t n, struct gguf **ret, struct err *err)
{
	return open_bytes(data, n, false, ret, err);
}

void gguf_close(struct gguf *g)
{
	if (!g)
		return;
	if (g->mapped)
		munmap((void *)(uintptr_t)g->data, g->n_bytes);
	map_release(&g->by_key);
	map_release(&g->by_name);
	arena_release(&g->names);
	mem_free(g->kv);
	mem_free(g->tensors);
	mem_free(g);
}

/* ---- access ---- */

int gguf_version(const struct gguf *g)
{
	return g->version;
}

bool gguf_is_mapped(const struct gguf *g)
{
	return g->mapped;
}

size_t gguf_file_bytes(const struct gguf *g)
{
	return g->n_bytes;
}

size_t gguf_n_kv(const struct gguf *g)
{
	return g->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
	BUG_ON(i >= g->n_kv);
	return &g->kv[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
	const union map_val *v = map_get(&g->by_key, key, strlen(key));
	return v ? &g->kv[v->i] : NULL;
}

size_t gguf_n_tensor(const struct gguf *g)
{
	return g->n_tensor;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
	BUG_ON(i >= g->n_tensor);
	return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	const union map_val *v = map_get(&g->by_name, name, strlen(name));
	return v ? &g->tensors[v->i] : NULL;
}

static int wrong_kind(const struct gguf_kv *kv, const char *want, struct err *err)
{
	bool arr = kv->type == GGUF_KV_ARR;
	return err_set(err, ERR_FORMAT, "the metadata key \"%s\" is %s%s; %s is needed", show(kv->key, strlen(kv->key)).s,
		       arr ? "an array of " : "of type ", kv_types[kv->elem_type].name, want);
}

/* Element i of fixed size as a 64-bit pattern: sign-extended for signed kinds. */
static uint64_t load_bits(const struct gguf_kv *kv, uint64_t i)
{
	BUG_ON(i >= kv->n);
	size_t n = kv_types[kv->elem_type].bytes;
	uint64_t v = 0;
	memcpy(&v, kv->p + i * n, n);
	switch (kv->elem_type) {
	case GGUF_KV_I8: return (uint64_t)(int8_t)v;
	case GGUF_KV_I16: return (uint64_t)(int16_t)v;
	case GGUF_KV_I32: return (uint64_t)(int32_t)v;
	default: return v;
	}
}

static bool is_float(int elem_type)
{
	return elem_type == GGUF_KV_F32 || elem_type == GGUF_KV_F64;
}

static bool is_int(int elem_type)
{
	return elem_type != GGUF_KV_STR && elem_type != GGUF_KV_BOOL && !is_float(elem_type);
}

int gguf_arr_i64(const struct gguf_kv *kv, uint64_t i, int64_t *ret, struct err *err)
{
	if (!is_int(kv->elem_type))
		return wrong_kind(kv, "an integer", err);
	uint64_t v = load_bits(kv, i);
	if (kv->elem_type == GGUF_KV_U64 && v > INT64_MAX)
		return err_set(err, ERR_FORMAT, "the metadata key \"%s\" holds %llu, which is too large",
			       show(kv->key, strlen(kv->key)).s, (unsigned long long)v);
	*ret = (int64_t)v;
	return 0;
}

int gguf_arr_f64(const struct gguf_kv *kv, uint64_t i, double *ret, struct err *err)
{
	if (!is_float(kv->elem_type)) {
		int64_t n;
		int rc = is_int(kv->elem_type) ? gguf_arr_i64(kv, i, &n, err) : wrong_kind(kv, "a number", err);
		if (!rc)
			*ret = (double)n;
		return rc;
	}
	uint64_t bits = load_bits(kv, i);
	uint32_t bits32 = (uint32_t)bits;
	float f;
	memcpy(ret, &bits, sizeof *ret);
	memcpy(&f, &bits32, sizeof f);
	if (kv->elem_type == GGUF_KV_F32)
		*ret = f;
	return 0;
}

int gguf_arr_bool(const struct gguf_kv *kv, uint64_t i, bool *ret, struct err *err)
{
	if (kv->elem_type == GGUF_KV_STR || is_float(kv->elem_type))
		return wrong_kind(kv, "a boolean", err);
	*ret = load_bits(kv, i) != 0;
	return 0;
}

int gguf_arr_next_str(const struct gguf_kv *kv, struct gguf_str_iter *it, struct gguf_str *ret, struct err *err)
{
	if (kv->elem_type != GGUF_KV_STR)
		return wrong_kind(kv, "a string", err);
	BUG_ON(it->i >= kv->n);
	uint64_t n;
	memcpy(&n, kv->p + it->off, sizeof n);
	*ret = (struct gguf_str){(const char *)kv->p + it->off + sizeof n, (size_t)n};
	it->off += sizeof n + (size_t)n;
	it->i++;
	return 0;
}

/* The scalar under a key: 1 found, 0 absent, negative when it is an array. */
static int find_scalar(const struct gguf *g, const char *key, const char *want, const struct gguf_kv **ret, struct err *err)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	if (!kv)
		return 0;
	if (kv->type == GGUF_KV_ARR)
		return wrong_kind(kv, want, err);
	*ret = kv;
	return 1;
}

int gguf_get_i64(const struct gguf *g, const char *key, int64_t *ret, struct err *err)
{
	const struct gguf_kv *kv;
	int rc = find_scalar(g, key, "an integer", &kv, err);
	if (rc == 1 && (rc = gguf_arr_i64(kv, 0, ret, err)) == 0)
		rc = 1;
	return rc;
}

int gguf_get_f64(const struct gguf *g, const char *key, double *ret, struct err *err)
{
	const struct gguf_kv *kv;
	int rc = find_scalar(g, key, "a number", &kv, err);
	if (rc == 1 && (rc = gguf_arr_f64(kv, 0, ret, err)) == 0)
		rc = 1;
	return rc;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *ret, struct err *err)
{
	const struct gguf_kv *kv;
	int rc = find_scalar(g, key, "a boolean", &kv, err);
	if (rc == 1 && (rc = gguf_arr_bool(kv, 0, ret, err)) == 0)
		rc = 1;
	return rc;
}

int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *ret, struct err *err)
{
	const struct gguf_kv *kv;
	struct gguf_str_iter it = {0};
	int rc = find_scalar(g, key, "a string", &kv, err);
	if (rc == 1 && (rc = gguf_arr_next_str(kv, &it, ret, err)) == 0)
		rc = 1;
	return rc;
}
