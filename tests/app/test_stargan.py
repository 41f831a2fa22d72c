"""The StarGAN calls over real HTTP, with a real worker that holds a tiny StarGAN v2."""

import io
import itertools
import json
import sys
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from app.rendering import ZIP
from app.settings import Settings
from tests.conftest import TINY_STARGAN, add_model, add_stargan
from tests.pictures import decoded, encoded, landscape, photo
from tests.processes import api, environment, eventually, process, ready

PHOTO = encoded(landscape())
REFERENCES = [encoded(Image.new("RGB", (40, 30), color)) for color in ("navy", "orange")]


@pytest.fixture(scope="module")
def service(redis_server, tmp_path_factory):
    """A client of the service: a CycleGAN ``tiny`` and two StarGANs, one of them the default."""
    root = tmp_path_factory.mktemp("stargan")
    add_model(root / "weights", "tiny", ready=True)
    for name in ("stargan-monet-lite", "other"):
        add_stargan(root / "weights", name)
    network = TINY_STARGAN | {"landmarks": 1}
    add_stargan(root / "weights", "faces", network=network, align="face", masks="landmarks")
    settings = Settings(
        redis_url=redis_server.url, weights_dir=root / "weights", data_dir=root / "var", device="cpu", offline=True
    )
    with (
        api(settings) as client,
        process(
            sys.executable,
            "-m",
            "app.cli",
            "worker",
            env=environment(settings) | {"DOPPEL_PRELOAD": "stargan-monet-lite"},
        ),
    ):
        eventually(lambda: ready(client))
        yield client


def upload(*, reference=None, **fields):
    files = {"image": ("photo.png", PHOTO, "image/png")}
    if reference is not None:
        files["reference"] = ("reference.png", reference, "image/png")
    return {"files": files, "data": fields}


def picture(answer):
    assert answer.status_code == 200, answer.text
    return decoded(answer.content).astype(int)


def difference(a, b):
    return np.abs(a - b).mean()


def test_a_picture_and_a_reference_are_all_that_is_needed(service):
    answer = service.post("/stargan/reference", **upload(reference=REFERENCES[0]))
    assert picture(answer).shape == (64, 96, 3)
    assert answer.headers["x-model"] == "stargan-monet-lite"
    assert "decode" in answer.headers["server-timing"]


def test_different_references_give_different_pictures(service):
    first, second, again = (
        picture(service.post("/stargan/reference", **upload(reference=REFERENCES[n]))) for n in (0, 1, 0)
    )
    assert difference(first, second) > 1
    assert difference(first, again) <= 1


def test_a_seed_stands_for_the_same_style_always(service):
    one, other, again = (picture(service.post("/stargan/latent", **upload(seed=str(seed)))) for seed in (1, 2, 1))
    assert difference(one, again) <= 1
    assert difference(one, other) > 0.5


@pytest.mark.parametrize(("path", "fields"), [("/stargan/latent", {}), ("/translate", {"model": "other"})])
def test_a_seed_that_nobody_sent_is_drawn_and_told(service, path, fields):
    answers = [service.post(path, **upload(**fields)) for _ in range(2)]
    first, second = (answer.headers["x-seed"] for answer in answers)
    assert first != second
    job = service.get(f"/jobs/{answers[0].headers['x-job-id']}").json()
    assert job["seeds"] == [int(first)]
    assert service.get(job["links"]["image"]).headers["x-seed"] == first
    again = service.post(path, **upload(seed=first, **fields))
    assert difference(picture(answers[0]), picture(again)) <= 1


def test_seeds_of_a_grid_that_nobody_sent_are_drawn_and_told(service):
    drawn = service.post("/stargan/grid", **several(1, references=0))
    assert len(json.loads(drawn.headers["x-seed"])) == 4
    again = service.post("/stargan/grid", **several(1, references=0, seeds=drawn.headers["x-seed"]))
    assert difference(picture(drawn), picture(again)) <= 1


