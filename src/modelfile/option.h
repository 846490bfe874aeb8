/* option: the names and types of model options, as PARAMETER lines and as the "options" object of a request. */
#ifndef CRIA_MODELFILE_OPTION_H
#define CRIA_MODELFILE_OPTION_H

#include "base/str.h"

enum option_type { OPTION_INT, OPTION_BOOL, OPTION_FLOAT, OPTION_STRINGS };

struct option_desc {
	const char *name;
	enum option_type type;
};

/* NULL for names that are no options; names are case-sensitive. */
const struct option_desc *option_find(const char *name);
/* A number as Modelfiles show it: shortest digits, an exponent below 1e-04 and from 1e+06 up. */
void option_number_text(double v, struct str *out);

#endif
