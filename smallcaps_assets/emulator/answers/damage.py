"""What each fault does to an answer.

What belongs here: one function per family of faults.  What does not: whether a fault strikes
(``faults``).
"""

from dataclasses import replace
from typing import Final

import msgspec

from smallcaps_assets.emulator.answers.answer import (
    HTML,
    HTML_PAGE,
    PRICING_URL,
    Answer,
    Delivery,
    Payload,
    answer_error,
    pack,
    pack_bomb,
)
from smallcaps_assets.emulator.answers.faults import Fault

NOT_ENTITLED: Final = (
    f"You are not entitled to this data. Please upgrade your plan at {PRICING_URL}"
)
TIMEFRAME: Final = (
    f"Your plan doesn't include this data timeframe. Please upgrade your plan at {PRICING_URL}"
)
TOO_MANY_REQUESTS: Final = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription "
    f"to continue. {PRICING_URL}"
)
UNKNOWN_KEY: Final = "Unknown API Key"
FOREIGN_URL: Final = "https://files.example.com/v3/quotes/XYZ?cursor=bGltaXQ9MQ"

_REFUSALS: Final = {
    "400": (400, "ERROR", "timestamp must be a date or nanoseconds"),
    "401": (401, "ERROR", UNKNOWN_KEY),
    "404": (404, "NOT_FOUND", "Ticker not found."),
    "429": (429, "ERROR", TOO_MANY_REQUESTS),
    "not_entitled": (403, "NOT_AUTHORIZED", NOT_ENTITLED),
    "timeframe": (403, "NOT_AUTHORIZED", TIMEFRAME),
    "not_authorized": (200, "NOT_AUTHORIZED", NOT_ENTITLED),
    "error_status": (200, "ERROR", "internal error, please try again"),
}
_CHAIN_FAULTS: Final = {
    "looping_cursor",
    "trailing_cursor",
    "repeated_page",
    "seam_overlap",
    "short_page",
    "revised_history",
}
_FIXED_ANSWERS: Final = {
    "500": Answer(500, HTML_PAGE, content_type=HTML),
    "502": Answer(502, HTML_PAGE, content_type=HTML),
    "503": Answer(503, b""),
    "504": Answer(504, HTML_PAGE, content_type=HTML),
    "outage": Answer(503, b""),
    "html": Answer(200, HTML_PAGE, content_type=HTML),
    "empty_body": Answer(200, b""),
    "redirect": Answer(302, b"", headers={"Location": "https://login.example.com/"}),
    "refuse": Answer(200, b"", delivery=Delivery(ending="refuse")),
}
_DEFAULT_BOMB_MIB: Final = 1_024


def damage_answer(fault: Fault, payload: Payload, request_id: str) -> Answer:
    """Answer with what ``fault`` makes of what the endpoint has to say."""
    if fault.kind in _REFUSALS:
        status, name, text = _REFUSALS[fault.kind]
        refusal = answer_error(status, text, request_id, name=name)
        return replace(refusal, headers=_advise_retry(fault))
    if answer := _answer_without_payload(fault):
        return answer
    body = _damage_payload(fault, payload).encode(request_id)
    return _damage_delivery(fault, Answer(200, body, pack(body)))


def _advise_retry(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}


def _answer_without_payload(fault: Fault) -> Answer | None:
    """Make the answer to a fault that leaves nothing of the payload."""
    if fault.kind == "response":
        return Answer(fault.status, fault.body, headers=fault.headers)
    if fault.kind == "gzip_bomb":
        return Answer(200, b"", pack_bomb(fault.rows or _DEFAULT_BOMB_MIB))
    answer = _FIXED_ANSWERS.get(fault.kind)
    if answer is None:
        return None
    return replace(answer, headers={**answer.headers, **_advise_retry(fault)})


def _damage_payload(fault: Fault, payload: Payload) -> Payload:
    """Damage what the payload says, and add the error that the fault says beside it."""
    damaged = _damage_members(fault, payload)
    if not fault.error:
        return damaged
    return replace(damaged, envelope={**damaged.envelope, "error": fault.error})


def _damage_members(fault: Fault, payload: Payload) -> Payload:
    """Damage what the payload says; most faults of delivery leave it as it is."""
    kind = fault.kind
    if kind in _CHAIN_FAULTS and payload.redo is not None:
        return payload.redo(fault)
    if kind == "delayed":
        return replace(payload, envelope={**payload.envelope, "status": "DELAYED"})
    if kind == "lost_next_url":
        return replace(payload, next_url=None)
    if kind == "foreign_next_url":
        return replace(payload, next_url=FOREIGN_URL)
    if kind == "out_of_order":
        return replace(payload, results=_reverse_rows(payload.results))
    results = {"missing_results": None, "null_results": b"null", "empty_results": b"[]"}
    return replace(payload, results=results[kind]) if kind in results else payload


def _reverse_rows(results: bytes | None) -> bytes | None:
    if results is None:
        return None
    return msgspec.json.encode(msgspec.json.decode(results, type=list[msgspec.Raw])[::-1])


def _damage_delivery(fault: Fault, answer: Answer) -> Answer:
    """Damage how the answer is sent."""
    deliveries = {
        "cut_body": Delivery(cut_at=0.5),
        "reset": Delivery(cut_at=0.5, ending="reset"),
        "slow": Delivery(pause_s=fault.seconds),
        "stall": Delivery(cut_at=0.5, ending="resume", stall_s=fault.seconds),
    }
    if fault.kind in deliveries:
        return replace(answer, delivery=deliveries[fault.kind])
    return _damage_bytes(fault.kind, answer)


def _damage_bytes(kind: str, answer: Answer) -> Answer:
    packed = answer.packed or b""
    if kind == "cut_json":
        body = answer.body[: len(answer.body) // 2]
        return replace(answer, body=body, packed=pack(body))
    if kind == "cut_gzip":
        return replace(answer, packed=packed[: len(packed) // 2])
    if kind == "bad_gzip":
        middle = len(packed) // 2
        flipped = bytes([packed[middle] ^ 0x40])
        return replace(answer, packed=packed[:middle] + flipped + packed[middle + 1 :])
    if kind == "wrong_content_type":
        return replace(answer, content_type=HTML)
    return answer
