"""Compiled with constant weights, a network gives what it gave."""

import pytest
import torch

from stad_models import SeStadOptions, compile_for_inference, zoo

OPEN = SeStadOptions(test_score=0.0, action_threshold=0.0, max_actors=4)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:`create_unbacked_symint`:FutureWarning"
    ),  # torchvision's NMS
]


@pytest.fixture
def detector():
    model = zoo.se_stad_tiny(5, options=OPEN)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm3d):  # as training leaves them
            torch.nn.init.uniform_(part.weight, 0.5, 1.0)
            torch.nn.init.normal_(part.bias, std=0.1)
            torch.nn.init.normal_(part.running_mean, std=0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    return model


def test_a_detector_finds_the_same_actors(detector):
    fast = compile_for_inference(detector)
    before = {name: x.clone() for name, x in detector.state_dict().items()}
    detector.eval()
    for size in ((2, 3, 8, 96, 128), (1, 3, 8, 64, 64)):  # two sizes and numbers of clips
        clips = torch.randn(size)
        with torch.inference_mode():
            for found, wanted in zip(fast(clips), detector(clips), strict=True):
                torch.testing.assert_close(found.boxes, wanted.boxes, rtol=1e-3, atol=1e-2)
                torch.testing.assert_close(found.scores, wanted.scores, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(x, before[name]) for name, x in detector.state_dict().items())
    assert not any(weight.requires_grad for weight in fast.parameters())
    assert not fast.training


def test_a_network_without_parts_is_compiled_as_a_whole():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
    )
    network[1].running_mean.fill_(0.5)
    images = torch.randn(2, 3, 16, 16)
    fast = compile_for_inference(network)
    with torch.no_grad():
        wanted = network.eval()(images)
        torch.testing.assert_close(fast(images), wanted, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = fast(images)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), wanted, rtol=0.05, atol=0.05)
