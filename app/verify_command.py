"""`doppel verify`: whether a file was made here, whether it was altered since, by which model and when."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.credentials import Credentials
from app.settings import Settings
from models.errors import PictureRejected

if TYPE_CHECKING:
    from models.provenance.verification import Verdict

NOT_OURS = 1
UNUSABLE = 2


def verify_file(settings: Settings, path: Path) -> int:
    """Print what the file's credentials show.

    Returns:
        The exit status: 0 if it was made here and is unaltered, 1 if that can't be said, 2 if it is no picture.

    Raises:
        DoppelError: there is no identity to compare with.
        OSError: the file can't be read.
    """
    try:
        verdict = Credentials(settings).check(path.read_bytes())
    except PictureRejected as error:
        print(f"doppel: {path}: it {error}", file=sys.stderr)
        return UNUSABLE
    print("\n".join(_lines(verdict)))
    return 0 if verdict.ours and not verdict.altered else NOT_OURS


def _lines(verdict: "Verdict") -> list[str]:
    if verdict.state == "none":
        mark = (
            "It carries the unsigned mark of generated media." if verdict.marked else "Nor is it marked as generated."
        )
        return ["It has no Content Credentials, so nobody can tell where it is from.", mark]
    who = "this installation" if verdict.ours else verdict.signer or "nobody that can be read"
    version = f", version {verdict.version}" if verdict.version else ""
    told = {
        "signed by": who if verdict.ours or verdict.state == "trusted" else f"{who} (nobody vouches for it)",
        "altered since": "yes" if verdict.altered else "no",
        "made by": f"{verdict.model}{version}" if verdict.model else None,
        "made at": verdict.made_at,
        "time stamp": verdict.stamped_at,
        "made of": ", ".join(verdict.inputs),
        "the original's credentials": ", ".join(filter(None, (item.generator for item in verdict.history))),
        "what does not fit": ", ".join(verdict.failures),
    }
    return [f"{name}: {value}" for name, value in told.items() if value]
