/* The HTTP status of each error class: nothing else maps. */
#include "api/api.h"
#include "base/bug.h"

static const struct {
	int code, status;
} map[] = {
	{ERR_INVALID, 400},
	{ERR_NOT_FOUND, 404},
	{ERR_NOMEM, 500},       /* as Ollama answers when a model does not fit */
	{ERR_LIMIT, 400},
	{ERR_IO, 500},
	{ERR_FORMAT, 500},
	{ERR_UNSUPPORTED, 501},
	{ERR_CANCELED, 499},    /* "client closed request": what Ollama logs; the client has usually gone */
	{ERR_TIMEOUT, 504},
	{ERR_BUSY, 503},        /* clients retry on it */
	{ERR_CRASHED, 500},
	{ERR_TOO_LONG, 400},
	{ERR_EXISTS, 409},
	{ERR_FORBIDDEN, 403},
	{ERR_INTERNAL, 500},
};

int api_status_of(int code)
{
	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (map[i].code == code)
			return map[i].status;
	return 500;
}
