/* Sockets to this machine are not paced; those to others are left to the system. */
#include "http/tcp.h"

#include "lab.h"
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *control_of(int fd)
{
    static char name[16];
    socklen_t len = sizeof name;
    memset(name, 0, sizeof name);
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 ? name : "none";
}

/** The congestion control of a fresh socket after it was told who its peer is. */
static const char *control_with(int family, const char *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer = { .any.sa_family = (sa_family_t)family };
    void *to = family == AF_INET ? (void *)&peer.v4.sin_addr : &peer.v6.sin6_addr;
    assert_int_equal(inet_pton(family, address, to), 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 0;
    socklen_t len = sizeof on;
    tcp_setup(fd, &peer.any);
    const char *control = control_of(fd);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on != 0);
    close(fd);
    return control;
}

static void only_loopback_has_a_control_of_its_own(void **state)
{
    (void)state;
    char system[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    snprintf(system, sizeof system, "%s", control_of(fd));
    close(fd);
    assert_string_equal(control_with(AF_INET, "127.0.0.1"), "reno");
    assert_string_equal(control_with(AF_INET, "127.9.9.9"), "reno");
    assert_string_equal(control_with(AF_INET6, "::1"), "reno");
    assert_string_equal(control_with(AF_INET6, "::ffff:127.0.0.1"), "reno");
    assert_string_equal(control_with(AF_INET, "128.0.0.1"), system);
    assert_string_equal(control_with(AF_INET, "192.0.2.1"), system);
    assert_string_equal(control_with(AF_INET6, "2001:db8::1"), system);
    assert_string_equal(control_with(AF_INET6, "::ffff:192.0.2.1"), system);
}

/** The other end of a connection of this process; -1 when there is none. */
static int other_end(int fd)
{
    struct sockaddr_in own, peer;
    socklen_t len = sizeof own;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    for (int other = 0; other < 1024; other++) {
        len = sizeof peer;
        if (getpeername(other, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == own.sin_port) {
            return other;
        }
    }
    return -1;
}

static void a_server_tells_its_connections(void **state)
{
    (void)state;
    struct lab lab;
    struct peer_answer answer;
    lab_start(&lab, NULL);
    struct peer peer = peer_open(lab.address);
    peer_send(&peer, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(peer_read(&peer, false, &answer));
    int fd = other_end(peer.fd);
    assert_true(fd >= 0);
    assert_string_equal(control_of(fd), "reno");
    peer_close(&peer);
    lab_stop(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_loopback_has_a_control_of_its_own),
        cmocka_unit_test(a_server_tells_its_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
