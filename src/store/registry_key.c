/* The ed25519 key by which ollama.com's registry knows its users: an OpenSSH private key file without a passphrase, at
 * Ollama's place, so that both programs are one user. Format: PROTOCOL.key of OpenSSH. */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/registry_priv.h"

#define PEM_BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----"
#define PEM_END "-----END OPENSSH PRIVATE KEY-----"
#define KEY_MAGIC "openssh-key-v1" /* with its NUL */
#define KEY_TYPE "ssh-ed25519"

enum { KEY_FILE_MAX = 16384 };

struct key {
	unsigned char pub[32], seed[32];
};

/* ---- base64 ---- */

static void base64_add(struct str *out, const void *data, size_t n)
{
	gnutls_datum_t in = {.data = (unsigned char *)data, .size = (unsigned)n}, text = {0};
	BUG_ON(gnutls_base64_encode2(&in, &text));
	str_add(out, text.data, text.size);
	gnutls_free(text.data);
}

/* ---- the file ---- */

static void put_u32(struct str *out, size_t v)
{
	unsigned char b[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
	str_add(out, b, 4);
}

static void put_bytes(struct str *out, const void *p, size_t n)
{
	put_u32(out, n);
	str_add(out, p, n);
}

struct reader {
	const unsigned char *p;
	size_t n;
	bool bad;
};

static uint32_t get_u32(struct reader *r)
{
	if (r->n < 4) {
		r->bad = true;
		return 0;
	}
	uint32_t v = (uint32_t)r->p[0] << 24 | (uint32_t)r->p[1] << 16 | (uint32_t)r->p[2] << 8 | r->p[3];
	r->p += 4;
	r->n -= 4;
	return v;
}

static struct reader get_bytes(struct reader *r)
{
	size_t n = get_u32(r);
	if (n > r->n) {
		r->bad = true;
		n = 0;
	}
	struct reader out = {.p = r->p, .n = n};
	r->p += n;
	r->n -= n;
	return out;
}

static bool is_text(const struct reader *r, const char *z)
{
	return r->n == strlen(z) && !memcmp(r->p, z, r->n);
}

/* The binary part: magic, cipher, KDF, one public key, one private section. */
static bool parse_binary(const unsigned char *p, size_t n, struct key *ret)
{
	struct reader r = {p, n, false};
	if (n < sizeof KEY_MAGIC || memcmp(p, KEY_MAGIC, sizeof KEY_MAGIC))
		return false;
	r.p += sizeof KEY_MAGIC;
	r.n -= sizeof KEY_MAGIC;
	struct reader cipher = get_bytes(&r), kdf = get_bytes(&r);
	get_bytes(&r);
	if (!is_text(&cipher, "none") || !is_text(&kdf, "none") || get_u32(&r) != 1)
		return false;
	get_bytes(&r);
	struct reader priv = get_bytes(&r);
	uint32_t check = get_u32(&priv);
	if (r.bad || check != get_u32(&priv))
		return false;
	struct reader type = get_bytes(&priv), pub = get_bytes(&priv), both = get_bytes(&priv);
	if (priv.bad || !is_text(&type, KEY_TYPE) || pub.n != 32 || both.n != 64 || memcmp(both.p + 32, pub.p, 32))
		return false;
	memcpy(ret->pub, pub.p, 32);
	memcpy(ret->seed, both.p, 32);
	return true;
}

static bool parse_file(const struct str *text, struct key *ret)
{
	const char *begin = strstr(str_cstr(text), PEM_BEGIN), *end = begin ? strstr(begin, PEM_END) : NULL;
	if (!end)
		return false;
	struct str b64 = {0};
	for (const char *p = begin + strlen(PEM_BEGIN); p < end; p++)
		if (*p > ' ')
			str_addc(&b64, *p);
	gnutls_datum_t in = {.data = (unsigned char *)str_cstr(&b64), .size = (unsigned)b64.len}, raw = {0};
	bool ok = !gnutls_base64_decode2(&in, &raw) && parse_binary(raw.data, raw.size, ret);
	gnutls_free(raw.data);
	str_release(&b64);
	return ok;
}

/* The public key as SSH sends it. */
static void public_blob(const struct key *k, struct str *out)
{
	put_bytes(out, KEY_TYPE, strlen(KEY_TYPE));
	put_bytes(out, k->pub, 32);
}

static void file_text(const struct key *k, struct str *out)
{
	struct str bin = {0}, pub = {0}, priv = {0}, b64 = {0};
	unsigned char check[4], both[64];
	gnutls_rnd(GNUTLS_RND_NONCE, check, sizeof check);
	memcpy(both, k->seed, 32);
	memcpy(both + 32, k->pub, 32);
	public_blob(k, &pub);
	str_add(&priv, check, 4);
	str_add(&priv, check, 4);
	str_add(&priv, pub.data, pub.len);
	put_bytes(&priv, both, 64);
	put_bytes(&priv, "", 0);
	for (char pad = 1; priv.len % 8; pad++)
		str_addc(&priv, pad);
	str_add(&bin, KEY_MAGIC, sizeof KEY_MAGIC);
	put_bytes(&bin, "none", 4);
	put_bytes(&bin, "none", 4);
	put_bytes(&bin, "", 0);
	put_u32(&bin, 1);
	put_bytes(&bin, pub.data, pub.len);
	put_bytes(&bin, priv.data, priv.len);
	base64_add(&b64, bin.data, bin.len);
	str_adds(out, PEM_BEGIN "\n");
	for (size_t i = 0; i < b64.len; i += 70)
		str_printf(out, "%.70s\n", b64.data + i);
	str_adds(out, PEM_END "\n");
	gnutls_memset(both, 0, sizeof both);
	gnutls_memset(bin.data, 0, bin.len);
	gnutls_memset(priv.data, 0, priv.len);
	str_release(&bin);
	str_release(&pub);
	str_release(&priv);
	str_release(&b64);
}

static int generate(struct key *k, struct err *err)
{
	gnutls_privkey_t key;
	gnutls_datum_t x = {0}, seed = {0};
	gnutls_ecc_curve_t curve;
	int rc = 0;
	gnutls_privkey_init(&key);
	if (gnutls_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), 0) ||
	    gnutls_privkey_export_ecc_raw2(key, &curve, &x, NULL, &seed, 0) || x.size != 32 || seed.size != 32) {
		rc = err_set(err, ERR_INTERNAL, "the crypto library cannot make an ed25519 key");
	} else {
		memcpy(k->pub, x.data, 32);
		memcpy(k->seed, seed.data, 32);
	}
	gnutls_free(x.data);
	gnutls_free(seed.data);
	gnutls_privkey_deinit(key);
	return rc;
}

