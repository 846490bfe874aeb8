/* layer: ipc */
/* The first byte picks what the rest is: a stream of frames sent through a socketpair, or the payload of one message. What
 * a decoder accepts must encode again, and that text must be accepted too. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/ipc_frame.h"
#include "ipc/ipc_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE(name, type)                                                                                            \
	static void name(const char *p, size_t n)                                                                      \
	{                                                                                                              \
		struct type m, again;                                                                                  \
		struct str s = {0};                                                                                    \
		if (type##_decode(p, n, &m, NULL))                                                                     \
			return;                                                                                        \
		type##_encode(&m, &s);                                                                                 \
		if (type##_decode(s.data, s.len, &again, NULL))                                                        \
			abort();                                                                                       \
		release_##type(&again);                                                                                \
		release_##type(&m);                                                                                    \
		str_release(&s);                                                                                       \
	}

#define release_gen_req gen_req_release
#define release_gen_event gen_event_release
#define release_load_req load_req_release
#define release_loaded_info loaded_info_release
#define release_runner_stats(m) (void)(m)
MESSAGE(fuzz_gen_req, gen_req)
MESSAGE(fuzz_gen_event, gen_event)
MESSAGE(fuzz_load_req, load_req)
MESSAGE(fuzz_loaded_info, loaded_info)
MESSAGE(fuzz_runner_stats, runner_stats)

static volatile unsigned sink;

static void fuzz_failed(const char *p, size_t n)
{
	struct err failed;
	double share;
	load_failed_decode(p, n, &failed, NULL);
	load_progress_decode(p, n, &share, NULL);
}

static void fuzz_embedding(const char *p, size_t n)
{
	struct gen_event e;
	void *aligned = NULL;
	if (posix_memalign(&aligned, 16, n ? n : 1))
		return;
	memcpy(aligned, p, n);
	if (!gen_event_decode_embedding(aligned, n, &e, NULL)) {
		for (size_t i = 0; i < e.n_values; i++)
			sink += (unsigned)(e.values[i] > 0);
	}
	free(aligned);
}

static void fuzz_frames(const char *p, size_t n)
{
	int sv[2];
	struct ipc_frame f;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return;
	struct ipc_conn *c = ipc_conn_new(sv[0]);
	int rc = 0;
	while (rc >= 0 && n) {
		size_t part = n < 4096 ? n : 4096;
		ssize_t sent = send(sv[1], p, part, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		p += sent;
		n -= (size_t)sent;
		rc = ipc_conn_fill(c, NULL);
		while (rc >= 0 && (rc = ipc_conn_next(c, &f, NULL)) == 1) {
			for (size_t i = 0; i < f.head.n_bytes; i++)
				sink += (unsigned)f.data[i];
			for (int i = 0; i < f.head.n_fd; i++)
				close(f.fds[i]);
		}
	}
	close(sv[1]);
	ipc_conn_free(c);
}

static void (*const parts[])(const char *, size_t) = {
	fuzz_frames, fuzz_gen_req, fuzz_gen_event, fuzz_load_req, fuzz_loaded_info, fuzz_runner_stats, fuzz_failed, fuzz_embedding,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size)
		parts[data[0] % (sizeof parts / sizeof *parts)]((const char *)data + 1, size - 1);
	return 0;
}
