/*
 * What every TCP socket of ours is told once it has a peer.
 */
#ifndef HTTP_TCP_H
#define HTTP_TCP_H

#include <sys/socket.h>

/**
 * Small writes leave at once, and what goes to this machine itself is not paced. Failures are not
 * told: the socket works as it is.
 */
void tcp_setup(int fd, const struct sockaddr *peer);

#endif
