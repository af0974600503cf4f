import dataclasses
import itertools

import pytest
import torch
from torch.nn.functional import softplus

from stad_models import zoo
from stad_models.backbones.dla import Dla
from stad_models.detectors.moc import Moc, MocOptions
from stad_models.detectors.stma import Stma
from stad_models.detectors.stma_options import StmaOptions
from stad_models.heads.location_actions import LocationActions
from stad_models.heads.tubelet import TubeletHead
from stad_models.heads.tubelet_boxes import background_cells
from stad_models.heads.tubelet_targets import grid_actors
from stad_models.zoo.tubelets import TINY_CLIP_TRUNK, TINY_DLA

NARROW = dataclasses.replace(TINY_DLA, widths=(4, 4, 6, 8, 8))
NARROW_CLIP = dataclasses.replace(TINY_CLIP_TRUNK, stem_width=4, widths=(4, 6, 8, 8))
OFF = StmaOptions(
    class_agnostic=False,
    motion_excitation=False,
    aggregation=False,
    gaussian_size=False,
    gaussian_movement=False,
)
# The rows of Tables 2 and 3, as switches that are on.
ROWS = {
    "base": (),
    "CAL": ("class_agnostic",),
    "CAL+ME": ("class_agnostic", "motion_excitation"),
    "CAL+STA": ("class_agnostic", "aggregation"),
    "CAL+ME+STA": ("class_agnostic", "motion_excitation", "aggregation"),
    "CAL+ME+GR": ("class_agnostic", "motion_excitation", "gaussian_size", "gaussian_movement"),
    "GR size": ("gaussian_size",),
    "GR movement": ("gaussian_movement",),
    "GR": ("gaussian_size", "gaussian_movement"),
    "all": (
        "class_agnostic",
        "motion_excitation",
        "aggregation",
        "gaussian_size",
        "gaussian_movement",
    ),
}


def narrow(options=None, **numbers) -> Stma:
    return zoo.stma_tiny(
        3,
        options=options,
        trunk=NARROW,
        clip_trunk=NARROW_CLIP,
        hidden=8,
        coarse=(8, 8),
        width=12,
        **{"clip_length": 8, **numbers},
    )


def switched(*names, **numbers) -> StmaOptions:
    return dataclasses.replace(OFF, **dict.fromkeys(names, True), **numbers)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_tables_trains_and_finds(row, random_targets):
    names = ROWS[row]
    model = narrow(switched(*names))
    clips = torch.randn(2, 3, 8, 48, 64)
    losses = model(clips, random_targets((2, 1)))
    branch = {"action"} if "class_agnostic" in names else set()
    assert set(losses) == {"center", "movement", "size"} | branch
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert model.sees_clip == ("aggregation" in names)
    for tubelets in model.eval()(clips):
        assert tubelets.first == 2
        assert tubelets.boxes.shape[1:] == (5, 4)
        assert len(tubelets) <= (10 if branch else 100)
        assert ((tubelets.scores >= 0) & (tubelets.scores <= 1)).all()


def test_with_all_switches_off_it_is_moc(random_targets):
    model = narrow(OFF)
    backbone = Dla(NARROW)
    moc = Moc(
        backbone,
        TubeletHead(backbone.channels, length=5, centers=3, hidden=8),
        num_classes=3,
        exclusive=True,
        clip_length=8,
        clip_stride=1,
        options=MocOptions(),
    )
    moc.load_state_dict(model.state_dict())
    clips, targets = torch.randn(2, 3, 8, 48, 64), random_targets((2, 1))
    ours, theirs = model(clips, targets), moc(clips, targets)
    assert set(ours) == set(theirs)
    for name, loss in ours.items():
        torch.testing.assert_close(loss, theirs[name])
    for one, other in zip(model.eval()(clips), moc.eval()(clips), strict=True):
        torch.testing.assert_close(one.boxes, other.boxes)
        torch.testing.assert_close(one.scores, other.scores)


def test_weights_are_those_of_the_paper(random_targets):
    paper = StmaOptions()
    assert (paper.action_weight, paper.center_weight) == (0.01, 1.0)
    assert (paper.regression, paper.size_weight, paper.limit) == (0.5, 0.1, 10)
    assert (OFF.regression, OFF.limit) == (1.0, 100)
    assert switched("gaussian_size").regression == 0.5
    assert switched("class_agnostic", max_tubelets=7, regression_weight=2.0).limit == 7
    plain = dataclasses.replace(paper, action_weight=1.0, regression_weight=1.0, size_weight=1.0)
    one, other = narrow(paper), narrow(plain)
    other.load_state_dict(one.state_dict())
    clips, targets = torch.randn(1, 3, 8, 48, 64), random_targets((2,))
    weighed, whole = one(clips, targets), other(clips, targets)
    for name, factor in (("center", 1), ("action", 0.01), ("movement", 0.5), ("size", 0.05)):
        torch.testing.assert_close(weighed[name], whole[name] * factor)


