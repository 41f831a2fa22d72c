"""Which of the media types we can answer with a client prefers (RFC 9110, section 12.5.1)."""

from app.errors import NotAcceptable
from app.images import MEDIA_TYPES

JSON = "application/json"


def accepted_type(accept: str | None, results: tuple[str, ...] = MEDIA_TYPES) -> str:
    """The type to answer with: one of the result's media types or ``application/json``.

    Args:
        accept: the request's Accept header; None and ``*/*`` mean the first of ``results``.
        results: what the result can be had as; the first one wins among equals.

    Raises:
        NotAcceptable: the client takes nothing that we have.
    """
    offers = (*results, JSON)
    weights = {offered: _weight(offered, accept or "*/*") for offered in offers}
    best = max(offers, key=lambda offered: weights[offered])
    if weights[best] <= 0:
        raise NotAcceptable(f"Accept: {accept} leaves nothing to answer with. Offered: {', '.join(offers)}.")
    return best


def _weight(offered: str, accept: str) -> float:
    """The q of the most specific range that ``offered`` falls in; 0 when there is none."""
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
