/*
 * lakehouse-engine: the process that runs DuckDB for the server. Everything is in
 * engine/child_main.c.
 */
#include "engine/child.h"

int main(int argc, char **argv)
{
    return child_main(argc, argv);
}
