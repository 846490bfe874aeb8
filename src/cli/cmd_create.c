/* cria create MODEL [-f Modelfile] [-q TYPE]: reads the Modelfile, uploads the files it names, asks the server to build the model. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_term.h"
#include "modelfile/modelfile.h"

enum { DIGEST_BYTES = 72, MODELFILE_MAX = 16 << 20 };

/* Without a Modelfile the folder itself is the model. */
static int read_modelfile(const char *path, struct str *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[65536];
	ssize_t n = 0;
	if (fd < 0 && errno == ENOENT) {
		str_adds(out, "FROM .");
		return 0;
	}
	if (fd < 0)
		return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	while (out->len < MODELFILE_MAX && (n = read(fd, buf, sizeof buf)) > 0)
		str_add(out, buf, (size_t)n);
	int saved = errno;
	close(fd);
	if (n < 0)
		return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(saved));
	return out->len >= MODELFILE_MAX ? err_set(err, ERR_LIMIT, "%s is no Modelfile: over %d bytes", path, MODELFILE_MAX) : 0;
}

/* What a FROM or ADAPTER names, relative to the Modelfile's folder: S_IFREG, S_IFDIR, or 0 when there is nothing (then it is a
 * model name). */
static mode_t find_file(const char *modelfile, const char *value, struct str *out)
{
	struct stat st;
	str_clear(out);
	if (value[0] == '~' && value[1] == '/' && getenv("HOME")) {
		str_printf(out, "%s%s", getenv("HOME"), value + 1);
	} else if (value[0] == '/') {
		str_adds(out, value);
	} else {
		const char *slash = strrchr(modelfile, '/');
		if (slash)
			str_add(out, modelfile, (size_t)(slash - modelfile) + 1);
		str_adds(out, value);
	}
	return stat(str_cstr(out), &st) ? 0 : st.st_mode & (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? S_IFMT : 0);
}

static int hash_file(const char *path, char ret_digest[DIGEST_BYTES], struct err *err)
{
	static unsigned char buf[1 << 20];
	unsigned char sum[32];
	struct stat st;
	gnutls_hash_hd_t hash;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || gnutls_hash_init(&hash, GNUTLS_DIG_SHA256)) {
		if (fd >= 0)
			close(fd);
		return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	}
	ssize_t n;
	long long done = 0;
	while ((n = read(fd, buf, sizeof buf)) > 0) {
		gnutls_hash(hash, buf, (size_t)n);
		done += n;
		cli_progress("hashing", done, (long long)st.st_size);
	}
	gnutls_hash_deinit(hash, sum);
	close(fd);
	if (n < 0)
		return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	strcpy(ret_digest, "sha256:");
	for (int i = 0; i < 32; i++)
		sprintf(ret_digest + 7 + 2 * i, "%02x", sum[i]);
	return 0;
}

static void on_upload(void *unused, long long sent, long long total)
{
	(void)unused;
	cli_progress("copying", sent, total);
}

/* Hashes and uploads a file unless the server has it; adds name and digest to the object. */
static int add_file(json_t *files, const char *name, const char *path, struct err *err)
{
	char digest[DIGEST_BYTES], url[DIGEST_BYTES + 32];
	int rc = hash_file(path, digest, err);
	if (rc)
		return rc;
	snprintf(url, sizeof url, "/api/blobs/%s", digest);
	int there = cli_head(url, err);
	if (there < 0)
		return there;
	if (!there && (rc = cli_upload(url, path, on_upload, NULL, err)))
		return rc;
	json_object_set_new(files, name, json_string(digest));
	return 0;
}

/* Which files of a folder are the model: the first pattern that any file fits. */
static const char *const weights[] = {"model*.safetensors", "consolidated*.safetensors", "*.gguf"};
/* And what belongs to safetensors files. */
static const char *const beside[] = {"*.json", "chat_template.jinja", "1_Pooling/config.json"};

static int add_matching(json_t *files, const char *folder, const char *pattern, struct err *err)
{
	struct str path = {0};
	const char *slash = strchr(pattern, '/');
	int n_front = slash ? (int)(slash - pattern) + 1 : 0; /* a folder below */
	str_printf(&path, "%s/%.*s", folder, n_front, pattern);
	DIR *d = opendir(path.data);
	size_t n = path.len;
	int rc = 0;
	for (struct dirent *e; d && !rc && (e = readdir(d));) {
		struct stat st;
		struct str name = {0};
		str_truncate(&path, n);
		str_adds(&path, e->d_name);
		if (*e->d_name == '.' || fnmatch(pattern + n_front, e->d_name, 0) || stat(path.data, &st) || !S_ISREG(st.st_mode))
			continue;
		str_printf(&name, "%.*s%s", n_front, pattern, e->d_name);
		rc = add_file(files, name.data, path.data, err);
		str_release(&name);
	}
	if (d)
		closedir(d);
	str_release(&path);
	return rc;
}

