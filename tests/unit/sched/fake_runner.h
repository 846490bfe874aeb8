/* fake_runner: what the test program does when the scheduler starts it as `runner` or `inspect`. The model's name decides how
 * loading goes, the prompt how a request goes, the first line of the model file what inspect does.
 *
 * Things that shall happen once are remembered as files in the folder CRIA_TEST_DIR. */
#ifndef FAKE_RUNNER_H
#define FAKE_RUNNER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ipc/ipc_frame.h"
#include "ipc/ipc_msg.h"

struct fake_job {
	uint64_t id;
	char *prompt;
	int64_t due_ns; /* when it answers, 0: decided at its start */
	struct fake_job *next;
};

static struct ipc_conn *fake_conn;
static struct fake_job *fake_jobs;
static char fake_model[256];
static bool fake_deaf, fake_long_step;
static int fake_n_cancel;

/* Appends a byte to a file and returns how many there were before. */
static int fake_count(const char *what)
{
	char path[512];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", getenv("CRIA_TEST_DIR"), what);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	fstat(fd, &st);
	if (write(fd, "x", 1) != 1)
		_exit(90);
	close(fd);
	return (int)st.st_size;
}

static void fake_flush(void)
{
	struct err err;
	while (ipc_conn_pending(fake_conn)) {
		if (ipc_conn_flush(fake_conn, &err))
			_exit(0);
		struct pollfd p = {.fd = ipc_conn_fd(fake_conn), .events = POLLOUT};
		if (ipc_conn_pending(fake_conn))
			poll(&p, 1, 1000);
	}
}

static void fake_event(uint64_t id, const struct gen_event *ev)
{
	struct str s = {0};
	gen_event_encode(ev, &s);
	ipc_conn_push(fake_conn, IPC_EVENT, id, s.data, s.len, NULL, 0);
	str_release(&s);
}

static void fake_text(uint64_t id, const char *text)
{
	fake_event(id, &(struct gen_event){.kind = EV_TEXT, .text = (char *)text});
}

static void fake_done(uint64_t id, enum done_reason reason)
{
	fake_event(id, &(struct gen_event){.kind = EV_DONE, .reason = reason, .stats = {.n_prompt = 1, .n_generated = 3}});
}

static void fake_answer(uint64_t id)
{
	fake_text(id, "a");
	fake_text(id, "b");
	fake_text(id, "c");
	fake_done(id, DONE_STOP);
}

static void fake_raw(const void *p, size_t n)
{
	fake_flush();
	if (write(ipc_conn_fd(fake_conn), p, n) != (ssize_t)n)
		_exit(91);
}

static void fake_embed(uint64_t id)
{
	float v[3] = {1, 2, 3};
	for (int i = 0; i < 2; i++) {
		struct str s = {0};
		struct gen_event e = {.kind = EV_EMBEDDING, .i_input = i, .n_input_tok = 7, .values = v, .n_values = 3};
		gen_event_encode_embedding(&e, &s);
		ipc_conn_push(fake_conn, IPC_EMBEDDING, id, s.data, s.len, NULL, 0);
		str_release(&s);
	}
	fake_done(id, DONE_STOP);
}

/* A prompt is "WORD" or "WORD_once": the second form answers when it comes for the second time. */
static bool fake_again(const char *prompt)
{
	return ends_with(prompt, "_once") && fake_count(prompt) > 0;
}