def test_the_answer_in_the_shape_of_the_upload_is_a_choice(service):
    image = {"image": ("photo.png", encoded(landscape(301, 211)), "image/png")}
    sizes = {"": (64, 91), "source": (211, 301), "native": (211, 301)}  # 64 px: the size that it was trained at
    made = {
        resolution: picture(service.post("/stargan/latent", files=image, data={"seed": "1", "resolution": resolution}))
        for resolution in sizes
    }
    assert {resolution: result.shape[:2] for resolution, result in made.items()} == sizes
    enlarged = np.asarray(Image.fromarray(made[""].astype(np.uint8)).resize((301, 211), Image.Resampling.BICUBIC))
    assert difference(made["source"], enlarged.astype(int)) <= 1
    assert difference(made["source"], made["native"]) > 1


def test_an_aligned_face_is_enlarged_if_a_number_is_asked_for(service):
    assert picture(service.post("/stargan/reference", **portrait(resolution="100"))).shape == (100, 100, 3)
    answer = service.post("/stargan/reference", **portrait(resolution="source"))
    assert picture(answer).shape == (64, 64, 3)
    assert "64 x 64 px" in answer.headers["x-note"]  # headers are ASCII


def test_a_latent_code_may_be_given_whole(service):
    latent = json.dumps([0.5] * 16)
    one, two = (picture(service.post("/stargan/latent", **upload(latent=latent, domain=d))) for d in ("", "photo"))
    assert difference(one, two) > 0.5


def test_truncation_leads_to_the_domains_mean(service):
    by_seed = [picture(service.post("/stargan/latent", **upload(seed=str(seed), psi="0"))) for seed in (1, 2)]
    assert difference(*by_seed) <= 1


def test_a_style_code_does_what_its_picture_does(service):
    answer = service.post("/stargan/style", files={"image": ("r.png", REFERENCES[1], "image/png")})
    assert answer.status_code == 200, answer.text
    code = answer.json()
    assert (code["domain"], code["model"], len(code["style"])) == ("painting", "stargan-monet-lite", 8)
    by_code = service.post("/stargan/reference", **upload(style=json.dumps(code["style"])))
    by_picture = service.post("/stargan/reference", **upload(reference=REFERENCES[1]))
    assert difference(picture(by_code), picture(by_picture)) <= 1


def test_a_style_code_can_be_fetched_later_with_its_job(service):
    job = service.post(
        "/stargan/style", files={"image": ("r.png", PHOTO, "image/png")}, data={"wait": "0", "domain": "photo"}
    )
    assert job.status_code == 202
    eventually(lambda: service.get(job.json()["links"]["self"]).json()["status"] == "succeeded")
    assert len(service.get(job.json()["links"]["self"]).json()["style"]) == 8
    picture_of_it = service.get(job.json()["links"]["image"])
    assert picture_of_it.status_code == 409
    assert "style code" in picture_of_it.json()["detail"]


def test_translate_does_the_same(service):
    by_name = picture(service.post("/stargan/latent", **upload(seed="5", model="other", domain="photo")))
    by_translate = picture(service.post("/translate", **upload(seed="5", model="other", domain="photo")))
    assert difference(by_name, by_translate) <= 1


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, (64, 96)),
        ({"fit": "square"}, (64, 64)),
        ({"fit": "crop", "resolution": "96"}, (96, 96)),
        ({"resolution": "100"}, (100, 150)),
        ({"resolution": "native"}, (64, 96)),
    ],
)
def test_size_and_shape_can_be_chosen(service, fields, shape):
    assert picture(service.post("/stargan/latent", **upload(seed="1", **fields))).shape[:2] == shape


def test_the_catalog_tells_of_domains(service):
    assert service.get("/models/other").json()["domains"] == ["painting", "photo"]
    assert service.get("/models/tiny").json()["domains"] == []


