/* cria run MODEL [PROMPT]: one question from the command line or stdin, the answer streamed to stdout; without a question, on
 * a terminal, a chat. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/chat.h"
#include "cli/cli.h"
#include "cli/cli_answer.h"
#include "cli/cli_http.h"
#include "cli/cli_term.h"
#include "cli/cli_transfer.h"

/* Reads stdin to its end when it is no terminal, without the white space around it. */
static void read_stdin(struct str *out)
{
	char buf[65536];
	ssize_t n;
	if (isatty(STDIN_FILENO))
		return;
	while ((n = read(STDIN_FILENO, buf, sizeof buf)) > 0)
		str_add(out, buf, (size_t)n);
	while (out->len && strchr(" \t\r\n", out->data[out->len - 1]))
		str_truncate(out, out->len - 1);
}

/* --keepalive as JSON: a number of seconds or a duration the server reads. */
static json_t *keepalive_value(const char *text)
{
	long long s;
	int used = 0;
	return sscanf(text, "%lld%n", &s, &used) == 1 && !text[used] ? json_integer(s) : json_string(text);
}

static int run_embedding(const struct cli_args *a, const char *model, const char *prompt)
{
	json_t *answer, *body = json_pack("{s:s}", "model", model);
	const char *dims = cli_flag_value(a, "dimensions"), *cut = cli_flag_value(a, "truncate");
	struct err err;
	if (!*prompt) {
		json_decref(body);
		return cli_fail("embedding models require input text. Usage: cria run %s \"your text here\"", model);
	}
	json_object_set_new(body, "input", json_string_nocheck(prompt));
	if (dims)
		json_object_set_new(body, "dimensions", keepalive_value(dims));
	if (cut)
		json_object_set_new(body, "truncate", json_boolean(cli_flag_set(a, "truncate")));
	int rc = cli_call("POST", "/api/embed", body, &answer, &err);
	json_decref(body);
	if (rc)
		return cli_fail("%s", err.msg);
	struct str text = {0};
	struct jsonw w;
	size_t i;
	json_t *v;
	jsonw_init(&w, &text, JSONW_PLAIN);
	jsonw_arr(&w);
	json_array_foreach (json_array_get(json_get(answer, "embeddings"), 0), i, v)
		jsonw_f32(&w, (float)json_number_value(v));
	jsonw_arr_end(&w);
	printf("%s\n", str_cstr(&text));
	str_release(&text);
	json_decref(answer);
	return 0;
}

/* --format: a JSON schema, or a word the server knows; NULL when not given. */
static json_t *format_value(const char *text)
{
	json_t *schema = NULL;
	struct err ignored;
	if (!text)
		return NULL;
	return *text == '{' && !json_parse_all(text, strlen(text), &schema, &ignored) ? schema : json_string(text);
}

/* What the flags say about the requests of a run. */
static int read_flags(const struct cli_args *a, const json_t *show, struct chat_setup *ret)
{
	const char *think = cli_flag_value(a, "think"), *keep = cli_flag_value(a, "keepalive");
	*ret = (struct chat_setup){.model = a->words[0],
				   .wrap = !cli_flag_set(a, "nowordwrap"),
				   .hide_thinking = cli_flag_set(a, "hidethinking"),
				   .verbose = cli_flag_set(a, "verbose"),
				   .think_chosen = think};
	if (think && !(ret->think = cli_think_value(think)))
		return cli_fail("invalid value for --think: \"%s\" (must be true, false, high, medium, low, or max)", think);
	if (!think && cli_has_capability(show, "thinking"))
		ret->think = json_true();
	ret->format = format_value(cli_flag_value(a, "format"));
	ret->keep_alive = keep ? keepalive_value(keep) : NULL;
	return 0;
}

static int run_generate(const struct chat_setup *s, const char *prompt)
{
	json_t *body = json_pack("{s:s, s:b}", "model", s->model, "stream", 1);
	struct cli_answer answer;
	struct err err;
	json_object_set_new(body, "prompt", json_string_nocheck(prompt));
	cli_set_known(body, "think", s->think);
	cli_set_known(body, "keep_alive", s->keep_alive);
	cli_set_known(body, "format", s->format);
	cli_answer_init(&answer, s->wrap, s->hide_thinking, s->verbose);
	cli_spin_start("");
	int rc = cli_stream("/api/generate", body, &(struct cli_sink){.line = cli_answer_line, .user = &answer}, &err);
	cli_spin_stop();
	cli_answer_release(&answer);
	json_decref(body);
	return rc ? cli_fail("%s", err.msg) : 0;
}

static int run_text(const struct cli_args *a, const json_t *show, const char *prompt)
{
	struct chat_setup setup;
	int rc = read_flags(a, show, &setup);
	if (!rc && !*prompt && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		rc = chat_run(&setup);
	else if (!rc && !*prompt && isatty(STDIN_FILENO))
		rc = cli_fail("nothing to ask. Usage: cria run %s \"your question\", or echo \"your question\" | cria run %s",
			      setup.model, setup.model);
	else if (!rc)
		rc = run_generate(&setup, prompt);
	json_decref(setup.think);
	json_decref(setup.format);
	json_decref(setup.keep_alive);
	return rc;
}

/* What the server says about the model; one that is not installed is pulled. 0, or 1 with the error printed. */
static int find_model(const struct cli_args *a, const char *model, json_t **ret_show)
{
	json_t *body = json_pack("{s:s}", "model", model);
	struct err err;
	int rc = cli_call("POST", "/api/show", body, ret_show, &err);
	if (rc == ERR_NOT_FOUND) {
		if (cli_pull(model, cli_flag_set(a, "insecure"))) {
			fprintf(stderr, "To add a model file: echo \"FROM /path/to/model.gguf\" > Modelfile; cria create %s\n", model);
			json_decref(body);
			return 1;
		}
		rc = cli_call("POST", "/api/show", body, ret_show, &err);
	}
	json_decref(body);
	return rc ? cli_fail("%s", err.msg) : 0;
}

int cmd_run(const struct cli_args *a)
{
	const char *model = a->words[0];
	struct str prompt = {0};
	json_t *show = NULL;
	read_stdin(&prompt);
	for (int i = 1; i < a->n_word; i++)
		str_printf(&prompt, "%s%s", prompt.len ? " " : "", a->words[i]);
	int rc = find_model(a, model, &show);
	if (!rc && cli_has_capability(show, "embedding"))
		rc = run_embedding(a, model, str_cstr(&prompt));
	else if (!rc)
		rc = run_text(a, show, str_cstr(&prompt));
	json_decref(show);
	str_release(&prompt);
	return rc;
}
