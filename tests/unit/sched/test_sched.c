/* The scheduler with a fake runner: requests, deaths, hangs, cancels, queue, keep-alive, shutdown. */
#include "sched_env.h"

#include <sys/prctl.h>

static struct store_model *ok;

static void setup(void)
{
	env_setup();
	ok = env_model("ok", "ok", 0);
}

static void teardown(void)
{
	env_model_free(ok);
	env_teardown();
}

/* ---- answers ---- */

START_TEST(answer)
{
	struct client c;
	int pid;
	ask(ok, "hello", "abc", 0);
	client_send(&c, ok, "embed");
	client_wait(&c, 0);
	ck_assert_int_eq(c.n_embedding, 2);
	ck_assert_int_ge(c.load_ns, 0);
	client_release(&c);
	ask(ok, "error", "", ERR_TOO_LONG);
	ask(ok, "stranger", "abc", 0);
	ck_assert_uint_eq(env_n_loaded(&pid), 1);
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(env_count("ok"), 1); /* one process for all of them */
}
END_TEST

START_TEST(sixteen_at_once)
{
	struct client c[16];
	for (int i = 0; i < 16; i++)
		client_send(&c[i], ok, "wait");
	for (int i = 0; i < 16; i++)
		client_wait(&c[i], 1); /* all are served while none has ended */
	for (int i = 0; i < 16; i++) {
		sched_cancel(env_s, c[i].id);
		client_release(&c[i]);
	}
	ck_assert_int_eq(env_count("ok"), 1);
}
END_TEST

START_TEST(flood)
{
	struct client c, d;
	client_send(&c, ok, "flood");
	client_send(&d, ok, "hello");
	client_wait(&c, 0);
	ck_assert_uint_eq(c.text.len, 200000);
	client_release(&c);
	client_expect(&d, "abc", 0);
}
END_TEST

START_TEST(load_only)
{
	struct client c;
	ck_assert_int_eq(client_send_as(&c, ok, NULL, SCHED_KEEP_DEFAULT, 0), 0);
	client_expect(&c, "", 0);
	ck_assert_uint_eq(env_n_loaded(NULL), 1);
}
END_TEST

START_TEST(two_names_share)
{
	struct store_model *other = env_model("ok", "ok", 0);
	strcpy(other->name.model, "alias");
	ask(ok, "hello", "abc", 0);
	ask(other, "hello", "abc", 0);
	ck_assert_uint_eq(env_n_loaded(NULL), 1);
	ck_assert_int_eq(env_count("ok") + env_count("alias"), 1);
	env_model_free(other);
}
END_TEST

START_TEST(no_weights)
{
	struct client c;
	char *digest = ok->model_digest;
	ok->model_digest = NULL;
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 0, 0), ERR_UNSUPPORTED);
	client_release(&c);
	ok->model_digest = digest;
	ok->adapter_path = digest;
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 0, 0), ERR_UNSUPPORTED);
	client_release(&c);
	ok->adapter_path = NULL;
}
END_TEST

/* ---- deaths ---- */

static const struct {
	const char *prompt, *text;
	int code, n_start;
} deaths[] = {
	{"crash_once", "abc", 0, 2},          /* tried again: nothing had reached the client */
	{"crash", "", ERR_CRASHED, 2},        /* dies twice: no third try */
	{"crash_mid", "a", ERR_CRASHED, 1},   /* text was out: no second try */
	{"garbage_once", "abc", 0, 2},
	{"garbage", "", ERR_CRASHED, 2},
	{"badjson_once", "abc", 0, 2},
	{"badjson", "", ERR_CRASHED, 2},
	{"badstate_once", "abc", 0, 2},
};

START_TEST(death)
{
	ask(ok, deaths[_i].prompt, deaths[_i].text, deaths[_i].code);
	ck_assert_int_eq(env_count("ok"), deaths[_i].n_start);
	ask(ok, "hello", "abc", 0); /* the next request works */
}
END_TEST

/* A request that kills every runner, among others that had no text yet: it is tried again apart from them, so only it fails. */
START_TEST(poison)
{
	struct client c[9];
	struct store_model *m = env_model("slow", "ok", 0);
	for (int i = 0; i < 9; i++)
		client_send(&c[i], m, i == 4 ? "crash" : "later");
	for (int i = 0; i < 9; i++)
		client_expect(&c[i], i == 4 ? "" : "abc", i == 4 ? ERR_CRASHED : 0);
	env_model_free(m);
}
END_TEST

