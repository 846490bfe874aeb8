#include "runner/runner_prompt.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "chat/collate.h"

void runner_prompt_release(struct runner_prompt *p)
{
	str_release(&p->text);
	vec_release(&p->full);
	vec_release(&p->ids);
}

static void ids_add(struct ids *out, const int *ids, size_t n)
{
	vec_reserve(out, n);
	if (n)
		memcpy(out->data + out->n, ids, n * sizeof *ids);
	out->n += n;
}

void runner_prompt_cut(const int *ids, size_t n, int64_t n_ctx, int64_t n_keep, struct ids *out)
{
	if (n_keep > n_ctx - 1)
		n_keep = n_ctx - 1;
	int64_t n_gone = (n_ctx - n_keep) / 2, n_left = n_ctx - (n_gone > 1 ? n_gone : 1);
	BUG_ON(n_keep < 0 || n_left < n_keep || (size_t)n_left > n);
	ids_add(out, ids, (size_t)n_keep);
	ids_add(out, ids + n - (size_t)(n_left - n_keep), (size_t)(n_left - n_keep));
}

size_t runner_prompt_search(size_t n, int (*fits)(void *user, size_t i), void *user)
{
	size_t lo = 0, hi = n - 1; /* the answer lies in [lo, hi] */
	if (!n || fits(user, 0) > 0)
		return 0;
	for (lo = 1; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		int f = fits(user, mid);
		if (f < 0 && mid + 1 < hi)
			f = fits(user, ++mid);
		if (f > 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return hi;
}

json_t *runner_prompt_tail(json_t *messages, size_t i)
{
	json_t *out = json_array();
	for (size_t k = 0; k < json_array_size(messages); k++) {
		json_t *m = json_array_get(messages, k);
		const char *role = json_string_value(json_get(m, "role"));
		if (k >= i || (role && !strcmp(role, "system")))
			json_array_append(out, m);
	}
	return out;
}

/* One rendering of the conversation, kept while it is the shortest that was tried last. */
struct trial {
	const struct runner_load *l;
	const struct gotmpl *go; /* NULL: the model's Jinja template */
	const struct gen_req *req;
	int64_t now_s;
	int64_t n_ctx;
	size_t i;          /* messages dropped in the result below */
	int rc;
	struct err err;
	struct str text;
	struct ids ids;
};

static int encode(const struct runner_load *l, const struct str *text, unsigned flags, struct ids *ids, struct err *err)
{
	if (text->len > RUNNER_PROMPT_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the prompt is %zu bytes of text; at most %d are allowed", text->len,
			       RUNNER_PROMPT_BYTES_MAX);
	return tok_encode(l->tok, str_cstr(text), text->len, flags, ids, err);
}

/* BOS and the like are left out behind a context. Templates often write the BOS text themselves: one is enough. */
static int encode_chat(const struct runner_load *l, const struct gen_req *req, const struct str *text, struct ids *ids,
		       struct err *err)
{
	int rc = encode(l, text, TOK_PARSE_SPECIAL | (req->context.n ? 0 : TOK_ADD_SPECIAL), ids, err);
	int bos = tok_bos(l->tok);
	if (!rc && !req->context.n && tok_add_bos(l->tok) && ids->n > 1 && ids->data[0] == bos && ids->data[1] == bos) {
		memmove(ids->data, ids->data + 1, (ids->n - 1) * sizeof *ids->data);
		ids->n--;
	}
	return rc;
}

static int render_go(struct trial *t, const json_t *messages)
{
	const struct gen_req *req = t->req;
	struct collate_req c = {.messages = messages,
				.tools = req->tools,
				.think = req->think,
				.think_level = req->think_level,
				.tag_images = !req->custom_template,
				.now_s = t->now_s};
	return collate_render(t->go, &c, NULL, &t->text, &t->err);
}

static int render_jinja(struct trial *t, json_t *messages)
{
	const struct gen_req *req = t->req;
	struct chat_req c = {.messages = messages,
			     .tools = req->tools,
			     .kwargs = req->template_kwargs,
			     .think = req->think,
			     .think_level = req->think_level,
			     .add_generation_prompt = true,
			     .now_s = t->now_s};
	return runner_load_render(t->l, &c, &t->text, &t->err);
}

static void trial_run(struct trial *t, size_t i)
{
	json_t *messages = runner_prompt_tail(t->req->messages, i);
	t->i = i;
	str_clear(&t->text);
	t->ids.n = 0;
	t->rc = t->go ? render_go(t, messages) : render_jinja(t, messages);
	if (!t->rc)
		t->rc = encode_chat(t->l, t->req, &t->text, &t->ids, &t->err);
	json_decref(messages);
}

static int trial_fits(void *user, size_t i)
{
	struct trial *t = user;
	trial_run(t, i);
	if (!t->rc)
		return t->ids.n <= (size_t)t->n_ctx;
	return i ? -1 : 1; /* an error of the whole conversation is the answer */
}

static int build_chat(const struct runner_load *l, const struct gotmpl *go, const struct gen_req *req, int64_t n_ctx,
		      struct runner_prompt *ret, struct err *err)
{
	size_t n = json_array_size(req->messages);
	if (!n)
		return err_set(err, ERR_INVALID, "the conversation has no messages");
	if (n > RUNNER_PROMPT_MSG_MAX)
		return err_set(err, ERR_LIMIT, "the conversation has %zu messages; at most %d are allowed", n, RUNNER_PROMPT_MSG_MAX);
	struct trial t = {.l = l, .go = go, .req = req, .n_ctx = n_ctx, .now_s = clock_wall_ns() / NS_PER_S};
	if (req->truncate) {
		size_t i = runner_prompt_search(n, trial_fits, &t);
		if (t.i != i)
			trial_run(&t, i);
	} else {
		trial_run(&t, 0);
	}
	ret->text = t.text;
	ids_add(&ret->full, t.ids.data, t.ids.n);
	vec_release(&t.ids);
	return t.rc ? err_set(err, t.rc, "%s", t.err.msg) : 0;
}

static int build_raw(const struct runner_load *l, const struct gen_req *req, struct runner_prompt *ret, struct err *err)
{
	str_adds(&ret->text, req->prompt ? req->prompt : "");
	return encode(l, &ret->text, TOK_PARSE_SPECIAL | (req->context.n ? 0 : TOK_ADD_SPECIAL), &ret->full, err);
}

/* The prompt that asks for what stands between two texts. */
static int build_fill(const struct runner_load *l, const struct gotmpl *go, const struct gen_req *req, struct runner_prompt *ret,
		      struct err *err)
{
	struct collate_req c = {.prompt = req->prompt,
				.suffix = req->suffix,
				.think = req->think,
				.think_level = req->think_level,
				.now_s = clock_wall_ns() / NS_PER_S};
	int rc = collate_render(go, &c, NULL, &ret->text, err);
	return rc ? rc : encode_chat(l, req, &ret->text, &ret->full, err);
}

/* Puts the ids of an earlier exchange, and their text, in front. */
static int add_context(const struct runner_load *l, const struct gen_req *req, struct runner_prompt *p, struct err *err)
{
	const struct ids *c = &req->context;
	for (size_t i = 0; i < c->n; i++)
		if (c->data[i] < 0 || c->data[i] >= tok_n_vocab(l->tok))
			return err_set(err, ERR_INVALID, "context holds token id %d; this model knows the ids 0 to %d", c->data[i],
				       tok_n_vocab(l->tok) - 1);
	struct ids all = {0};
	int bos = tok_bos(l->tok);
	if (tok_add_bos(l->tok) && bos >= 0 && c->data[0] != bos)
		vec_push(&all, bos);
	ids_add(&all, c->data, c->n);
	ids_add(&all, p->full.data, p->full.n);
	vec_release(&p->full);
	p->full = all;
	struct str text = {0};
	tok_decode(l->tok, c->data, c->n, true, &text);
	str_add(&text, str_cstr(&p->text), p->text.len);
	str_release(&p->text);
	p->text = text;
	return 0;
}

/* The engine needs room for one token behind the prompt. A last message that is too long for the model's own template is
 * refused, as in Ollama; behind a Go template it loses its middle. */
static int fit(const struct runner_load *l, const struct gotmpl *go, const struct gen_req *req, int64_t n_ctx,
	       struct runner_prompt *p, struct err *err)
{
	size_t n = p->full.n;
	if (!n)
		return err_set(err, ERR_INVALID, "the prompt is empty, and this model has no token to begin with");
	bool has_bos = tok_add_bos(l->tok) && p->full.data[0] == tok_bos(l->tok);
	p->n_keep = req->opts.num_keep < 0 || req->opts.num_keep >= (int64_t)n ? (int64_t)n : req->opts.num_keep + has_bos;
	if ((int64_t)n <= n_ctx - 1) {
		ids_add(&p->ids, p->full.data, n);
		return 0;
	}
	if (!req->truncate || (req->kind == GEN_CHAT && !go))
		return err_set(err, ERR_TOO_LONG,
			       "the prompt is %zu tokens long, but the context holds %lld; shorten the prompt or raise num_ctx", n,
			       (long long)n_ctx);
	if (!req->shift)
		return err_set(err, ERR_TOO_LONG,
			       "the prompt is longer than the context length currently available to the model; shorten the "
			       "prompt, adjust the context length in settings, or use a model with a longer context length");
	runner_prompt_cut(p->full.data, n, n_ctx, p->n_keep, &p->ids);
	return 0;
}

int runner_prompt_build(const struct runner_load *l, const struct gotmpl *go, const struct gen_req *req, int64_t n_ctx,
			struct runner_prompt *ret, struct err *err)
{
	*ret = (struct runner_prompt){0};
	int rc = req->kind == GEN_CHAT ? build_chat(l, go, req, n_ctx, ret, err)
		 : req->suffix         ? build_fill(l, go, req, ret, err)
				       : build_raw(l, req, ret, err);
	if (!rc && req->context.n)
		rc = add_context(l, req, ret, err);
	if (!rc && !req->render_only)
		rc = fit(l, go, req, n_ctx, ret, err);
	if (rc)
		runner_prompt_release(ret);
	return rc;
}
