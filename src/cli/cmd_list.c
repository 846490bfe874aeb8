/* cria list, cria ps */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/bug.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "cli/cli_format.h"
#include "cli/cli_http.h"

enum { LIST_COLS = 4, PS_COLS = 6 };

/* A table under construction: cells are copied. */
struct rows {
	VEC(const char *) cells;
};

static void add_cell(struct rows *r, const char *text)
{
	vec_push(&r->cells, mem_strdup(text));
}

static void rows_release(struct rows *r)
{
	for (size_t i = 0; i < r->cells.n; i++)
		mem_free((void *)r->cells.data[i]);
	vec_release(&r->cells);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_get(obj, key));
	return s ? s : "";
}

static void add_name_cells(struct rows *r, const json_t *m)
{
	char id[16], size[CLI_TEXT_BYTES];
	snprintf(id, sizeof id, "%.12s", text_of(m, "digest"));
	cli_size_text(json_integer_value(json_get(m, "size")), size);
	add_cell(r, text_of(m, "name"));
	add_cell(r, id);
	add_cell(r, json_get(m, "remote_host") ? "-" : size);
}

static void add_list_row(struct rows *r, const json_t *m)
{
	char age[CLI_TEXT_BYTES];
	add_name_cells(r, m);
	cli_age_text(cli_parse_time(text_of(m, "modified_at")), (int64_t)time(NULL), age);
	add_cell(r, age);
}

/* Where the model lives: "100% CPU", "100% GPU" or the shares of both. */
static void processor_text(int64_t size, int64_t vram, char out[CLI_TEXT_BYTES])
{
	if (vram == 0)
		snprintf(out, CLI_TEXT_BYTES, "100%% CPU");
	else if (vram == size)
		snprintf(out, CLI_TEXT_BYTES, "100%% GPU");
	else if (vram > size || size == 0)
		snprintf(out, CLI_TEXT_BYTES, "Unknown");
	else {
		int cpu = (int)((double)(size - vram) / (double)size * 100 + 0.5);
		snprintf(out, CLI_TEXT_BYTES, "%d%%/%d%% CPU/GPU", cpu, 100 - cpu);
	}
}

static void add_ps_row(struct rows *r, const json_t *m)
{
	char text[CLI_TEXT_BYTES];
	add_name_cells(r, m);
	processor_text(json_integer_value(json_get(m, "size")), json_integer_value(json_get(m, "size_vram")), text);
	add_cell(r, text);
	snprintf(text, sizeof text, "%lld", (long long)json_integer_value(json_get(m, "context_length")));
	add_cell(r, text);
	int64_t now = (int64_t)time(NULL), until = cli_parse_time(text_of(m, "expires_at"));
	if (until < now)
		snprintf(text, sizeof text, "Stopping...");
	else if (until - now > INT64_C(20) * 365 * 86400)
		snprintf(text, sizeof text, "Forever");
	else
		cli_age_text(until, now, text);
	add_cell(r, text);
}

static int print_models(const struct cli_args *a, const char *path, const char *const *header, int n_col,
			void (*add)(struct rows *r, const json_t *m))
{
	json_t *answer;
	struct err err;
	if (cli_call("GET", path, NULL, &answer, &err))
		return cli_fail("%s", err.msg);
	struct rows rows = {0};
	const char *prefix = a->n_word ? a->words[0] : "";
	size_t i;
	json_t *m;
	json_array_foreach (json_get(answer, "models"), i, m)
		if (!strncasecmp(text_of(m, "name"), prefix, strlen(prefix)))
			add(&rows, m);
	cli_table(header, rows.cells.data, (int)rows.cells.n / n_col, n_col, 0);
	rows_release(&rows);
	json_decref(answer);
	return 0;
}

int cmd_list(const struct cli_args *a)
{
	static const char *const header[LIST_COLS] = {"NAME", "ID", "SIZE", "MODIFIED"};
	return print_models(a, "/api/tags", header, LIST_COLS, add_list_row);
}

int cmd_ps(const struct cli_args *a)
{
	static const char *const header[PS_COLS] = {"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"};
	return print_models(a, "/api/ps", header, PS_COLS, add_ps_row);
}
