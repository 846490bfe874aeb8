#include "cli/cli_term.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli_format.h"

enum { WRAP_MARGIN = 5, SPIN_MS = 100 };

bool cli_term_codes(int fd)
{
	const char *term = getenv("TERM");
	return isatty(fd) && term && *term && strcmp(term, "dumb");
}

int cli_columns(const char *text, size_t n)
{
	int columns = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		i += utf8_next(text + i, n - i, &cp);
		columns += utf8proc_charwidth((utf8proc_int32_t)cp);
	}
	return columns;
}

/* Width to wrap at; 0 on terminals too narrow for it to help. */
static int terminal_width(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col <= 4 * WRAP_MARGIN)
		return 0;
	return size.ws_col - WRAP_MARGIN;
}

void cli_wrap_init(struct cli_wrap *w, bool enabled)
{
	*w = (struct cli_wrap){.out = stdout, .follow = enabled && isatty(STDOUT_FILENO)};
}

static void new_line(struct cli_wrap *w)
{
	fputc('\n', w->out);
	w->column = 0;
}

static void put_word(struct cli_wrap *w)
{
	if (w->column && w->width && !w->glued && w->column + w->word_columns > w->width)
		new_line(w);
	fwrite(str_cstr(&w->word), 1, w->word.len, w->out);
	w->column += w->word_columns;
	w->word_columns = 0;
	w->glued = false;
	str_clear(&w->word);
}

static void put_blank(struct cli_wrap *w)
{
	if (w->width && w->column + 1 >= w->width) {
		new_line(w);
	} else {
		fputc(' ', w->out);
		w->column++;
	}
}

/* Takes one character of n bytes. */
static void wrap_char(struct cli_wrap *w, const char *s, size_t n)
{
	int columns = cli_columns(s, n);
	if (*s == ' ' || *s == '\n') {
		put_word(w);
		if (*s == ' ')
			put_blank(w);
		else
			new_line(w);
		return;
	}
	/* Scripts with wide characters have no blanks between words: a line may end before and after each of them. A word as
	 * long as a line is not held back any longer, and stays in one piece. */
	if (columns > 1) {
		put_word(w);
	} else if (w->word_columns + columns > w->width) {
		put_word(w);
		w->glued = true;
	}
	str_add(&w->word, s, n);
	w->word_columns += columns;
	if (columns > 1)
		put_word(w);
}

void cli_wrap_text(struct cli_wrap *w, const char *text)
{
	size_t n = strlen(text);
	if (w->follow)
		w->width = terminal_width();
	if (!w->width) {
		put_word(w);
		fwrite(text, 1, n, w->out);
	}
	for (size_t i = 0, len; w->width && i < n; i += len) {
		uint32_t cp;
		len = utf8_next(text + i, n - i, &cp);
		wrap_char(w, text + i, len);
	}
	fflush(w->out);
}

void cli_wrap_flush(struct cli_wrap *w)
{
	put_word(w);
	fflush(w->out);
}

void cli_wrap_release(struct cli_wrap *w)
{
	str_release(&w->word);
}

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool running;
	char label[80];
} spin = {.lock = PTHREAD_MUTEX_INITIALIZER, .stop = PTHREAD_COND_INITIALIZER};

static void *spin_main(void *unused)
{
	static const char *const frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
	pthread_mutex_lock(&spin.lock);
	for (unsigned i = 0; spin.running; i++) {
		int64_t until = clock_wall_ns() + SPIN_MS * NS_PER_MS;
		struct timespec t = {until / NS_PER_S, until % NS_PER_S};
		fprintf(stderr, "\r%s%s%s \033[K", spin.label, *spin.label ? " " : "", frames[i % 10]);
		fflush(stderr);
		pthread_cond_timedwait(&spin.stop, &spin.lock, &t);
	}
	fprintf(stderr, "\r\033[K");
	fflush(stderr);
	pthread_mutex_unlock(&spin.lock);
	return unused;
}

void cli_spin_start(const char *label)
{
	if (!cli_term_codes(STDERR_FILENO) || spin.running)
		return;
	snprintf(spin.label, sizeof spin.label, "%s", label);
	spin.running = true;
	if (pthread_create(&spin.thread, NULL, spin_main, NULL))
		spin.running = false;
}

void cli_spin_stop(void)
{
	pthread_mutex_lock(&spin.lock);
	bool was = spin.running;
	spin.running = false;
	pthread_cond_signal(&spin.stop);
	pthread_mutex_unlock(&spin.lock);
	if (was)
		pthread_join(spin.thread, NULL);
}

void cli_progress(const char *label, long long done, long long total)
{
	static int64_t last_ns;
	int64_t now = clock_now_ns();
	char a[CLI_TEXT_BYTES], b[CLI_TEXT_BYTES];
	if (!cli_term_codes(STDERR_FILENO) || (done < total && now - last_ns < SPIN_MS * NS_PER_MS))
		return;
	last_ns = now;
	cli_size_text(done, a);
	cli_size_text(total, b);
	fprintf(stderr, "\r%s: %3.0f%% %s/%s\033[K%s", label, total ? 100.0 * (double)done / (double)total : 100.0, a, b,
		done >= total ? "\n" : "");
	fflush(stderr);
}
