import copy

import pytest
import torch
from torch import nn

from stad_models import FrozenBatchNorm, freeze_batch_norm, zoo


def test_a_frozen_model_computes_what_the_model_did_in_evaluation():
    model = zoo.se_stad_tiny(3).backbone
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean)
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        expected = model.eval()(clips).clip[0]
        frozen = freeze_batch_norm(copy.deepcopy(model)).train()
        assert torch.equal(frozen(clips).clip[0], expected)
    assert set(frozen.state_dict()) == set(model.state_dict())
    frozen.load_state_dict(model.state_dict())
    assert not any(isinstance(module, nn.BatchNorm3d) for module in frozen.modules())


def test_frozen_layers_learn_nothing():
    layer = freeze_batch_norm(nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3)))
    assert [name for name, _ in layer.named_parameters()] == ["0.weight", "0.bias"]


def test_a_trunk_can_be_built_frozen():
    with torch.device("meta"):
        trunk = zoo.slowonly_r50_4x16(norm=FrozenBatchNorm)
        plain = zoo.slowonly_r50_4x16()
    assert set(trunk.state_dict()) == set(plain.state_dict())


def test_layers_without_statistics_are_refused():
    with pytest.raises(ValueError, match="running statistics"):
        freeze_batch_norm(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))
