"""Read a pickle as data: nothing that it names is ever imported, made or called.

A pickle is a program, and ``pickle.load`` runs it. Here its opcodes, as :mod:`pickletools` lists
them, only fill plain lists, dicts and tuples; what the program would have called or made becomes a
:class:`Made`, a record of the wish. Only the opcodes that Python 2 writes for plain values and
NumPy arrays are known.
"""

from __future__ import annotations

import contextlib
import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Opcodes whose argument is the value.
LITERALS = {
    "INT", "LONG1", "BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Named:
    """What the pickle would have imported: ``"module name"``."""

    name: str


@dataclass(eq=False)
class Made:
    """What the pickle would have got by calling ``function(*arguments)`` and setting ``state``."""

    function: object
    arguments: object
    state: object = None


def read_pickle(content: bytes, *, name: str) -> object:
    r"""What a pickle holds: None, bool, int, str, list, dict, tuple, :class:`Named`, :class:`Made`.

    Byte strings of Python 2 come as str, one character a byte (Latin-1). Takes memory and time in
    proportion to the content, whatever that is.

    Args:
        content: the pickle, of protocol 2 or less.
        name: of its file, for error messages.

    Raises:
        ValueError: not a pickle, cut short, or one that needs more than plain values.

    >>> import pickle
    >>> read_pickle(pickle.dumps({"labels": [6, 9]}, protocol=2), name="batch")
    {'labels': [6, 9]}
    >>> read_pickle(b"cos\nsystem\n(S'true'\ntR.", name="batch")
    Traceback (most recent call last):
    ValueError: batch must be a whole pickle of plain values and NumPy arrays, got: the opcode ...
    """
    machine = _Machine()
    try:
        for opcode, argument, position in pickletools.genops(content):
            if opcode.name == "STOP":
                return machine.pop()
            if not machine.step(opcode.name, argument):
                raise ValueError(f"the opcode {opcode.name} at byte {position}")
        raise ValueError("no end")
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise ValueError(
            f"{name} must be a whole pickle of plain values and NumPy arrays, got: {error}"
        ) from error


class _Machine:
    """The stack and the memo of an unpickler, and what each opcode does to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> bool:
        """Carry out one opcode; False if it is not among the known ones."""
        push, pop = self.stack.append, self.pop
        if opcode in LITERALS:
            push(argument)
        elif opcode in CONSTANTS:
            push(CONSTANTS[opcode])
        elif opcode in PUTS:
            self.memo[argument] = self.top()
        elif opcode in GETS:
            push(self.memo[argument])
        elif opcode in TUPLES:
            push(tuple(pop() for _ in range(TUPLES[opcode]))[::-1])
        elif opcode in self.OTHERS:
            self.OTHERS[opcode](self, argument)
        else:
            return opcode == "PROTO"
        return True

    def top(self) -> Any:
        """The uppermost value above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError("a value is missing")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise TypeError(f"cannot append to {type(target).__name__}")
        target += values

    def update(self, values: list[Any]) -> None:
        target, keys = self.top(), values[::2]
        # Of tuples and ints there may be so many of one hash that it takes forever; not of str.
        if type(target) is not dict or any(type(key) is not str for key in keys):
            raise TypeError("a dict must have str keys")
        target.update(zip(keys, values[1::2], strict=True))

    def call(self) -> None:
        arguments = self.pop()
        self.stack.append(Made(self.pop(), arguments))

    def build(self) -> None:
        state = self.pop()
        made = self.top()
        if not isinstance(made, Made):
            raise TypeError(f"cannot set the state of {type(made).__name__}")
        made.state = state

    OTHERS: dict[str, Callable[[_Machine, Any], None]] = {
        "MARK": lambda self, _: self.marks.append(len(self.stack)),
        "EMPTY_LIST": lambda self, _: self.stack.append([]),
        "EMPTY_DICT": lambda self, _: self.stack.append({}),
        "TUPLE": lambda self, _: self.stack.append(tuple(self.pop_to_mark())),
        "APPEND": lambda self, _: self.extend([self.pop()]),
        "APPENDS": lambda self, _: self.extend(self.pop_to_mark()),
        "SETITEM": lambda self, _: self.update([self.pop(), self.pop()][::-1]),
        "SETITEMS": lambda self, _: self.update(self.pop_to_mark()),
        "GLOBAL": lambda self, argument: self.stack.append(Named(argument)),
        "REDUCE": lambda self, _: self.call(),
        "BUILD": lambda self, _: self.build(),
    }  # fmt: skip


def byte_array(value: object, *, name: str) -> npt.NDArray[np.uint8]:
    """The NumPy array of unsigned bytes that a :class:`Made` stands for.

    Args:
        value: from :func:`read_pickle`.
        name: of the value, for error messages.

    Returns:
        uint8, two-dimensional.

    Raises:
        ValueError: something else, another type of array, a shape that its bytes do not fill.
    """
    match value:
        case Made(
            function=Named("numpy.core.multiarray _reconstruct"),
            state=(
                int(),
                (int(rows), int(columns)),
                Made(function=Named("numpy dtype"), arguments=("u1", *_)),
                0,  # rows first; False is 0
                str(content),
            ),
        ) if min(rows, columns) > 0 and math.prod((rows, columns)) == len(content):
            # Latin-1 gives back the bytes; a character beyond it was never one.
            with contextlib.suppress(UnicodeEncodeError):
                return np.frombuffer(content.encode("latin-1"), np.uint8).reshape(rows, columns)
    raise ValueError(
        f"{name} must be a two-dimensional NumPy array of unsigned bytes, rows first, "
        f"got {type(value).__name__} of another form"
    )