/* kill -9 from outside with many waiting: those without text are answered by the next runner, the others get an error. */
START_TEST(killed)
{
	struct client quiet[8], loud;
	int pid;
	client_send(&loud, ok, "wait");
	client_wait(&loud, 1);
	for (int i = 0; i < 8; i++)
		client_send(&quiet[i], ok, i % 2 ? "park" : "silent");
	ck_assert_uint_eq(env_n_loaded(&pid), 1);
	usleep(50000);
	kill(pid, SIGKILL);
	client_wait(&loud, 0);
	ck_assert_int_eq(loud.code, ERR_CRASHED);
	ck_assert_str_eq(loud.error, "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
				     "check cria's logs for details");
	client_release(&loud);
	EVENTUALLY(env_count("ok") == 2);
	for (int i = 0; i < 8; i++)
		sched_cancel(env_s, quiet[i].id);
	ask(ok, "hello", "abc", 0);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(quiet[i].n_done, 0);
		client_release(&quiet[i]);
	}
}
END_TEST

START_TEST(hang)
{
	env_cfg.pong_timeout_ns = 200 * NS_PER_MS;
	env_restart();
	ask(ok, "hang_once", "abc", 0);
	ask(ok, "hang", "", ERR_CRASHED);
	ask(ok, "hello", "abc", 0);
	int pid;
	env_n_loaded(&pid);
	kill(pid, SIGSTOP); /* also while idle */
	int64_t until = clock_now_ns() + 20 * NS_PER_S;
	while (kill(pid, 0) == 0 && clock_now_ns() < until)
		usleep(10000);
	ck_assert_int_eq(kill(pid, 0), -1);
	ask(ok, "hello", "abc", 0);
}
END_TEST

START_TEST(long_step)
{
	env_cfg.step_timeout_ns = 150 * NS_PER_MS;
	env_restart();
	ask(ok, "long_step_once", "abc", 0);
	ck_assert_int_eq(env_count("ok"), 2);
}
END_TEST

/* ---- loading ---- */

static const struct {
	const char *name, *content;
	int code, n_start;
	const char *words;
} loads[] = {
	{"slow", "ok", 0, 1, ""},
	{"fail", "ok", ERR_FORMAT, 1, "cut short"},
	{"exit", "ok", ERR_CRASHED, 2, "unexpectedly stopped"},
	{"exit_once", "ok", 0, 2, ""},
	{"junk", "ok", ERR_CRASHED, 2, "unexpectedly stopped"},
	{"stuck", "ok", ERR_TIMEOUT, 1, "no progress"},
	{"stopped", "ok", ERR_CRASHED, 2, "unexpectedly stopped"},
	{"a", "unsupported", ERR_UNSUPPORTED, 0, "architecture x is not supported"},
	{"b", "error", ERR_FORMAT, 0, "not a GGUF file"},
	{"c", "crash", ERR_FORMAT, 0, "signal 9"},
	{"d", "junk", ERR_FORMAT, 0, "status 0"},
	{"e", "exit3", ERR_FORMAT, 0, "status 3"},
};

START_TEST(load)
{
	struct client c, d;
	env_cfg.load_timeout_ns = 300 * NS_PER_MS; /* slow takes longer in all, but progresses */
	env_cfg.pong_timeout_ns = strcmp(loads[_i].name, "stopped") ? 5 * NS_PER_S : 100 * NS_PER_MS;
	env_restart();
	struct store_model *m = env_model(loads[_i].name, loads[_i].content, 0);
	client_send(&c, m, "hello");
	client_send(&d, m, "hello");
	client_wait(&c, 0);
	ck_assert_msg(strstr(c.error, loads[_i].words), "%s", c.error);
	client_expect(&c, loads[_i].code ? "" : "abc", loads[_i].code);
	client_expect(&d, loads[_i].code ? "" : "abc", loads[_i].code);
	ck_assert_int_eq(env_count(loads[_i].name), loads[_i].n_start);
	ask(ok, "hello", "abc", 0);
	env_model_free(m);
}
END_TEST

START_TEST(load_works_later)
{
	struct store_model *m = env_model("fail_once", "ok", 0);
	ask(m, "hello", "", ERR_FORMAT);
	ask(m, "hello", "abc", 0);
	env_model_free(m);
}
END_TEST

START_TEST(file_missing)
{
	unlink(ok->model_path);
	ask(ok, "hello", "", ERR_NOT_FOUND);
}
END_TEST

