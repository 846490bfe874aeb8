/* cria run MODEL [PROMPT]: one question from the command line or stdin, the answer streamed to stdout. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "cli/cli.h"
#include "cli/cli_format.h"
#include "cli/cli_http.h"
#include "cli/cli_term.h"

struct answer {
	struct cli_wrap wrap;
	bool hide_thinking, thinking;
	bool verbose;
	bool any;
};

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

static bool has_capability(const json_t *show, const char *name)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_get(show, "capabilities"), i, c)
		if (!strcmp(json_string_value(c), name))
			return true;
	return false;
}

static void print_stats(const json_t *r)
{
	char t[CLI_TEXT_BYTES];
	static const struct {
		const char *name, *duration, *count;
	} rows[] = {{"prompt eval", "prompt_eval_duration", "prompt_eval_count"}, {"eval", "eval_duration", "eval_count"}};
	cli_duration_text(json_integer_value(json_get(r, "total_duration")), t);
	fprintf(stderr, "total duration:       %s\n", t);
	cli_duration_text(json_integer_value(json_get(r, "load_duration")), t);
	fprintf(stderr, "load duration:        %s\n", t);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t n = json_integer_value(json_get(r, rows[i].count)), ns = json_integer_value(json_get(r, rows[i].duration));
		char label[40];
		cli_duration_text(ns, t);
		snprintf(label, sizeof label, "%s count:", rows[i].name);
		fprintf(stderr, "%-21s %lld token(s)\n", label, (long long)n);
		snprintf(label, sizeof label, "%s duration:", rows[i].name);
		fprintf(stderr, "%-21s %s\n", label, t);
		snprintf(label, sizeof label, "%s rate:", rows[i].name);
		fprintf(stderr, "%-21s %.2f tokens/s\n", label, ns ? (double)n / ((double)ns / 1e9) : 0.0);
	}
}

static void set_thinking(struct answer *a, bool on)
{
	const char *grey = isatty(STDOUT_FILENO) ? "\033[90m" : "", *plain = *grey ? "\033[0m" : "";
	if (a->thinking == on)
		return;
	a->thinking = on;
	printf(on ? "%sThinking...\n" : "\n...done thinking.%s\n\n", on ? grey : plain);
}

static bool on_line(void *user, const json_t *obj)
{
	struct answer *a = user;
	const char *text = json_string_value(json_get(obj, "response"));
	const char *thought = json_string_value(json_get(obj, "thinking"));
	if (!a->any)
		cli_spin_stop();
	a->any = true;
	if (thought && *thought && !a->hide_thinking) {
		set_thinking(a, true);
		cli_wrap_text(&a->wrap, thought);
	}
	if (text && *text) {
		set_thinking(a, false);
		cli_wrap_text(&a->wrap, text);
	}
	if (json_is_true(json_get(obj, "done"))) {
		set_thinking(a, false);
		cli_wrap_end(&a->wrap);
		if (json_get(obj, "eval_count") || (text && *text))
			printf("\n\n");
		fflush(stdout);
		if (a->verbose)
			print_stats(obj);
	}
	return true;
}

/* --think: the JSON value to send, NULL when the flag was not given; *ret_ok false for a word that is none. */
static json_t *think_value(const struct cli_args *a, bool *ret_ok)
{
	const char *v = cli_flag_value(a, "think");
	static const char *const levels[] = {"high", "medium", "low", "max"};
	*ret_ok = true;
	if (!v)
		return NULL;
	if (!strcmp(v, "true") || !strcmp(v, "false"))
		return json_boolean(!strcmp(v, "true"));
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (!strcmp(v, levels[i]))
			return json_string(v);
	*ret_ok = false;
	return NULL;
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
	json_t *answer, *body = json_pack("{s:s, s:s}", "model", model, "input", prompt);
	const char *dims = cli_flag_value(a, "dimensions"), *cut = cli_flag_value(a, "truncate");
	struct err err;
	if (!*prompt) {
		json_decref(body);
		return cli_fail("embedding models require input text. Usage: cria run %s \"your text here\"", model);
	}
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

static int run_generate(const struct cli_args *a, const char *model, const char *prompt)
{
	bool think_ok;
	json_t *think = think_value(a, &think_ok);
	if (!think_ok)
		return cli_fail("invalid value for --think: \"%s\" (must be true, false, high, medium, low, or max)",
				cli_flag_value(a, "think"));
	json_t *body = json_pack("{s:s, s:s, s:b}", "model", model, "prompt", prompt, "stream", 1);
	const char *format = cli_flag_value(a, "format"), *keep = cli_flag_value(a, "keepalive");
	if (think)
		json_object_set_new(body, "think", think);
	if (keep)
		json_object_set_new(body, "keep_alive", keepalive_value(keep));
	if (format) {
		json_t *schema = NULL;
		struct err ignored;
		if (*format == '{' && !json_parse_all(format, strlen(format), &schema, &ignored))
			json_object_set_new(body, "format", schema);
		else
			json_object_set_new(body, "format", json_string(format));
	}
	struct answer ans = {.hide_thinking = cli_flag_set(a, "hidethinking"), .verbose = cli_flag_set(a, "verbose")};
	struct err err;
	cli_wrap_init(&ans.wrap, !cli_flag_set(a, "nowordwrap"));
	cli_spin_start("");
	int rc = cli_stream("/api/generate", body, on_line, &ans, &err);
	cli_spin_stop();
	json_decref(body);
	return rc ? cli_fail("%s", err.msg) : 0;
}

int cmd_run(const struct cli_args *a)
{
	const char *model = a->words[0];
	struct str prompt = {0};
	read_stdin(&prompt);
	for (int i = 1; i < a->n_word; i++)
		str_printf(&prompt, "%s%s", prompt.len ? " " : "", a->words[i]);
	json_t *show = NULL, *body = json_pack("{s:s}", "model", model);
	struct err err;
	int rc = cli_call("POST", "/api/show", body, &show, &err);
	json_decref(body);
	if (rc)
		rc = cli_fail("%s", err.msg);
	else if (has_capability(show, "embedding"))
		rc = run_embedding(a, model, str_cstr(&prompt));
	else if (!prompt.len && isatty(STDIN_FILENO))
		rc = cli_fail("nothing to ask. Usage: cria run %s \"your question\", or echo \"your question\" | cria run %s",
			      model, model);
	else
		rc = run_generate(a, model, str_cstr(&prompt));
	json_decref(show);
	str_release(&prompt);
	return rc;
}
