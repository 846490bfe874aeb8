/* Quantized matrix product for many tokens, part of qmul_body.h on levels with VNNI. A piece of a strip (WIDE_VEC vectors of
 * rows, WIDE_BLK blocks of inputs) is unpacked once to bytes q + 128 and float scales, in the first-level cache, and
 * then meets all tokens in tiles of WIDE_VEC vectors and up to WIDE_COL tokens. Every float step is the one of `tile`: the same
 * bits, whichever of the two computes a token.
 *
 * A piece: for each block 8 groups of WIDE_VEC vectors of quants, then WIDE_VEC vectors of each scale.
 *
 * Between two pieces of a strip the sums wait in y. */

enum {
	WIDE_ROWS = WIDE_VEC * LANES,
	WIDE_BLK = 18,      /* 576 inputs: 18 KiB of quants and up to 9 of scales beside the tile's activations */
	VEC_BYTES = LANES * 4,
	WIDE_Q_BYTES = GROUPS * WIDE_VEC * VEC_BYTES,
	WIDE_BLK_BYTES = WIDE_Q_BYTES + 4 * WIDE_VEC * VEC_BYTES,
	WIDE_MIN = 8,     /* tokens from which unpacking apart pays */
	WIDE_RUN_BYTES = 768 * 1024, /* of activations: they stay in the second-level cache while strips pass */
	WIDE_RUN_MIN = 64,
};

struct wide {
	const uint8_t *piece;
	int n_blk;          /* of the piece */
	const uint8_t *act; /* at the piece's first block */
	size_t act_stride;
	float *y;           /* first token's first row */
	size_t y_stride;
	const float *bias;  /* [n_row], with the last piece only; or NULL */
	int n_row;          /* of WIDE_ROWS */
	/* Lines to fetch while this tile is computed, from each of the vectors' strips: a share of the next piece. */
	const uint8_t *ahead[WIDE_VEC];
	int n_ahead, per_blk;
	bool first;         /* sums start at zero */
};

INLINE int n_scales(const enum panel_scales kind)
{
	return kind == PANEL_PLAIN ? 1 : kind == PANEL_HALF_MIN ? 4 : 2;
}

/* One block of one vector of rows; `to` is the piece's block, v the vector. */
INLINE void unpack(uint8_t *to, const int v, const uint8_t *q, struct scales s, const int bits, const int offset,
		   const enum panel_scales kind)
{
	const int shift = offset && bits < 8 ? 128 - offset : 0;
UNROLL
	for (int g = 0; g < GROUPS; g++) {
		vi w = group(q, bits, g);
		vi_store(to + (g * WIDE_VEC + v) * VEC_BYTES, shift ? vi_add8(w, vi_set8(shift)) : w);
	}
	float *d = (float *)(void *)(to + WIDE_Q_BYTES) + v * LANES;
	vf_store(d, s.d0);
	if (kind == PANEL_MIN || kind == PANEL_K_MIN)
		vf_store(d + WIDE_ROWS, s.m0);
	if (kind == PANEL_HALF || kind == PANEL_HALF_MIN)
		vf_store(d + WIDE_ROWS, s.d1);
	if (kind == PANEL_HALF_MIN) {
		vf_store(d + 2 * WIDE_ROWS, s.m0);
		vf_store(d + 3 * WIDE_ROWS, s.m1);
	}
}

/* Blocks [b0, b1) of a vector of rows: strip at q and s, first row row0 in it. The scales of the next piece, at
 * ahead_s, are fetched now; its quants, many lines, while the tiles are computed. */
