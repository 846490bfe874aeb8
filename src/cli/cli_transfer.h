/* cli_transfer: pulling a model from within another command. */
#ifndef CRIA_CLI_TRANSFER_H
#define CRIA_CLI_TRANSFER_H

#include <stdbool.h>

/* Pulls with progress on stderr; 0, or 1 with the error printed. */
int cli_pull(const char *model, bool insecure);

#endif
