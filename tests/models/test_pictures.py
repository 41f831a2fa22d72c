"""One reader of pictures: what it shows, and that only damage to pixels makes it refuse one."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from models.errors import PictureRejected
from models.pictures.decoding import Bounds, EncodedPicture, check_header
from tests.app.bad_uploads import png, png_chunk
from tests.odd_pictures import P3, exif, odd_pictures, tiff
from tests.pictures import encoded, landscape

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
GREYS = np.rint(RAMP * 255)
EXACT = b"".join(b"\0" + bytes((100, 150, 200)) * 32 for _ in range(32))  # rows of a PNG


def shown(data: bytes) -> np.ndarray:
    return np.asarray(EncodedPicture(data).shown().image)


def note(data: bytes) -> str | None:
    return EncodedPicture(data).shown().note


def flat_png(row: bytes, *, depth: int, color: int, transparent: bytes = b"") -> bytes:
    extra = png_chunk(b"tRNS", transparent) if transparent else b""
    return png(32, 32, data=(b"\0" + row) * 32, depth=depth, color=color, extra=extra)


def turned_jpeg() -> tuple[bytes, dict[int, int]]:
    """A JPEG whose EXIF asks for a quarter turn, and the offset of each EXIF entry by its tag."""
    data = encoded(landscape(), "JPEG", exif=exif(6))
    start = data.index(b"Exif\0\0MM") + 6  # Pillow writes big-endian EXIF
    entries: dict[int, int] = {}

    def collect(offset: int) -> None:
        (count,) = struct.unpack_from(">H", data, start + offset)
        for at in range(start + offset + 2, start + offset + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(">HHII", data, at)
            entries[tag] = at
            if tag in (0x8769, 0x8825):
                collect(value)

    collect(struct.unpack_from(">I", data, start + 4)[0])
    return data, entries


def test_one_exif_tag_of_another_type_or_length_changes_nothing():
    sound, entries = turned_jpeg()
    expected = shown(sound)
    assert expected.shape == (96, 64, 3)
    assert len(entries) > 12
    for tag, at in entries.items():
        for kind in (0, 1, 2, 3, 4, 5, 7, 10, 12, 13, 99):
            for count in (0, 1, 3, 1000, 2**31):
                if tag != 0x0112:
                    broken = bytearray(sound)
                    struct.pack_into(">HI", broken, at + 2, kind, count)
                    assert (shown(bytes(broken)) == expected).all(), (tag, kind, count)


@pytest.mark.parametrize("kind", [2, 5, 7, 12])
def test_an_orientation_that_is_no_whole_number_turns_nothing(kind):
    sound, entries = turned_jpeg()
    broken = bytearray(sound)
    struct.pack_into(">H", broken, entries[0x0112] + 2, kind)
    assert shown(bytes(broken)).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0"),
        (0xE2, b"ICC_PROFILE\0\1\1rubbish"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0II*"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\4"),
        (0xEE, b"Adobe\0"),
        (0xFE, b""),
    ],
)
def test_a_broken_segment_of_a_jpeg_changes_nothing(marker, body):
    sound = encoded(landscape(), "JPEG")
    segment = struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body
    assert (shown(sound[:2] + segment + sound[2:]) == shown(sound)).all()


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        png_chunk(b"iCCP", b"name\0\0rubbish"),
        png_chunk(b"iCCP", b"name\0\0" + zlib.compress(b"rubbish" * 30)),
        png_chunk(b"gAMA", b"\0"),
        png_chunk(b"gAMA", struct.pack(">I", 0)),
        png_chunk(b"gAMA", struct.pack(">I", 100_000)) + png_chunk(b"cHRM", bytes(32)),
        png_chunk(b"tRNS", b"\0"),
        png_chunk(b"tEXt", b"key\0text", crc=1),
        png_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(100_000_000))),
        png_chunk(b"pHYs", b""),
        png_chunk(b"acTL", b"\0"),
    ],
)
def test_a_broken_chunk_of_a_png_changes_nothing(chunk):
    assert (shown(png(32, 32, data=EXACT, extra=chunk)) == (100, 150, 200)).all()


def test_broken_tags_of_a_tiff_change_nothing():
    sound = bytearray(encoded(landscape(), "TIFF", exif=exif(1), compression="tiff_lzw", icc_profile=P3, dpi=(72, 72)))
    expected = shown(bytes(sound))
    (offset,) = struct.unpack_from("<I", sound, 4)
    broken = 0
    for at in range(offset + 2, offset + 2 + 12 * struct.unpack_from("<H", sound, offset)[0], 12):
        if struct.unpack_from("<H", sound, at)[0] in (274, 282, 283, 296, 305):
            for kind in (0, 2, 7, 12, 99):
                variant = bytearray(sound)
                struct.pack_into("<H", variant, at + 2, kind)
                assert (shown(bytes(variant)) == expected).all()
                broken += 1
    assert broken >= 15


def test_broken_exif_of_an_avif_changes_nothing():
    assert shown(encoded(landscape(), "AVIF", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).shape == (64, 96, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_without_its_last_bytes_is_shown_and_one_cut_short_is_not(options):
    whole = encoded(landscape(160, 120), "JPEG", **options)
    for cut in (1, 2):
        assert (shown(whole[:-cut]) == shown(whole)).all()
    start = whole.index(b"\xff\xda")
    for end in range(start + 12, len(whole) - 3, 11):
        with pytest.raises(PictureRejected, match="damaged or truncated"):
            shown(whole[:end])


@pytest.mark.parametrize(
    ("data", "expected", "is_noted"),
    [
        (encoded(Image.fromarray(np.full((64, 64), 20_000, np.uint16))), 78, False),
        (encoded(Image.fromarray(np.full((64, 64), 1000, np.uint16))), 3, False),
        (encoded(Image.fromarray((RAMP * 65535).astype(np.uint16))), GREYS, False),
        (encoded(Image.fromarray((RAMP * 4095).astype(np.uint16))), GREYS, True),
        (tiff((RAMP * 4095).astype(np.uint16)), GREYS, True),
        (tiff((RAMP * 2000).astype(np.uint16), highest=4095), GREYS * (2000 / 4095), False),
        (tiff((RAMP * 65535).astype(np.uint16), photometric=0), 255 - GREYS, False),
        (tiff((RAMP * 4095 - 1024).astype(np.int16)), GREYS, True),
        (tiff((RAMP * 32767).astype(np.int16)), GREYS, False),
        (tiff((RAMP * 255 - 128).astype(np.int8)), GREYS, True),
        (tiff((RAMP * 4095 - 1024).astype(np.int32)), GREYS, True),
        (tiff((RAMP * (2**32 - 1)).astype(np.uint32)), GREYS, True),
        (tiff(RAMP.astype(np.float32)), GREYS, False),
        (tiff((RAMP * 0.02).astype(np.float32)), GREYS, True),
        (tiff((RAMP * 4000 - 1000).astype(np.float32)), GREYS, True),
        (tiff(np.full((64, 64), np.nan, np.float32)), 0, False),
        (tiff(RAMP), GREYS, False),  # 64 bits
        (tiff(255 - RAMP * 255), 255 - GREYS, True),
        (tiff(RAMP.astype(np.float16)), GREYS, False),
    ],
)
def test_levels_are_spread_by_what_is_known_of_their_range(data, expected, is_noted):
    actual = shown(data)
    assert np.abs(actual.astype(float) - np.broadcast_to(expected, (64, 64))[..., None]).max() <= 2
    assert (note(data) is not None) == is_noted


def test_hot_pixels_and_what_is_no_number_darken_nothing():
    floats = RAMP.astype(np.float32)
    floats[0, 1:5] = 1e9, np.nan, np.inf, -np.inf
    actual = shown(tiff(floats)).astype(float)
    assert np.abs(actual[1:, :, 0] - GREYS[1:]).max() <= 1
    assert actual[0, 1:5, 0].tolist() == [255, 0, 255, 0]
    twelve_bits = (RAMP * 4095).astype(np.uint16)
    twelve_bits[0, 0] = 65535
    assert np.abs(shown(tiff(twelve_bits)).astype(float)[1:, :, 0] - GREYS[1:]).max() <= 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(Image.new("RGB", (32, 32), (200, 60, 60)), icc_profile=P3), (219, 37, 49)),
        (encoded(Image.new("RGBA", (32, 32), (10, 20, 30, 0))), 255),
        (encoded(Image.new("LA", (32, 32), (0, 0)), "TIFF"), 255),
        (flat_png(b"\x55" * 8, depth=2, color=0, transparent=b"\0\1"), 255),
        (flat_png(b"\x30\x39" * 32, depth=16, color=0, transparent=b"\x30\x39"), 255),
        (flat_png(b"\1\2\3\4\5\6" * 32, depth=16, color=2, transparent=b"\1\2\3\4\5\6"), 255),
        (flat_png(b"\x4e\x20\x80\0" * 32, depth=16, color=4), 166),  # 20,000 as above, half on white
        (png(32, 32, data=EXACT, extra=png_chunk(b"gAMA", struct.pack(">I", 100_000))), (168, 202, 229)),
        (png(32, 32, data=EXACT, extra=png_chunk(b"gAMA", struct.pack(">I", 45_455))), (100, 150, 200)),
        (encoded(Image.new("L", (32, 32), 100), "JPEG", icc_profile=P3), 100),
        (encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", icc_profile=P3), (255, 0, 0)),
    ],
)
def test_colours_and_transparency_are_those_of_a_viewer(data, expected):
    assert np.abs(shown(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_a_picture_is_turned_in_every_format(file_format):
    upright = np.asarray(landscape().transpose(Image.Transpose.ROTATE_270)).astype(int)
    turned = EncodedPicture(encoded(landscape(), file_format, exif=exif(6)))
    assert turned.size == (64, 96)
    assert np.abs(np.asarray(turned.shown().image) - upright).mean() < 4


def test_a_profile_of_srgb_leaves_every_pixel():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (shown(encoded(landscape(), icc_profile=profile)) == np.asarray(landscape())).all()


def test_bounds_are_checked_before_pixels_are_decoded():
    data = encoded(landscape())
    for bounds, words in ((Bounds(max_pixels=1000), "at most 1,000"), (Bounds(min_side=65), "65 at least")):
        with pytest.raises(PictureRejected, match=words):
            EncodedPicture(data, bounds)


@pytest.mark.parametrize("name", odd_pictures())
def test_a_sound_picture_passes_the_check_of_headers(name, tmp_path):
    (tmp_path / name).write_bytes(odd_pictures()[name])
    check_header(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", encoded(landscape(), "JPEG")[:100]])
def test_what_is_no_picture_does_not_pass_the_check_of_headers(data, tmp_path):
    (tmp_path / "picture.png").write_bytes(data)
    with pytest.raises(PictureRejected):
        check_header(tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>", "is not a picture in a known format"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "is a HEIC picture, which is not read; save it as JPEG"),
        (tiff(RAMP.astype(np.uint64)), "is a TIFF that is damaged, or of a kind that is not read"),
    ],
)
def test_what_is_refused_is_named_for_what_it_is(data, words):
    with pytest.raises(PictureRejected, match=words):
        EncodedPicture(data)
