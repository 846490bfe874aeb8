#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli_http.h"

static const struct cli_flag flags_none[] = {{0}};
static const struct cli_flag flags_create[] = {
	{"file", 'f', FLAG_TEXT, "Name of the Modelfile (default \"Modelfile\")"},
	{"quantize", 'q', FLAG_TEXT, "Quantize model to this level (e.g. q4_K_M)"},
	{0},
};
static const struct cli_flag flags_show[] = {
	{"license", 0, FLAG_BOOL, "Show license of a model"},
	{"modelfile", 0, FLAG_BOOL, "Show Modelfile of a model"},
	{"parameters", 0, FLAG_BOOL, "Show parameters of a model"},
	{"system", 0, FLAG_BOOL, "Show system message of a model"},
	{"template", 0, FLAG_BOOL, "Show template of a model"},
	{"verbose", 'v', FLAG_BOOL, "Show detailed model information"},
	{0},
};
static const struct cli_flag flags_run[] = {
	{"dimensions", 0, FLAG_TEXT, "Truncate output embeddings to this dimension (embedding models only)"},
	{"format", 0, FLAG_TEXT, "Response format (e.g. json)"},
	{"hidethinking", 0, FLAG_BOOL, "Hide thinking output (if provided)"},
	{"insecure", 0, FLAG_BOOL, "Use an insecure registry"},
	{"keepalive", 0, FLAG_TEXT, "Duration to keep a model loaded (e.g. 5m)"},
	{"nowordwrap", 0, FLAG_BOOL, "Don't wrap words to the next line automatically"},
	{"think", 0, FLAG_TEXT_OPT, "Enable thinking mode: true/false or high/medium/low for supported models"},
	{"truncate", 0, FLAG_TEXT_OPT, "For embedding models: truncate inputs exceeding context length (default true)"},
	{"verbose", 0, FLAG_BOOL, "Show timings for response"},
	{0},
};

static const struct cli_flag flags_transfer[] = {
	{"insecure", 0, FLAG_BOOL, "Use an insecure registry"},
	{0},
};
static const struct cli_flag flags_save[] = {
	{"output", 'o', FLAG_TEXT, "File to write"},
	{0},
};
static const struct cli_flag flags_load[] = {
	{"input", 'i', FLAG_TEXT, "File to read"},
	{0},
};

struct command {
	int (*fn)(const struct cli_args *a);
	const char *word, *alias, *usage;
	int min, max;
	const char *help;
	const struct cli_flag *flags;
};

static const struct command commands[] = {
#define COMMAND(fn, word, alias, usage, min, max, help, flags) {fn, word, alias, usage, min, max, help, flags},
#include "cli/commands.def"
#undef COMMAND
};

int cli_fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("Error: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

const char *cli_flag_value(const struct cli_args *a, const char *name)
{
	for (int i = 0; a->flags[i].name; i++)
		if (!strcmp(a->flags[i].name, name))
			return a->values[i];
	BUG("no flag --%s", name);
}

bool cli_flag_set(const struct cli_args *a, const char *name)
{
	const char *v = cli_flag_value(a, name);
	return v && strcmp(v, "false") && strcmp(v, "0");
}

static void print_command_help(const struct command *c)
{
	printf("%s\n\nUsage:\n  cria %s %s [flags]\n\n", c->help, c->word, c->usage);
	if (c->alias)
		printf("Aliases:\n  %s, %s\n\n", c->word, c->alias);
	printf("Flags:\n");
	for (const struct cli_flag *f = c->flags; f->name; f++) {
		char left[64];
		snprintf(left, sizeof left, "%c%c%s --%s%s", f->letter ? '-' : ' ', f->letter ? f->letter : ' ', f->letter ? "," : " ",
			 f->name, f->kind == FLAG_BOOL ? "" : f->kind == FLAG_TEXT ? " string" : " string[=true]");
		printf("  %-30s %s\n", left, f->help);
	}
	printf("  %-30s %s\n\nEnvironment Variables:\n", "-h, --help", "this help");
	printf("      OLLAMA_HOST, CRIA_HOST     Address of the server (default 127.0.0.1:11434)\n");
}

static int print_help(void)
{
	printf("cria serves language models on this machine.\n\nUsage:\n  cria [command] [flags]\n\nCommands:\n"
	       "  serve      Start the server\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-10s %s\n", commands[i].word, commands[i].help);
	printf("  bench      Measure a model on this machine\n"
	       "  probe      Ask a model file: tokens, logits, templates (JSON lines on stdin)\n"
	       "  inspect    Print the facts of a GGUF file as JSON\n"
	       "  help       Help about any command\n\nFlags:\n"
	       "  -h, --help      this help\n  -v, --version   version of program and server\n\n"
	       "First steps:\n  cria serve &            start the server\n  cria list               see what is there\n"
	       "  cria run MODEL          chat with it\n  cria run MODEL \"hello\"  ask it one thing\n");
	return 0;
}

static int print_version(void)
{
	struct str body = {0};
	struct err err;
	json_t *v = NULL;
	if (cli_get("/api/version", &body, &err) || json_parse(str_cstr(&body), body.len, &v, &err)) {
		printf("Warning: could not connect to a running server\nWarning: client version is %s\n", CRIA_VERSION);
	} else {
		const char *server = json_string_value(json_get(v, "version"));
		printf("cria version is %s\n", server ? server : "?");
		if (server && strcmp(server, CRIA_VERSION))
			printf("Warning: client version is %s\n", CRIA_VERSION);
	}
	json_decref(v);
	str_release(&body);
	return 0;
}

/* The flag a word names, with its inline value; NULL when unknown. */
static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *word, const char **ret_value)
{
	*ret_value = NULL;
	for (const struct cli_flag *f = flags; f->name; f++) {
		size_t n = strlen(f->name);
		if (word[1] == '-' && !strncmp(word + 2, f->name, n) && (!word[2 + n] || word[2 + n] == '=')) {
			*ret_value = word[2 + n] ? word + 3 + n : NULL;
			return f;
		}
		if (word[1] != '-' && f->letter && word[1] == f->letter) {
			*ret_value = word[2] == '=' ? word + 3 : word[2] ? word + 2 : NULL;
			return f;
		}
	}
	return NULL;
}

