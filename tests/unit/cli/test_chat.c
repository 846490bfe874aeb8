/* The parts of the chat that need no terminal: word wrap, quoted texts, file names in messages, the history file. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "cli/chat_files.h"
#include "cli/chat_history.h"
#include "cli/chat_text.h"
#include "cli/cli_term.h"

/* text wrapped at `width`, given in pieces of n_piece characters' bytes (0: at once). Free the result. */
static char *wrapped(const char *text, int width, size_t n_piece)
{
	char *out;
	size_t n_out, n = strlen(text);
	struct cli_wrap w = {.out = open_memstream(&out, &n_out), .width = width};
	for (size_t i = 0; i < n;) {
		char piece[256];
		size_t len = n_piece && i + n_piece < n ? n_piece : n - i;
		while (i + len < n && (text[i + len] & 0xC0) == 0x80)
			len++;
		snprintf(piece, sizeof piece, "%.*s", (int)len, text + i);
		cli_wrap_text(&w, piece);
		i += len;
	}
	cli_wrap_flush(&w);
	cli_wrap_release(&w);
	fclose(w.out);
	return out;
}

START_TEST(wrap)
{
	static const struct {
		int width;
		const char *in, *out;
	} cases[] = {
		{0, "no width, no breaks at all", "no width, no breaks at all"},
		{10, "one two three four", "one two \nthree four"},
		{10, "keeps\nbreaks\n\nas they are", "keeps\nbreaks\n\nas they \nare"},
		{10, "a verylongwordthatfitsnowhere b", "a \nverylongwordthatfitsnowhere\nb"},
		{10, "日本語のテストです", "日本語のテ\nストです"},
		{10, "ab 日本語のテスト", "ab 日本語\nのテスト"},
		{10, "ééééé ééééé", "ééééé \nééééé"},
		{10, "", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t piece = 0; piece < 8; piece++) {
			char *out = wrapped(cases[i].in, cases[i].width, piece);
			ck_assert_str_eq(out, cases[i].out);
			free(out);
		}
	}
}
END_TEST

START_TEST(columns)
{
	ck_assert_int_eq(cli_columns("", 0), 0);
	ck_assert_int_eq(cli_columns("abc", 3), 3);
	ck_assert_int_eq(cli_columns("日本", 6), 4);
	ck_assert_int_eq(cli_columns("e\xCC\x81", 3), 1); /* a combining accent */
	ck_assert_int_ge(cli_columns("\xFF\xE6", 2), 0);  /* broken bytes do no harm */
}
END_TEST

/* Lines joined with '|' through chat_text; "..." behind it while it is open. */
static char *joined(const char *lines)
{
	struct chat_text t = {0};
	char *copy = mem_strdup(lines), *save, *line = strtok_r(copy, "|", &save);
	bool open = chat_text_begin(&t, line);
	while (open && (line = strtok_r(NULL, "|", &save)))
		open = chat_text_add(&t, line);
	if (open)
		str_adds(&t.text, "...");
	mem_free(copy);
	return str_take(&t.text);
}

START_TEST(quoted_texts)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"plain \"\"\"", "plain \"\"\""},
		{"\"\"\"one\"\"\"", "one"},
		{"\"\"\"\"\"\"", ""},
		{"\"\"\"", "\n..."},
		{"\"\"\"\"", "\"\n..."},
		{"\"\"\"a|b|c\"\"\"", "a\nb\nc"},
		{"\"\"\"a|\"\"\"b|c\"\"\"", "a\n\"\"\"b\nc"},
		{"\"\"\"a|\"\"\"", "a\n"},
		{"\"\"\"a\nb\"\"\"", "a\nb"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *out = joined(cases[i].in);
		ck_assert_str_eq(out, cases[i].out);
		mem_free(out);
	}
}
END_TEST

/* All paths in a text, each behind a '|'. */
static char *paths_in(const char *text)
{
	struct str path = {0}, all = {0};
	while (chat_files_next(&text, &path))
		str_printf(&all, "|%s", str_cstr(&path));
	str_release(&path);
	return all.data ? str_take(&all) : mem_strdup("");
}

