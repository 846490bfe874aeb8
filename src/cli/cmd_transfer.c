/* cria pull, cria push */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_bar.h"
#include "cli/cli_http.h"
#include "cli/cli_transfer.h"

static int transfer(const char *path, const char *model, bool insecure, struct err *err)
{
	struct cli_bar bar = {0};
	json_t *body = json_pack("{s:s, s:b, s:b}", "model", model, "insecure", insecure, "stream", 1);
	int rc = cli_stream(path, body, &(struct cli_sink){.line = cli_bar_line, .user = &bar}, err);
	cli_bar_end(&bar);
	json_decref(body);
	return rc;
}

int cli_pull(const char *model, bool insecure)
{
	struct err err;
	return transfer("/api/pull", model, insecure, &err) ? cli_fail("%s", err.msg) : 0;
}

int cmd_pull(const struct cli_args *a)
{
	return cli_pull(a->words[0], cli_flag_set(a, "insecure"));
}

/* Names without a host are ollama.com's: there the model has a page. */
static void print_page(const char *model)
{
	const char *slash = strchr(model, '/'), *colon = strrchr(model, ':');
	size_t n = colon && !strcmp(colon, ":latest") ? (size_t)(colon - model) : strlen(model);
	if (slash && strchr(slash + 1, '/'))
		return;
	fprintf(stderr, "\nYou can find your model at:\n\n\thttps://ollama.com/%.*s\n", (int)n, model);
}

int cmd_push(const struct cli_args *a)
{
	const char *model = a->words[0];
	struct err err;
	int rc = transfer("/api/push", model, cli_flag_set(a, "insecure"), &err);
	if (rc && strstr(err.msg, "access denied"))
		return cli_fail("you are not authorized to push to this namespace, create the model under a namespace you own (%s)",
				err.msg);
	if (rc)
		return cli_fail("%s", err.msg);
	print_page(model);
	return 0;
}
