#include "cli/cli_answer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "cli/cli_format.h"

void cli_answer_init(struct cli_answer *a, bool wrap, bool hide_thinking, bool verbose)
{
	*a = (struct cli_answer){.hide_thinking = hide_thinking, .verbose = verbose};
	cli_wrap_init(&a->wrap, wrap);
}

void cli_answer_release(struct cli_answer *a)
{
	cli_wrap_release(&a->wrap);
	str_release(&a->text);
	str_release(&a->thought);
}

static void print_rate(const char *name, int64_t n, int64_t ns)
{
	char label[40], t[CLI_TEXT_BYTES];
	cli_duration_text(ns, t);
	snprintf(label, sizeof label, "%s count:", name);
	fprintf(stderr, "%-21s %lld token(s)\n", label, (long long)n);
	snprintf(label, sizeof label, "%s duration:", name);
	fprintf(stderr, "%-21s %s\n", label, t);
	snprintf(label, sizeof label, "%s rate:", name);
	fprintf(stderr, "%-21s %.2f tokens/s\n", label, ns ? (double)n / ((double)ns / 1e9) : 0.0);
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
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		print_rate(rows[i].name, json_integer_value(json_get(r, rows[i].count)),
			   json_integer_value(json_get(r, rows[i].duration)));
}

static void set_thinking(struct cli_answer *a, bool on)
{
	const char *grey = cli_term_codes(STDOUT_FILENO) ? "\033[90m" : "", *plain = *grey ? "\033[0m" : "";
	if (a->thinking == on)
		return;
	a->thinking = on;
	cli_wrap_flush(&a->wrap);
	printf(on ? "%sThinking...\n" : "\n...done thinking.%s\n\n", on ? grey : plain);
	a->wrap.column = 0;
}

static void finish(struct cli_answer *a)
{
	a->ended = true;
	set_thinking(a, false);
	cli_wrap_flush(&a->wrap);
	if (a->text.len || a->thought.len)
		printf("\n\n");
	fflush(stdout);
}

bool cli_answer_line(void *user, const json_t *obj)
{
	struct cli_answer *a = user;
	const json_t *message = json_get(obj, "message");
	const char *text = json_string_value(message ? json_get(message, "content") : json_get(obj, "response"));
	const char *thought = json_string_value(json_get(message ? message : obj, "thinking"));
	if (!a->begun)
		cli_spin_stop();
	a->begun = true;
	if (thought && *thought) {
		str_adds(&a->thought, thought);
		if (!a->hide_thinking) {
			set_thinking(a, true);
			cli_wrap_text(&a->wrap, thought);
		}
	}
	if (text && *text) {
		str_adds(&a->text, text);
		set_thinking(a, false);
		cli_wrap_text(&a->wrap, text);
	}
	if (json_is_true(json_get(obj, "done"))) {
		finish(a);
		if (a->verbose)
			print_stats(obj);
	}
	return true;
}

void cli_answer_stop(struct cli_answer *a)
{
	if (a->begun && !a->ended)
		finish(a);
}

json_t *cli_think_value(const char *word)
{
	static const char *const levels[] = {"high", "medium", "low", "max"};
	if (!strcmp(word, "true") || !strcmp(word, "false"))
		return json_boolean(!strcmp(word, "true"));
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (!strcmp(word, levels[i]))
			return json_string(word);
	return NULL;
}

bool cli_has_capability(const json_t *show, const char *name)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_get(show, "capabilities"), i, c)
		if (json_is_string(c) && !strcmp(json_string_value(c), name))
			return true;
	return false;
}

void cli_set_known(json_t *obj, const char *key, json_t *value)
{
	if (value)
		json_object_set(obj, key, value);
}
