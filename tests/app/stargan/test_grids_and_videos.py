"""Grids and videos of many styles."""

import io
import itertools
import json
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from app.rendering import ZIP
from tests.app.stargan.sending import PHOTO, difference, picture, several, upload
from tests.pictures import decoded, encoded, landscape


def test_seeds_of_a_grid_that_nobody_sent_are_drawn_and_told(service):
    drawn = service.post("/stargan/grid", **several(1, references=0))
    assert len(json.loads(drawn.headers["x-seed"])) == 4
    again = service.post("/stargan/grid", **several(1, references=0, seeds=drawn.headers["x-seed"]))
    assert difference(picture(drawn), picture(again)) <= 1


def mismatched(**fields):
    request = several(1, **fields)
    small = encoded(landscape(40, 40))
    return {"files": [*request["files"], ("sources", ("small.png", small, "image/png"))], "data": fields}


def test_a_grid_shows_every_source_in_every_style(service):
    answer = service.post("/stargan/grid", **several(3))
    grid = picture(answer)
    assert grid.shape == (3 * 64 + 2 * 4, 4 * 64 + 3 * 4, 3)
    assert (grid[:64, :64] == 255).all()  # the corner
    source = grid[:64, 68:132]
    middle = np.asarray(landscape())[:, 16:80].astype(int)
    assert difference(source, middle) < 1
    navy = grid[68:132, :64]
    assert difference(navy, np.full_like(navy, (0, 0, 128))) < 2
    cells = [grid[68 * row : 68 * row + 64, 68:132] for row in (1, 2)]
    assert difference(*cells) > 1


def test_psi_0_makes_all_drawn_rows_of_a_grid_the_mean_style(service):
    grid = picture(service.post("/stargan/grid", **several(1, references=0, seeds="[1, 2]", psi="0")))
    assert difference(grid[68:132], grid[136:200]) <= 1


def test_the_cells_of_a_grid_come_as_a_zip(service):
    answer = service.post("/stargan/grid", **several(2, references=0, seeds="[1, 2, 3]"), headers={"Accept": ZIP})
    assert answer.headers["content-type"] == ZIP
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == 6
        cell = decoded(archive.read("source-2-style-3.png")).astype(int)
    alone = picture(service.post("/stargan/latent", **upload(seed="3", fit="crop")))
    assert difference(cell, alone) <= 1


def test_a_video_goes_from_style_to_style(service):
    fields = {"frames": "6", "fps": "12"}
    answer = service.post("/stargan/video", **several(2, references=3, **fields))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.content
    with av.open(io.BytesIO(answer.content)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 12
    assert len(frames) == 2 * 6 + 1
    assert frames[0].shape == (64, 128, 3)
    steps = [difference(a, b) for a, b in itertools.pairwise(frames)]
    assert steps[0] < steps[3]  # eased at the start
    assert difference(frames[0], frames[6]) > 1


def test_a_video_comes_as_an_animated_webp_too(service):
    answer = service.post(
        "/stargan/video", **several(1, references=0, seeds="[1, 2]", frames="5"), headers={"Accept": "image/webp"}
    )
    with Image.open(io.BytesIO(answer.content)) as animation:
        assert (animation.format, animation.n_frames, animation.size) == ("WEBP", 6, (64, 64))
        assert b"compositeWithTrainedAlgorithmicMedia" in animation.info["xmp"]


def test_a_video_that_is_not_waited_for_tells_its_progress_and_is_kept(service):
    job = service.post("/stargan/video", **several(4, frames="60", wait="0")).json()
    assert job["kind"] == "video"
    progress = []
    with service.stream("GET", job["links"]["events"]) as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                progress.append(json.loads(line.removeprefix("data:"))["progress"])
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert any(0 < done < 1 for done in progress)
    video = service.get(job["links"]["image"])
    assert video.headers["content-type"] == "video/mp4"
    part = service.get(job["links"]["image"], headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, video.content[100:300])


BAD_LONG = {
    "no sources": ("/stargan/grid", several(0), "sources"),
    "too many sources": ("/stargan/grid", several(9), "9 pictures; this call takes 1 to 8"),
    "too many references": ("/stargan/grid", several(1, references=9), "9 pictures; this call takes 1 to 8"),
    "both": ("/stargan/grid", several(1, seeds="[1]"), "not both"),
    "seeds of words": ("/stargan/grid", several(1, references=0, seeds='["a"]'), "whole numbers"),
    "a seed alone": ("/stargan/grid", several(1, references=0, seeds="7"), "whole numbers"),
    "no seeds in the list": ("/stargan/grid", several(1, references=0, seeds="[]"), "0 of them"),
    "true is no seed": ("/stargan/grid", several(1, references=0, seeds="[true]"), "whole numbers"),
    "negative seed": ("/stargan/grid", several(1, references=0, seeds="[-1]"), "seed"),
    "one style is no way": ("/stargan/video", several(1, references=1), "1 pictures; this call takes 2 to 8"),
    "one seed is no way": ("/stargan/video", several(1, references=0, seeds="[1]"), "1 of them"),
    "too many filmed": ("/stargan/video", several(5), "5 pictures; this call takes 1 to 4"),
    "too many frames": ("/stargan/video", several(1, frames="1000"), "frames"),
    "too few frames": ("/stargan/video", several(1, frames="1"), "frames"),
    "too fast": ("/stargan/video", several(1, fps="1000"), "fps"),
    "too large in all": ("/stargan/video", several(4, references=8, frames="120", resolution="256"), "MB"),
    "unknown domain": ("/stargan/grid", several(1, domain="dog"), "Domains: painting, photo"),
    "a CycleGAN": ("/stargan/video", several(1, model="tiny"), "no StarGAN model"),
    "fit": ("/stargan/grid", several(1, fit="keep"), "fit"),
    "wider than any file": ("/stargan/grid", several(8, references=1, resolution="2048"), "sides of at most 16000"),
    "native sizes that differ": ("/stargan/grid", mismatched(resolution="native"), "different shapes"),
}


@pytest.mark.parametrize("case", BAD_LONG)
def test_bad_grids_and_videos_are_told_what_was_wrong(service, case):
    path, request, words = BAD_LONG[case]
    answer = service.post(path, **request)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/stargan/grid", "/stargan/video"])
def test_one_bad_picture_among_several_is_named(service, path):
    files = [("sources", ("a.png", PHOTO)), ("references", ("a.png", PHOTO)), ("references", ("b.png", b"no picture"))]
    answer = service.post(path, files=files)
    assert answer.status_code == 422
    assert "reference 2" in answer.json()["detail"]


def test_a_type_that_a_video_cannot_have_is_refused(service):
    answer = service.post("/stargan/video", **several(1), headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "video/mp4" in answer.json()["detail"]


def test_the_smallest_resolution_leaves_something_to_translate(service):
    answer = service.post("/stargan/latent", **upload(seed="1", resolution="32"))
    assert picture(answer).shape[0] == 32
