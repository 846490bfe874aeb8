/* Which addresses a transfer may go to, and how URLs are taken apart (by libcurl, so that both see the same). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/registry_priv.h"

/* Networks of IPv4 that are not the public internet (IANA special-purpose registry). */
static const struct {
	uint32_t net;
	int bits;
} nets4[] = {
	{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16}, {0xac100000, 12},
	{0xc0000000, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xe0000000, 4},  {0xf0000000, 4},
};

static bool private4(uint32_t a)
{
	for (size_t i = 0; i < ARRAY_LEN(nets4); i++)
		if ((a ^ nets4[i].net) >> (32 - nets4[i].bits) == 0)
			return true;
	return false;
}

static uint32_t load4(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool private6(const unsigned char a[16])
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b}, zero[12];
	if (!memcmp(a, mapped, 12) || !memcmp(a, nat64, 12))
		return private4(load4(a + 12));
	if (!memcmp(a, zero, 12)) /* ::, ::1 and the old mapped form */
		return true;
	if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 holds an IPv4 address */
		return private4(load4(a + 2));
	return (a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0x80) == 0x80) || a[0] == 0xff;
}

bool reg_address_private(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return private4(ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
	if (a->sa_family == AF_INET6)
		return private6(((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr);
	return true;
}

bool reg_host_private(const char *host)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char text[64];
	size_t n = strlen(host);
	if (!strcasecmp(host, "localhost") || (n > 10 && !strcasecmp(host + n - 10, ".localhost")))
		return true;
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
		return reg_address_private((struct sockaddr *)&v4);
	if (host[0] != '[' || n - 2 >= sizeof text)
		return false;
	memcpy(text, host + 1, n - 2);
	text[n - 2] = '\0';
	text[strcspn(text, "%")] = '\0';
	return inet_pton(AF_INET6, text, &v6.sin6_addr) == 1 && reg_address_private((struct sockaddr *)&v6);
}

void reg_address_text(const struct sockaddr *a, char *out, size_t n)
{
	char ip[INET6_ADDRSTRLEN] = "?";
	if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)a;
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
		snprintf(out, n, "[%s]:%d", ip, ntohs(v6->sin6_port));
	} else if (a->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)a;
		inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
		snprintf(out, n, "%s:%d", ip, ntohs(v4->sin_port));
	} else {
		snprintf(out, n, "?");
	}
}

static bool origin_of(CURLU *u, struct str *out)
{
	char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	bool ok = !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) && !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
		  !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) && curl_url_get(u, CURLUPART_USER, &user, 0) &&
		  (!strcasecmp(scheme, "http") || !strcasecmp(scheme, "https"));
	if (ok) {
		size_t at = out->len;
		str_printf(out, "%s://%s:%s", scheme, host, port);
		for (char *c = out->data + at; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	return ok;
}

bool reg_url_origin(const char *url, struct str *out)
{
	CURLU *u = curl_url();
	bool ok = u && strlen(url) < REG_URL_MAX && !curl_url_set(u, CURLUPART_URL, url, 0) && origin_of(u, out);
	curl_url_cleanup(u);
	return ok;
}

bool reg_url_join(const char *url, const char *location, struct str *out)
{
	CURLU *u = curl_url();
	struct str origin = {0};
	char *text = NULL;
	bool ok = u && strlen(location) < REG_URL_MAX && !curl_url_set(u, CURLUPART_URL, url, 0) &&
		  !curl_url_set(u, CURLUPART_URL, location, 0) && !curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) &&
		  origin_of(u, &origin) && !curl_url_get(u, CURLUPART_URL, &text, 0) && strlen(text) < REG_URL_MAX;
	if (ok)
		str_adds(out, text);
	curl_free(text);
	curl_url_cleanup(u);
	str_release(&origin);
	return ok;
}
