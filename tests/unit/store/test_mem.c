/* The memory driver keeps the contract. */
#include "contract.h"

static struct store *open_store(void)
{
    struct store *store = NULL;
    return store_mem_open(&(struct store_mem_opts){ 0 }, &store, NULL) == OK ? store : NULL;
}

int main(void)
{
    return contract_run("store mem", &(struct contract_driver){ .open = open_store,
                                                                .close = store_close,
                                                                .uri_scheme = "mem://" });
}
