"""The form fields of a StarGAN request that describe a style, and how they become a style guide."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.errors import Invalid
from models.serving.style_guide import StyleGuide
from models.store.catalog import Model

MAX_SEED = 2**63 - 1
MAX_DRAWN = 2**32 - 1  # every language that reads JSON has integers of this size
MAX_NUMBER = 1e6  # in a code; real codes stay within a few units of zero


@dataclass(frozen=True)
class StyleFields:
    """The fields as they were sent; those that were not are empty."""

    domain: str = ""
    reference: bytes | None = None
    seed: str = ""
    latent: str = ""
    style: str = ""
    psi: float = 1.0

    @property
    def sent(self) -> list[str]:
        """Names of the fields that were sent, of which a StarGAN v2 takes at most one."""
        return [name for name in ("reference", "seed", "latent", "style") if getattr(self, name) not in ("", None)]

    def guide_for(self, model: Model) -> StyleGuide:
        """Parse the fields for this StarGAN v2. The reference, if one was sent, travels beside the guide.

        If none of the four was sent, a seed is drawn.

        Raises:
            Invalid: more than one of the four was sent, or its value is not acceptable to this model.
        """
        if len(self.sent) > 1:
            names = " and ".join(self.sent)
            raise Invalid(f"Send only one of reference, seed, latent and style to {model.name}, not {names}.")
        network = model.card.network
        return StyleGuide(
            domain=domain_index(model, self.domain),
            psi=self.psi,
            seed=_seed(self.seed) if self.seed else None if self.sent else draw_seed(),
            latent=read_numbers("latent", self.latent, int(network.get("latent_dim", 16))) if self.latent else None,
            style=read_numbers("style", self.style, int(network.get("style_dim", 64))) if self.style else None,
        )

    def refuse_for(self, model: Model) -> None:
        """Check that no style was sent to ``model``, a CycleGAN.

        Raises:
            Invalid: one was.
        """
        others = [*(["domain"] if self.domain else []), *(["psi"] if self.psi != 1 else [])]
        if names := " and ".join([*self.sent, *others]):
            raise Invalid(f"{model.name} is a CycleGAN, which takes no {names}: it has one style.")

    def refuse_beside_style(self, model: Model) -> None:
        """Check that nothing but a reference picture and a style code was sent to ``model``, of the family ``style``.

        Raises:
            Invalid: something else was.
        """
        unknown = [name for name in self.sent if name not in ("reference", "style")]
        unknown += [*(["domain"] if self.domain else []), *(["psi"] if self.psi != 1 else [])]
        if unknown:
            raise Invalid(f"{model.name} paints in the style of a picture, and takes no {' and '.join(unknown)}.")


def draw_seed() -> int:
    """A seed for a client that sent none."""
    return secrets.randbelow(MAX_DRAWN + 1)


def domain_index(model: Model, domain: str) -> int:
    """Return the index of a domain among the model's; an empty name means the first.

    Raises:
        Invalid: the model has no such domain.
    """
    domains = model.card.domains
    if domain and domain not in domains:
        raise Invalid(f"{model.name} has no domain {domain[:40]!r}. Domains: {', '.join(domains)}.")
    return domains.index(domain) if domain else 0


def read_seeds(value: str, at_least: int, at_most: int) -> list[int]:
    """Parse the field ``seeds``, a JSON list of whole numbers.

    Raises:
        Invalid: it is not such a list, or not of ``at_least`` to ``at_most`` seeds.
    """
    seeds = read_list("seeds", value, "whole numbers", lambda item: type(item) is int)
    if not at_least <= len(seeds) <= at_most:
        raise Invalid(f"seeds: {len(seeds)} of them; this call takes {at_least} to {at_most}.")
    return seeds


def _seed(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and int(value) <= MAX_SEED):
        raise Invalid(f"seed: {value[:40]!r} is not a whole number from 0 to {MAX_SEED}.")
    return int(value)


def read_numbers(field: str, value: str, length: int) -> list[float]:
    """Parse a JSON list of ``length`` finite numbers, or an object that has one under the field's name."""
    numbers = read_list(field, value, f"{length} finite numbers", is_number)
    if len(numbers) != length:
        raise Invalid(f"{field}: {len(numbers)} numbers; this model takes {length}.")
    return [float(number) for number in numbers]


def read_list(field: str, value: str, items: str, is_item: Callable[[object], bool]) -> list[Any]:
    """Parse a form field that holds a JSON list, or an object that has the list under the field's name.

    Args:
        items: what the list is of, for the message.

    Raises:
        Invalid: it is not such a list.
    """
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        parsed = parsed.get(field)  # a whole reply of /stargan/style or /style/code is accepted too
    if not isinstance(parsed, list) or not all(map(is_item, parsed)):
        raise Invalid(f"{field}: {value[:40]!r} is not a JSON list of {items}.")
    return parsed


def is_number(number: object) -> bool:
    """Whether it is a number of sensible size. Python's JSON reads NaN, and integers too large for a float."""
    return isinstance(number, int | float) and not isinstance(number, bool) and -MAX_NUMBER <= number <= MAX_NUMBER
