// The peer hnswlib by the protocol of `vector-bench --ef -`: builds, says what that took, and
// answers each ef that it reads with a line of JSON.
//
//     peer_hnswlib DIR/NAME DIMENSION euclidean|angular BUILD_THREADS

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hnswlib/hnswlib.h"

static std::vector<char> read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    return std::vector<char>((std::istreambuf_iterator<char>(file)), {});
}

static double clock_s(clockid_t which)
{
    timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static long resident_bytes()
{
    std::ifstream status("/proc/self/status");
    std::string line;
    long sum = 0;
    while (std::getline(status, line)) {
        long kib = 0;
        if (sscanf(line.c_str(), "RssAnon: %ld", &kib) == 1) {
            sum += kib * 1024;
        }
    }
    return sum;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: peer_hnswlib DIR/NAME DIMENSION euclidean|angular BUILD_THREADS\n");
        return 2;
    }
    const std::string data = argv[1];
    const size_t d = std::stoul(argv[2]), k = 10;
    const unsigned threads = std::stoul(argv[4]);
    auto base_bytes = read_file(data + ".base.f32"), query_bytes = read_file(data + ".query.f32");
    auto truth_bytes = read_file(data + ".gt.i32");
    const size_t n = base_bytes.size() / sizeof(float) / d,
                 nq = query_bytes.size() / sizeof(float) / d;
    const size_t truth_k = truth_bytes.size() / sizeof(int) / nq;
    const float *base = (const float *)base_bytes.data(),
                *query = (const float *)query_bytes.data();
    const int *truth = (const int *)truth_bytes.data();
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    if (strcmp(argv[3], "angular") == 0) {
        space = std::make_unique<hnswlib::InnerProductSpace>(d); // vectors come in unit length
    } else {
        space = std::make_unique<hnswlib::L2Space>(d);
    }
    const long before = resident_bytes();
    const double start = clock_s(CLOCK_MONOTONIC), cpu_start = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    hnswlib::HierarchicalNSW<float> index(space.get(), n, 16, 200);
    std::atomic<size_t> next{ 0 };
    std::vector<std::thread> workers;
    for (unsigned t = 0; t < threads; t++) {
        workers.emplace_back([&] {
            for (size_t i; (i = next++) < n;) {
                index.addPoint(base + i * d, i);
            }
        });
    }
    for (auto &worker : workers) {
        worker.join();
    }
    printf("{\"build_s\":%.3f,\"build_cpu_s\":%.3f,\"memory_bytes\":%ld}\n",
           clock_s(CLOCK_MONOTONIC) - start, clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_start,
           resident_bytes() - before);
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) != nullptr) {
        index.setEf(std::stoul(line));
        size_t right = 0;
        const double wall = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
        for (size_t q = 0; q < nq; q++) {
            auto found = index.searchKnn(query + q * d, k);
            for (; !found.empty(); found.pop()) {
                const int *first = truth + q * truth_k;
                right += std::count(first, first + k, (int)found.top().second);
            }
        }
        printf("{\"ef\":%d,\"recall\":%.6f,\"qps\":%.1f,\"cpu_us\":%.3f}\n", atoi(line),
               (double)right / (double)(nq * k), (double)nq / (clock_s(CLOCK_MONOTONIC) - wall),
               (clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu) / (double)nq * 1e6);
        fflush(stdout);
    }
    return 0;
}
