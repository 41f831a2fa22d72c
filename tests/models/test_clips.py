"""Clips: what is read of them, what is refused, and what is written."""

from fractions import Fraction

import av
import numpy as np
import pytest

from models.errors import ClipRejected
from models.pictures.clips import Clip, ClipBounds, ClipWriter, Frame
from tests.clips import FPS, TONE_HZ, damaged, lying, tiny_clip, window
from tests.pictures import encoded, landscape


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"file_format": "mov", "codec": "mjpeg", "pixels": "yuvj420p"},
        {"file_format": "webm", "codec": "libvpx-vp9"},
        {"file_format": "matroska", "codec": "libx264"},
    ],
    ids=lambda options: options.get("file_format", "mp4"),
)
def test_frames_come_as_they_are_shown_and_when(options):
    clip = Clip(tiny_clip(**options))
    frames = list(clip.frames())
    assert (clip.width, clip.height, clip.frame_count, clip.seconds) == (64, 48, 8, pytest.approx(8 / FPS, abs=0.01))
    assert [float(frame.time) for frame in frames] == pytest.approx([n / FPS for n in range(8)], abs=0.001)
    for n, frame in enumerate(frames):
        # Colours are halved and coded: not the same, but no other frame's.
        errors = [np.abs(frame.picture.astype(int) - window(m)).mean() for m in range(8)]
        assert np.argmin(errors) == n


def test_a_clip_that_was_filmed_lying_is_shown_upright():
    clip = Clip(lying(tiny_clip()))
    first = next(clip.frames())
    assert (clip.width, clip.height) == (48, 64)
    upright = np.rot90(window(0), -1)
    assert (
        np.abs(first.picture.astype(int) - upright).mean()
        < np.abs(first.picture.astype(int) - upright[::-1]).mean() / 3
    )
    assert next(clip.frames((24, 32))).picture.shape == (32, 24, 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"#EXTM3U\nfile:///etc/hostname\n", "is not a video in a known format"),
        (encoded(landscape()), "is not a video in a known format"),
        (tiny_clip()[:900], "is damaged or truncated"),
        (b"\0\0\0\x18ftypmp42" + bytes(200), "is damaged or truncated"),
    ],
    ids=["empty", "playlist", "picture", "truncated", "nothing in it"],
)
def test_what_is_no_clip_is_refused(data, why):
    with pytest.raises(ClipRejected, match=why):
        Clip(data)


def test_sound_alone_is_no_clip(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        track = container.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        container.mux(track.encode(silence))
        container.mux(track.encode())
    with pytest.raises(ClipRejected, match="has no video track"):
        Clip((tmp_path / "sound.mp4").read_bytes())


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (ClipBounds(max_seconds=0.3), "is 0.3 s long; at most 0.3 s are accepted"),
        (ClipBounds(max_frames=7), "has more than 7 frames"),
        (ClipBounds(max_pixels=64 * 48 - 1), "has frames of 64 × 48 pixels; at most 3,071 are accepted"),
    ],
)
def test_bounds_are_kept_whatever_the_file_says_of_itself(bounds, why):
    with pytest.raises(ClipRejected, match=why):
        Clip(tiny_clip(), bounds)


def test_damage_in_the_middle_is_found_where_it_is():
    clip = Clip(damaged(tiny_clip(24)))
    shown = []
    with pytest.raises(ClipRejected, match=r"is damaged.* after 0\.\d s"):
        shown += clip.frames()
    assert len(shown) < 24


@pytest.mark.parametrize("sound", ["aac", "libopus", None])
def test_frames_are_written_when_they_were_shown_and_with_the_sound(tmp_path, sound):
    clip = Clip(tiny_clip(sound=sound))
    writer = ClipWriter(tmp_path / "made.mp4", clip, (64, 48))
    times = [Fraction(n, FPS) + (Fraction(1, 10) if n > 3 else 0) for n in range(8)]  # a pause in the middle
    for n, time in enumerate(times):
        writer.write(Frame(window(n), time))
    writer.close()
    made = Clip((tmp_path / "made.mp4").read_bytes())
    frames = list(made.frames())
    assert [float(frame.time) for frame in frames] == pytest.approx(list(map(float, times)), abs=0.001)
    assert np.abs(frames[5].picture.astype(int) - window(5)).mean() < 8
    if sound:
        packets = list(made.sound_packets())
        assert [bytes(packet) for packet in packets] == [bytes(packet) for packet in clip.sound_packets()]
    else:
        assert made.sound is None


def test_colours_survive_the_way_through_h264(tmp_path):
    colours = [(255, 0, 0), (0, 128, 0), (20, 40, 200), (250, 230, 40)]
    frame = np.repeat(np.repeat(np.array([colours], np.uint8), 64, axis=0), 16, axis=1)
    writer = ClipWriter(tmp_path / "made.mp4", Clip(tiny_clip()), (64, 64))
    writer.write(Frame(frame, Fraction(0)))
    writer.close()
    made = next(Clip((tmp_path / "made.mp4").read_bytes()).frames()).picture
    for n, colour in enumerate(colours):
        assert np.abs(made[8:-8, 16 * n + 8].astype(int) - colour).max() <= 6
    with av.open(str(tmp_path / "made.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == 5  # BT.601 for 25 Hz or 6 for 30 Hz: the same matrix


@pytest.mark.parametrize(("codec", "rate"), [("vorbis", 44_100), ("pcm_s16le", 48_000), ("pcm_f32le", 96_000)])
def test_sound_that_players_don_t_find_in_an_mp4_becomes_aac(tmp_path, codec, rate):
    clip = Clip(tiny_clip(25, file_format="matroska", sound=codec, sound_rate=rate))
    assert not clip.silenced
    writer = ClipWriter(tmp_path / "made.mp4", clip, (64, 48))
    for frame in clip.frames():
        writer.write(frame)
    writer.close()
    assert Clip((tmp_path / "made.mp4").read_bytes()).sound == "aac"
    with av.open(str(tmp_path / "made.mp4")) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        made_rate = container.streams.audio[0].rate
    assert len(heard) / made_rate == pytest.approx(1, abs=0.06)
    loudest = np.abs(np.fft.rfft(heard)).argmax() * made_rate / len(heard)
    assert loudest == pytest.approx(TONE_HZ, abs=2)


def test_damaged_sound_is_left_out_and_the_rest_is_kept(tmp_path):
    whole = tiny_clip(25, file_format="matroska", sound="vorbis", sound_rate=44_100)
    packets = [bytes(packet) for packet in Clip(whole).sound_packets()]
    middle = max(packets[len(packets) // 4 :], key=len)
    writer = ClipWriter(tmp_path / "made.mp4", Clip(whole.replace(middle, b"\xff" * len(middle))), (64, 48))
    writer.write(Frame(window(0), Fraction(0)))
    writer.close()
    with av.open(str(tmp_path / "made.mp4")) as container:
        assert 0.5 < sum(frame.samples for frame in container.decode(audio=0)) / 44_100 <= 1.06


def test_sound_that_is_not_read_is_known():
    clip = Clip(tiny_clip(2, file_format="matroska", sound="mp2"))
    assert (clip.sound, clip.silenced) == ("mp2", True)


def test_a_decoder_that_is_not_listed_does_not_run():
    with pytest.raises(ClipRejected, match="is coded as ffv1, which is not read"):
        Clip(tiny_clip(file_format="matroska", codec="ffv1"))