INLINE void unpack_blocks(uint8_t *piece, const int v, const uint8_t *q, const uint8_t *s, int row0, int64_t b0, int64_t b1,
			  const uint8_t *ahead_s, const int bits, const int offset, const int unit, const int unit_bytes,
			  const enum panel_scales kind)
{
	const int per_unit = unit / PANEL_BLK, has_min = kind == PANEL_MIN || kind == PANEL_K_MIN || kind == PANEL_HALF_MIN;
	const vf sign = vf_set(kind == PANEL_MIN ? 1.0f : -1.0f);
	const size_t blk_bytes = WIDE_Q_BYTES + (size_t)n_scales(kind) * WIDE_VEC * VEC_BYTES;
	q += (size_t)b0 * panel_blk_bytes(bits) + 4 * (size_t)row0;
	s += (size_t)(b0 / per_unit) * (size_t)unit_bytes;
	for (int64_t b = b0; b < b1; b += per_unit, s += unit_bytes) {
		for (int i = 0; i < unit_bytes; i += 64, ahead_s += 64)
			_mm_prefetch((const char *)ahead_s, _MM_HINT_T0);
		vf d = vf_from_f16(s + 2 * row0);
		vf dmin = has_min ? vf_mul(sign, vf_from_f16(s + 2 * PANEL_ROWS + 2 * row0)) : vf_set(0.0f);
		const uint8_t *p = s + (has_min ? 4 : 2) * PANEL_ROWS + row0;
		for (int sub = 0; sub < per_unit; sub++, q += panel_blk_bytes(bits), p += 2 * PANEL_ROWS, piece += blk_bytes)
			unpack(piece, v, q, load_scales(p, kind, d, dmin), bits, offset, kind);
	}
}

INLINE void wide_sums(vi acc[WIDE_VEC][WIDE_COL], const uint8_t *w, const struct act_blk *const *a, int b, const int g0, const int g1,
		      const int n_vec, const int n_col)
{
UNROLL
	for (int g = g0; g < g1; g++) {
		vi q[WIDE_VEC];
UNROLL
		for (int v = 0; v < n_vec; v++)
			q[v] = vi_load(w + (g * WIDE_VEC + v) * VEC_BYTES);
UNROLL
		for (int c = 0; c < n_col; c++) {
			vi x = bcast4(a[c][b].q + 4 * g);
UNROLL
			for (int v = 0; v < n_vec; v++)
				acc[v][c] = vi_dot(acc[v][c], q[v], x);
		}
	}
}

INLINE void wide_block(vf f[WIDE_VEC][WIDE_COL], const uint8_t *w, const struct act_blk *const *a, int b, const int offset,
		       const enum panel_scales kind, const int n_vec, const int n_col)
{
	const int halves = kind == PANEL_HALF || kind == PANEL_HALF_MIN, mins = kind == PANEL_MIN || kind == PANEL_K_MIN;
	const float *s = (const float *)(const void *)(w + WIDE_Q_BYTES);
	vi acc[WIDE_VEC][WIDE_COL];
	vf t[WIDE_VEC][WIDE_COL];
UNROLL
	for (int c = 0; c < n_col; c++)
UNROLL
		for (int v = 0; v < n_vec; v++)
			acc[v][c] = offset ? vi_set32(halves ? a[c][b].off_half[0] : a[c][b].off) : vi_zero();
	wide_sums(acc, w, a, b, 0, halves ? GROUPS / 2 : GROUPS, n_vec, n_col);
UNROLL
	for (int v = 0; v < n_vec; v++)
UNROLL
		for (int c = 0; c < n_col; c++)
			t[v][c] = vf_mul(vf_from_i32(acc[v][c]), vf_load(s + v * LANES));
	if (halves) {
UNROLL
		for (int c = 0; c < n_col; c++)
UNROLL
			for (int v = 0; v < n_vec; v++)
				acc[v][c] = offset ? vi_set32(a[c][b].off_half[1]) : vi_zero();
		wide_sums(acc, w, a, b, GROUPS / 2, GROUPS, n_vec, n_col);
UNROLL
		for (int v = 0; v < n_vec; v++)
UNROLL
			for (int c = 0; c < n_col; c++)
				t[v][c] = vf_fma(vf_from_i32(acc[v][c]), vf_load(s + WIDE_ROWS + v * LANES), t[v][c]);
	}
UNROLL
	for (int c = 0; c < n_col; c++)
UNROLL
		for (int v = 0; v < n_vec; v++) {
			if (mins)
				t[v][c] = vf_fma(vf_set(a[c][b].sum), vf_load(s + WIDE_ROWS + v * LANES), t[v][c]);
			if (kind == PANEL_HALF_MIN) {
				t[v][c] = vf_fma(vf_set(a[c][b].half[0]), vf_load(s + 2 * WIDE_ROWS + v * LANES), t[v][c]);
				t[v][c] = vf_fma(vf_set(a[c][b].half[1]), vf_load(s + 3 * WIDE_ROWS + v * LANES), t[v][c]);
			}
			f[v][c] = vf_fma(t[v][c], vf_set(a[c][b].d), f[v][c]);
		}
}

