"""Read a weights file of any format without running code from it, or say what the file is instead."""

import pickle
import re
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.errors import CheckpointError

HEAD_BYTES = 1024
SHOWN_NAMES = 3

_PICKLE = b"\x80"
_SAFETENSORS_HEADER_AT = 8  # after the header's length
_SIGNATURES = {  # first bytes → what such a file is
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes",
    b"GGUF": "a GGUF file of a language model",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive; unpack it and name the file inside",
    b"BZh": "a bzip2 archive; unpack it and name the file inside",
    b"\xfd7zXZ": "an xz archive; unpack it and name the file inside",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it and name the file inside",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it and name the file inside",
    b"Rar!": "a RAR archive; unpack it and name the file inside",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
}
_UNPACKED_TAR_AT = 257
_LFS_POINTER = b"version https://git-lfs"
_NOT_ALLOWED = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class|unsupported GLOBAL|GLOBAL) ([\w.]+)")
# Training scripts save objects of these beside the weights. They are passed over, and none of their code runs.
_BESIDE_WEIGHTS = re.compile(
    r"(?:argparse\.Namespace|types\.SimpleNamespace|collections\.defaultdict|datetime\.\w+|decimal\.Decimal|uuid\.UUID"
    r"|pathlib\.(?:_local\.)?\w+|builtins\.(?:set|frozenset|list|dict|int|float|str|bool|complex|bytearray|tuple)"
    r"|(?:numpy|omegaconf|pytorch_lightning|lightning|lightning_fabric|torchmetrics|easydict|yacs|munch|addict"
    r"|ml_collections)\.[\w.]+)"
)
_LIKE_DICT = re.compile(r".*(?:[dD]ict|CfgNode|Munch)")
_MOST_PASSED_OVER = 50


class _Ignored:
    """Stands in for an object that is passed over, whatever arguments and state the file has for it."""

    def __new__(cls, *arguments: object, **options: object) -> Any:
        return super().__new__(cls)

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _IgnoredDict(_Ignored):
    """The same for a class like dict: torch fills items into a real dict alone."""

    def __new__(cls, *arguments: object, **options: object) -> Any:
        return OrderedDict()


def read(path: Path, label: str, notes: list[str]) -> Any:
    """What a weights file holds: dicts, lists, tensors and plain values, on the CPU.

    The format is told by the content; the suffix may be another's.

    Args:
        label: the file's name for messages.
        notes: gets a sentence for what was done on the way.

    Raises:
        CheckpointError: it is missing, truncated or hostile, or no weights file; the message says what it is.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder, not' if path.is_dir() else 'not'} a file")
    size = path.stat().st_size
    suffix = Path(label).suffix
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise CheckpointError(f"{label} is empty (0 bytes): it was truncated, or its download failed")
    if _is_safetensors(head):
        if suffix != ".safetensors":
            notes.append("it is a safetensors file in spite of its suffix")
        return _from_safetensors(path, label, size)
    if head.startswith(b"PK"):
        _require_state_dict(path, label, size)
    elif not head.startswith(_PICKLE):
        raise CheckpointError(f"{label} ({size} bytes) is {_what_else(path, suffix, head)}")
    if suffix == ".safetensors":
        notes.append("it is a PyTorch file in spite of its suffix")
    return _from_pytorch(path, label, size)


def _is_safetensors(head: bytes) -> bool:
    header = head[_SAFETENSORS_HEADER_AT : _SAFETENSORS_HEADER_AT + 1]
    return header == b"{" and int.from_bytes(head[:_SAFETENSORS_HEADER_AT], "little") < 1 << 32


def _from_safetensors(path: Path, label: str, size: int) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{label} ({size} bytes) is not a whole safetensors file, so it was truncated or damaged: {error}"
        ) from error


def _from_pytorch(path: Path, label: str, size: int) -> Any:
    passed_over: list[tuple[Callable[..., Any], str]] = []
    while True:
        try:
            with torch.serialization.safe_globals(list(passed_over)), path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            unknown = _NOT_ALLOWED.search(str(error))
            if "Unsupported operand" in str(error):
                raise CheckpointError(
                    f"{label} was saved with another pickle protocol than torch's own; save it again without "
                    "pickle_protocol, or as safetensors"
                ) from error
            if unknown is None:
                raise CheckpointError(_not_weights(label, size)) from error
            name = _full_name(unknown[1])
            known = [old for _, old in passed_over]
            if not _BESIDE_WEIGHTS.fullmatch(name) or name in known or len(known) >= _MOST_PASSED_OVER:
                raise CheckpointError(
                    f"{label} is a pickle that would call {unknown[1]}; refused, since only tensors and plain values "
                    "are read from weights files. If it is a whole network that torch.save(network, ...) wrote: save "
                    "network.state_dict() where the network's code is at hand"
                ) from error
            passed_over.append((_IgnoredDict if _LIKE_DICT.fullmatch(name) else _Ignored, name))
        except Exception as error:  # torch.load passes on all errors of its zip and pickle readers
            raise CheckpointError(_not_weights(label, size)) from error


def _full_name(name: str) -> str:
    """torch's messages leave ``builtins`` out."""
    return name if "." in name else f"builtins.{name}"


