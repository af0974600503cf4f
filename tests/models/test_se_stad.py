import copy
from dataclasses import replace

import pytest
import torch

from stad_models import SeStad, SeStadOptions, freeze_batch_norm, zoo
from stad_models.heads.action import LinearAction

LOSSES = {"actor_class", "actor_box", "actor_centerness", "action"}
# A fresh head scores every location at about 0.07; these options let such proposals through.
OPEN = SeStadOptions(train_score=0.01, positive_iou=0.05, test_score=0.05)


def clips_of(count: int, *, width=128, height=96, frames=8) -> torch.Tensor:
    return torch.randn(count, 3, frames, height, width)


def detect(model: SeStad, clips: torch.Tensor):
    model.eval()
    with torch.no_grad():
        return model(clips)


@pytest.mark.parametrize("counts", [(2, 1), (0, 0), (0, 3)])
@pytest.mark.parametrize("options", [SeStadOptions(add_ground_truth=False), OPEN])
@pytest.mark.parametrize("exclusive", [True, False])
def test_every_parameter_gets_a_gradient_whatever_is_annotated(
    make_targets, counts, options, exclusive
):
    model = zoo.se_stad_tiny(5, exclusive=exclusive, options=options).train()
    losses = model(clips_of(len(counts)), make_targets(counts))
    assert set(losses) == LOSSES
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert missing == []
    if sum(counts) == 0:
        assert losses["action"].item() == losses["actor_box"].item() == 0


@pytest.mark.parametrize(("width", "height", "frames"), [(128, 96, 8), (117, 75, 5), (64, 33, 1)])
def test_any_size_trains_and_predicts(make_targets, width, height, frames):
    model = zoo.se_stad_tiny(5, options=OPEN)
    clips = clips_of(2, width=width, height=height, frames=frames)
    losses = model(clips, make_targets((1, 2), size=(width, height)))
    assert all(loss.isfinite() for loss in losses.values())
    found = detect(model, clips)
    assert len(found) == 2
    for clip in found:
        assert 0 < len(clip) <= model.options.max_actors
        assert clip.boxes.shape == (len(clip), 4)
        assert clip.scores.shape == (len(clip), 5)
        assert (clip.boxes[:, :2] >= 0).all()
        assert (clip.boxes[:, 2:] <= torch.tensor([width, height])).all()
        assert (clip.boxes[:, 2:] > clip.boxes[:, :2]).all()
        assert (clip.actor_scores.diff() <= 0).all()


def test_exclusive_scores_sum_to_one_and_others_are_free():
    clips = clips_of(1)
    exclusive = zoo.se_stad_tiny(5, exclusive=True, options=replace(OPEN, action_threshold=0.0))
    for scores in detect(exclusive, clips)[0].scores:
        assert scores.sum().item() == pytest.approx(1, abs=1e-5)
    free = zoo.se_stad_tiny(5, options=OPEN)
    free.load_state_dict(exclusive.state_dict())
    torch.nn.init.constant_(free.action_head.projection.bias, 9.0)
    assert (detect(free, clips)[0].scores > 0.9).all()


def test_scores_below_the_action_threshold_become_zero():
    model = zoo.se_stad_tiny(5, options=replace(OPEN, action_threshold=0.1))
    free = zoo.se_stad_tiny(5, options=replace(OPEN, action_threshold=0.0))
    free.load_state_dict(model.state_dict())
    clips = clips_of(1)
    cut, full = detect(model, clips)[0].scores, detect(free, clips)[0].scores
    assert torch.equal(cut, full.where(full >= 0.1, 0.0))
    assert 0 < (cut == 0).sum() < cut.numel()


def test_scores_may_carry_the_actors_score():
    model = zoo.se_stad_tiny(5, options=OPEN)
    clips = clips_of(1)
    plain = detect(model, clips)[0]
    for rule, power in (("action*actor", 1), ("action*actor^2", 2), ("action*actor^3", 3)):
        model.options = replace(OPEN, score=rule)
        joint = detect(model, clips)[0]
        wanted = plain.scores * plain.actor_scores[:, None] ** power
        torch.testing.assert_close(joint.scores, wanted.where(wanted >= 0.002, 0.0))


def test_votes_move_boxes_and_classify_them_where_they_end():
    torch.manual_seed(3)
    model = zoo.se_stad_tiny(5, options=replace(OPEN, test_nms=0.2))
    clips = clips_of(1)
    plain = detect(model, clips)[0]
    model.options = replace(model.options, test_vote=0.3)
    voted = detect(model, clips)[0]
    assert torch.equal(voted.actor_scores, plain.actor_scores)
    assert not torch.allclose(voted.boxes, plain.boxes)
    rois = torch.cat((torch.zeros(len(voted.boxes), 1), voted.boxes), dim=1)
    with torch.inference_mode():
        logits = model.classify(model.localise(clips)[0], rois)
    scores = logits.sigmoid()
    torch.testing.assert_close(voted.scores, scores.where(scores >= 0.002, 0.0))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="test_vote"):
        SeStadOptions(test_vote=1.5)
    with pytest.raises(ValueError, match="found 'actor'"):
        SeStadOptions(score="actor")


def test_nobody_found_gives_empty_detections():
    found = detect(zoo.se_stad_tiny(5, options=SeStadOptions(test_score=0.99)), clips_of(2))
    assert [tuple(clip.scores.shape) for clip in found] == [(0, 5), (0, 5)]
    assert found[0].boxes.shape == (0, 4)


