"""What a StarGAN request's fields say about the style that is wanted."""

import json
from dataclasses import dataclass

from models.errors import Invalid
from models.store.catalog import Model
from worker.contract import StyleGuide

MAX_SEED = 2**63 - 1
MAX_NUMBER = 1e6  # of a code; those of a normal distribution or a network are a few units large


@dataclass(frozen=True)
class Wish:
    """The fields as they came; empty ones were not given."""

    domain: str = ""
    reference: bytes | None = None
    seed: str = ""
    latent: str = ""
    style: str = ""
    psi: float = 1.0

    @property
    def given(self) -> list[str]:
        """The guides that were named."""
        return [name for name in ("reference", "seed", "latent", "style") if getattr(self, name) not in ("", None)]

    def guide(self, model: Model) -> StyleGuide:
        """What ``model`` is to make of the source.

        Raises:
            Invalid: not exactly one guide was named, or one is not acceptable to this model.
        """
        if len(self.given) != 1:
            named = " and ".join(self.given) or "none"
            raise Invalid(f"Send exactly one of reference, seed, latent and style to {model.name}, not {named}.")
        network = model.card.network
        return StyleGuide(
            domain=domain_index(model, self.domain),
            psi=self.psi,
            seed=_seed(self.seed) if self.seed else None,
            latent=_numbers("latent", self.latent, int(network.get("latent_dim", 16))) if self.latent else None,
            style=_numbers("style", self.style, int(network.get("style_dim", 64))) if self.style else None,
        )

    def refuse_for(self, model: Model) -> None:
        """Say that ``model``, a CycleGAN, takes no guide, if one was given."""
        if self.given or self.domain:
            named = " and ".join([*self.given, *(["domain"] if self.domain else [])])
            raise Invalid(f"{model.name} is a CycleGAN, which takes no {named}: it has one style.")


def domain_index(model: Model, domain: str) -> int:
    """The domain's place among the model's; the first if none is named.

    Raises:
        Invalid: the model has no such domain.
    """
    domains = model.card.domains
    if domain and domain not in domains:
        raise Invalid(f"{model.name} has no domain {domain[:40]!r}. Domains: {', '.join(domains)}.")
    return domains.index(domain) if domain else 0


def read_seeds(value: str, at_least: int, at_most: int) -> list[int]:
    """The field ``seeds``, a JSON list of whole numbers.

    Raises:
        Invalid: it is something else, or of another length.
    """
    try:
        seeds = json.loads(value)
    except (ValueError, RecursionError):
        seeds = None
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise Invalid(f"seeds: {value[:40]!r} is not a JSON list of whole numbers.")
    if not at_least <= len(seeds) <= at_most:
        raise Invalid(f"seeds: {len(seeds)} of them; this call takes {at_least} to {at_most}.")
    return seeds


def _seed(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and int(value) <= MAX_SEED):
        raise Invalid(f"seed: {value[:40]!r} is not a whole number from 0 to {MAX_SEED}.")
    return int(value)


def _numbers(field: str, value: str, length: int) -> list[float]:
    """A JSON list of ``length`` finite numbers, or an object that has it under the field's name."""
    try:
        numbers = json.loads(value)
    except (ValueError, RecursionError):
        raise Invalid(f"{field}: {value[:40]!r} is not a JSON list of numbers.") from None
    if isinstance(numbers, dict):
        numbers = numbers.get(field)  # a whole answer of /stargan/style is as good
    if not isinstance(numbers, list) or not all(map(_usable, numbers[: length + 1])):
        raise Invalid(f"{field}: a JSON list of {length} finite numbers is needed.")
    if len(numbers) != length:
        raise Invalid(f"{field}: {len(numbers)} numbers; this model takes {length}.")
    return [float(number) for number in numbers]


def _usable(number: object) -> bool:
    """Whether it is a number, finite and not absurd; JSON in Python knows NaN, and integers beyond every float."""
    return isinstance(number, int | float) and not isinstance(number, bool) and -MAX_NUMBER <= number <= MAX_NUMBER
