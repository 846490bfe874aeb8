#include "http/http_parse.h"

#include <string.h>
#include <strings.h>

#include "base/bug.h"

const struct http_fault_text http_faults[HTTP_FAULT_END_] = {
	{0, "", ""},
#define FAULT(name, status, reason, body) {status, reason, body},
#include "http/http_fault.def"
#undef FAULT
};

struct span {
	const char *p;
	size_t n;
};

/* tchar of RFC 9110 5.6.2 */
static bool is_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
	while (s.n && is_blank(*s.p))
		s.p++, s.n--;
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* ---- request line ---- */

struct request_line {
	struct span method, target;
	int major, minor;
};

static bool parse_version(struct span v, struct request_line *ret)
{
	if (v.n != 8 || memcmp(v.p, "HTTP/", 5) || v.p[6] != '.')
		return false;
	if (v.p[5] < '0' || v.p[5] > '9' || v.p[7] < '0' || v.p[7] > '9')
		return false;
	ret->major = v.p[5] - '0';
	ret->minor = v.p[7] - '0';
	return true;
}

/* Three parts divided by single blanks; the line comes without its line end. */
static bool parse_request_line(struct span line, struct request_line *ret)
{
	const char *end = line.p + line.n;
	const char *s1 = memchr(line.p, ' ', line.n);
	if (!s1 || s1 == line.p)
		return false;
	const char *s2 = memchr(s1 + 1, ' ', (size_t)(end - s1 - 1));
	if (!s2)
		return false;
	ret->method = (struct span){line.p, (size_t)(s1 - line.p)};
	ret->target = (struct span){s1 + 1, (size_t)(s2 - s1 - 1)};
	for (size_t i = 0; i < ret->method.n; i++)
		if (!is_token_char((unsigned char)ret->method.p[i]))
			return false;
	return parse_version((struct span){s2 + 1, (size_t)(end - s2 - 1)}, ret);
}

/* The line at p without LF and one CR before it. */
static struct span line_at(const char *p, const char *lf)
{
	size_t n = (size_t)(lf - p);
	if (n && p[n - 1] == '\r')
		n--;
	return (struct span){p, n};
}

enum http_step http_scan(struct http_scan *s, const char *buf, size_t n, size_t *ret_n, enum http_fault *ret_fault)
{
	while (s->pos < n) {
		const char *lf = memchr(buf + s->pos, '\n', n - s->pos);
		if (!lf) {
			s->pos = n;
			break;
		}
		struct span line = line_at(buf + s->line_start, lf);
		s->pos = s->line_start = (size_t)(lf - buf) + 1;
		if (s->pos > HTTP_HEAD_MAX_BYTES)
			break;
		struct request_line rl;
		if (!s->line_checked && !parse_request_line(line, &rl)) {
			*ret_fault = HTTP_FAULT_BAD_REQUEST;
			return HTTP_BAD;
		}
		s->line_checked = true;
		if (line.n == 0) {
			*ret_n = s->pos;
			return HTTP_DONE;
		}
	}
	if (s->pos > HTTP_HEAD_MAX_BYTES) {
		*ret_fault = HTTP_FAULT_HEAD_TOO_LONG;
		return HTTP_BAD;
	}
	return HTTP_MORE;
}

/* ---- target ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A copy with %XX decoded; NULL on a bad escape, %00, or a full arena. */
static const char *decode_path(struct span s, struct arena *a)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;
	if (!out)
		return NULL;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '%') {
			int hi = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
			int lo = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
			if (hi < 0 || lo < 0 || hi + lo == 0)
				return NULL;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return out;
}

/* Characters that a Host header or authority may hold: a name, an address with brackets, a port, escapes. */
static bool host_valid(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!alnum && (c == 0 || !strchr("!$%&'()*+,-.:;=[]_~", c)))
			return false;
	}
	return true;
}

/* Takes "scheme://authority" off an absolute-form target. */
static bool split_absolute(struct span *t, struct span *authority)
{
	size_t i = 0;
	while (i < t->n && t->p[i] != ':' && t->p[i] != '/' && t->p[i] != '?')
		i++;
	char c = i ? (char)(t->p[0] | 0x20) : 0;
	if (c < 'a' || c > 'z' || i + 2 >= t->n || memcmp(t->p + i, "://", 3))
		return false;
	t->p += i + 3;
	t->n -= i + 3;
	for (i = 0; i < t->n && t->p[i] != '/' && t->p[i] != '?'; i++)
		;
	*authority = (struct span){t->p, i};
	t->p += i;
	t->n -= i;
	return host_valid(*authority);
}

