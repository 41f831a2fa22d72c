"""Which of the media types we can answer with a client prefers (RFC 9110, section 12.5.1)."""

from app.errors import NotAcceptable
from app.images import MEDIA_TYPES

JSON = "application/json"
_OFFERED = (*MEDIA_TYPES, JSON)  # the first one wins among equals


def accepted_type(accept: str | None) -> str:
    """The type to answer with: a picture's media type or ``application/json``.

    Args:
        accept: the request's Accept header; None and ``*/*`` mean PNG.

    Raises:
        NotAcceptable: the client takes nothing that we have.
    """
    weights = {offered: _weight(offered, accept or "*/*") for offered in _OFFERED}
    best = max(_OFFERED, key=lambda offered: weights[offered])
    if weights[best] <= 0:
        raise NotAcceptable(f"Accept: {accept} leaves nothing to answer with. Offered: {', '.join(_OFFERED)}.")
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