@pytest.mark.parametrize("length", [1, 3, 5, 7])
def test_every_length_of_tubelets(length, random_targets):
    model = narrow(tubelet_length=length)
    clips = torch.randn(1, 3, 8, 32, 48)
    losses = model(clips, random_targets((1,), length=length, size=(48, 32)))
    assert all(loss.isfinite() for loss in losses.values())
    (found,) = model.eval()(clips)
    assert found.boxes.shape[1] == length
    assert found.first == 4 - length // 2


def test_actions_are_read_at_the_center(random_targets):
    model = narrow(switched("class_agnostic", "gaussian_size")).eval()
    clips = torch.randn(2, 3, 8, 48, 64)
    frames = clips[:, :, 2:7].transpose(1, 2).flatten(0, 1)
    maps = tuple(x.unflatten(0, (2, 5)) for x in model.frame_maps(frames))
    logits = model.action_head(maps[2])
    assert logits.shape == (2, 3, 3, 4)
    cells = torch.tensor([[15, 11], [0, 4]])  # cells of stride 4; the logits have stride 16
    found = model.action_logits(maps, torch.tensor([0, 1]), cells)
    torch.testing.assert_close(found[0], logits[0, :, 2, 3])
    torch.testing.assert_close(found[1], logits[1, :, 1, 0])


def test_scores_are_those_of_the_center_times_the_action():
    clips = torch.randn(1, 3, 8, 48, 64)
    for exclusive in (True, False):
        model = narrow(exclusive=exclusive).eval()
        (found,) = model(clips)
        centers = model.points(
            tuple(
                x.unflatten(0, (1, 5))
                for x in model.frame_maps(clips[:, :, 2:7].transpose(1, 2).flatten(0, 1))
            ),
            (64, 48),
        ).centers.sigmoid()
        if exclusive:  # probabilities of actions sum to 1, so those of a tubelet to its center's
            best = found.scores.sum(dim=1)
            assert best[0].item() == pytest.approx(centers.max().item(), rel=1e-5)
        else:
            assert (found.scores.amax(dim=1) <= centers.max() + 1e-6).all()


def test_background_takes_a_share_of_the_score():
    clips = torch.randn(1, 3, 8, 48, 64)
    for exclusive in (True, False):
        model = narrow(exclusive=exclusive).eval()
        (plain,) = model(clips)
        model.options = dataclasses.replace(model.options, background_centers=2)
        (found,) = model(clips)
        assert torch.equal(found.boxes, plain.boxes)
        if not exclusive:
            assert torch.equal(found.scores, plain.scores)
            continue
        # "No action" has the logit 0: logits are shares against it.
        center = plain.scores.sum(dim=1, keepdim=True)
        nothing = center - found.scores.sum(dim=1, keepdim=True)
        assert (nothing > 0).all()
        shares = (found.scores / nothing).log().softmax(dim=1)
        torch.testing.assert_close(shares, plain.scores / center)


@pytest.mark.parametrize("exclusive", [True, False])
def test_background_trains_the_action_branch_where_nobody_acts(random_targets, exclusive):
    clips = torch.randn(2, 3, 8, 48, 64)
    options = StmaOptions(action_weight=1.0, background_centers=2)
    model = narrow(options, exclusive=exclusive)
    losses = model(clips, random_targets((0, 0)))
    assert losses["movement"] == losses["size"] == 0
    assert losses["action"] > 0
    losses["action"].backward()
    assert all(weight.grad.isfinite().all() for weight in model.action_head.parameters())
    # The places come from the map of centers, but teach it nothing.
    assert all(weight.grad is None for weight in model.tubelet_head.parameters())


def test_background_counts_as_much_as_actors(random_targets):
    clips, targets = torch.randn(2, 3, 8, 48, 64), random_targets((2, 0))
    options = StmaOptions(action_weight=1.0, background_centers=2)
    model = narrow(options, exclusive=False).eval()
    together = model(clips, targets)["action"]
    model.options = dataclasses.replace(options, background_centers=0)
    alone = model(clips, targets)["action"]
    maps = tuple(
        x.unflatten(0, (2, 5))
        for x in model.frame_maps(clips[:, :, 2:7].transpose(1, 2).flatten(0, 1))
    )
    maps = (*maps, *model.clip_maps(clips))
    actors = grid_actors(targets, stride=4, size=(64, 48))
    heat = model.points(maps, (64, 48)).centers.sigmoid()
    logits = model.action_logits(maps, *background_cells(heat, actors, 2))
    assert len(logits) == 4
    torch.testing.assert_close(together - alone, softplus(logits).mean())


