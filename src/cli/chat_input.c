#include "cli/chat_input.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "cli/chat_editor.h"
#include "cli/chat_history.h"
#include "cli/cli_term.h"

enum { KEY_CTRL_C = 3, PASTE_MAX = 4 << 20 /* characters of one paste; the rest is dropped */ };

struct chat_input {
	EditLine *el;
	HistoryW *history;
	char *history_path;        /* NULL: no file */
	struct termios terminal;   /* as the shell left it */
	struct sigaction old_int, old_winch;
	bool plain;                /* a terminal without escape codes */
	bool more;                 /* the prompt asks for the rest of a text */
	bool pasting;
	bool hint;                 /* the placeholder is on the screen */
	enum chat_input_result result;
	char bytes[4096];          /* read and not yet handed to libedit */
	size_t n_byte, i_byte;
};

/* Signal handlers can reach nothing else. */
static volatile sig_atomic_t canceled, resized;

static void on_signal(int sig)
{
	if (sig == SIGINT)
		canceled = 1;
	else
		resized = 1;
}

const volatile sig_atomic_t *chat_input_cancel_flag(void)
{
	return &canceled;
}

void chat_input_clear_cancel(void)
{
	canceled = 0;
}

static struct chat_input *input_of(EditLine *el)
{
	struct chat_input *in;
	el_wget(el, EL_CLIENTDATA, &in);
	return in;
}

/* ---- UTF-8 and wide characters: independent of the locale, which only matters for the widths on the screen ---- */

static wchar_t *wide_new(const char *s)
{
	size_t n = strlen(s), k = 0;
	wchar_t *out = mem_calloc(n + 1, sizeof *out);
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		i += utf8_next(s + i, n - i, &cp);
		out[k++] = (wchar_t)cp;
	}
	return out;
}

static void add_wide(struct str *out, const wchar_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		str_add_cp(out, (unsigned)s[i]);
}

/* ---- screen ---- */

static void put(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
}

static wchar_t *prompt(EditLine *el)
{
	static wchar_t first[] = L">>> ", more[] = L"... ";
	return input_of(el)->more ? more : first;
}

/* Shows in grey what an empty line is for. The cursor goes back, so libedit needs not know. */
static void show_hint(struct chat_input *in)
{
	const char *text = in->more ? "Use \"\"\" to end multi-line input" : "Send a message (/? for help)";
	struct winsize size;
	const LineInfoW *line = el_wline(in->el);
	bool fits = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > strlen(text) + 5;
	if (in->plain || in->pasting || in->hint || !fits || line->lastchar != line->buffer)
		return;
	printf("\033[90m%s\033[0m\033[%zuD", text, strlen(text));
	fflush(stdout);
	in->hint = true;
}

static void hide_hint(struct chat_input *in)
{
	if (in->hint)
		put("\033[K");
	in->hint = false;
}

/* Draws the line for the new size. */
static void resize(struct chat_input *in)
{
	resized = 0;
	hide_hint(in);
	el_resize(in->el);
	if (!in->plain)
		put("\r\033[J");
	el_wset(in->el, EL_REFRESH);
}

/* ---- keys ---- */

