/* fake: a call that records its answer and a scheduler that plays a script, so that endpoints run without HTTP and without
 * models. The scheduler's functions are defined here: the test program links none of sched/. */
#ifndef TEST_API_FAKE_H
#define TEST_API_FAKE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/api_endpoints.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

struct fake_call {
	struct api_call call;
	int n_ref, n_answer, status;
	char type[100];
	struct str body;
	bool streaming, ended;
	size_t pending;
	void (*on_end)(void *, bool);
	void (*on_low)(void *);
	void *user;
};

static struct fake_call fake;
static struct api_ctx ctx;
static char fake_root[64];

/* ---- the call ---- */

static void op_ref(struct api_call *c)
{
	((struct fake_call *)c)->n_ref++;
}
static void op_unref(struct api_call *c)
{
	ck_assert_int_gt(((struct fake_call *)c)->n_ref--, 0);
}
static void take_head(struct fake_call *f, int status, const struct api_header *h, size_t n)
{
	f->n_answer++;
	f->status = status;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(h[i].name, "Content-Type"))
			snprintf(f->type, sizeof f->type, "%s", h[i].value);
}
static void op_reply(struct api_call *c, int status, const struct api_header *h, size_t n_h, const void *body, size_t n)
{
	struct fake_call *f = (struct fake_call *)c;
	take_head(f, status, h, n_h);
	str_add(&f->body, body, n);
}
static void op_stream_begin(struct api_call *c, int status, const struct api_header *h, size_t n_h)
{
	struct fake_call *f = (struct fake_call *)c;
	take_head(f, status, h, n_h);
	f->streaming = true;
}
static size_t op_stream_write(struct api_call *c, const void *data, size_t n)
{
	struct fake_call *f = (struct fake_call *)c;
	ck_assert(f->streaming && !f->ended);
	str_add(&f->body, data, n);
	return f->pending;
}
static void op_stream_end(struct api_call *c)
{
	ck_assert(((struct fake_call *)c)->streaming);
	((struct fake_call *)c)->ended = true;
}
static void op_watch(struct api_call *c, void (*on_end)(void *, bool), void (*on_low)(void *), void *user)
{
	struct fake_call *f = (struct fake_call *)c;
	f->on_end = on_end;
	f->on_low = on_low;
	f->user = user;
}
static const struct api_call_ops fake_ops = {op_ref, op_unref, op_reply, op_stream_begin, op_stream_write, op_stream_end, op_watch};

/* ---- the scheduler ---- */

static struct {
	struct sched_req req;
	const struct gen_req *gen;
	bool submitted, fail_submit, unloaded;
	uint64_t cancelled;
	int n_park, n_unpark;
	const char *facts;
} fs;

int sched_submit(struct sched *s, const struct sched_req *req, uint64_t *ret_id, struct err *err)
{
	(void)s;
	if (fs.fail_submit)
		return err_set(err, ERR_BUSY, "server busy, please try again.  maximum pending requests exceeded");
	fs.req = *req;
	fs.gen = req->gen;
	fs.submitted = true;
	*ret_id = 7;
	return 0;
}
void sched_cancel(struct sched *s, uint64_t id)
{
	(void)s;
	fs.cancelled = id;
}
void sched_park(struct sched *s, uint64_t id, bool parked)
{
	(void)s;
	ck_assert_uint_eq(id, 7);
	if (parked)
		fs.n_park++;
	else
		fs.n_unpark++;
}
bool sched_unload(struct sched *s, const struct store_model *m)
{
	(void)s;
	(void)m;
	fs.unloaded = true;
	return true;
}
size_t sched_ps(struct sched *s, struct sched_loaded **ret)
{
	(void)s;
	*ret = NULL;
	return 0;
}
void sched_ps_free(struct sched_loaded *list, size_t n)
{
	(void)list;
	(void)n;
}
int sched_inspect(struct sched *s, const char *path, const char *digest, bool verbose, json_t **ret, struct err *err)
{
	(void)s;
	(void)path;
	(void)digest;
	(void)verbose;
	return fs.facts ? json_parse(fs.facts, strlen(fs.facts), ret, err) : err_set(err, ERR_FORMAT, "no GGUF magic");
}
/* The new file's bytes are the type and the first input's name. */
int sched_convert(struct sched *s, const struct sched_convert *c, struct err *err)
{
	(void)s;
	if (!c->progress(c->user, 0, 10) || !c->progress(c->user, 10, 10))
		return err_set(err, ERR_CANCELED, "the client left");
	ck_assert(dprintf(c->fd_out, "%s %s %zu", c->type, c->names[0], c->n_file) > 0);
	return access(c->paths[0], R_OK) ? err_set(err, ERR_NOT_FOUND, "no input") : 0;
}
/* Finds words where the real one parses: enough for the templates of these tests. */
int sched_inspect_template(struct sched *s, const char *text, const char *digest, json_t **ret, struct err *err)
{
	(void)s;
	(void)digest;
	if (strstr(text, "{{ .X") && !strstr(text, "}}"))
		return err_set(err, ERR_FORMAT, "template: :2: unclosed action");
	*ret = json_pack("{s:b,s:b,s:b,s:b}", "tools", strstr(text, ".Tools") != NULL, "insert", strstr(text, ".Suffix") != NULL,
			 "thinking", strstr(text, ".Thinking") != NULL, "tool_round_trip", strstr(text, "tool_response") != NULL);
	return 0;
}
bool sched_alive(struct sched *s)
{
	(void)s;
	return true;
}

