/*
 * The contract suite over the S3 driver, against the store that the environment names:
 *
 *     S3_ENDPOINT  S3_BUCKET  S3_ACCESS_KEY  S3_SECRET_KEY  [S3_VIRTUAL_HOST]
 *
 * tests/integration/test_s3_store.py starts stores and runs it. Without S3_ENDPOINT nothing is
 * tested here, and that is said.
 */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

static struct str from_env(const char *name)
{
    const char *value = getenv(name);
    return str_of(value != NULL ? value : "");
}

/** A prefix of its own for each test: a bucket is shared and never empty. */
static struct store *open_store(void)
{
    char prefix[64], id[UUID_TEXT + 1];
    struct err err = { 0 };
    struct store *store = NULL;
    uuid4(id);
    snprintf(prefix, sizeof prefix, "contract/%s", id);
    MUST(store_s3_open(&(struct store_s3_opts){ .endpoint = getenv("S3_ENDPOINT"),
                                                .bucket = getenv("S3_BUCKET"),
                                                .prefix = prefix,
                                                .access_key = from_env("S3_ACCESS_KEY"),
                                                .secret_key = from_env("S3_SECRET_KEY"),
                                                .virtual_host = getenv("S3_VIRTUAL_HOST") != NULL },
                       &store, &err));
    return store;
}

int main(void)
{
    static const struct contract_driver driver = { .open = open_store,
                                                   .close = store_close,
                                                   .remote = true,
                                                   .no_attrs = true,
                                                   .uri_scheme = "s3://" };
    if (getenv("S3_ENDPOINT") == NULL) {
        printf(
            "# S3_ENDPOINT is not set: tests/integration/test_s3_store.py runs this suite\n1..0\n");
        return 0;
    }
    return contract_run("s3", &driver);
}
