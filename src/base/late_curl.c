/* The functions of libcurl that cria calls, each loading the library when it is first called. libcurl brings two dozen other
 * libraries with it, and resolving them takes most of a process's start: too much for runners, which never use it, and for
 * commands that end in milliseconds. <curl/curl.h> is the interface; what is missing here the linker tells.
 *
 * A library that is not there is an installation that was broken afterwards: the process ends and says so. Any thread may
 * call. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

/* FN(what it returns, name, parameters, arguments) */
#define FUNCTIONS(FN)                                                                                                  \
	FN(CURLcode, curl_global_init, (long flags), (flags))                                                          \
	FN(CURL *, curl_easy_init, (void), ())                                                                         \
	FN(void, curl_easy_cleanup, (CURL *c), (c))                                                                    \
	FN(void, curl_easy_reset, (CURL *c), (c))                                                                      \
	FN(CURLcode, curl_easy_perform, (CURL *c), (c))                                                                \
	FN(const char *, curl_easy_strerror, (CURLcode code), (code))                                                  \
	FN(char *, curl_easy_escape, (CURL *c, const char *s, int n), (c, s, n))                                       \
	FN(void, curl_free, (void *p), (p))                                                                            \
	FN(CURLM *, curl_multi_init, (void), ())                                                                       \
	FN(CURLMcode, curl_multi_cleanup, (CURLM *m), (m))                                                             \
	FN(CURLMcode, curl_multi_add_handle, (CURLM *m, CURL *c), (m, c))                                              \
	FN(CURLMcode, curl_multi_remove_handle, (CURLM *m, CURL *c), (m, c))                                           \
	FN(CURLMcode, curl_multi_perform, (CURLM *m, int *n_running), (m, n_running))                                  \
	FN(CURLMcode, curl_multi_poll, (CURLM *m, struct curl_waitfd *fds, unsigned n, int timeout_ms, int *n_ready),  \
	   (m, fds, n, timeout_ms, n_ready))                                                                           \
	FN(CURLMsg *, curl_multi_info_read, (CURLM *m, int *n_left), (m, n_left))                                      \
	FN(struct curl_slist *, curl_slist_append, (struct curl_slist *l, const char *s), (l, s))                      \
	FN(void, curl_slist_free_all, (struct curl_slist *l), (l))                                                     \
	FN(CURLU *, curl_url, (void), ())                                                                              \
	FN(void, curl_url_cleanup, (CURLU *u), (u))                                                                    \
	FN(CURLUcode, curl_url_get, (CURLU *u, CURLUPart part, char **ret, unsigned flags), (u, part, ret, flags)) \
	FN(CURLUcode, curl_url_set, (CURLU *u, CURLUPart part, const char *s, unsigned flags), (u, part, s, flags))

/* The two with one more argument of any type. All types that libcurl takes there are passed like a pointer on 64-bit
 * machines: long, curl_off_t, pointers to objects and to functions. */
#define VARIADIC(FN)                                                                                                   \
	FN(CURLcode, curl_easy_setopt, CURL *, CURLoption)                                                             \
	FN(CURLcode, curl_easy_getinfo, CURL *, CURLINFO)

_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "options fit a pointer");

static struct {
#define FN(ret, name, params, args) ret(*name) params;
	FUNCTIONS(FN)
#undef FN
#define FN(ret, name, handle, option) ret (*name)(handle, option, ...);
	VARIADIC(FN)
#undef FN
} lib;

static void *symbol(void *so, const char *name)
{
	void *p = so ? dlsym(so, name) : NULL;
	if (!p) {
		fprintf(stderr, "cria: libcurl cannot be used: %s; install the package libcurl3-gnutls\n", dlerror());
		exit(1);
	}
	return p;
}

static void load(void)
{
	void *so = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
#define FN(ret, name, ...) *(void **)&lib.name = symbol(so, #name);
	FUNCTIONS(FN)
	VARIADIC(FN)
#undef FN
}

static void need(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
}

#define FN(ret, name, params, args)                                                                                    \
	ret name params                                                                                                \
	{                                                                                                              \
		need();                                                                                                \
		return lib.name args;                                                                                  \
	}
FUNCTIONS(FN)
#undef FN

#define FN(ret, name, handle, option)                                                                                  \
	ret name(handle h, option o, ...)                                                                              \
	{                                                                                                              \
		va_list ap;                                                                                            \
		need();                                                                                                \
		va_start(ap, o);                                                                                       \
		void *value = va_arg(ap, void *);                                                                      \
		va_end(ap);                                                                                            \
		return lib.name(h, o, value);                                                                          \
	}
VARIADIC(FN)
#undef FN
