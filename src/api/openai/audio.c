/* POST /v1/audio/transcriptions: reads the form as Ollama does; no architecture that hears is built yet, so that a complete
 * request is answered with the error of a model that does not take audio. */
#include <string.h>
#include <strings.h>

#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "api/openai/openai.h"

enum { PARTS_MAX = 64, BOUNDARY_MAX = 70 }; /* RFC 2046 5.1.1 */

/* One part of a multipart/form-data body (RFC 7578); points into the body. */
struct part {
	const char *head, *data;
	size_t n_head, n_data;
};

/* Copies the boundary parameter of a Content-Type value; false when there is none or it is no boundary. */
static bool boundary_of(const char *type, char out[BOUNDARY_MAX + 1])
{
	const char *p = type && !strncasecmp(type, "multipart/form-data", 19) ? strcasestr(type, "boundary=") : NULL;
	if (!p)
		return false;
	p += 9;
	bool quoted = *p == '"';
	p += quoted;
	size_t n = strcspn(p, quoted ? "\"" : "; \t");
	if (!n || n > BOUNDARY_MAX)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

/* The part behind *ret_pos, which is moved to the delimiter after it. False at the end of the form and where it is broken. */
static bool next_part(const char *body, size_t n, const char *delim, size_t n_delim, size_t *ret_pos, struct part *ret)
{
	const char *from = memmem(body + *ret_pos, n - *ret_pos, delim, n_delim);
	if (!from || (size_t)(body + n - from) < n_delim + 2 || memcmp(from + n_delim, "\r\n", 2))
		return false;
	ret->head = from + n_delim; /* begins with the line end, so that an empty head has its blank line too */
	size_t left = (size_t)(body + n - ret->head);
	const char *blank = memmem(ret->head, left, "\r\n\r\n", 4);
	if (!blank)
		return false;
	ret->n_head = (size_t)(blank - ret->head);
	ret->data = blank + 4;
	const char *end = memmem(ret->data, (size_t)(body + n - ret->data), delim, n_delim);
	if (!end || (size_t)(end - ret->data) < 2)
		return false;
	ret->n_data = (size_t)(end - ret->data) - 2;
	*ret_pos = (size_t)(end - body);
	return true;
}

/* True when the part's head names the form field. */
static bool is_field(const struct part *p, const char *quoted_name)
{
	return memmem(p->head, p->n_head, quoted_name, strlen(quoted_name)) != NULL;
}

struct form {
	const char *model; /* in the call's arena */
	bool has_file;
	size_t n_file;
};

static int read_form(struct api_call *call, struct form *ret, struct err *err)
{
	char boundary[BOUNDARY_MAX + 1], delim[BOUNDARY_MAX + 3] = "--";
	struct part p;
	size_t pos = 0;
	*ret = (struct form){.model = ""};
	if (!boundary_of(api_header(call, "Content-Type"), boundary))
		return err_set(err, ERR_INVALID, "failed to parse multipart form: request Content-Type isn't multipart/form-data");
	memcpy(delim + 2, boundary, strlen(boundary) + 1);
	for (int i = 0; i < PARTS_MAX && next_part(call->body, call->n_body, delim, strlen(delim), &pos, &p); i++) {
		if (is_field(&p, " name=\"model\"")) {
			ret->model = arena_strndup(&call->arena, p.data, p.n_data);
			if (!ret->model)
				return err_set(err, ERR_NOMEM, "the form is too large");
		} else if (is_field(&p, " name=\"file\"")) {
			ret->has_file = true;
			ret->n_file = p.n_data;
		}
	}
	if (!*ret->model)
		return err_set(err, ERR_INVALID, "model is required");
	if (!ret->has_file)
		return err_set(err, ERR_INVALID, "file is required: the form has no part of that name");
	if (!ret->n_file)
		return err_set(err, ERR_INVALID, "audio file is empty");
	return 0;
}

void api_v1_audio_transcriptions(struct api_ctx *ctx, struct api_call *call)
{
	struct store_model *m;
	struct form form;
	struct err err;
	if (read_form(call, &form, &err)) {
		openai_reply_early(call, &err);
		return;
	}
	if (!api_model_open(ctx, form.model, &m, &err)) {
		err_set(&err, ERR_INVALID, "model '%s' does not take audio", form.model);
		store_model_free(m);
	}
	openai_reply_err(call, &err);
}
