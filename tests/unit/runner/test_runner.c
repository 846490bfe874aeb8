/* The runner as a process behind a socketpair, with a tiny model of random weights. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ipc/ipc_frame.h"
#include "ipc/ipc_msg.h"
#include "runner/runner.h"

#define GOLDEN "../shared/golden/arch/"
enum { WAIT_MS = 60000 };

struct child {
	pid_t pid;
	struct ipc_conn *c;
};

static struct child start(void)
{
	int sv[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		char *argv[] = {"runner", NULL};
		dup2(sv[1], RUNNER_FD);
		closefrom(RUNNER_FD + 1);
		_exit(runner_main(1, argv));
	}
	close(sv[1]);
	return (struct child){pid, ipc_conn_new(sv[0])};
}

static int status_of(struct child *ch)
{
	int status;
	ck_assert_int_eq(waitpid(ch->pid, &status, 0), ch->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int stop(struct child *ch)
{
	ipc_conn_free(ch->c);
	return status_of(ch);
}

static void push(struct child *ch, enum ipc_type type, uint64_t stream, const void *data, size_t n, int fd)
{
	struct err err;
	ipc_conn_push(ch->c, type, stream, data, n, &fd, fd >= 0);
	while (ipc_conn_pending(ch->c)) {
		struct pollfd p = {.fd = ipc_conn_fd(ch->c), .events = POLLOUT};
		ck_assert_int_gt(poll(&p, 1, WAIT_MS), 0);
		ck_assert_msg(!ipc_conn_flush(ch->c, &err), "%s", err.msg);
	}
}

/* The next frame; false at the end of the stream. */
static bool next(struct child *ch, struct ipc_frame *f)
{
	struct err err;
	int rc;
	while (!(rc = ipc_conn_next(ch->c, f, &err))) {
		struct pollfd p = {.fd = ipc_conn_fd(ch->c), .events = POLLIN};
		ck_assert_int_gt(poll(&p, 1, WAIT_MS), 0);
		if (ipc_conn_fill(ch->c, &err))
			return false;
	}
	ck_assert_msg(rc > 0, "%s", err.msg);
	return true;
}

static bool have(const char *file)
{
	char path[256];
	snprintf(path, sizeof path, GOLDEN "%s", file);
	if (!access(path, R_OK))
		return true;
	printf("skipped: %s is not there\n", path);
	return false;
}

static void send_load(struct child *ch, const char *path)
{
	struct load_req q = {.name = "tiny", .kernels = "ref", .n_thread = 2};
	struct str s = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	load_req_encode(&q, &s);
	push(ch, IPC_LOAD, 0, s.data, s.len, fd);
	close(fd);
	str_release(&s);
}

/* A runner with the model loaded; pings are answered on the way. */
static struct child loaded(const char *file)
{
	struct child ch = start();
	struct ipc_frame f;
	char path[256];
	int n_pong = 0;
	snprintf(path, sizeof path, GOLDEN "%s", file);
	send_load(&ch, path);
	push(&ch, IPC_PING, 0, NULL, 0, -1);
	do {
		ck_assert(next(&ch, &f));
		ck_assert_msg(f.head.type != IPC_FAILED, "%.*s", (int)f.head.n_bytes, f.data);
		n_pong += f.head.type == IPC_PONG;
	} while (f.head.type != IPC_LOADED);
	while (!n_pong) {
		ck_assert(next(&ch, &f));
		n_pong += f.head.type == IPC_PONG;
	}
	return ch;
}

/* All that came for one stream. */
struct answer {
	struct str text;
	struct ids context;
	int n_text, code, n_logprob;
	enum done_reason reason;
	struct gen_stats stats;
	bool ended;
	double norm; /* of the last embedding */
	int n_embedding;
};

static void answer_release(struct answer *a)
{
	str_release(&a->text);
	vec_release(&a->context);
}

static void take(struct answer *a, const struct ipc_frame *f)
{
	struct gen_event e;
	struct err err;
	ck_assert(!a->ended);
	if (f->head.type == IPC_EMBEDDING) {
		ck_assert_int_eq(gen_event_decode_embedding(f->data, f->head.n_bytes, &e, &err), 0);
		a->norm = 0;
		for (size_t i = 0; i < e.n_values; i++)
			a->norm += (double)e.values[i] * e.values[i];
		ck_assert_int_eq(e.i_input, a->n_embedding++);
		return;
	}
	ck_assert_int_eq(f->head.type, IPC_EVENT);
	ck_assert_msg(!gen_event_decode(f->data, f->head.n_bytes, &e, &err), "%s", err.msg);
	if (e.text)
		str_adds(&a->text, e.text);
	a->n_text += e.kind == EV_TEXT;
	a->n_logprob += (int)json_array_size(e.logprobs);
	a->ended = e.kind == EV_DONE || e.kind == EV_ERROR;
	a->code = e.code;
	a->reason = e.reason;
	a->stats = e.stats;
	for (size_t i = 0; i < e.context.n; i++)
		vec_push(&a->context, e.context.data[i]);
	gen_event_release(&e);
}

