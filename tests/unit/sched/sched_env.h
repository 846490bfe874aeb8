/* sched_env: a scheduler with a temporary folder of model files, clients that collect events, and the check that nothing is
 * left behind. The store's fact cache is replaced by one in memory. */
#ifndef SCHED_ENV_H
#define SCHED_ENV_H

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "fake_runner.h"
#include "sched/sched.h"

/* ---- store ---- */

static pthread_mutex_t fact_lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *fact_cache;
static int n_fact_hit;

json_t *store_fact_get(struct store *s, const char *digest, const char *kind)
{
	char key[256];
	(void)s;
	snprintf(key, sizeof key, "%s/%s", digest, kind);
	pthread_mutex_lock(&fact_lock);
	json_t *v = json_deep_copy(json_object_get(fact_cache, key));
	n_fact_hit += v != NULL;
	pthread_mutex_unlock(&fact_lock);
	return v;
}

void store_fact_put(struct store *s, const char *digest, const char *kind, const json_t *fact)
{
	char key[256];
	(void)s;
	snprintf(key, sizeof key, "%s/%s", digest, kind);
	pthread_mutex_lock(&fact_lock);
	if (!fact_cache)
		fact_cache = json_object();
	json_object_set_new(fact_cache, key, json_deep_copy(fact));
	pthread_mutex_unlock(&fact_lock);
}

/* ---- models ---- */

static char env_dir[64];
static struct sched *env_s;
static struct sched_cfg env_cfg;
static int env_fds_before;

static int env_n_fds(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Bytes the fake runner's counters have. */
static int env_count(const char *what)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", env_dir, what);
	return stat(path, &st) ? 0 : (int)st.st_size;
}

/* A model whose file has this content; digest and path follow from the name. Freed with env_model_free. */
static struct store_model *env_model(const char *name, const char *content, off_t size)
{
	struct store_model *m = mem_zalloc(sizeof *m);
	struct str path = {0};
	str_printf(&path, "%s/%s.gguf", env_dir, name);
	m->model_path = str_take(&path);
	str_printf(&path, "sha256:%s", name);
	m->model_digest = str_take(&path);
	m->digest = mem_strdup("0123");
	snprintf(m->name.host, sizeof m->name.host, "registry.ollama.ai");
	snprintf(m->name.ns, sizeof m->name.ns, "library");
	snprintf(m->name.model, sizeof m->name.model, "%s", name);
	snprintf(m->name.tag, sizeof m->name.tag, "latest");
	int fd = open(m->model_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	if (size)
		ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
	return m;
}

static void env_model_free(struct store_model *m)
{
	mem_free(m->model_path);
	mem_free(m->model_digest);
	mem_free(m->digest);
	mem_free(m);
}

/* ---- clients ---- */

struct client {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t id;
	struct str text;
	int n_event, n_embedding, n_done, code;
	enum done_reason reason;
	int64_t load_ns;
	char error[1024];
	bool closed;     /* set after sched_cancel: no event may follow */
	int n_late;
};

static void client_hook(void *user, const struct gen_event *ev, int64_t load_ns)
{
	struct client *c = user;
	pthread_mutex_lock(&c->lock);
	c->n_late += c->closed || c->n_done;
	c->n_event++;
	c->load_ns = load_ns;
	if (ev->kind == EV_TEXT && ev->text)
		str_adds(&c->text, ev->text);
	if (ev->kind == EV_EMBEDDING)
		c->n_embedding += ev->n_values == 3 && ev->values[2] == 3.0f;
	if (ev->kind == EV_ERROR) {
		c->code = ev->code;
		snprintf(c->error, sizeof c->error, "%s", ev->text);
	}
	if (ev->kind == EV_DONE)
		c->reason = ev->reason;
	c->n_done += ev->kind == EV_DONE || ev->kind == EV_ERROR;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static void client_init(struct client *c)
{
	*c = (struct client){0};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
}

static void client_release(struct client *c)
{
	ck_assert_int_eq(c->n_late, 0);
	str_release(&c->text);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->cond);
}

static int client_send_as(struct client *c, const struct store_model *m, const char *prompt, int64_t keep_ns, int64_t num_ctx)
{
	struct gen_req q;
	struct err err;
	gen_req_init(&q);
	q.kind = GEN_PROMPT;
	q.prompt = prompt ? mem_strdup(prompt) : NULL;
	q.opts.num_ctx = num_ctx;
	struct sched_req req = {.model = m, .gen = prompt ? &q : NULL, .keep_alive_ns = keep_ns, .user = c, .on_event = client_hook};
	client_init(c);
	int rc = sched_submit(env_s, &req, &c->id, &err);
	if (rc)
		snprintf(c->error, sizeof c->error, "%s", err.msg);
	gen_req_release(&q);
	return rc;
}

static void client_send(struct client *c, const struct store_model *m, const char *prompt)
{
	ck_assert_int_eq(client_send_as(c, m, prompt, SCHED_KEEP_DEFAULT, 0), 0);
}

/* Waits for n events, or for the last one when n is 0. */
static void client_wait(struct client *c, int n)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&c->lock);
	while (n ? c->n_event < n : !c->n_done)
		ck_assert_msg(pthread_cond_timedwait(&c->cond, &c->lock, &until) == 0, "no answer: %d events, text '%s'", c->n_event,
			      str_cstr(&c->text));
	pthread_mutex_unlock(&c->lock);
}

