"""The filter judges each call as meant on both machines, one of which these tests don't run on.

The numbers are held against the system's own headers, and the program is run as the kernel would.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from ledger_client.evidence.calls import MACHINES, REFUSED, write_filter

HEADERS = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
)
ALLOWED, DENIED, UNKNOWN, KILLED = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
THREADS = 0x3D0F00  # the flags of pthread_create
JUDGED = [
    ("read", (0, 63), (0,), ALLOWED),
    ("mmap", (9, 222), (0,), ALLOWED),
    ("exit_group", (231, 94), (0,), ALLOWED),
    ("clone of a thread", (56, 220), (THREADS,), ALLOWED),
    ("clone of a process", (56, 220), (17,), DENIED),
    ("clone3", (435, 435), (0,), UNKNOWN),
    ("openat2", (437, 437), (0,), UNKNOWN),
    ("openat to read", (257, 56), (0, 0, 0o2000000), ALLOWED),
    ("openat to write", (257, 56), (0, 0, 1), DENIED),
    ("openat to empty", (257, 56), (0, 0, 0o1000), DENIED),
    ("openat to create", (257, 56), (0, 0, 0o100), DENIED),
    ("unlinkat", (263, 35), (0,), DENIED),
    ("prlimit64 of itself", (302, 261), (0,), ALLOWED),
    ("prlimit64 of another", (302, 261), (1,), DENIED),
    ("fcntl F_SETOWN", (72, 25), (0, 8), DENIED),
    ("fcntl F_SETLK", (72, 25), (0, 6), DENIED),
    ("fcntl F_DUPFD_CLOEXEC", (72, 25), (0, 1030), ALLOWED),
    ("ioctl TCGETS", (16, 29), (0, 0x5401), ALLOWED),
    ("ioctl FS_IOC_SETFLAGS", (16, 29), (0, 0x40086602), DENIED),
    ("a call to come", (600, 600), (0,), UNKNOWN),
    ("a second number", (0x40000039, 0x40000039), (0,), UNKNOWN),
]


def judge(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run a filter on a call, by the rules of the kernel's classic machine."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    call = struct.pack("<IIQ6Q", number, architecture, 0, *padded)
    steps = list(struct.iter_unpack("<HBBI", program))
    place = held = 0
    while True:
        what, if_so, if_not, value = steps[place]
        if what == 0x06:
            return int(value)
        if what == 0x20:
            held, jump = struct.unpack_from("<I", call, value)[0], 0
        else:
            tests = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}
            jump = if_so if tests[what] else if_not
        place += 1 + jump


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("numbers", "arguments", "verdict"), [one[1:] for one in JUDGED])
def test_call_is_judged_by_number_and_arguments(
    machine: str, numbers: tuple[int, int], arguments: tuple[int, ...], verdict: int
) -> None:
    architecture, column = MACHINES[machine]
    assert judge(write_filter(machine), architecture, numbers[column], *arguments) == verdict


@pytest.mark.parametrize("machine", MACHINES)
def test_every_refused_call_is_denied_and_another_abi_is_killed(machine: str) -> None:
    architecture, column = MACHINES[machine]
    program = write_filter(machine)
    numbers = {both[column] for both in REFUSED.values()} - {None}
    assert {judge(program, architecture, one or 0) for one in numbers} == {DENIED}
    assert judge(program, 0x40000003, 11) == KILLED


@pytest.mark.parametrize("column", [0, 1])
def test_numbers_are_those_of_the_system_s_headers(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip("The kernel's headers aren't installed.")
    listed = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[column].read_text())
    told = {name: int(number) for name, number in reversed(listed)}
    assert {name: told.get(name) for name in REFUSED} == {
        name: both[column] for name, both in REFUSED.items()
    }
