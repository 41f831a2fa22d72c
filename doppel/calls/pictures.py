"""Calls that make pictures."""

from collections.abc import Sequence
from typing import Literal

from doppel.answers import Job, Picture
from doppel.calls.jobs import Format, OnProgress, Source, as_form, made, uploads_of, wait
from doppel.steps import Steps, post

Fit = Literal["keep", "square", "crop"]


def translate(
    image: Source,
    model: str = "style_monet",
    *,
    resolution: int | Literal["native", "source"] | None = None,
    fit: Fit = "keep",
    format: Format = "png",
    on_progress: OnProgress | None = None,
    key: str | None = None,
) -> Steps[Picture]:
    """Translate a picture.

    Args:
        image: a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, as a path or its bytes.
        model: its name; :meth:`Doppel.models` lists them.
        resolution: length of the short side in px, 32 to 2048; "native": the upload's; "source": translated as by
            None and enlarged to the upload's; None: the upload's, but at most 512.
        fit: "keep" the aspect ratio, stretch to a "square", or "crop" to the middle square.
        format: of the answer.
        on_progress: called with the job whenever it changes: its position in the queue, and of a long job the part
            that is done.
        key: the idempotency key, 1 to 255 visible ASCII characters: a second call with the same key within 4 hours
            makes nothing and is answered by the first one's job, in another process too. None draws one for each call.

    Raises:
        ApiError: the request was refused or not answered, or its job failed.
        OSError: the file can't be read.
    """
    fields = {"model": model, "resolution": resolution, "fit": fit}
    return made("/translate", fields, {"image": image}, format=format, on_progress=on_progress, key=key)


def stylize(
    image: Source,
    style: Source | Sequence[Source] | None = None,
    *,
    weights: Sequence[float] | None = None,
    code: Sequence[float] | None = None,
    model: str = "style-by-example",
    strength: float = 1.0,
    stroke: float = 1.0,
    preserve_color: bool = False,
    resolution: int | Literal["native", "source"] | None = None,
    fit: Fit = "keep",
    format: Format = "png",
    on_progress: OnProgress | None = None,
    key: str | None = None,
) -> Steps[Picture]:
    """Paint a picture in the style of another, or of several that are mixed.

    Args:
        image: the photo.
        style: the picture whose style is applied, or several.
        weights: how much of each of several; None: equally much.
        code: in place of ``style``: a style code of :meth:`Doppel.style_code`.
        model: "style-by-example", or a model of this family with a style of its own, which takes no ``style``.
        strength: 0 for the photo's own style to 1 for the other.
        stroke: size of the strokes: 2 is twice as coarse, 0.5 half as coarse.
        preserve_color: whether the photo's colours stay.
        resolution, fit, format, on_progress, key: as of :meth:`Doppel.translate`.

    Raises:
        ApiError, OSError: as :meth:`Doppel.translate`.
    """
    fields = {
        **{"model": model, "strength": strength, "stroke": stroke, "preserve_color": preserve_color},
        **{"resolution": resolution, "fit": fit, "weights": _numbers(weights), "code": _numbers(code)},
    }
    files = {"image": image} | ({} if style is None else {"style": style})
    return made("/style", fields, files, format=format, on_progress=on_progress, key=key)


def style_code(style: Source | Sequence[Source], *, weights: Sequence[float] | None = None) -> Steps[list[float]]:
    """Read how a picture is painted, as 100 numbers that :meth:`Doppel.stylize` takes as ``code``.

    Args:
        style: a picture, or several, which are mixed.
        weights: how much of each of several; None: equally much.

    Raises:
        ApiError, OSError: as :meth:`Doppel.translate`.
    """
    fields = as_form({"weights": _numbers(weights)})
    response = yield post("/style/code", fields=fields, uploads=uploads_of({"style": style}))
    if response.status_code == 202:
        ended = yield from wait(Job.of(response.json()))
        return list(ended.described["style"])
    return list(response.json()["code"])


def stargan_reference(
    image: Source,
    reference: Source,
    *,
    domain: str = "",
    model: str = "",
    align: Literal["auto", "none"] = "auto",
    resolution: int | Literal["native", "source"] | None = None,
    fit: Fit = "keep",
    format: Format = "png",
    on_progress: OnProgress | None = None,
    key: str | None = None,
) -> Steps[Picture]:
    """Give a picture the style of a reference, by a StarGAN v2.

    Args:
        image: the picture.
        reference: a picture of the domain.
        domain: one of the model's; empty: the first of them.
        model: empty: the server's choice among the StarGAN models.
        align: "auto": faces are found and aligned if the model needs that; "none": pictures are used as they are.
        resolution, fit, format, on_progress, key: as of :meth:`Doppel.translate`.

    Raises:
        ApiError, OSError: as :meth:`Doppel.translate`. The error's ``code`` is "no_face" if a face is needed and there
            is none.
    """
    fields = {"domain": domain, "model": model, "align": align, "resolution": resolution, "fit": fit}
    files = {"image": image, "reference": reference}
    return made("/stargan/reference", fields, files, format=format, on_progress=on_progress, key=key)


def stargan_latent(
    image: Source,
    *,
    seed: int | None = None,
    latent: Sequence[float] | None = None,
    psi: float = 1.0,
    domain: str = "",
    model: str = "",
    align: Literal["auto", "none"] = "auto",
    resolution: int | Literal["native", "source"] | None = None,
    fit: Fit = "keep",
    format: Format = "png",
    on_progress: OnProgress | None = None,
    key: str | None = None,
) -> Steps[Picture]:
    """Give a picture a random style, by a StarGAN v2.

    Args:
        image: the picture.
        seed: the same seed gives the same style; None, if there is no ``latent`` either: one is drawn, and told in
            the picture's ``seeds``.
        latent: the latent code itself, as many numbers as the model has.
        psi: truncation, 1 for the random style itself to 0 for the mean style of the domain.
        domain, model, align: as of :meth:`Doppel.stargan_reference`.
        resolution, fit, format, on_progress, key: as of :meth:`Doppel.translate`.

    Raises:
        ApiError, OSError: as :meth:`Doppel.stargan_reference`.
    """
    fields = {
        **{"seed": seed, "latent": _numbers(latent), "psi": psi, "domain": domain, "model": model, "align": align},
        **{"resolution": resolution, "fit": fit},
    }
    return made("/stargan/latent", fields, {"image": image}, format=format, on_progress=on_progress, key=key)


def _numbers(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)