static void send_gen(struct child *ch, uint64_t stream, const struct gen_req *r)
{
	struct str s = {0};
	gen_req_encode(r, &s);
	push(ch, IPC_GEN, stream, s.data, s.len, -1);
	str_release(&s);
}

/* Reads until streams 1 .. n ended. */
static void gather(struct child *ch, struct answer *a, size_t n)
{
	struct ipc_frame f;
	for (size_t n_ended = 0; n_ended < n;) {
		ck_assert(next(ch, &f));
		if (f.head.type == IPC_PONG)
			continue;
		ck_assert_uint_le(f.head.stream, n);
		take(&a[f.head.stream - 1], &f);
		n_ended += a[f.head.stream - 1].ended;
	}
}

static void greedy(struct gen_req *r, const char *prompt, int64_t n_predict)
{
	gen_req_init(r);
	r->kind = GEN_PROMPT;
	r->prompt = mem_strdup(prompt);
	r->opts.temperature = 0;
	r->opts.num_predict = n_predict;
	r->opts.ignore_eos = true;
	r->want_context = true;
}

static struct answer ask(struct child *ch, const struct gen_req *r)
{
	struct answer a = {0};
	send_gen(ch, 1, r);
	gather(ch, &a, 1);
	return a;
}

/* This vocabulary adds no BOS, so that the ids reach the model as they are. */
START_TEST(greedy_is_golden)
{
	if (!have("qwen2.gguf"))
		return;
	struct child ch = loaded("qwen2.gguf");
	FILE *f = fopen(GOLDEN "qwen2.json", "re");
	json_t *g = f ? json_loadf(f, 0, NULL) : NULL;
	ck_assert_ptr_nonnull(g);
	fclose(f);
	for (size_t k = 0; k < json_array_size(json_get(g, "prompts")); k++) {
		const json_t *p = json_array_get(json_get(g, "prompts"), k), *ids = json_get(p, "ids"), *want = json_get(p, "greedy");
		struct gen_req r;
		greedy(&r, "", (int64_t)json_array_size(want));
		for (size_t i = 0; i < json_array_size(ids); i++)
			vec_push(&r.context, (int)json_integer_value(json_array_get(ids, i)));
		struct answer a = ask(&ch, &r);
		ck_assert_msg(!a.code, "%s", str_cstr(&a.text));
		ck_assert_int_eq(a.reason, DONE_LENGTH);
		ck_assert_int_eq(a.stats.n_generated, (int64_t)json_array_size(want));
		ck_assert_uint_ge(a.context.n, json_array_size(ids) + json_array_size(want));
		for (size_t i = 0; i < json_array_size(want); i++) {
			if (json_real_value(json_array_get(json_get(p, "margins"), i)) < 1e-3)
				break;
			ck_assert_int_eq(a.context.data[a.context.n - json_array_size(want) + i], json_integer_value(json_array_get(want, i)));
		}
		answer_release(&a);
		gen_req_release(&r);
	}
	json_decref(g);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(many_at_once_are_as_alone)
{
	enum { N = 16 };
	struct answer alone[N] = {0}, together[N] = {0};
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < N; i++) {
			struct gen_req r;
			char prompt[80];
			snprintf(prompt, sizeof prompt, "%.*s number %d", i * 3, "the quick brown fox jumps over the lazy dog again", i);
			greedy(&r, prompt, 20 + i);
			if (i % 3 == 2) { /* drawn, not the best token */
				r.opts.temperature = 1;
				r.opts.seed = i;
			}
			if (pass)
				send_gen(&ch, (uint64_t)i + 1, &r);
			else
				alone[i] = ask(&ch, &r);
			gen_req_release(&r);
		}
	gather(&ch, together, N);
	for (int i = 0; i < N; i++) {
		ck_assert_str_eq(str_cstr(&alone[i].text), str_cstr(&together[i].text));
		ck_assert_uint_eq(alone[i].context.n, together[i].context.n);
		ck_assert_mem_eq(alone[i].context.data, together[i].context.data, alone[i].context.n * sizeof(int));
		answer_release(&alone[i]);
		answer_release(&together[i]);
	}
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(cancel_in_prefill_and_decode)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	struct gen_req r;
	greedy(&r, "once upon a time", 100000);
	for (int in_decode = 0; in_decode < 2; in_decode++) {
		struct answer a = {0};
		struct ipc_frame f;
		send_gen(&ch, 1, &r);
		while (in_decode && !a.n_text) {
			ck_assert(next(&ch, &f));
			take(&a, &f);
		}
		push(&ch, IPC_CANCEL, 1, NULL, 0, -1);
		while (!a.ended) {
			ck_assert(next(&ch, &f));
			take(&a, &f);
		}
		ck_assert_int_eq(a.code, 0);
		ck_assert_int_eq(a.reason, DONE_CANCELED);
		answer_release(&a);
	}
	push(&ch, IPC_CANCEL, 77, NULL, 0, -1); /* no such stream */
	gen_req_release(&r);
	greedy(&r, "still there", 3);
	struct answer a = ask(&ch, &r);
	ck_assert_int_eq(a.stats.n_generated, 3);
	answer_release(&a);
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(park_and_resume_changes_nothing)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	struct gen_req r;
	greedy(&r, "once upon a time", 60);
	struct answer plain = ask(&ch, &r), a = {0};
	struct ipc_frame f;
	send_gen(&ch, 1, &r);
	push(&ch, IPC_PARK, 1, "\1", 1, -1);
	for (int n_pong = 0; n_pong < 3;) { /* parked or not, pings are answered */
		push(&ch, IPC_PING, 0, NULL, 0, -1);
		do {
			ck_assert(next(&ch, &f));
			if (f.head.type != IPC_PONG)
				take(&a, &f);
		} while (f.head.type != IPC_PONG);
		n_pong++;
	}
	push(&ch, IPC_PARK, 1, "\0", 1, -1);
	while (!a.ended) {
		ck_assert(next(&ch, &f));
		take(&a, &f);
	}
	ck_assert_str_eq(str_cstr(&plain.text), str_cstr(&a.text));
	answer_release(&plain);
	answer_release(&a);
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(stop_strings_logprobs_and_shift)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	struct gen_req r;
	greedy(&r, "once upon a time", 40);
	struct answer a = ask(&ch, &r);
	size_t n = utf8_whole(a.text.data, a.text.len / 2);
	char *word = mem_strndup(a.text.data + n, utf8_whole(a.text.data + n, 4));
	const char *at = strstr(a.text.data, word);
	r.opts.stop = mem_calloc(1, sizeof *r.opts.stop);
	r.opts.stop[0] = word;
	r.opts.n_stop = 1;
	r.logprobs = true;
	r.top_logprobs = 3;
	struct answer b = ask(&ch, &r);
	ck_assert_int_eq(b.reason, DONE_STOP);
	ck_assert_uint_eq(b.text.len, (size_t)(at - a.text.data));
	ck_assert_mem_eq(str_cstr(&b.text), a.text.data, b.text.len);
	ck_assert_int_le(b.n_logprob, (int)b.stats.n_generated);
	/* As many tokens are counted as the stop string needs, not one that the engine was ahead. */
	int64_t n_needed = b.stats.n_generated;
	r.opts.n_stop = 0;
	for (int64_t less = 0; less < 2; less++) {
		answer_release(&b);
		r.opts.num_predict = n_needed - less;
		b = ask(&ch, &r);
		ck_assert_int_eq(strstr(str_cstr(&b.text), word) == NULL, less);
	}
	r.opts.num_predict = 40;
	mem_free(word);
	answer_release(&b);
	b = ask(&ch, &r);
	ck_assert_str_eq(str_cstr(&b.text), str_cstr(&a.text));
	ck_assert_int_eq(b.n_logprob, 40);
	answer_release(&b);
	r.logprobs = false;
	r.opts.num_predict = 400; /* past the context of 128 or 256 */
	r.opts.num_ctx = 64;
	b = ask(&ch, &r);
	ck_assert_int_eq(b.reason, DONE_LENGTH);
	ck_assert_int_eq(b.stats.n_generated, 400);
	answer_release(&b);
	r.shift = false;
	b = ask(&ch, &r);
	ck_assert_int_eq(b.reason, DONE_LENGTH);
	ck_assert_int_lt(b.stats.n_generated, 400);
	answer_release(&b);
	answer_release(&a);
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(bad_requests_leave_it_running)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	static const char *const bad[] = {"", "{", "[]", "{\"kind\":\"dance\"}", "\xff\xfe", "{\"kind\":\"chat\"}"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct answer a = {0};
		push(&ch, IPC_GEN, 1, bad[i], strlen(bad[i]), -1);
		gather(&ch, &a, 1);
		ck_assert_int_eq(a.code, ERR_INVALID);
		answer_release(&a);
	}
	struct gen_req r;
	greedy(&r, "x", 2);
	vec_push(&r.context, 1 << 30);
	struct answer a = ask(&ch, &r);
	ck_assert_int_eq(a.code, ERR_INVALID);
	answer_release(&a);
	r.context.data[0] = -1;
	a = ask(&ch, &r);
	ck_assert_int_lt(a.code, 0);
	answer_release(&a);
	r.context.n = 0;
	r.kind = GEN_EMBED; /* no pooling type */
	r.inputs = json_pack("[s]", "hello");
	a = ask(&ch, &r);
	ck_assert_int_eq(a.code, ERR_UNSUPPORTED);
	answer_release(&a);
	r.kind = GEN_PROMPT;
	for (int i = 0; i < 400; i++)
		vec_push(&r.context, 5);
	r.truncate = false;
	a = ask(&ch, &r);
	ck_assert_int_eq(a.code, ERR_TOO_LONG);
	answer_release(&a);
	r.truncate = true;
	a = ask(&ch, &r);
	ck_assert_int_eq(a.stats.n_generated, 2);
	answer_release(&a);
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(chat_renders)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	struct gen_req r;
	gen_req_init(&r);
	r.kind = GEN_CHAT;
	r.messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "hello");
	r.render_only = true;
	struct answer a = ask(&ch, &r);
	ck_assert_int_eq(a.code, 0);
	ck_assert_ptr_nonnull(strstr(str_cstr(&a.text), "hello"));
	answer_release(&a);
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

