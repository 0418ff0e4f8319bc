/* System calls below one folder: counted, traced, and one of them made to fail. Loaded with LD_PRELOAD.

   Belongs here: what happens to a call. Does not belong here: which calls there are and what should come of them
   (points.py, crashes.py). Everything is off until the process asks for it (fault_watch, fault_trace, fault_arm,
   fault_clock). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum mode { NONE, KILL, HALF, NOSPACE, IOERROR, SHORT, FLIP, FULL };

static char watched[PATH_MAX];
static size_t watched_length;
static int trace_fd = -1;
static char armed_call[32], armed_path[PATH_MAX];
static int armed_mode = NONE, left = 0, hit = 0, is_full = 0;
static time_t clock_seconds = 0;
/* Held over each watched call, so that the trace has the calls in the order in which they took effect. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                    \
    static type (*real)(__VA_ARGS__);                            \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

static ssize_t plain_write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, size);
}

void fault_watch(const char *folder)
{
    snprintf(watched, sizeof watched, "%s", folder);
    watched_length = strlen(watched);
}

void fault_trace(const char *file)
{
    REAL(int, "open", const char *, int, ...);
    trace_fd = real(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

/* The n-th call of this kind whose path matches the pattern is the one to fail. */
void fault_arm(const char *call, const char *pattern, int n, int mode)
{
    snprintf(armed_call, sizeof armed_call, "%s", call);
    snprintf(armed_path, sizeof armed_path, "%s", pattern);
    left = n;
    armed_mode = mode;
    hit = is_full = 0;
}

int fault_hit(void) { return hit; }

/* From now on it is always this second. */
void fault_clock(long seconds) { clock_seconds = seconds; }

int clock_gettime(clockid_t id, struct timespec *now)
{
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    if (id == CLOCK_REALTIME && clock_seconds) {
        now->tv_sec = clock_seconds;
        now->tv_nsec = 0;
        return 0;
    }
    return real(id, now);
}

static int is_watched(const char *path)
{
    return watched_length && !strncmp(path, watched, watched_length)
        && (path[watched_length] == '/' || !path[watched_length]);
}

