#include "cli/cli_term.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli_format.h"

enum { WRAP_MARGIN = 5, SPIN_MS = 100 };

void cli_wrap_init(struct cli_wrap *w, bool enabled)
{
	struct winsize size;
	*w = (struct cli_wrap){0};
	if (enabled && isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > 4 * WRAP_MARGIN)
		w->width = size.ws_col - WRAP_MARGIN;
}

static void put_word(struct cli_wrap *w)
{
	int n = (int)utf8_count(str_cstr(&w->word), w->word.len);
	if (w->column && w->column + n > w->width) {
		putchar('\n');
		w->column = 0;
	}
	fwrite(str_cstr(&w->word), 1, w->word.len, stdout);
	w->column += n;
	str_clear(&w->word);
}

void cli_wrap_text(struct cli_wrap *w, const char *text)
{
	if (!w->width) {
		fputs(text, stdout);
		fflush(stdout);
		return;
	}
	for (; *text; text++) {
		if (*text != ' ' && *text != '\n') {
			str_addc(&w->word, *text);
			continue;
		}
		put_word(w);
		if (*text == '\n' || w->column + 1 >= w->width) {
			putchar('\n');
			w->column = 0;
		} else {
			putchar(' ');
			w->column++;
		}
	}
	fflush(stdout);
}

void cli_wrap_end(struct cli_wrap *w)
{
	if (w->width)
		put_word(w);
	str_release(&w->word);
	fflush(stdout);
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
	if (!isatty(STDERR_FILENO) || spin.running)
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
	if (!isatty(STDERR_FILENO) || (done < total && now - last_ns < SPIN_MS * NS_PER_MS))
		return;
	last_ns = now;
	cli_size_text(done, a);
	cli_size_text(total, b);
	fprintf(stderr, "\r%s: %3.0f%% %s/%s\033[K%s", label, total ? 100.0 * (double)done / (double)total : 100.0, a, b,
		done >= total ? "\n" : "");
	fflush(stderr);
}
