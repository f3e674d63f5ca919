import time

from smallcaps_assets.ingest.ticks.fetching import end_pool, open_pool


def test_a_pool_is_ended_when_its_threads_are_done() -> None:
    pool = open_pool(1)
    work = pool.submit(time.sleep, 0.05)
    while not work.running():
        time.sleep(0.001)

    end_pool(pool)

    assert work.done()


def test_a_pool_may_be_ended_by_one_of_its_own_threads() -> None:
    """Garbage is collected in any thread, and a download that was let go of is garbage."""
    pool = open_pool(1)

    assert pool.submit(end_pool, pool).exception() is None