START_TEST(does_not_fit)
{
	struct client c;
	struct store_model *m = env_model("giant", "ok", (off_t)1 << 42);
	ask(ok, "hello", "abc", 0);
	client_send(&c, m, "hello");
	client_wait(&c, 0);
	ck_assert_msg(strstr(c.error, "requires more system memory (4096.1 GiB) than is available"), "%s", c.error);
	client_expect(&c, "", ERR_NOMEM);
	ck_assert_uint_eq(env_n_loaded(NULL), 1); /* nobody was unloaded in vain */
	env_model_free(m);
}
END_TEST

/* ---- memory and other models ---- */

START_TEST(evict_idle)
{
	struct store_model *a = env_model("a", "ok", 0), *b = env_model("b", "ok", 0);
	struct client c;
	struct sched_loaded *l;
	env_cfg.max_loaded = 2;
	env_restart();
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 100 * NS_PER_S, 0), 0);
	client_expect(&c, "abc", 0);
	ck_assert_int_eq(client_send_as(&c, a, "hello", 50 * NS_PER_S, 0), 0);
	client_expect(&c, "abc", 0);
	ask(b, "hello", "abc", 0);
	ck_assert_uint_eq(sched_ps(env_s, &l), 2);
	ck_assert_str_eq(l[0].name.model, "b"); /* latest expiry first; a had the shortest keep-alive */
	ck_assert_str_eq(l[1].name.model, "ok");
	sched_ps_free(l, 2);
	env_model_free(a);
	env_model_free(b);
}
END_TEST

/* All are busy: the new model waits until one is done, then takes its place; the old one comes back for its next request. */
START_TEST(evict_busy)
{
	struct store_model *a = env_model("a", "ok", 0);
	struct client c, d, e;
	env_cfg.max_loaded = 1;
	env_restart();
	client_send(&c, ok, "wait");
	client_wait(&c, 1);
	client_send(&d, a, "hello");
	usleep(200000);
	ck_assert_int_eq(d.n_event, 0);
	client_send(&e, ok, "hello"); /* waits behind the eviction */
	usleep(50000);
	ck_assert_int_eq(e.n_event, 0);
	sched_cancel(env_s, c.id);
	client_release(&c);
	client_expect(&d, "abc", 0);
	client_expect(&e, "abc", 0);
	ck_assert_int_eq(env_count("ok"), 2);
	env_model_free(a);
}
END_TEST

START_TEST(memory_limit)
{
	struct store_model *a = env_model("a", "ok", 100 << 20), *b = env_model("b", "ok", 500 << 20);
	env_cfg.mem_limit_bytes = 400 << 20;
	env_restart();
	ask(ok, "hello", "abc", 0);
	ask(a, "hello", "abc", 0);
	ask(b, "hello", "", ERR_NOMEM);
	ask(a, "hello", "abc", 0);
	env_model_free(a);
	env_model_free(b);
}
END_TEST

