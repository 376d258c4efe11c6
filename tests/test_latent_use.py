"""Are the latents alive? A collapsed one must be seen."""

import cv2
import numpy as np
import pytest
import torch

from drsvg_cli.config import MotionConfig
from drsvg_cli.evaluation.latents import latent_use, motion_latent_use
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.motion_model.network import build_network


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


class TestMotionModel:
    """The model of ordinary clips: latents that are maps, and frames of any shape."""

    @pytest.fixture
    def pans(self, noisy_frames):
        wide = (noisy_frames(3, 3, 48, 120) * 255).movedim(1, -1).to(torch.uint8).numpy()
        wide = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in wide]
        return [
            np.stack([picture[:, speed * t : speed * t + 80] for t in range(9)])
            for picture, speed in zip(wide, (0, 2, 5), strict=True)
        ]

    @pytest.fixture
    def network(self):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            network = build_network(MotionConfig())
            for weights in (network.coefficients.weight, network.direct.weight):
                weights.normal_(std=0.5)
        return network.eval()

    def test_latents_that_matter_change_frames(self, network, pans):
        found = motion_latent_use(MotionPredictor(network), pans, horizon=3)
        assert [*found] == ["content", "pose"]
        assert found["pose"].zeroed > 0.1 and found["pose"].exchanged > 1e-3
        assert all(use.divergence > 0 for use in found.values())

    def test_before_training_they_are_dead(self, pans):
        network = build_network(MotionConfig()).eval()
        found = motion_latent_use(MotionPredictor(network), pans, horizon=2)
        assert all(use.zeroed == use.exchanged == 0 for use in found.values())