/* Waits for bytes of the terminal; false when it is gone. Signals arrive only while it waits. */
static bool fill(struct chat_input *in)
{
	sigset_t held, before;
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	ssize_t n = -1;
	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &held, &before);
	for (;;) {
		if (canceled) {
			canceled = 0;
			in->bytes[0] = KEY_CTRL_C;
			n = 1;
			break;
		}
		if (resized)
			resize(in);
		if (poll(&p, 1, 0) <= 0) {
			show_hint(in);
			if (ppoll(&p, 1, NULL, &before) < 0 && errno == EINTR)
				continue;
		}
		n = read(STDIN_FILENO, in->bytes, sizeof in->bytes);
		if (n >= 0 || errno != EINTR)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	hide_hint(in);
	in->i_byte = 0;
	in->n_byte = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* libedit's source of characters. */
static int read_char(EditLine *el, wchar_t *ret)
{
	struct chat_input *in = input_of(el);
	char c[4];
	size_t n = 0;
	uint32_t cp;
	do {
		if (in->i_byte == in->n_byte && !fill(in))
			return 0;
		c[n++] = in->bytes[in->i_byte++];
	} while (n < sizeof c && utf8_whole(c, n) == 0);
	if (!utf8_decode(c, n, &cp)) {
		cp = UTF8_REPLACEMENT;
		if (n > 1)
			in->i_byte--; /* the byte that did not fit begins something else */
	}
	*ret = (wchar_t)cp;
	return 1;
}

/* Ends the line with a result: the cursor goes to the end, and Enter is pressed for the user. */
static unsigned char end_with(struct chat_input *in, enum chat_input_result result)
{
	const LineInfoW *line = el_wline(in->el);
	in->result = result;
	el_cursor(in->el, (int)(line->lastchar - line->cursor));
	el_wpush(in->el, L"\r");
	return CC_REFRESH;
}

static unsigned char key_cancel(EditLine *el, wint_t unused)
{
	(void)unused;
	return end_with(input_of(el), CHAT_INPUT_CANCELED);
}

static unsigned char key_end_or_delete(EditLine *el, wint_t unused)
{
	const LineInfoW *line = el_wline(el);
	(void)unused;
	if (line->lastchar == line->buffer)
		return end_with(input_of(el), CHAT_INPUT_END);
	if (line->cursor == line->lastchar)
		return CC_REFRESH_BEEP;
	el_cursor(el, 1);
	el_wdeletestr(el, 1);
	return CC_REFRESH;
}

static unsigned char key_newline(EditLine *el, wint_t unused)
{
	(void)unused;
	return el_winsertstr(el, L"\n") ? CC_ERROR : CC_REFRESH;
}

/* Reads pasted text up to its end mark. Line breaks stay, other control characters are dropped: nothing pasted acts as a key. */
static unsigned char key_paste(EditLine *el, wint_t unused)
{
	static const wchar_t end[] = L"\033[201~";
	enum { END_LEN = ARRAY_LEN(end) - 1 };
	struct chat_input *in = input_of(el);
	VEC(wchar_t) text = {0};
	wchar_t c, last[END_LEN] = {0}, before = 0;
	(void)unused;
	in->pasting = true;
	while (wmemcmp(last, end, END_LEN) && el_wgetc(el, &c) == 1) {
		wmemmove(last, last + 1, END_LEN - 1);
		last[END_LEN - 1] = c;
		if ((c == '\r' || (c == '\n' && before != '\r') || c == '\t' || (c >= ' ' && c != 127)) && text.n < PASTE_MAX)
			vec_push(&text, c == '\r' ? '\n' : c);
		before = c;
	}
	in->pasting = false;
	/* The end mark's ESC was dropped, its other characters were not. */
	if (!wmemcmp(last, end, END_LEN) && text.n < PASTE_MAX)
		text.n -= END_LEN - 1;
	vec_push(&text, 0);
	bool ok = text.n == 1 || !el_winsertstr(el, text.data);
	vec_release(&text);
	return ok ? CC_REFRESH : CC_ERROR;
}

/* Gives the terminal back for something else, and takes it again. */
static void leave_terminal(struct chat_input *in)
{
	put("\n");
	el_wset(in->el, EL_PREP_TERM, 0);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &in->terminal);
}

static unsigned char key_suspend(EditLine *el, wint_t unused)
{
	struct chat_input *in = input_of(el);
	(void)unused;
	leave_terminal(in);
	kill(0, SIGTSTP);
	el_wset(el, EL_PREP_TERM, 1);
	return CC_REDISPLAY;
}

static unsigned char key_editor(EditLine *el, wint_t unused)
{
	struct chat_input *in = input_of(el);
	const LineInfoW *line = el_wline(el);
	struct str text = {0};
	struct err err;
	(void)unused;
	add_wide(&text, line->buffer, (size_t)(line->lastchar - line->buffer));
	leave_terminal(in);
	if (chat_editor_run(&text, &err)) {
		fprintf(stderr, "%s\n", err.msg);
	} else {
		wchar_t *wide = wide_new(str_cstr(&text));
		line = el_wline(el);
		el_cursor(el, (int)(line->lastchar - line->cursor));
		el_wdeletestr(el, (int)(line->lastchar - line->buffer));
		el_winsertstr(el, wide);
		mem_free(wide);
	}
	el_wset(el, EL_PREP_TERM, 1);
	str_release(&text);
	return CC_REDISPLAY;
}

static const struct {
	const wchar_t *name, *help;
	unsigned char (*fn)(EditLine *el, wint_t ch);
} functions[] = {
	{L"chat-cancel", L"Give the line up", key_cancel},
	{L"chat-end-or-delete", L"Leave on an empty line, else delete", key_end_or_delete},
	{L"chat-newline", L"Insert a line break", key_newline},
	{L"chat-paste", L"Take pasted text", key_paste},
	{L"chat-suspend", L"Go to the background", key_suspend},
	{L"chat-editor", L"Edit the line in an editor", key_editor},
};

