/*
 * The contract of struct store as one suite, run over every driver.
 */
#ifndef TEST_STORE_CONTRACT_H
#define TEST_STORE_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/store.h"

/** Makes a fresh, empty store for each test. */
struct contract_driver {
    struct store *(*open)(void);
    void (*close)(struct store *store);
    /* Behind a network: a version that was replaced may be gone (E_CONFLICT), and an answer may be
     * lost. */
    bool remote;
    /* Objects lie in folders there: none beneath another one, and no segment over 255 bytes or `/`
     * at the end of a key need be possible. What is not possible is E_INVALID. */
    bool tree;
    size_t attrs_bytes_max; /* names and values of one object; 0: STORE_ATTRS_BYTES_MAX */
    bool new_times;         /* store_set_attrs changes the object's time */
    bool no_delete_if;      /* E_UNSUPPORTED */
    bool no_uploads;        /* it takes none in parts */
    size_t part_bytes_min;  /* of all but the last part of an upload */
    bool plain_keys;        /* what is behind it may refuse keys that are no paths */
    const char *uri_scheme; /* what the root URI starts with */
};

/** Run all of it; the number of failed tests. */
int contract_run(const char *name, const struct contract_driver *of);

/* Between the files of the suite: the driver under test, a fresh store of it for each test, and the
 * parts about keys, uploads in parts, and attributes and conditional changes, which contract_run
 * runs. */
extern const struct contract_driver *contract_driver;
int contract_setup(void **state);
int contract_teardown(void **state);
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, contract_setup, contract_teardown)
int contract_keys_run(const char *name);
int contract_uploads_run(const char *name);
int contract_attrs_run(const char *name);

/* For a driver's own tests. */
void must(enum status status, const struct err *err);
#define MUST(call) must((call), &err)
/** Its name as content. False when a store of folders cannot have that key beside those that are
 * there. */
bool put_or_refused(struct store *store, struct str key);
void put_text(struct store *store, const char *key, const char *text);
/** Asserts that the object has this content. */
void expect_text(struct store *store, const char *key, const char *text);
/** The keys of a listing as "a b [p/] +" in order; '+' when it is truncated. The fs driver's own
 * format.json is left out. */
const char *list_text(struct store *store, struct arena *arena, const struct store_list_opts *opts);

#endif
