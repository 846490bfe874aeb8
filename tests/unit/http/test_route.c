/* Routes and redirects, origins, hosts. */
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "http/http_cors.h"
#include "http/http_host.h"
#include "http/http_route.h"

static void handler(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx, (void)call;
}

static const struct api_route routes[] = {
	{API_GET | API_HEAD, "/", handler, 0},
	{API_GET | API_HEAD, "/api/version", handler, 0},
	{API_POST, "/api/chat", handler, 0},
	{API_HEAD, "/api/blobs/:digest", handler, 0},
	{API_POST, "/api/blobs/:digest", handler, API_BODY_FILE},
	{API_GET, "/v1/models", handler, 0},
	{API_GET, "/v1/models/:model", handler, 0},
};

static const struct {
	const char *method, *target;
	enum http_route_kind kind;
	const char *want; /* param, allowed, or "status location" */
} cases[] = {
	{"GET", "/", HTTP_ROUTE_FOUND, ""},
	{"GET", "/api/version?x=1", HTTP_ROUTE_FOUND, ""},
	{"GET", "/api/%76ersion", HTTP_ROUTE_FOUND, ""},
	{"GET", "/API/version", HTTP_ROUTE_UNKNOWN, ""},
	{"GET", "/api", HTTP_ROUTE_UNKNOWN, ""},
	{"GET", "/api/", HTTP_ROUTE_UNKNOWN, ""},
	{"GET", "/api/versions", HTTP_ROUTE_UNKNOWN, ""},
	{"POST", "/api/version", HTTP_ROUTE_METHOD, "HEAD, GET"},
	{"GET", "/api/chat", HTTP_ROUTE_METHOD, "POST"},
	{"OPTIONS", "/api/chat", HTTP_ROUTE_METHOD, "POST"},
	{"BREW", "/api/chat", HTTP_ROUTE_METHOD, "POST"},
	{"GET", "/api/blobs/sha256:1", HTTP_ROUTE_METHOD, "HEAD, POST"},
	{"POST", "/api/blobs/sha256:1", HTTP_ROUTE_FOUND, "sha256:1"},
	{"GET", "/v1/models/a%3Ab", HTTP_ROUTE_FOUND, "a:b"},
	{"GET", "/v1/models/a/b", HTTP_ROUTE_UNKNOWN, ""},
	{"GET", "/v1/models/", HTTP_ROUTE_REDIRECT, "301 /v1/models"},
	{"GET", "/v1/models/x/?q=1", HTTP_ROUTE_REDIRECT, "301 /v1/models/x?q=1"},
	{"POST", "/api/chat/", HTTP_ROUTE_REDIRECT, "307 /api/chat"},
	{"HEAD", "/api/version/", HTTP_ROUTE_REDIRECT, "307 /api/version"},
	{"POST", "/api/version/", HTTP_ROUTE_UNKNOWN, ""},
	{"GET", "//api/version", HTTP_ROUTE_REDIRECT, "307 /api/version"},
	{"POST", "/api//chat?a=b", HTTP_ROUTE_REDIRECT, "307 /api/chat?a=b"},
	{"GET", "/api/../api/version", HTTP_ROUTE_REDIRECT, "307 /api/version"},
	{"GET", "/./", HTTP_ROUTE_REDIRECT, "307 /"},
	{"GET", "/../../x/", HTTP_ROUTE_REDIRECT, "307 /x/"},
	{"GET", "/a/.", HTTP_ROUTE_REDIRECT, "307 /a"},
	{"GET", "/a/..", HTTP_ROUTE_REDIRECT, "307 /"},
	{"GET", "/a/b/../c//", HTTP_ROUTE_REDIRECT, "307 /a/c/"},
	{"GET", "//evil.example/%2e", HTTP_ROUTE_REDIRECT, "307 /evil.example/%2e"},
	{"GET", "//\xc3\xa4", HTTP_ROUTE_REDIRECT, "307 /%C3%A4"},
	{"OPTIONS", "*", HTTP_ROUTE_UNKNOWN, ""},
};

