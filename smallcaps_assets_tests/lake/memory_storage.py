"""A storage in memory, with a clock of its own: a bucket, as far as the protocol goes."""

from collections.abc import Callable, Mapping

from smallcaps_assets.errors import MissingPartitionError, PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.protocol import Stored, check_key


class MemoryStorage:
    """Objects in memory.

    Attributes:
        objects: Content of each, and when it was stored.
        now_ns: Time by its clock, which moves a second with each operation.
        before: Called before each operation with its name and keys.
        after: Called after it.
    """

    def __init__(self, objects: Mapping[str, tuple[bytes, int]] | None = None) -> None:
        self.objects = dict(objects or {})
        self.now_ns = 1_700_000_000_000_000_000
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def save(self, contents: Mapping[str, bytes]) -> None:
        self._begin("save")
        for key, content in contents.items():
            if self.objects.get(check_key(key), (content, 0))[0] != content:
                raise PartitionConflictError(f"{key} is written once, and taken")
        for key, content in contents.items():
            self.objects.setdefault(key, (content, self.now_ns))
        self.after("save")

    def load(self, key: str) -> bytes:
        self._begin("load")
        content = self._find(key)
        self.after("load")
        return content

    def load_range(self, key: str, start: int, size: int) -> bytes:
        self._begin("load_range")
        content = self._find(key)
        self.after("load_range")
        return content[start : start + size]

    def stat(self, key: str) -> Stored | None:
        self._begin("stat")
        found = self.objects.get(check_key(key))
        self.after("stat")
        return Stored(key, len(found[0]), found[1]) if found else None

    def list_keys(self, prefix: str) -> list[Stored]:
        self._begin("list_keys")
        found = [
            Stored(key, len(content), stored_ns)
            for key, (content, stored_ns) in sorted(self.objects.items())
            if key.startswith(prefix)
        ]
        self.after("list_keys")
        return found

    def remove(self, key: str) -> None:
        self._begin("remove")
        self.objects.pop(check_key(key), None)
        self.after("remove")

    def _begin(self, operation: str) -> None:
        self.before(operation)
        self.now_ns += 10**9

    def _find(self, key: str) -> bytes:
        if key not in self.objects:
            raise MissingPartitionError(f"expected {key}, found none")
        return self.objects[key][0]


class LostAnswers:
    """Does the operation and then says that it failed, at the chosen one."""

    def __init__(self, storage: MemoryStorage, fail_at: int) -> None:
        self.count = 0
        self.fail_at = fail_at
        storage.after = self

    def __call__(self, operation: str) -> None:
        self.count += 1
        if self.count == self.fail_at + 1:
            raise StorageError(f"the answer to {operation} was lost")
