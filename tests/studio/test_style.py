"""The page's Style view, by a real browser: styles from pictures and seeds, grids and videos."""

import av
import numpy as np
import pytest
from playwright.sync_api import expect

from app.rendering import GAP
from tests.clips import tiny_clip, window
from tests.pictures import encoded, landscape
from tests.processes import eventually
from tests.studio.gestures import give, inverted, pick, pixels, shown, visit


def newest(server):
    return {"seeds": []} | server.get("/jobs", params={"limit": 1}).json()[0]


def test_a_photo_takes_the_style_of_a_picture_or_of_a_seed(page, server):
    visit(page, "style")
    expect(page.get_by_role("heading", name="Like")).to_be_visible()
    give(page, encoded(landscape()))
    give(page, encoded(landscape(64, 64)))
    np.testing.assert_array_equal(shown(page), inverted(landscape()))
    assert newest(server)["model"] == "style-by-example"

    page.get_by_role("button", name="StarGAN").click()
    page.get_by_role("combobox", name="Model").select_option("stars")
    eventually(lambda: newest(server)["seeds"] == [1])
    page.get_by_role("button", name="Roll the dice").click()
    eventually(lambda: newest(server)["seeds"] not in ([1], []))
    page.get_by_role("button", name="That of a picture").click()
    eventually(lambda: newest(server)["seeds"] == [])
    assert newest(server)["model"] == "stars"


@pytest.fixture
def stars(page):
    """The view, with a photo that the StarGAN ``stars`` has painted."""
    visit(page, "style")
    page.get_by_role("button", name="StarGAN").click()
    page.get_by_role("combobox", name="Model").select_option("stars")
    give(page, encoded(landscape()))
    shown(page)
    return page


def test_six_variations_are_six_seeds_to_walk_on_from(stars, server):
    stars.get_by_role("button", name="Six variations").click()
    variations = stars.get_by_role("list", name="Variations").get_by_role("button")
    expect(variations).to_have_count(6)
    expect(variations.nth(5)).to_be_enabled()
    ordered = [job["seeds"] for job in server.get("/jobs", params={"limit": 6}).json()]
    seeds = [int(name.removeprefix("Seed ")) for name in variations.evaluate_all("all => all.map(e => e.ariaLabel)")]
    assert ordered == [[seed] for seed in reversed(seeds)]
    assert len(set(seeds)) == 6

    variations.nth(2).click()
    eventually(lambda: newest(server)["seeds"] == [seeds[2]])
    expect(stars.get_by_label("Seed", exact=True)).to_have_value(str(seeds[2]))
    expect(variations.nth(2)).to_have_attribute("aria-current", "true")


def test_a_grid_has_each_photo_in_each_style(stars, server):
    stars.get_by_text("Grid and video").click()
    stars.get_by_label("Choose other photos").set_input_files(
        [{"name": f"{n}.png", "mimeType": "image/png", "buffer": encoded(landscape(64, 64 + n))} for n in range(2)]
    )
    stars.get_by_role("button", name="Grid").click()
    grid = pixels(stars.get_by_role("img", name="The grid"))
    assert grid.shape[1] == 3 * 64 + 2 * GAP  # three photos side by side
    assert newest(server)["kind"] == "grid"
    assert len(set(newest(server)["seeds"])) == 4


def test_a_video_goes_from_style_to_style(stars, server):
    stars.get_by_role("button", name="Video").click()
    video = stars.locator("video")
    expect(video).to_be_visible(timeout=60_000)
    stars.wait_for_function("() => document.querySelector('video').readyState > 1")  # the browser can show it
    assert newest(server)["kind"] == "video"
    with stars.expect_download() as download:
        stars.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "1-styled.mp4"
    with av.open(download.value.path()) as film:
        assert film.streams.video[0].frames > 1


def test_a_picture_without_a_face_can_be_taken_as_it_is(stars, server):
    stars.get_by_role("combobox", name="Model").select_option("heads")
    expect(stars.get_by_role("alert")).to_contain_text("No face was found")
    stars.get_by_role("button", name="Take the picture as it is").click()
    expect(stars.get_by_role("alert")).to_have_count(0)
    painted = shown(stars).astype(int)
    assert np.abs(painted - inverted(landscape())).max() <= 1  # it was resized to the model's side and back
    assert newest(server)["model"] == "heads"


def test_a_clip_is_painted_like_a_picture(trainers_page, workshop):
    page = trainers_page
    visit(page, "style")
    pick(page, "Choose the photo or the clip", "walk.mp4", tiny_clip(6), "video/mp4")
    expect(page.locator("video")).to_be_visible()
    pick(page, "Choose style pictures", "style.png", encoded(landscape(64, 64)))
    expect(page.get_by_role("button", name="Download")).to_be_visible(timeout=60_000)
    assert newest(workshop)["kind"] == "clip"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    with av.open(download.value.path()) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 6
    for n, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - window(n)).mean() > 20  # it was painted
