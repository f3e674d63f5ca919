import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from smallcaps_assets.core.research.kernels import (
    CLOSED_BY,
    SUMMED,
    cut_imbalance_bars,
    cut_plain_bars,
    measure_windows,
    sign_ticks,
    sum_bars,
)
from smallcaps_assets_tests.core.research.twins import (
    Bar,
    cut_imbalance_plainly,
    cut_plainly,
    sign_plainly,
)
from smallcaps_assets_tests.research_factories import read_oracle

Call = Callable[..., Any]
RULES = (2 / 31, 10, 20_000)
COLUMNS = ("open", "high", "low", "close", "volume", "dollar", "trades")
MANY = 1_000
FEW = 25
"""Tapes on which the loops run as they are written, which is slow."""


def make_tape(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prices on a grid, whole sizes and signs of a random tape of 1 to 400 prints."""
    random = np.random.default_rng(seed)
    length = int(random.integers(1, 400))
    steps = random.choice([-1, 0, 0, 1], length, p=random.dirichlet(np.ones(4)))
    prices = np.maximum(1, 1000 + np.cumsum(steps)) / 100
    sizes = random.choice([1, 50, 100, 300, 5000], length).astype(float)
    flags = [random.random(length) < share for share in (0.9, 0.02, 0.02)]
    counted = np.ones(length, dtype=bool)
    return prices, sizes, sign_ticks(prices, sizes, counted, flags[0], (flags[2], flags[1]))


def read_bars(cuts: Any) -> list[Bar]:  # noqa: ANN401
    lasts, closed_by, _, figures = cuts
    words = [CLOSED_BY[reason] for reason in closed_by]
    return list(zip(lasts.tolist(), *figures[:, :2].T.tolist(), words, strict=True))


def check_bars(bars: list[Bar], expected: list[Bar]) -> None:
    assert [(bar[0], bar[3]) for bar in bars] == [(bar[0], bar[3]) for bar in expected]
    figures = [np.array([bar[1:3] for bar in some]) for some in (bars, expected)]
    assert np.allclose(figures[0], figures[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("call", "tapes"), [("__call__", MANY), ("py_func", FEW)])
def test_signs_equal_those_of_the_plain_twin(call: str, tapes: int) -> None:
    for seed in range(tapes):
        random = np.random.default_rng(seed)
        prices = random.integers(95, 105, 60) / 10
        live, auctions, restarts = (random.random(60) < share for share in (0.8, 0.1, 0.1))
        signs = getattr(sign_ticks, call)(
            prices, np.ones(60), np.ones(60, dtype=bool), live, (restarts, auctions)
        )
        assert signs.tolist() == sign_plainly(prices.tolist(), live, auctions, restarts)


@pytest.mark.parametrize(("call", "tapes"), [("__call__", MANY), ("py_func", FEW)])
def test_imbalance_bars_equal_those_of_the_plain_twin(call: str, tapes: int) -> None:
    cut: Call = getattr(cut_imbalance_bars, call)
    for seed in range(tapes):
        prices, sizes, signs = make_tape(seed)
        values = (np.ones(sizes.size), sizes, prices * sizes)[seed % 3]
        wanted = 1 + seed % 40
        firsts = np.array([0, sizes.size])
        bars = read_bars(cut(values * signs, signs, firsts, np.array([float(wanted)]), RULES))
        check_bars(bars, cut_imbalance_plainly(signs.tolist(), values.tolist(), wanted))


@pytest.mark.parametrize(("call", "tapes"), [("__call__", MANY), ("py_func", FEW)])
def test_plain_bars_equal_those_of_the_plain_twin(call: str, tapes: int) -> None:
    cut: Call = getattr(cut_plain_bars, call)
    for seed in range(tapes):
        _, sizes, _ = make_tape(seed)
        wanted = float(sizes.sum() / (1 + seed % 30))
        bars = read_bars(cut(sizes, np.array([0, sizes.size]), np.array([wanted]), 20_000))
        check_bars(bars, cut_plainly(sizes.tolist(), wanted))


@pytest.mark.parametrize(("call", "tapes"), [("__call__", MANY // 5), ("py_func", FEW)])
def test_sums_of_bars_are_those_of_their_prints(call: str, tapes: int) -> None:
    for seed in range(tapes):
        prices, sizes, signs = make_tape(seed)
        random = np.random.default_rng(seed)
        roles = random.integers(0, 16, sizes.size).astype(np.int8)
        ends = np.flatnonzero(random.random(sizes.size) < 0.1)
        lasts = np.unique(np.append(ends, sizes.size - 1))
        rows = getattr(sum_bars, call)(prices, sizes, roles, signs, lasts)
        first = 0
        for row, last in zip(rows, lasts, strict=True):
            part = slice(first, last + 1)
            known = sum_plainly(prices[part], sizes[part], roles[part], signs[part])
            wanted = [known[name] for name in SUMMED]
            assert np.allclose(row, wanted, rtol=1e-9, atol=1e-12, equal_nan=True)
            first = last + 1


def sum_plainly(
    prices: np.ndarray, sizes: np.ndarray, roles: np.ndarray, signs: np.ndarray
) -> dict[str, float]:
    """Return the columns of one bar, each by itself."""
    ranges, priced = prices[roles & 1 > 0], prices[roles & 2 > 0]
    nothing = float("nan")
    variance = float((np.diff(np.log(priced)) ** 2).sum()) if priced.size > 1 else nothing
    return {
        "open": priced[0] if priced.size else nothing,
        "high": ranges.max() if ranges.size else nothing,
        "low": ranges.min() if ranges.size else nothing,
        "close": priced[-1] if priced.size else nothing,
        "volume": sizes.sum(),
        "dollar": (prices * sizes).sum(),
        "trade_count": sizes.size,
        "price_count": priced.size,
        "tick_rule_buy_volume": sizes[signs > 0].sum(),
        "tick_rule_sell_volume": sizes[signs < 0].sum(),
        "signed_dollar": (prices * sizes * signs).sum(),
        "odd_lot_volume": sizes[sizes < 100].sum(),
        "trf_volume": sizes[roles & 8 > 0].sum(),
        "auction_volume": sizes[roles & 4 > 0].sum(),
        "realised_variance": variance,
    }


@pytest.mark.parametrize(("call", "cases"), [("__call__", MANY // 5), ("py_func", FEW)])
def test_windows_equal_those_of_numpy(call: str, cases: int) -> None:
    for seed in range(cases):
        random = np.random.default_rng(seed)
        x, y = random.normal(size=(2, 40))
        x[random.random(40) < 0.3] = np.nan
        rows = getattr(measure_windows, call)(x, y, np.array([0, 15, 40]), 12)
        for place in range(40):
            first = max(0 if place < 15 else 15, place - 11)
            some, others = x[first : place + 1], y[first : place + 1]
            known = ~np.isnan(some)
            assert rows[place, 0] == known.sum()
            assert np.allclose(
                rows[place, 1:], measure_plainly(some[known], others[known]), equal_nan=True
            )


def measure_plainly(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return means, and sums of squares and products about them."""
    if not x.size:
        return [np.nan] * 4
    off_x, off_y = x - x.mean(), y - y.mean()
    return [x.mean(), y.mean(), float(off_x @ off_x), float(off_x @ off_y)]


def test_imbalance_bars_equal_the_known_ones() -> None:
    case = read_oracle("bars/block_imbalance_small.json")
    prices, sizes = np.array(case["trades_price_size"], dtype=float).T
    everything = np.ones(prices.size, dtype=bool)
    start = np.arange(prices.size) == 0
    signs = sign_ticks(prices, sizes, everything, everything, (start, ~everything))
    firsts = np.array([0, prices.size])

    for name, expected in case["bars_first_last_theta_threshold_reason"].items():
        measure, wanted = name.split("_")
        values = {"tick": np.ones(prices.size), "volume": sizes, "dollar": prices * sizes}[measure]
        cuts = cut_imbalance_bars(values * signs, signs, firsts, np.array([float(wanted)]), RULES)
        check_bars(read_bars(cuts), [tuple(bar[1:]) for bar in expected])


def test_nothing_is_carried_over_a_session() -> None:
    assert "nothing is carried" in read_oracle("research/carry_none.json")["use"]
    _, sizes, signs = make_tape(7)
    flows, size = sizes * signs, sizes.size
    once = cut_imbalance_bars(flows, signs, np.array([0, size]), np.array([10.0]), RULES)
    twice = cut_imbalance_bars(
        np.tile(flows, 2), np.tile(signs, 2), np.array([0, size, 2 * size]), np.full(2, 10.0), RULES
    )

    first, second = np.split(twice[0], 2)
    assert first.tolist() == once[0].tolist() == (second - size).tolist()
    assert twice[3].tolist() == np.tile(once[3], (2, 1)).tolist()


def test_plain_bars_equal_the_known_ones() -> None:
    known = read_oracle("bars/plain_bars_expected.json")
    prices, sizes = read_published_ticks()
    roles = np.full(prices.size, 3, dtype=np.int8)
    firsts = np.array([0, prices.size])
    measures = {"tick": np.ones(prices.size), "volume": sizes, "dollar": prices * sizes}

    for name, expected in known.items():
        if name in {"input", "rule"}:
            continue
        measure, wanted = name.rsplit("_", 1)
        cuts = cut_plain_bars(measures[measure], firsts, np.array([float(wanted)]), 20_000)
        rows = sum_bars(prices, sizes, roles, np.zeros(prices.size, np.int8), cuts[0])
        assert cuts[0].tolist() == [bar["last"] for bar in expected]
        for row, bar in zip(rows, expected, strict=True):
            assert row[:7].tolist() == pytest.approx([bar[column] for column in COLUMNS])
    published = read_oracle("bars/mlfinpy_published.json")
    assert published["tick_10_bar_0"] == [known["tick_10"][0][name] for name in COLUMNS[:4]]


def read_published_ticks() -> tuple[np.ndarray, np.ndarray]:
    """Return price and size of a hundred published ticks."""
    text = read_oracle("bars/mlfinpy_ticks_100.csv")
    rows = [line.split(",")[1:] for line in text.splitlines()[1:]]
    prices, sizes = np.array(rows, dtype=float).T
    return prices, sizes


def test_a_session_of_too_many_bars_gets_larger_ones() -> None:
    signs = np.ones(400, dtype=np.int8)
    firsts, wanted = np.array([0, 400]), np.array([2.0])

    plain = cut_plain_bars(np.ones(400), firsts, wanted, 10)
    imbalance = cut_imbalance_bars(np.ones(400), signs, firsts, wanted, (2 / 31, 10, 10))

    assert plain[2].tolist() == sorted(plain[2].tolist())
    assert plain[2].max() == imbalance[2].max() == 4
    assert plain[3][:, 2].tolist() == (2.0 * 2.0 ** plain[2]).tolist()
    assert len(plain[0]) < 50


def test_without_numba_a_kernel_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from smallcaps_assets.core.research.kernels import cut_plain_bars\n"
        "cut_plain_bars(np.ones(1), np.array([0, 1]), np.ones(1), 9)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert "pip install 'smallcaps-assets[research]'" in ended.stderr
