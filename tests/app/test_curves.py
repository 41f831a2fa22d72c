"""How the losses of a run are drawn."""

from app import curves


def test_every_loss_is_drawn_on_its_side_whatever_version_recorded_it():
    today = ["cycle_aba", "d_a", "d_b", "g_ab_adv", "g_ab_identity"]
    before = ["D_A", "D_B", "G_A", "cycle_A", "idt_A"]
    stargan = ["D_latent_real", "G_identity", "G_latent_ds"]
    generators, discriminators = curves.by_side(today + before + stargan)
    assert discriminators == ["d_a", "d_b", "D_A", "D_B", "D_latent_real"]
    assert generators == [name for name in today + before + stargan if name not in discriminators]
