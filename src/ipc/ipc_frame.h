/* ipc_frame: frames over the Unix stream socket between server and runner. A frame is a 16-byte header and a payload, padded
 * with zeros to a multiple of 16 bytes; file descriptors may travel with it (SCM_RIGHTS). Both ends treat the other as
 * hostile: length and type are checked before anything is allocated.
 *
 * Reading and writing are non-blocking and buffered here; the owner polls the socket. Not thread-safe: one owner per side,
 * except that ipc_conn_push, ipc_conn_pending and ipc_conn_flush may be guarded by the caller's lock beside its reading. */
#ifndef CRIA_IPC_FRAME_H
#define CRIA_IPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct ipc_header {      /* host byte order: both ends are the same binary on the same machine */
	uint32_t n_bytes;    /* payload, at most IPC_PAYLOAD_MAX */
	uint16_t type;       /* enum ipc_type */
	uint16_t n_fd;       /* descriptors sent along, at most IPC_FD_MAX */
	uint64_t stream;     /* request id the frame belongs to; 0: the connection itself */
};
_Static_assert(sizeof(struct ipc_header) == 16, "the header is 16 bytes on the wire");

enum { IPC_PAYLOAD_MAX = 256 << 20, IPC_FD_MAX = 16 };

enum ipc_type {
	/* server -> runner */
	IPC_LOAD = 1,    /* load_req as JSON, descriptors: model file first */
	IPC_GEN,         /* gen_req as JSON */
	IPC_CANCEL,      /* no payload */
	IPC_PARK,        /* one byte: 1 park, 0 resume (a slow reader) */
	IPC_PING,        /* no payload */
	IPC_QUIT,        /* finish running sequences as canceled and exit 0 */
	/* runner -> server */
	IPC_PROGRESS,    /* JSON {"share": 0..1} while loading */
	IPC_LOADED,      /* JSON loaded_info */
	IPC_FAILED,      /* JSON {"code","msg"}: loading failed; the runner exits */
	IPC_EVENT,       /* gen_event as JSON */
	IPC_EMBEDDING,   /* struct ipc_embedding_head and raw f32 values */
	IPC_PONG,        /* JSON runner_stats */
	IPC_TYPE_END
};

struct ipc_frame {
	struct ipc_header head;
	const char *data;    /* head.n_bytes, 16-byte aligned, borrowed until the next ipc_conn_next or ipc_conn_fill */
	int fds[IPC_FD_MAX]; /* head.n_fd; the receiver owns and closes them */
};

struct ipc_conn;
/* Takes the descriptor (made non-blocking, close-on-exec). */
struct ipc_conn *ipc_conn_new(int fd);
void ipc_conn_free(struct ipc_conn *c); /* closes the descriptor and fds that were not taken */
int ipc_conn_fd(const struct ipc_conn *c);
/* Queues a frame; fds are duplicated now. Types that belong to a request need a stream id, the others must have none, and
 * only IPC_LOAD and IPC_GEN carry descriptors: anything else is a bug here and a malformed frame there. */
void ipc_conn_push(struct ipc_conn *c, enum ipc_type type, uint64_t stream, const void *data, size_t n, const int *fds, int n_fd);
size_t ipc_conn_pending(const struct ipc_conn *c); /* bytes not yet written */
/* Writes what the socket takes. 0, or ERR_CRASHED when the peer is gone. */
int ipc_conn_flush(struct ipc_conn *c, struct err *err);
/* Reads what is there, at most about 1 MiB a call. 0, or ERR_CRASHED at end of file (after everything before it was given
 * out), ERR_FORMAT for too many descriptors. */
int ipc_conn_fill(struct ipc_conn *c, struct err *err);
/* The next complete frame: 1 when *ret was filled, 0 when more bytes are needed, negative on a malformed frame. */
int ipc_conn_next(struct ipc_conn *c, struct ipc_frame *ret, struct err *err);

#endif