static enum http_fault parse_target(struct span t, struct arena *a, struct http_head *h, struct span *authority)
{
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] < 0x20 || t.p[i] == 0x7f)
			return HTTP_FAULT_BAD_REQUEST;
	if (t.n == 0)
		return HTTP_FAULT_BAD_REQUEST;
	if (t.p[0] != '/' && !(t.n == 1 && t.p[0] == '*') && !split_absolute(&t, authority))
		return HTTP_FAULT_BAD_REQUEST;
	const char *q = t.n ? memchr(t.p, '?', t.n) : NULL;
	struct span raw = {t.p, q ? (size_t)(q - t.p) : t.n};
	h->query = q ? arena_strndup(a, q, t.n - raw.n) : "";
	if (raw.n == 0)
		raw = (struct span){"/", 1};
	h->raw_path = arena_strndup(a, raw.p, raw.n);
	h->path = decode_path(raw, a);
	return h->query && h->raw_path && h->path ? HTTP_FAULT_NONE : HTTP_FAULT_BAD_REQUEST;
}

/* ---- headers ---- */

static enum http_fault parse_header(struct span line, struct arena *a, struct api_header *ret)
{
	const char *colon = memchr(line.p, ':', line.n);
	if (!colon || colon == line.p || is_blank(*line.p))
		return HTTP_FAULT_BAD_REQUEST;
	struct span name = {line.p, (size_t)(colon - line.p)};
	struct span value = trim((struct span){colon + 1, line.n - name.n - 1});
	bool blank_in_name = false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == ' ')
			blank_in_name = true;
		else if (!is_token_char((unsigned char)name.p[i]))
			return HTTP_FAULT_BAD_REQUEST;
	}
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return HTTP_FAULT_BAD_REQUEST;
	}
	ret->name = arena_strndup(a, name.p, name.n);
	ret->value = arena_strndup(a, value.p, value.n);
	if (!ret->name || !ret->value)
		return HTTP_FAULT_HEAD_TOO_LONG;
	return blank_in_name ? HTTP_FAULT_HEADER_NAME : HTTP_FAULT_NONE;
}

/* Digits only, at most INT64_MAX; -1 otherwise. */
static int64_t parse_length(const char *s)
{
	int64_t v = 0;
	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > (INT64_MAX - (*s - '0')) / 10)
			return -1;
		v = v * 10 + (*s - '0');
	}
	return v;
}

bool http_has_token(const char *value, const char *token)
{
	size_t n = strlen(token);
	while (value && *value) {
		struct span s = {value, strcspn(value, ",")};
		value += s.n + (value[s.n] == ',');
		s = trim(s);
		if (s.n == n && !strncasecmp(s.p, token, n))
			return true;
	}
	return false;
}

const char *http_header(const struct http_head *h, const char *name)
{
	for (size_t i = h->n_header; i-- > 0;)
		if (!strcasecmp(h->headers[i].name, name))
			return h->headers[i].value;
	return NULL;
}

/* Transfer-Encoding, Content-Length (RFC 9112 6.3). Chunked wins over a length, but then the connection ends with the
 * answer, as a party in between may have seen it the other way. */
static enum http_fault parse_framing(struct http_head *h)
{
	const char *length = NULL;
	int n_coding = 0;
	for (size_t i = 0; i < h->n_header; i++) {
		const char *v = h->headers[i].value;
		if (!strcasecmp(h->headers[i].name, "Transfer-Encoding")) {
			if (h->minor == 0)
				return HTTP_FAULT_BAD_REQUEST;
			if (n_coding++ || strcasecmp(v, "chunked"))
				return HTTP_FAULT_CODING;
			h->chunked = true;
		} else if (!strcasecmp(h->headers[i].name, "Content-Length")) {
			if (parse_length(v) < 0 || (length && strcmp(length, v)))
				return HTTP_FAULT_BAD_REQUEST;
			length = v;
		}
	}
	if (h->chunked && length)
		h->keep_alive = false;
	else if (length)
		h->content_length_bytes = parse_length(length);
	return HTTP_FAULT_NONE;
}

