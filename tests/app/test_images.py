"""Uploads become RGB pictures as a person would expect, or a sentence that says why not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from app import images
from app.errors import BadPicture
from app.geometry import Geometry
from models.errors import Invalid
from tests.app.bad_uploads import corpus
from tests.pictures import decoded, encoded, landscape

NATIVE = Geometry("native")


def decode(data, geometry=NATIVE, **limits):
    limits = {"max_pixels": 50_000_000, "max_output_pixels": 4_194_304} | limits
    return images.prepare(data, geometry, **limits).picture


def test_a_bad_upload_is_refused_with_a_sentence(subtests):
    for name, data in corpus().items():  # not parameters, which every test process would make
        with subtests.test(name), pytest.raises((BadPicture, Invalid), match=r"accepted|Accepted"):
            decode(data)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_lossless_format_gives_the_same_pixels(file_format):
    source = landscape().quantize(16).convert("RGB")
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert (decode(encoded(source, file_format, **options)) == np.asarray(source)).all()


@pytest.mark.parametrize("file_format", ["JPEG", "AVIF", "MPO"])
def test_every_lossy_format_gives_nearly_the_same_pixels(file_format):
    actual = decode(encoded(landscape(), file_format, quality=95)).astype(int)
    assert np.abs(actual - np.asarray(landscape())).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F", "RGBX"])
def test_every_mode_becomes_rgb_of_the_same_look(mode):
    grey = landscape().convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(np.asarray(grey).astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    elif mode == "LAB":
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(grey.convert("RGB"), to_lab)
    elif mode == "PA":
        image = grey.convert("P").convert("PA")
    else:
        image = grey.convert(mode)
    file_format = {"LA": "PNG", "RGBA": "PNG", "P": "PNG", "I;16": "PNG", "1": "PNG", "L": "PNG"}.get(mode, "TIFF")
    actual = decode(encoded(image, file_format))
    assert actual.shape == (64, 96, 3)
    assert actual.dtype == np.uint8
    tolerance = 128 if mode == "1" else 3  # one bit a pixel is dithered
    assert np.abs(actual.astype(int) - np.asarray(grey)[..., None]).mean() < tolerance


def test_transparency_is_laid_on_white():
    image = landscape().convert("RGBA")
    image.putalpha(0)
    assert (decode(encoded(image)) == 255).all()


def test_a_transparent_palette_colour_is_laid_on_white():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([255, 0, 0] + [0, 0, 0] * 255)
    assert (decode(encoded(image, transparency=0)) == 255).all()


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_as_its_exif_says(orientation):
    turned_back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes what EXIF orders
    upright = landscape()
    stored = upright.transpose(Image.Transpose(turned_back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for file_format in ("PNG", "TIFF"):
        assert (decode(encoded(stored, file_format, exif=exif)) == np.asarray(upright)).all(), file_format


@pytest.mark.parametrize("orientation", [0, 9, 99])
def test_an_orientation_that_exif_does_not_define_turns_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encoded(landscape(), "PNG", exif=exif)) == np.asarray(landscape())).all()


def test_broken_exif_does_not_spoil_a_sound_picture():
    data = encoded(landscape(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).shape == (64, 96, 3)


def test_a_colour_profile_is_brought_to_srgb():
    grey = Image.new("RGB", (32, 32), (100, 100, 100))
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    marked = decode(encoded(grey, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))
    assert np.abs(marked.astype(int) - 100).max() <= 1
    assert decode(encoded(grey, icc_profile=wide.tobytes())).shape == (32, 32, 3)  # of no use, hence left alone
    assert (decode(encoded(grey, icc_profile=b"rubbish")) == 100).all()


def test_too_many_pixels_are_refused_before_they_are_decoded():
    with pytest.raises(BadPicture, match="at most 1,000 pixels"):
        decode(encoded(landscape()), max_pixels=1000)


def test_a_turned_jpeg_decoded_at_a_fraction_keeps_its_look():
    exif = Image.Exif()
    exif[0x0112] = 6
    big = landscape(1600, 1200)
    actual = decode(encoded(big.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif), Geometry(128))
    expected = np.asarray(big.resize((171, 128)))
    assert np.abs(actual[:, :171].astype(int) - expected).mean() < 4


@pytest.mark.parametrize("media_type", images.MEDIA_TYPES)
def test_what_leaves_is_marked_as_generated_and_carries_nothing_else(media_type):
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    data = images.encode(decode(encoded(landscape(), "JPEG", exif=exif, comment=b"secret comment")), media_type)
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    assert b"secret" not in data
    written = Image.open(io.BytesIO(data))
    assert written.get_format_mimetype() == media_type
    assert written.size == (96, 64)
    assert not written.getexif()
    assert b"DigitalSourceType" in written.info["xmp"]  # where Pillow, as every reader, looks for it


def test_png_keeps_every_pixel():
    picture = np.asarray(landscape())
    assert (decoded(images.encode(picture, "image/png")) == picture).all()
