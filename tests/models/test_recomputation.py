import copy

import pytest
import torch
from torch import nn

from stad_models import freeze_batch_norm, zoo
from stad_models.backbones.recomputation import recompute_stages, recomputed


def step(model, clips, targets):
    torch.manual_seed(11)
    losses = model(clips, targets)
    sum(losses.values()).backward()
    return losses


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_gradients_and_statistics_are_the_same_bit_for_bit(make_targets, frozen, precision):
    torch.manual_seed(2)
    plain = zoo.se_stad_tiny(5).train()
    again = zoo.se_stad_tiny(5, recompute=True).train()
    for part in plain.modules():
        if isinstance(
            part, nn.BatchNorm3d
        ):  # residual branches start at zero, which would hide them
            nn.init.uniform_(part.weight, 0.5, 1.0)
    again.load_state_dict(plain.state_dict())
    if frozen:
        freeze_batch_norm(plain)
        freeze_batch_norm(again)
    clips, targets = torch.randn(2, 3, 8, 64, 96), make_targets((2, 1), size=(96, 64))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        wanted, found = step(plain, clips, targets), step(again, clips, targets)
    for name, loss in wanted.items():
        assert torch.equal(found[name], loss), name
    for (name, weight), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(other.grad, weight.grad), name
    for (name, value), other in zip(plain.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(other, value), name


def test_fewer_activations_are_kept(make_targets):
    clips, targets = torch.randn(2, 3, 8, 96, 128), make_targets((1, 1))

    def kept(model):
        bytes_kept = 0

        def pack(x):
            nonlocal bytes_kept
            bytes_kept += x.numel() * x.element_size()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            model(clips, targets)
        return bytes_kept

    assert kept(zoo.se_stad_tiny(5, recompute=True)) < 0.7 * kept(zoo.se_stad_tiny(5))


def test_random_layers_draw_the_same_numbers_again():
    module = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
    x = torch.randn(4, 6)
    torch.manual_seed(1)
    wanted = copy.deepcopy(module)
    wanted(x).sum().backward()
    torch.manual_seed(1)
    recomputed(module, module, x).sum().backward()
    assert torch.equal(module[0].weight.grad, wanted[0].weight.grad)


def test_detecting_is_not_changed():
    plain, again = zoo.se_stad_tiny(5).eval(), zoo.se_stad_tiny(5, recompute=True).eval()
    again.load_state_dict(plain.state_dict())
    clips = torch.randn(1, 3, 4, 64, 96)
    with torch.no_grad():
        wanted, found = plain.backbone(clips), again.backbone(clips)
    assert torch.equal(found.clip[0], wanted.clip[0])


def test_a_backbone_that_cannot_is_refused():
    with pytest.raises(ValueError, match="no part of Linear can compute its activations again"):
        recompute_stages(nn.Linear(2, 2))