START_TEST(context)
{
	struct client c;
	struct sched_loaded *l;
	static const struct {
		int64_t cfg, asked;
		const char *got;
	} rows[] = {
		{0, 0, "32768"}, {0, 4096, "4096"}, {0, 1, "4"}, {0, 1000000, "32768"}, {8192, 0, "8192"}, {8192, 16384, "16384"},
		{8192, 99999, "32768"}, {65536, 0, "65536"}, {65536, 100000, "65536"}, {1 << 20, 0, "131072"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		env_cfg.n_ctx_default = rows[i].cfg;
		env_restart();
		ck_assert_int_eq(client_send_as(&c, ok, "ctx", SCHED_KEEP_DEFAULT, rows[i].asked), 0);
		client_expect(&c, rows[i].got, 0);
		ck_assert_uint_eq(sched_ps(env_s, &l), 1);
		ck_assert_int_eq(l[0].n_ctx, atoll(rows[i].got));
		ck_assert_int_eq(l[0].size_bytes, (65 << 20) + atoll(rows[i].got) * 1024);
		sched_ps_free(l, 1);
	}
}
END_TEST

/* ---- cancel, park, queue ---- */

/* A canceled client hears nothing more, and the runner is told. */
START_TEST(cancel_active)
{
	struct client c;
	static const char *const prompts[] = {"wait", "silent", "flood"};
	ask(ok, "hello", "abc", 0);
	for (size_t i = 0; i < ARRAY_LEN(prompts); i++) {
		client_send(&c, ok, prompts[i]);
		usleep(50000);
		sched_cancel(env_s, c.id);
		pthread_mutex_lock(&c.lock);
		c.closed = true;
		pthread_mutex_unlock(&c.lock);
		sched_cancel(env_s, c.id);
		usleep(20000);
		client_release(&c);
	}
	client_send(&c, ok, "cancels");
	client_wait(&c, 0);
	ck_assert_int_ge(atoi(str_cstr(&c.text)), 2);
	client_release(&c);
	sched_cancel(env_s, 0);
	sched_cancel(env_s, 987654);
}
END_TEST

/* Gone while the model loads, starts, drains, or waits for memory. */
START_TEST(cancel_early)
{
	struct store_model *slow = env_model("slow", "slow", 0), *a = env_model("a", "ok", 0);
	struct client c, d;
	env_cfg.max_loaded = 1;
	env_restart();
	client_send(&c, slow, "hello"); /* inspect runs */
	usleep(50000);
	sched_cancel(env_s, c.id);
	client_release(&c);
	client_send(&c, slow, "hello");
	EVENTUALLY(env_n_loaded(NULL) == 1); /* loads */
	sched_cancel(env_s, c.id);
	client_release(&c);
	client_send(&c, slow, "hello");
	client_send(&d, a, "hello"); /* waits for room */
	usleep(30000);
	sched_cancel(env_s, d.id);
	client_release(&d);
	client_expect(&c, "abc", 0);
	env_model_free(slow);
	env_model_free(a);
}
END_TEST

/* A hook that is in the middle of an event when the cancel comes: the cancel waits for it. */
static void slow_hook(void *user, const struct gen_event *ev, int64_t load_ns)
{
	client_hook(user, ev, load_ns);
	usleep(100000);
	struct client *c = user;
	pthread_mutex_lock(&c->lock);
	c->n_late += c->closed;
	pthread_mutex_unlock(&c->lock);
}

START_TEST(cancel_waits_for_hook)
{
	struct client c;
	struct gen_req q;
	struct err err;
	client_init(&c);
	gen_req_init(&q);
	q.kind = GEN_PROMPT;
	struct sched_req req = {.model = ok, .gen = &q, .keep_alive_ns = SCHED_KEEP_DEFAULT, .user = &c, .on_event = slow_hook};
	ck_assert_int_eq(sched_submit(env_s, &req, &c.id, &err), 0);
	client_wait(&c, 1);
	sched_cancel(env_s, c.id);
	pthread_mutex_lock(&c.lock);
	c.closed = true;
	pthread_mutex_unlock(&c.lock);
	usleep(300000);
	ck_assert_int_le(c.n_event, 2);
	client_release(&c);
}
END_TEST

static void *storm(void *user)
{
	unsigned seed = (unsigned)(uintptr_t)user;
	static const char *const prompts[] = {"wait", "silent", "hello", "flood", "crash_mid", "embed", "hello", "error"};
	for (int i = 0; i < 25; i++) {
		struct client c;
		int pick = rand_r(&seed) % (int)ARRAY_LEN(prompts);
		client_send(&c, ok, prompts[pick]);
		usleep((unsigned)rand_r(&seed) % 4000);
		sched_park(env_s, c.id, true);
		sched_park(env_s, c.id, false);
		sched_cancel(env_s, c.id);
		pthread_mutex_lock(&c.lock);
		c.closed = true;
		pthread_mutex_unlock(&c.lock);
		usleep(1000);
		client_release(&c);
		if (i % 8 == 0)
			sched_unload(env_s, ok);
		env_n_loaded(NULL);
	}
	return NULL;
}

START_TEST(cancel_storm)
{
	pthread_t t[8];
	for (uintptr_t i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, storm, (void *)(i + 1)), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	ask(ok, "hello", "abc", 0);
	ck_assert(sched_alive(env_s));
}
END_TEST

START_TEST(park)
{
	struct client c;
	client_send(&c, ok, "park");
	sched_park(env_s, c.id, true); /* perhaps before the runner has it */
	client_wait(&c, 1);
	ck_assert_str_eq(str_cstr(&c.text), "parked");
	sched_park(env_s, c.id, true);
	sched_park(env_s, c.id, false);
	client_expect(&c, "parkedresumed", 0);
	sched_park(env_s, 12345, true);
}
END_TEST

START_TEST(queue_bound)
{
	struct client c[8];
	int n_busy = 0;
	env_cfg.max_queue = 3;
	env_restart();
	for (int i = 0; i < 8; i++) {
		int rc = client_send_as(&c[i], ok, "silent", SCHED_KEEP_DEFAULT, 0);
		if (rc) {
			ck_assert_int_eq(rc, ERR_BUSY);
			ck_assert_str_eq(c[i].error, "server busy, please try again.  maximum pending requests exceeded");
			n_busy++;
		}
	}
	ck_assert_int_eq(n_busy, 4); /* one in service, three wait */
	for (int i = 0; i < 8; i++) {
		sched_cancel(env_s, c[i].id);
		client_release(&c[i]);
	}
	ask(ok, "hello", "abc", 0);
}
END_TEST

/* ---- keep-alive ---- */

START_TEST(keep_zero)
{
	struct client c;
	int pid;
	ask(ok, "hello", "abc", 0);
	env_n_loaded(&pid);
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 0, 0), 0);
	client_expect(&c, "abc", 0);
	EVENTUALLY(env_n_loaded(NULL) == 0);
	EVENTUALLY(kill(pid, 0) < 0);
	ask(ok, "hello", "abc", 0); /* the default again */
	usleep(50000);
	ck_assert_uint_eq(env_n_loaded(NULL), 1);
}
END_TEST