/* A request's Go template makes the prompt, whatever the file's template is. */
static const struct {
	const char *text, *prompt, *suffix, *want;
	bool custom;
	int code;
} go_cases[] = {
	{"<{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}>", NULL, NULL, "<s|system:s;user:hi;>", false, 0},
	{"{{ .Prompt }}[{{ .Suffix }}]", "a", "b", "a[b]", false, 0},
	{"{{ .Prompt }}[{{ .Suffix }}]", "a", "b", "a[b]", true, 0},
	{"{{ .Prompt", NULL, NULL, "template: :1: unclosed action", true, ERR_INTERNAL},
	{"{{ .Prompt", "a", "b", "template: :1: unclosed action", false, ERR_INVALID},
	{"{{ slice .System 9 }}", NULL, NULL, NULL, true, ERR_INVALID},
};

START_TEST(go_templates)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	for (size_t i = 0; i < sizeof go_cases / sizeof *go_cases; i++) {
		struct gen_req r;
		gen_req_init(&r);
		r.kind = go_cases[i].suffix ? GEN_PROMPT : GEN_CHAT;
		r.render_only = true;
		r.go_template = mem_strdup(go_cases[i].text);
		r.custom_template = go_cases[i].custom;
		if (go_cases[i].suffix) {
			r.prompt = mem_strdup(go_cases[i].prompt);
			r.suffix = mem_strdup(go_cases[i].suffix);
		} else {
			r.messages = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "system", "content", "s", "role", "user", "content", "hi");
		}
		struct answer a = ask(&ch, &r);
		ck_assert_msg(a.code == go_cases[i].code, "%zu: %d %s", i, a.code, str_cstr(&a.text));
		if (go_cases[i].want)
			ck_assert_str_eq(str_cstr(&a.text), go_cases[i].want);
		answer_release(&a);
		gen_req_release(&r);
	}
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(embeds)
{
	if (!have("bert.gguf"))
		return;
	struct child ch = loaded("bert.gguf");
	struct gen_req r;
	gen_req_init(&r);
	r.kind = GEN_EMBED;
	r.inputs = json_array();
	for (int i = 0; i < 30; i++) {
		struct str s = {0};
		for (int k = 0; k < i * 20; k++)
			str_adds(&s, "word ");
		json_array_append_new(r.inputs, json_string(str_cstr(&s)));
		str_release(&s);
	}
	struct answer a = {0};
	send_gen(&ch, 1, &r);
	struct ipc_frame f;
	int seen = 0;
	while (!a.ended) { /* several run at once: any order */
		ck_assert(next(&ch, &f));
		struct gen_event e;
		if (f.head.type == IPC_EMBEDDING)
			ck_assert_int_eq(gen_event_decode_embedding(f.data, f.head.n_bytes, &e, NULL), 0);
		else
			ck_assert_int_eq(gen_event_decode(f.data, f.head.n_bytes, &e, NULL), 0);
		if (e.kind == EV_ERROR && e.code == ERR_UNSUPPORTED) {
			printf("skipped: bert.gguf names no pooling type\n");
			gen_event_release(&e);
			break;
		}
		if (e.kind == EV_EMBEDDING) {
			double norm = 0;
			for (size_t i = 0; i < e.n_values; i++)
				norm += (double)e.values[i] * e.values[i];
			ck_assert_double_eq_tol(norm, 1, 1e-4);
			seen |= 1 << e.i_input;
			continue;
		}
		ck_assert_int_eq(e.kind, EV_DONE);
		ck_assert_int_eq(seen, (1 << 30) - 1);
		a.ended = true;
		gen_event_release(&e);
	}
	gen_req_release(&r);
	ck_assert_int_eq(stop(&ch), 0);
}
END_TEST

