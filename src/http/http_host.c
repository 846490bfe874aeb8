#include "http/http_host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/bug.h"

enum { NAME_BYTES = 256 }; /* a DNS name has at most 253 */

/* Copies the host without brackets, zone and port; false when it is too long to be one of ours. */
static bool strip_port(const char *host, char out[NAME_BYTES])
{
	const char *start = host, *end;
	if (*host == '[') {
		start = host + 1;
		end = start + strcspn(start, "]%");
	} else {
		const char *colon = strchr(host, ':');
		bool one = colon && !strchr(colon + 1, ':'); /* several: a bare IPv6 address */
		end = one ? colon : host + strlen(host);
	}
	size_t n = (size_t)(end - start);
	if (n >= NAME_BYTES)
		return false;
	memcpy(out, start, n);
	out[n] = '\0';
	return true;
}

/* Loopback, private (RFC 1918) or unspecified; a in host order. */
static bool v4_local(uint32_t a)
{
	return a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xAC1 || a >> 16 == 0xC0A8 || a == 0;
}

static bool v6_local(const struct in6_addr *a)
{
	if (IN6_IS_ADDR_V4MAPPED(a)) {
		uint32_t v4;
		memcpy(&v4, a->s6_addr + 12, 4);
		return v4_local(ntohl(v4));
	}
	return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) || (a->s6_addr[0] & 0xFE) == 0xFC;
}

/* True when an interface of this machine has the address. */
static bool interface_has(int family, const void *addr)
{
	struct ifaddrs *list, *i;
	bool found = false;
	if (getifaddrs(&list))
		return false;
	for (i = list; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != family)
			continue;
		if (family == AF_INET)
			found = !memcmp(&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, addr, 4);
		else
			found = !memcmp(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, addr, 16);
	}
	freeifaddrs(list);
	return found;
}

static bool name_local(const char *name)
{
	static const char *const suffixes[] = {".localhost", ".local", ".internal"};
	char own[NAME_BYTES];
	if (!strcasecmp(name, "localhost"))
		return true;
	if (!gethostname(own, sizeof own) && !strncasecmp(own, name, sizeof own))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		size_t n = strlen(name), n_suffix = strlen(suffixes[i]);
		if (n > n_suffix && !strcasecmp(name + n - n_suffix, suffixes[i]))
			return true;
	}
	return false;
}

enum http_host http_host_check(const char *host)
{
	char name[NAME_BYTES];
	struct in_addr v4;
	struct in6_addr v6;
	if (!strip_port(host, name))
		return HTTP_HOST_DENY;
	if (inet_pton(AF_INET, name, &v4) == 1)
		return v4_local(ntohl(v4.s_addr)) || interface_has(AF_INET, &v4) ? HTTP_HOST_ADDRESS : HTTP_HOST_DENY;
	if (inet_pton(AF_INET6, name, &v6) == 1)
		return v6_local(&v6) || interface_has(AF_INET6, &v6) ? HTTP_HOST_ADDRESS : HTTP_HOST_DENY;
	if (*name == '\0')
		return HTTP_HOST_ADDRESS;
	return name_local(name) ? HTTP_HOST_NAME : HTTP_HOST_DENY;
}