def test_the_drop_down_of_a_stargan_call_holds_stargan_models(service):
    schemas = service.get("/docs/openapi.json").json()["components"]["schemas"]
    body = next(schema for name, schema in schemas.items() if "translate_by_latent" in name)
    assert body["properties"]["model"]["enum"] == ["", "faces", "other", "stargan-monet-lite"]


IMAGE = {"image": ("photo.png", PHOTO, "image/png")}
SIXTEEN = json.dumps([0.1] * 16)
BAD = {
    "unknown domain": ("/stargan/latent", {"seed": "1", "domain": "dog"}, "Domains: painting, photo"),
    "unknown domain of a reference": ("/stargan/reference", {"style": "[0,0,0,0,0,0,0,0]", "domain": "x"}, "no domain"),
    "unknown domain of a style": ("/stargan/style", {"domain": "PAINTING"}, "Domains: painting, photo"),
    "unknown domain in translate": ("/translate", {"model": "other", "seed": "1", "domain": "cat"}, "no domain"),
    "unknown model": ("/stargan/latent", {"seed": "1", "model": "nobody"}, "no model"),
    "a CycleGAN": ("/stargan/latent", {"seed": "1", "model": "tiny"}, "tiny is no StarGAN model"),
    "a CycleGAN for a style": ("/stargan/style", {"model": "tiny"}, "StarGAN models: faces, other, stargan-monet-lite"),
    "no reference": ("/stargan/reference", {}, "send reference or style"),
    "seed and latent": ("/stargan/latent", {"seed": "1", "latent": SIXTEEN}, "not seed and latent"),
    "seed and style": ("/translate", {"model": "other", "seed": "1", "style": "[0]"}, "not seed and style"),
    "three guides": ("/translate", {"model": "other", "seed": "1", "style": "[0]", "latent": SIXTEEN}, "seed and lat"),
    "short latent": ("/stargan/latent", {"latent": "[1, 2]"}, "2 numbers; this model takes 16"),
    "long latent": ("/stargan/latent", {"latent": json.dumps([0] * 17)}, "17 numbers; this model takes 16"),
    "endless latent": ("/stargan/latent", {"latent": json.dumps([0] * 9000)}, "9000 numbers"),
    "latent of words": ("/stargan/latent", {"latent": json.dumps(["a"] * 16)}, "16 finite numbers"),
    "latent of booleans": ("/stargan/latent", {"latent": json.dumps([True] * 16)}, "finite numbers"),
    "latent with NaN": ("/stargan/latent", {"latent": "[NaN" + ", 0" * 15 + "]"}, "finite numbers"),
    "infinite latent": ("/stargan/latent", {"latent": "[1e999" + ", 0" * 15 + "]"}, "finite numbers"),
    "latent that is an object": ("/stargan/latent", {"latent": '{"a": 1}'}, "finite numbers"),
    "latent that is no JSON": ("/stargan/latent", {"latent": "one, two"}, "not a JSON list"),
    "deeply nested latent": ("/stargan/latent", {"latent": "[" * 100_000}, "not a JSON list"),
    "short style": ("/stargan/reference", {"style": "[1]"}, "1 numbers; this model takes 8"),
    "latent as style": ("/stargan/reference", {"style": SIXTEEN}, "16 numbers; this model takes 8"),
    "style beyond every float": ("/stargan/reference", {"style": "[" + "9" * 400 + ", 0, 0, 0, 0, 0, 0, 0]"}, "finite"),
    "negative seed": ("/stargan/latent", {"seed": "-1"}, "seed"),
    "seed of words": ("/stargan/latent", {"seed": "lucky"}, "not a whole number"),
    "seed beyond bounds": ("/stargan/latent", {"seed": str(2**63)}, "seed"),
    "seed in other digits": ("/stargan/latent", {"seed": "١"}, "seed"),
    "psi over 1": ("/stargan/latent", {"seed": "1", "psi": "1.5"}, "psi"),
    "psi of words": ("/stargan/latent", {"seed": "1", "psi": "much"}, "psi"),
    "psi that is no number": ("/stargan/latent", {"seed": "1", "psi": "nan"}, "psi"),
    "wait of a day": ("/stargan/latent", {"seed": "1", "wait": "86400"}, "wait"),
    "resolution": ("/stargan/latent", {"seed": "1", "resolution": "huge"}, "resolution"),
    "fit": ("/stargan/latent", {"seed": "1", "fit": "stretch"}, "fit"),
    "a guide for a CycleGAN": ("/translate", {"model": "tiny", "seed": "1"}, "takes no seed"),
    "truncation for a CycleGAN": ("/translate", {"model": "tiny", "psi": "0.5"}, "takes no psi"),
    "a domain for a CycleGAN": ("/translate", {"model": "tiny", "domain": "photo"}, "takes no domain"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_told_what_was_wrong(service, case):
    path, fields, words = BAD[case]
    answer = service.post(path, files=IMAGE, data=fields)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"not a picture", PHOTO[:80]])
