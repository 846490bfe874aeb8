/* cli_answer: prints a streamed answer of /api/generate or /api/chat: text wrapped on terminals, thinking between its two
 * marks, statistics at the end. It keeps what arrived, for chats. One answer at a time, on the main thread. */
#ifndef CRIA_CLI_ANSWER_H
#define CRIA_CLI_ANSWER_H

#include <stdbool.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli_term.h"

struct cli_answer {
	struct cli_wrap wrap;
	bool hide_thinking, verbose;
	bool begun;    /* an object has arrived: the spinner is gone */
	bool thinking; /* between "Thinking..." and "...done thinking." */
	bool ended;
	struct str text, thought; /* all that has arrived */
};

void cli_answer_init(struct cli_answer *a, bool wrap, bool hide_thinking, bool verbose);
/* A cli_sink's line function; user is the cli_answer. */
bool cli_answer_line(void *user, const json_t *obj);
/* Finishes the output of an answer that was stopped; nothing after a complete one. */
void cli_answer_stop(struct cli_answer *a);
void cli_answer_release(struct cli_answer *a);

/* What --think and /set think mean as JSON: true, false or a level; NULL for other words. Owned. */
json_t *cli_think_value(const char *word);
/* Whether an answer of /api/show lists a capability. */
bool cli_has_capability(const json_t *show, const char *name);
/* obj[key] = value (borrowed), unless value is NULL. */
void cli_set_known(json_t *obj, const char *key, json_t *value);

#endif
