import threading
import time

from smallcaps_assets.emulator.cache import ByteCache


def test_values_used_longest_ago_make_room() -> None:
    cache: ByteCache[str, bytes] = ByteCache(10, len)
    for key in "ab":
        cache.keep(key, b"12345")
    cache.find("a")

    cache.keep("c", b"12345")

    assert [cache.find(key) is not None for key in "abc"] == [True, False, True]
    assert cache.size_bytes == 10


def test_what_is_larger_than_the_cache_is_made_and_not_kept() -> None:
    cache: ByteCache[str, bytes] = ByteCache(3, len)

    assert cache.get_or_make("a", lambda: b"12345") == b"12345"
    assert cache.find("a") is None
    assert cache.size_bytes == 0


def test_many_threads_make_a_value_once() -> None:
    cache: ByteCache[str, bytes] = ByteCache(100, len)
    made: list[bytes] = []

    def make() -> bytes:
        time.sleep(0.02)
        made.append(b"value")
        return b"value"

    threads = [threading.Thread(target=cache.get_or_make, args=("a", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == [b"value"]
