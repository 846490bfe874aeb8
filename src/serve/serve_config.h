/* serve_config: the settings of `cria serve`, read from the environment once at start. The table is config.def. */
#ifndef CRIA_SERVE_CONFIG_H
#define CRIA_SERVE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/host.h"

struct serve_config {
	/* as in config.def; texts are owned, "" when not set */
	char *host, *models, *origins, *stream_default, *kernels, *cpu, *kv_type, *cache, *unused;
	char *mirrors, *registry_auth, *ca_file, *auto_pull_text;
	int64_t stall_ns;        /* > 0 */
	int64_t keep_alive_ns;   /* INT64_MAX: for ever */
	int64_t load_timeout_ns;
	int64_t grace_ns;
	int64_t n_ctx, max_loaded, max_queue, n_thread, mem_limit_bytes;
	bool debug, no_prune, speculation;
	/* worked out */
	struct host addr;
	enum api_stream_default stream;
	char *models_dir, *cache_dir, *key_path, *auth_path;
	bool auto_pull;
	bool proxy;              /* the environment names a proxy for HTTP */
	const char *models_why;  /* how the folder was chosen, for the log */
};

/* Looks a variable up; getenv outside of tests. */
typedef const char *serve_getenv_fn(const char *name);

/* Values that cannot be read are logged and replaced by the default, as Ollama does. */
void serve_config_load(struct serve_config *c, serve_getenv_fn *get);
void serve_config_release(struct serve_config *c);
/* Logs what is set, and what is set without effect. */
void serve_config_log(serve_getenv_fn *get);
/* The list of `cria serve --help`. */
void serve_config_help(void);

#endif