static void fake_start(struct fake_job *j, const struct gen_req *q)
{
	char text[64];
	const char *p = j->prompt;
	if (fake_again(p)) {
		fake_answer(j->id);
	} else if (starts_with(p, "crash_mid")) {
		fake_text(j->id, "a");
		fake_flush();
		raise(SIGKILL);
	} else if (starts_with(p, "crash")) {
		raise(SIGKILL);
	} else if (starts_with(p, "hang")) {
		raise(SIGSTOP);
	} else if (starts_with(p, "garbage")) {
		fake_raw("this is no frame at all, and it is longer than a header", 55);
	} else if (starts_with(p, "badjson")) {
		ipc_conn_push(fake_conn, IPC_EVENT, j->id, "{\"kind\":", 8, NULL, 0);
	} else if (starts_with(p, "badstate")) {
		ipc_conn_push(fake_conn, IPC_PROGRESS, 0, "{\"share\":1}", 11, NULL, 0);
	} else if (starts_with(p, "long_step")) {
		fake_long_step = true;
	} else if (!strcmp(p, "stranger")) {
		fake_answer(j->id + 1000);
		ipc_conn_push(fake_conn, IPC_EVENT, j->id + 1000, "junk", 4, NULL, 0);
		fake_answer(j->id);
	} else if (!strcmp(p, "flood")) {
		for (int i = 0; i < 20000; i++) {
			fake_text(j->id, "0123456789");
			if (i % 1000 == 0)
				fake_flush();
		}
		fake_done(j->id, DONE_STOP);
	} else if (!strcmp(p, "ctx")) {
		snprintf(text, sizeof text, "%lld", (long long)q->opts.num_ctx);
		fake_text(j->id, text);
		fake_done(j->id, DONE_STOP);
	} else if (!strcmp(p, "cancels")) {
		snprintf(text, sizeof text, "%d", fake_n_cancel);
		fake_text(j->id, text);
		fake_done(j->id, DONE_STOP);
	} else if (!strcmp(p, "error")) {
		fake_event(j->id, &(struct gen_event){.kind = EV_ERROR, .code = ERR_TOO_LONG, .text = (char *)"too long"});
	} else if (!strcmp(p, "embed")) {
		fake_embed(j->id);
	} else if (!strcmp(p, "wait")) {
		fake_text(j->id, "a");
	} else if (!strcmp(p, "deaf")) {
		fake_deaf = true;
		fake_answer(j->id);
	} else if (!strcmp(p, "later")) {
		j->due_ns = clock_now_ns() + 50 * NS_PER_MS;
	} else if (strcmp(p, "silent") && strcmp(p, "park")) {
		fake_answer(j->id);
	}
}

static struct fake_job *fake_find(uint64_t id)
{
	struct fake_job *j = fake_jobs;
	while (j && j->id != id)
		j = j->next;
	return j;
}

static void fake_on_gen(const struct ipc_frame *f)
{
	struct gen_req q;
	struct err err;
	if (gen_req_decode(f->data, f->head.n_bytes, &q, &err)) {
		fprintf(stderr, "fake runner: %s\n", err.msg);
		_exit(92);
	}
	struct fake_job *j = mem_zalloc(sizeof *j);
	j->id = f->head.stream;
	j->prompt = mem_strdup(q.prompt ? q.prompt : "");
	j->next = fake_jobs;
	fake_jobs = j;
	fake_start(j, &q);
	gen_req_release(&q);
}

static void fake_send_loaded(void)
{
	struct str s = {0};
	struct loaded_info i = {.arch = (char *)"fake", .n_ctx_train = 131072, .n_ctx_max = 0, .n_vocab = 10, .n_embd = 3,
				.weights_bytes = 64 << 20, .other_bytes = 1 << 20, .kv_bytes_per_tok = 1024, .kernels = (char *)"none"};
	loaded_info_encode(&i, &s);
	ipc_conn_push(fake_conn, IPC_LOADED, 0, s.data, s.len, NULL, 0);
	str_release(&s);
}

static void fake_progress(double share)
{
	struct str s = {0};
	load_progress_encode(share, &s);
	ipc_conn_push(fake_conn, IPC_PROGRESS, 0, s.data, s.len, NULL, 0);
	str_release(&s);
	fake_flush();
}

static void fake_load(void)
{
	struct err failed = {.code = ERR_FORMAT, .msg = "the model file is cut short"};
	struct str s = {0};
	bool first = fake_count(fake_model) == 0;
	if (!strcmp(fake_model, "slow")) {
		for (int i = 1; i <= 8; i++) {
			usleep(60000);
			fake_progress(i / 8.0);
		}
	} else if (!strcmp(fake_model, "stuck")) {
		return;
	} else if (!strcmp(fake_model, "stopped")) {
		raise(SIGSTOP);
	} else if (!strcmp(fake_model, "fail") || (!strcmp(fake_model, "fail_once") && first)) {
		load_failed_encode(&failed, &s);
		ipc_conn_push(fake_conn, IPC_FAILED, 0, s.data, s.len, NULL, 0);
		fake_flush();
		_exit(1);
	} else if (!strcmp(fake_model, "exit") || (!strcmp(fake_model, "exit_once") && first)) {
		_exit(3);
	} else if (!strcmp(fake_model, "junk")) {
		fake_raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 36);
		return;
	}
	fake_send_loaded();
}

