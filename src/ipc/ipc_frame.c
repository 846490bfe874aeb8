#include "ipc/ipc_frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/vec.h"

/* What a frame of each type may carry. A peer that breaks a row is cut off before its payload is read. */
static const struct type_rule {
	uint32_t max_bytes;
	uint16_t max_fd;
	bool of_stream; /* belongs to a request: the stream id is not 0 */
} rules[IPC_TYPE_END] = {
	[IPC_LOAD] = {16 << 20, IPC_FD_MAX, false},
	[IPC_GEN] = {IPC_PAYLOAD_MAX, IPC_FD_MAX, true},
	[IPC_CANCEL] = {0, 0, true},
	[IPC_PARK] = {1, 0, true},
	[IPC_PING] = {0, 0, false},
	[IPC_QUIT] = {0, 0, false},
	[IPC_PROGRESS] = {4 << 10, 0, false},
	[IPC_LOADED] = {1 << 20, 0, false},
	[IPC_FAILED] = {64 << 10, 0, false},
	[IPC_EVENT] = {IPC_PAYLOAD_MAX, 0, true},
	[IPC_EMBEDDING] = {16 << 20, 0, true},
	[IPC_PONG] = {64 << 10, 0, false},
};

enum {
	FILL_MAX_BYTES = 1 << 20, /* read by one ipc_conn_fill, so that one busy peer does not starve the others */
	READ_BYTES = 64 << 10,
	KEEP_BYTES = 1 << 20      /* an empty buffer larger than this is given back */
};

/* Payloads are padded to the header's size, so that every frame and every payload starts aligned in the reader's buffer. */
static size_t padded(size_t n)
{
	return (n + sizeof(struct ipc_header) - 1) & ~(sizeof(struct ipc_header) - 1);
}

/* Descriptors that leave together with the byte at `at`. */
struct out_mark {
	size_t at;
	int n_fd;
	int fds[IPC_FD_MAX];
};

struct ipc_conn {
	int fd;
	int push_errno;              /* a descriptor could not be duplicated: the stream of frames has a hole */
	struct str in, out;
	size_t i_in, i_out;          /* consumed of in, written of out */
	VEC(struct out_mark) marks;  /* by rising `at` */
	VEC(int) in_fds;             /* received and not yet given to a frame, oldest first */
};

struct ipc_conn *ipc_conn_new(int fd)
{
	struct ipc_conn *c = mem_zalloc(sizeof *c);
	c->fd = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return c;
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

void ipc_conn_free(struct ipc_conn *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->marks.n; i++)
		close_all(c->marks.data[i].fds, (size_t)c->marks.data[i].n_fd);
	close_all(c->in_fds.data, c->in_fds.n);
	close(c->fd);
	vec_release(&c->marks);
	vec_release(&c->in_fds);
	str_release(&c->in);
	str_release(&c->out);
	mem_free(c);
}

int ipc_conn_fd(const struct ipc_conn *c)
{
	return c->fd;
}

size_t ipc_conn_pending(const struct ipc_conn *c)
{
	return c->out.len - c->i_out;
}

/* Drops the consumed front of a buffer when that is cheap: all of it, or more than half. */
static void compact(struct str *s, size_t *i_used)
{
	if (*i_used == s->len) {
		if (s->cap > KEEP_BYTES)
			str_release(s);
		else
			str_clear(s);
		*i_used = 0;
	} else if (*i_used > READ_BYTES && *i_used > s->len / 2) {
		str_cut_front(s, *i_used);
		*i_used = 0;
	}
}

void ipc_conn_push(struct ipc_conn *c, enum ipc_type type, uint64_t stream, const void *data, size_t n, const int *fds, int n_fd)
{
	BUG_ON(type <= 0 || type >= IPC_TYPE_END);
	BUG_ON(n > rules[type].max_bytes || n_fd < 0 || n_fd > rules[type].max_fd || rules[type].of_stream != (stream != 0));
	struct ipc_header head = {.n_bytes = (uint32_t)n, .type = (uint16_t)type, .n_fd = (uint16_t)n_fd, .stream = stream};
	if (n_fd) {
		struct out_mark m = {.at = c->out.len};
		for (; m.n_fd < n_fd; m.n_fd++) {
			m.fds[m.n_fd] = fcntl(fds[m.n_fd], F_DUPFD_CLOEXEC, 3);
			if (m.fds[m.n_fd] < 0) {
				c->push_errno = errno;
				break;
			}
		}
		vec_push(&c->marks, m);
	}
	str_add(&c->out, &head, sizeof head);
	static const char zeros[sizeof head];
	str_add(&c->out, data, n);
	str_add(&c->out, zeros, padded(n) - n);
}

