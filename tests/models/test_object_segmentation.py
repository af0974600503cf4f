"""Networks that follow an object from its mask: what goes in and comes out, and what is matched."""

import pytest
import torch

from stad_models import flops, zoo
from stad_models.backbones.i3d import I3dShape
from stad_models.detectors.map_outputs import MapOutputs
from stad_models.heads.reference_matching import ReferenceEncoder, ReferenceMatching
from stad_models.structures import Maps, Targets

POOLS = ((1, 2), (1, 2), (1, 1), (1, 1))
SMALL = I3dShape(width=0.06, last="mixed_3b", stem_strides=(1, 2), pool_strides=POOLS)


def small(**options):
    torch.manual_seed(0)
    return zoo.vos_tiny(3, **{"trunk": SMALL, "width": 4, "clip_length": 3, **options})


def clips(count=2, *, size=(24, 32), frames=3, seed=1):
    """Noise, with a rectangle given on the first frame."""
    made = torch.randn(count, 4, 1 + frames, *size, generator=torch.Generator().manual_seed(seed))
    made[:, 3] = 0.0
    made[:, 3, 0, 8:16, 8:24] = 1.0
    return made


def targets(count=2, *, size=(24, 32), frames=3, given=True):
    masks = torch.zeros(count, 1 + frames, *size)
    masks[:, 1:, 8:16, 10:26] = 1.0
    masks[:, 0, 8:16, 8:24] = float(given)
    return Targets(
        boxes=tuple(torch.zeros(0, 4) for _ in range(count)),
        labels=tuple(torch.zeros(0, 3) for _ in range(count)),
        masks=masks,
    )


@pytest.mark.parametrize("size", [(24, 32), (37, 41), (7, 9)])
def test_maps_of_any_size_and_any_number_of_frames(size):
    model = small().eval()
    for frames in (1, 3, 6):
        with torch.inference_mode():
            found = model(clips(size=size, frames=frames))
        assert len(found) == 2
        assert isinstance(found[0], Maps)
        assert found[0].localisation.shape == (frames, *size)
        assert 0 <= float(found[0].localisation.min()) <= float(found[0].localisation.max()) <= 1
        assert found[0].scores.shape == (0,)


def test_losses_reach_every_weight():
    model = small().train()
    losses = model(clips(), targets())
    assert set(losses) == {"cross_entropy", "dice"}
    torch.stack([*losses.values()]).sum().backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert missing == []
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())


def test_it_learns_in_mixed_precision_too():
    model = small().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(clips(), targets())
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    torch.stack([*losses.values()]).sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())


def test_outputs_give_the_same_losses_as_targets_do():
    outputs = small()(clips(), labels=torch.zeros(2, 3))
    assert isinstance(outputs, MapOutputs)
    assert outputs.logits.shape == (2, 3, 24, 32)
    assert outputs.scores.shape == outputs.features.shape == (2, 0)
    model = small()
    for name, loss in model(clips(), targets()).items():
        found = model.losses(outputs, targets())[name].item()
        assert loss.item() == pytest.approx(found, rel=1e-5)


def test_it_is_the_mask_that_says_which_object_is_meant():
    model, one = small().eval(), clips()
    other = one.clone()
    other[:, 3, 0] = one[:, 3, 0].roll(8, dims=1)
    with torch.inference_mode():
        assert not torch.equal(model(one)[0].localisation, model(other)[0].localisation)


def test_without_a_given_pixel_nothing_is_wanted():
    model = small()
    outputs = model(clips(), labels=torch.zeros(2, 3))
    nothing = targets(given=False)
    empty = Targets(
        boxes=nothing.boxes, labels=nothing.labels, masks=torch.zeros_like(nothing.masks)
    )
    found, wanted = model.losses(outputs, nothing), model.losses(outputs, empty)
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    asked = model.losses(outputs, targets())
    assert asked["dice"].item() != found["dice"].item()


def matching(scale=200.0):
    """Keys are the maps themselves, so sharp that every cell reads its likest one alone."""
    torch.manual_seed(0)
    made = ReferenceMatching(6, keys=6, encoder=ReferenceEncoder(4, 2, 3), values=3).eval()
    with torch.no_grad():
        made.key.weight.copy_(torch.eye(6)[:, :, None, None, None])
        made.scale.fill_(scale)
    return made


def test_a_cell_reads_what_is_known_of_its_like_wherever_that_lies():
    generator = torch.Generator().manual_seed(3)
    reference = torch.randn(1, 6, 1, 3, 4, generator=generator)
    order = torch.randperm(12, generator=generator)
    moved = reference.flatten(3)[..., order].unflatten(3, (3, 4))
    given = torch.rand(1, 4, 24, 32, generator=generator)
    given[:, 3] = 0.0
    given[0, 3, 8:16, 8:20] = 1.0  # a whole cell and half of the next
    with torch.inference_mode():
        read = matching()(torch.cat([reference, moved, reference], dim=2), given)
    assert read.shape == (1, 4, 2, 3, 4)
    covered = torch.zeros(3, 4)
    covered[1, 1], covered[1, 2] = 1.0, 0.5
    assert torch.allclose(read[0, 3, 1], covered, atol=1e-3)
    assert torch.allclose(read[0, 3, 0].flatten(), covered.flatten()[order], atol=1e-3)
    assert torch.allclose(read[0, :, 0].flatten(1), read[0, :, 1].flatten(1)[:, order], atol=1e-2)


def test_an_empty_mask_covers_nothing():
    maps = torch.randn(1, 6, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    given = torch.rand(1, 4, 24, 32)
    given[:, 3] = 0.0
    with torch.inference_mode():
        assert float(matching(5.0)(maps, given)[:, 3].abs().max()) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model(clips()[:, :3]), r"\[N, 4, T, H, W\]"),
        (lambda model: model(clips(frames=0)), "at least the 2 frames"),
        (lambda model: model(clips(), targets(size=(24, 40))), "masks"),
        (lambda model: model(clips(), targets(frames=2)), 'form "object"'),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(small())


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="clip_length"):
        small(clip_length=0)
    with pytest.raises(ValueError, match="strides 2, 4 and 8"):
        small(trunk=I3dShape(width=0.06, last="mixed_4b", stem_strides=(1, 2)))
    halved = I3dShape(width=0.06, last="mixed_3b", pool_strides=POOLS)
    with pytest.raises(ValueError, match="keep all frames"):
        small(trunk=halved)(clips())


def test_parts_add_up_and_the_small_network_stays_small():
    with torch.device("meta"):
        model = zoo.vos_i3d(94)
        trunk = zoo.i3d()
    found, published = model.backbone.state_dict(), trunk.state_dict()
    assert all(published[name].shape == weight.shape for name, weight in found.items())
    cost = flops.count(model, 224, 8)
    for figures in (cost.macs, cost.params):
        assert set(figures) == {"total", "backbone", "matching", "decoder"}
        assert figures["total"] == sum(n for part, n in figures.items() if part != "total")
    little = flops.count(zoo.vos_tiny(2), (128, 96), 8)
    assert little.macs["total"] < 0.5e9
    assert little.params["total"] < 0.2e6