START_TEST(loading_fails_with_words)
{
	static const char *const paths[] = {"/dev/null", "/proc/self/status", "Makefile", "/"};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct child ch = start();
		struct ipc_frame f;
		struct err failed, err;
		send_load(&ch, paths[i]);
		do
			ck_assert(next(&ch, &f));
		while (f.head.type == IPC_PROGRESS);
		ck_assert_int_eq(f.head.type, IPC_FAILED);
		ck_assert_int_eq(load_failed_decode(f.data, f.head.n_bytes, &failed, &err), 0);
		ck_assert_uint_gt(strlen(failed.msg), 10);
		ck_assert_int_eq(status_of(&ch), 1);
		ipc_conn_free(ch.c);
	}
}
END_TEST

START_TEST(not_loaded_yet)
{
	struct child ch = start();
	struct gen_req r;
	greedy(&r, "x", 1);
	struct answer a = ask(&ch, &r);
	ck_assert_int_eq(a.code, ERR_BUSY);
	answer_release(&a);
	gen_req_release(&r);
	push(&ch, IPC_PING, 0, NULL, 0, -1);
	struct ipc_frame f;
	ck_assert(next(&ch, &f));
	ck_assert_int_eq(f.head.type, IPC_PONG);
	push(&ch, IPC_QUIT, 0, NULL, 0, -1);
	ck_assert_int_eq(status_of(&ch), 0);
	ipc_conn_free(ch.c);
}
END_TEST

