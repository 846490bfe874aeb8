#include "modelfile/option.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

static const struct option_desc table[] = {
	{"num_ctx", OPTION_INT},
	{"num_batch", OPTION_INT},
	{"num_gpu", OPTION_INT},
	{"main_gpu", OPTION_INT},
	{"use_mmap", OPTION_BOOL},
	{"num_thread", OPTION_INT},
	{"draft_num_predict", OPTION_INT},
	{"num_keep", OPTION_INT},
	{"seed", OPTION_INT},
	{"num_predict", OPTION_INT},
	{"max_tokens", OPTION_INT}, /* OpenAI's word for num_predict */
	{"top_k", OPTION_INT},
	{"top_p", OPTION_FLOAT},
	{"min_p", OPTION_FLOAT},
	{"typical_p", OPTION_FLOAT},
	{"repeat_last_n", OPTION_INT},
	{"temperature", OPTION_FLOAT},
	{"repeat_penalty", OPTION_FLOAT},
	{"presence_penalty", OPTION_FLOAT},
	{"frequency_penalty", OPTION_FLOAT},
	{"stop", OPTION_STRINGS},
};

const struct option_desc *option_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

void option_number_text(double v, struct str *out)
{
	char sci[40];
	int prec = 0;
	for (; prec < 17; prec++) {
		snprintf(sci, sizeof sci, "%.*e", prec, v);
		if (strtod(sci, NULL) == v)
			break;
	}
	const char *e = strchr(sci, 'e');
	int exp10 = e ? atoi(e + 1) : 0;
	if (!isfinite(v) || exp10 < -4 || exp10 >= 6)
		str_adds(out, sci);
	else
		str_printf(out, "%.*f", prec > exp10 ? prec - exp10 : 0, v);
}