def test_background_is_told_from_an_actor(random_targets):
    torch.manual_seed(0)
    options = StmaOptions(action_weight=1.0, background_centers=3)
    model = narrow(options)
    clips = torch.randn(2, 3, 8, 48, 64)
    targets = random_targets((1, 0), seed=1)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        loss = model(clips, targets)["action"]
        loss.backward()
        optimizer.step()
    assert loss < 0.3


def test_the_3d_trunk_sees_all_frames():
    model = narrow().eval()
    clips = torch.randn(1, 3, 8, 48, 64)
    other = clips.clone()
    other[:, :, 0] += 1  # outside of the 5 middle frames
    (one,), (two,) = model(clips), model(other)
    assert torch.equal(one.boxes, two.boxes)
    assert not torch.equal(one.scores, two.scores)


@pytest.mark.parametrize("frames", [5, 9, 16])
def test_other_clip_lengths_work(frames):
    (found,) = narrow().eval()(torch.randn(1, 3, frames, 32, 32))
    assert found.first == frames // 2 - 2


@pytest.mark.parametrize("size", [(70, 45), (33, 17)])
def test_frames_of_any_size(size, random_targets):
    width, height = size
    model = narrow()
    clips = torch.randn(1, 3, 8, height, width)
    assert all(loss.isfinite() for loss in model(clips, random_targets((1,), size=size)).values())
    (found,) = model.eval()(clips)
    assert (found.boxes <= torch.tensor((width, height, width, height))).all()


def test_clips_without_anyone(random_targets):
    model = narrow()
    losses = model(torch.randn(2, 3, 8, 48, 64), random_targets((0, 0)))
    assert losses["center"] > 0
    assert losses["movement"] == losses["size"] == losses["action"] == 0
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_more_actors_than_ten(random_targets):
    model = narrow()
    clips = torch.randn(1, 3, 8, 48, 64)
    losses = model(clips, random_targets((13,)))
    assert all(loss.isfinite() for loss in losses.values())
    assert len(model.eval()(clips)[0]) <= 10


def test_clips_shorter_than_a_tubelet_are_refused():
    with pytest.raises(ValueError, match="Stma: clips must have at least the 5 frames"):
        narrow()(torch.randn(1, 3, 3, 32, 32))
    with pytest.raises(ValueError, match="clip_length must be at least the 5 frames"):
        narrow(clip_length=4)


def test_parts_of_a_branch_that_is_off_are_refused():
    for name in ("motion_excitation", "aggregation"):
        with pytest.raises(ValueError, match="parts of the branch that class_agnostic brings"):
            switched(name)
    with pytest.raises(ValueError, match="background_centers must be 0 or more, found -1"):
        StmaOptions(background_centers=-1)
    with pytest.raises(ValueError, match="background_centers train the branch"):
        switched("gaussian_size", background_centers=1)
    with pytest.raises(ValueError, match="max_tubelets must be positive or None, found 0"):
        StmaOptions(max_tubelets=0)


def test_parts_must_agree_with_the_switches():
    full = narrow()
    numbers = {"num_classes": 3, "exclusive": True, "clip_length": 8, "clip_stride": 1}
    parts = (full.backbone, full.tubelet_head, full.action_head, full.clip_backbone)
    wrong = [
        (OFF, "3 kinds of centers and sides, found 1 and distances"),
        (switched("gaussian_size", "class_agnostic"), "3D trunk belongs to aggregation"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            Stma(*parts, **numbers, options=options)
    with pytest.raises(ValueError, match="action branch belongs to class_agnostic"):
        Stma(parts[0], parts[1], None, parts[3], **numbers, options=StmaOptions())
    narrower = LocationActions(6, length=5, num_classes=3, coarse=(8, 8), clip_channels=9)
    with pytest.raises(ValueError, match="must take 8 channels of the 3D trunk, found 9"):
        Stma(parts[0], parts[1], narrower, parts[3], **numbers, options=StmaOptions())
    coarser = LocationActions(6, length=5, num_classes=3, coarse=(8, 8, 8), clip_channels=8)
    with pytest.raises(ValueError, match="action branch's stride 32, found 16"):
        Stma(parts[0], parts[1], coarser, parts[3], **numbers, options=StmaOptions())


def test_switches_change_the_parts_and_nothing_else():
    shapes = {
        row: {
            name: tuple(value.shape)
            for name, value in narrow(switched(*names)).state_dict().items()
        }
        for row, names in ROWS.items()
    }
    assert shapes["GR movement"] == shapes["base"]
    for one, other in itertools.pairwise(("CAL", "CAL+ME", "CAL+ME+STA", "all")):
        same = set(shapes[one]) & set(shapes[other])
        differ = {name for name in same if shapes[one][name] != shapes[other][name]}
        assert set(shapes[one]) <= set(shapes[other])
        assert differ <= {
            "action_head.join.0.weight",
            "tubelet_head.sizes.2.weight",
            "tubelet_head.sizes.2.bias",
        }
