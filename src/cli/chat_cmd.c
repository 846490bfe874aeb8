#include "cli/chat_cmd.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "cli/cli_answer.h"
#include "cli/cli_http.h"
#include "cli/cli_show.h"
#include "modelfile/modelfile.h"

/* A line in words. text is the line itself: the system message keeps its blanks. */
struct words {
	const char *text;
	char *copy; /* the words lie here */
	VEC(const char *) w;
};

static void words_init(struct words *s, const char *text)
{
	char *save;
	*s = (struct words){.text = text, .copy = mem_strdup(text)};
	for (char *w = strtok_r(s->copy, " \t\r\n", &save); w; w = strtok_r(NULL, " \t\r\n", &save))
		vec_push(&s->w, w);
}

static void words_release(struct words *s)
{
	vec_release(&s->w);
	mem_free(s->copy);
}

static const char *word(const struct words *s, size_t i)
{
	return i < s->w.n ? s->w.data[i] : "";
}

/* The text behind the first n words, as it was written. */
static const char *rest(const struct words *s, size_t n)
{
	const char *p = s->text;
	for (size_t i = 0; i < n; i++) {
		p += strspn(p, " \t\r\n");
		p += strcspn(p, " \t\r\n");
	}
	return p + strspn(p, " \t\r\n");
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_get(obj, key));
	return s ? s : "";
}

static void say_error(const struct err *err)
{
	printf("Error: %s\n", err->msg);
}

/* ---- /set ---- */

static void set_parameter(struct chat *c, const struct words *s)
{
	struct modelfile m = {0};
	struct err err;
	json_t *params = NULL;
	struct str shown = {0};
	for (size_t i = 3; i < s->w.n; i++) {
		struct modelfile_cmd cmd = {.kind = MODELFILE_PARAMETER, .key = mem_strdup(word(s, 2)), .value = mem_strdup(word(s, i))};
		vec_push(&m.cmds, cmd);
		str_printf(&shown, "%s%s", i > 3 ? ", " : "", word(s, i));
	}
	if (modelfile_params(&m, &params, &err)) {
		struct str quoted = {0};
		struct jsonw w;
		jsonw_init(&w, &quoted, JSONW_PLAIN);
		jsonw_str(&w, err.msg);
		printf("Couldn't set parameter: %s\n", str_cstr(&quoted));
		str_release(&quoted);
	} else {
		json_object_update(c->options, params);
		printf("Set parameter '%s' to '%s'\n", word(s, 2), str_cstr(&shown));
	}
	json_decref(params);
	modelfile_release(&m);
	str_release(&shown);
}

static void set_system(struct chat *c, const struct words *s)
{
	struct str text = {0};
	if (chat_read_text(c, rest(s, 2), &text)) {
		str_clear(&c->system);
		str_add(&c->system, str_cstr(&text), text.len);
		printf("Set system message.\n");
	}
	str_release(&text);
}

static void set_format(struct chat *c, const struct words *s)
{
	if (strcmp(word(s, 2), "json")) {
		printf("'%s' is no format of a chat. For JSON use '/set format json'\n", word(s, 2));
		return;
	}
	json_decref(c->format);
	c->format = json_string("json");
	printf("Set format to 'json' mode.\n");
}

static void set_noformat(struct chat *c, const struct words *s)
{
	(void)s;
	json_decref(c->format);
	c->format = NULL;
	printf("Disabled format.\n");
}

static void set_think(struct chat *c, const struct words *s)
{
	bool on = !strcmp(word(s, 1), "think");
	json_t *value = s->w.n > 2 && on ? cli_think_value(word(s, 2)) : json_boolean(on);
	if (!value) {
		printf("'%s' is no level of thinking: take low, medium, high or max\n", word(s, 2));
		return;
	}
	json_decref(c->think);
	c->think = value;
	c->think_chosen = true;
	if (on && s->w.n > 2)
		printf("Set 'think' mode to '%s'.\n", word(s, 2));
	else
		printf("Set '%s' mode.\n", word(s, 1));
	if (on && !cli_has_capability(c->show, "thinking"))
		printf("Warning: '%s' cannot think, the server will refuse to answer. '/set nothink' undoes this.\n", str_cstr(&c->model));
}

struct mode {
	const char *word;
	size_t offset; /* of a bool in struct chat */
	bool value;
	const char *help;
};

static const struct mode modes[] = {
#define CHAT_MODE(word, member, value, help) {word, offsetof(struct chat, member), value, help},
#include "cli/chat_cmd.def"
#undef CHAT_MODE
};

/* One row of /set or /show. */
struct part {
	const char *word;
	void (*fn)(struct chat *c, const struct words *s);
	size_t min;
	const char *usage, *help;
};

static const struct part settings[] = {
#define CHAT_SET(word, fn, min, usage, help) {word, fn, min, usage, help},
#include "cli/chat_cmd.def"
#undef CHAT_SET
};

