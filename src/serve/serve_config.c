#include "serve/serve_config.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/api_decode.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define SYSTEM_MODELS "/usr/share/ollama/.ollama/models" /* where Ollama's installer lets its service keep them */

enum who { BOTH, OWN, NONE };
enum kind { TEXT, BOOL, SWITCH, COUNT, SPAN };

static const struct option {
	const char *name;
	enum who who;
	enum kind kind;
	size_t offset;
	const char *fallback, *help;
} options[] = {
#define OPTION(name, who, kind, field, fallback, help) {#name, who, kind, offsetof(struct serve_config, field), fallback, help},
#include "serve/config.def"
#undef OPTION
};

/* ---- reading ---- */

/* The text without blanks and quotes around it; the caller owns it. */
static char *trimmed(const char *s)
{
	while (*s && (isspace((unsigned char)*s) || *s == '"' || *s == '\''))
		s++;
	size_t n = strlen(s);
	while (n && (isspace((unsigned char)s[n - 1]) || s[n - 1] == '"' || s[n - 1] == '\''))
		n--;
	return mem_strndup(s, n);
}

/* The value of CRIA_NAME or OLLAMA_NAME, trimmed; NULL when neither is set to something. */
static char *lookup(const struct option *o, serve_getenv_fn *get, char ret_name[64])
{
	static const char *const prefixes[] = {"CRIA_", "OLLAMA_"};
	for (size_t i = 0; i < (o->who == OWN ? 1u : 2u); i++) {
		snprintf(ret_name, 64, "%s%s", prefixes[i], o->name);
		const char *v = get(ret_name);
		char *s = v ? trimmed(v) : NULL;
		if (s && *s)
			return s;
		mem_free(s);
	}
	return NULL;
}

static bool parse_bool(const char *s)
{
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (!strcmp(s, no[i]))
			return false;
	return true;
}

/* Also what a boolean is called. */
static bool parse_switch(const char *s, bool *ret)
{
	static const char *const words[] = {"off", "0", "false", "on", "1", "true"};
	size_t i = 0;
	while (i < ARRAY_LEN(words) && strcasecmp(s, words[i]))
		i++;
	*ret = i >= ARRAY_LEN(words) / 2;
	return i < ARRAY_LEN(words);
}

static bool parse_int(const char *s, int64_t *ret)
{
	char *end;
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (errno || end == s || *end)
		return false;
	*ret = v;
	return true;
}

/* A duration, or whole seconds. */
static bool parse_span(const char *s, int64_t *ret)
{
	int64_t v;
	if (parse_int(s, &v)) {
		int64_t most = INT64_MAX / NS_PER_S;
		*ret = (v > most ? most : v < -most ? -most : v) * NS_PER_S;
		return true;
	}
	return api_duration(s, ret, NULL) == 0;
}

static bool set(struct serve_config *c, const struct option *o, const char *text)
{
	void *field = (char *)c + o->offset;
	int64_t v;
	switch (o->kind) {
	case TEXT:
		mem_free(*(char **)field);
		*(char **)field = mem_strdup(text);
		return true;
	case BOOL:
		*(bool *)field = parse_bool(text);
		return true;
	case SWITCH:
		return parse_switch(text, field);
	case COUNT:
		if (!parse_int(text, &v) || v < 0)
			return false;
		*(int64_t *)field = v;
		return true;
	default:
		return parse_span(text, field);
	}
}

/* ---- folders ---- */

/* The user's home folder, "" when there is none. */
static const char *home_dir(serve_getenv_fn *get)
{
	const char *home = get("HOME");
	if (home && *home)
		return home;
	struct passwd *pw = getpwuid(getuid());
	return pw && pw->pw_dir ? pw->pw_dir : "";
}

static char *path_join(const char *dir, const char *name)
{
	struct str s = {0};
	str_printf(&s, "%s/%s", dir, name);
	return str_take(&s);
}

/* Ollama's service keeps its models under another user's home: use them where this user has none of its own. */
static void choose_models(struct serve_config *c, serve_getenv_fn *get)
{
	if (*c->models) {
		c->models_dir = mem_strdup(c->models);
		c->models_why = "from the environment";
		return;
	}
	c->models_dir = path_join(home_dir(get), ".ollama/models");
	c->models_why = "the user's own";
	if (access(c->models_dir, F_OK) == 0 || access(SYSTEM_MODELS "/manifests", R_OK | X_OK) != 0)
		return;
	mem_free(c->models_dir);
	c->models_dir = mem_strdup(SYSTEM_MODELS);
	c->models_why = "those of the Ollama service, as this user has none";
}

