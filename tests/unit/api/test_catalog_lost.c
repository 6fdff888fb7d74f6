/*
 * The http driver of the catalogue behind a wire that loses answers: what may have landed is never
 * told as failed, because who hears "failed" deletes the files of its commit.
 *
 *      driver --> wire (a thread, one script) --> catalogd's routes over a catalogue in memory
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_catalog.h"
#include "catalog/changes.h"
#include "catalog/upkeep.h"

enum { REQUEST_MAX = 256 * 1024, STEPS_MAX = 8 };

static struct err err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), err.msg);                          \
        }                                                                                          \
    } while (0)

/* --- the wire --- */

enum step {
    PASS,
    LOSE,   /* asked and done, and nobody hears of it */
    REFUSE, /* 409, and not asked */
    BUSY,   /* 503, and not asked */
    EMPTY,  /* asked and done; the answer is an object without members */
    BROKEN, /* asked and done; the answer is 500 */
};

struct lab {
    struct store *store;
    struct catalog *local, *remote;
    struct api_catalog api;
    struct metrics *metrics;
    struct http_server *server;
    struct arena arena;
    pthread_t wire;
    int listener;
    const enum step *script; /* of the calls that come; then all pass */
    size_t step_count;
    atomic_size_t calls;
};

static const char *const refused =
    "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 53\r\n"
    "Connection: close\r\n\r\n"
    "{\"error\":{\"code\":\"conflict\",\"message\":\"moved on!!!\"}}";
static const char *const busy =
    "HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: 52\r\n"
    "Connection: close\r\n\r\n"
    "{\"error\":{\"code\":\"unavailable\",\"message\":\"be back\"}}";
static const char *const empty =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    "Connection: close\r\n\r\n{}";

static const char *const broken =
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/** The whole message: a head and what Content-Length says. */
static size_t read_message(int fd, char *into)
{
    size_t len = 0, whole = SIZE_MAX;
    while (len < whole && len < REQUEST_MAX - 1) {
        ssize_t got = read(fd, into + len, REQUEST_MAX - 1 - len);
        if (got <= 0) {
            return len;
        }
        len += (size_t)got;
        into[len] = '\0';
        const char *end = strstr(into, "\r\n\r\n"), *length = strcasestr(into, "content-length: ");
        if (end != NULL) {
            whole = (size_t)(end - into) + 4;
            whole += length != NULL && length < end ? strtoul(length + 16, NULL, 10) : 0;
        }
    }
    return len;
}

static void write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t got = send(fd, text, len, MSG_NOSIGNAL);
        if (got <= 0) {
            return;
        }
        text += got;
        len -= (size_t)got;
    }
}

/** What catalogd says to it. */
static size_t ask(const struct lab *lab, const char *request, size_t len, char *answer)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    const char *address = http_server_address(lab->server);
    to.sin_port = htons((uint16_t)strtoul(strchr(address, ':') + 1, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t got = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
        write_all(fd, request, len);
        got = read_message(fd, answer);
    }
    close(fd);
    return got;
}

static void serve_one(struct lab *lab, int fd, char *request, char *answer)
{
    size_t len = read_message(fd, request);
    size_t call = atomic_fetch_add(&lab->calls, 1);
    enum step step = call < lab->step_count ? lab->script[call] : PASS;
    size_t got = 0;
    switch (step) {
    case PASS:
        got = ask(lab, request, len, answer);
        write_all(fd, answer, got);
        break;
    case LOSE:
        assert(ask(lab, request, len, answer) > 0);
        break;
    case EMPTY:
        assert(ask(lab, request, len, answer) > 0);
        write_all(fd, empty, strlen(empty));
        break;
    case BROKEN:
        assert(ask(lab, request, len, answer) > 0);
        write_all(fd, broken, strlen(broken));
        break;
    case REFUSE:
        write_all(fd, refused, strlen(refused));
        break;
    case BUSY:
        write_all(fd, busy, strlen(busy));
        break;
    }
}

