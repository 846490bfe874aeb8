#include "cli/chat_editor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"

enum { WORDS_MAX = 16, TEXT_MAX = 4 << 20 };

static const char *editor_command(void)
{
	static const char *const names[] = {"CRIA_EDITOR", "OLLAMA_EDITOR", "VISUAL", "EDITOR"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return v;
	}
	return "vi";
}

/* Runs "command words path"; the status of wait. */
static int run(const char *command, char *path)
{
	char *copy = mem_strdup(command), *words[WORDS_MAX + 2], *save;
	int n = 0, status = -1;
	for (char *w = strtok_r(copy, " \t", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " \t", &save))
		words[n++] = w;
	words[n++] = path;
	words[n] = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		execvp(words[0], words);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	mem_free(copy);
	return status;
}

static int read_back(const char *path, struct str *text, struct err *err)
{
	char buf[4096];
	size_t n;
	FILE *f = fopen(path, "rbe");
	if (!f)
		return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	str_clear(text);
	while (text->len < TEXT_MAX && (n = fread(buf, 1, sizeof buf, f)))
		str_add(text, buf, n);
	fclose(f);
	if (text->len && text->data[text->len - 1] == '\n')
		str_truncate(text, text->len - 1);
	return 0;
}

int chat_editor_run(struct str *text, struct err *err)
{
	const char *folder = getenv("TMPDIR"), *command = editor_command();
	struct str path = {0};
	str_printf(&path, "%s/cria-prompt-XXXXXX.txt", folder && *folder ? folder : "/tmp");
	int rc = 0, fd = mkstemps(path.data, 4);
	if (fd < 0)
		rc = err_set(err, ERR_IO, "cannot write %s: %s", str_cstr(&path), strerror(errno));
	else if (write(fd, str_cstr(text), text->len) != (ssize_t)text->len)
		rc = err_set(err, ERR_IO, "cannot write %s: %s", str_cstr(&path), strerror(errno));
	if (fd >= 0)
		close(fd);
	if (!rc && run(command, path.data))
		rc = err_set(err, ERR_IO, "the editor \"%s\" failed (set OLLAMA_EDITOR to another one); the line is as it was", command);
	if (!rc)
		rc = read_back(str_cstr(&path), text, err);
	if (fd >= 0)
		unlink(str_cstr(&path));
	str_release(&path);
	return rc;
}
