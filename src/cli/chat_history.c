#include "cli/chat_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

static const char line_separator[] = "\xE2\x80\xA8"; /* U+2028 */

/* A switch in the environment: on for every value but those that say no. */
static bool env_on(const char *name)
{
	static const char *const no[] = {"", "0", "f", "F", "false", "FALSE", "False"};
	const char *v = getenv(name);
	for (size_t i = 0; v && i < ARRAY_LEN(no); i++)
		if (!strcmp(v, no[i]))
			return false;
	return v;
}

char *chat_history_path_new(void)
{
	struct str path = {0};
	const char *home = getenv("HOME");
	if (env_on("CRIA_NOHISTORY") || env_on("OLLAMA_NOHISTORY") || !home || !*home)
		return NULL;
	str_printf(&path, "%s/.ollama/history", home);
	return str_take(&path);
}

/* text with every `from` replaced. */
static char *replaced_new(const char *text, const char *from, const char *to)
{
	struct str out = {0};
	for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) {
		str_add(&out, text, (size_t)(at - text));
		str_adds(&out, to);
	}
	str_adds(&out, text);
	return str_take(&out);
}

static void push(struct chat_history *h, char *entry)
{
	if (h->entries.n == CHAT_HISTORY_MAX) {
		mem_free(h->entries.data[0]);
		memmove(h->entries.data, h->entries.data + 1, --h->entries.n * sizeof *h->entries.data);
	}
	vec_push(&h->entries, entry);
}

/* The end of a file. */
static void read_tail(const char *path, struct str *out)
{
	char buf[4096];
	size_t n;
	FILE *f = fopen(path, "rbe");
	if (!f)
		return;
	if (fseek(f, -CHAT_HISTORY_FILE_BYTES, SEEK_END))
		rewind(f);
	while (out->len < CHAT_HISTORY_FILE_BYTES && (n = fread(buf, 1, sizeof buf, f)))
		str_add(out, buf, n);
	fclose(f);
}

void chat_history_read(const char *path, struct chat_history *ret)
{
	struct str text = {0};
	*ret = (struct chat_history){0};
	str_reserve(&text, 1);
	text.data[0] = '\0';
	read_tail(path, &text);
	for (char *save, *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		push(ret, replaced_new(line, line_separator, "\n"));
	str_release(&text);
}

static void write_all(const char *path, const struct chat_history *h)
{
	struct str temp = {0};
	str_printf(&temp, "%s.XXXXXX", path);
	int fd = mkstemp(temp.data);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
	for (size_t i = 0; f && i < h->entries.n; i++) {
		char *line = replaced_new(h->entries.data[i], "\n", line_separator);
		fprintf(f, "%s\n", line);
		mem_free(line);
	}
	bool ok = f && !ferror(f);
	if (f && fclose(f))
		ok = false;
	else if (!f && fd >= 0)
		close(fd);
	if (fd >= 0 && (!ok || rename(str_cstr(&temp), path)))
		unlink(str_cstr(&temp));
	str_release(&temp);
}

void chat_history_add(const char *path, const char *entry)
{
	struct chat_history h;
	const char *slash = strrchr(path, '/');
	char *folder = mem_strndup(path, slash ? (size_t)(slash - path) : 0);
	mkdir(folder, 0755);
	mem_free(folder);
	chat_history_read(path, &h);
	if (!h.entries.n || strcmp(h.entries.data[h.entries.n - 1], entry)) {
		push(&h, mem_strdup(entry));
		write_all(path, &h);
	}
	chat_history_release(&h);
}

void chat_history_release(struct chat_history *h)
{
	for (size_t i = 0; i < h->entries.n; i++)
		mem_free(h->entries.data[i]);
	vec_release(&h->entries);
}
