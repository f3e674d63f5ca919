"""Pages of trades fit together or are not believed."""

import msgspec
import pytest

from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon.wire.chain import TradesChain
from smallcaps_assets.polygon.wire.envelopes import Page
from smallcaps_assets.polygon.wire.trades import TradeRow, TradesPage, frame_trades
from smallcaps_assets.polygon.wire.trail import CursorTrail
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    make_wire_trade,
    make_wire_trades,
)

PATH = "/v3/trades/ABCD"


def make_page(rows: list[dict[str, object]], cursor: str | None = None) -> TradesPage:
    next_url = cursor and f"https://api.polygon.io{PATH}?cursor={cursor}"
    trades = frame_trades(msgspec.convert(rows, list[TradeRow]), "ABCD")
    return Page(trades, "OK", next_url, has_results=True)


def make_chain(*pages: TradesPage) -> TradesChain:
    chain = TradesChain("ABCD", GTE_NS, LT_NS, CursorTrail(PATH, "", PATH))
    for page in pages:
        chain.accept(chain.check(page))
    return chain


def test_a_checked_page_changes_nothing_until_it_is_accepted() -> None:
    chain = make_chain(make_page(make_wire_trades(4), "a"))
    page = make_page(make_wire_trades(6)[4:])

    first, second = chain.check(page), chain.check(page)

    assert first.trades.equals(second.trades)
    assert (chain.rows, chain.trail.pages) == (4, 1)


def test_a_page_that_brings_nothing_new_and_names_a_next_one_is_not_believed() -> None:
    """A chain that continues forever without a row ends as an error."""
    ties = [make_wire_trade(number) for number in range(3)]
    chain = make_chain(make_page(ties, "a"))
    page = chain.check(make_page(ties, "b"))

    with pytest.raises(PayloadError, match="repeats known rows only"):
        chain.settle_seam(page, make_page(ties))


def test_rows_on_both_sides_of_a_seam_are_dropped_only_where_the_tape_has_them_once() -> None:
    """L35: a tape may hold a trade twice, and the page limit decides whether a seam divides it."""
    ties = [make_wire_trade(number) for number in range(3)]
    chain = make_chain(make_page(ties, "a"))
    page = chain.check(make_page([ties[2], make_wire_trade(3)]))

    dropped = chain.settle_seam(page, make_page(ties))
    kept = chain.settle_seam(page, make_page([*ties, ties[2]]))
    unknown = chain.settle_seam(page, make_page(ties, "more"))

    assert (dropped.trades.height, dropped.is_ambiguous) == (1, False)
    assert (kept.trades.height, kept.is_ambiguous) == (2, True)
    assert (unknown.trades.height, unknown.is_ambiguous) == (2, True)
    with pytest.raises(PayloadError, match="not there when asked for"):
        chain.settle_seam(page, make_page(ties[:2]))


def test_a_last_page_that_brings_nothing_new_has_to_prove_itself() -> None:
    ties = [make_wire_trade(number) for number in range(3)]
    chain = make_chain(make_page(ties, "a"))

    page = chain.check(make_page(ties))

    assert chain.needs_proof(page, 50_000)
    assert chain.choose_proof(page) == (ties[0]["sip_timestamp"], 3 + 3 + 1)


@pytest.mark.parametrize("found", [0, 1, 2, 4])
def test_a_proof_has_the_rows_that_are_known_and_no_other(found: int) -> None:
    ties = [make_wire_trade(number) for number in range(4)]
    chain = make_chain()
    page = chain.check(make_page(ties[:3]))

    with pytest.raises(PayloadError, match="the end is not proven"):
        chain.check_end(page, make_page(ties[:found]))
    chain.check_end(page, make_page(ties[:3]))


def test_a_proof_may_repeat_what_was_dropped_as_a_repeat() -> None:
    ties = [make_wire_trade(number) for number in range(3)]
    chain = make_chain(make_page(ties[:2], "a"))
    page = chain.check(make_page(ties[1:]))

    chain.check_end(page, make_page([*ties, ties[1]]))
    with pytest.raises(PayloadError, match="the end is not proven"):
        chain.check_end(page, make_page([*ties, make_wire_trade(9)]))


def test_a_proof_that_goes_on_is_none() -> None:
    chain = make_chain()
    page = chain.check(make_page(make_wire_trades(3)))

    with pytest.raises(PayloadError, match="3 and more"):
        chain.check_end(page, make_page(make_wire_trades(3), "a"))


def test_rows_without_identity_may_be_fewer_in_a_proof() -> None:
    """Equal rows were kept at a seam, perhaps twice."""
    twins = [make_wire_trade(id=None, sequence_number=None)] * 2
    chain = make_chain(make_page(twins, "a"))
    page = chain.check(make_page(twins))

    chain.check_end(page, make_page(twins))

    assert page.is_ambiguous
    assert page.trades.height == 2


def test_an_empty_chain_has_the_columns_of_trades() -> None:
    chain = make_chain(make_page([]))

    assert chain.collect().is_empty()
    assert "sip_timestamp" in chain.collect().columns
    assert chain.trail.is_finished
