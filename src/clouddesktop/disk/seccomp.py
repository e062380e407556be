"""The system calls that a sandboxed qemu-nbd may make, as a program for the kernel.

libseccomp, bound by cffi, turns names into numbers of this machine's architecture and rules into
BPF. What is not listed answers ENOSYS, so that QEMU and the C library fall back as on an old
kernel: io_uring to threads, clone3 to clone.
"""

from __future__ import annotations

import errno
import mmap
import os
from functools import cache
from typing import Any

import cffi

_PLAIN = """
    accept4 access arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep close dup dup2
    dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group
    faccessat faccessat2 fadvise64 fcntl fdatasync flock fstat fstatfs futex get_mempolicy
    get_robust_list getcwd getdents64 getegid geteuid getgid getpeername getpid getppid
    getrandom getsockname getsockopt gettid gettimeofday getuid listen lseek lstat madvise
    membarrier mprotect mremap munmap nanosleep newfstatat pipe2 poll ppoll prctl pread64
    preadv preadv2 prlimit64 read readlink readlinkat readv recvfrom recvmsg restart_syscall
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
    sched_getaffinity sched_yield select pselect6 sendmsg sendto set_mempolicy set_robust_list
    set_tid_address setsockopt shutdown sigaltstack signalfd4 stat statfs statx sysinfo tgkill
    timerfd_create timerfd_settime umask uname write writev
"""
"""What qemu-nbd was seen to call over every format that is served, and the like of it. `execve` is
for its own start: nothing else that could be started is in the sandbox's view."""

_ONE_THREAD_MORE = 0x10000  # CLONE_THREAD
_WRITES = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
"""QEMU tries its locks out on /dev/null, which it opens to read and write. What else it opened so
it could not write to: the limit on written files is 0, and mappings are private."""

_ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW
_DENY = 0x00050000 | errno.ENOSYS  # SCMP_ACT_ERRNO
_MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
_UNKNOWN = -1  # __NR_SCMP_ERROR

_DECLARATIONS = """
    struct scmp_arg_cmp { unsigned int arg; int op; uint64_t datum_a; uint64_t datum_b; };
    void *seccomp_init(uint32_t def_action);
    void seccomp_release(void *ctx);
    int seccomp_syscall_resolve_name(const char *name);
    int seccomp_rule_add_array(void *ctx, uint32_t action, int syscall, unsigned int arg_cnt,
                               const struct scmp_arg_cmp *arg_array);
    int seccomp_export_bpf(const void *ctx, int fd);
"""


class SeccompError(Exception):
    """The program cannot be made here."""


@cache
def build_filter() -> bytes:
    """Give the program, an array of `struct sock_filter`.

    Raises:
        SeccompError: libseccomp is missing or does not know this machine.
    """
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    library: Any
    try:
        library = ffi.dlopen("libseccomp.so.2")
    except OSError as error:
        raise SeccompError("the library libseccomp is not installed") from error
    context = library.seccomp_init(_DENY)
    if context == ffi.NULL:
        raise SeccompError("libseccomp does not know this machine")
    try:
        for name in _PLAIN.split():
            _allow(ffi, library, context, name)
        # Threads, but no processes; files to read, but none to write.
        _allow(ffi, library, context, "mmap", (3, mmap.MAP_SHARED, 0))
        _allow(ffi, library, context, "clone", (0, _ONE_THREAD_MORE, _ONE_THREAD_MORE))
        _allow(ffi, library, context, "open", (1, _WRITES, 0))
        _allow(ffi, library, context, "openat", (2, _WRITES, 0))
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _allow(
    ffi: Any, library: Any, context: Any, name: str, condition: tuple[int, int, int] | None = None
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN:
        raise SeccompError(f"libseccomp does not know the call {name}")
    if condition is None:
        result = library.seccomp_rule_add_array(context, _ALLOW, number, 0, ffi.NULL)
    else:
        argument, mask, value = condition
        comparison = ffi.new(
            "struct scmp_arg_cmp *",
            {"arg": argument, "op": _MASKED_EQUAL, "datum_a": mask, "datum_b": value},
        )
        result = library.seccomp_rule_add_array(context, _ALLOW, number, 1, comparison)
    # Calls that this architecture does not have get negative numbers: some of them are refused.
    if result < 0 and number >= 0:
        raise SeccompError(f"no rule for {name}: {os.strerror(-result)}")


def _export(library: Any, context: Any) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, fd)
        if result < 0:
            raise SeccompError(f"the program cannot be written: {os.strerror(-result)}")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
