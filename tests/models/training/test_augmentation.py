"""What discriminators see, changed at random: each change, what decides it, and who sees what in a step."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.store.options import CUTOptions, CycleGANOptions
from models.training import distributed
from models.training.augmentation import NUMBERS, Augmenter
from models.training.cut import CUTTrainer
from models.training.cyclegan import CycleGANTrainer
from tests.training import CUT, CYCLEGAN

CPU = torch.device("cpu")
ALL = ["color", "translation", "cutout"]
LEAST, MOST = 0.0, 1 - 2**-24  # of float32 numbers in [0, 1)


def augmenter(*kinds, **options):
    return Augmenter(CycleGANOptions(dataset="none", augmentations=list(kinds), **options), CPU)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def numbers_of(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_colour_is_brightness_then_saturation_then_contrast():
    x = noise(2, 3, 8, 12)
    numbers = numbers_of([0.75, 0.9, 0.25] + [0] * 4, [0.1, 0.5, 0.5] + [0] * 4)
    found = augmenter("color")(x, numbers).numpy()
    for picture, result, (brightness, saturation, contrast) in zip(
        x.numpy().astype(float), found, [(0.25, 1.8, 0.75), (-0.4, 1, 1)], strict=True
    ):
        y = picture + brightness
        grey = y.sum(axis=0) / 3
        y = np.stack([grey + saturation * (channel - grey) for channel in y])
        assert result == pytest.approx(y.mean() + contrast * (y - y.mean()), abs=1e-5)


def test_translation_shifts_each_picture_by_up_to_an_eighth_of_each_side():
    x = noise(3, 3, 16, 24)
    # Of five shifts down, -2 to 2, and seven to the right, -3 to 3.
    numbers = numbers_of([0] * 3 + [LEAST, MOST, 0, 0], [0] * 3 + [0.5, 0.5, 0, 0], [0] * 3 + [0.7, 0.2, 0, 0])
    expected = np.zeros(x.shape, np.float32)
    expected[0, :, :14, 3:] = x[0, :, 2:, :21]
    expected[1] = x[1]
    expected[2, :, 1:, :22] = x[2, :, :15, 2:]
    assert np.array_equal(augmenter("translation")(x, numbers), expected)


def test_cutout_leaves_a_hole_of_half_of_each_side_whose_middle_is_anywhere():
    x = noise(3, 3, 16, 24)
    numbers = numbers_of([0] * 5 + [LEAST, MOST], [0] * 5 + [0.5, 0.5], [0] * 5 + [MOST, LEAST])
    expected = x.numpy().copy()
    expected[0, :, :4, 18:] = 0
    expected[1, :, 4:12, 6:18] = 0
    expected[2, :, 12:, :6] = 0
    assert np.array_equal(augmenter("cutout")(x, numbers), expected)


def test_all_changes_together_have_the_right_gradient():
    x = noise(2, 3, 8, 8).double().requires_grad_(True)
    change = augmenter(*ALL)
    [numbers] = change.draw(0, sets=1, count=2)
    assert torch.autograd.gradcheck(lambda pictures: change(pictures, numbers), x, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_format_stay(dtype, form):
    x = noise(1, 3, 16, 16).to(dtype).contiguous(memory_format=form).requires_grad_(True)
    change = augmenter(*ALL)
    y = change(x, *change.draw(0, sets=1, count=1))
    y.backward(y)
    for result in (y, x.grad):
        assert (result.dtype, result.is_contiguous(memory_format=form)) == (dtype, True)


def test_what_is_drawn_depends_on_seed_step_and_process_alone(monkeypatch):
    first = torch.cat(augmenter("color", seed=1).draw(7, sets=6, count=4))
    assert first.shape == (24, NUMBERS)
    assert len(first.unique(dim=0)) == 24  # each picture has its own
    assert torch.equal(torch.cat(augmenter(*ALL, seed=1).draw(7, sets=6, count=4)), first)
    others = [augmenter("color", seed=seed).draw(step, sets=6, count=4) for seed, step in ((1, 8), (2, 7))]
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    others.append(augmenter("color", seed=1).draw(7, sets=6, count=4))
    assert len(torch.cat([first, *(torch.cat(other) for other in others)]).unique(dim=0)) == 4 * 24
    assert augmenter().draw(7, sets=6, count=4) == ()


ADVERSARIAL_ALONE = {"lambda_a": 0, "lambda_b": 0}
FORMS = {
    "patch": (CycleGANTrainer, CycleGANOptions(dataset="none", **CYCLEGAN | ADVERSARIAL_ALONE, augmentations=ALL)),
    "projected": (
        CycleGANTrainer,
        CycleGANOptions(
            dataset="none", **CYCLEGAN | ADVERSARIAL_ALONE, discriminator="projected", augmentations=["cutout"]
        ),
    ),
    "cut": (CUTTrainer, CUTOptions(dataset="none", **CUT, lambda_nce=0, identity_nce=False, augmentations=ALL)),
}


@pytest.mark.parametrize("form", FORMS)
def test_discriminators_see_each_picture_changed_anew_and_teach_the_generators_through_that(form):
    kind, options = FORMS[form]
    made = kind(options, device=CPU, fixed_inputs=(torch.zeros(1, 3, 32, 32),) * 2, constant_steps=9, decay_steps=0)
    judges = [made.see] if form == "projected" else [made.networks[name] for name in made.networks if name[0] == "d"]
    seen = []
    for judge in judges:
        judge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    before = {name: made.networks[name].model[1].weight.detach().clone() for name in made.generators}
    made.step((noise(2, 3, 32, 32), noise(2, 3, 32, 32, seed=1)), progress=0)
    # For the generators; then real and generated ones for the discriminators.
    assert len(seen) == (3 if form == "cut" else 6)
    holes = torch.cat([(pictures == 0).all(dim=1) for pictures in seen])
    assert len(holes.unique(dim=0)) == 2 * len(seen)
    assert (holes.sum(dim=(1, 2)) >= 8 * 8).all()  # a quarter of a hole of 16 × 16 px is always there
    for name, weight in before.items():
        assert not torch.equal(made.networks[name].model[1].weight, weight)


def test_all_but_the_discriminators_see_plain_pictures():
    options = CycleGANOptions(dataset="none", **CYCLEGAN, lambda_content=1, augmentations=["cutout"])
    x = noise(1, 3, 32, 32)
    made = CycleGANTrainer(options, device=CPU, fixed_inputs=(x, x), constant_steps=9, decay_steps=0)
    seen = []
    for network in (made.see, *(made.networks[name] for name in made.generators)):
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    made.step((x, noise(1, 3, 32, 32, seed=1)), progress=0)
    kept = [picture for name in ("pool_a", "pool_b") for picture in made.state_dict()[name]["pictures"]]
    assert len(kept) == 2
    assert not any((picture == 0).any() for picture in (*seen, *kept))


@pytest.mark.parametrize(
    ("augmentations", "words"),
    [
        (["color", "blur"], "'color', 'translation' or 'cutout'"),
        (["color", "cutout", "color"], "color: name each way once"),
    ],
)
@pytest.mark.parametrize("kind", [CycleGANOptions, CUTOptions])
def test_an_unknown_or_repeated_way_is_refused(kind, augmentations, words):
    with pytest.raises(ValidationError, match=words):
        kind(dataset="none", augmentations=augmentations)