INLINE vf load_rows(const float *p, int n)
{
	return n >= LANES ? vf_load(p) : n > 0 ? vf_load_part(p, n) : vf_set(0.0f);
}

INLINE void store_rows(float *p, vf v, int n)
{
	if (n >= LANES)
		vf_store(p, v);
	else if (n > 0)
		vf_store_part(p, v, n);
}

INLINE void wide_tile(const struct wide *t, const int offset, const enum panel_scales kind, const int n_vec, const int n_col)
{
	const struct act_blk *a[WIDE_COL];
	vf f[WIDE_VEC][WIDE_COL];
	const size_t blk_bytes = WIDE_Q_BYTES + (size_t)n_scales(kind) * WIDE_VEC * VEC_BYTES;
UNROLL
	for (int c = 0; c < n_col; c++) {
		a[c] = (const void *)(t->act + (size_t)c * t->act_stride);
UNROLL
		for (int v = 0; v < n_vec; v++)
			f[v][c] = t->first ? vf_set(0.0f) : load_rows(t->y + (size_t)c * t->y_stride + v * LANES, t->n_row - v * LANES);
	}
	const uint8_t *w = t->piece;
	int n_ahead = 0;
	for (int b = 0; b < t->n_blk; b++, w += blk_bytes) {
		for (int i = 0; i < t->per_blk && n_ahead < t->n_ahead; i++, n_ahead++)
			for (int v = 0; v < n_vec; v++)
				_mm_prefetch((const char *)t->ahead[v] + (size_t)n_ahead * PANEL_PLANE, _MM_HINT_T0);
		wide_block(f, w, a, b, offset, kind, n_vec, n_col);
	}
UNROLL
	for (int c = 0; c < n_col; c++)
UNROLL
		for (int v = 0; v < n_vec; v++) {
			int n = t->n_row - v * LANES;
			vf x = t->bias ? vf_add(f[v][c], load_rows(t->bias + v * LANES, n)) : f[v][c];
			store_rows(t->y + (size_t)c * t->y_stride + v * LANES, x, n);
		}
}

typedef void wide_fn(const struct wide *t);

/* One function per way to scale, number of vectors and number of tokens. */
#define WIDE_FN(name, offset, kind, n)                                                                                 \
	static void wide_##name##_##n(const struct wide *t)                                                            \
	{                                                                                                              \
		if (t->n_row > LANES * (WIDE_VEC - 1))                                                                 \
			wide_tile(t, offset, kind, WIDE_VEC, n);                                                       \
		else                                                                                                   \
			wide_tile(t, offset, kind, 1, n);                                                              \
	}
#if WIDE_COL > 4
#define WIDE_FNS(name, offset, kind)                                                                                   \
	WIDE_FN(name, offset, kind, 1) WIDE_FN(name, offset, kind, 2) WIDE_FN(name, offset, kind, 3)                   \
	WIDE_FN(name, offset, kind, 4) WIDE_FN(name, offset, kind, 5) WIDE_FN(name, offset, kind, 6)                   \
	static wide_fn *const wide_##name[] = {wide_##name##_1, wide_##name##_2, wide_##name##_3,                      \
					       wide_##name##_4, wide_##name##_5, wide_##name##_6};
#elif WIDE_COL > 2
#define WIDE_FNS(name, offset, kind)                                                                                   \
	WIDE_FN(name, offset, kind, 1) WIDE_FN(name, offset, kind, 2)                                                  \
	WIDE_FN(name, offset, kind, 3) WIDE_FN(name, offset, kind, 4)                                                  \
	static wide_fn *const wide_##name[] = {wide_##name##_1, wide_##name##_2, wide_##name##_3, wide_##name##_4};
#else
#define WIDE_FNS(name, offset, kind)                                                                                   \
	WIDE_FN(name, offset, kind, 1) WIDE_FN(name, offset, kind, 2)                                                  \
	static wide_fn *const wide_##name[] = {wide_##name##_1, wide_##name##_2};
#endif
WIDE_FNS(plain, 1, PANEL_PLAIN)
WIDE_FNS(min, 0, PANEL_MIN)
WIDE_FNS(half, 1, PANEL_HALF)
WIDE_FNS(half_min, 0, PANEL_HALF_MIN)

