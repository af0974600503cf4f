"""CFAD on colour and optical flow together: five channels of a whole video."""

import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine import checkpoint
from stad_cli.engine.batches import training_batches
from stad_cli.engine.clip_forms import evaluation_samples
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.detector import build_detector, check_channels
from stad_cli.engine.distributed import Processes
from stad_cli.engine.model_input import to_device
from stad_cli.engine.predictions import predictions
from stad_cli.engine.train import train
from stad_cli.main import main
from stad_data import ActionClasses
from stad_data.flow_cache import open_flow
from stad_eval import InputError, read_tubes_json

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
SMALL = (
    "model.options.hidden=8",
    "model.options.samples=4",
    "model.options.proposal_steps=1",
    "model.options.anchors=[[10, 16], [14, 24]]",
    "data.size=[128, 96]",  # twice the size of the flow
    "clip.length=16",  # twice the length of the videos
    "augment.scale=[1, 1]",
    "augment.stretch=0.0",
    "optim.steps=3",
    "optim.batch=2",
    "optim.warm_up=1",
    "optim.amp=none",
    "eval.every=0",
    "run.threads=1",
)
TRUNK = 'model.options.trunk={{width=0.06, last="mixed_3b", channels_in={}}}'


@pytest.fixture(scope="module")
def fused(known_flow):
    """What makes the recipe one of colour and flow."""
    return (*SMALL, f"data.flow={known_flow}", TRUNK.format(5))


@pytest.fixture(scope="module")
def outcome(fused, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("fused") / "run"
    return train(load_recipe("cfad_tiny_jhmdb", fused), data=dataset, out=out, device="cpu")


def test_whole_videos_are_trained_on_and_scored_with_flow(outcome, dataset):
    assert outcome.evaluation.clips == 2
    assert "video_mAP@0.5" in outcome.to_plain()
    model = checkpoint.build_model(outcome.last).model
    assert model.channels_in == 5
    assert model.backbone.conv_1a.conv.weight.shape[1] == 5
    assert main(["eval", str(outcome.run), "--data", str(dataset)]) == 0


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flow_reaches_the_model_as_displacements(flip, fused, dataset):
    recipe = load_recipe("cfad_tiny_jhmdb", [*fused, f"augment.flip={flip}"])
    batch = next(training_batches(recipe, dataset_of(recipe, dataset), ALONE, start=0, caches={}))
    clips, targets = to_device(batch, torch.device("cpu"), channels=5)
    assert clips.shape == (2, 5, 16, 96, 128)
    for clip, info, tracks in zip(clips, batch.clips_info, targets.tracks, strict=True):
        walks = info.video.startswith("walk")
        # 3 pixels of 64 to the right, or 2 of 48 down, at twice the size and in parts of 20.
        across, down = (6 / 20, 0.0) if walks else (0.0, 4 / 20)
        wanted = [-across if flip else across, down]
        for frame in (0, 5, 13):  # every frame of the video comes twice; its last has no flow
            x1, y1, x2, y2 = tracks.boxes[0, frame].int().tolist()
            found = clip[3:, frame, (y1 + y2) // 2, (x1 + x2) // 2]
            assert found.tolist() == pytest.approx(wanted, abs=1e-3)
        assert not clip[3:, 14:].any()
        assert not clip[3:, :, 0, 0].any()


def test_flow_can_be_given_by_video(outcome, fused, dataset, known_flow, tmp_path):
    """As where it is computed for a video that is no part of a dataset."""
    model = checkpoint.build_model(outcome.last).model.eval()
    found = []
    for folder in (known_flow, tmp_path / "nowhere"):
        recipe = load_recipe("cfad_tiny_jhmdb", [*fused, f"data.flow={folder}"])
        videos = dataset_of(recipe, dataset).test
        given = {each.video: open_flow(known_flow, each) for each in videos}
        with torch.inference_mode():
            made = predictions(
                model,
                recipe,
                videos,
                evaluation_samples(recipe, videos),
                caches={},
                device=torch.device("cpu"),
                flows=None if folder == known_flow else given,
            )
            found.append([tubes for _, tubes in made])
    assert len(found[0]) == 2
    for one, other in zip(*found, strict=True):
        assert len(one) > 0
        assert torch.equal(one.boxes, other.boxes)


def test_a_video_of_ones_own_gets_its_flow_computed(outcome, dataset, tmp_path):
    pytest.importorskip("cv2", reason="flow needs the extra `flow` of stad-data")
    video = next((dataset / "videos").rglob("*.mp4"))
    options = ["--checkpoint", str(outcome.run), "--out", str(tmp_path), "--min-score", "0"]
    assert main(["detect", str(video), *options]) == 0
    found = read_tubes_json(tmp_path / f"{video.stem}.json")
    assert len(found.tubes) > 0


def test_flow_that_is_not_there_or_not_wanted_is_told(fused, dataset, known_flow, tmp_path):
    absent = load_recipe("cfad_tiny_jhmdb", [*fused, f"data.flow={tmp_path}"])
    with pytest.raises(InputError, match="has no flow"):
        train(absent, data=dataset, out=tmp_path / "a", device="cpu")
    for numbers, message in (
        ((TRUNK.format(5),), "cfad_tiny needs optical flow"),
        ((TRUNK.format(3), f"data.flow={known_flow}"), "cfad_tiny takes no optical flow"),
    ):
        with pytest.raises(InputError, match=message):
            train(
                load_recipe("cfad_tiny_jhmdb", [*SMALL, *numbers]),
                data=dataset,
                out=tmp_path / "b",
                device="cpu",
            )


def test_published_recipes_take_flow_by_two_settings():
    classes = ActionClasses(names=("walk", "sit"), ids=(1, 2), exclusive=True)
    for name in ("cfad_ucf24", "cfad_jhmdb", "cfad_ucfsports"):
        recipe = load_recipe(name, ["data.flow=FLOW", "model.options.channels_in=5"])
        with torch.device("meta"):
            model = build_detector(recipe.model, recipe.clip, classes)
        check_channels(model, recipe)
        assert model.backbone.conv_1a.conv.weight.shape[1] == 5
