"""Content negotiation: choose the media type of an answer by the Accept header (RFC 9110, section 12.5.1)."""

import functools

from app.errors import NotAcceptable
from app.images import MEDIA_TYPES

JSON = "application/json"


@functools.lru_cache(maxsize=64)  # clients send few different ones
def accepted_type(accept: str | None, results: tuple[str, ...] = MEDIA_TYPES) -> str:
    """Choose the media type of an answer: one of ``results`` or ``application/json``.

    Args:
        accept: the request's Accept header; None and ``*/*`` mean the first of ``results``.
        results: media types that the result can be encoded as; of equally preferred ones the first wins.

    Raises:
        NotAcceptable: the client accepts none of them.
    """
    offers = (*results, JSON)
    weights = {offered: _weight(offered, accept or "*/*") for offered in offers}
    best = max(offers, key=lambda offered: weights[offered])
    if weights[best] <= 0:
        raise NotAcceptable(f"None of the media types in Accept: {accept} is offered. Offered: {', '.join(offers)}.")
    return best


def _weight(offered: str, accept: str) -> float:
    """The quality value (0 to 1) of the most specific range that matches ``offered``; 0 if none does."""
    group = offered.split("/", maxsplit=1)[0]
    best_rank, weight = -1, 0.0
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        ranges = ["*/*", f"{group}/*", offered]
        if media_range in ranges and (rank := ranges.index(media_range)) > best_rank:
            best_rank, weight = rank, _quality(parameters)
    return weight


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
