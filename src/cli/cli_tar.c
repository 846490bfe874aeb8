#include "cli/cli_tar.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* POSIX.1-1988 ustar header, 512 bytes. */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8], user[32], group[32], dev[16],
		prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a tar header is one block");

#define GNU_LONG_NAME "././@LongLink"

static unsigned checksum(const struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof *h; i++)
		sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, type) ? ' ' : p[i];
	return sum;
}

/* ---- writing ---- */

static int put(FILE *f, const void *p, size_t n, struct err *err)
{
	if (fwrite(p, 1, n, f) != n)
		return err_set(err, ERR_IO, "cannot write the bundle: %s", strerror(errno));
	return 0;
}

static void put_size(char out[12], int64_t v)
{
	if (v < INT64_C(1) << 33) {
		snprintf(out, 12, "%011llo", (unsigned long long)v);
		return;
	}
	memset(out, 0, 12);
	out[0] = (char)0x80;
	for (int i = 11; i > 3; i--, v >>= 8)
		out[i] = (char)(v & 0xff);
}

static int put_header(FILE *f, const char *name, char type, int64_t size_bytes, struct err *err)
{
	struct header h = {.mode = "0000644", .uid = "0000000", .gid = "0000000", .magic = "ustar  ", .type = type};
	memcpy(h.name, name, strnlen(name, sizeof h.name));
	put_size(h.size, size_bytes);
	snprintf(h.mtime, sizeof h.mtime, "%011llo", (unsigned long long)time(NULL));
	snprintf(h.sum, sizeof h.sum, "%06o", checksum(&h));
	h.sum[7] = ' ';
	return put(f, &h, sizeof h, err);
}

int cli_tar_header(FILE *f, const char *name, int64_t size_bytes, struct err *err)
{
	int64_t n = (int64_t)strlen(name) + 1;
	int rc = 0;
	if (n > (int64_t)sizeof ((struct header *)0)->name) {
		rc = put_header(f, GNU_LONG_NAME, 'L', n, err);
		if (!rc)
			rc = put(f, name, (size_t)n, err);
		if (!rc)
			rc = cli_tar_pad(f, n, err);
	}
	return rc ? rc : put_header(f, name, '0', size_bytes, err);
}

static int64_t pad_of(int64_t size_bytes)
{
	return (TAR_BLOCK - size_bytes % TAR_BLOCK) % TAR_BLOCK;
}

int cli_tar_pad(FILE *f, int64_t size_bytes, struct err *err)
{
	static const char zero[TAR_BLOCK];
	return put(f, zero, (size_t)pad_of(size_bytes), err);
}

int cli_tar_finish(FILE *f, struct err *err)
{
	static const char zero[2 * TAR_BLOCK];
	int rc = put(f, zero, sizeof zero, err);
	if (!rc && fflush(f))
		rc = err_set(err, ERR_IO, "cannot write the bundle: %s", strerror(errno));
	return rc;
}

/* ---- reading ---- */

static int get(FILE *f, void *p, size_t n, struct err *err)
{
	if (fread(p, 1, n, f) != n)
		return err_set(err, ERR_FORMAT, "the bundle ends too early, or cannot be read");
	return 0;
}

int cli_tar_skip(FILE *f, int64_t n, struct err *err)
{
	static char buf[65536];
	int rc = 0;
	for (; !rc && n > 0; n -= (int64_t)sizeof buf)
		rc = get(f, buf, n < (int64_t)sizeof buf ? (size_t)n : sizeof buf, err);
	return rc;
}

int cli_tar_skip_pad(FILE *f, int64_t size_bytes, struct err *err)
{
	return cli_tar_skip(f, pad_of(size_bytes), err);
}

/* Octal text, or base 256 when the first bit is set; -1 when it is neither. */
static int64_t get_number(const char *p, size_t n)
{
	int64_t v = 0;
	size_t i = 0;
	if ((unsigned char)p[0] == 0x80) {
		for (i = 1; i < n; i++) {
			if (v >> 54)
				return -1;
			v = v << 8 | (unsigned char)p[i];
		}
		return v;
	}
	while (i < n && p[i] == ' ')
		i++;
	if (i == n || p[i] < '0' || p[i] > '7')
		return -1;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (p[i] - '0');
	return v;
}

static bool all_zero(const struct header *h)
{
	const char *p = (const char *)h;
	for (size_t i = 0; i < sizeof *h; i++)
		if (p[i])
			return false;
	return true;
}

static int get_long_name(FILE *f, int64_t n, char name[TAR_NAME_MAX], struct err *err)
{
	if (n < 1 || n > TAR_NAME_MAX)
		return err_set(err, ERR_FORMAT, "the bundle has a file name of %lld bytes", (long long)n);
	memset(name, 0, TAR_NAME_MAX);
	int rc = get(f, name, (size_t)n, err);
	name[TAR_NAME_MAX - 1] = '\0';
	return rc ? rc : cli_tar_skip_pad(f, n, err);
}

int cli_tar_next(FILE *f, struct cli_tar_entry *ret, struct err *err)
{
	struct header h;
	bool named = false;
	for (;;) {
		int rc = get(f, &h, sizeof h, err);
		if (rc)
			return rc;
		if (all_zero(&h))
			return 0;
		int64_t size = get_number(h.size, sizeof h.size);
		if (get_number(h.sum, sizeof h.sum) != checksum(&h) || size < 0)
			return err_set(err, ERR_FORMAT, "this is no tar file that `cria save` wrote, or it is damaged");
		if (h.type == 'L') {
			if ((rc = get_long_name(f, size, ret->name, err)))
				return rc;
			named = true;
			continue;
		}
		if (h.type != '0' && h.type != '\0' && h.type != '5')
			return err_set(err, ERR_FORMAT, "the bundle has an entry of type '%c'; only files and folders belong there",
				       h.type);
		if (!named && !memcmp(h.magic, "ustar\0", 6) && h.prefix[0])
			snprintf(ret->name, sizeof ret->name, "%.155s/%.100s", h.prefix, h.name);
		else if (!named)
			snprintf(ret->name, sizeof ret->name, "%.100s", h.name);
		ret->file = h.type != '5';
		ret->size_bytes = ret->file ? size : 0;
		return 1;
	}
}
