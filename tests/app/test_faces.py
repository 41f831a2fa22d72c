"""Faces in photos."""

import numpy as np
import pytest

from app.errors import NoFace
from app.faces import cut_out
from tests.pictures import BACKGROUND, photo
from worker.contract import FACE_SIDE


def cut(image):
    return cut_out(np.asarray(image), name="image")


def extent(picture):
    """Columns and rows, first and last, that are not background."""
    other = np.abs(picture.astype(int) - BACKGROUND).max(axis=2) > 40
    rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
    return columns[0], columns[-1], rows[0], rows[-1]


@pytest.mark.parametrize(("left", "side"), [(60, 200), (300, 160)])
def test_the_face_comes_to_the_middle_with_room_about_it(left, side):
    picture, remark = cut(photo(640, 480, (left, 120, side)))
    assert picture.shape == (FACE_SIDE, FACE_SIDE, 3)
    assert remark is None
    first, last, top, bottom = extent(picture)
    assert abs((first + last) / 2 - FACE_SIDE / 2) < FACE_SIDE * 0.1
    assert top > 0
    assert bottom < FACE_SIDE - 1
    assert 0.35 < (last - first) / FACE_SIDE < 0.7


def test_of_several_faces_the_largest_is_taken_and_said():
    picture, remark = cut(photo(800, 480, (40, 60, 140), (420, 100, 240)))
    assert remark == "the largest of 2 faces in the image was taken"
    alone, _ = cut(photo(800, 480, (420, 100, 240)))
    assert np.abs(picture.astype(int) - alone).mean() < 12


def test_a_face_at_the_border_is_continued_beyond_it():
    picture, _ = cut(photo(300, 300, (20, 10, 260)))
    assert np.abs(picture[2].astype(int) - BACKGROUND).mean() < 60  # nothing is black there


@pytest.mark.parametrize("image", [photo(640, 480), photo(64, 64), photo(1000, 20)])
def test_a_picture_without_a_face_is_refused_with_advice(image):
    with pytest.raises(NoFace, match=r"No face was found in the image.*align=none"):
        cut(image)


def test_a_face_that_is_too_small_is_refused_with_its_size():
    with pytest.raises(NoFace, match=r"px wide; at least 48 px"):
        cut(photo(120, 120, (20, 20, 66)))
