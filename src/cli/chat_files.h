/* chat_files: paths of image and sound files in what a user writes. A path starts with /, ./, \ or a drive letter and ends in
 * jpg, jpeg, png, webp or wav; blanks may be inside, with or without a backslash in front. Pure but for chat_files_exists. */
#ifndef CRIA_CLI_CHAT_FILES_H
#define CRIA_CLI_CHAT_FILES_H

#include <stdbool.h>

#include "base/str.h"

enum { CHAT_FILES_PATH_BYTES = 1024 };
/* Finds the next path at or after *text and moves *text behind its beginning, so that a further call finds the paths that start
 * inside it ("/a and ./b.png" is one path or another one). Shell escapes are resolved in *ret_path. */
bool chat_files_next(const char **text, struct str *ret_path);
bool chat_files_exists(const char *path); /* a regular file */
bool chat_files_is_audio(const char *path);

#endif
