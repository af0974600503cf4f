"""DLA-34 with MOC's branches, and 3D ResNeXt-101, against outputs of the public code.

See tests/golden/PROVENANCE.md.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from stad_models import zoo
from stad_models.backbones.resnext3d import ResNext3d
from stad_models.weights.moc import MOC
from stad_models.weights.resnets3d import RESNETS_3D


def rule_weight(key: str, shape: list[int]) -> torch.Tensor:
    """The deterministic filling rule of the golden files (`tests/golden/PROVENANCE.md`)."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    a = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        a = a * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    elif key.endswith("running_var"):
        a = np.abs(a) * 0.1 + 1
    elif not key.endswith("running_mean") and key.endswith("weight"):
        a = (1 + a * 0.1) * (0.25 if key.endswith("bn3.weight") else 1)
    else:
        a = a * np.float32(0.1)
    return torch.from_numpy(np.asarray(a, np.float32))


def filled(model, layout, golden: Path, name: str):
    """A model with the rule's weights under the public keys of a layout file."""
    path = golden / "models" / "layouts" / f"{name}.json"
    shapes = json.loads(path.read_text(encoding="utf-8"))
    ready = layout.prepare({key: torch.empty(shape) for key, (shape, _) in shapes.items()})
    inside = "backbone." if hasattr(model, "backbone") else ""
    state = {}
    for key in ready.tensors:
        ours = layout.rename(key)
        ours = ours.removeprefix("head.") if ours.startswith("head.") else inside + ours
        state[ours] = rule_weight(key, shapes[key][0])
    model.load_state_dict(state)
    return model.eval()


def noise(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    a = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(a.astype(np.float32))


def error(golden, name: str, found: torch.Tensor) -> float:
    """The largest error of the sampled values, as a share of the map's absolute maximum."""
    assert list(found.shape) == golden[f"{name}.shape"].tolist()
    values = found.flatten()[torch.from_numpy(golden[f"{name}.idx"])].double().numpy()
    return float(np.abs(values - golden[f"{name}.val"]).max() / golden[f"{name}.stats"][2])


@torch.no_grad()
def test_dla34_with_mocs_branches_agrees_with_public_outputs(golden: Path):
    # The rule's weights make the deformable convolutions read far away, which magnifies rounding:
    # with sums in another order (one thread, another instruction set) the reference itself would
    # come out 1e-4 to 4e-4 away. With the order of the reference all agree within 2e-5.
    torch.set_num_threads(2)
    expected = np.load(golden / "models" / "full_moc_dla34_K5_ucf24.npz")
    model = filled(zoo.moc_dla34(24, tubelet_length=5), MOC, golden, "moc_dla34_K5_ucf24")
    frames = [noise(f"input{i}", (1, 3, 288, 288)) for i in range(5)]
    levels: list[torch.Tensor] = []
    hooks = [
        level.register_forward_hook(lambda _module, _inputs, output: levels.append(output))
        for level in model.backbone.levels
    ]
    maps = [model.frame_maps(frames[0])]
    for hook in hooks:
        hook.remove()
    errors = [error(expected, f"base.level{i}", level) for i, level in enumerate(levels)]
    assert max(errors) < 5e-6
    same_order = max(errors) == 0
    maps += [model.frame_maps(frame) for frame in frames[1:]]
    points = model.points(
        (torch.stack([m[0] for m in maps], dim=1), torch.stack([m[1] for m in maps], dim=1)),
        (288, 288),
    )
    found = {
        "backbone": maps[0][0],
        "hm": points.centers,
        "mov": points.movement.flatten(1, 2),
        "wh": points.sizes.flatten(1, 2),
    }
    for name, value in found.items():
        assert error(expected, name, value) < (1e-4 if same_order else 1e-3), name


@torch.no_grad()
def test_resnext101_agrees_with_public_outputs(golden: Path):
    expected = np.load(golden / "models" / "full_resnext101_16x112.npz")
    trunk = filled(ResNext3d(), RESNETS_3D, golden, "resnext101_yowo")
    x = trunk.stem(noise("input", (1, 3, 16, 112, 112)))
    assert error(expected, "stem", x) < 1e-4
    for place in range(1, 5):
        x = trunk.get_submodule(f"res{place + 1}")(x)
        assert error(expected, f"layer{place}", x) < 1e-4