/* The absolute path of a descriptor, or of a name relative to one. */
static void path_of(int fd, const char *name, char *path)
{
    char link[64];
    ssize_t length = 0;
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    if (fd == AT_FDCWD) {
        if (!getcwd(path, PATH_MAX)) path[0] = 0;
        length = strlen(path);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        length = readlink(link, path, PATH_MAX - 1);
        if (length < 0) length = 0;
        path[length] = 0;
    }
    if (name) snprintf(path + length, PATH_MAX - length, "/%s", name);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What is to happen to this call. Kills at once where nothing is to be done before. */
static int fault(const char *call, const char *path)
{
    int is_growth = !strcmp(call, "write") || !strcmp(call, "create") || !strcmp(call, "mkdir");
    if (is_full && is_growth) return NOSPACE;
    if (armed_mode == NONE || hit || strcmp(call, armed_call) || fnmatch(armed_path, path, 0)) return NONE;
    if (--left > 0) return NONE;
    hit = 1;
    if (armed_mode == KILL) die();
    if (armed_mode == FULL) is_full = 1;
    return armed_mode;
}

static void note(const char *call, const char *path, const char *second, long offset, const void *data, size_t size)
{
    char line[3 * PATH_MAX];
    if (trace_fd < 0) return;
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\t%ld\t%zu\n", call, path, second, offset, size);
    if (plain_write(trace_fd, line, length) != length) abort();
    if (size && plain_write(trace_fd, data, size) != (ssize_t)size) abort();
}

/* A call that is done or not done: with `real` it is made, noted if it succeeds, or failed. */
#define WHOLE(call, path, second, statement)                        \
    do {                                                            \
        int result_, saved_;                                        \
        pthread_mutex_lock(&one_at_a_time);                         \
        int what_ = fault(call, path);                              \
        if (what_ == NOSPACE || what_ == IOERROR || what_ == FULL) { \
            result_ = -1;                                           \
            errno = what_ == IOERROR ? EIO : ENOSPC;                \
        } else {                                                    \
            result_ = (statement);                                  \
            if (result_ >= 0) note(call, path, second, 0, 0, 0);    \
        }                                                           \
        saved_ = errno;                                             \
        pthread_mutex_unlock(&one_at_a_time);                       \
        errno = saved_;                                             \
        return result_;                                             \
    } while (0)

static ssize_t faulty_write(int fd, const char *path, const void *data, size_t size, off_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    struct stat status;
    char *changed = NULL;
    ssize_t done;
    int saved, what;
    pthread_mutex_lock(&one_at_a_time);
    off_t at = offset;
    if (at < 0) at = fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &status) ? status.st_size : lseek(fd, 0, SEEK_CUR);
    what = fault("write", path);
    if (what == NOSPACE || what == IOERROR) {
        done = -1;
        errno = what == IOERROR ? EIO : ENOSPC;
    } else {
        if ((what == SHORT || what == HALF || what == FULL) && size > 1) size /= 2;
        if (what == FLIP && size) {
            changed = malloc(size);
            memcpy(changed, data, size);
            changed[size / 2] ^= 0x10;
            data = changed;
        }
        done = offset < 0 ? plain_write(fd, data, size) : real(fd, data, size, offset);
        if (what == HALF) die();
        if (done > 0) note("write", path, "", at, data, done);
    }
    saved = errno;
    free(changed);
    pthread_mutex_unlock(&one_at_a_time);
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    char path[PATH_MAX];
    if (!watched_length) return plain_write(fd, data, size);
    path_of(fd, NULL, path);
    return is_watched(path) ? faulty_write(fd, path, data, size, -1) : plain_write(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    char path[PATH_MAX];
    path_of(fd, NULL, path);
    return is_watched(path) ? faulty_write(fd, path, data, size, offset) : real(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

/* Of several pieces one is written: writev may be short too. */
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    char path[PATH_MAX];
    path_of(fd, NULL, path);
    return is_watched(path) && count ? faulty_write(fd, path, pieces[0].iov_base, pieces[0].iov_len, -1)
                                     : real(fd, pieces, count);
}

#define SYNC(name)                                 \
    int name(int fd)                               \
    {                                              \
        REAL(int, #name, int);                     \
        char path[PATH_MAX];                       \
        path_of(fd, NULL, path);                   \
        if (!is_watched(path)) return real(fd);    \
        WHOLE("sync", path, "", real(fd));         \
    }
SYNC(fsync)
SYNC(fdatasync)

int ftruncate64(int fd, off_t size)
{
    REAL(int, "ftruncate64", int, off_t);
    char path[PATH_MAX];
    path_of(fd, NULL, path);
    if (!is_watched(path)) return real(fd, size);
    WHOLE("truncate", path, "", real(fd, size));
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

#define OPEN_AT(name)                                                                              \
    int name(int folder, const char *file, int flags, ...)                                         \
    {                                                                                              \
        REAL(int, #name, int, const char *, int, ...);                                             \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        int permissions = flags & O_CREAT ? va_arg(rest, int) : 0;                   \
        va_end(rest);                                                                              \
        char path[PATH_MAX];                                                                       \
        path_of(folder, file, path);                                                               \
        if (!is_watched(path)) return real(folder, file, flags, permissions);                      \
        const char *call = flags & O_CREAT ? "create" : flags & (O_WRONLY | O_RDWR) ? "open" : "read"; \
        WHOLE(call, path, "", real(folder, file, flags, permissions));                             \
    }
OPEN_AT(openat)
OPEN_AT(openat64)

#define OPEN(name)                                                             \
    int name(const char *file, int flags, ...)                                 \
    {                                                                          \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        int permissions = flags & O_CREAT ? va_arg(rest, int) : 0; \
        va_end(rest);                                                          \
        return openat(AT_FDCWD, file, flags, permissions);                     \
    }
OPEN(open)
OPEN(open64)

int mkdirat(int folder, const char *name, mode_t permissions)
{
    REAL(int, "mkdirat", int, const char *, mode_t);
    char path[PATH_MAX];
    path_of(folder, name, path);
    if (!is_watched(path)) return real(folder, name, permissions);
    WHOLE("mkdir", path, "", real(folder, name, permissions));
}

int mkdir(const char *name, mode_t permissions) { return mkdirat(AT_FDCWD, name, permissions); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    char path[PATH_MAX], second[PATH_MAX];
    path_of(from_folder, from, path);
    path_of(to_folder, to, second);
    if (!is_watched(second)) return real(from_folder, from, to_folder, to, flags);
    WHOLE(flags & 2 ? "exchange" : "rename", path, second, real(from_folder, from, to_folder, to, flags));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    REAL(int, "linkat", int, const char *, int, const char *, int);
    char path[PATH_MAX], second[PATH_MAX];
    path_of(from_folder, from, path);
    path_of(to_folder, to, second);
    if (!is_watched(second)) return real(from_folder, from, to_folder, to, flags);
    WHOLE("link", path, second, real(from_folder, from, to_folder, to, flags));
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    char path[PATH_MAX];
    path_of(folder, name, path);
    if (!is_watched(path)) return real(folder, name, flags);
    WHOLE(flags & AT_REMOVEDIR ? "rmdir" : "unlink", path, "", real(folder, name, flags));
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