START_TEST(file_names)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"what is on /tmp/a.png ?", "|/tmp/a.png|/a.png"},
		{"./cat.JPG", "|./cat.JPG"},
		{"./my\\ cat.jpeg and", "|./my cat.jpeg"},
		{"./a\\(1\\).webp", "|./a(1).webp"},
		{"C:\\pics\\x.png", "|C:\\pics\\x.png|\\x.png"},
		{"./a.png ./b.wav", "|./a.png|./b.wav"},
		{"./etc and ./b.png", "|./etc and ./b.png|./b.png"},
		{"./a.pngx ./a.png_b", ""},
		{"cat.png", ""},
		{"/.png", ""},
		{"/", ""},
		{"./line\n.png", ""},
		{"", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *out = paths_in(cases[i].in);
		ck_assert_str_eq(out, cases[i].out);
		mem_free(out);
	}
	ck_assert(chat_files_is_audio("/x.WAV") && !chat_files_is_audio("/x.png") && !chat_files_is_audio("x"));
	ck_assert(!chat_files_exists("/") && !chat_files_exists("/nowhere/x.png"));
}
END_TEST

/* A long text of slashes ends in reasonable time and finds nothing longer than a path. */
START_TEST(hostile_file_names)
{
	struct str text = {0}, path = {0};
	for (int i = 0; i < 20000; i++)
		str_adds(&text, "/");
	str_adds(&text, ".png");
	const char *p = str_cstr(&text);
	size_t n = 0;
	while (chat_files_next(&p, &path)) {
		ck_assert_uint_le(path.len, CHAT_FILES_PATH_BYTES + 8);
		n++;
	}
	ck_assert_uint_le(n, CHAT_FILES_PATH_BYTES);
	str_release(&text);
	str_release(&path);
}
END_TEST

START_TEST(history_file)
{
	char folder[] = "/tmp/cria-history-XXXXXX", path[64];
	struct chat_history h;
	ck_assert(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/new/history", folder);
	chat_history_read(path, &h);
	ck_assert_uint_eq(h.entries.n, 0);
	for (int i = 0; i < 120; i++) {
		char line[32];
		snprintf(line, sizeof line, "line %d\nsecond", i);
		chat_history_add(path, line);
		chat_history_add(path, line);
	}
	chat_history_read(path, &h);
	ck_assert_uint_eq(h.entries.n, CHAT_HISTORY_MAX);
	ck_assert_str_eq(h.entries.data[0], "line 20\nsecond");
	ck_assert_str_eq(h.entries.data[99], "line 119\nsecond");
	chat_history_release(&h);
	chat_history_add("/proc/nowhere/history", "does no harm");
	unlink(path);
	*strrchr(path, '/') = '\0';
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(history_path)
{
	static const struct {
		const char *home, *value, *path;
	} cases[] = {{"/home/a", NULL, "/home/a/.ollama/history"},  {"/home/a", "0", "/home/a/.ollama/history"},
		     {"/home/a", "false", "/home/a/.ollama/history"}, {"/home/a", "1", NULL},
		     {"/home/a", "whatever", NULL},                  {"", NULL, NULL}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		setenv("HOME", cases[i].home, 1);
		unsetenv("CRIA_NOHISTORY");
		if (cases[i].value)
			setenv("OLLAMA_NOHISTORY", cases[i].value, 1);
		else
			unsetenv("OLLAMA_NOHISTORY");
		char *path = chat_history_path_new();
		ck_assert(!path == !cases[i].path);
		if (path)
			ck_assert_str_eq(path, cases[i].path);
		mem_free(path);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_chat");
	TCase *t = tcase_create("all");
	tcase_add_test(t, wrap);
	tcase_add_test(t, columns);
	tcase_add_test(t, quoted_texts);
	tcase_add_test(t, file_names);
	tcase_add_test(t, hostile_file_names);
	tcase_add_test(t, history_file);
	tcase_add_test(t, history_path);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed;
}
