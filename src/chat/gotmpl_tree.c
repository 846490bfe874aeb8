/* What a parsed tree says: its text form for messages, the names it reads, where the model's answer goes, which tags
 * surround thinking and tool calls. The heuristics are those that decide how library models with Go templates behave. */
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "chat/gotmpl_ast.h"

/* ---- printing ---- */

enum { PRINT_MAX = 300 };

static void print_list(struct str *s, const struct gnode *n, uint32_t from, uint32_t to, const char *sep)
{
	for (uint32_t i = from; i < to && s->len < PRINT_MAX; i++) {
		if (i > from)
			str_adds(s, sep);
		bool paren = n->type == GN_COMMAND && n->kids[i]->type == GN_PIPE;
		str_adds(s, paren ? "(" : "");
		gnode_print(s, n->kids[i]);
		str_adds(s, paren ? ")" : "");
	}
}

static void print_names(struct str *s, const struct gnode *n, uint32_t from)
{
	for (uint32_t i = from; i < n->n && s->len < PRINT_MAX; i++) {
		str_addc(s, '.');
		str_add(s, n->names[i].p, n->names[i].n);
	}
}

static void print_pipe(struct str *s, const struct gnode *n)
{
	print_list(s, n, 0, n->n_decl, ", ");
	if (n->n_decl)
		str_adds(s, n->is_assign ? " = " : " := ");
	print_list(s, n, n->n_decl, n->n, " | ");
}

void gnode_print(struct str *s, const struct gnode *n)
{
	switch ((enum gnode_type)n->type) {
	case GN_PIPE:
		print_pipe(s, n);
		break;
	case GN_COMMAND:
		print_list(s, n, 0, n->n, " ");
		break;
	case GN_ACTION:
		str_adds(s, "{{");
		print_pipe(s, n->pipe);
		str_adds(s, "}}");
		break;
	case GN_TEMPLATE:
		str_adds(s, "{{template \"");
		str_add(s, n->text.p, n->text.n < 100 ? n->text.n : 100);
		str_adds(s, n->pipe ? "\" " : "\"");
		if (n->pipe)
			print_pipe(s, n->pipe);
		str_adds(s, "}}");
		break;
	case GN_FIELD:
		print_names(s, n, 0);
		break;
	case GN_VARIABLE:
		str_add(s, n->names[0].p, n->names[0].n);
		print_names(s, n, 1);
		break;
	case GN_CHAIN:
		str_adds(s, n->base->type == GN_PIPE ? "(" : "");
		gnode_print(s, n->base);
		str_adds(s, n->base->type == GN_PIPE ? ")" : "");
		print_names(s, n, 0);
		break;
	case GN_IDENT:
		str_add(s, n->text.p, n->text.n);
		break;
	case GN_STRING:
	case GN_NUMBER:
		str_add(s, n->src.p, n->src.n < PRINT_MAX ? n->src.n : PRINT_MAX);
		break;
	case GN_BOOL:
		str_adds(s, n->truth ? "true" : "false");
		break;
	case GN_NIL:
		str_adds(s, "nil");
		break;
	case GN_DOT:
		str_addc(s, '.');
		break;
	default: /* statements with bodies are shown by what they test */
		if (n->type == GN_IF || n->type == GN_WITH || n->type == GN_RANGE)
			print_pipe(s, n->pipe);
		break;
	}
}

static bool is_blank(struct gstr s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!s.p[i] || !strchr(" \t\r\n\v\f", s.p[i]))
			return false;
	return true;
}

bool gtree_empty(const struct gnode *n)
{
	if (n->type == GN_TEXT)
		return is_blank(n->text);
	if (n->type != GN_LIST)
		return false;
	for (uint32_t i = 0; i < n->n; i++)
		if (!gtree_empty(n->kids[i]))
			return false;
	return true;
}

/* ---- names ---- */

struct names {
	struct gotmpl *t;
	struct err *err;
	VEC(const char *) v;
};

static bool add_name(struct names *s, struct gstr name)
{
	char *low = arena_alloc(&s->t->arena, name.n * 2 + 8), *w = low;
	if (!low)
		return false;
	for (size_t i = 0; i < name.n;) {
		uint32_t cp;
		i += utf8_next(name.p + i, name.n - i, &cp);
		w += utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), w);
		if ((size_t)(w - low) > name.n * 2)
			break;
	}
	*w = '\0';
	vec_push(&s->v, low);
	return true;
}

