#include "cli/chat_text.h"

#include <string.h>

static const char quotes[] = "\"\"\"";
enum { QUOTES_LEN = sizeof quotes - 1 };

bool chat_text_begin(struct chat_text *t, const char *line)
{
	str_clear(&t->text);
	if (starts_with(line, quotes))
		return chat_text_add(t, line + QUOTES_LEN);
	str_adds(&t->text, line);
	return false;
}

bool chat_text_add(struct chat_text *t, const char *line)
{
	if (ends_with(line, quotes)) {
		str_add(&t->text, line, strlen(line) - QUOTES_LEN);
		return false;
	}
	str_adds(&t->text, line);
	str_addc(&t->text, '\n');
	return true;
}

void chat_text_release(struct chat_text *t)
{
	str_release(&t->text);
}
