"""How a process gives up what reading a stranger's file doesn't need: memory, time, the network.

Linux alone offers it all without being root: resource limits, and a seccomp filter (prctl(2),
seccomp(2)) after which no socket can be made and no program started, by whatever library. It knows
nothing of files. What it gave up, the process can't take back.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
import sys

from ledger_client.errors import Uninspectable

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where in struct seccomp_data
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # deny is errno EPERM
_OTHER_ABI = 0x40000000  # x32, where each call has a second number
# By machine: its audit number, and the calls socket, socketpair, bind, listen, connect, sendto,
# sendmsg, sendmmsg, execve, execveat, ptrace, kill, process_vm_writev, io_uring_setup and _enter.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        (41, 53, 49, 50, 42, 44, 46, 307, 59, 322, 101, 62, 311, 425, 426),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 199, 200, 201, 203, 206, 211, 269, 221, 281, 117, 129, 271, 425, 426),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def limit(seconds: int, memory_bytes: int, written_bytes: int) -> None:
    """Bound the time on a processor, the address space and what any file may grow to; no dumps."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written_bytes, written_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def shut_off() -> None:
    """Give up the network and the start of programs. *Raises*: Uninspectable."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        raise _refuse()
    program = _write_filter(*_MACHINES[machine])
    held = ctypes.create_string_buffer(program, len(program))
    told = _Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    prctl = ctypes.CDLL(None).prctl
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(
        _SET_SECCOMP, _FILTER, ctypes.byref(told), 0, 0
    ):
        raise _refuse()


def _write_filter(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Give the filter's instructions: jumps count what is skipped if true, if false."""
    count = len(calls)
    head = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, count + 1, 0, _OTHER_ABI),
    ]
    denied = [(_EQUAL, count - place, 0, call) for place, call in enumerate(calls)]
    tail = [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    return b"".join(struct.pack("HBBI", *one) for one in (*head, *denied, *tail))


def _refuse() -> Uninspectable:
    return Uninspectable(
        "unsupported-system", "A file is inspected on Linux alone, where a process can be confined."
    )
