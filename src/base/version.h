/* version: what /api/version, `cria --version` and the log say. */
#ifndef CRIA_BASE_VERSION_H
#define CRIA_BASE_VERSION_H

#define CRIA_VERSION "0.1.0"

#endif
