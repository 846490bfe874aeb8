#include "store/registry_part.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

enum {
	PARTS_WANTED = 16,
	PARTS_MAX = 4096,
	PART_RECORD_BYTES = 160 /* records are padded to one size, so that rewriting one in place never leaves half of two */
};
#define PART_BYTES_MIN (INT64_C(16) << 20)
#define PART_BYTES_MAX (INT64_C(1000) * 1000 * 1000)

static void record_path(const struct reg_parts *p, size_t i, struct str *out)
{
	str_clear(out);
	str_printf(out, "%s-%zu", p->path, i);
}

void reg_parts_release(struct reg_parts *p)
{
	mem_free(p->path);
	vec_release(p);
}

static int64_t member(const json_t *o, const char *key)
{
	const json_t *v = json_get(o, key);
	return json_is_integer(v) ? json_integer_value(v) : -1;
}

/* Reads one record; false when it is missing or does not follow the one before. */
static bool read_record(struct reg_parts *p, size_t i, int64_t offset, struct str *path)
{
	struct str text = {0};
	struct err ignored;
	json_t *o = NULL;
	record_path(p, i, path);
	bool ok = !store_file_read(path->data, 4096, &text, &ignored) && !json_parse(str_cstr(&text), text.len, &o, &ignored);
	struct reg_part part = {.offset = member(o, "Offset"), .size_bytes = member(o, "Size"), .completed = member(o, "Completed")};
	ok = ok && part.offset == offset && part.size_bytes > 0 && part.size_bytes <= p->size_bytes - offset && part.completed >= 0 &&
	     part.completed <= part.size_bytes;
	if (ok) {
		part.saved = part.completed;
		part.suspect = part.completed > 0;
		vec_push(p, part);
	}
	json_decref(o);
	str_release(&text);
	return ok;
}

static void plan(struct reg_parts *p)
{
	int64_t size = p->size_bytes / PARTS_WANTED;
	size = size < PART_BYTES_MIN ? PART_BYTES_MIN : size > PART_BYTES_MAX ? PART_BYTES_MAX : size;
	p->n = 0;
	for (int64_t at = 0; at < p->size_bytes; at += size) {
		struct reg_part part = {.offset = at, .size_bytes = p->size_bytes - at < size ? p->size_bytes - at : size, .saved = -1};
		vec_push(p, part);
	}
}

void reg_parts_load(const struct store *s, const char *digest, int64_t size_bytes, struct reg_parts *ret)
{
	struct str path = {0}, record = {0};
	int64_t at = 0;
	*ret = (struct reg_parts){.size_bytes = size_bytes};
	store_blob_path(s, digest, &path);
	str_adds(&path, "-partial");
	ret->path = str_take(&path);
	while (at < size_bytes && ret->n < PARTS_MAX && read_record(ret, ret->n, at, &record))
		at += ret->data[ret->n - 1].size_bytes;
	if (at != size_bytes)
		plan(ret);
	str_release(&record);
}

void reg_parts_save(struct reg_parts *p)
{
	struct str path = {0};
	char text[PART_RECORD_BYTES + 1];
	for (size_t i = 0; i < p->n; i++) {
		struct reg_part *part = &p->data[i];
		if (part->saved == part->completed)
			continue;
		int n = snprintf(text, sizeof text, "{\"N\":%zu,\"Offset\":%lld,\"Size\":%lld,\"Completed\":%lld}", i,
				 (long long)part->offset, (long long)part->size_bytes, (long long)part->completed);
		memset(text + n, ' ', sizeof text - (size_t)n);
		text[PART_RECORD_BYTES - 1] = '\n';
		record_path(p, i, &path);
		int fd = open(path.data, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			continue;
		if (pwrite(fd, text, PART_RECORD_BYTES, 0) == PART_RECORD_BYTES && !ftruncate(fd, PART_RECORD_BYTES))
			part->saved = part->completed;
		close(fd);
	}
	str_release(&path);
}

void reg_parts_forget(const struct reg_parts *p)
{
	struct str path = {0};
	for (size_t i = 0; i < PARTS_MAX; i++) {
		record_path(p, i, &path);
		if (unlink(path.data) && i >= p->n)
			break;
	}
	str_release(&path);
}

void reg_parts_join(struct reg_parts *p)
{
	struct reg_part one = {.size_bytes = p->size_bytes, .completed = reg_parts_prefix(p), .saved = -1};
	reg_parts_forget(p);
	one.suspect = one.completed > 0;
	p->n = 0;
	vec_push(p, one);
}

int64_t reg_parts_completed(const struct reg_parts *p)
{
	int64_t sum = 0;
	for (size_t i = 0; i < p->n; i++)
		sum += p->data[i].completed;
	return sum;
}

int64_t reg_parts_prefix(const struct reg_parts *p)
{
	int64_t at = 0;
	for (size_t i = 0; i < p->n; i++) {
		at += p->data[i].completed;
		if (p->data[i].completed < p->data[i].size_bytes)
			break;
	}
	return at;
}
