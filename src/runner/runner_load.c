#include "runner/runner_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* What a base model without any template is asked with: the ChatML form, which most inference programs assume. */
static const char chatml[] = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
			     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static int check_fd(int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_set(err, ERR_IO, "the model's descriptor cannot be used: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "the model is not a regular file");
	if (st.st_size <= 0)
		return err_set(err, ERR_FORMAT, "the model file is empty");
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
		return err_set(err, ERR_INVALID, "the model file is not open for reading");
	return 0;
}

static char *token_text(const struct tok *t, int id)
{
	size_t n = 0;
	const char *s = id >= 0 ? tok_text(t, id, &n) : NULL;
	return mem_strndup(s ? s : "", s ? n : 0);
}

static int open_chat(struct runner_load *l, const char *template_text, struct err *err)
{
	struct gguf_str own = {0};
	int rc = template_text ? 1 : gguf_get_str(l->gguf, "tokenizer.chat_template", &own, err);
	if (rc < 0)
		return rc;
	l->has_template = template_text || (rc > 0 && own.n);
	char *text = template_text     ? mem_strdup(template_text)
		     : l->has_template ? mem_strndup(own.s, own.n)
				       : mem_strdup(chatml);
	char *bos = token_text(l->tok, tok_bos(l->tok)), *eos = token_text(l->tok, tok_eos(l->tok));
	struct chat_cfg cfg = {.template_text = text, .bos_text = bos, .eos_text = eos};
	if (chat_new(&cfg, &l->chat, &l->template_err)) {
		l->chat = NULL;
		log_warn("template broken, chat is off: %s", l->template_err.msg);
	}
	mem_free(text);
	mem_free(bos);
	mem_free(eos);
	return 0;
}

int runner_load_open(struct runner_load *l, int fd, const char *template_text, struct err *err)
{
	int rc = check_fd(fd, err);
	if (!rc)
		rc = gguf_open(fd, &l->gguf, err);
	if (!rc)
		rc = tok_new(l->gguf, &l->tok, err);
	return rc ? rc : open_chat(l, template_text, err);
}

int runner_load_compute(struct runner_load *l, const char *kernels, const char *cpu, const char *kv_type, int n_thread, struct err *err)
{
	int rc = kern_choose(kernels, cpu, &l->kern, err);
	if (!rc)
		rc = kern_kv_choose(l->kern, kv_type, &l->kv_type, err);
	if (rc)
		return rc;
	if (!cpu && !strcmp(l->kern->name, "generic"))
		log_warn("this CPU has no AVX2: everything works, but slowly");
	l->pool = pool_new(pool_n_threads(n_thread));
	return 0;
}

/* The context length in the file, 0 when it names none. */
static int64_t trained_n_ctx(const struct gguf *g)
{
	struct gguf_str arch;
	int64_t n = 0;
	if (gguf_get_str(g, "general.architecture", &arch, NULL) <= 0 || arch.n > 64)
		return 0;
	char key[96];
	snprintf(key, sizeof key, "%.*s.context_length", (int)arch.n, arch.s);
	return gguf_get_i64(g, key, &n, NULL) > 0 && n > 0 ? n : 0;
}

static bool is_eog(const void *user, int id)
{
	return tok_is_eog(user, id);
}

int runner_load_start(struct runner_load *l, int64_t n_ctx, size_t kv_bytes, void (*progress)(void *user, float share), void *user,
		      struct err *err)
{
	int64_t trained = trained_n_ctx(l->gguf);
	if (trained && n_ctx > trained)
		n_ctx = trained;
	int rc = model_new(l->gguf, l->kern, l->kv_type, l->pool, n_ctx, progress, user, &l->model, err);
	if (rc)
		return rc;
	struct engine_cfg cfg = {.pool = l->pool, .n_ctx_max = n_ctx, .kv_bytes = kv_bytes, .is_eog = is_eog, .eog_user = l->tok};
	rc = engine_new(l->model, &cfg, &l->engine, err);
	if (rc)
		runner_load_stop(l);
	return rc;
}

void runner_load_stop(struct runner_load *l)
{
	if (l->engine)
		engine_free(l->engine);
	if (l->model)
		model_free(l->model);
	l->engine = NULL;
	l->model = NULL;
}

const struct grammar_vocab *runner_load_vocab(struct runner_load *l)
{
	if (!l->vocab)
		l->vocab = grammar_vocab_new(l->tok);
	return l->vocab;
}

void runner_load_close(struct runner_load *l)
{
	runner_load_stop(l);
	if (l->pool)
		pool_free(l->pool);
	if (l->chat)
		chat_free(l->chat);
	grammar_vocab_free(l->vocab);
	if (l->tok)
		tok_free(l->tok);
	if (l->gguf)
		gguf_close(l->gguf);
	*l = (struct runner_load){0};
}

int runner_load_render(const struct runner_load *l, const struct chat_req *req, struct str *out, struct err *err)
{
	if (l->chat)
		return chat_render(l->chat, req, out, err);
	return err_set(err, ERR_INVALID, "the model's chat template cannot be used: %s", l->template_err.msg);
}

/* Memory of this process that no file backs. */
static int64_t anonymous_bytes(void)
{
	long resident = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%*d %ld %ld", &resident, &shared) != 2)
		resident = shared = 0;
	fclose(f);
	return resident > shared ? (int64_t)(resident - shared) * sysconf(_SC_PAGESIZE) : 0;
}

void runner_load_info(const struct runner_load *l, struct loaded_info *ret)
{
	struct engine_stats st;
	engine_stats(l->engine, &st);
	*ret = (struct loaded_info){
		.arch = mem_strdup(model_arch(l->model)),
		.n_ctx_train = model_n_ctx_train(l->model),
		.n_ctx_max = engine_n_ctx_max(l->engine),
		.n_vocab = model_n_vocab(l->model),
		.n_embd = model_n_embd(l->model),
		.pooling = model_pooling(l->model),
		.is_encoder = model_is_encoder(l->model),
		.has_template = l->has_template,
		.kv_bytes = (int64_t)st.kv_budget_bytes,
		.other_bytes = anonymous_bytes(),
		.kv_bytes_per_tok = (int64_t)engine_kv_bytes_per_tok(l->engine),
		.kernels = mem_strdup(l->kern->name),
		.n_thread = pool_size(l->pool),
	};
	for (size_t i = 0; i < gguf_n_tensor(l->gguf); i++)
		ret->weights_bytes += (int64_t)gguf_tensor_at(l->gguf, i)->n_bytes;
}