def _not_weights(label: str, size: int) -> str:
    return (
        f"{label} ({size} bytes) is not a PyTorch weights file, or it is truncated or damaged; expected what "
        "torch.save(network.state_dict(), ...) writes, or safetensors"
    )


def _require_state_dict(path: Path, label: str, size: int) -> None:
    """Refuse a zip that ``torch.save`` did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{label} ({size} bytes) is a truncated PyTorch file or zip archive") from error
    last = {name.rpartition("/")[2] for name in names}
    files = [name for name in names if not name.endswith("/")]
    if "constants.pkl" in last:
        raise CheckpointError(
            f"{label} is a TorchScript program, whose code is not run here; where it was made, save the network's "
            "state_dict() with torch.save"
        )
    if "data.pkl" in last:
        return
    if "model.json" in last:
        raise CheckpointError(f"{label} is a model that `doppel export` wrote; `doppel add {label}` takes it")
    if files and all(name.endswith(".npy") for name in files):
        raise CheckpointError(f"{label} is a NumPy archive (.npz) with {_some(files)}, not weights of a network")
    raise CheckpointError(
        f"{label} is a zip archive that holds {_some(files) or 'nothing'}; unpack it and name the weights file inside"
    )


def _what_else(path: Path, suffix: str, head: bytes) -> str:
    """What a file is that is no weights file, by its first bytes."""
    if head.startswith(_LFS_POINTER):
        return "a Git LFS pointer, not the file that it stands for; `git lfs pull` in its repository fetches that"
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            return f"{what}, not weights of a network"
    if not any(head):
        return "nothing but zeros at its beginning: a download that has not finished, or a damaged disk"
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            first = [member.name for _, member in zip(range(SHOWN_NAMES + 1), archive, strict=False)]
        return f"a tar archive that holds {_some(first)}; unpack it and name the weights file inside"
    if suffix == ".onnx" or (head[0] == 0x08 and (b"onnx" in head or b"pytorch" in head)):
        return "an ONNX model; Doppel takes the PyTorch weights that it was exported from"
    return _text(head) or (
        "of no format that Doppel knows, or it is truncated or damaged; expected what "
        "torch.save(network.state_dict(), ...) writes, or safetensors"
    )


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD_BYTES else "ignore").strip()
    except UnicodeDecodeError:
        return None
    if not text.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
        return None
    start = text.lower()
    if start.startswith(("<!doctype html", "<html", "<head")) or "<html" in start:
        title = re.search(r"<title[^>]*>\s*([^<]{1,80})", text, re.IGNORECASE)
        named = f" with the title {title[1].strip()!r}" if title else ""
        return f"a web page{named}, not weights: the address leads to a page, or the download was refused"
    if start.startswith("<"):
        return "an XML document, not weights: the server sent an error in place of the file"
    kind = "a JSON document" if start.startswith(("{", "[")) else "a text file"
    return f"{kind}, not weights; it begins with {text[:60]!r}"


def _some(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
