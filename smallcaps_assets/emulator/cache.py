"""A cache bounded by bytes that makes each value once, however many threads ask for it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """The values used last, as many as fit.

    Attributes:
        max_bytes: Bytes that all values together may take; a larger one is not kept.
    """

    def __init__(self, max_bytes: int, measure: Callable[[Value], int]) -> None:
        self.max_bytes = max_bytes
        self._measure = measure
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """The bytes that the values take."""
        return self._bytes

    def find(self, key: Key) -> Value | None:
        """Look up a value that is kept; ``None``: it is not."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Look up the value of ``key`` or make it; of several threads one makes it, others wait."""
        if (value := self.find(key)) is not None:
            return value
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            if (value := self.find(key)) is None:
                value = make()
                self.keep(key, value)
        with self._lock:
            self._making.pop(key, None)
        return value

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value and let go of those used longest ago."""
        size = self._measure(value)
        with self._lock:
            if key in self._values or size > self.max_bytes:
                return
            self._values[key] = value
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, dropped = self._values.popitem(last=False)
                self._bytes -= self._measure(dropped)
