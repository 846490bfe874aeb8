/* From a parsed head to who answers it: the checks before a handler (expectation, redirects, origin, host, method), the
 * answers http/ gives itself, and the jobs that workers do for a call. */
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http_conn.h"
#include "http/http_host.h"

static enum http_early early_of(struct http_call *c)
{
	const struct http_server *s = c->server;
	if (c->head.expect_unknown)
		return HTTP_EARLY_EXPECT;
	if (c->route.kind == HTTP_ROUTE_REDIRECT)
		return HTTP_EARLY_REDIRECT;
	c->origin = http_header(&c->head, "Origin");
	c->cors = http_cors_check(&s->origins, c->origin, c->head.host);
	if (c->cors == HTTP_CORS_DENY)
		return HTTP_EARLY_DENIED;
	if (c->cors == HTTP_CORS_ALLOW && c->head.method == API_OPTIONS)
		return HTTP_EARLY_PREFLIGHT;
	enum http_host host = s->loopback ? http_host_check(c->head.host) : HTTP_HOST_ADDRESS;
	if (host == HTTP_HOST_DENY)
		return HTTP_EARLY_DENIED;
	if (host == HTTP_HOST_NAME && c->head.method == API_OPTIONS)
		return HTTP_EARLY_OPTIONS;
	if (c->route.kind == HTTP_ROUTE_UNKNOWN)
		return HTTP_EARLY_UNKNOWN;
	if (c->route.kind == HTTP_ROUTE_METHOD)
		return HTTP_EARLY_METHOD;
	return atomic_load(&s->draining) ? HTTP_EARLY_DRAINING : HTTP_EARLY_NONE;
}

void http_dispatch_head(struct http_call *c)
{
	http_route_find(c->server->cfg.routes, c->server->cfg.n_route, &c->head, &c->c.arena, &c->route);
	c->c.method = c->head.method;
	c->c.path = c->head.path;
	c->c.param = c->route.param;
	c->c.headers = c->head.headers;
	c->c.n_header = c->head.n_header;
	c->early = early_of(c);
	if (c->early == HTTP_EARLY_EXPECT)
		c->force_close = true;
	c->blob_ours = c->early == HTTP_EARLY_NONE && (c->route.route->flags & API_BODY_FILE);
}

static void early_redirect(struct http_call *c)
{
	const char *reason = c->route.status == 301 ? "Moved Permanently" : "Temporary Redirect";
	struct api_header h[] = {{"Location", c->route.location}, {"Content-Type", "text/html; charset=utf-8"}};
	struct str body = {0};
	bool html = c->head.method == API_GET || c->head.method == API_HEAD;
	if (html)
		http_route_redirect_body(c->route.location, reason, &body);
	http_call_reply(c, c->route.status, h, html ? 2 : 1, body.data, body.len);
	str_release(&body);
}

static void early_preflight(struct http_call *c, const char *allow)
{
	bool all = c->server->origins.all;
	struct api_header h[8] = {
		{"Access-Control-Allow-Headers", http_cors_headers},
		{"Access-Control-Allow-Methods", http_cors_methods},
		{"Access-Control-Max-Age", http_cors_max_age},
	};
	size_t n = 3;
	if (*allow)
		h[n++] = (struct api_header){"Allow", allow};
	if (!all) { /* the answer depends on these; the first Vary comes with the origin */
		h[n++] = (struct api_header){"Vary", "Access-Control-Request-Method"};
		h[n++] = (struct api_header){"Vary", "Access-Control-Request-Headers"};
	}
	http_call_reply(c, 204, h, n, NULL, 0);
}

void http_dispatch_early(struct http_call *c)
{
	char allow[96] = "";
	if (c->route.kind == HTTP_ROUTE_METHOD)
		http_route_allow_text(c->route.allowed, allow);
	struct api_header text[] = {{"Content-Type", "text/plain"}, {"Allow", allow}};
	switch (c->early) {
	case HTTP_EARLY_EXPECT:
		http_call_reply(c, 417, NULL, 0, NULL, 0);
		break;
	case HTTP_EARLY_REDIRECT:
		early_redirect(c);
		break;
	case HTTP_EARLY_DENIED:
		http_call_reply(c, 403, text + 1, *allow ? 1 : 0, NULL, 0);
		break;
	case HTTP_EARLY_PREFLIGHT:
		early_preflight(c, allow);
		break;
	case HTTP_EARLY_OPTIONS:
		http_call_reply(c, 204, text + 1, *allow ? 1 : 0, NULL, 0);
		break;
	case HTTP_EARLY_UNKNOWN:
		http_call_reply(c, 404, text, 1, "404 page not found", 18);
		break;
	case HTTP_EARLY_METHOD:
		http_call_reply(c, 405, text, 2, "405 method not allowed", 22);
		break;
	case HTTP_EARLY_DRAINING:
		api_reply_error(&c->c, 503, "the server is shutting down");
		break;
	case HTTP_EARLY_NONE:
		BUG("no early answer");
	}
}

/* ---- workers ---- */

static void run_handler(void *arg)
{
	struct http_call *c = arg;
	if (!http_call_detached(c)) { /* else the client left while the call waited for a worker */
		c->blob_ours = false;
		c->c.handler = c->route.route->handler;
		c->c.handler(c->server->cfg.ctx, &c->c);
	}
	http_call_unref(c);
}

void http_dispatch_handler(struct http_call *c)
{
	size_t cap, body3;
	/* An endpoint decodes a body into copies: at most JSON tree, prompt and images at a time. */
	if (size_mul(c->c.n_body, 3, &body3) && size_add(c->c.arena.cap_bytes, body3, &cap))
		c->c.arena.cap_bytes = cap;
	c->c.t0_ns = clock_now_ns();
	pthread_mutex_lock(&c->lock);
	c->refs++;
	c->dispatched = true;
	pthread_mutex_unlock(&c->lock);
	if (http_work_push(c->server->work, run_handler, c))
		return;
	log_warn("http busy: no worker for path=%.200s req=%s", c->head.raw_path, c->id);
	api_reply_error(&c->c, 503, "server busy, please try again: too many requests are waiting");
	http_call_unref(c);
}

static void run_spool(void *arg)
{
	struct http_call *c = arg;
	bool wanted = !http_call_detached(c);
	if (wanted && !c->c.blob)
		store_blob_begin(c->server->cfg.ctx->store, &c->c.blob, &c->spool_err);
	if (wanted && c->c.blob && c->spool.len)
		store_blob_write(c->c.blob, c->spool.data, c->spool.len, &c->spool_err);
	str_clear(&c->spool);
	pthread_mutex_lock(&c->lock);
	c->spooled = true;
	if (!c->detached)
		http_loop_post(c);
	pthread_mutex_unlock(&c->lock);
	http_call_unref(c);
}

bool http_dispatch_spool(struct http_call *c)
{
	http_call_ref(c);
	if (http_work_push(c->server->work, run_spool, c))
		return true;
	http_call_unref(c);
	return false;
}
