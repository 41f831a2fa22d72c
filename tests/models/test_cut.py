"""CUT's networks and losses against the reference implementation and a computation by hand."""

import numpy as np
import pytest
import torch

from models.cut.losses import generator_losses, patch_nce
from models.cut.patches import PatchHeads, PatchTranslator, draw_places, encoder_layers, mirrored_places
from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.cyclegan.losses import discriminator_loss, lsgan_loss
from tests.models import reference

TOLERANCE = 1e-4
LAYERS = [0, 4, 8, 12, 16]


def filled(network, name):
    """The reference weights; the kernels that blur are fixed."""
    kernels = {key: kernel.clone() for key, kernel in network.state_dict().items() if key.endswith(".filt")}
    reference.fill(network, name)
    network.load_state_dict(kernels, strict=False)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def facts():
    return reference.facts("cut")


@pytest.fixture(scope="module")
def generator(facts):
    return filled(ResnetGenerator(**facts["generator"]["config"]), "cut_generator")


@pytest.fixture(scope="module")
def discriminator(facts):
    return filled(PatchDiscriminator(**facts["discriminator"]["config"]), "cut_discriminator")


@pytest.fixture(scope="module")
def translator(generator):
    return PatchTranslator(generator, LAYERS)


@pytest.fixture(scope="module")
def heads(facts, translator):
    channels = [shape[0] for shape in translator.feature_shapes(64)]
    return filled(PatchHeads(channels, **facts["projection"]["config"]), "cut_projection")


@pytest.fixture(scope="module")
def pictures():
    return reference.picture("cyclegan_input", 2, (64, 96)), reference.picture("cyclegan_input_b", 1, (64, 96))


def keys_of(network):
    return {key: list(tensor.shape) for key, tensor in network.state_dict().items()}


def test_networks_have_the_keys_and_outputs_of_the_reference(facts, generator, discriminator, heads, pictures):
    for name, network in (("generator", generator), ("discriminator", discriminator), ("projection", heads)):
        assert keys_of(network) == facts[name]["keys"]
    x = pictures[0]
    expected = reference.array("cut", "generator_output")
    assert (generator(x)[:, :, ::4, ::4] - expected).abs().max() < TOLERANCE
    assert (discriminator(x) - reference.array("cut", "discriminator_output")).abs().max() < TOLERANCE


def test_the_encoder_is_compared_at_the_layers_of_the_reference(facts, translator, pictures):
    assert encoder_layers(9, antialias=True) == LAYERS
    features = translator.encode(pictures[0][:1])
    assert [list(x.shape) for x in features] == facts["features"]["shapes"]
    for layer, x in zip(LAYERS, features, strict=True):
        assert (x[:, :, ::7, ::7] - reference.array("cut", f"feature_{layer}")).abs().max() < TOLERANCE
    passed, seen = translator(pictures[0][:1])
    assert torch.equal(passed, translator.generator(pictures[0][:1]))
    assert all(torch.equal(one, other) for one, other in zip(seen, features, strict=True))


@pytest.mark.parametrize(("n_blocks", "antialias", "layers"), [(3, True, [0, 4, 8, 12, 13]), (1, False, [0, 4, 7, 10])])
def test_a_shallow_generator_is_compared_at_its_first_and_its_middle_block(n_blocks, antialias, layers):
    assert encoder_layers(n_blocks, antialias=antialias) == layers
    generator = ResnetGenerator(2, n_blocks, antialias=antialias)
    assert len(generator.features(torch.zeros(1, 3, 32, 32), layers)) == len(layers)


def places():
    return [reference.array("cut", f"patch_ids_{layer}").long() for layer in LAYERS]


def test_losses_are_those_of_the_reference(facts, translator, discriminator, heads, pictures):
    expected = facts["losses"]
    real_a, real_b = pictures[0][:1], pictures[1]
    made, seen = translator(torch.cat([real_a, real_b]))
    keys = heads(seen, places())
    assert (keys[2][0] - reference.array("cut", "projected_8")).abs().max() < TOLERANCE

    def terms(made, keys, lambda_nce):
        return generator_losses(
            discriminator,
            heads,
            translator.encode,
            made,
            keys,
            places(),
            sources=1,
            gan_loss=lsgan_loss,
            lambda_nce=lambda_nce,
            temperature=0.07,
        )

    cut = {name: term.item() for name, term in terms(made, keys, 1.0).items()}
    assert cut == pytest.approx(
        {"g_adv": expected["g_gan"], "g_nce": expected["nce"] / 2, "g_nce_identity": expected["nce_y"] / 2},
        abs=TOLERANCE,
    )
    assert sum(cut.values()) == pytest.approx(expected["g_cut"], abs=TOLERANCE)
    fast = terms(made[:1], [key[:1] for key in keys], 10.0)
    assert sum(fast.values()).item() == pytest.approx(expected["g_fastcut_without_flip"], abs=10 * TOLERANCE)
    assert "g_nce_identity" not in fast
    d = discriminator_loss(discriminator, real_b, made[:1], lsgan_loss)
    assert d.item() == pytest.approx(expected["d"], abs=TOLERANCE)


def test_patch_nce_is_what_a_computation_by_hand_gives():
    rng = np.random.default_rng(0)
    queries, keys = (rng.standard_normal((2, 3, 5, 4)).astype(np.float32) for _ in range(2))  # layers, N, P, dim
    by_hand = []
    for n in range(3):
        losses = []
        for layer in range(2):
            for place in range(5):
                likeness = [float(queries[layer, n, place] @ key) / 0.5 for key in keys[layer, n]]
                losses.append(np.log(np.sum(np.exp(likeness))) - likeness[place])
        by_hand.append(np.mean(losses))
    made = patch_nce(list(torch.from_numpy(queries)), list(torch.from_numpy(keys)), temperature=0.5)
    assert made.numpy() == pytest.approx(by_hand, rel=1e-5)


def test_mirrored_places_find_the_same_patches_in_mirrored_features():
    shapes = [torch.Size([2, 3, 4]), torch.Size([1, 2, 7])]
    at = draw_places(shapes, 5, torch.Generator().manual_seed(0))
    assert [len(set(one.tolist())) for one in at] == [5, 5]
    for shape, here, there in zip(shapes, at, mirrored_places(shapes, at), strict=True):
        x = torch.rand(shape)
        assert torch.equal(x.flatten(1)[:, here], x.flip(2).flatten(1)[:, there])