/** One request a connection; the driver's are closed after it, and it makes others. */
static void *wire(void *ctx)
{
    struct lab *lab = ctx;
    char *request = malloc(REQUEST_MAX), *answer = malloc(REQUEST_MAX);
    assert(request != NULL && answer != NULL);
    for (;;) {
        int fd = accept(lab->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        serve_one(lab, fd, request, answer);
        close(fd);
    }
    free(request);
    free(answer);
    return NULL;
}

static unsigned listen_somewhere(int *fd_out)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fd_out = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd_out, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(*fd_out, 16), 0);
    assert_int_equal(getsockname(*fd_out, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

/** Of the calls from here on. */
static void play(struct lab *lab, const enum step *script, size_t count)
{
    lab->script = script;
    lab->step_count = count;
    atomic_store(&lab->calls, 0);
}

#define PLAY(lab, ...)                                                                             \
    play(lab, (const enum step[]){ __VA_ARGS__ },                                                  \
         sizeof((const enum step[]){ __VA_ARGS__ }) / sizeof(enum step))

/* --- the lab --- */

static int lab_open(void **state)
{
    struct lab *lab = test_calloc(1, sizeof(*lab));
    arena_init(&lab->arena, 0);
    assert_ok(store_mem_open(&(struct store_mem_opts){ 0 }, &lab->store, &err));
    assert_ok(
        catalog_local_open(&(struct catalog_local_opts){ .store = lab->store }, &lab->local, &err));
    lab->api = (struct api_catalog){ .catalog = lab->local, .store = lab->store };
    lab->metrics = metrics_new();
    assert_ok(http_server_new(&(struct http_server_opts){ .service = "catalogd",
                                                          .bind = "127.0.0.1:0",
                                                          .metrics = lab->metrics,
                                                          .cluster_secret = STR("s3cret"),
                                                          .drain_ms = 1000 },
                              &lab->server, &err));
    size_t count = 0;
    const struct http_route *routes = api_catalog_internal_routes(&count);
    assert_ok(http_server_mount(lab->server, "", routes, count, &lab->api, &err));
    assert_ok(http_server_start(lab->server, &err));
    char url[100];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", listen_somewhere(&lab->listener));
    assert_ok(catalog_http_open(&(struct catalog_http_opts){ .url = url,
                                                             .cluster_secret = STR("s3cret"),
                                                             .store = lab->store },
                                &lab->remote, &err));
    assert_int_equal(pthread_create(&lab->wire, NULL, wire, lab), 0);
    *state = lab;
    return 0;
}

static int lab_close(void **state)
{
    struct lab *lab = *state;
    (void)shutdown(lab->listener, SHUT_RDWR);
    (void)pthread_join(lab->wire, NULL);
    close(lab->listener);
    catalog_close(lab->remote);
    http_server_stop(lab->server);
    http_server_free(lab->server);
    catalog_close(lab->local);
    metrics_free(lab->metrics);
    store_close(lab->store);
    arena_done(&lab->arena);
    test_free(lab);
    return 0;
}

/* --- what is called --- */

static const struct table_name birds = { STR("main"), STR("birds") };

static enum status append(struct lab *lab, const char *batch, struct catalog_appended *out)
{
    struct catalog_place place;
    TRY(catalog_place(lab->local, &birds, &lab->arena, &place, &err));
    struct ice_field fields[] = {
        { .id = 1, .name = STR("id"), .type = { .kind = ICE_LONG } },
    };
    struct ice_schema schema = { .root = {
                                     .kind = ICE_STRUCT, .fields = fields, .field_count = 1 } };
    struct ice_data_file file = {
        .path = arena_printf(&lab->arena, "%.*s/data/%s.parquet", STR_ARG(place.location_key),
                             batch),
        .format = STR("PARQUET"),
        .record_count = 10,
        .size_bytes = 500,
        .sort_order_id = -1,
    };
    struct catalog_append in = { .name = birds,
                                 .batch_id = str_of(batch),
                                 .schema = place.exists ? place.schema : &schema,
                                 .files = &file,
                                 .file_count = 1,
                                 .create = true,
                                 .place = &place,
                                 .expected_schema_id = place.schema_id };
    return catalog_append(lab->remote, &in, &lab->arena, out, &err);
}

/** `json` is {"requirements":[..],"updates":[..]}; by the driver, or past the wire. */
static enum status change(struct lab *lab, struct catalog *by, const char *json)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    assert_ok(json_parse(str_of(json), &doc, &err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = birds,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
    };
    enum status status = catalog_change_table(by, &change, 0, &lab->arena, &loaded, &err);
    buf_done(&loaded.metadata);
    return status;
}

static const char *const add_column =
    "{\"requirements\":[{\"type\":\"assert-current-schema-id\",\"current-schema-id\":0}],"
    "\"updates\":[{\"action\":\"add-schema\","
    "\"schema\":{\"type\":\"struct\",\"schema-id\":1,\"fields\":["
    "{\"id\":1,\"name\":\"id\",\"required\":false,\"type\":\"long\"},"
    "{\"id\":2,\"name\":\"more\",\"required\":false,\"type\":\"long\"}]}},"
    "{\"action\":\"set-current-schema\",\"schema-id\":-1}]}";

static void make_table(struct lab *lab)
{
    struct catalog_appended first;
    PLAY(lab, PASS);
    assert_ok(append(lab, "first", &first));
}

static void assert_unknown(enum status status)
{
    if (status != E_UNAVAILABLE || !str_starts(str_of(err.msg), STR("the outcome is unknown"))) {
        fail_msg("%s: %s", status_name(status), err.msg);
    }
}

/* --- tests --- */

/** The first try has landed, so that the second one's requirement does not hold. */
static void a_change_that_landed_unheard_is_not_told_as_failed(void **state)
{
    struct lab *lab = *state;
    make_table(lab);
    PLAY(lab, LOSE, PASS);
    assert_unknown(change(lab, lab->remote, add_column));
    assert_int_equal(atomic_load(&lab->calls), 2);
    struct catalog_place place;
    assert_ok(catalog_place(lab->local, &birds, &lab->arena, &place, &err));
    assert_int_equal(place.schema->root.field_count, 2);
}

/** And also not, when nobody knows whether it has. */
static void a_refusal_after_a_lost_answer_decides_nothing(void **state)
{
    struct lab *lab = *state;
    make_table(lab);
    PLAY(lab, LOSE, REFUSE);
    assert_unknown(change(lab, lab->remote, add_column));
    PLAY(lab, LOSE, BUSY);
    assert_unknown(change(lab, lab->remote, add_column));
    struct catalog_appended out;
    PLAY(lab, LOSE, REFUSE);
    assert_unknown(append(lab, "second", &out));
    PLAY(lab, LOSE, LOSE, LOSE);
    assert_unknown(append(lab, "third", &out));
}

static void a_refusal_of_what_was_sent_once_stays_one(void **state)
{
    struct lab *lab = *state;
    struct catalog_appended out;
    make_table(lab);
    PLAY(lab, REFUSE);
    assert_int_equal(change(lab, lab->remote, add_column), E_CONFLICT);
    PLAY(lab, REFUSE);
    assert_int_equal(append(lab, "second", &out), E_CONFLICT);
    PLAY(lab, BUSY);
    assert_int_equal(append(lab, "second", &out), E_UNAVAILABLE);
    assert_null(strstr(err.msg, "unknown"));
    assert_int_equal(atomic_load(&lab->calls), 1);
}

static void an_append_that_landed_unheard_is_found_again(void **state)
{
    struct lab *lab = *state;
    struct catalog_appended out, again;
    make_table(lab);
    PLAY(lab, LOSE, PASS);
    assert_ok(append(lab, "second", &out));
    assert_false(out.deduplicated); /* or its sender would delete the file that is in the table */
    PLAY(lab, PASS);
    assert_ok(append(lab, "second", &again));
    assert_int_equal(again.snapshot_id, out.snapshot_id);
}

/** An answer that cannot be read is as good as none. */
static void an_answer_without_its_members_tells_nothing(void **state)
{
    struct lab *lab = *state;
    struct catalog_appended out;
    make_table(lab);
    PLAY(lab, EMPTY);
    assert_unknown(change(lab, lab->remote, add_column));
    PLAY(lab, EMPTY);
    assert_unknown(append(lab, "second", &out));
    PLAY(lab, BROKEN);
    assert_unknown(append(lab, "third", &out));
    assert_int_equal(atomic_load(&lab->calls), 1);
}

static void what_is_sent_once_is_unknown_when_its_answer_is_lost(void **state)
{
    struct lab *lab = *state;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf report;
    bool missing = false;
    struct catalog_loaded loaded = { 0 };
    struct catalog_namespace made;
    const struct table_name eagles = { STR("main"), STR("eagles") };
    make_table(lab);
    buf_init(&report, 4096);
    assert_ok(json_parse(STR("{\"schema\":{\"type\":\"struct\",\"fields\":[]}}"), &doc, &err));
    const struct catalog_create create = { .name = { STR("main"), STR("owls") },
                                           .request = yyjson_doc_get_root(doc) };
    PLAY(lab, LOSE);
    assert_unknown(catalog_create_table(lab->remote, &create, &lab->arena, &loaded, &err));
    PLAY(lab, EMPTY);
    assert_unknown(catalog_create_table(lab->remote, &create, &lab->arena, &loaded, &err));
    PLAY(lab, LOSE);
    assert_unknown(catalog_rename(lab->remote, CATALOG_TABLE, &birds, &eagles, &missing, &err));
    PLAY(lab, LOSE);
    assert_unknown(catalog_upkeep(
        lab->remote,
        &(struct catalog_upkeep){ .name = eagles, .procedure = STR("rewrite_manifests") }, &report,
        &err));
    PLAY(lab, LOSE);
    assert_unknown(catalog_drop(lab->remote, &eagles, &err));
    PLAY(lab, LOSE);
    assert_unknown(
        catalog_namespace_create(lab->remote, STR("zoo"), NULL, 0, &lab->arena, &made, &err));
    PLAY(lab, LOSE);
    assert_unknown(catalog_namespace_drop(lab->remote, STR("zoo"), &err));
    PLAY(lab, PASS); /* each had landed */
    assert_int_equal(catalog_drop(lab->remote, &eagles, &err), E_NOT_FOUND);
    assert_int_equal(catalog_namespace_drop(lab->remote, STR("zoo"), &err), E_NOT_FOUND);
}

/** Nobody heard it, so nothing can have landed. */
static void what_reached_nobody_is_not_unknown(void **state)
{
    struct lab *lab = *state;
    struct catalog *lonely = NULL;
    struct catalog_appended out;
    char url[100];
    int fd = -1;
    make_table(lab);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", listen_somewhere(&fd));
    close(fd);
    assert_ok(catalog_http_open(&(struct catalog_http_opts){ .url = url, .store = lab->store },
                                &lonely, &err));
    struct catalog *remote = lab->remote;
    lab->remote = lonely;
    assert_int_equal(change(lab, lonely, add_column), E_UNAVAILABLE);
    assert_null(strstr(err.msg, "unknown"));
    assert_int_equal(append(lab, "second", &out), E_UNAVAILABLE);
    assert_null(strstr(err.msg, "unknown"));
    assert_int_equal(catalog_drop(lonely, &birds, &err), E_UNAVAILABLE);
    assert_null(strstr(err.msg, "unknown"));
    lab->remote = remote;
    catalog_close(lonely);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
    const struct CMUnitTest tests[] = {
        TEST(a_change_that_landed_unheard_is_not_told_as_failed),
        TEST(a_refusal_after_a_lost_answer_decides_nothing),
        TEST(a_refusal_of_what_was_sent_once_stays_one),
        TEST(an_append_that_landed_unheard_is_found_again),
        TEST(an_answer_without_its_members_tells_nothing),
        TEST(what_is_sent_once_is_unknown_when_its_answer_is_lost),
        TEST(what_reached_nobody_is_not_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
