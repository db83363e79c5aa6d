"""The system calls that reading a file doesn't need, and the filter that refuses them.

The numbers are those of Linux's tables for x86-64 and ARM-64. The filter is a program of the
kernel's own small machine (seccomp(2)); it sees numbers and arguments, never what a pointer points
to, so it knows no path. It is installed by confinement.py.
"""

from __future__ import annotations

import struct

# By machine: its audit number and its column below.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

REFUSED = {
    # the network
    "socket": (41, 198),
    "socketpair": (53, 199),
    "bind": (49, 200),
    "listen": (50, 201),
    "connect": (42, 203),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # programs, processes and namespaces
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    # other processes
    "ptrace": (101, 117),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # files and their names
    "creat": (85, None),
    "truncate": (76, 45),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "flock": (73, 32),
    "open_by_handle_at": (304, 265),
    # attributes of files
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # memory and queues of others
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # the kernel's own, where the platform runs as root
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "fsmount": (432, 432),
    "fsconfig": (431, 431),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    # rings, through which other calls would go unseen
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE, _OPEN, _OPENAT, _FCNTL, _IOCTL, _PRLIMIT = (
    (56, 220),
    (2, None),
    (257, 56),
    (72, 25),
    (16, 29),
    (302, 261),
)
# Their arguments lie behind pointers, so libraries are told that the kernel is older.
_ABSENT = ((435, 435), (437, 437))  # clone3, openat2
_NEWER = 452  # the first call that these lists don't know; x32's second numbers are above it too

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where in struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_DENY, _UNKNOWN = 0x00050000 | 1, 0x00050000 | 38  # errno EPERM, ENOSYS

_THREAD = 0x10000  # CLONE_THREAD
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # WRONLY, RDWR, CREAT, TRUNC, APPEND
# Requests that tell or that concern the descriptor alone: TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD,
# FIOCLEX, FIONCLEX.
_REQUESTS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5451, 0x5450)
_DUPLICATE, _FIRST_LOCK = 1030, 5  # fcntl: F_DUPFD_CLOEXEC, and below F_GETLK what is harmless
# Call, number of the argument, tests of it in order with their verdicts, and the verdict of none.
_JUDGED = (
    (_CLONE, 0, ((_ANY_BIT, _THREAD, _ALLOW),), _DENY),
    (_OPEN, 1, ((_ANY_BIT, _WRITING, _DENY),), _ALLOW),
    (_OPENAT, 2, ((_ANY_BIT, _WRITING, _DENY),), _ALLOW),
    (_FCNTL, 1, ((_EQUAL, _DUPLICATE, _ALLOW), (_AT_LEAST, _FIRST_LOCK, _DENY)), _ALLOW),
    (_IOCTL, 1, tuple((_EQUAL, one, _ALLOW) for one in _REQUESTS), _DENY),
    (_PRLIMIT, 0, ((_EQUAL, 0, _ALLOW),), _DENY),
)


def write_filter(machine: str) -> bytes:
    """Give the filter's instructions for a machine of the list, a jump never past 255."""
    architecture, column = MACHINES[machine]
    told = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_answer(_AT_LEAST, _NEWER, _UNKNOWN),
    ]
    for absent in _ABSENT:
        told += _answer(_EQUAL, absent[column], _UNKNOWN)
    for call, argument, tests, otherwise in _JUDGED:
        if (number := call[column]) is not None:
            told += [
                (_EQUAL, 0, 2 + 2 * len(tests), number),
                (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
            ]
            for test, value, verdict in tests:
                told += _answer(test, value, verdict)
            told.append((_RETURN, 0, 0, otherwise))
    for refused in REFUSED.values():
        if (number := refused[column]) is not None:
            told += _answer(_EQUAL, number, _DENY)
    told.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *one) for one in told)


def _answer(test: int, value: int, verdict: int) -> list[tuple[int, int, int, int]]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, verdict)]
