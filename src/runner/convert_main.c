#include "runner/convert_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/vec.h"
#include "convert/convert.h"
#include "runner/runner.h"
#include "runner/runner_sandbox.h"

enum { FD_OUT = RUNNER_FD + 1, FD_FIRST = RUNNER_FD + 2, JOB_MAX_BYTES = 4 << 20 };

struct call {
	VEC(struct convert_file) files;
	json_t *request; /* NULL: by hand */
	const char *type, *out;
	int fd_out;
};

static void print_line(const struct str *line)
{
	fwrite(line->data, 1, line->len, stdout);
	fputc('\n', stdout);
	fflush(stdout);
}

static void on_progress(void *unused, uint64_t done, uint64_t total)
{
	struct str line = {0};
	(void)unused;
	str_printf(&line, "{\"done\":%llu,\"total\":%llu}", (unsigned long long)done, (unsigned long long)total);
	print_line(&line);
	str_release(&line);
}

static void print_end(int rc, const struct err *err)
{
	struct str line = {0};
	struct jsonw w;
	jsonw_init(&w, &line, JSONW_PLAIN);
	jsonw_obj(&w);
	if (rc) {
		jsonw_kstr(&w, "error", err->msg);
		jsonw_kstr(&w, "code", err_name(err->code));
	} else {
		jsonw_kbool(&w, "ok", true);
	}
	jsonw_obj_end(&w);
	print_line(&line);
	str_release(&line);
}

/* The request on descriptor 3. */
static int read_request(struct call *c, struct err *err)
{
	struct str text = {0};
	size_t i;
	json_t *v;
	ssize_t n;
	do {
		str_reserve(&text, 65536);
		n = pread(RUNNER_FD, text.data + text.len, 65536, (off_t)text.len);
		text.len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && text.len < JOB_MAX_BYTES);
	int rc = n < 0 ? err_set(err, ERR_IO, "the request cannot be read: %s", strerror(errno)) :
		 json_parse_all(text.data, text.len, &c->request, err);
	str_release(&text);
	if (rc)
		return rc;
	const char *type = json_string_value(json_object_get(c->request, "type"));
	c->type = type ? type : "";
	json_array_foreach(json_object_get(c->request, "files"), i, v)
		vec_push(&c->files, ((struct convert_file){json_string_value(v), FD_FIRST + (int)i}));
	c->fd_out = FD_OUT;
	return 0;
}

static int open_by_hand(struct call *c, struct err *err)
{
	for (size_t i = 0; i < c->files.n; i++) {
		struct convert_file *f = &c->files.data[i];
		const char *slash = strrchr(f->name, '/');
		f->fd = open(f->name, O_RDONLY | O_CLOEXEC);
		if (f->fd < 0)
			return err_set(err, ERR_IO, "cannot open %s: %s", f->name, strerror(errno));
		f->name = slash ? slash + 1 : f->name;
	}
	c->fd_out = open(c->out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return c->fd_out < 0 ? err_set(err, ERR_IO, "cannot create %s: %s", c->out, strerror(errno)) : 0;
}

static bool parse_args(int argc, char **argv, struct call *c)
{
	for (int i = 1; i < argc; i++) {
		const char **value = !strcmp(argv[i], "--type") ? &c->type : !strcmp(argv[i], "--out") ? &c->out : NULL;
		if (value && i + 1 < argc)
			*value = argv[++i];
		else if (!value && argv[i][0] != '-')
			vec_push(&c->files, ((struct convert_file){argv[i], -1}));
		else
			return false;
	}
	return c->out && c->files.n;
}

int convert_main(int argc, char **argv)
{
	struct call c = {.type = ""};
	struct err err;
	if (argc > 1 && !parse_args(argc, argv, &c)) {
		fprintf(stderr, "usage: cria convert [--type TYPE] --out NEW FILE...\n");
		return 2;
	}
	int rc = argc > 1 ? open_by_hand(&c, &err) : read_request(&c, &err);
	if (!rc) {
		runner_sandbox_files();
		runner_sandbox_calls();
		struct convert_job job = {.files = c.files.data, .n_file = c.files.n, .fd_out = c.fd_out, .type = c.type,
					  .progress = on_progress};
		rc = convert_run(&job, &err);
	}
	print_end(rc, &err);
	vec_release(&c.files);
	json_decref(c.request);
	return rc ? 1 : 0;
}
