/*
 * Between the two files of the test that pulls the plug: test_plug.c has the disks and the objects,
 * plug_uploads.c what was promised about uploads in parts.
 */
#ifndef TESTS_STORE_TEST_PLUG_H
#define TESTS_STORE_TEST_PLUG_H

#include <stdio.h>

#include "contract.h"
#include "disk.h"

struct promise {
    size_t position;
    const char *key, *value; /* NULL: no object */
    bool settled;            /* said; else on its way, and either is right */
};

enum { VALUES_MAX = 4 };

struct allowed {
    const char *values[VALUES_MAX];
    size_t count;
};

extern char violation[2048];
#define VIOLATED(...) (snprintf(violation, sizeof violation, __VA_ARGS__), false)

/* What test_plug.c gives; a table, because the other file is linked into each test of the layer. */
struct plug_calls {
    void (*begin)(const char *forget, int lacking);
    struct store *(*store_up)(void);
    void (*promise_add)(const char *key, const char *value, bool settled);
    /* all that was promised until `position` */
    bool (*lake_right)(struct store *store, size_t position);
};
extern const struct plug_calls *plug;

/* --- plug_uploads.c --- */

void uploads_forget(void);
size_t uploads_version(size_t position);
bool uploads_right(struct store *store, size_t position);
/** Each upload that is there becomes an object of the parts that it tells. */
bool uploads_whole(struct store *store);
void a_life_with_uploads(void);
void an_upload_survives_a_kill_at_each_step(void **state);
void an_upload_survives_each_failing_call(void **state);

#endif
