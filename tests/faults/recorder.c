/* Writes down every change that a process makes to the files of one folder, in the order in which it makes them.

   Preloaded into the service (LD_PRELOAD). RECORDER_FOLDER is the folder, RECORDER_JOURNAL the file to write to.
   One entry of the journal: the header below, the path (relative to the folder), the data. An fsync's number is the
   length of the journal when it began: it covers the entries before that and no other. The entry of an fsync is made
   after it returned, so an answer that waited for it is younger. -shm files are memory, not storage: left out. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, UNLINK, RENAME };

struct header {
    uint64_t at_ns;   /* CLOCK_MONOTONIC */
    uint64_t inode;
    uint64_t number;  /* WRITE: offset. TRUNCATE: size. SYNC: length of the journal when it began */
    uint32_t kind;
    uint32_t path_bytes;
    uint64_t data_bytes;
};

static int journal = -1;
static char folder[PATH_MAX];
static size_t folder_bytes;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("RECORDER_FOLDER"), *to = getenv("RECORDER_JOURNAL");
    if (!path || !to || !realpath(path, folder)) return;
    folder_bytes = strlen(folder);
    int low = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    journal = fcntl(low, F_DUPFD_CLOEXEC, 900);  /* out of the way of those who close low numbers */
    syscall(SYS_close, low);
}

/* The path below the folder, or NULL for what does not concern us. */
static const char *inside(const char *path) {
    size_t bytes = strlen(path);
    if (journal < 0 || strncmp(path, folder, folder_bytes) != 0) return NULL;
    if (path[folder_bytes] == '\0') return path + folder_bytes;
    if (path[folder_bytes] != '/') return NULL;
    if (bytes > 4 && strcmp(path + bytes - 4, "-shm") == 0) return NULL;
    return path + folder_bytes + 1;
}

static const char *inside_of(int fd, char *path) {
    char link[64];
    if (journal < 0) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, PATH_MAX - 1);
    if (bytes < 0) return NULL;
    path[bytes] = '\0';
    char *deleted = strstr(path, " (deleted)");
    if (deleted) *deleted = '\0';
    return inside(path);
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

/* Call with `order` held. A journal that cannot be written would prove nothing: end loudly. */
static void note(uint32_t kind, uint64_t inode, uint64_t number, const char *path, const void *data, size_t bytes) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct header header = {now.tv_sec * 1000000000ull + now.tv_nsec, inode, number, kind, strlen(path), bytes};
    struct iovec parts[3] = {
        {&header, sizeof header}, {(void *)path, header.path_bytes}, {(void *)data, bytes}};
    ssize_t expected = sizeof header + header.path_bytes + bytes;
    if (syscall(SYS_writev, journal, parts, 3) != expected) abort();
}

static int open_noted(int at, const char *path, int flags, mode_t mode) {
    char real[PATH_MAX];
    if (journal < 0 || !(flags & (O_CREAT | O_TRUNC))) return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&order);
    int was_there = faccessat(at, path, F_OK, 0) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode);
    int error = errno;
    const char *name = fd < 0 ? NULL : inside_of(fd, real);
    if (name && !was_there) note(CREATE, inode_of(fd), 0, name, NULL, 0);
    else if (name && (flags & O_TRUNC)) note(TRUNCATE, inode_of(fd), 0, name, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = error;
    return fd;
}

#define MODE_OF(flags) mode_t mode = 0; \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { va_list more; va_start(more, flags); mode = va_arg(more, int); va_end(more); }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_noted(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_noted(at, path, flags, mode); }

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    char path[PATH_MAX];
    const char *name = inside_of(fd, path);
    if (!name) return syscall(SYS_pwrite64, fd, data, bytes, offset);
    pthread_mutex_lock(&order);
    ssize_t done = syscall(SYS_pwrite64, fd, data, bytes, offset);
    int error = errno;
    if (done > 0) note(WRITE, inode_of(fd), offset, name, data, done);
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

ssize_t write(int fd, const void *data, size_t bytes) {
    char path[PATH_MAX];
    const char *name = inside_of(fd, path);
    if (!name) return syscall(SYS_write, fd, data, bytes);
    pthread_mutex_lock(&order);
    ssize_t done = syscall(SYS_write, fd, data, bytes);
    int error = errno;
    if (done > 0) note(WRITE, inode_of(fd), lseek(fd, 0, SEEK_CUR) - done, name, data, done);
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

int ftruncate64(int fd, off64_t size) {
    char path[PATH_MAX];
    const char *name = inside_of(fd, path);
    if (!name) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_ftruncate, fd, size);
    int error = errno;
    if (!failed) note(TRUNCATE, inode_of(fd), size, name, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = error;
    return failed;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int sync_noted(long call, int fd) {
    char path[PATH_MAX];
    const char *name = inside_of(fd, path);
    if (!name) return syscall(call, fd);
    pthread_mutex_lock(&order);
    uint64_t covered = lseek(journal, 0, SEEK_END);
    pthread_mutex_unlock(&order);
    int failed = syscall(call, fd);
    int error = errno;
    pthread_mutex_lock(&order);
    if (!failed) note(SYNC, inode_of(fd), covered, name, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = error;
    return failed;
}

int fsync(int fd) { return sync_noted(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_noted(SYS_fdatasync, fd); }

int unlink(const char *path) {
    char real[PATH_MAX];
    const char *name = journal >= 0 && realpath(path, real) ? inside(real) : NULL;
    if (!name) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int error = errno;
    if (!failed) note(UNLINK, 0, 0, name, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = error;
    return failed;
}

int rename(const char *from, const char *to) {
    char was[PATH_MAX], is[PATH_MAX];
    const char *name = journal >= 0 && realpath(from, was) ? inside(was) : NULL;
    if (!name) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int error = errno;
    const char *new_name = failed || !realpath(to, is) ? NULL : inside(is);
    if (new_name) note(RENAME, 0, 0, name, new_name, strlen(new_name));
    pthread_mutex_unlock(&order);
    errno = error;
    return failed;
}