def test_a_bad_reference_is_refused_like_any_picture(service, data):
    answer = service.post("/stargan/reference", **upload(reference=data))
    assert answer.status_code == 422
    assert service.post("/stargan/reference", files={"reference": ("r.png", PHOTO, "image/png")}).status_code == 422


PORTRAIT = encoded(photo(400, 300, (90, 40, 220)))
CROWD = encoded(photo(800, 480, (40, 60, 140), (420, 100, 240)))


def portrait(data=PORTRAIT, *, reference=PORTRAIT, **fields):
    files = {"image": ("portrait.png", data, "image/png"), "reference": ("reference.png", reference, "image/png")}
    return {"files": files, "data": {"model": "faces"} | fields}


def test_a_model_of_faces_aligns_source_and_reference(service):
    answer = service.post("/stargan/reference", **portrait())
    assert picture(answer).shape == (64, 64, 3)
    assert "x-note" not in answer.headers
    unaligned = picture(service.post("/stargan/reference", **portrait(align="none", fit="square")))
    assert difference(picture(answer), unaligned) > 0.5


def test_which_of_several_faces_was_taken_is_said(service):
    answer = service.post("/stargan/reference", **portrait(CROWD))
    assert answer.headers["x-note"] == "the largest of 2 faces in the image was taken"
    job = service.post("/stargan/reference", **portrait(reference=CROWD), headers={"Accept": "application/json"})
    assert job.json()["notes"] == ["the largest of 2 faces in the reference was taken"]


@pytest.mark.parametrize(("fields", "what"), [({"data": PHOTO}, "image"), ({"reference": PHOTO}, "reference")])
def test_a_photo_without_a_face_is_refused_unless_it_is_to_be_taken_as_it_is(service, fields, what):
    answer = service.post("/stargan/reference", **portrait(**fields))
    assert answer.status_code == 422
    assert f"No face was found in the {what}" in answer.json()["detail"]
    assert answer.json()["code"] == "no_face"
    taken = picture(service.post("/stargan/reference", **portrait(**fields, align="none")))
    assert taken.shape == ((64, 96, 3) if fields.get("data") else (64, 85, 3))  # the shape of the image


def test_a_style_is_read_from_the_face(service):
    files = {"image": ("portrait.png", PORTRAIT, "image/png")}
    aligned, plain = (
        service.post("/stargan/style", files=files, data={"model": "faces", "align": align}).json()["style"]
        for align in ("auto", "none")
    )
    assert aligned != plain


def several(count, *, references=2, **fields):
    files = [("sources", (f"{n}.png", PHOTO, "image/png")) for n in range(count)]
    files += [("references", (f"{n}.png", REFERENCES[n % 2], "image/png")) for n in range(references)]
    return {"files": files, "data": fields}


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