static const struct part *find_part(const struct part *parts, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(parts[i].word, name))
			return &parts[i];
	return NULL;
}

static void help_set(void)
{
	printf("Available Commands:\n");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		char left[60];
		snprintf(left, sizeof left, "/set %s %s", settings[i].word, settings[i].usage);
		printf("  %-30s %s\n", left, settings[i].help);
	}
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		printf("  /set %-25s %s\n", modes[i].word, modes[i].help);
	putchar('\n');
}

static void help_parameters(void)
{
	static const struct {
		const char *name, *type, *help;
	} params[] = {
#define CHAT_PARAM(name, type, help) {name, type, help},
#include "cli/chat_cmd.def"
#undef CHAT_PARAM
	};
	printf("Available Parameters:\n");
	for (size_t i = 0; i < ARRAY_LEN(params); i++) {
		char left[60];
		snprintf(left, sizeof left, "%s <%s>", params[i].name, params[i].type);
		printf("  /set parameter %-24s %s\n", left, params[i].help);
	}
	putchar('\n');
}

static bool cmd_set(struct chat *c, const struct words *s)
{
	const struct part *p = find_part(settings, ARRAY_LEN(settings), word(s, 1));
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		if (strcmp(modes[i].word, word(s, 1)))
			continue;
		*(bool *)((char *)c + modes[i].offset) = modes[i].value;
		printf("Set '%s' mode.\n", modes[i].word);
		return true;
	}
	if (p && s->w.n >= p->min + 2)
		p->fn(c, s);
	else if (p && !strcmp(p->word, "parameter"))
		help_parameters();
	else if (p)
		printf("Usage:\n  /set %s %s\n", p->word, p->usage);
	else if (s->w.n > 1)
		printf("Unknown command '/set %s'. Type /? for help\n", word(s, 1));
	else
		help_set();
	return true;
}

/* ---- /show ---- */

/* Asks the server with what this chat sets, so that Modelfile and system message show it. */
static json_t *show_new(struct chat *c)
{
	json_t *answer, *body = json_pack("{s:s}", "model", str_cstr(&c->model));
	struct err err;
	if (c->system.len)
		json_object_set_new(body, "system", json_string_nocheck(str_cstr(&c->system)));
	if (json_object_size(c->options))
		json_object_set(body, "options", c->options);
	if (cli_call("POST", "/api/show", body, &answer, &err))
		say_error(&err);
	json_decref(body);
	return answer;
}

static void show_info(struct chat *c, const struct words *s)
{
	json_t *answer = show_new(c);
	(void)s;
	if (answer)
		cli_show_overview(answer, false);
	json_decref(answer);
}

static void show_field(struct chat *c, const struct words *s)
{
	json_t *answer = show_new(c);
	const char *text = text_of(answer, word(s, 1));
	if (answer && *text)
		printf("%s\n", text);
	else if (answer)
		printf("No %s was specified for this model.\n", word(s, 1));
	json_decref(answer);
}

static void show_system(struct chat *c, const struct words *s)
{
	const char *text = c->system.len ? str_cstr(&c->system) : text_of(c->show, "system");
	(void)s;
	if (*text)
		printf("%s\n\n", text);
	else
		printf("No system message was specified for this model.\n");
}

static void print_option(const char *name, const json_t *v)
{
	struct str text = {0};
	struct jsonw w;
	jsonw_init(&w, &text, JSONW_PLAIN);
	jsonw_value(&w, v);
	printf("  %-30s %s\n", name, str_cstr(&text));
	str_release(&text);
}

static void show_parameters(struct chat *c, const struct words *s)
{
	const char *name;
	json_t *v;
	char *save, *copy = mem_strdup(text_of(c->show, "parameters"));
	(void)s;
	printf("Model defined parameters:\n");
	if (!*copy)
		printf("  none\n");
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		printf("  %s\n", line);
	putchar('\n');
	if (json_object_size(c->options))
		printf("User defined parameters:\n");
	json_object_foreach (c->options, name, v)
		print_option(name, v);
	if (json_object_size(c->options))
		putchar('\n');
	mem_free(copy);
}

static const struct part shows[] = {
#define CHAT_SHOW(word, fn, help) {word, fn, 0, "", help},
#include "cli/chat_cmd.def"
#undef CHAT_SHOW
};

static void help_show(void)
{
	printf("Available Commands:\n");
	for (size_t i = 0; i < ARRAY_LEN(shows); i++)
		printf("  /show %-24s %s\n", shows[i].word, shows[i].help);
	putchar('\n');
}

static bool cmd_show_part(struct chat *c, const struct words *s)
{
	const struct part *p = find_part(shows, ARRAY_LEN(shows), word(s, 1));
	if (p)
		p->fn(c, s);
	else if (s->w.n > 1)
		printf("Unknown command '/show %s'. Type /? for help\n", word(s, 1));
	else
		help_show();
	return true;
}

