/* layer: api */
/* Request bodies through every endpoint that decodes one: the first byte picks the endpoint, the rest is the body. The
 * scheduler is played by this file: each request that reaches it gets a text, a tool call, a vector and an end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/api_endpoints.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ---- a call that counts its answers ---- */

static struct {
	struct api_call call;
	int n_ref, n_answer;
	size_t n_bytes;
	void (*on_end)(void *user, bool gone);
	void *user;
} fake;

static void op_ref(struct api_call *c)
{
	(void)c;
	fake.n_ref++;
}

static void op_unref(struct api_call *c)
{
	(void)c;
	BUG_ON(fake.n_ref-- <= 0);
}

static void op_reply(struct api_call *c, int status, const struct api_header *h, size_t n_header, const void *body, size_t n)
{
	(void)c;
	(void)h;
	(void)n_header;
	(void)body;
	BUG_ON(status < 200 || status > 599);
	fake.n_answer++;
	fake.n_bytes += n;
}

static void op_stream_begin(struct api_call *c, int status, const struct api_header *h, size_t n_header)
{
	op_reply(c, status, h, n_header, "", 0);
}

static size_t op_stream_write(struct api_call *c, const void *data, size_t n)
{
	(void)c;
	(void)data;
	fake.n_bytes += n;
	return 0;
}

static void op_stream_end(struct api_call *c)
{
	(void)c;
}

static void op_watch(struct api_call *c, void (*on_end)(void *, bool), void (*on_low)(void *), void *user)
{
	(void)c;
	(void)on_low;
	fake.on_end = on_end;
	fake.user = user;
}

static const struct api_call_ops ops = {op_ref, op_unref, op_reply, op_stream_begin, op_stream_write, op_stream_end, op_watch};

/* ---- a scheduler that answers at once ---- */

static const char *facts_text;

int sched_submit(struct sched *s, const struct sched_req *req, uint64_t *ret_id, struct err *err)
{
	static const float vector[] = {1, 2};
	(void)s;
	(void)err;
	*ret_id = 1;
	if (req->gen) {
		struct str wire = {0};
		struct gen_req back;
		struct err why;
		gen_req_encode(req->gen, &wire); /* what the runner would be sent must be readable there */
		if (!gen_req_decode(wire.data, wire.len, &back, &why))
			gen_req_release(&back);
		str_release(&wire);
		json_t *call = json_pack("{s:s,s:{s:i}}", "name", "f", "arguments", "a", 1);
		struct gen_event text = {.kind = EV_TEXT, .text = (char[]){"<a>"}, .thinking = (char[]){"b"}};
		struct gen_event tool = {.kind = EV_TOOL_CALL, .tool_call = call};
		struct gen_event embedding = {.kind = EV_EMBEDDING, .values = vector, .n_values = 2, .n_input_tok = 3};
		struct gen_event rendered = {.kind = EV_RENDERED, .text = (char[]){"p"}};
		if (req->gen->kind == GEN_EMBED) {
			req->on_event(req->user, &embedding, 1);
		} else if (req->gen->render_only) {
			req->on_event(req->user, &rendered, 1);
		} else {
			req->on_event(req->user, &text, 1);
			req->on_event(req->user, &tool, 1);
		}
		json_decref(call);
	}
	struct gen_event done = {.kind = EV_DONE, .stats = {.n_prompt = 1, .n_generated = 2}};
	req->on_event(req->user, &done, 1);
	return 0;
}

void sched_cancel(struct sched *s, uint64_t id)
{
	(void)s;
	(void)id;
}

void sched_park(struct sched *s, uint64_t id, bool parked)
{
	(void)s;
	(void)id;
	(void)parked;
}

bool sched_unload(struct sched *s, const struct store_model *m)
{
	(void)s;
	return m != NULL;
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
	return json_parse(facts_text, strlen(facts_text), ret, err);
}

