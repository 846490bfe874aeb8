/* chat_editor: text written in the user's editor (CRIA_EDITOR, OLLAMA_EDITOR, VISUAL, EDITOR, else vi). The terminal is the
 * editor's while it runs; the caller gives it back to the shell's modes first. */
#ifndef CRIA_CLI_CHAT_EDITOR_H
#define CRIA_CLI_CHAT_EDITOR_H

#include "base/err.h"
#include "base/str.h"

/* Opens text in the editor, waits, and replaces text by what was saved, without the last line break. */
int chat_editor_run(struct str *text, struct err *err);

#endif
