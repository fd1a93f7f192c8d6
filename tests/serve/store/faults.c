/* Preloaded before libc: lets the Nth write, sync, truncation or read of files under FAULTS_DIR fail, and writes down
   every change with its sync, so that a test can build the disk as a power failure would have left it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, READ = 8, MARK = 16, UNLINK = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long seen, first, times, hits;
static int kinds, error_number, halves, journal = -1;

void faults_arm(long at, int what, int error, long how_often, int short_writes) {
  pthread_mutex_lock(&lock);
  seen = 0, hits = 0, first = at, kinds = what, error_number = error, times = how_often, halves = short_writes;
  pthread_mutex_unlock(&lock);
}
long faults_seen(void) { return seen; }
long faults_hits(void) { return hits; }

static int path_of(int fd, char *path, size_t size) {
  char link[64];
  const char *folder = getenv("FAULTS_DIR");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, size - 1);
  if (n < 0 || !folder) return 0;
  path[n] = 0;
  return strncmp(path, folder, strlen(folder)) == 0;
}

static void note(long kind, const char *path, long offset, const void *data, long length) {
  long head[4] = {kind, (long)strlen(path), offset, length};
  syscall(SYS_write, journal, head, sizeof head);
  syscall(SYS_write, journal, path, strlen(path));
  if (length) syscall(SYS_write, journal, data, length);
}

void faults_journal(const char *path) { journal = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600); }
void faults_mark(long number) {
  pthread_mutex_lock(&lock);
  if (journal >= 0) note(MARK, "", number, 0, 0);
  pthread_mutex_unlock(&lock);
}

/* 0: go on; 1: fail with errno; 2: do half, then fail */
static int fails(int kind) {
  if (!(kinds & kind)) return 0;
  seen++;
  if (!first || seen < first || (times >= 0 && seen >= first + times)) return 0;
  hits++;
  errno = error_number;
  return halves && kind == WRITE ? 2 : 1;
}

static ssize_t written(int fd, const void *data, size_t n, off_t at, int positioned) {
  char path[4096];
  if (!path_of(fd, path, sizeof path))
    return positioned ? syscall(SYS_pwrite64, fd, data, n, at) : syscall(SYS_write, fd, data, n);
  pthread_mutex_lock(&lock);
  ssize_t done = -1;
  int verdict = fails(WRITE);
  if (verdict == 2 && n > 1) n /= 2, verdict = 0;
  if (!verdict) {
    if (!positioned) at = lseek(fd, 0, SEEK_CUR);
    done = positioned ? syscall(SYS_pwrite64, fd, data, n, at) : syscall(SYS_write, fd, data, n);
    int kept = errno;
    if (done > 0 && journal >= 0) note(WRITE, path, at, data, done);
    errno = kept;
  }
  pthread_mutex_unlock(&lock);
  return done;
}

static int changed(int fd, int kind, long number, off_t size) {
  char path[4096];
  if (!path_of(fd, path, sizeof path)) return kind == SYNC ? syscall(number, fd) : syscall(number, fd, size);
  pthread_mutex_lock(&lock);
  int done = -1;
  if (!fails(kind)) {
    done = kind == SYNC ? syscall(number, fd) : syscall(number, fd, size);
    if (done == 0 && journal >= 0) note(kind, path, size, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  return done;
}

static ssize_t fetched(int fd, void *data, size_t n, off_t at) {
  char path[4096];
  if ((kinds & READ) && path_of(fd, path, sizeof path)) {
    pthread_mutex_lock(&lock);
    int verdict = fails(READ);
    pthread_mutex_unlock(&lock);
    if (verdict) return -1;
  }
  return syscall(SYS_pread64, fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n) { return written(fd, data, n, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return written(fd, data, n, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return written(fd, data, n, at, 1); }
ssize_t pread(int fd, void *data, size_t n, off_t at) { return fetched(fd, data, n, at); }
ssize_t pread64(int fd, void *data, size_t n, off_t at) { return fetched(fd, data, n, at); }
int fsync(int fd) { return changed(fd, SYNC, SYS_fsync, 0); }
int fdatasync(int fd) { return changed(fd, SYNC, SYS_fdatasync, 0); }
int ftruncate(int fd, off_t size) { return changed(fd, TRUNCATE, SYS_ftruncate, size); }
int ftruncate64(int fd, off_t size) { return changed(fd, TRUNCATE, SYS_ftruncate, size); }
int unlink(const char *path) {
  const char *folder = getenv("FAULTS_DIR");
  pthread_mutex_lock(&lock);
  int done = syscall(SYS_unlink, path);
  if (done == 0 && journal >= 0 && folder && strncmp(path, folder, strlen(folder)) == 0) note(UNLINK, path, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  return done;
}