static enum http_fault parse_host(struct http_head *h, struct span authority, struct arena *a)
{
	const char *host = NULL;
	int n_host = 0;
	for (size_t i = 0; i < h->n_header; i++)
		if (!strcasecmp(h->headers[i].name, "Host")) {
			host = h->headers[i].value;
			n_host++;
		}
	if (n_host > 1)
		return HTTP_FAULT_MANY_HOSTS;
	if (n_host == 0 && h->minor >= 1 && strcmp(h->method_text, "CONNECT"))
		return HTTP_FAULT_NO_HOST;
	if (host && !host_valid((struct span){host, strlen(host)}))
		return HTTP_FAULT_BAD_HOST;
	h->host = authority.n ? arena_strndup(a, authority.p, authority.n) : host ? host : "";
	return h->host ? HTTP_FAULT_NONE : HTTP_FAULT_HEAD_TOO_LONG;
}

static void parse_connection(struct http_head *h)
{
	bool close = false, keep = false;
	for (size_t i = 0; i < h->n_header; i++)
		if (!strcasecmp(h->headers[i].name, "Connection")) {
			close |= http_has_token(h->headers[i].value, "close");
			keep |= http_has_token(h->headers[i].value, "keep-alive");
		}
	h->keep_alive = !close && (h->minor >= 1 || keep);
	const char *expect = http_header(h, "Expect");
	if (expect && *expect && h->minor >= 1) {
		h->expect_continue = http_has_token(expect, "100-continue");
		h->expect_unknown = !h->expect_continue;
	}
}

static enum api_method method_of(const char *s)
{
	static const struct {
		const char *name;
		enum api_method method;
	} table[] = {{"GET", API_GET},       {"HEAD", API_HEAD},   {"POST", API_POST},      {"PUT", API_PUT},
		     {"DELETE", API_DELETE}, {"PATCH", API_PATCH}, {"OPTIONS", API_OPTIONS}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcmp(table[i].name, s))
			return table[i].method;
	return API_OTHER;
}

static enum http_fault parse_header_lines(const char *p, const char *end, struct arena *a, struct http_head *h)
{
	enum http_fault blank_name = HTTP_FAULT_NONE;
	h->headers = arena_alloc(a, HTTP_HEADER_MAX * sizeof *h->headers);
	if (!h->headers)
		return HTTP_FAULT_HEAD_TOO_LONG;
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		if (!lf)
			return HTTP_FAULT_BAD_REQUEST;
		struct span line = line_at(p, lf);
		p = lf + 1;
		if (line.n == 0)
			break;
		if (h->n_header == HTTP_HEADER_MAX)
			return HTTP_FAULT_HEAD_TOO_LONG;
		enum http_fault f = parse_header(line, a, &h->headers[h->n_header]);
		if (f == HTTP_FAULT_HEADER_NAME)
			blank_name = f; /* told only when nothing worse follows */
		else if (f)
			return f;
		h->n_header++;
	}
	return blank_name;
}

enum http_fault http_head_parse(const char *buf, size_t n, struct arena *a, struct http_head *ret)
{
	*ret = (struct http_head){.method = API_OTHER, .method_text = "", .raw_path = "/", .query = "", .path = "/", .host = ""};
	const char *lf = memchr(buf, '\n', n);
	struct request_line rl;
	if (!lf || !parse_request_line(line_at(buf, lf), &rl))
		return HTTP_FAULT_BAD_REQUEST;
	ret->minor = rl.minor;
	ret->method_text = arena_strndup(a, rl.method.p, rl.method.n);
	if (!ret->method_text)
		return HTTP_FAULT_HEAD_TOO_LONG;
	ret->method = method_of(ret->method_text);
	struct span authority = {"", 0};
	enum http_fault f = parse_target(rl.target, a, ret, &authority);
	if (f)
		return f;
	enum http_fault names = parse_header_lines(lf + 1, buf + n, a, ret);
	if (names && names != HTTP_FAULT_HEADER_NAME)
		return names;
	if (rl.major != 1)
		return HTTP_FAULT_VERSION;
	parse_connection(ret);
	if ((f = parse_framing(ret)) || (f = parse_host(ret, authority, a)))
		return f;
	return names;
}

/* ---- body ---- */

enum { B_LENGTH, B_SIZE, B_EXT, B_SIZE_LF, B_CHUNK, B_CHUNK_CR, B_CHUNK_LF, B_TRAILER, B_TRAILER_LINE, B_TRAILER_LF, B_DONE, B_BAD };

