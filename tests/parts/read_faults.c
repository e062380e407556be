/* Preloaded: reads of one file fail while a switch, a file, is there.
 *
 *   FAULT_NAME    the end of the file's path
 *   FAULT_SWITCH  faults happen while this path exists
 *   FAULT_FROM    reads that reach this byte or any after it are hit
 *   FAULT_KIND    "error": EIO; "short": half of what was asked for, at most
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int hits(int fd, long long end)
{
    const char *name = getenv("FAULT_NAME"), *switch_path = getenv("FAULT_SWITCH");
    char link[64], path[4096];
    ssize_t size;

    if (!name || !switch_path || end <= atoll(getenv("FAULT_FROM")) || access(switch_path, F_OK))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size < (ssize_t)strlen(name))
        return 0;
    path[size] = 0;
    return !strcmp(path + size - strlen(name), name);
}

static int is_short(void) { return !strcmp(getenv("FAULT_KIND"), "short"); }

typedef ssize_t (*pread_type)(int, void *, size_t, off_t);
typedef ssize_t (*preadv_type)(int, const struct iovec *, int, off_t);

static ssize_t one(const char *real, int fd, void *buffer, size_t size, off_t offset)
{
    if (hits(fd, offset + (long long)size)) {
        if (!is_short()) {
            errno = EIO;
            return -1;
        }
        size = size > 1 ? size / 2 : size;
    }
    return ((pread_type)dlsym(RTLD_NEXT, real))(fd, buffer, size, offset);
}

static ssize_t many(const char *real, int fd, const struct iovec *pieces, int count, off_t offset)
{
    long long size = 0;
    int index;

    for (index = 0; index < count; index++)
        size += pieces[index].iov_len;
    if (hits(fd, offset + size))
        return one("pread64", fd, pieces[0].iov_base, pieces[0].iov_len, offset);
    return ((preadv_type)dlsym(RTLD_NEXT, real))(fd, pieces, count, offset);
}

ssize_t pread(int fd, void *b, size_t s, off_t o) { return one("pread", fd, b, s, o); }
ssize_t pread64(int fd, void *b, size_t s, off_t o) { return one("pread64", fd, b, s, o); }
ssize_t preadv(int fd, const struct iovec *p, int c, off_t o) { return many("preadv", fd, p, c, o); }
ssize_t preadv64(int fd, const struct iovec *p, int c, off_t o) { return many("preadv64", fd, p, c, o); }
