/* The lakes of the catalogue's tests: small tables, and a store that fails on purpose. */
#include "../catalog/chaos.c"
#include "../catalog/fixture.c"
