/* cria cp, cria rm, cria stop */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/cli_http.h"

/* keep_alive 0 without a prompt: the server unloads the model when it is idle. */
static int unload(const char *model, struct err *err)
{
	json_t *answer, *body = json_pack("{s:s, s:i}", "model", model, "keep_alive", 0);
	int rc = cli_call("POST", "/api/generate", body, &answer, err);
	json_decref(body);
	json_decref(answer);
	return rc;
}

int cmd_stop(const struct cli_args *a)
{
	struct err err;
	int rc = unload(a->words[0], &err);
	if (rc == ERR_NOT_FOUND)
		return cli_fail("couldn't find model \"%s\" to stop", a->words[0]);
	return rc ? cli_fail("%s", err.msg) : 0;
}

int cmd_cp(const struct cli_args *a)
{
	struct err err;
	json_t *answer, *body = json_pack("{s:s, s:s}", "source", a->words[0], "destination", a->words[1]);
	int rc = cli_call("POST", "/api/copy", body, &answer, &err);
	json_decref(body);
	json_decref(answer);
	if (rc)
		return cli_fail("%s", err.msg);
	printf("copied '%s' to '%s'\n", a->words[0], a->words[1]);
	return 0;
}

int cmd_rm(const struct cli_args *a)
{
	for (int i = 0; i < a->n_word; i++) {
		struct err err;
		json_t *answer, *body = json_pack("{s:s}", "model", a->words[i]);
		int rc = unload(a->words[i], &err);
		if (rc && rc != ERR_NOT_FOUND)
			fprintf(stderr, "Warning: unable to stop model '%s'\n", a->words[i]);
		rc = cli_call("DELETE", "/api/delete", body, &answer, &err);
		json_decref(body);
		json_decref(answer);
		if (rc)
			return cli_fail("%s", err.msg);
		printf("deleted '%s'\n", a->words[i]);
	}
	return 0;
}
