"""Accept headers."""

import pytest

from app.errors import NotAcceptable
from app.negotiation import accepted_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("image/*", "image/png"),
        ("IMAGE/JPEG", "image/jpeg"),
        ("image/png;q=0.1, image/webp;q=0.9", "image/webp"),
        ("image/*;q=0.5, image/png;q=0", "image/jpeg"),
        ("application/json", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("image/png;q=rubbish, image/jpeg;q=0.1", "image/jpeg"),
    ],
)
def test_the_client_gets_what_it_prefers(accept, expected):
    assert accepted_type(accept) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "nonsense"])
def test_nothing_acceptable(accept):
    with pytest.raises(NotAcceptable, match="image/png"):
        accepted_type(accept)