static void choose_cache(struct serve_config *c, serve_getenv_fn *get)
{
	const char *xdg = get("XDG_CACHE_HOME");
	if (*c->cache)
		c->cache_dir = mem_strdup(c->cache);
	else if (xdg && *xdg == '/')
		c->cache_dir = path_join(xdg, "cria");
	else
		c->cache_dir = path_join(home_dir(get), ".cache/cria");
}

/* The key by which registries know this user, the passwords, and whether transfers go through a proxy (libcurl reads its
 * address itself). */
static void choose_registry(struct serve_config *c, serve_getenv_fn *get)
{
	static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
	c->key_path = path_join(home_dir(get), ".ollama/id_ed25519");
	c->auth_path = *c->registry_auth ? mem_strdup(c->registry_auth) : path_join(home_dir(get), ".docker/config.json");
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++) {
		const char *v = get(proxies[i]);
		c->proxy |= v && *v;
	}
	c->auto_pull = strcasecmp(c->auto_pull_text, "off") && parse_bool(c->auto_pull_text);
	if (c->stall_ns <= 0)
		c->stall_ns = 30 * NS_PER_S;
}

/* ---- the whole ---- */

static void choose_stream(struct serve_config *c)
{
	static const char *const words[] = {[API_STREAM_AUTO] = "auto", [API_STREAM_ON] = "on", [API_STREAM_OFF] = "off"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcasecmp(words[i], c->stream_default)) {
			c->stream = (enum api_stream_default)i;
			return;
		}
	log_warn("config CRIA_STREAM_DEFAULT=%s is none of auto, on, off: auto is used", c->stream_default);
}

/* Ollama passes the word on and takes f16 for one that it does not know. */
static void choose_kv_type(struct serve_config *c)
{
	static const char *const words[] = {"f16", "bf16", "q8_0"};
	char *word = c->kv_type;
	c->kv_type = NULL;
	for (size_t i = 0; i < ARRAY_LEN(words) && !c->kv_type; i++)
		if (!strcasecmp(words[i], word))
			c->kv_type = mem_strdup(words[i]);
	if (!c->kv_type) {
		log_warn("config KV_CACHE_TYPE=%s is none of f16, bf16, q8_0: f16 is used", word);
		c->kv_type = mem_strdup(words[0]);
	}
	mem_free(word);
}

void serve_config_load(struct serve_config *c, serve_getenv_fn *get)
{
	*c = (struct serve_config){0};
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];
		char name[64];
		BUG_ON(!set(c, o, o->fallback));
		char *v = o->who == NONE ? NULL : lookup(o, get, name);
		if (v && !set(c, o, v)) {
			log_warn("config %s=%s cannot be read: the default %s is used", name, v, o->fallback);
			BUG_ON(!set(c, o, o->fallback));
		}
		mem_free(v);
	}
	if (c->keep_alive_ns < 0)
		c->keep_alive_ns = INT64_MAX;
	if (c->load_timeout_ns <= 0)
		c->load_timeout_ns = INT64_MAX / 4; /* centuries; may still be added to a time */
	if (c->grace_ns < 0)
		c->grace_ns = 0;
	bool bad_port;
	host_parse(c->host, &c->addr, &bad_port);
	if (bad_port)
		log_warn("config host %s has no valid port: %d is used", c->host, HOST_PORT_DEFAULT);
	choose_stream(c);
	choose_kv_type(c);
	choose_models(c, get);
	choose_cache(c, get);
	choose_registry(c, get);
}

void serve_config_release(struct serve_config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].kind == TEXT) {
			char **field = (char **)(void *)((char *)c + options[i].offset);
			mem_free(*field);
			*field = NULL; /* fields may be listed twice */
		}
	mem_free(c->models_dir);
	mem_free(c->cache_dir);
	mem_free(c->key_path);
	mem_free(c->auth_path);
	*c = (struct serve_config){0};
}

void serve_config_log(serve_getenv_fn *get)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		char name[64], *v = lookup(&options[i], get, name);
		if (v && options[i].who == NONE)
			log_info("config %s=%s has no effect: %s", name, v, options[i].help);
		else if (v)
			log_info("config %s=%s", name, v);
		mem_free(v);
	}
}

void serve_config_help(void)
{
	printf("Environment (each OLLAMA_ name may also be spelled CRIA_, which wins):\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];
		char name[64];
		snprintf(name, sizeof name, "%s%s", o->who == OWN ? "CRIA_" : "OLLAMA_", o->name);
		bool show = o->who != NONE && *o->fallback && strcmp(o->fallback, "0") && o->kind != BOOL;
		printf("  %-27s %s%s%s%s%s\n", name, o->who == NONE ? "no effect: " : "", o->help, show ? " (default " : "",
		       show ? o->fallback : "", show ? ")" : "");
	}
}
