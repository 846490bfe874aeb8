/* The registry client's parts that need no network: addresses, URLs, what registries say, the records of a download. */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/registry_hash.h"
#include "store/registry_part.h"
#include "store/registry_priv.h"

static bool is_private(const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return reg_address_private((struct sockaddr *)&v4);
	ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return reg_address_private((struct sockaddr *)&v6);
}

START_TEST(addresses)
{
	static const char *const inside[] = {"127.0.0.1", "127.255.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
					     "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::",
					     "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"};
	static const char *const outside[] = {"8.8.8.8", "172.32.0.1", "172.15.0.1", "192.169.0.1", "100.128.0.1", "126.255.255.255",
					      "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"};
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		ck_assert_msg(is_private(inside[i]), "%s", inside[i]);
	for (size_t i = 0; i < ARRAY_LEN(outside); i++)
		ck_assert_msg(!is_private(outside[i]), "%s", outside[i]);
	ck_assert(reg_host_private("localhost") && reg_host_private("a.LOCALHOST") && reg_host_private("[::1]") && reg_host_private("10.0.0.1"));
	ck_assert(!reg_host_private("example.com") && !reg_host_private("[2606:4700::1]") && !reg_host_private("8.8.4.4"));
}
END_TEST

START_TEST(urls)
{
	static const struct {
		const char *location, *want; /* NULL: refused */
	} cases[] = {
		{"/x", "https://h.example/x"},
		{"y?z=1", "https://h.example/v2/y?z=1"},
		{"//other.example/x", "https://other.example/x"},
		{"HTTP://Other.example:80/x#f", "http://Other.example:80/x"},
		{"http://user:secret@h.example/", NULL},
		{"ftp://h.example/", NULL},
		{"file:///etc/passwd", NULL},
		{"http://", NULL},
	};
	struct str out = {0};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		str_clear(&out);
		bool ok = reg_url_join("https://h.example/v2/x", cases[i].location, &out);
		ck_assert_msg(ok == (cases[i].want != NULL), "%s", cases[i].location);
		if (ok)
			ck_assert_str_eq(out.data, cases[i].want);
	}
	str_clear(&out);
	ck_assert(reg_url_origin("http://2130706433/", &out)); /* 127.0.0.1 in disguise: the parser tells */
	ck_assert_str_eq(out.data, "http://127.0.0.1:80");
	str_release(&out);
}
END_TEST

START_TEST(challenges)
{
	struct reg_challenge c;
	reg_challenge_parse("Bearer realm=\"https://a/t\",service=\"s \\\"q\\\"\", scope=\"repository:x/y:pull,push\"", &c);
	ck_assert(c.bearer && !c.basic);
	ck_assert_str_eq(c.realm, "https://a/t");
	ck_assert_str_eq(c.service, "s \"q\"");
	ck_assert_str_eq(c.scope, "repository:x/y:pull,push");
	reg_challenge_release(&c);
	reg_challenge_parse("Digest realm=x, basic realm=\"Registry\", Bearer realm=\"https://b/\"", &c);
	ck_assert(c.basic && !c.bearer);
	ck_assert_str_eq(c.realm, "Registry");
	reg_challenge_release(&c);
	reg_challenge_parse("Bearer realm=\"unfinished", &c);
	ck_assert_str_eq(c.realm, "unfinished");
	reg_challenge_release(&c);
	reg_challenge_parse("", &c);
	ck_assert(!c.basic && !c.bearer);
	reg_challenge_release(&c);
}
END_TEST

static void header(struct reg_headers *h, const char *line)
{
	reg_header_line(h, line, strlen(line));
}

START_TEST(header_lines)
{
	struct reg_headers h;
	reg_headers_init(&h);
	header(&h, "Content-Range: bytes 10-19/100\r\n");
	header(&h, "location:\t/x \r\n");
	ck_assert_int_eq(h.first, 10);
	ck_assert_int_eq(h.last, 19);
	ck_assert_int_eq(h.total_bytes, 100);
	ck_assert_str_eq(h.location, "/x");
	header(&h, "HTTP/1.1 200 OK\r\n");
	ck_assert(!h.location && h.first == -1);
	header(&h, "Content-Range: bytes 19-10/100\r\n");
	ck_assert_int_eq(h.first, -1);
	header(&h, "Content-Range: bytes 0-9/*\r\n");
	ck_assert(h.last == 9 && h.total_bytes == -1);
	header(&h, "Content-Length: 99999999999999999999\r\n");
	ck_assert_int_eq(h.length_bytes, -1);
	header(&h, "Location: /a\tb\r\n");
	ck_assert(!h.location);
	reg_headers_release(&h);
}
END_TEST

