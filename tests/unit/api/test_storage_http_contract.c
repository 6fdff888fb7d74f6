/*
 * The http driver keeps the contract: over a server of ours in this process, with storaged's routes
 * over a file store and over a memory store (which has no descriptors to send).
 */
#include "../store/contract.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "api/api_storage.h"
#include "base/io.h"
#include "http/server.h"

static char dir[64];
static bool on_files;
static struct store *behind;
static struct api_storage storage;
static struct metrics *metrics;
static struct http_server *server;

static enum status serve(struct err *err)
{
    size_t count = 0;
    TRY(http_server_new(&(struct http_server_opts){ .service = "storaged",
                                                    .bind = "127.0.0.1:0",
                                                    .metrics = metrics,
                                                    .cluster_secret = STR("secret-of-the-test"),
                                                    .drain_ms = 1000 },
                        &server, err));
    const struct http_route *routes = api_storage_routes(&count);
    TRY(http_server_mount(server, "", routes, count, &storage, err));
    routes = api_storage_internal_routes(&count);
    TRY(http_server_mount(server, "", routes, count, &storage, err));
    return http_server_start(server, err);
}

static enum status open_behind(struct err *err)
{
    if (!on_files) {
        return store_mem_open(&(struct store_mem_opts){ 0 }, &behind, err);
    }
    snprintf(dir, sizeof dir, "/tmp/store-http-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return err_set(err, E_INTERNAL, "no temporary folder");
    }
    return store_fs_open(&(struct store_fs_opts){ .dir = dir }, &behind, err);
}

static struct store *open_store(void)
{
    struct err err = { 0 };
    struct store *store = NULL;
    char url[100];
    metrics = metrics_new();
    MUST(open_behind(&err));
    storage = (struct api_storage){ .store = behind };
    MUST(serve(&err));
    snprintf(url, sizeof url, "http://%s", http_server_address(server));
    MUST(store_http_open(
        &(struct store_http_opts){ .url = url, .cluster_secret = STR("secret-of-the-test") },
        &store, &err));
    return store;
}

static void close_store(struct store *store)
{
    struct err err = { 0 };
    store_close(store);
    http_server_stop(server);
    http_server_free(server);
    metrics_free(metrics);
    store_close(behind);
    if (on_files) {
        MUST(io_remove_tree(dir, &err));
    }
}

static void a_service_without_the_secret_is_refused(void **state)
{
    struct err err = { 0 };
    struct store *store = NULL;
    struct store_info info;
    char url[100];
    struct store *good = open_store();
    snprintf(url, sizeof url, "http://%s", http_server_address(server));
    MUST(store_http_open(&(struct store_http_opts){ .url = url, .cluster_secret = STR("wrong") },
                         &store, &err));
    enum status status = store_stat(store, STR("x"), &info, &err);
    assert_true(status == E_AUTH || status == E_DENIED);
    status = store_put(store, STR("x"), STR("y"), NULL, NULL, &err);
    assert_true(status == E_AUTH || status == E_DENIED);
    assert_int_equal(store_stat(good, STR("x"), &info, &err), E_NOT_FOUND);
    store_close(store);
    close_store(good);
}

static void a_store_that_is_down_is_an_upstream_error(void **state)
{
    struct err err = { 0 };
    struct store *store = NULL;
    struct store_info info;
    MUST(store_http_open(
        &(struct store_http_opts){ .url = "http://127.0.0.1:1", .cluster_secret = STR("s") },
        &store, &err));
    assert_int_equal(store_stat(store, STR("x"), &info, &err), E_UPSTREAM);
    assert_int_equal(store_put(store, STR("x"), STR("y"), NULL, NULL, &err), E_UPSTREAM);
    assert_int_equal(store_ready(store, &err), E_UPSTREAM);
    assert_int_equal(store_root_uri(store).len, 0);
    store_close(store);
}

/** Takes requests and hangs up without an answer; counts them. */
static void *hang_up(void *arg)
{
    int *sockets = arg; /* the listener; then the count */
    for (;;) {
        char bytes[4096];
        AUTO(fd_done) int fd = accept(sockets[0], NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        if (recv(fd, bytes, sizeof bytes, 0) > 0) {
            sockets[1]++;
        }
    }
}

static void a_lost_answer_is_unknown_and_nothing_is_sent_twice(void **state)
{
    struct err err = { 0 };
    struct store *store = NULL;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int sockets[2] = { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 0 };
    pthread_t thread;
    char url[64];
    assert_int_equal(bind(sockets[0], (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(sockets[0], 8), 0);
    assert_int_equal(getsockname(sockets[0], (struct sockaddr *)&address, &len), 0);
    assert_int_equal(pthread_create(&thread, NULL, hang_up, sockets), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    MUST(store_http_open(&(struct store_http_opts){ .url = url, .cluster_secret = STR("s") },
                         &store, &err));
    assert_int_equal(store_put(store, STR("p"), STR("1"),
                               &(struct store_cond){ .if_match = STR("e") }, NULL, &err),
                     E_UPSTREAM);
    assert_int_equal(
        store_put(store, STR("p"), STR("1"), &(struct store_cond){ .if_absent = true }, NULL, &err),
        E_UPSTREAM);
    assert_int_equal(store_copy(store, STR("p"), STR("q"), NULL, &err), E_UPSTREAM);
    store_close(store);
    shutdown(sockets[0], SHUT_RDWR);
    pthread_join(thread, NULL);
    assert_int_equal(sockets[1], 3);
    fd_done(&sockets[0]);
}

int main(void)
{
    struct contract_driver driver = { .open = open_store,
                                      .close = close_store,
                                      .remote = true,
                                      .no_uploads = true,
                                      .uri_scheme = "mem://" };
    int failed = contract_run("store http over mem", &driver);
    on_files = true;
    driver.uri_scheme = "file:///tmp/";
    failed += contract_run("store http over fs", &driver);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_without_the_secret_is_refused),
        cmocka_unit_test(a_store_that_is_down_is_an_upstream_error),
        cmocka_unit_test(a_lost_answer_is_unknown_and_nothing_is_sent_twice),
    };
    return failed + cmocka_run_group_tests_name("store http own", tests, NULL, NULL);
}
