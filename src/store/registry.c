#include "store/registry.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "store/registry_priv.h"

#define MIRRORED_DEFAULT "registry.ollama.ai"

/* ---- where to ask ---- */

static bool base_make(const char *url, const char *host, bool http_ok, struct reg_base *ret)
{
	struct str origin = {0};
	if (!reg_url_origin(url, &origin)) {
		str_release(&origin);
		return false;
	}
	*ret = (struct reg_base){.url = mem_strdup(url), .origin = str_take(&origin), .host = mem_strdup(host), .http_ok = http_ok};
	size_t n = strlen(ret->url);
	while (n && ret->url[n - 1] == '/')
		ret->url[--n] = '\0';
	return true;
}

static void base_release(struct reg_base *b)
{
	mem_free(b->url);
	mem_free(b->origin);
	mem_free(b->host);
}

void reg_bases_release(struct reg_bases *b)
{
	for (size_t i = 0; i < b->n; i++)
		base_release(&b->data[i]);
	vec_release(b);
}

void reg_bases_copy(const struct reg_bases *from, struct reg_bases *ret)
{
	*ret = (struct reg_bases){0};
	for (size_t i = 0; i < from->n; i++) {
		struct reg_base b;
		if (base_make(from->data[i].url, from->data[i].host, from->data[i].http_ok, &b))
			vec_push(ret, b);
	}
}

void reg_bases_of(const struct registry *r, const char *host, bool insecure, bool with_mirrors, struct reg_bases *ret)
{
	struct str url = {0};
	struct reg_base b;
	*ret = (struct reg_bases){0};
	for (size_t i = 0; with_mirrors && i < r->mirrors.n; i++)
		if (!strcasecmp(r->mirror_of.data[i], host) &&
		    base_make(r->mirrors.data[i].url, r->mirrors.data[i].host, r->mirrors.data[i].http_ok, &b))
			vec_push(ret, b);
	str_printf(&url, "%s://%s", insecure ? "http" : "https", host);
	if (base_make(url.data, host, insecure, &b))
		vec_push(ret, b);
	str_release(&url);
}

/* One entry of the list: "host=url" or "url". */
static void add_mirror(struct registry *r, char *entry)
{
	char *eq = strchr(entry, '='), *url = eq && !memchr(entry, '/', (size_t)(eq - entry)) ? eq + 1 : entry;
	struct str origin = {0};
	struct reg_base b;
	if (!reg_url_origin(url, &origin)) {
		log_warn("registry: mirror \"%s\" is ignored: an entry is host=http://address or an address alone", entry);
		return;
	}
	char *host = strstr(origin.data, "://") + 3;
	if (ends_with(host, ":443") || ends_with(host, ":80"))
		*strrchr(host, ':') = '\0';
	if (base_make(url, host, starts_with(origin.data, "http:"), &b)) {
		vec_push(&r->mirrors, b);
		vec_push(&r->mirror_of, url == entry ? mem_strdup(MIRRORED_DEFAULT) : mem_strndup(entry, (size_t)(eq - entry)));
	}
	str_release(&origin);
}

static void add_mirrors(struct registry *r, const char *list)
{
	char *copy = mem_strdup(list), *save = NULL;
	for (char *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save))
		add_mirror(r, p);
	mem_free(copy);
}

/* ---- life ---- */

struct registry *registry_new(struct store *s, const struct registry_cfg *cfg)
{
	struct registry *r = mem_zalloc(sizeof *r);
	struct str agent = {0};
	pthread_condattr_t attr;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	r->store = s;
	r->key_path = mem_strdup(cfg->key_path);
	r->auth_path = mem_strdup(cfg->auth_path);
	r->ca_path = *cfg->ca_path ? mem_strdup(cfg->ca_path) : NULL;
	/* Some registries answer only those who say that they speak Ollama's protocol; 0.0.0 is what its own builds say. */
	str_printf(&agent, "ollama/0.0.0 (amd64 linux) cria/%s", cfg->version);
	r->user_agent = str_take(&agent);
	r->stall_ns = cfg->stall_ns;
	r->proxy = cfg->proxy;
	r->no_prune = cfg->no_prune;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->moved, &attr);
	pthread_condattr_destroy(&attr);
	add_mirrors(r, cfg->mirrors);
	return r;
}

void registry_stop(struct registry *r)
{
	__atomic_store_n(&r->stopping, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&r->lock);
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
}

/* ---- failures ---- */

void registry_note_failure(struct registry *r, const struct store_name *name, bool unknown)
{
	struct str text = {0};
	if (unknown)
		store_name_full(name, &text);
	else
		str_adds(&text, name->host);
	pthread_mutex_lock(&r->lock);
	struct reg_failure *f = &r->failures[r->i_failure++ % REG_FAILURES_MAX];
	snprintf(f->text, sizeof f->text, "%s", text.data);
	f->until_ns = clock_now_ns() + REG_FAILURE_S * NS_PER_S;
	pthread_mutex_unlock(&r->lock);
	str_release(&text);
}

bool registry_failed_lately(struct registry *r, const struct store_name *name)
{
	struct str full = {0};
	bool found = false;
	int64_t now = clock_now_ns();
	store_name_full(name, &full);
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < REG_FAILURES_MAX; i++)
		found |= r->failures[i].until_ns > now &&
			 (!strcasecmp(r->failures[i].text, full.data) || !strcasecmp(r->failures[i].text, name->host));
	pthread_mutex_unlock(&r->lock);
	str_release(&full);
	return found;
}

/* ---- users ---- */

void registry_enter(struct registry *r)
{
	pthread_mutex_lock(&r->lock);
	r->n_user++;
	pthread_mutex_unlock(&r->lock);
}

void registry_leave(struct registry *r)
{
	pthread_mutex_lock(&r->lock);
	r->n_user--;
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	registry_stop(r);
	pthread_mutex_lock(&r->lock);
	while (r->n_user || r->downloads.n)
		pthread_cond_wait(&r->moved, &r->lock);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < r->mirrors.n; i++) {
		base_release(&r->mirrors.data[i]);
		mem_free(r->mirror_of.data[i]);
	}
	vec_release(&r->mirrors);
	vec_release(&r->mirror_of);
	vec_release(&r->downloads);
	char *texts[] = {r->key_path, r->auth_path, r->ca_path, r->user_agent};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		mem_free(texts[i]);
	pthread_cond_destroy(&r->moved);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}
