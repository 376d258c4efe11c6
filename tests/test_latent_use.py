"""Are the latents alive? A collapsed one must be seen."""

import pytest
import torch

from drsvg_cli.evaluation.latents import latent_use


@pytest.fixture
def clips(noisy_frames):
    return noisy_frames(9, 5, 3, 32, 32)


def test_a_latent_that_matters_changes_frames(tiny_model, clips):
    found = latent_use(tiny_model(), clips, context=2)
    assert [*found] == ["content", "pose"]
    for use in found.values():
        assert use.divergence > 0.1 and use.zeroed > 0.1 and use.exchanged > 0.05


def test_a_collapsed_latent_is_seen(tiny_model, clips):
    """What nobody reads changes nothing; what equals its prior costs nothing."""
    model = tiny_model()
    with torch.no_grad():
        features, content = model.config.feature_dim, model.config.content_dim
        model.predictor.embed.weight[:, features : features + content] = 0
    found = latent_use(model, clips, context=2)
    assert found["content"].zeroed == found["content"].exchanged == 0
    assert found["pose"].zeroed > 0.1


def test_a_baseline_has_no_content(tiny_model, clips):
    assert [*latent_use(tiny_model(content_dim=0), clips, context=2)] == ["pose"]


def test_the_pose_of_the_right_partner_is_taken(tiny_model, clips):
    """Sequences that are all alike lose nothing by an exchange, and something by zeros."""
    same = clips[:1].expand(9, -1, -1, -1, -1)
    found = latent_use(tiny_model(), same, context=2)
    assert found["pose"].exchanged == pytest.approx(0, abs=1e-4) and found["pose"].zeroed > 0.1
