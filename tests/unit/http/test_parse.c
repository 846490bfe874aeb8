/* Request heads and bodies: what is accepted, what is refused and how, and that splits do not matter. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "http/http_parse.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 1 << 20);
}

static void teardown(void)
{
	arena_release(&a);
}

/* Scans byte by byte, then parses. */
static enum http_fault parse(const char *msg, struct http_head *h)
{
	struct http_scan s = {0};
	size_t n = strlen(msg), n_head = 0;
	enum http_fault f = HTTP_FAULT_NONE;
	for (size_t i = 1; i <= n; i++) {
		enum http_step st = http_scan(&s, msg, i, &n_head, &f);
		if (st == HTTP_BAD)
			return f;
		if (st == HTTP_DONE)
			return http_head_parse(msg, n_head, &a, h);
	}
	return HTTP_FAULT_END_; /* incomplete */
}

static const struct {
	const char *msg;
	enum http_fault fault;
} faults[] = {
	{"HELLO\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{" GET / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / http/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/11\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", HTTP_FAULT_VERSION},
	{"GET / HTTP/0.9\r\nHost: x\r\n\r\n", HTTP_FAULT_VERSION},
	{"GET / HTTP/1.1\r\n\r\n", HTTP_FAULT_NO_HOST},
	{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_FAULT_MANY_HOSTS},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_FAULT_BAD_HOST},
	{"GET / HTTP/1.1\r\nHost: x\r\nbad header line\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1\r\nHost: x\r\nA(b: v\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1\r\nHost: x\r\nA b: v\r\n\r\n", HTTP_FAULT_HEADER_NAME},
	{"GET / HTTP/1.1\r\nHost : x\r\nHost: x\r\n\r\n", HTTP_FAULT_HEADER_NAME},
	{"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n folded\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", HTTP_FAULT_CODING},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HTTP_FAULT_CODING},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_FAULT_CODING},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /api/%zz HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /api/%2 HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /api/% HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /api/%00 HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET api HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET http:/x HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET http://a b/ HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	{"GET http://a<b/ HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_BAD_REQUEST},
	/* accepted */
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_FAULT_NONE},
	{"GET / HTTP/1.1\nHost: x\n\n", HTTP_FAULT_NONE},
	{"GET / HTTP/1.0\r\n\r\n", HTTP_FAULT_NONE},
	{"GET / HTTP/1.2\r\nHost: x\r\n\r\n", HTTP_FAULT_NONE},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", HTTP_FAULT_NONE},
	{"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_NONE},
	{"GET /%7e?%zz HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_NONE},
	{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_FAULT_NONE},
	{"GET / HTTP/1.1\r\nHost: [::1]:80\r\nA: \xc3\xa4\r\n\r\n", HTTP_FAULT_NONE},
};

START_TEST(head_faults)
{
	struct http_head h;
	enum http_fault f = parse(faults[_i].msg, &h);
	ck_assert_msg(f == faults[_i].fault, "%s: fault %d, expected %d", faults[_i].msg, f, faults[_i].fault);
}
END_TEST

START_TEST(head_fields)
{
	struct http_head h;
	ck_assert_int_eq(parse("POST /a%20b%2Fc/x?y=%zz HTTP/1.1\r\nhOST: h:1\r\nX-A:  b c \t\r\nx-a: last\r\nContent-Length: 007\r\n"
			       "Connection: Keep-Alive, x\r\n\r\n",
			       &h),
			 HTTP_FAULT_NONE);
	ck_assert_int_eq(h.method, API_POST);
	ck_assert_str_eq(h.path, "/a b/c/x");
	ck_assert_str_eq(h.raw_path, "/a%20b%2Fc/x");
	ck_assert_str_eq(h.query, "?y=%zz");
	ck_assert_str_eq(h.host, "h:1");
	ck_assert_str_eq(h.headers[1].value, "b c");
	ck_assert_str_eq(http_header(&h, "X-a"), "last");
	ck_assert_int_eq(h.content_length_bytes, 7);
	ck_assert(h.keep_alive && !h.chunked && !h.expect_continue);

	ck_assert_int_eq(parse("GET http://other:9 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-Continue\r\n\r\n", &h),
			 HTTP_FAULT_NONE);
	ck_assert_str_eq(h.path, "/");
	ck_assert_str_eq(h.host, "other:9");
	ck_assert(!h.keep_alive && h.expect_continue);

	ck_assert_int_eq(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: something\r\n\r\n", &h), HTTP_FAULT_NONE);
	ck_assert(h.keep_alive && !h.expect_unknown && h.minor == 0);
	ck_assert_int_eq(parse("GET / HTTP/1.0\r\n\r\n", &h), HTTP_FAULT_NONE);
	ck_assert(!h.keep_alive);
	ck_assert_int_eq(parse("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 4\r\n"
			       "Transfer-Encoding: Chunked\r\n\r\n",
			       &h),
			 HTTP_FAULT_NONE);
	ck_assert(h.expect_unknown && h.chunked && h.content_length_bytes == 0 && !h.keep_alive);
}
END_TEST

START_TEST(head_limits)
{
	struct str s = {0};
	struct http_scan scan = {0};
	struct http_head h;
	size_t n;
	enum http_fault f;
	str_adds(&s, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
	while (s.len < HTTP_HEAD_MAX_BYTES + 10)
		str_addc(&s, 'a');
	ck_assert_int_eq(http_scan(&scan, s.data, HTTP_HEAD_MAX_BYTES, &n, &f), HTTP_MORE);
	ck_assert_int_eq(http_scan(&scan, s.data, s.len, &n, &f), HTTP_BAD);
	ck_assert_int_eq(f, HTTP_FAULT_HEAD_TOO_LONG);
	str_clear(&s);
	str_adds(&s, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < HTTP_HEADER_MAX; i++)
		str_adds(&s, "a: b\r\n");
	str_adds(&s, "\r\n");
	ck_assert_int_eq(parse(s.data, &h), HTTP_FAULT_HEAD_TOO_LONG);
	/* a line without any end is bounded too */
	scan = (struct http_scan){0};
	memset(s.data, 'A', s.len);
	while (s.len <= HTTP_HEAD_MAX_BYTES)
		str_addc(&s, 'A');
	ck_assert_int_eq(http_scan(&scan, s.data, s.len, &n, &f), HTTP_BAD);
	str_release(&s);
}
END_TEST

/* Decodes with pieces of `step` bytes; the text is "payload|rest" or "!error". */
static void decode(const char *in, bool chunked, int64_t length, size_t step, struct str *out)
{
	struct http_head h = {.chunked = chunked, .content_length_bytes = length};
	struct http_body b;
	size_t n = strlen(in), i = 0, end = 0;
	http_body_init(&b, &h);
	for (;;) {
		const char *data;
		size_t used, n_data;
		enum http_step st = http_body_feed(&b, in + i, end - i, &used, &data, &n_data);
		i += used;
		if (st == HTTP_DATA)
			str_add(out, data, n_data);
		if (st == HTTP_DONE) {
			str_printf(out, "|%s", in + i);
			return;
		}
		if (st == HTTP_BAD) {
			str_clear(out);
			str_printf(out, "!%s", b.error);
			return;
		}
		if (st == HTTP_MORE) {
			if (end == n) {
				str_adds(out, "...");
				return;
			}
			end = end + step < n ? end + step : n;
		}
	}
}

static const struct {
	const char *in;
	bool chunked;
	int64_t length;
	const char *want;
} bodies[] = {
	{"helloGET", false, 5, "hello|GET"},
	{"GET", false, 0, "|GET"},
	{"hel", false, 5, "hel..."},
	{"5\r\nhello\r\n0\r\n\r\nGET", true, 0, "hello|GET"},
	{"5;x=y;z=\"q\"\r\nhello\r\n1 \t\r\n!\r\n000\r\nX-T: 1\r\nY: 2\r\n\r\nGET", true, 0, "hello!|GET"},
	{"0\r\n\r\n", true, 0, "|"},
	{"A\r\n0123456789\r\n0\n\n", true, 0, "!invalid byte in chunk length"},
	{"zz\r\n", true, 0, "!invalid byte in chunk length"},
	{"\r\nhello", true, 0, "!invalid byte in chunk length"},
	{"-5\r\n", true, 0, "!invalid byte in chunk length"},
	{"5\nhello\r\n", true, 0, "!invalid byte in chunk length"},
	{"5;a\nhello\r\n", true, 0, "!malformed chunked encoding"},
	{"5\r\nhelloX\r\n", true, 0, "!malformed chunked encoding"},
	{"5\r\nhello\rX", true, 0, "!malformed chunked encoding"},
	{"5\r\rhello", true, 0, "!malformed chunked encoding"},
	{"10000000000000000\r\n", true, 0, "!http chunk length too large"},
	{"ffffffffffffffff\r\n", true, 0, "!http chunk length too large"},
	{"00000000000000000001\r\n", true, 0, "!http chunk length too large"},
	{"5\r\nhel", true, 0, "hel..."},
	{"0\r\nX", true, 0, "..."},
};

START_TEST(body_forms)
{
	for (size_t step = 1; step < 20; step++) {
		struct str out = {0};
		decode(bodies[_i].in, bodies[_i].chunked, bodies[_i].length, step, &out);
		ck_assert_str_eq(str_cstr(&out), bodies[_i].want);
		str_release(&out);
	}
}
END_TEST

START_TEST(body_limits)
{
	struct str in = {0}, out = {0};
	str_adds(&in, "1;");
	while (in.len < HTTP_CHUNK_LINE_MAX_BYTES + 10)
		str_addc(&in, 'x');
	decode(in.data, true, 0, 4096, &out);
	ck_assert_str_eq(out.data, "!header line too long");
	str_clear(&in);
	str_clear(&out);
	for (int i = 0; i < 40; i++) { /* padded one-byte chunks */
		str_adds(&in, "1;");
		for (int j = 0; j < 1000; j++)
			str_addc(&in, 'x');
		str_adds(&in, "\r\na\r\n");
	}
	decode(in.data, true, 0, 4096, &out);
	ck_assert_str_eq(out.data, "!chunked encoding contains too much non-data");
	str_clear(&in);
	str_clear(&out);
	for (int i = 0; i < 20000; i++) /* plain one-byte chunks are fine */
		str_adds(&in, "1\r\na\r\n");
	str_adds(&in, "0\r\n\r\n");
	decode(in.data, true, 0, 4096, &out);
	ck_assert_uint_eq(out.len, 20001);
	str_clear(&in);
	str_clear(&out);
	str_adds(&in, "0\r\n");
	while (in.len < HTTP_TRAILER_MAX_BYTES + 100)
		str_adds(&in, "a: b\r\n");
	decode(in.data, true, 0, 4096, &out);
	ck_assert_str_eq(out.data, "!header line too long");
	str_release(&in);
	str_release(&out);
}
END_TEST

START_TEST(tokens)
{
	ck_assert(http_has_token("close", "close"));
	ck_assert(http_has_token("x ,\tCLOSE", "close"));
	ck_assert(!http_has_token("closed", "close"));
	ck_assert(!http_has_token("", "close"));
	ck_assert(!http_has_token(NULL, "close"));
	ck_assert(!http_has_token(",,", "close"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("http_parse");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, head_faults, 0, (int)(sizeof faults / sizeof *faults));
	tcase_add_test(t, head_fields);
	tcase_add_test(t, head_limits);
	tcase_add_loop_test(t, body_forms, 0, (int)(sizeof bodies / sizeof *bodies));
	tcase_add_test(t, body_limits);
	tcase_add_test(t, tokens);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