static int add_folder(json_t *files, const char *folder, struct err *err)
{
	int rc = 0;
	size_t i = 0;
	for (; !rc && i < ARRAY_LEN(weights) && !json_object_size(files); i++)
		rc = add_matching(files, folder, weights[i], err);
	if (!rc && !json_object_size(files))
		return err_set(err, ERR_NOT_FOUND, "no Modelfile or safetensors files found");
	for (size_t k = 0; !rc && i < ARRAY_LEN(weights) && k < ARRAY_LEN(beside); k++)
		rc = add_matching(files, folder, beside[k], err);
	return rc;
}

/* Adds a file or a folder's files to body[key], an object of file names to digests. */
static int add_to(json_t *body, const char *key, const char *path, bool folder, struct err *err)
{
	const char *slash = strrchr(path, '/');
	if (!json_object_get(body, key))
		json_object_set_new(body, key, json_object());
	json_t *files = json_object_get(body, key);
	return folder ? add_folder(files, path, err) : add_file(files, slash ? slash + 1 : path, path, err);
}

static void append_to(json_t *body, const char *key, json_t *value)
{
	if (!json_object_get(body, key))
		json_object_set_new(body, key, json_array());
	json_array_append_new(json_object_get(body, key), value);
}

/* Turns one command of the Modelfile into a part of the request. */
static int add_command(json_t *body, const char *modelfile, const struct modelfile_cmd *c, struct err *err)
{
	struct str path = {0};
	mode_t found;
	int rc = 0;
	switch (c->kind) {
	case MODELFILE_FROM:
	case MODELFILE_ADAPTER:
	case MODELFILE_DRAFT:
		found = find_file(modelfile, c->value, &path);
		if (found)
			rc = add_to(body, c->kind == MODELFILE_FROM ? "files" : c->kind == MODELFILE_ADAPTER ? "adapters" : "draft_files",
				    str_cstr(&path), found == S_IFDIR, err);
		else if (c->kind == MODELFILE_FROM && c->value[0] != '/' && c->value[0] != '.' && c->value[0] != '~')
			json_object_set_new(body, "from", json_string(c->value));
		else
			rc = err_set(err, ERR_NOT_FOUND, "there is no file %s", str_cstr(&path));
		break;
	case MODELFILE_LICENSE: append_to(body, "license", json_string(c->value)); break;
	case MODELFILE_MESSAGE:
		append_to(body, "messages", json_pack("{s:s, s:s}", "role", c->key, "content", c->value));
		break;
	case MODELFILE_TEMPLATE: json_object_set_new(body, "template", json_string(c->value)); break;
	case MODELFILE_SYSTEM: json_object_set_new(body, "system", json_string(c->value)); break;
	case MODELFILE_RENDERER: json_object_set_new(body, "renderer", json_string(c->value)); break;
	case MODELFILE_PARSER: json_object_set_new(body, "parser", json_string(c->value)); break;
	case MODELFILE_REQUIRES: json_object_set_new(body, "requires", json_string(c->value)); break;
	case MODELFILE_PARAMETER: break; /* all at once, below */
	}
	str_release(&path);
	return rc;
}

static int build_request(const char *model, const char *path, const char *type, json_t **ret, struct err *err)
{
	struct str text = {0};
	struct modelfile mf = {0};
	json_t *params = NULL;
	*ret = json_pack("{s:s, s:b}", "model", model, "stream", 1);
	int rc = read_modelfile(path, &text, err);
	if (!rc)
		rc = modelfile_parse(str_cstr(&text), text.len, &mf, err);
	if (!rc) {
		fprintf(stderr, "gathering model components\n");
		rc = modelfile_params(&mf, &params, err);
	}
	if (!rc && params)
		json_object_set_new(*ret, "parameters", params);
	if (type)
		json_object_set_new(*ret, "quantize", json_string(type));
	for (size_t i = 0; !rc && i < mf.cmds.n; i++)
		rc = add_command(*ret, path, &mf.cmds.data[i], err);
	modelfile_release(&mf);
	str_release(&text);
	return rc;
}

static bool on_line(void *unused, const json_t *obj)
{
	(void)unused;
	const char *status = json_string_value(json_get(obj, "status"));
	json_int_t total = json_integer_value(json_get(obj, "total"));
	if (status && total)
		cli_progress(status, json_integer_value(json_get(obj, "completed")), total);
	else if (status)
		fprintf(stderr, "%s\n", status);
	return true;
}

int cmd_create(const struct cli_args *a)
{
	const char *path = cli_flag_value(a, "file");
	json_t *body;
	struct err err;
	int rc = build_request(a->words[0], path ? path : "Modelfile", cli_flag_value(a, "quantize"), &body, &err);
	if (!rc)
		rc = cli_stream("/api/create", body, &(struct cli_sink){.line = on_line}, &err);
	json_decref(body);
	return rc ? cli_fail("%s", err.msg) : 0;
}
