/* Frames over a socketpair: roundtrips, descriptors, and peers that break the rules. */
#include <check.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "ipc/ipc_frame.h"

static struct ipc_conn *a, *b;
static int raw; /* the peer's end when the test plays a hostile peer */

static void pair(void)
{
	int sv[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	a = ipc_conn_new(sv[0]);
	b = ipc_conn_new(sv[1]);
}

static void hostile(void)
{
	int sv[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	a = ipc_conn_new(sv[0]);
	raw = sv[1];
}

static int n_open_fds(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Pumps both ends until a frame is complete. */
static int receive(struct ipc_conn *from, struct ipc_conn *to, struct ipc_frame *f, struct err *err)
{
	for (int i = 0; i < 100000; i++) {
		int rc = ipc_conn_next(to, f, err);
		if (rc)
			return rc;
		rc = ipc_conn_flush(from, err);
		if (!rc)
			rc = ipc_conn_fill(to, err);
		if (rc)
			return rc;
	}
	return 0;
}

START_TEST(roundtrip)
{
	struct ipc_frame f;
	struct err err;
	pair();
	static const size_t sizes[] = {0, 1, 15, 16, 17, 4096, 100001, 3 << 20};
	char *data = mem_alloc(3 << 20);
	for (size_t i = 0; i < 3 << 20; i++)
		data[i] = (char)(i * 31 >> 3);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		ipc_conn_push(a, IPC_EVENT, i + 1, data, sizes[i], NULL, 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
		ck_assert_uint_eq(f.head.stream, i + 1);
		ck_assert_uint_eq(f.head.n_bytes, sizes[i]);
		ck_assert_uint_eq((uintptr_t)f.data % 16, 0);
		ck_assert_int_eq(memcmp(f.data, data, sizes[i]), 0);
	}
	ck_assert_uint_eq(ipc_conn_pending(a), 0);
	ck_assert_int_eq(ipc_conn_next(b, &f, &err), 0);
	mem_free(data);
	ipc_conn_free(a);
	ipc_conn_free(b);
}
END_TEST

START_TEST(many_small)
{
	struct ipc_frame f;
	struct err err;
	pair();
	for (uint64_t i = 1; i <= 50000; i++)
		ipc_conn_push(a, IPC_EVENT, i, &i, sizeof i, NULL, 0);
	for (uint64_t i = 1; i <= 50000; i++) {
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
		ck_assert_uint_eq(f.head.stream, i);
		ck_assert_int_eq(memcmp(f.data, &i, sizeof i), 0);
	}
	ipc_conn_free(a);
	ipc_conn_free(b);
}
END_TEST

/* Descriptors stay with their frames, also between large frames without any. */
START_TEST(descriptors)
{
	struct ipc_frame f;
	struct err err;
	struct stat want, got;
	int before = n_open_fds();
	pair();
	char *big = mem_zalloc(400000);
	int pipes[8][2];
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
		ipc_conn_push(a, IPC_GEN, 1, big, 400000, NULL, 0);
		ipc_conn_push(a, IPC_LOAD, 0, "x", 1, pipes[i], i % 2 + 1);
	}
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
		ck_assert_int_eq(f.head.type, IPC_GEN);
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
		ck_assert_int_eq(f.head.type, IPC_LOAD);
		ck_assert_int_eq(f.head.n_fd, i % 2 + 1);
		for (int k = 0; k < f.head.n_fd; k++) {
			fstat(pipes[i][k], &want);
			fstat(f.fds[k], &got);
			ck_assert_uint_eq(want.st_ino, got.st_ino);
			ck_assert_int_eq(fcntl(f.fds[k], F_GETFD), FD_CLOEXEC);
			close(f.fds[k]);
		}
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	mem_free(big);
	ipc_conn_free(a);
	ipc_conn_free(b);
	ck_assert_int_eq(n_open_fds(), before);
}
END_TEST

/* Descriptors that were queued, or received and never taken, are closed with the connection. */
START_TEST(descriptors_untaken)
{
	struct err err;
	int before = n_open_fds(), fds[IPC_FD_MAX];
	pair();
	for (int i = 0; i < IPC_FD_MAX; i++)
		fds[i] = 0;
	ipc_conn_push(a, IPC_LOAD, 0, "x", 1, fds, IPC_FD_MAX);
	ck_assert_int_eq(ipc_conn_flush(a, &err), 0);
	ck_assert_int_eq(ipc_conn_fill(b, &err), 0);
	ipc_conn_push(a, IPC_LOAD, 0, "x", 1, fds, IPC_FD_MAX);
	ipc_conn_free(a);
	ipc_conn_free(b);
	ck_assert_int_eq(n_open_fds(), before);
}
END_TEST

START_TEST(full_descriptor_frames)
{
	struct ipc_frame f;
	struct err err;
	int fds[IPC_FD_MAX] = {0};
	char big[100000] = {0};
	pair();
	for (int i = 0; i < 10; i++)
		ipc_conn_push(a, IPC_LOAD, 0, big, sizeof big, fds, IPC_FD_MAX);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
		ck_assert_int_eq(f.head.n_fd, IPC_FD_MAX);
		for (int k = 0; k < IPC_FD_MAX; k++)
			close(f.fds[k]);
	}
	ipc_conn_free(a);
	ipc_conn_free(b);
}
END_TEST

START_TEST(bad_descriptor)
{
	struct err err;
	int fd = 987654;
	pair();
	ipc_conn_push(a, IPC_LOAD, 0, "x", 1, &fd, 1);
	ck_assert_int_eq(ipc_conn_flush(a, &err), ERR_IO);
	ipc_conn_free(a);
	ipc_conn_free(b);
}
END_TEST

START_TEST(peer_gone)
{
	struct ipc_frame f;
	struct err err;
	pair();
	ipc_conn_push(a, IPC_FAILED, 0, "{}", 2, NULL, 0);
	ck_assert_int_eq(ipc_conn_flush(a, &err), 0);
	ipc_conn_free(a);
	/* what was said before the end arrives */
	ck_assert_int_eq(ipc_conn_fill(b, &err), 0);
	ck_assert_int_eq(ipc_conn_next(b, &f, &err), 1);
	ck_assert_int_eq(ipc_conn_fill(b, &err), ERR_CRASHED);
	ipc_conn_push(b, IPC_PING, 0, NULL, 0, NULL, 0);
	ck_assert_int_eq(ipc_conn_flush(b, &err), ERR_CRASHED);
	ipc_conn_free(b);
}
END_TEST

/* A reader that does not read: the writer never blocks, nothing is lost. */
START_TEST(slow_reader)
{
	struct ipc_frame f;
	struct err err;
	char block[65536] = {0};
	pair();
	for (int i = 0; i < 100; i++) {
		ipc_conn_push(a, IPC_EVENT, 7, block, sizeof block, NULL, 0);
		ck_assert_int_eq(ipc_conn_flush(a, &err), 0);
	}
	ck_assert_uint_gt(ipc_conn_pending(a), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(receive(a, b, &f, &err), 1);
	ck_assert_uint_eq(ipc_conn_pending(a), 0);
	ipc_conn_free(a);
	ipc_conn_free(b);
}
END_TEST

static const struct ipc_header bad_headers[] = {
	{0, 0, 0, 0},                          /* type 0 */
	{0, IPC_TYPE_END, 0, 0},
	{0, 65535, 0, 0},
	{UINT32_MAX, IPC_EVENT, 0, 1},         /* payload over the limit */
	{IPC_PAYLOAD_MAX + 1u, IPC_GEN, 0, 1},
	{1, IPC_PING, 0, 0},                   /* no payload allowed */
	{2, IPC_PARK, 0, 1},
	{1 << 20, IPC_PONG, 0, 0},
	{0, IPC_EVENT, 1, 1},                  /* no descriptors allowed */
	{0, IPC_LOAD, IPC_FD_MAX + 1, 0},
	{0, IPC_EVENT, 0, 0},                  /* no stream */
	{0, IPC_LOADED, 0, 3},                 /* a stream where there is none */
	{0, IPC_LOAD, 1, 0},                   /* announced descriptor does not come */
};

START_TEST(bad_header)
{
	struct ipc_frame f;
	struct err err;
	hostile();
	ck_assert_int_eq(write(raw, &bad_headers[_i], sizeof bad_headers[_i]), sizeof bad_headers[_i]);
	ck_assert_int_eq(ipc_conn_fill(a, &err), 0);
	ck_assert_int_eq(ipc_conn_next(a, &f, &err), ERR_FORMAT);
	ipc_conn_free(a);
	close(raw);
}
END_TEST

static void send_fds(const void *data, size_t n, int n_fd)
{
	char control[CMSG_SPACE(sizeof(int) * 64)] __attribute__((aligned(16))) = {0};
	struct iovec iov = {.iov_base = (void *)data, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fd)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n_fd);
	memset(CMSG_DATA(h), 0, sizeof(int) * (size_t)n_fd); /* all of them standard input */
	ck_assert_int_eq(sendmsg(raw, &msg, 0), (ssize_t)n);
}

START_TEST(too_many_descriptors)
{
	struct err err;
	int before = n_open_fds();
	hostile();
	struct ipc_header h = {0, IPC_LOAD, IPC_FD_MAX, 0};
	send_fds(&h, sizeof h, 40);
	ck_assert_int_eq(ipc_conn_fill(a, &err), ERR_FORMAT);
	ipc_conn_free(a);
	close(raw);
	ck_assert_int_eq(n_open_fds(), before);
}
END_TEST

START_TEST(unannounced_descriptors)
{
	struct ipc_frame f;
	struct err err;
	int before = n_open_fds();
	hostile();
	/* a partial header with a descriptor, again and again: the pile is bounded */
	struct ipc_header h = {4096, IPC_EVENT, 0, 1};
	int rc = 0;
	send_fds(&h, sizeof h, 1);
	ck_assert_int_eq(ipc_conn_fill(a, &err), 0);
	rc = ipc_conn_next(a, &f, &err);
	ck_assert_int_eq(rc, ERR_FORMAT);
	ipc_conn_free(a);
	close(raw);
	hostile();
	for (rc = 0; rc == 0;) {
		send_fds("x", 1, 10);
		rc = ipc_conn_fill(a, &err);
		if (!rc)
			rc = ipc_conn_next(a, &f, &err);
		ck_assert_int_lt(n_open_fds(), before + 60);
	}
	ck_assert_int_eq(rc, ERR_FORMAT);
	ipc_conn_free(a);
	close(raw);
	ck_assert_int_eq(n_open_fds(), before);
}
END_TEST

START_TEST(cut_short)
{
	struct ipc_frame f;
	struct err err;
	hostile();
	struct ipc_header h = {100, IPC_EVENT, 0, 1};
	ck_assert_int_eq(write(raw, &h, sizeof h), sizeof h);
	ck_assert_int_eq(write(raw, "abc", 3), 3);
	close(raw);
	ck_assert_int_eq(ipc_conn_fill(a, &err), 0);
	ck_assert_int_eq(ipc_conn_next(a, &f, &err), 0);
	ck_assert_int_eq(ipc_conn_fill(a, &err), ERR_CRASHED);
	ipc_conn_free(a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ipc_frame");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, roundtrip);
	tcase_add_test(t, many_small);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, descriptors_untaken);
	tcase_add_test(t, full_descriptor_frames);
	tcase_add_test(t, bad_descriptor);
	tcase_add_test(t, peer_gone);
	tcase_add_test(t, slow_reader);
	tcase_add_loop_test(t, bad_header, 0, (int)(sizeof bad_headers / sizeof *bad_headers));
	tcase_add_test(t, too_many_descriptors);
	tcase_add_test(t, unannounced_descriptors);
	tcase_add_test(t, cut_short);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
