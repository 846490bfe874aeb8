#include "api/ollama/ollama_print.h"

#include "api/api_model.h"
#include "base/clock.h"

void ollama_created_at(struct jsonw *w)
{
	char text[CLOCK_TEXT_BYTES];
	clock_rfc3339_go(clock_wall_ns(), 0, text);
	jsonw_kstr(w, "created_at", text);
}

static void put_nonzero(struct jsonw *w, const char *key, int64_t v)
{
	if (v)
		jsonw_kint(w, key, v);
}

void ollama_status(struct jsonw *w, const char *status, const char *digest, int64_t total, int64_t completed)
{
	jsonw_kstr(w, "status", status);
	if (digest)
		jsonw_kstr(w, "digest", digest);
	put_nonzero(w, "total", total);
	put_nonzero(w, "completed", completed);
}

void ollama_metrics(struct jsonw *w, const struct gen_job *j, const struct gen_stats *s)
{
	put_nonzero(w, "total_duration", clock_now_ns() - j->call->t0_ns);
	put_nonzero(w, "load_duration", j->load_ns);
	put_nonzero(w, "prompt_eval_count", s->n_prompt);
	put_nonzero(w, "prompt_eval_duration", s->prefill_ns);
	put_nonzero(w, "eval_count", s->n_generated);
	put_nonzero(w, "eval_duration", s->decode_ns);
}

static void put_logprob(struct jsonw *w, const json_t *v)
{
	const json_t *bytes = json_get_nonnull(v, "bytes"), *top = json_get_nonnull(v, "top_logprobs");
	jsonw_obj(w);
	jsonw_kstr(w, "token", api_json_text(v, "token"));
	jsonw_key(w, "logprob");
	jsonw_f64(w, json_number_value(json_get(v, "logprob")));
	if (json_array_size(bytes)) {
		jsonw_key(w, "bytes");
		jsonw_value(w, bytes);
	}
	if (json_array_size(top)) {
		jsonw_key(w, "top_logprobs");
		ollama_logprob_list(w, top);
	}
	jsonw_obj_end(w);
}

void ollama_logprob_list(struct jsonw *w, const json_t *logprobs)
{
	jsonw_arr(w);
	for (size_t i = 0; i < json_array_size(logprobs); i++)
		put_logprob(w, json_array_get(logprobs, i));
	jsonw_arr_end(w);
}

void ollama_logprobs(struct jsonw *w, const json_t *logprobs)
{
	if (!json_array_size(logprobs))
		return;
	jsonw_key(w, "logprobs");
	ollama_logprob_list(w, logprobs);
}

void ollama_tool_calls(struct jsonw *w, const json_t *calls)
{
	jsonw_arr(w);
	for (size_t i = 0; i < json_array_size(calls); i++)
		jsonw_value(w, json_array_get(calls, i));
	jsonw_arr_end(w);
}

void ollama_debug_info(struct jsonw *w, const struct gen_job *j)
{
	jsonw_key(w, "_debug_info");
	jsonw_obj(w);
	jsonw_kstr(w, "rendered_template", j->rendered);
	if (j->n_image)
		jsonw_kint(w, "image_count", j->n_image);
	jsonw_obj_end(w);
}

const char *ollama_done_reason(const struct gen_event *ev)
{
	return ev->reason == DONE_LENGTH ? "length" : "stop";
}

void ollama_late_error(struct gen_job *j, const char *msg, struct str *out)
{
	struct jsonw w;
	(void)j;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "error", msg);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}
