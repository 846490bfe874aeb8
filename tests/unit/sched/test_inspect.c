/* sched_inspect: the cache, sharing of children, limits. */
#include "sched_env.h"

static json_t *facts;
static struct err err;

static int inspect(const struct store_model *m, bool verbose)
{
	json_decref(facts);
	facts = NULL;
	return sched_inspect(env_s, m->model_path, m->model_digest, verbose, &facts, &err);
}

static void teardown(void)
{
	json_decref(facts);
	facts = NULL;
	env_teardown();
}

START_TEST(cached)
{
	struct store_model *m = env_model("m", "ok", 0);
	ck_assert_int_eq(inspect(m, false), 0);
	ck_assert_str_eq(json_string_value(json_object_get(facts, "arch")), "fake");
	ck_assert_int_eq(inspect(m, false), 0);
	ck_assert_int_eq(env_count("inspects"), 1);
	ck_assert_int_eq(inspect(m, true), 0); /* other facts */
	ck_assert_int_eq(env_count("inspects"), 2);
	env_model_free(m);
}
END_TEST

START_TEST(templates)
{
	struct store_model *m = env_model("m", "ok", 0);
	ck_assert_int_eq(sched_inspect_template(env_s, "{{ x }}", m->model_digest, &facts, &err), 0);
	json_decref(facts);
	ck_assert_int_eq(sched_inspect_template(env_s, "{{ x }}", m->model_digest, &facts, &err), 0);
	ck_assert_int_eq(env_count("inspects"), 1);
	for (int i = 0; i < 2; i++) { /* without a digest nothing is kept */
		json_decref(facts);
		ck_assert_int_eq(sched_inspect_template(env_s, "", "", &facts, &err), 0);
	}
	ck_assert_int_eq(env_count("inspects"), 3);
	json_decref(facts);
	ck_assert_int_eq(sched_inspect_template(env_s, "error\n", "", &facts, &err), ERR_FORMAT);
	ck_assert_ptr_null(facts);
	env_model_free(m);
}
END_TEST

/* A later version may support what this one does not. */
START_TEST(unsupported_not_cached)
{
	struct store_model *m = env_model("m", "unsupported", 0);
	ck_assert_int_eq(inspect(m, false), 0);
	ck_assert_int_eq(inspect(m, false), 0);
	ck_assert_int_eq(env_count("inspects"), 2);
	env_model_free(m);
}
END_TEST

static void *inspect_thread(void *user)
{
	const struct store_model *m = user;
	json_t *v = NULL;
	struct err e;
	int rc = sched_inspect(env_s, m->model_path, m->model_digest, false, &v, &e);
	json_decref(v);
	return (void *)(intptr_t)rc;
}

START_TEST(shared)
{
	struct store_model *m[4];
	pthread_t t[16];
	char name[16];
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "m%d", i);
		m[i] = env_model(name, "slow", 0);
	}
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, inspect_thread, m[i % 4]), 0);
	for (int i = 0; i < 16; i++) {
		void *rc;
		pthread_join(t[i], &rc);
		ck_assert_ptr_null(rc);
	}
	ck_assert_int_eq(env_count("inspects"), 4);
	for (int i = 0; i < 4; i++)
		env_model_free(m[i]);
}
END_TEST

START_TEST(deadline)
{
	struct store_model *m = env_model("m", "sleep", 0);
	env_cfg.inspect_timeout_ns = 200 * NS_PER_MS;
	env_restart();
	ck_assert_int_eq(inspect(m, false), ERR_TIMEOUT);
	ck_assert_ptr_null(facts);
	env_model_free(m);
}
END_TEST

START_TEST(too_long)
{
	struct store_model *m = env_model("m", "big", 0);
	ck_assert_int_eq(inspect(m, true), ERR_LIMIT);
	env_model_free(m);
}
END_TEST

START_TEST(no_file)
{
	struct store_model *m = env_model("m", "ok", 0);
	unlink(m->model_path);
	ck_assert_int_eq(inspect(m, false), ERR_NOT_FOUND);
	env_model_free(m);
}
END_TEST

START_TEST(stopped_meanwhile)
{
	struct store_model *m = env_model("m", "sleep", 0);
	struct client c;
	/* the preparing thread of a load is in the same call */
	client_send(&c, m, "hello");
	EVENTUALLY(env_count("inspects") == 1);
	sched_stop(env_s, 0);
	env_s = NULL;
	client_expect(&c, "", ERR_CANCELED);
	env_model_free(m);
}
END_TEST

int main(int argc, char **argv)
{
	int status;
	if (fake_main(argc, argv, &status))
		return status;
	Suite *s = suite_create("sched_inspect");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, env_setup, teardown);
	tcase_add_test(t, cached);
	tcase_add_test(t, templates);
	tcase_add_test(t, unsupported_not_cached);
	tcase_add_test(t, shared);
	tcase_add_test(t, deadline);
	tcase_add_test(t, too_long);
	tcase_add_test(t, no_file);
	tcase_add_test(t, stopped_meanwhile);
	suite_add_tcase(s, t);
	return env_run(s);
}
