/* Sets the time of day of a program ahead by as many seconds as the first 8 bytes of the file CLOCK_AHEAD say at that
 * moment. The time that passes goes on as it does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead = MAP_FAILED;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CLOCK_AHEAD");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file >= 0) {
		ahead = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, file, 0);
		close(file);
	}
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int outcome = (int)syscall(SYS_clock_gettime, clock, now);
	if (outcome == 0 && clock == CLOCK_REALTIME && ahead != MAP_FAILED)
		now->tv_sec += *ahead;
	return outcome;
}