/* Where emacs mode of libedit differs from what people expect of a chat, and keys that terminals send as sequences. */
static const wchar_t *const keys[][2] = {
	{L"^C", L"chat-cancel"},           {L"^D", L"chat-end-or-delete"},    {L"^J", L"chat-newline"},
	{L"^G", L"chat-editor"},           {L"^Z", L"chat-suspend"},          {L"\033[200~", L"chat-paste"},
	{L"^U", L"vi-kill-line-prev"},     {L"^W", L"ed-delete-prev-word"},   {L"\033[1;5D", L"ed-prev-word"},
	{L"\033[1;5C", L"em-next-word"},   {L"\033[1;3D", L"ed-prev-word"},   {L"\033[1;3C", L"em-next-word"},
	{L"\033[3~", L"ed-delete-next-char"}, {L"\033[H", L"ed-move-to-beg"}, {L"\033[F", L"ed-move-to-end"},
	{L"\033[1~", L"ed-move-to-beg"},   {L"\033[4~", L"ed-move-to-end"},
};

/* ---- history ---- */

static void enter_history(struct chat_input *in, const char *line)
{
	HistEventW ev;
	wchar_t *wide = wide_new(line);
	history_w(in->history, &ev, H_ENTER, wide);
	mem_free(wide);
}

static void open_history(struct chat_input *in)
{
	HistEventW ev;
	struct chat_history old = {0};
	in->history = history_winit();
	BUG_ON(!in->history);
	history_w(in->history, &ev, H_SETSIZE, CHAT_HISTORY_MAX);
	history_w(in->history, &ev, H_SETUNIQUE, 1);
	in->history_path = chat_history_path_new();
	if (in->history_path)
		chat_history_read(in->history_path, &old);
	for (size_t i = 0; i < old.entries.n; i++)
		enter_history(in, old.entries.data[i]);
	chat_history_release(&old);
	el_wset(in->el, EL_HIST, history_w, in->history);
}

void chat_input_remember(struct chat_input *in, const char *line)
{
	if (line[strspn(line, " \t\n")] == '\0')
		return;
	enter_history(in, line);
	if (in->history_path)
		chat_history_add(in->history_path, line);
}

/* ---- life ---- */

static void open_signals(struct chat_input *in)
{
	struct sigaction act = {.sa_handler = on_signal};
	sigemptyset(&act.sa_mask);
	sigaction(SIGINT, &act, &in->old_int);
	sigaction(SIGWINCH, &act, &in->old_winch);
}

/* Editing and the time between: no signals from keys while editing; no echo, no line discipline and no translation of Enter
 * while the model answers. */
static void open_modes(struct chat_input *in)
{
	el_wset(in->el, EL_SETTY, L"-d", L"-isig", L"-icrnl", L"-inlcr", NULL);
	el_wset(in->el, EL_SETTY, L"-x", L"-icanon", L"-echo", L"-icrnl", NULL);
}

struct chat_input *chat_input_new(void)
{
	struct chat_input *in = mem_zalloc(sizeof *in);
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8"))
		setlocale(LC_CTYPE, "C.UTF-8");
	in->plain = !cli_term_codes(STDOUT_FILENO);
	tcgetattr(STDIN_FILENO, &in->terminal);
	in->el = el_init("cria", stdin, stdout, stderr);
	BUG_ON(!in->el);
	el_wset(in->el, EL_CLIENTDATA, in);
	el_wset(in->el, EL_PROMPT, prompt);
	el_wset(in->el, EL_EDITOR, L"emacs");
	el_wset(in->el, EL_GETCFN, read_char);
	for (size_t i = 0; i < ARRAY_LEN(functions); i++)
		el_wset(in->el, EL_ADDFN, functions[i].name, functions[i].help, functions[i].fn);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		el_wset(in->el, EL_BIND, keys[i][0], keys[i][1], NULL);
	open_modes(in);
	open_history(in);
	open_signals(in);
	return in;
}

void chat_input_free(struct chat_input *in)
{
	el_end(in->el);
	history_wend(in->history);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &in->terminal);
	sigaction(SIGINT, &in->old_int, NULL);
	sigaction(SIGWINCH, &in->old_winch, NULL);
	mem_free(in->history_path);
	mem_free(in);
}

enum chat_input_result chat_input_read(struct chat_input *in, bool more, struct str *out)
{
	int n = 0;
	in->more = more;
	in->result = CHAT_INPUT_LINE;
	canceled = 0;
	str_clear(out);
	if (!in->plain)
		put("\033[?2004h");
	const wchar_t *line = el_wgets(in->el, &n);
	if (!in->plain)
		put("\033[?2004l");
	if (!line || n <= 0)
		return CHAT_INPUT_END;
	add_wide(out, line, (size_t)n - (line[n - 1] == '\n'));
	return in->result;
}
