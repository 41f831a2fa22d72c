"""Sample pictures of runs: how they are marked, and which of them a long run keeps."""

import numpy as np
import pytest
from PIL import Image

from models.store.samples import KEPT_NEWEST, KEPT_OLDER, SampleRow, save_sheet, to_drop


def sampled(steps, *, kept=(), every=500):
    """The steps that have a sample picture once all of ``steps`` have been done, beginning with those ``kept``."""
    kept = list(kept)
    for step in steps:
        kept.append(step)
        dropped = to_drop(kept, every)
        kept = [one for one in kept if one not in dropped]
    return kept


@pytest.mark.parametrize("last", [500, 10_000, 70_000, 1_257_000])
def test_the_newest_and_evenly_spaced_older_ones_are_kept(last):
    kept = sampled(range(500, last + 1, 500))
    newest, older = kept[-KEPT_NEWEST:], kept[:-KEPT_NEWEST]
    assert newest == list(range(last, max(0, last - KEPT_NEWEST * 500), -500))[::-1]
    assert len(older) <= KEPT_OLDER
    if last == 1_257_000:  # 2 ** 5 × 500 is the first pitch at which a hundred pictures reach to the end
        assert older == [500, *range(16_000, last - (KEPT_NEWEST - 1) * 500, 16_000)]


def test_a_run_that_was_interrupted_keeps_the_same():
    whole = sampled(range(500, 400_001, 500))
    killed = sampled(range(500, 210_001, 500))
    resumed_from = 207_000
    again = sampled(range(resumed_from + 500, 400_001, 500), kept=[step for step in killed if step <= resumed_from])
    assert again == whole


def test_runs_of_different_lengths_have_steps_in_common():
    short, long = (set(sampled(range(500, last + 1, 500))) for last in (90_000, 1_200_000))
    assert len(short & long) >= 5


def test_another_spacing_leaves_earlier_pictures():
    kept = sampled(range(50_300, 60_001, 300), kept=range(500, 50_001, 500), every=300)
    assert [step for step in kept if step <= 50_000][:3] == [500, 1_000, 1_500]


def test_a_sample_picture_is_marked_as_generated(tmp_path):
    save_sheet(tmp_path / "1.png", [SampleRow("made", "output", [np.zeros((8, 8, 3), np.uint8)])])
    with Image.open(tmp_path / "1.png") as written:
        assert b"compositeWithTrainedAlgorithmicMedia" in written.info["xmp"]
