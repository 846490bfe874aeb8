#include "cli/chat.h"

#include <stdio.h>
#include <string.h>

#include "cli/chat_cmd.h"
#include "cli/chat_files.h"
#include "cli/chat_text.h"
#include "cli/cli.h"
#include "cli/cli_answer.h"
#include "cli/cli_http.h"

static const char quotes[] = "\"\"\"";

static json_t *message_new(const char *role, const struct str *text)
{
	json_t *m = json_pack("{s:s}", "role", role);
	json_object_set_new(m, "content", json_stringn_nocheck(str_cstr(text), text->len));
	return m;
}

/* ---- requests ---- */

/* An empty generate makes the server load the model, so that the first answer does not wait for it. */
static int load_model(struct chat *c, const char *model, struct err *err)
{
	struct cli_answer unused;
	json_t *body = json_pack("{s:s, s:b}", "model", model, "stream", 1);
	cli_set_known(body, "keep_alive", c->keep_alive);
	cli_answer_init(&unused, false, true, false);
	chat_input_clear_cancel();
	cli_spin_start("");
	int rc = cli_stream("/api/generate", body,
			    &(struct cli_sink){.line = cli_answer_line, .user = &unused, .cancel = chat_input_cancel_flag()}, err);
	cli_spin_stop();
	cli_answer_release(&unused);
	json_decref(body);
	return rc;
}

/* Shows the messages that are stored with the model as the chat they are. */
static void print_stored(const struct chat *c)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_get(c->show, "messages"), i, m) {
		const char *role = json_string_value(json_get(m, "role")), *text = json_string_value(json_get(m, "content"));
		struct cli_wrap wrap;
		if (!role || !text)
			continue;
		if (!strcmp(role, "user"))
			printf(">>> %s\n", text);
		if (strcmp(role, "assistant"))
			continue;
		cli_wrap_init(&wrap, c->wrap);
		cli_wrap_text(&wrap, text);
		cli_wrap_flush(&wrap);
		cli_wrap_release(&wrap);
		printf("\n\n");
	}
}

int chat_load(struct chat *c, const char *model, struct err *err)
{
	json_t *show = NULL, *body = json_object();
	json_object_set_new(body, "model", json_string_nocheck(model));
	int rc = cli_call("POST", "/api/show", body, &show, err);
	json_decref(body);
	if (!rc && cli_has_capability(show, "embedding"))
		rc = err_set(err, ERR_UNSUPPORTED, "%s is an embedding model: it cannot chat", model);
	if (!rc)
		rc = load_model(c, model, err);
	if (rc) {
		json_decref(show);
		return rc;
	}
	str_clear(&c->model);
	str_adds(&c->model, model);
	json_decref(c->show);
	c->show = show;
	json_array_clear(c->messages);
	if (!c->think_chosen) {
		json_decref(c->think);
		c->think = cli_has_capability(show, "thinking") ? json_true() : NULL;
	}
	print_stored(c);
	return 0;
}

static json_t *chat_body(const struct chat *c)
{
	json_t *body = json_pack("{s:s, s:b}", "model", str_cstr(&c->model), "stream", 1), *list = json_array();
	if (c->system.len)
		json_array_append_new(list, message_new("system", &c->system));
	json_array_extend(list, c->messages);
	json_object_set_new(body, "messages", list);
	if (json_object_size(c->options))
		json_object_set(body, "options", c->options);
	cli_set_known(body, "format", c->format);
	cli_set_known(body, "think", c->think);
	cli_set_known(body, "keep_alive", c->keep_alive);
	return body;
}

/* Keeps the answer, whole or stopped. A question that got no word is taken back: the next one starts from where the
 * conversation stands. */
static void keep_answer(struct chat *c, const struct cli_answer *answer)
{
	if (!answer->text.len && !answer->thought.len) {
		json_array_remove(c->messages, json_array_size(c->messages) - 1);
		return;
	}
	json_t *m = message_new("assistant", &answer->text);
	if (answer->thought.len)
		json_object_set_new(m, "thinking", json_stringn_nocheck(str_cstr(&answer->thought), answer->thought.len));
	json_array_append_new(c->messages, m);
}