__attribute__((unused)) static void play(struct gen_event ev)
{
	ck_assert(fs.submitted);
	fs.req.on_event(fs.req.user, &ev, 1000);
}

/* ---- a request ---- */

static const char FACTS_LLAMA[] =
	"{\"arch\":\"llama\",\"file_type\":\"Q4_1\",\"parameter_count\":134515008,\"context_length\":8192,\"embedding_length\":576,"
	"\"block_count\":30,\"chat_template\":\"{{ x }}\",\"template_tools\":false,\"template_thinking\":false,\"kv\":{\"z\":1,\"a\":2}}";

static void request(api_handler_fn *fn, const char *body, const char *accept)
{
	static struct api_header headers[1];
	str_release(&fake.body);
	arena_release(&fake.call.arena);
	int n_ref = fake.n_ref;
	memset(&fake, 0, sizeof fake);
	fake.n_ref = n_ref;
	fake.call.ops = &fake_ops;
	fake.call.ctx = &ctx;
	fake.call.id = "r-1";
	fake.call.param = "";
	fake.call.body = body;
	fake.call.n_body = strlen(body);
	fake.call.t0_ns = clock_now_ns() - 5;
	headers[0] = (struct api_header){"accept", accept};
	fake.call.headers = headers;
	fake.call.n_header = accept ? 1 : 0;
	arena_init(&fake.call.arena, 1 << 20);
	fs.submitted = false;
	fs.gen = NULL;
	fn(&ctx, &fake.call);
}

/* The answer was written out: the watch lets go. Afterwards nobody may hold the call. */
__attribute__((unused)) static void answered(void)
{
	ck_assert_int_eq(fake.n_answer, 1);
	if (fake.on_end)
		fake.on_end(fake.user, false);
	ck_assert_int_eq(fake.n_ref, 0);
}

static void fake_setup(void)
{
	struct err err;
	char dir[128], cache[128];
	strcpy(fake_root, "/tmp/cria-api-XXXXXX");
	ck_assert(mkdtemp(fake_root) != NULL);
	snprintf(dir, sizeof dir, "%s/models", fake_root);
	snprintf(cache, sizeof cache, "%s/cache", fake_root);
	ck_assert_int_eq(store_open(dir, cache, &ctx.store, &err), 0);
	ctx.version = "1.2.3";
	ctx.sched = (struct sched *)&fs;
	memset(&fs, 0, sizeof fs);
	fs.facts = FACTS_LLAMA;
}

static void fake_teardown(void)
{
	char cmd[128];
	store_close(ctx.store);
	str_release(&fake.body);
	arena_release(&fake.call.arena);
	snprintf(cmd, sizeof cmd, "rm -rf %s", fake_root);
	ck_assert_int_eq(system(cmd), 0);
}

/* Uploads "weights" and creates a model from them; `more` holds further members of the request. */
__attribute__((unused)) static void fake_create(const char *name, const char *more)
{
	struct err err;
	struct str body = {0};
	char digest[72];
	ck_assert_int_eq(store_blob_put(ctx.store, "weights", 7, digest, NULL, &err), 0);
	str_printf(&body, "{\"model\":\"%s\",\"files\":{\"x.gguf\":\"%s\"},\"stream\":false%s}", name, digest, more);
	request(api_create, body.data, NULL);
	ck_assert_msg(fake.status == 200, "%s", str_cstr(&fake.body));
	str_release(&body);
}

#endif
