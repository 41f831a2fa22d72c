"""The comparisons in DATA_DIR/comparisons/: a JSON file for each, which names its runs. Loads no torch."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from models.errors import NotFound
from models.store.files import replace_text

_ID = re.compile(r"[0-9a-f]{12}")


class ComparedRunRecord(BaseModel):
    """A run that belongs to a comparison."""

    id: str
    label: str  # its own options in a few words
    options: dict[str, Any]  # that it doesn't share with the others


class ComparisonRecord(BaseModel):
    """A comparison as it is saved."""

    family: Literal["cyclegan", "cut", "stargan_v2"]
    created_at: datetime
    owner: str | None = None  # the name of the API key that started it
    runs: list[ComparedRunRecord]


class ComparisonStore:
    """The comparisons of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "comparisons"

    @staticmethod
    def new_id() -> str:
        return uuid4().hex[:12]

    def write(self, comparison_id: str, record: ComparisonRecord) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        replace_text(self._path(comparison_id), record.model_dump_json(indent=1))

    def read(self, comparison_id: str) -> ComparisonRecord:
        """Read a comparison.

        Raises:
            NotFound: there is no comparison with this id.
            pydantic.ValidationError: its file is damaged.
        """
        try:
            if not _ID.fullmatch(comparison_id):
                raise FileNotFoundError
            return ComparisonRecord.model_validate_json(self._path(comparison_id).read_bytes())
        except FileNotFoundError:
            raise NotFound(f"There is no comparison {comparison_id[:100]!r}.") from None

    def ids(self) -> Iterator[str]:
        """The ids of all comparisons, in no order."""
        return (path.stem for path in self._root.glob("*.json"))

    def remove(self, comparison_id: str) -> None:
        """Remove a comparison, if it is there; its runs stay."""
        self._path(comparison_id).unlink(missing_ok=True)

    def _path(self, comparison_id: str) -> Path:
        return self._root / f"{comparison_id}.json"
