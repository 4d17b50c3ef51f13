// Puts the wall clock of a process ahead by as many seconds as a file says at that moment, or behind if they are negative.
// LD_PRELOAD names this library, CLOCK_AHEAD the file: one 64-bit integer. Other clocks stay as they are, so timeouts do.
// The functions read their wall clock with `clock_gettime` alone, as every program in Rust does.
//
// PyPI's libfaketime is not built for threads: it ends a process in which two of them read the clock at once. It also leaves
// a semaphore behind for each process that is killed.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void map_file(void) {
    const char *name = getenv("CLOCK_AHEAD");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        perror("CLOCK_AHEAD");
        abort();
    }
    close(file);
    ahead = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME && ahead)
        time->tv_sec += *ahead;
    return failed;
}
