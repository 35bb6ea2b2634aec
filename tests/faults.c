// Makes one of a process's next writes, syncs, renames or removals of files fail, or the last thing
// that it does. Preloaded; what is never armed changes nothing.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONE, FAIL, SHORT, KILL_BEFORE, KILL_AFTER };

static atomic_long calls;    // since arming
static atomic_long fail_at;  // the call to meet, from 1
static atomic_long fail_to;  // the last one
static atomic_int action;
static atomic_int fault;  // an errno
static atomic_int only;   // a kind of call: w, s, r or u; 0 for all

void fault_arm(int what, long first, long last, int error, int kind) {
  calls = 0;
  fail_at = first;
  fail_to = last;
  fault = error;
  only = kind;
  action = what;
}

// Calls so far; nothing more happens to any.
long fault_disarm(void) {
  action = NONE;
  return calls;
}

static int met(int kind) {
  if (action == NONE || (only && only != kind)) return NONE;
  long call = ++calls;
  if (call < fail_at || call > fail_to) return NONE;
  if (action == KILL_BEFORE) kill(getpid(), SIGKILL);
  return action;
}

static int met_by(int fd, int kind) {
  struct stat file;
  if (action == NONE || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return NONE;
  return met(kind);
}

#define REAL(name, result, ...) \
  ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

#define FINISH(what, expression)                       \
  if (what == FAIL || what == SHORT) {                 \
    errno = fault;                                     \
    return -1;                                         \
  }                                                    \
  __typeof__(expression) result = expression;          \
  if (what == KILL_AFTER) kill(getpid(), SIGKILL);     \
  return result

ssize_t write(int fd, const void* bytes, size_t size) {
  int what = met_by(fd, 'w');
  ssize_t (*real)(int, const void*, size_t) = REAL(write, ssize_t, int, const void*, size_t);
  if (what == SHORT && size > 1) return real(fd, bytes, size / 2);
  FINISH(what, real(fd, bytes, size));
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  int what = met_by(fd, 'w');
  ssize_t (*real)(int, const void*, size_t, off64_t) =
      REAL(pwrite64, ssize_t, int, const void*, size_t, off64_t);
  if (what == SHORT && size > 1) return real(fd, bytes, size / 2, at);
  FINISH(what, real(fd, bytes, size, at));
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  return pwrite64(fd, bytes, size, at);
}

int fsync(int fd) {
  int what = met('s');
  FINISH(what, REAL(fsync, int, int)(fd));
}

int fdatasync(int fd) {
  int what = met('s');
  FINISH(what, REAL(fdatasync, int, int)(fd));
}

int ftruncate64(int fd, off64_t size) {
  int what = met_by(fd, 'w');
  FINISH(what, REAL(ftruncate64, int, int, off64_t)(fd, size));
}

int rename(const char* from, const char* to) {
  int what = met('r');
  FINISH(what, REAL(rename, int, const char*, const char*)(from, to));
}

int unlink(const char* path) {
  int what = met('u');
  FINISH(what, REAL(unlink, int, const char*)(path));
}