START_TEST(find)
{
	struct arena a;
	struct http_head h;
	struct http_route r;
	struct str msg = {0}, got = {0};
	char allow[96];
	arena_init(&a, 1 << 20);
	str_printf(&msg, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", cases[_i].method, cases[_i].target);
	ck_assert_int_eq(http_head_parse(msg.data, msg.len, &a, &h), HTTP_FAULT_NONE);
	http_route_find(routes, sizeof routes / sizeof *routes, &h, &a, &r);
	ck_assert_msg(r.kind == cases[_i].kind, "%s: kind %d", msg.data, r.kind);
	http_route_allow_text(r.allowed, allow);
	if (r.kind == HTTP_ROUTE_REDIRECT)
		str_printf(&got, "%d %s", r.status, r.location);
	else
		str_adds(&got, r.kind == HTTP_ROUTE_METHOD ? allow : r.param);
	ck_assert_str_eq(got.data, cases[_i].want);
	ck_assert(r.kind != HTTP_ROUTE_FOUND || (r.route->methods & h.method));
	str_release(&msg);
	str_release(&got);
	arena_release(&a);
}
END_TEST

START_TEST(redirect_body)
{
	struct str s = {0};
	http_route_redirect_body("/a?b=<&\"'>", "Moved Permanently", &s);
	ck_assert_str_eq(s.data, "<a href=\"/a?b=&lt;&amp;&#34;&#39;&gt;\">Moved Permanently</a>.\n\n");
	str_release(&s);
}
END_TEST

START_TEST(origins)
{
	static const struct {
		const char *list, *origin;
		enum http_cors want;
	} t[] = {
		{NULL, NULL, HTTP_CORS_NONE},
		{NULL, "", HTTP_CORS_NONE},
		{NULL, "http://h:1", HTTP_CORS_NONE},
		{NULL, "https://h:1", HTTP_CORS_NONE},
		{NULL, "http://localhost", HTTP_CORS_ALLOW},
		{NULL, "https://127.0.0.1:99", HTTP_CORS_ALLOW},
		{NULL, "http://localhost.evil.example", HTTP_CORS_DENY},
		{NULL, "http://evil.example", HTTP_CORS_DENY},
		{NULL, "null", HTTP_CORS_DENY},
		{NULL, "vscode-webview://abc", HTTP_CORS_ALLOW},
		{NULL, "tauri://localhost", HTTP_CORS_ALLOW},
		{"https://a.example", "https://a.example", HTTP_CORS_ALLOW},
		{"https://a.example", "https://b.example", HTTP_CORS_DENY},
		{" http://x , https://*.a.example ", "https://q.a.example", HTTP_CORS_ALLOW},
		{"https://*.a.example", "https://a.example", HTTP_CORS_DENY},
		{"ab*ba", "aba", HTTP_CORS_DENY}, /* head and tail must not overlap */
		{"chrome-extension://*", "chrome-extension://id", HTTP_CORS_ALLOW},
		{",,*", "http://evil.example", HTTP_CORS_ALLOW},
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct http_origins o;
		http_origins_init(&o, t[i].list);
		ck_assert_msg(http_cors_check(&o, t[i].origin, "h:1") == t[i].want, "case %zu", i);
		http_origins_release(&o);
	}
}
END_TEST

START_TEST(hosts)
{
	static const struct {
		const char *host;
		enum http_host want;
	} t[] = {
		{"", HTTP_HOST_ADDRESS},
		{":80", HTTP_HOST_ADDRESS},
		{"127.0.0.1:11434", HTTP_HOST_ADDRESS},
		{"127.9.9.9", HTTP_HOST_ADDRESS},
		{"192.168.1.7:11434", HTTP_HOST_ADDRESS},
		{"172.16.0.1", HTTP_HOST_ADDRESS},
		{"172.31.255.255", HTTP_HOST_ADDRESS},
		{"172.32.0.1", HTTP_HOST_DENY},
		{"0.0.0.0:1", HTTP_HOST_ADDRESS},
		{"8.8.8.8", HTTP_HOST_DENY},
		{"[::1]:11434", HTTP_HOST_ADDRESS},
		{"[::1]", HTTP_HOST_ADDRESS},
		{"::1", HTTP_HOST_ADDRESS},
		{"[fd00::1]", HTTP_HOST_ADDRESS},
		{"[2001:db8::1]:1", HTTP_HOST_DENY},
		{"[::ffff:10.0.0.1]", HTTP_HOST_ADDRESS},
		{"localhost", HTTP_HOST_NAME},
		{"LOCALHOST:1", HTTP_HOST_NAME},
		{"a.localhost", HTTP_HOST_NAME},
		{"box.local:11434", HTTP_HOST_NAME},
		{"x.INTERNAL", HTTP_HOST_NAME},
		{"evil.example", HTTP_HOST_DENY},
		{"evil.example:11434", HTTP_HOST_DENY},
		{"localhost.evil.example", HTTP_HOST_DENY},
		{"notlocalhost", HTTP_HOST_DENY},
		{".local", HTTP_HOST_DENY},
		{"127.0.0.1.evil.example", HTTP_HOST_DENY},
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		ck_assert_msg(http_host_check(t[i].host) == t[i].want, "host %s", t[i].host);
	char own[300], longest[400];
	gethostname(own, 256);
	ck_assert_int_ne(http_host_check(own), HTTP_HOST_DENY);
	memset(longest, 'a', sizeof longest);
	longest[399] = '\0';
	ck_assert_int_eq(http_host_check(longest), HTTP_HOST_DENY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("http_route");
	TCase *t = tcase_create("all");
	tcase_add_loop_test(t, find, 0, (int)(sizeof cases / sizeof *cases));
	tcase_add_test(t, redirect_body);
	tcase_add_test(t, origins);
	tcase_add_test(t, hosts);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