def test_detections_do_not_depend_on_the_rest_of_the_batch():
    model = zoo.se_stad_tiny(5, options=OPEN)
    clips = clips_of(3)
    together = detect(model, clips)
    for clip, expected in zip(clips, together, strict=True):
        (alone,) = detect(model, clip[None])
        torch.testing.assert_close(alone.boxes, expected.boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(alone.scores, expected.scores, atol=1e-4, rtol=1e-4)


def test_losses_carry_their_weights(make_targets):
    model = zoo.se_stad_tiny(5, dropout=0.0).eval()
    clips, targets = clips_of(2), make_targets((1, 2))
    published = model(clips, targets)
    model.options = SeStadOptions(actor_weight=2.0, action_weight=1.0)
    other = model(clips, targets)
    torch.testing.assert_close(other["actor_box"], 2 * published["actor_box"])
    torch.testing.assert_close(10 * other["action"], published["action"])


def test_a_step_is_deterministic(make_targets):
    model = zoo.se_stad_tiny(5, options=OPEN, dropout=0.3)
    clips, targets = clips_of(2), make_targets((2, 1))
    grads = []
    for twin in (copy.deepcopy(model), copy.deepcopy(model)):
        torch.manual_seed(7)
        sum(twin(clips, targets).values()).backward()
        grads.append([weight.grad for weight in twin.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_proposals_teach_the_action_head_but_get_no_gradient_from_it(make_targets):
    model = zoo.se_stad_tiny(5, options=replace(OPEN, add_ground_truth=False))
    model(clips_of(2), make_targets((2, 2)))["action"].backward()
    assert model.action_head.projection.weight.grad.any()
    head = [weight.grad for weight in model.localisation_head.parameters()]
    assert all(grad is None for grad in head)


def test_low_precision_trains_and_predicts(make_targets):
    model = zoo.se_stad_tiny(5, options=OPEN)
    clips, targets = clips_of(2), make_targets((1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(clips, targets)
        found = detect(model, clips)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert found[0].scores.dtype == found[0].boxes.dtype == torch.float32


def test_frozen_statistics_are_not_touched_by_training(make_targets):
    model = freeze_batch_norm(zoo.se_stad_tiny(5)).train()
    before = {name: value.clone() for name, value in model.backbone.named_buffers()}
    sum(model(clips_of(2), make_targets((1, 1))).values()).backward()
    for name, value in model.backbone.named_buffers():
        assert torch.equal(value, before[name]), name


def test_a_wrong_batch_is_refused(make_targets):
    model = zoo.se_stad_tiny(5)
    with pytest.raises(ValueError, match=r"must be \[N, 3, T, H, W\], found \[2, 8, 3, 96, 128\]"):
        model(torch.zeros(2, 8, 3, 96, 128))
    with pytest.raises(TypeError, match=r"floating point, found torch.uint8"):
        model(torch.zeros((1, 3, 8, 32, 32), dtype=torch.uint8))
    with pytest.raises(ValueError, match="targets of 1 clips for a batch of 2"):
        model(clips_of(2), make_targets((1,)))
    with pytest.raises(ValueError, match="have 4 classes, the model has 5"):
        model(clips_of(1), make_targets((1,), num_classes=4))


def test_the_scene_joins_the_action_head_where_asked(make_targets):
    plain, scenic = zoo.se_stad_tiny(5), zoo.se_stad_tiny(5, context=True)
    width = plain.action_head.projection.in_features
    assert scenic.action_head.projection.in_features == 2 * width
    maps = [torch.randn(2, width, 4, 6, 8)]
    rois = torch.tensor([[1.0, 0.0, 0.0, 64.0, 64.0], [0.0, 16.0, 16.0, 80.0, 64.0]])
    scenic.eval().action_head.projection.weight.data[:, :width] = 0  # the scene alone
    logits = scenic.action_head(maps, rois)
    scene = maps[0].mean(dim=(2, 3, 4))[[1, 0]]
    projection = scenic.action_head.projection
    expected = scene @ projection.weight[:, width:].T + projection.bias
    torch.testing.assert_close(logits, expected)
    losses = scenic.train()(clips_of(2), make_targets((1, 2)))
    assert all(loss.isfinite() for loss in losses.values())


def test_actions_start_rare():
    logits = zoo.se_stad_tiny(5).action_head.projection.bias
    torch.testing.assert_close(logits.sigmoid(), torch.full((5,), 0.1))


def test_a_grid_tells_what_moves_where():
    channels = 4
    head = LinearAction(channels, 3, stride=16, grid=3).eval()
    assert head.projection.in_features == 9 * channels
    left = torch.zeros(1, channels, 2, 6, 8)
    left[..., 3, 1] = 1.0
    rois = torch.tensor([[0.0, 0.0, 0.0, 128.0, 96.0], [0.0, 32.0, 16.0, 96.0, 80.0]])
    assert not torch.allclose(head([left], rois[:1]), head([left.flip(-1)], rois[:1]))
    plain = LinearAction(channels, 3, stride=16).eval()
    torch.testing.assert_close(plain([left], rois[:1]), plain([left.flip(-1)], rois[:1]))
    assert head([left], rois[:0]).shape == (0, 3)