/* Chains after parentheses and declared variables do not count, as in Ollama. */
static bool collect(struct names *s, const struct gnode *n)
{
	if (!n)
		return true;
	switch ((enum gnode_type)n->type) {
	case GN_TEMPLATE:
		if (!n->pipe) {
			err_set(s->err, ERR_INVALID, "undefined template specified");
			return false;
		}
		return collect(s, n->pipe);
	case GN_ACTION:
		return collect(s, n->pipe);
	case GN_IF:
	case GN_WITH:
	case GN_RANGE:
		return collect(s, n->pipe) && collect(s, n->list) && collect(s, n->else_list);
	case GN_LIST:
	case GN_PIPE:
	case GN_COMMAND:
		for (uint32_t i = n->n_decl; i < n->n; i++)
			if (!collect(s, n->kids[i]))
				return false;
		return true;
	case GN_FIELD:
	case GN_VARIABLE:
		for (uint32_t i = 0; i < n->n; i++)
			if (!add_name(s, n->names[i]))
				return err_set(s->err, ERR_LIMIT, "the template is too large"), false;
		return true;
	default:
		return true;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the names and drops those that are there twice. */
static bool settle(struct names *s)
{
	struct gotmpl *t = s->t;
	size_t k = 0;
	qsort(s->v.data, s->v.n, sizeof *s->v.data, by_name);
	for (size_t i = 0; i < s->v.n; i++)
		if (!k || strcmp(s->v.data[i], s->v.data[k - 1]) != 0)
			s->v.data[k++] = s->v.data[i];
	t->vars = arena_alloc(&t->arena, k * sizeof *t->vars);
	if (!t->vars)
		return err_set(s->err, ERR_LIMIT, "the template is too large"), false;
	memcpy(t->vars, s->v.data, k * sizeof *t->vars);
	t->n_vars = k;
	return true;
}

bool gtree_vars(struct gotmpl *t, struct err *err)
{
	struct names s = {.t = t, .err = err};
	bool ok = true;
	t->adds_answer = true;
	for (size_t i = 0; i < t->defs.n && ok; i++)
		ok = collect(&s, t->defs.data[i].root);
	for (size_t i = 0; i < s.v.n; i++)
		t->adds_answer &= strcmp(s.v.data[i], "messages") != 0 && strcmp(s.v.data[i], "response") != 0;
	if (t->adds_answer)
		vec_push(&s.v, "response");
	ok = ok && settle(&s);
	vec_release(&s.v);
	return ok;
}

/* ---- cutting after .Response ---- */

struct cut {
	struct arena *a;
	bool passed; /* .Response was seen: what follows goes */
	bool failed;
};

static struct gnode *cut_node(struct cut *c, const struct gnode *n);

static struct gnode *copy_of(struct cut *c, const struct gnode *n)
{
	struct gnode *copy = arena_alloc(c->a, sizeof *copy);
	if (!copy)
		c->failed = true;
	else
		*copy = *n;
	return copy;
}

/* A copy with the children that stay. */
static struct gnode *cut_kids(struct cut *c, const struct gnode *n)
{
	struct gnode *copy = copy_of(c, n);
	struct gnode **kids = copy ? arena_alloc(c->a, (n->n ? n->n : 1) * sizeof(struct gnode *)) : NULL;
	if (!kids) {
		c->failed = true;
		return NULL;
	}
	uint32_t k = 0;
	for (uint32_t i = 0; i < n->n && !c->failed; i++) {
		struct gnode *kid = i < n->n_decl ? n->kids[i] : cut_node(c, n->kids[i]);
		if (kid)
			kids[k++] = kid;
		else if (n->type == GN_PIPE)
			return NULL; /* a command that lost all its arguments takes the pipeline along */
	}
	copy->kids = kids;
	copy->n = k;
	return k > n->n_decl || n->type == GN_LIST ? copy : NULL;
}

/* The node without what comes after .Response in its order of reading; NULL: nothing stays. Conditions are not looked at. */
static struct gnode *cut_node(struct cut *c, const struct gnode *n)
{
	static const struct gnode nothing = {.type = GN_LIST};
	if (n->type == GN_FIELD)
		for (uint32_t i = 0; i < n->n; i++)
			if (gstr_eqz(n->names[i], "Response")) {
				c->passed = true;
				return copy_of(c, n);
			}
	if (c->passed)
		return NULL;
	switch ((enum gnode_type)n->type) {
	case GN_LIST:
	case GN_PIPE:
	case GN_COMMAND:
		return cut_kids(c, n);
	case GN_IF:
	case GN_WITH:
	case GN_RANGE: {
		struct gnode *copy = copy_of(c, n);
		if (!copy)
			return NULL;
		copy->list = cut_node(c, n->list);
		if (n->else_list && !(copy->else_list = cut_node(c, n->else_list)))
			copy->else_list = copy_of(c, &nothing);
		return copy;
	}
	case GN_ACTION: {
		struct gnode *pipe = cut_node(c, n->pipe), *copy = pipe ? copy_of(c, n) : NULL;
		if (copy)
			copy->pipe = pipe;
		return copy;
	}
	default:
		return copy_of(c, n);
	}
}

bool gtree_cut(struct gotmpl *t)
{
	struct cut c = {.a = &t->arena};
	t->cut = cut_node(&c, t->root);
	return !c.failed;
}

/* ---- tags ---- */

static const char *trimmed(struct gotmpl *t, struct gstr s)
{
	while (s.n && is_blank((struct gstr){s.p, 1})) {
		s.p++;
		s.n--;
	}
	while (s.n && is_blank((struct gstr){s.p + s.n - 1, 1}))
		s.n--;
	return arena_strndup(&t->arena, s.p, s.n);
}

static bool range_over(const struct gnode *n, const char *field)
{
	if (n->type == GN_FIELD)
		return gstr_eqz(n->names[0], field);
	if (n->type == GN_PIPE || n->type == GN_COMMAND)
		for (uint32_t i = n->n_decl; i < n->n; i++)
			if (range_over(n->kids[i], field))
				return true;
	return false;
}

struct think {
	const struct gnode *list;  /* the nearest one around */
	const struct gnode *range; /* the same */
	struct gstr open, close;
};

/* Every place that reads .Thinking inside a range over .Messages: the list around it begins and ends with the tags. */
static void find_think(struct think *s, const struct gnode *n)
{
	struct think in = *s;
	if (!n)
		return;
	switch ((enum gnode_type)n->type) {
	case GN_FIELD:
		if (!gstr_eqz(n->names[0], "Thinking") || !s->range || !range_over(s->range->pipe, "Messages") || !s->list->n)
			break;
		if (s->list->kids[0]->type == GN_TEXT)
			s->open = s->list->kids[0]->text;
		if (s->list->kids[s->list->n - 1]->type == GN_TEXT)
			s->close = s->list->kids[s->list->n - 1]->text;
		break;
	case GN_LIST:
	case GN_PIPE:
	case GN_COMMAND:
		if (n->type == GN_LIST)
			in.list = n;
		for (uint32_t i = n->n_decl; i < n->n; i++)
			find_think(&in, n->kids[i]);
		break;
	case GN_RANGE:
		in.range = n;
		/* fall through */
	case GN_IF:
	case GN_WITH:
		find_think(&in, n->pipe);
		find_think(&in, n->list);
		find_think(&in, n->else_list);
		break;
	case GN_ACTION:
	case GN_TEMPLATE:
		find_think(&in, n->pipe);
		break;
	default:
		break;
	}
	if (n->type != GN_FIELD) {
		s->open = in.open;
		s->close = in.close;
	}
}

static bool reads_calls(const struct gnode *pipe)
{
	for (uint32_t c = pipe->n_decl; c < pipe->n; c++)
		for (uint32_t a = 0; a < pipe->kids[c]->n; a++) {
			const struct gnode *arg = pipe->kids[c]->kids[a];
			for (uint32_t i = 0; arg->type == GN_FIELD && i < arg->n; i++)
				if (gstr_eqz(arg->names[i], "ToolCalls"))
					return true;
		}
	return false;
}

/* The first `if` on .ToolCalls. */
static const struct gnode *find_calls(const struct gnode *n)
{
	const struct gnode *found = NULL;
	if (!n)
		return NULL;
	if (n->type == GN_IF && reads_calls(n->pipe))
		return n;
	if (n->type == GN_LIST)
		for (uint32_t i = 0; i < n->n && !found; i++)
			found = find_calls(n->kids[i]);
	if (n->type == GN_IF || n->type == GN_RANGE || n->type == GN_WITH) {
		found = find_calls(n->list);
		if (!found)
			found = find_calls(n->else_list);
	}
	return found;
}

/* The first text that is not blank; an action or a finished block before it ends the search (*ret_end). */
static const struct gnode *first_text(const struct gnode *list, bool *ret_end)
{
	for (uint32_t i = 0; list && i < list->n && !*ret_end; i++) {
		const struct gnode *n = list->kids[i], *found;
		if (n->type == GN_TEXT && !is_blank(n->text))
			return n;
		if (n->type == GN_IF || n->type == GN_RANGE || n->type == GN_WITH) {
			bool inner = false;
			found = first_text(n->list, &inner);
			inner = false;
			if (!found)
				found = first_text(n->else_list, &inner);
			*ret_end = true;
			return found;
		}
		*ret_end = n->type == GN_ACTION;
	}
	return NULL;
}

bool gtree_infer(struct gotmpl *t)
{
	struct think s = {.list = t->root, .open = {"", 0}, .close = {"", 0}};
	bool end = false;
	find_think(&s, t->root);
	const struct gnode *calls = find_calls(t->root), *text = calls ? first_text(calls->list, &end) : NULL;
	t->tags = (struct gotmpl_tags){trimmed(t, s.open), trimmed(t, s.close), "{"};
	if (text) {
		const char *brace = memchr(text->text.p, '{', text->text.n);
		struct gstr tag = {text->text.p, brace ? (size_t)(brace - text->text.p) : text->text.n};
		struct str lf = {0}; /* with the line ends of Unix */
		for (size_t i = 0; i < tag.n; i++)
			if (tag.p[i] != '\r' || i + 1 == tag.n || tag.p[i + 1] != '\n')
				str_addc(&lf, tag.p[i]);
		t->tags.tool_tag = trimmed(t, (struct gstr){str_cstr(&lf), lf.len});
		if (t->tags.tool_tag && !*t->tags.tool_tag)
			t->tags.tool_tag = "{";
		str_release(&lf);
	}
	return t->tags.think_open && t->tags.think_close && t->tags.tool_tag;
}
