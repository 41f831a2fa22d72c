"""What the tests of the StarGAN calls send, and how they look at what comes back."""

import numpy as np
from PIL import Image

from tests.pictures import decoded, encoded, landscape

PHOTO = encoded(landscape())

REFERENCES = [encoded(Image.new("RGB", (40, 30), color)) for color in ("navy", "orange")]


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


def several(count, *, references=2, **fields):
    files = [("sources", (f"{n}.png", PHOTO, "image/png")) for n in range(count)]
    files += [("references", (f"{n}.png", REFERENCES[n % 2], "image/png")) for n in range(references)]
    return {"files": files, "data": fields}
