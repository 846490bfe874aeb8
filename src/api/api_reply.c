/* Answers that fit in one call, and the thin functions over struct api_call_ops that every endpoint uses. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "base/json.h"

const char *api_header(const struct api_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_header; i++)
		if (!strcasecmp(c->headers[i].name, name))
			return c->headers[i].value;
	return NULL;
}

void api_call_ref(struct api_call *c)
{
	c->ops->ref(c);
}

void api_call_unref(struct api_call *c)
{
	c->ops->unref(c);
}

static void reply_typed(struct api_call *c, int status, const char *content_type, const void *body, size_t n)
{
	struct api_header h = {"Content-Type", content_type};
	c->ops->reply(c, status, &h, 1, body, n);
}

void api_reply_text(struct api_call *c, int status, const char *content_type, const char *text)
{
	reply_typed(c, status, content_type, text, strlen(text));
}

void api_reply_json(struct api_call *c, int status, const struct str *json)
{
	reply_typed(c, status, "application/json; charset=utf-8", json->data, json->len);
}

static void reply_error_text(struct api_call *c, int status, const char *msg)
{
	struct str s = {0};
	struct jsonw w;
	jsonw_init(&w, &s, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "error", msg);
	jsonw_obj_end(&w);
	api_reply_json(c, status, &s);
	str_release(&s);
}

void api_reply_err(struct api_call *c, const struct err *err)
{
	reply_error_text(c, api_status_of(err->code), err->msg);
}

void api_reply_error(struct api_call *c, int status, const char *fmt, ...)
{
	struct str s = {0};
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	reply_error_text(c, status, str_cstr(&s));
	str_release(&s);
}