static void ask(struct chat *c, const struct str *question)
{
	struct cli_answer answer;
	struct err err;
	json_array_append_new(c->messages, message_new("user", question));
	json_t *body = chat_body(c);
	cli_answer_init(&answer, c->wrap, c->hide_thinking, c->verbose);
	chat_input_clear_cancel();
	cli_spin_start("");
	int rc = cli_stream("/api/chat", body,
			    &(struct cli_sink){.line = cli_answer_line, .user = &answer, .cancel = chat_input_cancel_flag()}, &err);
	cli_spin_stop();
	cli_answer_stop(&answer);
	if (rc && rc != ERR_CANCELED)
		cli_fail("%s", err.msg);
	keep_answer(c, &answer);
	cli_answer_release(&answer);
	json_decref(body);
}

/* ---- the loop ---- */

/* One line from the keyboard; false when there is none: *ret_end tells whether the user leaves or canceled it. */
static bool read_line(struct chat *c, bool more, struct str *out, bool *ret_end)
{
	enum chat_input_result r = chat_input_read(c->input, more, out);
	*ret_end = r == CHAT_INPUT_END;
	if (r == CHAT_INPUT_CANCELED)
		printf("\nUse Ctrl + d or /bye to exit.\n");
	if (r == CHAT_INPUT_LINE && c->history)
		chat_input_remember(c->input, str_cstr(out));
	return r == CHAT_INPUT_LINE;
}

bool chat_read_text(struct chat *c, const char *first, struct str *out)
{
	struct chat_text text = {0};
	struct str line = {0};
	bool end, open = chat_text_begin(&text, first);
	bool got = true;
	while (open && (got = read_line(c, true, &line, &end)))
		open = chat_text_add(&text, str_cstr(&line));
	if (got)
		str_add(out, str_cstr(&text.text), text.text.len);
	chat_text_release(&text);
	str_release(&line);
	return got;
}

/* True when the text names an image or sound file, which is said: no model takes them yet. */
static bool refuse_files(const char *text)
{
	struct str path = {0};
	bool found = false;
	while (!found && chat_files_next(&text, &path))
		found = chat_files_exists(str_cstr(&path));
	if (found)
		printf("%s are not supported yet for this model, nothing was sent: '%s'\n",
		       chat_files_is_audio(str_cstr(&path)) ? "Sounds" : "Images", str_cstr(&path));
	str_release(&path);
	return found;
}

/* Handles one line of the user; false when he leaves. */
static bool handle_line(struct chat *c, const char *line)
{
	const char *start = line + strspn(line, " \t\r\n");
	struct str question = {0};
	if (!*start)
		return true;
	if (*start == '/' && chat_cmd_known(start))
		return chat_cmd_run(c, start);
	if (*start == '/') {
		if (!refuse_files(start))
			printf("Unknown command '%.*s'. Type /? for help\n", (int)strcspn(start, " \t\n"), start);
		return true;
	}
	if (chat_read_text(c, starts_with(start, quotes) ? start : line, &question) && question.len &&
	    !refuse_files(str_cstr(&question)))
		ask(c, &question);
	str_release(&question);
	return true;
}

static void loop(struct chat *c)
{
	struct str line = {0};
	bool end = false, stay = true;
	while (stay && !end)
		if (read_line(c, false, &line, &end))
			stay = handle_line(c, str_cstr(&line));
	str_release(&line);
}

int chat_run(const struct chat_setup *s)
{
	struct chat c = {.messages = json_array(),
			 .options = json_object(),
			 .think = json_incref(s->think),
			 .think_chosen = s->think_chosen,
			 .format = json_incref(s->format),
			 .keep_alive = json_incref(s->keep_alive),
			 .wrap = s->wrap,
			 .hide_thinking = s->hide_thinking,
			 .verbose = s->verbose,
			 .history = true,
			 .input = chat_input_new()};
	struct err err;
	int rc = chat_load(&c, s->model, &err);
	if (!rc)
		loop(&c);
	chat_input_free(c.input);
	json_decref(c.messages);
	json_decref(c.options);
	json_decref(c.think);
	json_decref(c.format);
	json_decref(c.keep_alive);
	json_decref(c.show);
	str_release(&c.model);
	str_release(&c.system);
	return rc == ERR_CANCELED ? 1 : rc ? cli_fail("%s", err.msg) : 0;
}