/* ---- models ---- */

static bool cmd_load(struct chat *c, const struct words *s)
{
	struct err err;
	printf("Loading model '%s'\n", word(s, 1));
	int rc = chat_load(c, word(s, 1), &err);
	if (rc == ERR_NOT_FOUND)
		printf("Couldn't find model '%s'\n", word(s, 1));
	else if (rc && rc != ERR_CANCELED)
		say_error(&err);
	return true;
}

/* The stored messages of the model and this chat's, one list. */
static json_t *all_messages(const struct chat *c)
{
	json_t *list = json_array(), *stored = json_get(c->show, "messages");
	if (json_is_array(stored))
		json_array_extend(list, stored);
	json_array_extend(list, c->messages);
	return list;
}

static bool cmd_save(struct chat *c, const struct words *s)
{
	json_t *answer, *body = json_pack("{s:s, s:b}", "from", str_cstr(&c->model), "stream", 0), *messages = all_messages(c);
	struct err err;
	json_object_set_new(body, "model", json_string_nocheck(word(s, 1)));
	if (c->system.len)
		json_object_set_new(body, "system", json_stringn_nocheck(c->system.data, c->system.len));
	if (json_object_size(c->options))
		json_object_set(body, "parameters", c->options);
	if (json_array_size(messages))
		json_object_set(body, "messages", messages);
	if (!cli_call("POST", "/api/create", body, &answer, &err))
		printf("Created new model '%s'\n", word(s, 1));
	else if (strstr(err.msg, "invalid model name"))
		printf("error: The model name '%s' is invalid\n", word(s, 1));
	else
		say_error(&err);
	json_decref(messages);
	json_decref(body);
	json_decref(answer);
	return true;
}

static bool cmd_models(struct chat *c, const struct words *s)
{
	(void)c;
	(void)s;
	cmd_list(&(struct cli_args){0});
	return true;
}

static bool cmd_clear(struct chat *c, const struct words *s)
{
	(void)s;
	json_array_clear(c->messages);
	printf("Cleared session context\n");
	return true;
}

static bool cmd_leave(struct chat *c, const struct words *s)
{
	(void)c;
	(void)s;
	return false;
}

/* ---- the table ---- */

static bool cmd_help(struct chat *c, const struct words *s);

static const struct {
	const char *word;
	bool (*fn)(struct chat *c, const struct words *s); /* false: the user leaves */
	size_t min;
	const char *usage, *help;
} commands[] = {
#define CHAT_CMD(word, fn, min, usage, help) {word, fn, min, usage, help},
#include "cli/chat_cmd.def"
#undef CHAT_CMD
};

static void help_keys(void)
{
	static const struct {
		const char *keys, *help;
	} rows[] = {
#define CHAT_KEY(keys, help) {keys, help},
#include "cli/chat_cmd.def"
#undef CHAT_KEY
	};
	printf("Available keyboard shortcuts:\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		printf("  %-20s %s\n", rows[i].keys, rows[i].help);
	putchar('\n');
}

static void help_all(void)
{
	printf("Available Commands:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		char left[40];
		if (!commands[i].help)
			continue;
		snprintf(left, sizeof left, "%s %s", commands[i].word, commands[i].usage);
		printf("  %-15s %s\n", left, commands[i].help);
	}
	printf("\nUse \"\"\" to begin a multi-line message.\n\n");
}

static bool cmd_help(struct chat *c, const struct words *s)
{
	static const struct {
		const char *topic;
		void (*fn)(void);
	} topics[] = {{"set", help_set}, {"show", help_show}, {"shortcuts", help_keys}};
	const char *topic = word(s, 1);
	(void)c;
	if (*topic == '/')
		topic++;
	for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
		if (strcmp(topics[i].topic, topic))
			continue;
		if (!strcmp(topic, "set") && !strcmp(word(s, 2), "parameter"))
			help_parameters();
		else
			topics[i].fn();
		return true;
	}
	help_all();
	return true;
}

/* Index of a line's command, ARRAY_LEN(commands) when it has none. */
static size_t find_command(const char *line)
{
	size_t i = 0, n = strcspn(line, " \t\r\n");
	while (i < ARRAY_LEN(commands) && (strlen(commands[i].word) != n || strncmp(commands[i].word, line, n)))
		i++;
	return i;
}

bool chat_cmd_known(const char *line)
{
	return find_command(line) < ARRAY_LEN(commands);
}

bool chat_cmd_run(struct chat *c, const char *line)
{
	size_t i = find_command(line);
	struct words s;
	bool stay = true;
	BUG_ON(i == ARRAY_LEN(commands));
	words_init(&s, line);
	if (s.w.n < commands[i].min + 1)
		printf("Usage:\n  %s %s\n", commands[i].word, commands[i].usage);
	else
		stay = commands[i].fn(c, &s);
	words_release(&s);
	return stay;
}
