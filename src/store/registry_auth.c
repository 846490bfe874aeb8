/* What to do about a 401. Three ways: the password that Docker's config file has for the host; Ollama's token, signed with the
 * user's key and asked from the registry's own host only; a token without saying who we are, which public registries give. */
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "store/registry_priv.h"

enum { AUTH_FILE_MAX = 1 << 20, NONCE_BYTES = 16 };

/* SHA-256 of nothing, in hex, then base64: the third part of what is signed for a request without a body. */
#define EMPTY_SUM_BASE64 "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="

/* The base64 of "user:password" that Docker's config file has for a host; NULL when none. Owned. */
static char *password_of(const struct registry *r, const char *host)
{
	struct str text = {0};
	struct err ignored;
	json_t *root = NULL;
	char *found = NULL;
	if (*r->auth_path && !store_file_read(r->auth_path, AUTH_FILE_MAX, &text, &ignored) &&
	    !json_parse_all(str_cstr(&text), text.len, &root, &ignored)) {
		const json_t *entry = json_object_get(json_get(root, "auths"), host);
		const char *auth = json_string_value(json_get(entry, "auth"));
		if (auth && *auth && strspn(auth, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == strlen(auth))
			found = mem_strdup(auth);
	}
	json_decref(root);
	gnutls_memset(text.data, 0, text.len);
	str_release(&text);
	return found;
}

static void set_auth(struct reg_session *s, const char *scheme, const char *value)
{
	struct str text = {0};
	str_printf(&text, "%s %s", scheme, value);
	mem_free(s->auth);
	s->auth = str_take(&text);
}

/* ---- the token's address ---- */

static void query_add(struct str *url, const char *key, const char *value)
{
	char *text = curl_easy_escape(NULL, value, (int)strlen(value));
	str_printf(url, "%c%s=%s", strchr(url->data, '?') ? '&' : '?', key, text ? text : "");
	curl_free(text);
}

/* The challenge's scopes, one parameter each; the one of this repository when it names none. */
static void scopes_add(struct str *url, const struct reg_challenge *c, const struct reg_session *s)
{
	struct str made = {0};
	str_printf(&made, "repository:%s:%s", s->repo, s->scope);
	const char *p = *c->scope ? c->scope : made.data;
	while (*(p += strspn(p, " "))) {
		size_t n = strcspn(p, " ");
		char *one = mem_strndup(p, n);
		query_add(url, "scope", one);
		mem_free(one);
		p += n;
	}
	str_release(&made);
}

/* Keys in alphabetical order, as they are signed. */
static void token_url(const struct reg_session *s, const struct reg_challenge *c, bool sign, struct str *out)
{
	str_adds(out, c->realm);
	if (sign) {
		unsigned char nonce[NONCE_BYTES];
		gnutls_datum_t in = {.data = nonce, .size = sizeof nonce}, text = {0};
		gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof nonce);
		BUG_ON(gnutls_base64_encode2(&in, &text));
		char *z = mem_strndup((const char *)text.data, strcspn((const char *)text.data, "="));
		for (char *p = z; *p; p++)
			*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
		query_add(out, "nonce", z);
		mem_free(z);
		gnutls_free(text.data);
	}
	scopes_add(out, c, s);
	if (*c->service)
		query_add(out, "service", c->service);
	if (sign) {
		char ts[24];
		snprintf(ts, sizeof ts, "%lld", (long long)(clock_wall_ns() / NS_PER_S));
		query_add(out, "ts", ts);
	}
}

/* ---- asking for it ---- */

enum who { SIGNED, PASSWORD, NOBODY };

/* One request for a token. ERR_FORBIDDEN when the server does not want to give one to us. */
static int ask_token(struct reg_session *s, const struct reg_challenge *c, enum who who, const char *password, struct err *err)
{
	struct str url = {0}, auth = {0}, text = {0};
	struct reg_reply reply = {0};
	char *token = NULL;
	int rc = 0;
	token_url(s, c, who == SIGNED, &url);
	if (who == SIGNED) {
		str_printf(&text, "GET,%s,%s", url.data, EMPTY_SUM_BASE64);
		rc = reg_key_sign(s->reg, text.data, &auth, err);
	} else if (who == PASSWORD) {
		str_printf(&auth, "Basic %s", password);
	}
	if (!rc) {
		struct reg_request q = {.method = "GET", .url = url.data, .plain = true, .authorization = auth.len ? auth.data : NULL,
					.reply_max = 4 * REG_TOKEN_MAX};
		rc = reg_send(s, &q, &reply, err);
	}
	if (!rc && (reply.status == 401 || reply.status == 403))
		rc = err_set(err, ERR_FORBIDDEN, "unauthorized: access denied");
	else if (!rc && reply.status != 200)
		rc = reg_status_error(&reply, err);
	if (!rc)
		rc = reg_token_parse(str_cstr(&reply.body), reply.body.len, &token, err);
	if (!rc)
		set_auth(s, "Bearer", token);
	reg_reply_release(&reply);
	mem_free(token);
	str_release(&url);
	str_release(&auth);
	str_release(&text);
	return rc;
}

static char *host_of(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL, *copy = NULL;
	if (u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_HOST, &host, 0))
		copy = mem_strdup(host);
	curl_free(host);
	curl_url_cleanup(u);
	return copy ? copy : mem_strdup("");
}

static int bearer(struct reg_session *s, const struct reg_challenge *c, const char *url, const char *password, struct err *err)
{
	char *realm = host_of(c->realm), *own = host_of(url);
	bool same = !strcasecmp(realm, own) && *realm;
	int rc;
	if (!*realm || (!same && !starts_with(c->realm, "https://")))
		rc = err_set(err, ERR_FORBIDDEN, "realm host \"%s\" does not match original host \"%s\"", realm, own);
	else if (password)
		rc = ask_token(s, c, PASSWORD, password, err);
	else if (!same)
		rc = ask_token(s, c, NOBODY, NULL, err);
	else if ((rc = ask_token(s, c, SIGNED, NULL, err)) == ERR_FORBIDDEN)
		rc = ask_token(s, c, NOBODY, NULL, err);
	mem_free(realm);
	mem_free(own);
	return rc;
}

int reg_authorize(struct reg_session *s, const char *url, const char *authenticate, struct err *err)
{
	struct reg_challenge c;
	char *password = password_of(s->reg, s->base.host);
	int rc;
	reg_challenge_parse(authenticate, &c);
	if (!reg_same_origin(s, url)) {
		rc = err_set(err, ERR_FORBIDDEN, "unauthorized: access denied");
	} else if (c.bearer) {
		rc = bearer(s, &c, url, password, err);
	} else if (c.basic && password) {
		set_auth(s, "Basic", password);
		rc = 0;
	} else {
		rc = err_set(err, ERR_FORBIDDEN, "unauthorized: access denied");
		if (c.basic)
			rc = err_set(err, ERR_FORBIDDEN, "unauthorized: access denied; %s wants a password, and %s has none for it",
				     s->base.host, *s->reg->auth_path ? s->reg->auth_path : "CRIA_REGISTRY_AUTH");
	}
	reg_challenge_release(&c);
	mem_free(password);
	return rc;
}
