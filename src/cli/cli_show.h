/* cli_show: the overview of a model, shared by `cria show` and the chat's /show info. */
#ifndef CRIA_CLI_SHOW_H
#define CRIA_CLI_SHOW_H

#include <stdbool.h>

#include "base/json.h"

/* Prints the sections for an answer of /api/show; verbose adds metadata and tensors. */
void cli_show_overview(const json_t *answer, bool verbose);

#endif
