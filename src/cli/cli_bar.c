#include "cli/cli_bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli_format.h"
#include "cli/cli_term.h"

enum { DRAW_MS = 100, COLUMNS_DEFAULT = 80, BAR_MIN = 5 };

static int columns(void)
{
	struct winsize size;
	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? COLUMNS_DEFAULT : size.ws_col;
}

/* "1h2m", "3m20s", "12s" */
static void eta_text(int64_t s, char out[CLI_TEXT_BYTES])
{
	if (s >= 3600)
		snprintf(out, CLI_TEXT_BYTES, "%lldh%lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
	else if (s >= 60)
		snprintf(out, CLI_TEXT_BYTES, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
	else
		snprintf(out, CLI_TEXT_BYTES, "%llds", (long long)s);
}

void cli_bar_text(const struct cli_bar *b, int64_t now_ns, int n_column, struct str *out)
{
	struct str left = {0}, right = {0};
	char done[CLI_TEXT_BYTES], total[CLI_TEXT_BYTES], rate[CLI_TEXT_BYTES], eta[CLI_TEXT_BYTES];
	double share = b->total ? (double)b->done / (double)b->total : 1.0, s = (double)(now_ns - b->first_ns) / 1e9;
	double per_s = s > 0.5 ? (double)(b->done - b->first_done) / s : 0;
	cli_size_text(b->done, done);
	cli_size_text(b->total, total);
	cli_size_text((int64_t)per_s, rate);
	str_printf(&left, "%s: %3.0f%% ", b->label, 100 * (share > 1 ? 1 : share));
	if (b->done >= b->total) {
		str_printf(&right, " %s", total);
	} else if (per_s >= 1) {
		eta_text((int64_t)((double)(b->total - b->done) / per_s), eta);
		str_printf(&right, " %s/%s  %s/s  %6s", done, total, rate, eta);
	} else {
		str_printf(&right, " %s/%s", done, total);
	}
	int width = n_column - cli_columns(left.data, left.len) - cli_columns(right.data, right.len) - 3;
	str_adds(out, left.data);
	if (width >= BAR_MIN) {
		int full = (int)(share * width);
		str_adds(out, "▕");
		for (int i = 0; i < width; i++)
			str_adds(out, i < full ? "█" : " ");
		str_adds(out, "▏");
	}
	str_adds(out, right.data);
	str_release(&left);
	str_release(&right);
}

static void draw(struct cli_bar *b)
{
	struct str text = {0};
	b->drawn_ns = clock_now_ns();
	cli_bar_text(b, b->drawn_ns, columns(), &text);
	fprintf(stderr, "\r%s\033[K", text.data);
	fflush(stderr);
	str_release(&text);
}

void cli_bar_end(struct cli_bar *b)
{
	if (!*b->label)
		return;
	if (cli_term_codes(STDERR_FILENO)) {
		if (b->bytes) {
			draw(b);
			fputc('\n', stderr);
		} else {
			cli_spin_stop();
			fprintf(stderr, "%s\n", b->label);
		}
	}
	*b->label = '\0';
}

/* A new line begins when the words change. */
static bool begin(struct cli_bar *b, const char *label)
{
	if (!strcmp(b->label, label))
		return false;
	cli_bar_end(b);
	*b = (struct cli_bar){0};
	snprintf(b->label, sizeof b->label, "%s", label);
	if (!cli_term_codes(STDERR_FILENO))
		fprintf(stderr, "%s\n", b->label);
	return true;
}

void cli_bar_bytes(struct cli_bar *b, const char *label, int64_t done, int64_t total)
{
	if (begin(b, label)) {
		b->first_done = done;
		b->first_ns = clock_now_ns();
	}
	b->bytes = true;
	b->done = done;
	b->total = total;
	if (cli_term_codes(STDERR_FILENO) && clock_now_ns() - b->drawn_ns >= DRAW_MS * NS_PER_MS)
		draw(b);
}

bool cli_bar_line(void *user, const json_t *obj)
{
	struct cli_bar *b = user;
	const char *status = json_string_value(json_get(obj, "status"));
	json_int_t total = json_integer_value(json_get(obj, "total"));
	if (!status)
		return true;
	if (total > 0)
		cli_bar_bytes(b, status, json_integer_value(json_get(obj, "completed")), total);
	else if (begin(b, status))
		cli_spin_start(status);
	return true;
}