static void client_expect(struct client *c, const char *text, int code)
{
	client_wait(c, 0);
	ck_assert_msg(c->code == code, "code %s, expected %s: %s", err_name(c->code), err_name(code), c->error);
	ck_assert_str_eq(str_cstr(&c->text), text);
	ck_assert_int_eq(c->n_done, 1);
	client_release(c);
}

/* One request from start to end. */
static inline void ask(const struct store_model *m, const char *prompt, const char *text, int code)
{
	struct client c;
	client_send(&c, m, prompt);
	client_expect(&c, text, code);
}

/* ---- life ---- */

static void env_start(void)
{
	struct err err;
	env_cfg.exe = NULL;
	ck_assert_msg(sched_start(&env_cfg, NULL, &env_s, &err) == 0, "%s", err.msg);
}

static void env_setup(void)
{
	strcpy(env_dir, "/tmp/cria-sched-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(env_dir));
	setenv("CRIA_TEST_DIR", env_dir, 1);
	setenv("HF_TOKEN", "secret", 1);
	env_fds_before = env_n_fds();
	env_cfg = (struct sched_cfg){
		.keep_alive_ns = 300 * NS_PER_S,
		.ping_every_ns = 20 * NS_PER_MS,
		.pong_timeout_ns = 3 * NS_PER_S,
		.quit_timeout_ns = 500 * NS_PER_MS,
		.backoff_ns = 5 * NS_PER_MS,
		.inspect_timeout_ns = 20 * NS_PER_S,
	};
	env_start();
}

static void env_restart(void)
{
	sched_stop(env_s, 0);
	env_start();
}

static void env_teardown(void)
{
	char cmd[128];
	if (env_s)
		sched_stop(env_s, 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
	ck_assert_int_eq(env_n_fds(), env_fds_before);
	ck_assert_int_eq(env_count("leaked_fd"), 0);
	ck_assert_int_eq(env_count("leaked_env"), 0);
	ck_assert_int_eq(env_count("no_group"), 0);
	json_decref(fact_cache);
	fact_cache = NULL;
	snprintf(cmd, sizeof cmd, "rm -rf %s", env_dir);
	ck_assert_int_eq(system(cmd), 0);
}

static inline size_t env_n_loaded(int *ret_pid)
{
	struct sched_loaded *l;
	size_t n = sched_ps(env_s, &l);
	if (ret_pid)
		*ret_pid = n ? l[0].pid : 0;
	sched_ps_free(l, n);
	return n;
}

/* Waits until the condition holds. */
#define EVENTUALLY(cond)                                                                                               \
	do {                                                                                                           \
		int i_;                                                                                                \
		for (i_ = 0; i_ < 3000 && !(cond); i_++)                                                               \
			usleep(10000);                                                                                 \
		ck_assert_msg(i_ < 3000, "never: %s", #cond);                                                          \
	} while (0)

static int env_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
