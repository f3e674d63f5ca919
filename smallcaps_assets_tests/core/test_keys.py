import datetime as dt
import hashlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.keys import (
    check_ticker,
    decode_key,
    encode_key,
    hash_keys,
    is_ticker_expression,
    key_expression,
)
from smallcaps_assets.errors import DataError

DATE = dt.date(2024, 1, 2)
GOOD = ["A", "BRK.A", "BCpC", "CON", "BF-B", "GS^K", "AAC=", "AAC+", "3M", "A" * 20]
BAD = [
    "",
    ".A",
    "-A",
    "A..B",
    "../A",
    "A/B",
    "A B",
    " A",
    "A\n",
    "A_B",
    "Ä",
    "A" * 21,
    "A\\B",
    "A\0",
]
alphabet = st.sampled_from([*"AZaz09.-+^=", "_", "/", "\n", " ", "Ä"])


@pytest.mark.parametrize("ticker", GOOD)
def test_encode_key_and_decode_key_are_inverse(ticker: str) -> None:
    key = encode_key(check_ticker(ticker), DATE)

    assert key == f"{ticker}_2024-01-02"
    assert decode_key(key) == (ticker, DATE)


@pytest.mark.parametrize("ticker", BAD)
def test_check_ticker_refuses_what_could_leave_a_folder(ticker: str) -> None:
    with pytest.raises(DataError, match="bad ticker"):
        encode_key(ticker, DATE)


@given(st.text(alphabet, max_size=22))
def test_is_ticker_expression_agrees_with_check_ticker(ticker: str) -> None:
    is_ticker = pl.select(ticker=pl.lit(ticker)).select(is_ticker_expression()).item()

    if is_ticker:
        assert check_ticker(ticker) == ticker
    else:
        with pytest.raises(DataError):
            check_ticker(ticker)


def test_is_ticker_expression_refuses_null() -> None:
    tickers = pl.DataFrame({"ticker": [None, "A"]})

    assert tickers.select(is_ticker_expression())["ticker"].to_list() == [False, True]


@pytest.mark.parametrize(
    "key",
    ["", "A", "A_", "_2024-01-02", "A_20240102", "A_2024-W01-2", "A_2024-02-30", "A_2024-01-02 ",
     "A-2024-01-02", "A B_2024-01-02", "A_2024-01-02_2024-01-03"],
)  # fmt: skip
def test_decode_key_refuses_what_encode_key_does_not_write(key: str) -> None:
    with pytest.raises(DataError, match="bad"):
        decode_key(key)


def test_key_expression_writes_the_same_keys() -> None:
    sessions = pl.DataFrame({"ticker": GOOD, "session_date": [DATE] * len(GOOD)})

    keys = sessions.select(key_expression())["key"].to_list()

    assert keys == [encode_key(ticker, DATE) for ticker in GOOD]


def test_hash_keys_is_sha256_of_the_sorted_keys() -> None:
    expected = hashlib.sha256(b"A_2024-01-02\nB_2024-01-02").hexdigest()

    assert hash_keys(["B_2024-01-02", "A_2024-01-02"]) == expected
    assert hash_keys([]) == hashlib.sha256(b"").hexdigest()