START_TEST(quit_cancels)
{
	if (!have("llama.gguf"))
		return;
	struct child ch = loaded("llama.gguf");
	struct gen_req r;
	greedy(&r, "once upon a time", 100000);
	struct answer a[4] = {0};
	for (uint64_t i = 0; i < 4; i++)
		send_gen(&ch, i + 1, &r);
	push(&ch, IPC_QUIT, 0, NULL, 0, -1);
	gather(&ch, a, 4);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(a[i].reason, DONE_CANCELED);
		answer_release(&a[i]);
	}
	gen_req_release(&r);
	ck_assert_int_eq(status_of(&ch), 0);
	ipc_conn_free(ch.c);
}
END_TEST

START_TEST(garbage_ends_it)
{
	static const struct ipc_header heads[] = {
		{.n_bytes = 1u << 31, .type = IPC_GEN, .stream = 1},
		{.n_bytes = 0, .type = 999},
		{.n_bytes = 0, .type = IPC_LOADED},
		{.n_bytes = 0, .type = IPC_LOAD},
		{.n_bytes = 0, .type = IPC_GEN, .n_fd = 3, .stream = 1},
		{.n_bytes = 0, .type = IPC_PARK, .stream = 1},
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct child ch = start();
		ck_assert_int_eq(write(ipc_conn_fd(ch.c), &heads[i], sizeof heads[i]), (int)sizeof heads[i]);
		ck_assert_int_eq(status_of(&ch), 1);
		ipc_conn_free(ch.c);
	}
	struct child ch = start();
	ck_assert_int_eq(stop(&ch), 0); /* the end of the stream is no failure */
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("runner");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, garbage_ends_it);
	tcase_add_test(tc, not_loaded_yet);
	tcase_add_test(tc, loading_fails_with_words);
	tcase_add_test(tc, greedy_is_golden);
	tcase_add_test(tc, many_at_once_are_as_alone);
	tcase_add_test(tc, cancel_in_prefill_and_decode);
	tcase_add_test(tc, park_and_resume_changes_nothing);
	tcase_add_test(tc, stop_strings_logprobs_and_shift);
	tcase_add_test(tc, bad_requests_leave_it_running);
	tcase_add_test(tc, chat_renders);
	tcase_add_test(tc, go_templates);
	tcase_add_test(tc, embeds);
	tcase_add_test(tc, quit_cancels);
	Suite *s = suite_create("runner");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
