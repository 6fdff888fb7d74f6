/*
 * The least that a durable PUT can cost: write a temporary file, fdatasync it, rename it, fsync the
 * folder. Prints the milliseconds of each, or with several threads of the whole run per file.
 *
 *     raw_put FOLDER COUNT THREADS BYTES
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int dir_fd, count, threads;
static size_t bytes;
static char *content;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void must(int failed, const char *what)
{
    if (failed != 0) {
        perror(what);
        exit(1);
    }
}

static void put(int thread, int number)
{
    char from[64], to[64];
    snprintf(from, sizeof from, "tmp-%d", thread);
    snprintf(to, sizeof to, "file-%d-%d", thread, number);
    int fd = openat(dir_fd, from, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    must(fd < 0, "open");
    must(write(fd, content, bytes) != (ssize_t)bytes, "write");
    must(fdatasync(fd), "fdatasync");
    must(close(fd), "close");
    must(renameat(dir_fd, from, dir_fd, to), "rename");
    must(fsync(dir_fd), "fsync");
}

static void *work(void *arg)
{
    int thread = *(int *)arg;
    for (int i = 0; i < count; i++) {
        double started = now_ms();
        put(thread, i);
        if (threads == 1) {
            printf("%.4f\n", now_ms() - started);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enum { THREADS_MAX = 64 };
    static pthread_t running[THREADS_MAX];
    static int numbers[THREADS_MAX];
    if (argc != 5) {
        fputs("usage: raw_put FOLDER COUNT THREADS BYTES\n", stderr);
        return 2;
    }
    dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(dir_fd < 0, argv[1]);
    count = atoi(argv[2]);
    threads = atoi(argv[3]);
    bytes = (size_t)atol(argv[4]);
    content = calloc(1, bytes + 1);
    must(content == NULL || threads < 1 || threads > THREADS_MAX, "arguments");
    double started = now_ms();
    for (int i = 0; i < threads; i++) {
        numbers[i] = i;
        must(pthread_create(&running[i], NULL, work, &numbers[i]), "thread");
    }
    for (int i = 0; i < threads; i++) {
        must(pthread_join(running[i], NULL), "join");
    }
    if (threads > 1) {
        printf("%.4f\n", (now_ms() - started) / ((double)count * threads));
    }
    free(content);
    return 0;
}
