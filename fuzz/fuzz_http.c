/* layer: http */
/* Requests off the wire: heads and bodies of one connection, one after the other, and the route of each. The same bytes in
 * other pieces must give the same requests. The first byte chooses the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/str.h"
#include "http/http_cors.h"
#include "http/http_host.h"
#include "http/http_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void handler(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx, (void)call;
}

static const struct api_route routes[] = {
	{API_GET | API_HEAD, "/", handler, 0},
	{API_POST, "/api/chat", handler, 0},
	{API_POST | API_HEAD, "/api/blobs/:digest", handler, 0},
	{API_GET, "/v1/models", handler, 0},
	{API_GET, "/v1/models/:model", handler, 0},
};

/* One pass over the input; what was understood is printed to out. */
struct pass {
	const char *in;
	size_t n, seen, at; /* bytes of the input, arrived, consumed */
	size_t step;
	struct str *out;
};

static void arrive(struct pass *p)
{
	p->seen = p->n - p->seen < p->step ? p->n : p->seen + p->step;
}

static void print_head(struct pass *p, const struct http_head *h, struct arena *a)
{
	struct http_route r;
	http_route_find(routes, ARRAY_LEN(routes), h, a, &r);
	str_printf(p->out, "%s %s %s host=%s /%d len=%lld %d%d%d%d n=%zu route=%d %s %d %s\n", h->method_text, h->path, h->query, h->host,
		   h->minor, (long long)h->content_length_bytes, h->chunked, h->expect_continue, h->expect_unknown, h->keep_alive,
		   h->n_header, r.kind, r.param, r.status, r.location ? r.location : "");
	if (r.location)
		BUG_ON(r.location[0] != '/' || r.location[1] == '/');
	for (size_t i = 0; i < h->n_header; i++)
		str_printf(p->out, "%s: %s\n", h->headers[i].name, h->headers[i].value);
}

/* False when the connection is over. */
static bool one_head(struct pass *p, struct arena *a, struct http_head *h)
{
	struct http_scan scan = {0};
	size_t n_head;
	enum http_fault f;
	for (;;) {
		enum http_step st = http_scan(&scan, p->in + p->at, p->seen - p->at, &n_head, &f);
		if (st == HTTP_BAD) {
			str_printf(p->out, "fault %d\n", f);
			return false;
		}
		if (st == HTTP_DONE)
			break;
		if (p->seen == p->n)
			return false;
		arrive(p);
	}
	f = http_head_parse(p->in + p->at, n_head, a, h);
	p->at += n_head;
	if (f) {
		str_printf(p->out, "fault %d\n", f);
		return false;
	}
	print_head(p, h, a);
	return true;
}

static bool one_body(struct pass *p, const struct http_head *h)
{
	struct http_body b;
	http_body_init(&b, h);
	for (;;) {
		const char *data;
		size_t used, n;
		enum http_step st = http_body_feed(&b, p->in + p->at, p->seen - p->at, &used, &data, &n);
		BUG_ON(used > p->seen - p->at);
		p->at += used;
		if (st == HTTP_DATA)
			str_add(p->out, data, n);
		if (st == HTTP_BAD)
			str_printf(p->out, "\nbad %s\n", b.error);
		if (st == HTTP_DONE || st == HTTP_BAD)
			return st == HTTP_DONE;
		if (st == HTTP_MORE && p->seen == p->n)
			return false;
		if (st == HTTP_MORE)
			arrive(p);
	}
}

static void run(const uint8_t *data, size_t size, size_t step, struct str *out)
{
	struct pass p = {.in = (const char *)data, .n = size, .step = step, .out = out};
	for (int i = 0; i < 8; i++) {
		struct arena a;
		struct http_head h;
		arena_init(&a, 4 << 20);
		bool more = one_head(&p, &a, &h) && one_body(&p, &h);
		arena_release(&a);
		if (!more)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str whole = {0}, pieces = {0};
	if (size == 0)
		return 0;
	run(data + 1, size - 1, SIZE_MAX / 2, &whole);
	run(data + 1, size - 1, data[0] % 16 + 1u, &pieces);
	BUG_ON(whole.len != pieces.len || memcmp(str_cstr(&whole), str_cstr(&pieces), whole.len));
	if (whole.len) { /* any text as a host and an origin */
		struct http_origins o;
		http_origins_init(&o, "https://*.a.example,x*");
		http_host_check(whole.data);
		http_cors_check(&o, whole.data, "h");
		http_origins_release(&o);
	}
	str_release(&whole);
	str_release(&pieces);
	return 0;
}
