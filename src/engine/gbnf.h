/* gbnf: grammars written in GBNF, the BNF of llama.cpp: `name ::= "literal" [class] other-rule ( ) | * + ? {m,n} .`, with
 * comments from # on. The start rule is "root". References to tokens (<text>, <[id]>) are not supported: grammars here are
 * over bytes. Entry: grammar_from_gbnf of grammar.h. */
#ifndef CRIA_ENGINE_GBNF_H
#define CRIA_ENGINE_GBNF_H

enum { GBNF_BYTES_MAX = 1000 * 1000 };

#endif
