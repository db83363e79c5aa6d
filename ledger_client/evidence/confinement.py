"""How a process gives up what reading a stranger's file doesn't need, in memory, time and calls.

Linux alone offers it all without being root: resource limits; a seccomp filter (prctl(2),
seccomp(2)) after which no socket is made, no program or process started, nothing opened for writing
and no other process touched, by whatever library; and, where the kernel has it, Landlock
(landlock(7)), after which only named places can be read. What it gave up, it can't take back.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_client.errors import Uninspectable
from ledger_client.evidence.calls import MACHINES, write_filter

if TYPE_CHECKING:
    from collections.abc import Iterable

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
# Landlock's calls have one number on all machines; its rights came with versions of its interface.
_CREATE_RULES, _ADD_RULE, _RESTRICT, _VERSION, _BENEATH = 444, 445, 446, 1, 1
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_PORTS, _PORTS_SINCE = 0b11, 4  # bind, connect
_SCOPES, _SCOPES_SINCE = 0b11, 6  # abstract sockets and signals to whom this is not
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# What the interpreter and the libraries read besides sys.path, as it is on most distributions.
_READ = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/etc/localtime", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"),
    *("/proc/self", "/proc/cpuinfo", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom"),
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def limit(seconds: int, memory_bytes: int, written_bytes: int) -> None:
    """Bound the time on a processor, the address space and what any file may grow to; no dumps."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written_bytes, written_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def shut_off() -> None:
    """Give up all but reading: network, programs, processes, changes. *Raises*: Uninspectable."""
    if not _is_linux():
        raise _refuse()
    program = write_filter(platform.machine())
    held = ctypes.create_string_buffer(program, len(program))
    told = _Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    prctl = ctypes.CDLL(None).prctl
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(
        _SET_SECCOMP, _FILTER, ctypes.byref(told), 0, 0
    ):
        raise _refuse()


def shut_in(files: Iterable[int]) -> bool:
    """Give up reading but beneath the interpreter, its libraries and these open files.

    It tells whether the kernel offers that. *Raises*: Uninspectable.
    """
    system = ctypes.CDLL(None).syscall
    version = system(_CREATE_RULES, None, ctypes.c_size_t(0), _VERSION) if _is_linux() else -1
    if version < 1:
        return False
    held = max(right for since, right in _RIGHTS.items() if since <= version)
    told = struct.pack("Q", held)
    told += struct.pack("Q", _PORTS) if version >= _PORTS_SINCE else b""
    told += struct.pack("Q", _SCOPES) if version >= _SCOPES_SINCE else b""
    rules = system(_CREATE_RULES, told, ctypes.c_size_t(len(told)), 0)
    for number in files:
        system(_ADD_RULE, rules, _BENEATH, struct.pack("=Qi", _READ_FILE, number), 0)
    for path in {*_READ, *sys.path, sys.prefix, sys.base_prefix}:
        if Path(path).is_absolute() and Path(path).exists():
            number = os.open(path, os.O_PATH)
            right = _READ_FILE | _READ_FOLDER if Path(path).is_dir() else _READ_FILE
            system(_ADD_RULE, rules, _BENEATH, struct.pack("=Qi", right, number), 0)
            os.close(number)
    if ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or system(_RESTRICT, rules, 0):
        raise _refuse()
    os.close(rules)
    return True


def _is_linux() -> bool:
    return sys.platform == "linux" and platform.machine() in MACHINES


def _refuse() -> Uninspectable:
    return Uninspectable(
        "unsupported-system", "A file is inspected on Linux alone, where a process can be confined."
    )
