/* cria show */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/vec.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/cli_format.h"
#include "cli/cli_http.h"
#include "cli/cli_show.h"

/* Two- or three-column rows of one section; cells are copied. */
struct section {
	VEC(const char *) cells;
	int n_col;
};

static void add(struct section *s, const char *text)
{
	vec_push(&s->cells, mem_strdup(text));
}

static void add_pair(struct section *s, const char *key, const char *value)
{
	add(s, key);
	add(s, value);
}

/* Prints title and rows when there are any, and forgets them. */
static void flush(struct section *s, const char *title)
{
	if (s->cells.n) {
		printf("  %s\n", title);
		cli_table(NULL, s->cells.data, (int)s->cells.n / s->n_col, s->n_col, 4);
		printf("\n");
	}
	for (size_t i = 0; i < s->cells.n; i++)
		mem_free((void *)s->cells.data[i]);
	vec_release(&s->cells);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_get(obj, key));
	return s ? s : "";
}

/* "<arch>.name" of the metadata as an integer, or 0. */
static int64_t arch_int(const json_t *info, const char *name)
{
	char key[256];
	snprintf(key, sizeof key, "%s.%s", text_of(info, "general.architecture"), name);
	return json_integer_value(json_object_get(info, key));
}

static void show_model(const json_t *r)
{
	struct section s = {.n_col = 2};
	const json_t *info = json_get(r, "model_info"), *details = json_get(r, "details");
	char text[CLI_TEXT_BYTES];
	const char *arch = text_of(info, "general.architecture");
	add_pair(&s, "architecture", *arch ? arch : text_of(details, "family"));
	cli_count_text((double)json_integer_value(json_object_get(info, "general.parameter_count")), text);
	add_pair(&s, "parameters", text);
	static const struct {
		const char *label, *key;
	} sizes[] = {{"context length", "context_length"}, {"embedding length", "embedding_length"}};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		int64_t v = arch_int(info, sizes[i].key);
		snprintf(text, sizeof text, "%lld", (long long)v);
		if (v)
			add_pair(&s, sizes[i].label, text);
	}
	add_pair(&s, "quantization", text_of(details, "quantization_level"));
	flush(&s, "Model");

	s = (struct section){.n_col = 1};
	size_t i_cap;
	json_t *cap;
	json_array_foreach (json_get(r, "capabilities"), i_cap, cap)
		add(&s, json_string_value(cap));
	flush(&s, "Capabilities");
}

static void show_parameters(const json_t *r)
{
	struct section s = {.n_col = 2};
	char *copy = mem_strdup(text_of(r, "parameters"));
	for (char *save, *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = line + strcspn(line, " ");
		if (*value) {
			*value++ = '\0';
			value += strspn(value, " ");
		}
		add_pair(&s, line, value);
	}
	flush(&s, "Parameters");
	mem_free(copy);
}

/* A metadata value in one cell; arrays show their first elements. */
static void value_text(const json_t *v, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_PLAIN);
	if (json_is_string(v)) {
		const char *s = json_string_value(v);
		str_add(out, s, strcspn(s, "\n"));
	} else if (json_is_array(v)) {
		size_t n = json_array_size(v);
		str_addc(out, '[');
		for (size_t i = 0; i < n && i < 3; i++) {
			if (i)
				str_addc(out, ' ');
			value_text(json_array_get(v, i), out);
		}
		if (n > 3)
			str_printf(out, " ...+%zu more", n - 3);
		str_addc(out, ']');
	} else {
		jsonw_value(&w, v);
	}
}

static void show_verbose(const json_t *r)
{
	struct section s = {.n_col = 2};
	json_t *info = json_get(r, "model_info"), *v, *t;
	const char *key;
	size_t i;
	json_object_foreach (info, key, v) {
		struct str text = {0};
		value_text(v, &text);
		add_pair(&s, key, str_cstr(&text));
		str_release(&text);
	}
	flush(&s, "Metadata");

	s = (struct section){.n_col = 3};
	json_array_foreach (json_get(r, "tensors"), i, t) {
		struct str shape = {0};
		size_t k;
		json_t *d;
		json_array_foreach (json_get(t, "shape"), k, d)
			str_printf(&shape, "%s%lld", k ? " " : "[", (long long)json_integer_value(d));
		str_addc(&shape, ']');
		add_pair(&s, text_of(t, "name"), text_of(t, "type"));
		add(&s, str_cstr(&shape));
		str_release(&shape);
	}
	flush(&s, "Tensors");
}

/* The first two lines that are not empty, then "...". */
static void show_text(const json_t *r, const char *key, const char *title)
{
	struct section s = {.n_col = 1};
	char *copy = mem_strdup(text_of(r, key));
	int n_line = 0;
	for (char *save, *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		add(&s, ++n_line <= 2 ? line : "...");
		if (n_line > 2)
			break;
	}
	flush(&s, title);
	mem_free(copy);
}

void cli_show_overview(const json_t *answer, bool verbose)
{
	show_model(answer);
	show_parameters(answer);
	if (verbose)
		show_verbose(answer);
	show_text(answer, "system", "System");
	show_text(answer, "license", "License");
	putchar('\n');
}

int cmd_show(const struct cli_args *a)
{
	/* The selectors print one field; all but the system message end with a newline even when empty. */
	static const struct {
		const char *flag;
		bool newline, always;
	} parts[] = {{"license", true, true},
		     {"modelfile", true, false},
		     {"parameters", true, false},
		     {"system", false, false},
		     {"template", true, false}};
	const char *part = NULL;
	bool newline = false, always = false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!cli_flag_set(a, parts[i].flag))
			continue;
		if (part)
			return cli_fail("only one of '--license', '--modelfile', '--parameters', '--system', or '--template' "
					"can be specified");
		part = parts[i].flag;
		newline = parts[i].newline;
		always = parts[i].always;
	}
	bool verbose = cli_flag_set(a, "verbose");
	json_t *answer, *body = json_pack("{s:s, s:b}", "model", a->words[0], "verbose", verbose);
	struct err err;
	int rc = cli_call("POST", "/api/show", body, &answer, &err);
	json_decref(body);
	if (rc)
		return cli_fail("%s", err.msg);
	if (part) {
		const char *text = text_of(answer, part);
		fputs(text, stdout);
		if (newline && (always || *text) && !ends_with(text, "\n"))
			putchar('\n');
	} else {
		cli_show_overview(answer, verbose);
	}
	json_decref(answer);
	return 0;
}

bool cli_model_file(const char *name, char *ret_path, size_t n)
{
	json_t *answer = NULL, *body = json_pack("{s:s}", "model", name);
	struct err err;
	bool found = false;
	if (access(name, R_OK) && body && !cli_call("POST", "/api/show", body, &answer, &err)) {
		const char *from = strstr(text_of(answer, "modelfile"), "\nFROM /");
		size_t len = from ? strcspn(from + 6, "\n") : 0;
		found = from && len < n;
		if (found)
			snprintf(ret_path, n, "%.*s", (int)len, from + 6);
	}
	json_decref(body);
	json_decref(answer);
	return found;
}
