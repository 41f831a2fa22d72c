"""Command lines that are derived from models."""

import argparse
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from models.command_line import Arguments, Positional


class Cake(BaseModel):
    recipe: Annotated[Path, Positional("RECIPE")]
    guests: Annotated[list[str], Positional("GUEST")]
    oven_c: Annotated[int, Field(ge=50, description="100 % of the heat, in °C")] = 180
    icing: Annotated[Literal["sugar", "lemon"] | None, Field(description="on top")] = None
    layers: list[str] = ["sponge"]
    vegan: bool = False
    baker: str

    @model_validator(mode="after")
    def _iced_by_someone(self):
        if self.icing and not self.baker:
            raise ValueError("icing needs a baker")
        return self


def read(*typed):
    return Arguments(argparse.ArgumentParser(prog="bake"), Cake).read(["cake.md", "Ann", "Bo", *typed])


def test_arguments_become_an_instance():
    cake = read("--baker=Cy", "--oven-c", "200", "--layers=cream,jam", "--vegan")
    expected = {"oven_c": 200, "layers": ["cream", "jam"], "vegan": True, "baker": "Cy", "icing": None}
    assert cake == Cake(recipe=Path("cake.md"), guests=["Ann", "Bo"], **expected)


def test_what_is_not_typed_has_its_default():
    cake = read("--baker=Cy", "--vegan=false")
    assert (cake.oven_c, cake.layers, cake.vegan) == (180, ["sponge"], False)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--baker=Cy", "--oven-c=20"], "bake: error: --oven-c: Input should be greater than or equal to 50"),
        (["--baker=Cy", "--icing=salt"], "bake: error: --icing: Input should be 'sugar' or 'lemon'"),
        (["--baker=", "--icing=lemon"], "bake: error: icing needs a baker"),
        (["--baker=Cy", "--oven-c=hot", "--vegan=maybe"], "; --vegan: Input should be a valid boolean"),
        ([], "required: --baker"),
        (["--baker=Cy", "--candles=3"], "--candles"),
    ],
)
def test_a_mistake_is_named_in_one_line(capsys, typed, words):
    with pytest.raises(SystemExit, match="2"):
        read(*typed)
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_help_says_choices_and_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "100 % of the heat, in °C; default: 180" in text
    assert "on top; sugar or lemon" in text
