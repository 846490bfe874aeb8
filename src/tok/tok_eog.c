/* What single tokens are for: ids that the metadata leave out are found by the texts that model families use, and the set
 * of tokens that end a generation is collected. */
#include <string.h>

#include "base/bug.h"
#include "tok/tok_priv.h"

#define BAR "\xEF\xBD\x9C" /* U+FF5C, the fullwidth bar of DeepSeek's tokens */

struct by_text {
	size_t field; /* offset of the int in struct tok */
	const char *texts[12];
};

/* The first text that the vocabulary has wins. */
static const struct by_text by_text[] = {
	{offsetof(struct tok, eot),
		{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]",
			"<" BAR "end" TOK_SPACE "of" TOK_SPACE "sentence" BAR ">", "<end_of_utterance>"}},
	{offsetof(struct tok, eom), {"<|eom_id|>"}},
	{offsetof(struct tok, fim_pre),
		{"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", TOK_SPACE "<PRE>", "<" BAR "fim" TOK_SPACE "begin" BAR ">",
			"[PREFIX]"}},
	{offsetof(struct tok, fim_suf),
		{"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", TOK_SPACE "<SUF>", "<" BAR "fim" TOK_SPACE "hole" BAR ">",
			"[SUFFIX]"}},
	{offsetof(struct tok, fim_mid),
		{"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", TOK_SPACE "<MID>", "<" BAR "fim" TOK_SPACE "end" BAR ">",
			"[MIDDLE]"}},
	{offsetof(struct tok, fim_pad), {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
	{offsetof(struct tok, fim_rep), {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
	{offsetof(struct tok, fim_sep), {"<|file_sep|>"}},
};

static const char *const eog_texts[] = {
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
	"</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
	"<|tool_response>", "<" BAR "end" TOK_SPACE "of" TOK_SPACE "sentence" BAR ">", "[e~[",
};

/* gpt-oss marks the parts of a message with these; they are text for whoever reads the output. */
static const char *const shown_texts[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

static int find(const struct tok *t, const char *text)
{
	return tok_find(t, text, strlen(text));
}

static void find_by_text(struct tok *t, const struct by_text *row)
{
	int *field = (int *)((char *)t + row->field);
	for (size_t i = 0; *field < 0 && i < ARRAY_LEN(row->texts) && row->texts[i]; i++) {
		*field = find(t, row->texts[i]);
		if (*field >= 0)
			t->entries[*field].attr = TOK_CONTROL;
	}
}

static void clear_eog(struct tok *t, const char *text)
{
	int id = find(t, text);
	if (id >= 0)
		t->entries[id].eog = false;
}

void tok_eog_build(struct tok *t)
{
	for (size_t i = 0; i < ARRAY_LEN(by_text); i++)
		find_by_text(t, &by_text[i]);
	const int by_id[] = {t->eos, t->eot, t->eom, t->fim_pad, t->fim_rep, t->fim_sep};
	for (size_t i = 0; i < ARRAY_LEN(by_id); i++)
		if (by_id[i] >= 0)
			t->entries[by_id[i]].eog = true;
	for (size_t i = 0; i < ARRAY_LEN(eog_texts); i++) {
		int id = find(t, eog_texts[i]);
		if (id < 0)
			continue;
		t->entries[id].eog = true;
		t->entries[id].attr = TOK_CONTROL;
	}
	for (size_t i = 0; i < ARRAY_LEN(shown_texts); i++) {
		int id = find(t, shown_texts[i]);
		if (id >= 0)
			t->entries[id].attr = TOK_USER;
	}
	/* In these families the token only ends a message, and another message may follow in the same turn. */
	if ((find(t, "<|return|>") >= 0 && find(t, "<|call|>") >= 0) || (find(t, "<|calls|>") >= 0 && find(t, "<|flush|>") >= 0))
		clear_eog(t, "<|end|>");
	if (find(t, "<|tool_response>") >= 0)
		clear_eog(t, "</s>");
}