/* Makes the key pair's files; the private one is never readable by others. */
static int create(const char *path, struct key *k, struct err *err)
{
	struct str text = {0}, pub = {0}, pub_path = {0};
	int rc = generate(k, err);
	if (rc)
		return rc;
	log_info("registry: couldn't find %s, generating a new private key", path);
	file_text(k, &text);
	rc = store_file_write_mode(path, text.data, text.len, 0600, err);
	str_adds(&pub, KEY_TYPE " ");
	struct str blob = {0};
	public_blob(k, &blob);
	base64_add(&pub, blob.data, blob.len);
	if (!rc) {
		log_info("registry: the new public key is: %s", pub.data);
		str_addc(&pub, '\n');
		str_printf(&pub_path, "%s.pub", path);
		rc = store_file_write(pub_path.data, pub.data, pub.len, err);
	}
	gnutls_memset(text.data, 0, text.len);
	str_release(&blob);
	str_release(&text);
	str_release(&pub);
	str_release(&pub_path);
	return rc;
}

/* The key, made when missing. */
static int load(struct registry *r, struct key *ret, struct err *err)
{
	struct str text = {0};
	pthread_mutex_lock(&r->lock);
	int rc = store_file_read(r->key_path, KEY_FILE_MAX, &text, err);
	if (rc == ERR_NOT_FOUND)
		rc = create(r->key_path, ret, err);
	else if (!rc && !parse_file(&text, ret))
		rc = err_set(err, ERR_FORMAT, "%s is no OpenSSH ed25519 key without a passphrase", r->key_path);
	pthread_mutex_unlock(&r->lock);
	str_release(&text);
	return rc;
}

int reg_key_sign(struct registry *r, const char *text, struct str *out, struct err *err)
{
	struct key k;
	struct str blob = {0};
	gnutls_privkey_t key;
	gnutls_datum_t sig = {0};
	int rc = load(r, &k, err);
	if (rc)
		return rc;
	gnutls_datum_t x = {.data = k.pub, .size = 32}, seed = {.data = k.seed, .size = 32};
	gnutls_datum_t data = {.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
	gnutls_privkey_init(&key);
	if (gnutls_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &x, NULL, &seed) ||
	    gnutls_privkey_sign_data2(key, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &sig)) {
		rc = err_set(err, ERR_INTERNAL, "the crypto library cannot sign with the key %s", r->key_path);
	} else {
		public_blob(&k, &blob);
		base64_add(out, blob.data, blob.len);
		str_addc(out, ':');
		base64_add(out, sig.data, sig.size);
	}
	gnutls_free(sig.data);
	gnutls_privkey_deinit(key);
	gnutls_memset(&k, 0, sizeof k);
	str_release(&blob);
	return rc;
}
