/* schema_regex: the regular expressions of JSON schemas (ECMA-262 syntax) as automata over the content of a JSON string:
 * alternatives, groups, classes, quantifiers, anchors. What an automaton cannot do or what is rare is refused by name: look
 * around, back references, word boundaries, flags, Unicode properties. */
#ifndef CRIA_ENGINE_SCHEMA_REGEX_H
#define CRIA_ENGINE_SCHEMA_REGEX_H

#include "engine/grammar_dfa.h"

/* Strings in which the pattern matches somewhere, written with the usual escapes of JSON. ERR_INVALID says where and why. */
int regex_to_dfa(const char *pattern, size_t n, struct grammar_budget *b, struct dfa *ret, struct err *err);
/* Strings of min to max characters, written likewise. */
int regex_length_dfa(uint32_t min, uint32_t max, struct grammar_budget *b, struct dfa *ret, struct err *err);

#endif