START_TEST(keep_short)
{
	struct client c;
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 300 * NS_PER_MS, 0), 0);
	client_expect(&c, "abc", 0);
	ck_assert_uint_eq(env_n_loaded(NULL), 1);
	ask(ok, "hello", "abc", 0); /* keeps the value, starts the time anew */
	EVENTUALLY(env_n_loaded(NULL) == 0);
	ck_assert_int_eq(env_count("ok"), 1);
}
END_TEST

START_TEST(keep_forever)
{
	struct client c;
	struct sched_loaded *l;
	ck_assert_int_eq(client_send_as(&c, ok, "hello", INT64_MAX, 0), 0);
	client_expect(&c, "abc", 0);
	ck_assert_uint_eq(sched_ps(env_s, &l), 1);
	ck_assert(l[0].expires_wall_ns == INT64_MAX);
	ck_assert_str_eq(l[0].model_digest, "sha256:ok");
	ck_assert_str_eq(l[0].manifest_digest, "0123");
	sched_ps_free(l, 1);
	ck_assert_int_eq(client_send_as(&c, ok, "hello", 100 * NS_PER_S, 0), 0);
	client_expect(&c, "abc", 0);
	ck_assert_uint_eq(sched_ps(env_s, &l), 1);
	int64_t left = l[0].expires_wall_ns - clock_wall_ns();
	ck_assert(left > 60 * NS_PER_S && left <= 100 * NS_PER_S);
	sched_ps_free(l, 1);
}
END_TEST

START_TEST(unload)
{
	struct client c;
	ck_assert(!sched_unload(env_s, ok));
	client_send(&c, ok, "wait");
	client_wait(&c, 1);
	ck_assert(sched_unload(env_s, ok));
	usleep(50000);
	ck_assert_uint_eq(env_n_loaded(NULL), 1); /* finishes first */
	sched_cancel(env_s, c.id);
	client_release(&c);
	EVENTUALLY(env_n_loaded(NULL) == 0);
	ask(ok, "hello", "abc", 0);
	ck_assert(sched_unload(env_s, ok));
	ask(ok, "hello", "abc", 0); /* at once after: the next process answers */
}
END_TEST

/* A runner that does not obey is killed. */
START_TEST(unload_deaf)
{
	int pid;
	ask(ok, "deaf", "abc", 0);
	env_n_loaded(&pid);
	ck_assert(sched_unload(env_s, ok));
	EVENTUALLY(kill(pid, 0) < 0);
	ask(ok, "hello", "abc", 0);
}
END_TEST

START_TEST(ps_loading)
{
	struct store_model *slow = env_model("slow", "ok", 0);
	struct client c;
	struct sched_loaded *l;
	ck_assert_int_eq(client_send_as(&c, slow, "hello", 1000 * NS_PER_S, 0), 0);
	EVENTUALLY(env_n_loaded(NULL) == 1);
	ck_assert_uint_eq(sched_ps(env_s, &l), 1);
	int64_t left = l[0].expires_wall_ns - clock_wall_ns();
	ck_assert(left > 990 * NS_PER_S && left <= 1000 * NS_PER_S);
	ck_assert_int_gt(l[0].size_bytes, 0);
	ck_assert_int_eq(l[0].n_queued, 1);
	sched_ps_free(l, 1);
	client_expect(&c, "abc", 0);
	env_model_free(slow);
}
END_TEST

/* ---- the end ---- */