/* Sends the bytes up to the next mark, with the descriptors of a mark that starts here. Returns sendmsg's result. */
static ssize_t send_some(struct ipc_conn *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * IPC_FD_MAX)];
	} control;
	struct iovec iov = {.iov_base = c->out.data + c->i_out, .iov_len = c->out.len - c->i_out};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t i_next = 0;
	if (c->marks.n && c->marks.data[0].at == c->i_out) {
		const struct out_mark *m = &c->marks.data[0];
		size_t n_bytes = sizeof(int) * (size_t)m->n_fd;
		memset(&control, 0, sizeof control);
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_bytes);
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_bytes);
		memcpy(CMSG_DATA(h), m->fds, n_bytes);
		i_next = 1;
	}
	if (c->marks.n > i_next)
		iov.iov_len = c->marks.data[i_next].at - c->i_out;
	ssize_t got;
	do
		got = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0 && i_next) {
		close_all(c->marks.data[0].fds, (size_t)c->marks.data[0].n_fd);
		memmove(c->marks.data, c->marks.data + 1, --c->marks.n * sizeof *c->marks.data);
	}
	return got;
}

int ipc_conn_flush(struct ipc_conn *c, struct err *err)
{
	if (c->push_errno)
		return err_set(err, ERR_IO, "cannot pass a file descriptor on: %s", strerror(c->push_errno));
	while (c->i_out < c->out.len) {
		ssize_t n = send_some(c);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0)
			return err_set(err, ERR_CRASHED, "the other process does not take data: %s", strerror(errno));
		c->i_out += (size_t)n;
	}
	size_t cut = c->i_out;
	compact(&c->out, &c->i_out);
	cut -= c->i_out;
	for (size_t i = 0; i < c->marks.n; i++)
		c->marks.data[i].at -= cut;
	return 0;
}

/* Takes the descriptors out of a received message; false when some were lost on the way. */
static bool take_fds(struct ipc_conn *c, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			vec_push(&c->in_fds, fd);
		}
	}
	return !(msg->msg_flags & MSG_CTRUNC);
}

int ipc_conn_fill(struct ipc_conn *c, struct err *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * IPC_FD_MAX)];
	} control;
	size_t n_read = 0;
	compact(&c->in, &c->i_in);
	while (n_read < FILL_MAX_BYTES && c->in_fds.n <= IPC_FD_MAX) {
		str_reserve(&c->in, READ_BYTES);
		struct iovec iov = {.iov_base = c->in.data + c->in.len, .iov_len = READ_BYTES};
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
		ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		/* Frames that came before the end are handed out first: the next call reports it. */
		if (n <= 0 && n_read)
			break;
		if (n < 0)
			return err_set(err, ERR_CRASHED, "cannot read from the other process: %s", strerror(errno));
		if (n == 0)
			return err_set(err, ERR_CRASHED, "the other process closed the connection");
		c->in.len += (size_t)n;
		c->in.data[c->in.len] = '\0';
		n_read += (size_t)n;
		if (!take_fds(c, &msg))
			return err_set(err, ERR_FORMAT, "a message carried more than %d file descriptors", IPC_FD_MAX);
	}
	return 0;
}

static int check_header(const struct ipc_header *h, struct err *err)
{
	if (h->type == 0 || h->type >= IPC_TYPE_END)
		return err_set(err, ERR_FORMAT, "unknown frame type %u", h->type);
	const struct type_rule *r = &rules[h->type];
	if (h->n_bytes > r->max_bytes)
		return err_set(err, ERR_FORMAT, "frame of type %u has %u bytes, at most %u are allowed", h->type, h->n_bytes,
			       r->max_bytes);
	if (h->n_fd > r->max_fd)
		return err_set(err, ERR_FORMAT, "frame of type %u has %u descriptors, at most %u are allowed", h->type, h->n_fd,
			       r->max_fd);
	if (r->of_stream != (h->stream != 0))
		return err_set(err, ERR_FORMAT, "frame of type %u has stream id %llu", h->type, (unsigned long long)h->stream);
	return 0;
}

int ipc_conn_next(struct ipc_conn *c, struct ipc_frame *ret, struct err *err)
{
	size_t n = c->in.len - c->i_in, n_fd_max = IPC_FD_MAX;
	struct ipc_header h;
	bool whole = false;
	if (n >= sizeof h) {
		memcpy(&h, c->in.data + c->i_in, sizeof h);
		int rc = check_header(&h, err);
		if (rc)
			return rc;
		n_fd_max = h.n_fd;
		whole = n - sizeof h >= padded(h.n_bytes);
	}
	if (!whole) {
		/* A frame's descriptors come with its first byte, so nobody else's can wait behind an unfinished frame. */
		if (c->in_fds.n > n_fd_max)
			return err_set(err, ERR_FORMAT, "descriptors arrived that no frame announced");
		return 0;
	}
	if (c->in_fds.n < h.n_fd)
		return err_set(err, ERR_FORMAT, "frame announced %u descriptors, %zu came", h.n_fd, c->in_fds.n);
	ret->head = h;
	ret->data = c->in.data + c->i_in + sizeof h;
	if (h.n_fd) {
		memcpy(ret->fds, c->in_fds.data, h.n_fd * sizeof(int));
		c->in_fds.n -= h.n_fd;
		memmove(c->in_fds.data, c->in_fds.data + h.n_fd, c->in_fds.n * sizeof(int));
	}
	c->i_in += sizeof h + padded(h.n_bytes);
	return 1;
}
