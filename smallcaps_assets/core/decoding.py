"""What a decoder may raise at content that is damaged or hostile: one list for every reader.

What belongs here: the list.  What does not: what becomes of such content, which is its reader's to
say: a page is asked for again, a receipt is damage, a note is forgotten.
"""

from typing import Final

DECODER_FAULTS: Final = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)
"""Values out of range, texts that are no UTF-8 and all that msgspec says are a ``ValueError``; JSON
nested a thousand deep is a ``RecursionError``, one that is too large a ``MemoryError``."""


def name_fault(error: BaseException) -> str:
    """Return why content could not be decoded, in one line of words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return " ".join(str(error).split()) or type(error).__name__
