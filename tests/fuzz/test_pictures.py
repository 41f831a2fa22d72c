"""Files that come of pictures by mutation: each is a usable picture or a refusal that says why, and nothing else."""

import random
import struct

import numpy as np
import pytest

from app.errors import BadPicture
from app.geometry import Geometry
from app.images import prepare
from models.errors import PictureRejected
from models.pictures.decoding import EncodedPicture
from tests.fuzz.pictures import mutant, scans, seeds

MUTANTS = 400
MAX_PIXELS = 50_000_000


def prepared(data):
    """A picture of 64 px, or the sentence that refuses it."""
    try:
        picture = prepare(data, Geometry(64, "square"), max_pixels=MAX_PIXELS, max_output_pixels=4_000_000).picture
    except BadPicture as error:
        return str(error)
    assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
    return picture


@pytest.mark.parametrize("name", seeds())
def test_the_pictures_that_mutants_come_of_are_sound(name):
    assert not isinstance(prepared(seeds()[name]), str)


def test_a_mutant_is_a_picture_or_is_refused_with_a_sentence(capfd):
    rng = random.Random(1)
    outcomes = [prepared(mutant(rng)) for _ in range(MUTANTS)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert all(refusal.startswith("The picture ") and refusal.endswith(".") for refusal in refusals)
    assert MUTANTS / 20 < len(refusals) < MUTANTS * 19 / 20  # neither did all mutations break, nor none


@pytest.mark.parametrize(
    ("name", "before", "form"),
    [
        ("baseline.jpg", b"\xff\xc0\0\x11\x08", ">HH"),
        ("plain.bmp", b"\x28\0\0\0", "<ii"),
        ("animated.gif", b"GIF87a", "<HH"),
    ],
)
def test_a_header_that_tells_of_too_many_pixels_is_refused(name, before, form):
    data = bytearray(seeds()[name])
    struct.pack_into(form, data, data.index(before) + len(before), 50_000, 50_000)
    with pytest.raises(PictureRejected, match="has 50000 × 50000 pixels"):
        EncodedPicture(bytes(data))


@pytest.mark.parametrize("count", [33, 500])
def test_a_picture_of_many_scans_is_refused(count):
    assert "scans" in prepared(scans(count, 96, 64))
