"""The networks and losses against the reference implementation, number for number."""

import pytest
import torch

from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.cyclegan.losses import GAN_LOSSES, discriminator_loss, distance, generator_losses
from models.cyclegan.networks import balance_upsampling
from models.cyclegan.pool import ImagePool
from tests.models import reference

TOLERANCE = 1e-4
NETWORKS = [("generator", ResnetGenerator), ("discriminator", PatchDiscriminator)]
# Our names of the losses → the reference's, whose D_A judges B.
OF_THE_REFERENCE = {
    "g_ab_adv": "G_A",
    "g_ba_adv": "G_B",
    "cycle_aba": "cycle_A",
    "cycle_bab": "cycle_B",
    "g_ab_identity": "idt_A",
    "g_ba_identity": "idt_B",
    "d_a": "D_B",
    "d_b": "D_A",
}
NAMES = {"generator": "cyclegan_generator", "discriminator": "patchgan_discriminator"}


@pytest.mark.parametrize(("role", "network_class"), NETWORKS)
def test_network_has_the_keys_and_outputs_of_the_reference(role, network_class):
    facts = reference.facts("cyclegan")[role]
    network = network_class(**facts["config"])
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == facts["keys"]

    reference.fill(network, NAMES[role])
    with torch.inference_mode():
        actual = network(reference.picture("cyclegan_input", 2, (64, 96)))
    assert (actual - reference.array("cyclegan", f"{role}_output")).abs().max() < TOLERANCE


@pytest.mark.parametrize("form", ["batch", "dropout", "replicate", "zero"])
def test_each_form_of_the_generator_has_the_keys_and_outputs_of_the_reference(form):
    facts = reference.facts("forms")[form]
    network = ResnetGenerator(**facts["config"]).eval()
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == facts["keys"]

    reference.fill(network, f"cyclegan_generator_{form}")
    with torch.inference_mode():
        actual = network(reference.picture("cyclegan_input", 2, (64, 96)))
    assert (actual[:, :, ::4, ::4] - reference.array("forms", form)).abs().max() < TOLERANCE


@pytest.mark.parametrize("gan_loss", ["lsgan", "vanilla"])
def test_losses_are_those_of_the_reference(gan_loss):
    facts = reference.facts("cyclegan")
    g_ab, g_ba = (
        reference.fill(ResnetGenerator(**facts["generator"]["config"]), f"cyclegan_generator{suffix}")
        for suffix in ("", "_b")
    )
    d_b, d_a = (
        reference.fill(PatchDiscriminator(**facts["discriminator"]["config"]), f"patchgan_discriminator{suffix}")
        for suffix in ("", "_b")
    )
    real_a = reference.picture("cyclegan_input", 2, (64, 96))[:1]
    real_b = reference.picture("cyclegan_input_b", 1, (64, 96))
    loss = GAN_LOSSES[gan_loss]
    with torch.inference_mode():
        terms, generated = generator_losses(
            g_ab,
            g_ba,
            d_a,
            d_b,
            real_a,
            real_b,
            gan_loss=loss,
            lambda_a=10,
            lambda_b=10,
            lambda_identity=0.5,
        )
        terms["d_a"] = discriminator_loss(d_a, real_a, generated.fake_a, loss)
        terms["d_b"] = discriminator_loss(d_b, real_b, generated.fake_b, loss)
    expected = facts["losses"][gan_loss]
    assert terms.keys() == set(OF_THE_REFERENCE)
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[OF_THE_REFERENCE[name]], abs=TOLERANCE), name


@pytest.mark.parametrize("n_blocks", [1, 6])
def test_generator_keeps_the_shape_of_pictures_whose_sides_are_multiples_of_4(n_blocks):
    x = torch.zeros(1, 3, 36, 52)
    assert ResnetGenerator(ngf=4, n_blocks=n_blocks)(x).shape == x.shape


def test_generator_of_no_blocks_is_refused():
    with pytest.raises(ValueError, match="n_blocks"):
        ResnetGenerator(n_blocks=0)


def test_pool_answers_with_what_it_is_asked_until_it_is_full():
    pool = ImagePool(size=3, seed=0)
    for value in range(3):
        fresh = torch.full((1, 3, 2, 2), float(value))
        assert torch.equal(pool.query(fresh), fresh)


def test_full_pool_answers_with_old_and_new_pictures():
    pool = ImagePool(size=2, seed=0)
    answers = [pool.query(torch.full((1, 1, 1, 1), float(value))).item() for value in range(100)]
    old = [value != answer for value, answer in enumerate(answers)]
    assert 30 < sum(old) < 70


def test_pool_of_size_0_passes_pictures_through():
    fresh = torch.rand(2, 3, 2, 2)
    assert ImagePool(size=0, seed=0).query(fresh) is fresh


def test_balanced_upsampling_draws_no_checkerboard_on_an_even_input():
    torch.manual_seed(0)
    generator = ResnetGenerator(ngf=4, n_blocks=1)
    layer = next(module for module in generator.modules() if isinstance(module, torch.nn.ConvTranspose2d))
    even = torch.ones(1, layer.in_channels, 8, 8)

    def spread():
        inside = layer(even)[:, :, 2:-2, 2:-2]
        return (inside.amax(dim=(2, 3)) - inside.amin(dim=(2, 3))).max().item()

    assert spread() > 0.1
    balance_upsampling(generator)
    assert spread() < 1e-5


def test_the_distance_may_be_blind_to_mean_and_contrast():
    x = reference.picture("cyclegan_input", 2, (64, 96))
    faded = 0.5 * x + 0.2
    assert distance(x, faded, color_share=1).item() == pytest.approx((x - faded).abs().mean().item())
    assert distance(x, faded, color_share=0) < 0.1 * distance(x, faded, color_share=1)
    halfway = distance(x, faded, color_share=0.5)
    assert 0.4 * distance(x, faded, color_share=1) < halfway < 0.6 * distance(x, faded, color_share=1)
    assert distance(x, -x, color_share=0) > 0.5
