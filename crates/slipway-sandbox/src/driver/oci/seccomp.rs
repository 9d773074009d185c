//! Which system calls a sandbox may make: a list of what programs need, everything else refused.
//!
//! Left out on purpose: mounting, namespaces, kernel modules, kexec, keys, BPF, performance counters, userfaultfd,
//! io_uring, clocks, swap, quotas, raw I/O, and the kernel's own address families (AF_ALG, AF_VSOCK).

use serde_json::{Value, json};

/// `clone` may make threads and processes, not namespaces: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Refused with "no such call" so that a C library or runtime takes its other way; `clone3` hides its flags in memory.
const ABSENT: [&str; 4] = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Execution domains that change nothing but the reported kernel version or address layout.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const ALLOWED: &str = "
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_adjtime clock_getres
clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat
fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue
futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents
getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup
io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack
mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync
munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_getfd pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64
process_madvise process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat
renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto
set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups
setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr
setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs statx symlink
symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime
utimensat utimes vfork vmsplice wait4 waitid write writev";

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

/// The `linux.seccomp` part of a container's configuration.
pub(super) fn profile() -> Value {
    let allowed: Vec<&str> = ALLOWED.split_ascii_whitespace().collect();
    let mut rules = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": ABSENT, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
        when("clone", "SCMP_CMP_MASKED_EQ", NAMESPACE_FLAGS, Some(0)),
        // AF_ALG is 38 and AF_VSOCK is 40: what lies around them, by exact value above. The filter compares 64 bits, the
        // kernel's family has 32: with "greater than", a value with high bits would pass and mean AF_VSOCK.
        when("socket", "SCMP_CMP_LT", 38, None),
        when("socket", "SCMP_CMP_EQ", 39, None),
        when("socket", "SCMP_CMP_EQ", 41, None),
        when("socket", "SCMP_CMP_EQ", 43, None),
    ];
    rules.extend(PERSONALITIES.map(|domain| when("personality", "SCMP_CMP_EQ", domain, None)));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": [ARCHITECTURE],
        "syscalls": rules,
    })
}

/// Allows a call when its first argument passes the comparison.
fn when(name: &str, operator: &str, value: u64, value_two: Option<u64>) -> Value {
    let mut argument = json!({ "index": 0, "value": value, "op": operator });
    if let Some(two) = value_two {
        argument["valueTwo"] = json!(two);
    }
    json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_reach_out_of_a_sandbox_is_not_on_the_list() {
        let allowed: Vec<&str> = ALLOWED.split_ascii_whitespace().collect();
        for name in [
            "mount",
            "umount2",
            "move_mount",
            "fsopen",
            "fsmount",
            "open_tree",
            "mount_setattr",
            "pivot_root",
            "chroot",
            "unshare",
            "setns",
            "clone",
            "clone3",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "reboot",
            "swapon",
            "swapoff",
            "iopl",
            "ioperm",
            "open_by_handle_at",
            "io_uring_setup",
            "settimeofday",
            "clock_settime",
            "sethostname",
            "setdomainname",
            "acct",
            "quotactl",
            "syslog",
            "socket",
            "personality",
            "lookup_dcookie",
            "move_pages",
            "migrate_pages",
            "vhangup",
            "kcmp",
        ] {
            assert!(!allowed.contains(&name), "{name}");
        }
        let mut once = allowed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), allowed.len(), "a name stands twice");
    }
}