static char root[64];
static struct store *st;
static const char digest[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void setup(void)
{
	struct err err;
	char dir[128];
	snprintf(root, sizeof root, "/tmp/cria-registry-XXXXXX");
	ck_assert(mkdtemp(root) != NULL);
	snprintf(dir, sizeof dir, "%s/models", root);
	ck_assert_int_eq(store_open(dir, NULL, &st, &err), 0);
}

static void teardown(void)
{
	char cmd[128];
	store_close(st);
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(part_records)
{
	struct reg_parts p;
	int64_t size = (INT64_C(40) << 20) + 7;
	reg_parts_load(st, digest, size, &p);
	ck_assert_uint_eq(p.n, 3);
	p.data[0].completed = 100;
	p.data[2].completed = p.data[2].size_bytes;
	reg_parts_save(&p);
	ck_assert_int_eq(reg_parts_prefix(&p), 100);
	reg_parts_release(&p);
	reg_parts_load(st, digest, size, &p);
	ck_assert_uint_eq(p.n, 3);
	ck_assert_int_eq(p.data[0].completed, 100);
	ck_assert(p.data[0].suspect && !p.data[1].suspect);
	ck_assert_int_eq(reg_parts_completed(&p), 100 + p.data[2].size_bytes);
	reg_parts_join(&p);
	ck_assert(p.n == 1 && p.data[0].completed == 100 && p.data[0].size_bytes == size);
	reg_parts_save(&p);
	reg_parts_release(&p);
	reg_parts_load(st, digest, size + 1, &p); /* records of another size are of no use */
	ck_assert(p.n == 3 && reg_parts_completed(&p) == 0);
	reg_parts_forget(&p);
	reg_parts_release(&p);
}
END_TEST

/* As Ollama writes them. */
START_TEST(part_records_of_others)
{
	static const char *const good[] = {"{\"N\":0,\"Offset\":0,\"Size\":60,\"Completed\":60}\n", "{\"N\":1,\"Offset\":60,\"Size\":40,\"Completed\":3}\n"};
	static const char *const bad[] = {"", "nonsense", "{\"Offset\":61,\"Size\":39,\"Completed\":0}", "{\"Offset\":60,\"Size\":41,\"Completed\":0}",
					  "{\"Offset\":60,\"Size\":40,\"Completed\":41}", "{\"Offset\":60,\"Size\":40,\"Completed\":-1}",
					  "{\"Offset\":60,\"Size\":0,\"Completed\":0}", "{\"Offset\":60,\"Size\":9223372036854775807,\"Completed\":0}"};
	struct str path = {0};
	struct reg_parts p;
	struct err err;
	for (size_t i = 0; i <= ARRAY_LEN(bad); i++) {
		for (size_t k = 0; k < 2; k++) {
			const char *text = k && i < ARRAY_LEN(bad) ? bad[i] : good[k];
			str_clear(&path);
			store_blob_path(st, digest, &path);
			str_printf(&path, "-partial-%zu", k);
			ck_assert_int_eq(store_file_write(path.data, text, strlen(text), &err), 0);
		}
		reg_parts_load(st, digest, 100, &p);
		ck_assert_int_eq(reg_parts_completed(&p), i == ARRAY_LEN(bad) ? 63 : 0);
		ck_assert_uint_eq(p.n, i == ARRAY_LEN(bad) ? 2 : 1);
		reg_parts_release(&p);
	}
	str_release(&path);
}
END_TEST

START_TEST(hash_follows)
{
	char path[128], got[72], want[65], data[5000];
	struct err err;
	snprintf(path, sizeof path, "%s/file", root);
	memset(data, 'q', sizeof data);
	ck_assert_int_eq(store_file_write(path, data, sizeof data, &err), 0);
	FILE *f = fopen(path, "rb");
	struct reg_hash *h = reg_hash_begin(fileno(f));
	for (int64_t at = 0; at <= 5000; at += 1000)
		reg_hash_advance(h, at);
	ck_assert_int_eq(reg_hash_end(h, NULL, got, &err), 0);
	store_sha256_hex(data, sizeof data, want);
	ck_assert_str_eq(got + 7, want);
	h = reg_hash_begin(fileno(f));
	reg_hash_advance(h, 6000); /* beyond the end */
	ck_assert_int_eq(reg_hash_end(h, NULL, got, &err), ERR_IO);
	fclose(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("registry");
	TCase *pure = tcase_create("pure"), *disk = tcase_create("disk");
	tcase_add_test(pure, addresses);
	tcase_add_test(pure, urls);
	tcase_add_test(pure, challenges);
	tcase_add_test(pure, header_lines);
	tcase_add_checked_fixture(disk, setup, teardown);
	tcase_add_test(disk, part_records);
	tcase_add_test(disk, part_records_of_others);
	tcase_add_test(disk, hash_follows);
	suite_add_tcase(s, pure);
	suite_add_tcase(s, disk);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