void http_body_init(struct http_body *b, const struct http_head *h)
{
	*b = (struct http_body){.state = h->chunked ? B_SIZE : B_LENGTH, .left_bytes = (uint64_t)h->content_length_bytes};
}

static int bad(struct http_body *b, const char *error)
{
	b->error = error;
	return B_BAD;
}

/* A whole chunk line was read: many tiny or padded chunks must not cost more than they carry. */
static int chunk_line_done(struct http_body *b)
{
	b->overhead_bytes += (int64_t)b->n_line_bytes + 2 - 16;
	if (b->left_bytes < HTTP_CHUNK_OVERHEAD_MAX_BYTES)
		b->overhead_bytes -= 2 * (int64_t)b->left_bytes;
	else
		b->overhead_bytes = 0;
	if (b->overhead_bytes < 0)
		b->overhead_bytes = 0;
	if (b->overhead_bytes > HTTP_CHUNK_OVERHEAD_MAX_BYTES)
		return bad(b, "chunked encoding contains too much non-data");
	b->n_line_bytes = 0;
	return b->left_bytes ? B_CHUNK : B_TRAILER;
}

static int chunk_size_byte(struct http_body *b, char c)
{
	int v = hex_value(c);
	if (v >= 0) {
		if (b->left_bytes > (uint64_t)INT64_MAX >> 4 || b->n_line_bytes > 16)
			return bad(b, "http chunk length too large");
		b->left_bytes = b->left_bytes * 16 + (uint64_t)v;
		return B_SIZE;
	}
	if (b->n_line_bytes == 1)
		return bad(b, "invalid byte in chunk length"); /* no digit at all */
	if (c == '\r')
		return B_SIZE_LF;
	return c == ';' || is_blank(c) ? B_EXT : bad(b, "invalid byte in chunk length");
}

/* The next state after one byte of framing. */
static int frame_byte(struct http_body *b, char c)
{
	switch (b->state) {
	case B_SIZE:
	case B_EXT:
		if (++b->n_line_bytes > HTTP_CHUNK_LINE_MAX_BYTES)
			return bad(b, "header line too long");
		if (b->state == B_SIZE)
			return chunk_size_byte(b, c);
		if (c == '\n')
			return bad(b, "malformed chunked encoding");
		return c == '\r' ? B_SIZE_LF : B_EXT;
	case B_SIZE_LF:
		return c == '\n' ? chunk_line_done(b) : bad(b, "malformed chunked encoding");
	case B_CHUNK_CR:
		return c == '\r' ? B_CHUNK_LF : bad(b, "malformed chunked encoding");
	case B_CHUNK_LF:
		return c == '\n' ? B_SIZE : bad(b, "malformed chunked encoding");
	default:
		if (++b->n_trailer_bytes > HTTP_TRAILER_MAX_BYTES)
			return bad(b, "header line too long");
		if (c == '\n')
			return b->state == B_TRAILER_LINE ? B_TRAILER : B_DONE;
		if (b->state == B_TRAILER_LF)
			return bad(b, "malformed trailer");
		return b->state == B_TRAILER && c == '\r' ? B_TRAILER_LF : B_TRAILER_LINE;
	}
}

enum http_step http_body_feed(struct http_body *b, const char *in, size_t n, size_t *ret_used, const char **ret_data,
			      size_t *ret_n)
{
	size_t i = 0;
	*ret_used = 0;
	for (;;) {
		if (b->state == B_LENGTH && b->left_bytes == 0)
			b->state = B_DONE;
		if (b->state == B_DONE || b->state == B_BAD) {
			*ret_used = i;
			return b->state == B_DONE ? HTTP_DONE : HTTP_BAD;
		}
		if (i == n) {
			*ret_used = i;
			return HTTP_MORE;
		}
		if (b->state == B_LENGTH || b->state == B_CHUNK) {
			size_t take = n - i < b->left_bytes ? n - i : (size_t)b->left_bytes;
			*ret_data = in + i;
			*ret_n = take;
			*ret_used = i + take;
			b->left_bytes -= take;
			if (b->state == B_CHUNK && b->left_bytes == 0)
				b->state = B_CHUNK_CR;
			return HTTP_DATA;
		}
		b->state = frame_byte(b, in[i++]);
	}
}