static const char *const stop_prompts[] = {"wait", "silent", "hello", "deaf", "flood"};

START_TEST(stop_with_requests)
{
	struct client c[5], early;
	struct store_model *slow = env_model("slow", "slow", 0);
	ask(ok, "deaf", "abc", 0);
	for (int i = 0; i < 5; i++)
		client_send(&c[i], ok, stop_prompts[i]);
	client_send(&early, slow, "hello");
	usleep((unsigned)_i * 60000);
	sched_stop(env_s, 100 * NS_PER_MS);
	env_s = NULL;
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(c[i].n_done, 1);
		ck_assert(c[i].code == 0 || c[i].code == ERR_CANCELED);
		client_release(&c[i]);
	}
	ck_assert_int_eq(early.n_done, 1);
	client_release(&early);
	env_model_free(slow);
}
END_TEST

/* Within the grace time requests end by themselves. */
START_TEST(stop_grace)
{
	struct store_model *slow = env_model("slow", "ok", 0);
	struct client c;
	client_send(&c, slow, "hello");
	int64_t from = clock_now_ns();
	sched_stop(env_s, 60 * NS_PER_S);
	ck_assert_int_lt(clock_now_ns() - from, 20 * NS_PER_S);
	env_s = NULL;
	client_expect(&c, "abc", 0);
	env_model_free(slow);
}
END_TEST

START_TEST(stop_during_inspect)
{
	struct store_model *m = env_model("m", "sleep", 0);
	struct client c;
	client_send(&c, m, "hello");
	usleep(100000);
	sched_stop(env_s, 0);
	env_s = NULL;
	client_expect(&c, "", ERR_CANCELED);
	env_model_free(m);
}
END_TEST

/* A server that is killed takes its runners along, even one that is stopped and cannot see its socket close. */
START_TEST(no_orphan)
{
	int fds[2], pid = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sched_stop(env_s, 0);
	env_s = NULL;
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid_t server = fork();
	if (server == 0) {
		env_start();
		ask(ok, "hello", "abc", 0);
		env_n_loaded(&pid);
		kill(pid, SIGSTOP);
		if (write(fds[1], &pid, sizeof pid) == sizeof pid)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(fds[0], &pid, sizeof pid), sizeof pid);
	kill(server, SIGKILL);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(exe_missing)
{
	sched_stop(env_s, 0);
	struct err err;
	env_cfg.exe = "/nonexistent/cria";
	ck_assert_int_eq(sched_start(&env_cfg, NULL, &env_s, &err), 0);
	ask(ok, "hello", "", ERR_IO);
}
END_TEST

int main(int argc, char **argv)
{
	int status;
	if (fake_main(argc, argv, &status))
		return status;
	Suite *s = suite_create("sched");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, answer);
	tcase_add_test(t, sixteen_at_once);
	tcase_add_test(t, flood);
	tcase_add_test(t, load_only);
	tcase_add_test(t, two_names_share);
	tcase_add_test(t, no_weights);
	tcase_add_loop_test(t, death, 0, (int)ARRAY_LEN(deaths));
	tcase_add_test(t, poison);
	tcase_add_test(t, killed);
	tcase_add_test(t, hang);
	tcase_add_test(t, long_step);
	tcase_add_loop_test(t, load, 0, (int)ARRAY_LEN(loads));
	tcase_add_test(t, load_works_later);
	tcase_add_test(t, file_missing);
	tcase_add_test(t, does_not_fit);
	tcase_add_test(t, evict_idle);
	tcase_add_test(t, evict_busy);
	tcase_add_test(t, memory_limit);
	tcase_add_test(t, context);
	tcase_add_test(t, cancel_active);
	tcase_add_test(t, cancel_early);
	tcase_add_test(t, cancel_waits_for_hook);
	tcase_add_test(t, cancel_storm);
	tcase_add_test(t, park);
	tcase_add_test(t, queue_bound);
	tcase_add_test(t, keep_zero);
	tcase_add_test(t, keep_short);
	tcase_add_test(t, keep_forever);
	tcase_add_test(t, unload);
	tcase_add_test(t, unload_deaf);
	tcase_add_test(t, ps_loading);
	tcase_add_loop_test(t, stop_with_requests, 0, 5);
	tcase_add_test(t, stop_grace);
	tcase_add_test(t, stop_during_inspect);
	tcase_add_test(t, no_orphan);
	tcase_add_test(t, exe_missing);
	suite_add_tcase(s, t);
	return env_run(s);
}
