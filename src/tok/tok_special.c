/* Cutting text at special tokens: a trie over their texts, walked at every place of the text. The longest token at the
 * leftmost place wins. The cost grows with the text and the longest special token, not with their number. */
#include "tok/tok_priv.h"

/* Longer texts are no special tokens that anybody writes; the bound keeps the walk short. */
enum { SPECIAL_MAX_BYTES = 1024 };

struct node {
	int32_t child, next; /* first child, next sibling; 0 = none */
	int32_t id;          /* the token that ends here, or -1 */
	unsigned char byte;
};

struct tok_special {
	VEC(struct node) nodes; /* nodes[0] is unused, so that 0 can mean none */
	int32_t root[256];
};

static int32_t new_node(struct tok_special *sp, unsigned char byte)
{
	struct node n = {.id = -1, .byte = byte};
	vec_push(&sp->nodes, n);
	return (int32_t)sp->nodes.n - 1;
}

static int32_t child_of(const struct tok_special *sp, int32_t i, unsigned char byte)
{
	const struct node *nodes = sp->nodes.data;
	for (i = nodes[i].child; i && nodes[i].byte != byte;)
		i = nodes[i].next;
	return i;
}

static void insert(struct tok_special *sp, const char *s, size_t n, int32_t id)
{
	int32_t i = sp->root[(unsigned char)s[0]];
	if (!i)
		i = sp->root[(unsigned char)s[0]] = new_node(sp, (unsigned char)s[0]);
	for (size_t k = 1; k < n; k++) {
		int32_t c = child_of(sp, i, (unsigned char)s[k]);
		if (!c) {
			c = new_node(sp, (unsigned char)s[k]);
			sp->nodes.data[c].next = sp->nodes.data[i].child;
			sp->nodes.data[i].child = c;
		}
		i = c;
	}
	if (sp->nodes.data[i].id < 0)
		sp->nodes.data[i].id = id;
}

/* The text of token id when it is one to cut at; else *ret_n is 0. */
static const char *special_text(const struct tok *t, int id, size_t *ret_n)
{
	uint8_t a = t->entries[id].attr;
	*ret_n = 0;
	if (a != TOK_CONTROL && a != TOK_UNKNOWN && a != TOK_USER)
		return NULL;
	const char *s = tok_table_text(&t->texts, id, ret_n);
	if (*ret_n > SPECIAL_MAX_BYTES)
		*ret_n = 0;
	return s;
}

int tok_special_new(const struct tok *t, struct tok_special **ret, struct err *err)
{
	size_t n_bytes = 1, n;
	for (int i = 0; i < t->n_vocab; i++) {
		special_text(t, i, &n);
		n_bytes += n;
	}
	if (n_bytes > INT32_MAX)
		return err_set(err, ERR_LIMIT, "the special tokens of the vocabulary have %zu bytes of text; at most 2 GiB are possible",
			n_bytes);
	struct tok_special *sp = mem_zalloc(sizeof *sp);
	new_node(sp, 0);
	for (int i = 0; i < t->n_vocab; i++) {
		const char *s = special_text(t, i, &n);
		if (n)
			insert(sp, s, n, i);
	}
	*ret = sp;
	return 0;
}

void tok_special_free(struct tok_special *sp)
{
	if (!sp)
		return;
	vec_release(&sp->nodes);
	mem_free(sp);
}

int tok_special_find(const struct tok *t, const char *s, size_t n, size_t from, bool parse, size_t *ret_at, size_t *ret_n)
{
	const struct tok_special *sp = t->special;
	for (size_t at = from; at < n; at++) {
		int best = -1;
		int32_t i = sp->root[(unsigned char)s[at]];
		for (size_t k = at + 1; i; k++) {
			int32_t id = sp->nodes.data[i].id;
			if (id >= 0 && (parse || t->entries[id].attr == TOK_USER)) {
				best = id;
				*ret_n = k - at;
			}
			i = k < n ? child_of(sp, i, (unsigned char)s[k]) : 0;
		}
		if (best >= 0) {
			*ret_at = at;
			return best;
		}
	}
	return -1;
}
