/* The route table of routes.def as data. */
#include "api/api.h"
#include "api/api_endpoints.h"
#include "base/bug.h"

const struct api_route api_routes[] = {
#define ROUTE(methods, pattern, handler, flags) {methods, pattern, handler, flags},
#include "api/routes.def"
#undef ROUTE
};
const size_t api_n_route = ARRAY_LEN(api_routes);