static void fake_on_load(struct ipc_frame *f)
{
	struct load_req q;
	struct err err;
	char *colon;
	if (f->head.n_fd != 1 || load_req_decode(f->data, f->head.n_bytes, &q, &err))
		_exit(93);
	close(f->fds[0]);
	snprintf(fake_model, sizeof fake_model, "%s", q.name);
	if ((colon = strchr(fake_model, ':')))
		*colon = '\0';
	load_req_release(&q);
	fake_load();
}

static void fake_pong(void)
{
	struct runner_stats st = {.n_active = 1, .major_faults = 5, .step_age_ns = fake_long_step ? 100 * NS_PER_S : 0};
	struct str s = {0};
	runner_stats_encode(&st, &s);
	ipc_conn_push(fake_conn, IPC_PONG, 0, s.data, s.len, NULL, 0);
	str_release(&s);
}

static void fake_on_park(const struct ipc_frame *f)
{
	struct fake_job *j = fake_find(f->head.stream);
	if (!j || strcmp(j->prompt, "park"))
		return;
	fake_text(j->id, f->data[0] ? "parked" : "resumed");
	if (!f->data[0])
		fake_done(j->id, DONE_STOP);
}

static void fake_on_frame(struct ipc_frame *f)
{
	switch (f->head.type) {
	case IPC_LOAD:
		fake_on_load(f);
		break;
	case IPC_GEN:
		fake_on_gen(f);
		break;
	case IPC_CANCEL:
		fake_n_cancel++;
		fake_done(f->head.stream, DONE_CANCELED);
		break;
	case IPC_PARK:
		fake_on_park(f);
		break;
	case IPC_PING:
		fake_pong();
		break;
	case IPC_QUIT:
		if (!fake_deaf)
			_exit(0);
		break;
	}
}

/* Every descriptor above the socket would be a leak of the server's. */
static void fake_check_fds(void)
{
	for (int fd = 4; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			fake_count("leaked_fd");
	if (getenv("HF_TOKEN"))
		fake_count("leaked_env");
	if (getpgrp() != getpid())
		fake_count("no_group");
}

static void fake_answer_due(void)
{
	for (struct fake_job *j = fake_jobs; j; j = j->next)
		if (j->due_ns && clock_now_ns() >= j->due_ns) {
			j->due_ns = 0;
			fake_answer(j->id);
		}
}

static int fake_runner(void)
{
	struct ipc_frame f;
	struct err err;
	fake_check_fds();
	fake_conn = ipc_conn_new(3);
	for (;;) {
		struct pollfd p = {.fd = 3, .events = POLLIN};
		fake_answer_due();
		fake_flush();
		poll(&p, 1, 10);
		if (ipc_conn_fill(fake_conn, &err))
			return 0;
		while (ipc_conn_next(fake_conn, &f, &err) == 1)
			fake_on_frame(&f);
	}
}

static int fake_inspect(void)
{
	static const char facts[] = "{\"arch\":\"fake\",\"supported\":true,\"context_length\":131072,\"block_count\":2,"
				    "\"embedding_length\":64,\"kv\":{\"fake.attention.head_count\":2}}\n";
	char word[64] = {0};
	fake_count("inspects");
	if (pread(3, word, sizeof word - 1, 0) < 0)
		return 94;
	word[strcspn(word, "\n")] = '\0';
	if (!strcmp(word, "unsupported")) {
		printf("{\"arch\":\"x\",\"supported\":false,\"unsupported_reason\":\"architecture x is not supported\"}");
	} else if (!strcmp(word, "error")) {
		printf("{\"error\":\"not a GGUF file\"}\n");
		return 1;
	} else if (!strcmp(word, "crash")) {
		raise(SIGKILL);
	} else if (!strcmp(word, "sleep")) {
		sleep(100);
	} else if (!strcmp(word, "slow")) {
		usleep(200000);
		printf("%s", facts);
	} else if (!strcmp(word, "junk")) {
		printf("hello\n");
	} else if (!strcmp(word, "exit3")) {
		return 3;
	} else if (!strcmp(word, "big")) {
		static char block[1 << 20];
		memset(block, ' ', sizeof block);
		while (fwrite(block, 1, sizeof block, stdout) == sizeof block)
			;
	} else {
		printf("%s", facts);
	}
	return 0;
}

/* Called first by main: true when this process is a child of the scheduler. */
static bool fake_main(int argc, char **argv, int *ret_status)
{
	if (argc < 2)
		return false;
	if (!strcmp(argv[1], "runner"))
		*ret_status = fake_runner();
	else if (!strcmp(argv[1], "inspect"))
		*ret_status = fake_inspect();
	else
		return false;
	return true;
}

#endif
