"""The default seccomp profile: which system calls a container may make unless told otherwise.

Three answers, so that programs can tell them apart:

- what is harmless is allowed, some of it only with a capability or with certain arguments;
- what exists and is refused fails with EPERM, as if a capability were missing;
- what nobody has judged yet, because it is newer than this list, fails with ENOSYS. Then C libraries fall back to what
  they did before the call existed; with EPERM they give up (clone3 and faccessat2 broke images that way).

clone3 hides its flags behind a pointer, where no filter can look: it too does not exist for who may not make
namespaces, and C libraries use clone.
"""

import errno
import functools
import platform
import socket

from podwright.oci.documents import Document

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl
lchown lchown32 link linkat listmount lseek _llseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at
newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readdir
readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64
statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime
utimensat utimensat_time64 utimes vmsplice write writev
"""
_ATTRIBUTES = """
fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr
lsetxattr removexattr removexattrat setxattr setxattrat
"""
_MEMORY = """
brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""
_PROCESSES = """
capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getpgid getpgrp getpid getppid
getpriority getrlimit getrusage getsid gettid ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr nice pidfd_open pidfd_send_signal prctl
prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace rseq sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area
set_tid_address setpgid setpriority setrlimit setsid tgkill tkill ugetrlimit vfork wait4 waitid waitpid
"""
_IDS = """
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32
getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32
setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""
_SIGNALS = """
eventfd eventfd2 pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal signalfd signalfd4
sigpending sigprocmask sigreturn sigsuspend uprobe uretprobe
"""
_TIME = """
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times
"""
_WAITING = """
_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old futex
futex_requeue futex_time64 futex_wait futex_waitv futex_wake inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll
ppoll_time64 pselect6 pselect6_time64 select
"""
_IPC = """
ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
_SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg
send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
_SYSTEM = "getcpu getrandom sysinfo uname"

_X86 = "arch_prctl modify_ldt"
_ARM = "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"

_ALLOWED = (_FILES, _ATTRIBUTES, _MEMORY, _PROCESSES, _IDS, _SIGNALS, _TIME, _WAITING, _IPC, _SOCKETS, _SYSTEM)

_WITH_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise userfaultfd",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}
"""The kernel asks for the same capabilities; the filter keeps its code out of reach of who lacks them."""

_REFUSED = """
_sysctl add_key bdflush io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl migrate_pages
move_pages nfsservctl pivot_root request_key swapoff swapon sysfs uselib ustat vm86 vm86old
"""
"""Without a namespace of their own (keys), around the filter itself (io_uring), or nobody's business in a container."""

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET in include/uapi/linux/sched.h."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question which one it is."""

_FAMILIES = ((0, 32), (32, 4), (36, 2), (39, 1), (41, 1), (42, 2), (44, 4))
"""Address families for socket: first, and how many, a power of two that divides the first. AF_ALG (38) and AF_VSOCK
(40) are missing: the one is a piece of the kernel that few use and that had grave errors, the other speaks to the
hypervisor behind the network namespace's back. As the kernel does, the filter looks at 32 bits only.
"""

_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}


@functools.lru_cache(maxsize=64)
def profile(capabilities: frozenset[str], machine: str = platform.machine(), *, native_only: bool = False) -> Document:
    """linux.seccomp for a container with these capabilities. The document is shared: do not change it.

    `native_only` leaves out the other architectures whose programs the machine runs: to make their part of the filter
    takes libseccomp five sixths of the time, 12 ms.

    On machines other than x86_64 and aarch64 it names no architecture, and OCI runtimes take their own.
    """
    allowed = set(" ".join(_ALLOWED).split())
    allowed |= set(_X86.split()) if machine == "x86_64" else set(_ARM.split()) if machine == "aarch64" else set()
    known = set(_REFUSED.split())
    for capability, names in _WITH_CAPABILITY.items():
        known.update(names.split())
        if capability in capabilities:
            allowed.update(names.split())
    refused = known - allowed - {"clone", "clone3"}
    rules = [
        {"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"},
        {"names": sorted(refused), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        *_socket_rules(),
        *(_rule("personality", "SCMP_ACT_ALLOW", _equal(0, value)) for value in _PERSONALITIES),
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules += _clone_rules(1 if machine.startswith("s390") else 0)
    found: Document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "syscalls": rules,
    }
    if machine in _ARCHITECTURES:
        found["architectures"] = list(_ARCHITECTURES[machine])[: 1 if native_only else None]
    return found


def _socket_rules() -> list[Document]:
    word = 0xFFFFFFFF
    rules = [_rule("socket", "SCMP_ACT_ALLOW", _masked(0, word & ~(count - 1), first)) for first, count in _FAMILIES]
    for family in (socket.AF_ALG, socket.AF_VSOCK):
        refusal = _rule("socket", "SCMP_ACT_ERRNO", _masked(0, word, family))
        rules.append({**refusal, "errnoRet": errno.EAFNOSUPPORT})
    return rules


def _clone_rules(index: int) -> list[Document]:
    """Processes and threads, but no namespaces. `index` is where clone has its flags."""
    rules = [_rule("clone", "SCMP_ACT_ALLOW", _masked(index, _NEW_NAMESPACES, 0))]
    for bit in range(32):
        flag = 1 << bit
        if flag & _NEW_NAMESPACES:
            refusal = _rule("clone", "SCMP_ACT_ERRNO", _masked(index, flag, flag))
            rules.append({**refusal, "errnoRet": errno.EPERM})
    return rules


def _rule(name: str, action: str, argument: Document) -> Document:
    return {"names": [name], "action": action, "args": [argument]}


def _equal(index: int, value: int) -> Document:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _masked(index: int, mask: int, value: int) -> Document:
    """True if the argument's bits in `mask` are those of `value`."""
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