int sched_inspect_template(struct sched *s, const char *text, const char *digest, json_t **ret, struct err *err)
{
	(void)s;
	(void)digest;
	if (strstr(text, "{{{"))
		return err_set(err, ERR_FORMAT, "template: :1: unexpected \"{\" in command");
	*ret = json_pack("{s:b,s:b}", "tools", strstr(text, ".Tools") != NULL, "insert", strstr(text, ".Suffix") != NULL);
	return 0;
}

bool sched_alive(struct sched *s)
{
	return s != NULL;
}

/* ---- running ---- */

static struct api_ctx ctx;
static char root[] = "/tmp/cria-fuzz-api-XXXXXX";

static void remove_root(void)
{
	char cmd[64];
	registry_free(ctx.registry);
	store_close(ctx.store);
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	if (system(cmd))
		fprintf(stderr, "%s is left behind\n", root);
}

static void run(api_handler_fn *fn, const char *body, size_t n)
{
	static const struct api_header form = {"Content-Type", "multipart/form-data; boundary=b"};
	int n_ref = fake.n_ref;
	memset(&fake, 0, sizeof fake);
	BUG_ON(n_ref != 0);
	fake.call.ops = &ops;
	fake.call.ctx = &ctx;
	fake.call.id = "r-1";
	fake.call.param = "";
	fake.call.headers = &form;
	fake.call.n_header = 1;
	fake.call.body = body;
	fake.call.n_body = n;
	fake.call.t0_ns = clock_now_ns();
	arena_init(&fake.call.arena, 1 << 20);
	fn(&ctx, &fake.call);
	BUG_ON(fake.n_answer != 1);
	if (fake.on_end)
		fake.on_end(fake.user, false);
	BUG_ON(fake.n_ref != 0);
	arena_release(&fake.call.arena);
}

static void create(const char *name)
{
	struct err err;
	char digest[72], body[256];
	BUG_ON(store_blob_put(ctx.store, "w", 1, digest, NULL, &err));
	snprintf(body, sizeof body, "{\"model\":\"%s\",\"files\":{\"x.gguf\":\"%s\"}}", name, digest);
	run(api_create, body, strlen(body));
}

static const char facts_chat[] = "{\"arch\":\"llama\",\"chat_template\":\"tools\",\"template_tools\":true,\"template_thinking\":true,"
				 "\"has_vision\":true,\"block_count\":1,\"kv\":{}}";
static const char facts_embed[] = "{\"arch\":\"bert\",\"pooling_type\":1,\"block_count\":1}";

static void start(void)
{
	struct err err;
	log_set_level(LOG_ERROR);
	BUG_ON(!mkdtemp(root));
	BUG_ON(store_open(root, NULL, &ctx.store, &err));
	ctx.sched = (struct sched *)&ctx; /* never looked into */
	ctx.version = "0";
	ctx.registry = registry_new(ctx.store, &(struct registry_cfg){.key_path = "", .auth_path = "", .ca_path = "", .mirrors = "",
								   .version = "0", .stall_ns = NS_PER_S});
	registry_stop(ctx.registry); /* no fuzzer may reach the network */
	facts_text = facts_chat;
	create("m");
	atexit(remove_root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct {
		api_handler_fn *fn;
		const char *facts;
	} endpoints[] = {
		{api_chat, facts_chat}, {api_generate, facts_chat}, {api_embed, facts_embed}, {api_embeddings, facts_embed},
		{api_v1_chat_completions, facts_chat}, {api_v1_completions, facts_chat}, {api_v1_embeddings, facts_embed},
		{api_show, facts_chat}, {api_create, facts_chat}, {api_copy, facts_chat}, {api_import, facts_chat},
		{api_v1_audio_transcriptions, facts_chat},
	};
	if (!ctx.store)
		start();
	if (!n)
		return 0;
	size_t i = data[0] % ARRAY_LEN(endpoints);
	char *body = mem_strndup((const char *)data + 1, n - 1);
	facts_text = endpoints[i].facts;
	run(endpoints[i].fn, body, n - 1);
	mem_free(body);
	return 0;
}
