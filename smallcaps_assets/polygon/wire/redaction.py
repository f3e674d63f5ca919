"""The key, taken out of what others say.

What belongs here: the spellings in which a key may come back, from a vendor or from a proxy that
quotes the request it refuses. What does not: where such texts come from (``envelopes``,
``polygon.http.transport``).
"""

import base64
import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

MASK: Final = "***"
_SHORTEST: Final = 8
"""Spellings shorter than this would mask innocent words; a key of a vendor has 32 letters."""
_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")


def mask_secret(text: str, secret: str) -> str:
    """Replace the secret in ``text``, in any of its spellings, by ``***``."""
    for spelling in spell_secret(secret):
        text = text.replace(spelling, MASK)
    return text


@lru_cache(maxsize=8)
def spell_secret(secret: str) -> tuple[str, ...]:
    """Spell a secret as it stands, URL-encoded, in base64 and in hexadecimal, longest first."""
    raw = secret.encode()
    quoted = {quote(secret, safe=""), quote(secret)}
    quoted |= {_ESCAPE.sub(lambda match: match[0].lower(), text) for text in quoted}
    encoded = (*quoted, raw.hex(), raw.hex().upper(), *_spell_base64(raw))
    long = {text for text in encoded if len(text) >= _SHORTEST}
    return tuple(sorted({secret, *long} - {""}, key=lambda text: (-len(text), text)))


def _spell_base64(raw: bytes) -> tuple[str, ...]:
    """Spell the letters that stand for ``raw`` wherever it begins inside what was encoded.

    The first and last letter also depend on the neighbours and are left out.
    """
    spellings = []
    for lead, skipped in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(lead) + raw).decode()
        end = len(whole.rstrip("=")) - ((lead + len(raw)) % 3 > 0)
        spellings += [whole[skipped:end], whole[skipped:end].translate(_URL_SAFE)]
    return tuple(spellings)
