#include "cli/chat_files.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Length of a path's beginning at s, 0 when none begins there. */
static size_t prefix_len(const char *s)
{
	size_t drive = isalpha((unsigned char)s[0]) && s[1] == ':' ? 2 : 0;
	const char *p = s + drive;
	if (*p == '/' || (*p == '\\' && isalnum((unsigned char)p[1]))) /* else a shell escape */
		return drive + 1;
	return p[0] == '.' && p[1] == '/' ? drive + 2 : 0;
}

/* Length of a known extension behind a dot, 0 when there is none or the word goes on. */
static size_t extension_len(const char *s)
{
	static const char *const known[] = {"jpg", "jpeg", "png", "webp", "wav"};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		size_t n = strlen(known[i]);
		if (!strncasecmp(s, known[i], n) && !isalnum((unsigned char)s[n]) && s[n] != '_')
			return n;
	}
	return 0;
}

/* A backslash makes the next character ordinary, unless a letter or digit follows (a Windows path). */
static void unescape(const char *s, size_t n, struct str *out)
{
	str_clear(out);
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\' && i + 1 < n && !isalnum((unsigned char)s[i + 1]))
			i++;
		str_addc(out, s[i]);
	}
}

bool chat_files_next(const char **text, struct str *ret_path)
{
	const char *s = *text;
	while (*s) {
		size_t n = prefix_len(s);
		if (!n) {
			s++;
			continue;
		}
		const char *end = s + n, *limit = s + CHAT_FILES_PATH_BYTES;
		for (; *end && end < limit && (*end == ' ' || !isspace((unsigned char)*end)); end++) {
			size_t ext = end > s + n && *end == '.' ? extension_len(end + 1) : 0;
			if (!ext)
				continue;
			unescape(s, (size_t)(end + 1 + ext - s), ret_path);
			*text = s + n;
			return true;
		}
		s = end < limit ? end : s + n; /* no extension up to a line's end: none of the starts in between has one */
	}
	*text = s;
	return false;
}

bool chat_files_exists(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISREG(st.st_mode);
}

bool chat_files_is_audio(const char *path)
{
	const char *dot = strrchr(path, '.');
	return dot && !strcasecmp(dot, ".wav");
}