/* Splits the command line into words and flag values; returns -1 to go on, else an exit status. */
static int parse_args(const struct command *c, int argc, char **argv, struct cli_args *a)
{
	bool words_only = false;
	for (int i = 0; i < argc; i++) {
		const char *w = argv[i], *value;
		if (words_only || w[0] != '-' || !w[1]) {
			a->words[a->n_word++] = w;
			continue;
		}
		if (!strcmp(w, "--")) {
			words_only = true;
			continue;
		}
		if (!strcmp(w, "-h") || !strcmp(w, "--help")) {
			print_command_help(c);
			return 0;
		}
		const struct cli_flag *f = find_flag(c->flags, w, &value);
		if (!f)
			return cli_fail(w[1] == '-' ? "unknown flag: %.*s" : "unknown shorthand flag: %.*s", (int)strcspn(w, "="), w);
		if (!value && f->kind == FLAG_TEXT) {
			if (i + 1 == argc)
				return cli_fail("flag needs an argument: --%s", f->name);
			value = argv[++i];
		}
		a->values[f - c->flags] = value ? value : "true";
	}
	if (c->min == c->max && a->n_word != c->min)
		return cli_fail("accepts %d arg(s), received %d", c->min, a->n_word);
	if (a->n_word < c->min)
		return cli_fail("requires at least %d arg(s), only received %d", c->min, a->n_word);
	if (c->max >= 0 && a->n_word > c->max)
		return cli_fail("accepts at most %d arg(s), received %d", c->max, a->n_word);
	return -1;
}

static int run_command(const struct command *c, int argc, char **argv)
{
	int n_flag = 0;
	while (c->flags[n_flag].name)
		n_flag++;
	struct cli_args a = {.flags = c->flags,
			     .words = mem_calloc((size_t)argc + 1, sizeof *a.words),
			     .values = mem_calloc((size_t)n_flag + 1, sizeof *a.values)};
	int rc = parse_args(c, argc, argv, &a);
	if (rc < 0)
		rc = c->fn(&a);
	mem_free(a.words);
	mem_free(a.values);
	return rc;
}

static const struct command *find_command(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(word, commands[i].word) || (commands[i].alias && !strcmp(word, commands[i].alias)))
			return &commands[i];
	return NULL;
}

int cli_main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";
	if (!strcmp(word, "-v") || !strcmp(word, "--version") || !strcmp(word, "version"))
		return print_version();
	if (!strcmp(word, "help") && argc > 2 && find_command(argv[2])) {
		print_command_help(find_command(argv[2]));
		return 0;
	}
	if (!strcmp(word, "-h") || !strcmp(word, "--help") || !strcmp(word, "help"))
		return print_help();
	const struct command *c = find_command(word);
	if (c)
		return run_command(c, argc - 2, argv + 2);
	if (word[0] == '-')
		return cli_fail("unknown flag: %s", word);
	return cli_fail("unknown command \"%s\" for \"cria\" (see cria help)", word);
}
