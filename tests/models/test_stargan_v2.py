"""The networks against the reference implementation, number for number."""

import pytest
import torch

from models.landmarks.network import LandmarkNetwork
from models.stargan_v2.losses import discriminator_terms, generator_terms
from models.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder
from models.stargan_v2.shape import halvings
from tests.models import reference

TOLERANCE = 1e-4
PICTURES = (2, (256, 256))


def expected(name):
    return reference.array("stargan", name)


def network(network_class, name):
    """A network with the reference weights, after its keys and shapes were found to be the reference's."""
    facts = reference.facts("stargan")[name]
    built = network_class(**facts["config"])
    assert {key: list(tensor.shape) for key, tensor in built.state_dict().items()} == facts["keys"]
    return reference.fill(built, name).eval()


def assert_close(actual, name):
    assert (actual - expected(name)).abs().max() < TOLERANCE


@torch.inference_mode()
def test_mapping_network():
    mapping = network(MappingNetwork, "mapping_network")
    assert_close(mapping(expected("stargan_latent"), expected("stargan_domain")), "style_from_latent")


@torch.inference_mode()
def test_style_encoder():
    encoder = network(StyleEncoder, "style_encoder")
    x_ref = reference.picture("stargan_reference", *PICTURES)
    assert_close(encoder(x_ref, expected("stargan_domain")), "style_from_reference")


@torch.inference_mode()
def test_discriminator():
    discriminator = network(Discriminator, "stargan_discriminator")
    x = reference.picture("stargan_source", *PICTURES)
    assert_close(discriminator(x, expected("stargan_domain")), "stargan_logits")


@torch.inference_mode()
def test_generator_without_the_high_pass_path():
    generator = network(Generator, "stargan_generator_hpf0")
    x_src = reference.picture("stargan_source", *PICTURES)
    out = generator(x_src, expected("style_from_reference"))
    assert_close(out[:, :, ::4, ::4], "stargan_output_hpf0")


@torch.inference_mode()
def test_generator_with_the_high_pass_path_and_masks_of_the_landmark_network():
    generator = network(Generator, "stargan_generator_hpf1")
    x_src = reference.picture("stargan_source", *PICTURES)
    masks = network(LandmarkNetwork, "fan").masks(x_src)
    out = generator(x_src, expected("style_from_reference"), masks)
    assert_close(out[:, :, ::4, ::4], "stargan_output_hpf1")


@pytest.mark.parametrize("w_hpf", [0, 1])
@pytest.mark.parametrize("img_size", [64, 128])
@torch.inference_mode()
def test_generator_takes_pictures_that_are_not_square(img_size, w_hpf):
    torch.manual_seed(0)
    generator = Generator(img_size, style_dim=8, max_conv_dim=16, w_hpf=w_hpf, base_dim=4)
    multiple = 2 ** halvings(img_size, w_hpf)
    x = torch.rand(1, 3, 3 * multiple, 5 * multiple)
    ones = torch.ones(1, 1, 4, 4)
    assert generator(x, torch.zeros(1, 8), (ones, ones) if w_hpf else None).shape == x.shape


@torch.inference_mode()
def test_the_high_pass_path_carries_nothing_where_the_masks_are_zero():
    torch.manual_seed(0)
    generator = Generator(64, style_dim=8, max_conv_dim=16, base_dim=4).eval()
    x, s, none = torch.rand(1, 3, 64, 64), torch.rand(1, 8), torch.zeros(1, 1, 64, 64)
    assert torch.allclose(generator(x, s, (none, none)), generator(x, s))
    assert not torch.allclose(generator(x, s, (none + 1, none + 1)), generator(x, s))


@pytest.mark.parametrize("img_size", [16, 100])
def test_a_size_that_is_no_power_of_two_is_refused(img_size):
    with pytest.raises(ValueError, match="power of two"):
        Generator(img_size)


@pytest.mark.parametrize("guide", ["latent", "reference"])
def test_losses_are_those_of_the_reference(guide):
    mapping = network(MappingNetwork, "mapping_network")
    encoder = network(StyleEncoder, "style_encoder")
    discriminator = network(Discriminator, "stargan_discriminator")
    generator = network(Generator, "stargan_generator_hpf0")
    x_real = reference.picture("stargan_source", *PICTURES)
    y_org, y_trg = expected("stargan_origin_domain"), expected("stargan_domain")

    def style(suffix):
        if guide == "latent":
            return lambda: mapping(expected(f"stargan_latent{suffix}"), y_trg)
        return lambda: encoder(reference.picture(f"stargan_reference{suffix}", *PICTURES), y_trg)

    domains = (x_real, y_org, y_trg)
    with torch.no_grad():
        x_fake = generator(x_real, style("")(), None)
    judged = discriminator_terms(discriminator, x_fake, *domains)
    with torch.no_grad():
        played = generator_terms(
            discriminator,
            generator,
            encoder,
            style("")(),
            x_fake,
            style("2"),
            *domains,
            source_masks=None,
            masks=lambda x: None,
        )
    for terms, name in ((judged, f"d_{guide}"), (played, f"g_{guide}")):
        assert {key: term.item() for key, term in terms.items()} == pytest.approx(
            reference.facts("stargan")["losses"][name], abs=TOLERANCE
        )
