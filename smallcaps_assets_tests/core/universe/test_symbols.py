import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.universe.symbols import parse_symbols
from smallcaps_assets.errors import DataError

symbols = st.from_regex(r"[A-Z0-9][A-Za-z0-9.]{0,4}", fullmatch=True).filter(
    lambda text: ".." not in text and text.lower() not in {"ticker", "symbol"}
)


@pytest.mark.parametrize(
    "text",
    [
        "A\nBRK.A\nBCpC\n",
        "A, BRK.A;BCpC",
        "\ufeffA\r\n\r\n  BRK.A \r\nBCpC",
        "# mine\nA BRK.A # x\nBCpC",
    ],
)
def test_symbols_are_separated_as_people_do(text: str) -> None:
    parsed = parse_symbols(text)

    assert parsed.symbols == ("A", "BCpC", "BRK.A")
    assert parsed.repeated == ()
    assert parsed.problems.is_empty()


@pytest.mark.parametrize("header", ["name,Ticker,cap", "name,symbol,cap"])
def test_a_table_has_its_symbols_in_a_column(header: str) -> None:
    parsed = parse_symbols(f'{header}\n"Alpha #1, Inc.",AAAA,3\n# a comment\nBeta,BBBB,\n')

    assert parsed.symbols == ("AAAA", "BBBB")
    assert parsed.problems.is_empty()


def test_a_row_of_a_table_without_its_symbol_is_a_problem() -> None:
    parsed = parse_symbols("name,ticker\nAlpha\nBeta,BBBB\n")

    assert parsed.problems.rows() == [(2, "", None)]


def test_a_cell_of_several_lines_is_counted_by_its_last_one() -> None:
    parsed = parse_symbols('ticker,name\nAAAA,"Alpha\nInc."\nbbbb,Beta\n')

    assert parsed.symbols == ("AAAA",)
    assert parsed.problems.rows() == [(4, "bbbb", "BBBB")]


def test_a_line_that_is_no_row_of_a_table_is_named() -> None:
    with pytest.raises(DataError, match="line 2 is no row of a table"):
        parse_symbols('ticker,name\nAAAA,"' + "x" * 200_000 + '"\n')


def test_repeats_are_told_and_planned_once() -> None:
    parsed = parse_symbols("B\nA\nB\nC\nA\n")

    assert parsed.symbols == ("A", "B", "C")
    assert parsed.repeated == ("A", "B")


def test_what_is_no_symbol_is_named_with_what_may_be_meant() -> None:
    parsed = parse_symbols("A\n\nabcd\nB$\n..\n")

    assert parsed.symbols == ("A",)
    assert parsed.problems.rows() == [(3, "abcd", "ABCD"), (4, "B$", None), (5, "..", None)]


def test_a_text_without_anything_has_no_symbol() -> None:
    parsed = parse_symbols("\n# nothing\n ,;\n")

    assert parsed.symbols == ()
    assert parsed.problems.is_empty()


def test_a_long_file_is_read_whole() -> None:
    lines = [f"T{number}" for number in range(100_000)]

    assert len(parse_symbols("\n".join(lines)).symbols) == 100_000


@given(st.lists(symbols), st.sampled_from(["\n", ",", " ", ";\n"]))
def test_what_is_written_is_read(written: list[str], between: str) -> None:
    parsed = parse_symbols(between.join(written))

    assert parsed.symbols == tuple(sorted(set(written)))
    assert parsed.repeated == tuple(sorted({name for name in written if written.count(name) > 1}))
    assert parsed.problems.is_empty()
