import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.polygon.wire.redaction import mask_secret, spell_secret

KEY = "Zk9/plant+ed=Key~7781"
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        f"Bearer {KEY}",
        quote(KEY, safe=""),
        quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        f"apiKey={quote(KEY)}",
        KEY.encode().hex(),
        KEY.encode().hex().upper(),
    ],
)
def test_mask_secret_leaves_no_spelling(echo: str) -> None:
    masked = mask_secret(f"you sent {echo}, which is unknown", KEY)

    assert "***" in masked
    assert not any(spelling in masked for spelling in spell_secret(KEY))


@given(printable, st.binary(max_size=5), st.binary(max_size=5))
def test_mask_secret_finds_base64_at_any_alignment(key: str, before: bytes, after: bytes) -> None:
    """L14."""
    echo = base64.b64encode(before + key.encode() + after).decode()

    assert "***" in mask_secret(echo, key)


def test_mask_secret_leaves_other_texts_alone() -> None:
    text = "Unknown API Key: your plan does not include this data timeframe"

    assert mask_secret(text, KEY) == text
    assert mask_secret(text, "") == text


def test_mask_secret_of_a_short_key_masks_itself_alone() -> None:
    assert mask_secret("k1 and 6b31 and azE=", "k1") == "*** and 6b31 and azE="