INLINE wide_fn *const *wide_fns(const enum panel_scales kind)
{
	return kind == PANEL_PLAIN ? wide_plain : kind == PANEL_HALF ? wide_half : kind == PANEL_HALF_MIN ? wide_half_min : wide_min;
}

/* Rows [r0, r1) of w times tokens whose activations stay in the second-level cache. */
INLINE void wide_run(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok, float *y,
		     size_t y_stride, const float *bias, size_t strip, size_t n_q, const int bits, const int offset, const int unit,
		     const int unit_bytes, const enum panel_scales kind)
{
	_Alignas(64) uint8_t piece[WIDE_BLK * WIDE_BLK_BYTES];
	wide_fn *const *fns = wide_fns(kind);
	const int per_unit = unit / PANEL_BLK;
	int64_t n_unit = w->n_in / unit, most = WIDE_BLK / per_unit;
	int64_t n_piece = (n_unit + most - 1) / most, n_tile = (n_tok + WIDE_COL - 1) / WIDE_COL;
	struct wide t = {.piece = piece, .act_stride = act_stride, .y_stride = y_stride};
	for (int64_t r = r0; r < r1; r += WIDE_ROWS)
		for (int64_t i = 0; i < n_piece; i++) {
			int64_t b0 = n_unit * i / n_piece * per_unit, b1 = n_unit * (i + 1) / n_piece * per_unit;
			const uint8_t *next[WIDE_VEC];
			t.n_row = (int)(r1 - r < WIDE_ROWS ? r1 - r : WIDE_ROWS);
UNROLL
			for (int v = 0; v < WIDE_VEC; v++) {
				int64_t row = r + v * LANES;
				const uint8_t *q = w->panel + (size_t)(row / PANEL_ROWS) * strip;
				/* What comes next for these rows: the strip's next piece, or the next strips' first. */
				const uint8_t *to = i + 1 < n_piece ? q : q + (WIDE_ROWS + PANEL_ROWS - 1) / PANEL_ROWS * strip;
				int64_t to_b = i + 1 < n_piece ? b1 : 0;
				next[v] = to + (size_t)to_b * panel_blk_bytes(bits);
				if (row < r1)
					unpack_blocks(piece, v, q, q + n_q, (int)(row % PANEL_ROWS), b0, b1,
						      to + n_q + (size_t)(to_b / per_unit) * (size_t)unit_bytes, bits, offset, unit,
						      unit_bytes, kind);
			}
			t.n_blk = (int)(b1 - b0);
			t.n_ahead = (int)((t.n_blk * bits + n_tile - 1) / n_tile);
			t.per_blk = (t.n_ahead + t.n_blk - 1) / t.n_blk;
			t.first = i == 0;
			t.bias = bias && i == n_piece - 1 ? bias + r : NULL;
			for (int64_t j = 0; j < n_tile; j++) {
				int64_t c0 = n_tok * j / n_tile, c1 = n_tok * (j + 1) / n_tile;
				t.act = act + (size_t)c0 * act_stride + (size_t)b0 * sizeof(struct act_blk);
				t.y = y + (size_t)c0 * y_stride + r;
				for (int v = 0; v < WIDE_VEC; v++)
					t.ahead[v] = next[v] + (size_t)j * (size_t)t.n_ahead * PANEL_PLANE;
				fns[c1 - c0 - 1](&t);
			}
		}
}

/* The same for any number of tokens. */
INLINE void wide_mul(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok, float *y,
		     size_t y_stride, const float *bias, size_t strip, size_t n_q, const int bits, const int offset, const int unit,
		     const int unit_bytes, const enum panel_scales kind)
{
	int64_t most = (int64_t)(WIDE_RUN_BYTES / act_stride);
	int64_t n_run = most < WIDE_RUN_MIN ? (n_tok + WIDE_RUN_MIN - 1) / WIDE_RUN_MIN : (n_tok + most - 1) / most;
	for (int64_t i = 0; i < n_run; i++) {
		int64_t c0 = n_tok * i / n_run, c1 = n_tok * (i + 1) / n_run;
		wide_run(w, r0, r1, act + (size_t)c0 * act_stride, act_stride, c1 - c0, y + (size_t)c0 * y_stride, y_stride, bias, strip,
			 n_q, bits, offset, unit, unit_bytes, kind);
	}
}
