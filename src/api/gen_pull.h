/* gen_pull: a request for a model that is not installed has it pulled once, then runs as if it had been there. When the model
 * cannot be had the request fails as it would have, so a wrong name stays a 404. */
#ifndef CRIA_API_GEN_PULL_H
#define CRIA_API_GEN_PULL_H

#include "api/gen_job.h"

/* Takes the caller's reference and answers later, when `why` is a missing model that is worth a try; false: nothing was done. */
bool gen_pull_start(struct gen_job *j, const struct err *why);

#endif
