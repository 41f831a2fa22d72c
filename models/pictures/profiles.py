"""A colour profile made of what a PNG says in numbers: its gamma and the chromaticities of its primaries."""

import struct

import numpy as np
from numpy.typing import NDArray

USUAL_GAMMA = 0.45455  # of a PNG in sRGB
GAMMA_TOLERANCE = 0.05  # share by which a gamma may differ and still mean sRGB, as in libpng
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y of white, red, green and blue
SRGB_TOLERANCE = 0.005

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def matrix_profile(gamma: float | None, chromaticities: tuple[float, ...] | None) -> bytes | None:
    """An ICC profile, version 2, of an RGB space.

    Args:
        gamma: exponent from light to samples, as in gAMA; None: not said.
        chromaticities: x and y of white, red, green and blue, as in cHRM; None: those of sRGB.

    Returns:
        None if this is sRGB, or nonsense.
    """
    where = chromaticities or SRGB
    exponent = gamma or USUAL_GAMMA
    is_srgb = bool(np.abs(np.subtract(where, SRGB)).max() <= SRGB_TOLERANCE)
    if is_srgb and abs(exponent / USUAL_GAMMA - 1) <= GAMMA_TOLERANCE:
        return None
    if not 0.1 <= exponent <= 10 or any(y <= 0 for y in where[1::2]):
        return None
    try:
        colorants = _colorants(where)
    except np.linalg.LinAlgError:
        return None
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(256 / exponent)) + bytes(2)
    red, green, blue = (_xyz(colorants[:, n]) for n in range(3))
    return _profile(
        {
            b"desc": b"desc" + struct.pack(">II", 0, 4) + b"PNG\0" + bytes(78 + 2),
            b"wtpt": _xyz(_D50),
            b"rXYZ": red,
            b"gXYZ": green,
            b"bXYZ": blue,
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
            b"cprt": b"text" + bytes(8),
        }
    )


def _colorants(where: tuple[float, ...]) -> NDArray[np.float64]:
    """(3, 3): XYZ of red, green and blue in columns, adapted to D50 (Bradford, as ICC profiles are)."""
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in zip(where[::2], where[1::2], strict=True)]).T
    white, primaries = xyz[:, 0], xyz[:, 1:]
    primaries = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ primaries
    return adapted


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * float(value)) for value in values))


def _profile(tags: dict[bytes, bytes]) -> bytes:
    at = 128 + 4 + 12 * len(tags)
    table, body = b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4xI", at + len(body), 0x02100000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
