/* detect_table: the data of detect.c. */
#ifndef CRIA_CHAT_DETECT_TABLE_H
#define CRIA_CHAT_DETECT_TABLE_H

#include "chat/detect.h"

struct detect_reference {
	int i_row;
	const char *text; /* a Jinja template of published models */
};

extern const struct detect_row detect_rows[];
extern const size_t detect_n_rows;
extern const struct detect_reference detect_references[];
extern const size_t detect_n_references;

#endif
