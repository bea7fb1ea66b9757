/* Moves the wall clock of the one process that it is loaded into (LD_PRELOAD): CLOCK_REALTIME is the
 * machine's plus the seconds that a file holds, which the test writes while the process runs. The
 * monotonic clocks stay the machine's, as they do when somebody sets a clock.
 *
 * Nothing is looked up with dlsym, which may allocate: the process asks for the time before its
 * allocator is ready. The system call costs some 100 ns more than the vDSO.
 *
 * Not moved: what waits in the kernel for a wall-clock time (timerfd, futex, clock_nanosleep). Neither
 * Envoy's event loop nor tokio does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset;

__attribute__((constructor)) static void find_offset(void) {
    const char *path = getenv("GATEPASS_TEST_CLOCK");
    if (path == NULL) {
        return;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        /* A test that means to move a clock must not run on one that stands. */
        _exit(97);
    }
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) {
        _exit(97);
    }
    offset = page;
}

static int64_t seconds_ahead(void) {
    return offset == NULL ? 0 : *offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += seconds_ahead();
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) {
        return -1;
    }
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return (time_t)-1;
    }
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
