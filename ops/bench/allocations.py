"""How often a process asks Python's allocator for memory, counted where it asks and read from outside.

A counter in a file that is mapped by all is raised in front of the allocator's own functions, by four instructions of
machine code: nothing else would see every allocation and leave the process as fast as it is. What comes from Python's
free lists asks for no memory and is not counted, nor is what C libraries get for themselves. Only on x86-64.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE = "allocations"
_DOMAINS = (1, 2)
"""Of CPython: memory, and objects. The raw one lies beneath both and would count the large ones twice."""
_COUNTED = ("malloc", "calloc", "realloc")
_WIDTH, _ROOM = 8, 32


class _Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]


class Counter:
    """The count so far, in a file."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_WIDTH)
            self._memory = mmap.mmap(file.fileno(), _WIDTH)
        self._value = ctypes.c_uint64.from_buffer(self._memory)

    @property
    def count(self) -> int:
        return self._value.value

    @property
    def address(self) -> int:
        return ctypes.addressof(self._value)


def is_possible() -> bool:
    return platform.machine() == "x86_64" and platform.python_implementation() == "CPython"


def count_if_asked(path: Path) -> None:
    """Count all that this process asks for from now on, to the end of its life, if the counter's file is there."""
    if not (is_possible() and path.exists()):
        return
    counter, code = Counter(path), mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    for needed in (counter, code):  # to the very end, when modules have been cleared away and memory is still asked for
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(needed))
    for domain in _DOMAINS:
        allocator = _Allocator()
        ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(allocator))
        for name in _COUNTED:
            place = code.tell()
            code.write(_raising(counter.address, getattr(allocator, name)).ljust(_ROOM, b"\x90"))
            setattr(allocator, name, start + place)
        ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(allocator))


def _raising(counter: int, function: int) -> bytes:
    """Return code that raises the counter and goes on to the function, arguments untouched."""
    return b"".join(
        (
            b"\x48\xb8" + counter.to_bytes(8, "little"),  # mov rax, counter
            b"\xf0\x48\xff\x00",  # lock inc qword [rax]
            b"\x48\xb8" + function.to_bytes(8, "little"),  # mov rax, function
            b"\xff\xe0",  # jmp rax
        )
    )
