"""Command lines derived from pydantic models: each field is an argument, and the parsed arguments are an instance."""

import types
import typing
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Positional:
    """Annotates a field that is a positional argument rather than an option. A list takes one value or more."""

    metavar: str


class Arguments(Generic[M]):
    """The fields of ``model`` as arguments of ``parser``.

    A field ``save_every`` is the option ``--save-every``. Lists are separated by commas, a bool may be given without a
    value, and a field without a default is required. The help shows a field's description, choices and default.

    Args:
        exclude: fields that are no arguments.
    """

    def __init__(self, parser: ArgumentParser, model: type[M], *, exclude: Collection[str] = ()) -> None:
        self._parser = parser
        self._model = model
        self._fields = {name: field for name, field in model.model_fields.items() if name not in exclude}
        for name, field in self._fields.items():
            _add(parser, name, field)

    def given(self, parsed: Namespace) -> dict[str, Any]:
        """The values that were typed, by field."""
        values = {name: getattr(parsed, name) for name in self._fields}
        return {
            name: value.split(",") if isinstance(value, str) and _is_list(self._fields[name]) else value
            for name, value in values.items()
            if value is not None
        }

    def read(self, arguments: list[str] | None = None) -> M:
        """Parse and validate; an error ends the program with a line that names the argument, and exit status 2."""
        try:
            return self._model.model_validate(self.given(self._parser.parse_args(arguments)))
        except ValidationError as error:
            self._parser.error("; ".join(problems(error)))


def problems(error: ValidationError) -> list[str]:
    """What is wrong with each argument, in one line that begins with the option."""
    return [
        "".join(f"{option(part)}: " for part in item["loc"] if isinstance(part, str))
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors()
    ]


def option(field: str) -> str:
    """The option of a field: ``save_every`` is ``--save-every``."""
    return f"--{field.replace('_', '-')}"


def _add(parser: ArgumentParser, name: str, field: FieldInfo) -> None:
    help_text = _help(field).replace("%", "%%") or None
    for note in field.metadata:
        if isinstance(note, Positional):
            parser.add_argument(name, metavar=note.metavar, nargs="+" if _is_list(field) else None, help=help_text)
            return
    if field.annotation is bool:
        parser.add_argument(option(name), nargs="?", const="true", metavar="true|false", help=help_text)
    else:
        parser.add_argument(option(name), required=field.is_required(), metavar="VALUE", help=help_text)


def _help(field: FieldInfo) -> str:
    choices = [str(choice) for kind in _alternatives(field) if _is_literal(kind) for choice in typing.get_args(kind)]
    value = ",".join(field.default) if isinstance(field.default, list) else field.default
    default = "" if field.is_required() or value in (None, "") else f"default: {value}"
    return "; ".join(part for part in (field.description or "", " or ".join(choices), default) if part)


def _alternatives(field: FieldInfo) -> tuple[Any, ...]:
    """The members of a field's union type, or its type alone."""
    is_union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    return typing.get_args(field.annotation) if is_union else (field.annotation,)


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal


def _is_list(field: FieldInfo) -> bool:
    return any(typing.get_origin(kind) is list for kind in _alternatives(field))
