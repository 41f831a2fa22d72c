"""Checks of a run's options against the data set it trains on and the model it starts from. Loads no torch."""

from collections.abc import Mapping
from typing import Any, TypeVar

from models.errors import DatasetError, Invalid
from models.pictures import SUFFIXES
from models.store.catalog import Model
from models.store.model_card import PLAIN_GENERATOR
from models.store.options import Choices, StarGANChoices
from models.store.run_choices import RunChoices
from models.store.unpaired_options import UnpairedChoices

CHOICES = TypeVar("CHOICES", bound=RunChoices)


def unpaired_steps(choices: UnpairedChoices, pictures: int) -> tuple[int, int]:
    """Steps at the full learning rate, and steps over which it falls to 0.

    Args:
        pictures: number of training pictures in the larger domain.
    """
    steps_per_epoch = pictures / choices.batch_size
    return round(choices.epochs * steps_per_epoch), round(choices.epochs_decay * steps_per_epoch)


def check_unpaired(dataset: str, pictures: Mapping[str, int]) -> None:
    """Check that a CycleGAN or CUT can be trained on a data set.

    Args:
        dataset: name, for messages.
        pictures: domain → number of its training pictures.

    Raises:
        DatasetError: there are not two domains, or one has no pictures.
    """
    if len(pictures) != 2:
        raise DatasetError(
            f"Unpaired training needs two domains: trainA/ and trainB/, or two of train/<domain>/. {dataset} has "
            f"{', '.join(pictures) or 'none'}."
        )
    _check_counts(pictures, least=1)


def check_labelled(dataset: str, pictures: Mapping[str, int]) -> None:
    """Check that a StarGAN v2 can be trained on a data set. Arguments as for :func:`check_unpaired`.

    Raises:
        DatasetError: there are fewer than two domains, or one has fewer than two pictures.
    """
    if len(pictures) < 2:
        raise DatasetError(f"{dataset} has neither train/<domain>/ for two domains or more, nor trainA/ and trainB/.")
    _check_counts(pictures, least=2)


def _check_counts(pictures: Mapping[str, int], *, least: int) -> None:
    for domain, count in pictures.items():
        if count < least:
            raise DatasetError(
                f"The domain {domain} has {count} training pictures ({', '.join(sorted(SUFFIXES))}); it needs at least "
                f"{least}."
            )


def total_steps(choices: Choices, dataset: str, pictures: Mapping[str, int]) -> int | None:
    """Check that a run can be trained on a data set, and count its steps. Arguments as for :func:`check_unpaired`.

    Returns:
        None for a run whose length is given in minutes and not known before its pace is.

    Raises:
        DatasetError: the data set and the options don't fit, or there would be no step.
    """
    if isinstance(choices, StarGANChoices):
        check_labelled(dataset, pictures)
        if choices.domains is not None and len(choices.domains) != len(pictures):
            raise DatasetError(
                f"domains: {len(choices.domains)} names are given, but {dataset} has {len(pictures)} domains: "
                f"{', '.join(pictures)}."
            )
        return choices.total_iters if choices.minutes is None else None
    check_unpaired(dataset, pictures)
    if choices.minutes is not None:
        return None
    larger = max(pictures.values())
    steps = sum(unpaired_steps(choices, larger))
    if steps < 1:
        raise DatasetError(f"epochs: with {larger} pictures there would be no step; ask for more epochs.")
    return steps


def with_sizes_of(model: Model, choices: CHOICES, num_domains: int) -> CHOICES:
    """The choices with the network sizes of the model that the run starts from.

    Raises:
        Invalid: the model is of another family or has other domains, or a size was chosen that is not the model's.
    """
    family = "stargan_v2" if isinstance(choices, StarGANChoices) else "cyclegan"  # CUT's generator is a CycleGAN's
    card = model.card
    if card.family != family:
        raise Invalid(f"init_from: {model.name!r} is a model of the family {card.family}, not {family}.")
    if family == "stargan_v2" and len(card.domains) != num_domains:
        raise Invalid(f"init_from: {model.name!r} has {len(card.domains)} domains, the data set has {num_domains}.")
    sizes: dict[str, Any] = {name: value for name, value in card.network.items() if name in type(choices).model_fields}
    if family == "cyclegan":
        sizes = PLAIN_GENERATOR | sizes
    if family == "stargan_v2":
        sizes["base_dim"] = card.network.get("base_dim", 2**14 // int(card.network["img_size"]))
        sizes["normalize_rgb"] = bool(card.network.get("normalize_rgb", 1))
    for name in choices.model_fields_set & sizes.keys():
        chosen = getattr(choices, name)
        if chosen is not None and chosen != sizes[name]:
            raise Invalid(f"{name}: the model {model.name!r} to start from has {name} {sizes[name]}, not {chosen}.")
    return choices.model_copy(update=sizes)
