"""The synthetic world's truth: what moves how, and that a single frame does not tell."""

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.synthetic import ACTIONS, FLIP_PAIRS, Scene, flip_pairs, simulate
from stad_data.synthetic.actions import (
    FAMILIES,
    FAMILY_OF,
    INTERACTIONS,
    PERIODS,
    SHAPES,
    SINGLE_ACTIONS,
    states,
)
from stad_data.synthetic.ava_files import keyframes
from stad_data.synthetic.body import JOINTS, LIMB_COVERS, Pose, extents, joints
from stad_data.synthetic.casting import Stage, free_cast
from stad_data.synthetic.films import Parameters, plan
from stad_data.synthetic.renderer import Renderer
from stad_data.synthetic.scene import generator
from stad_eval import InputError

COLUMN = {name: place for place, name in enumerate(ACTIONS)}
HIPS = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [simulate(3, index=index) for index in range(40)]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(SINGLE_ACTIONS),
    st.floats(0, 1),
    st.sampled_from([-1.0, 1.0]),
)
def test_an_action_takes_over_the_pose_and_then_visits_all_poses_alike(action, start, sense):
    period = float(np.mean(PERIODS[action]))
    seconds = np.arange(0, 4000) * period / 1000
    values = states(action, start, seconds, period=period, sense=sense)
    apart = abs(values[0] - start)
    assert min(apart, 1 - apart if SHAPES[action] == "turn" else apart) < 1e-9
    assert values.min() >= 0
    assert values.max() <= 1
    shares = np.histogram(values, bins=10, range=(0, 1))[0] / len(values)
    np.testing.assert_allclose(shares, 0.1, atol=0.005)


def test_raising_and_lowering_are_each_others_time_reversal():
    seconds = np.arange(1000) / 1000
    up = states("raise_arms", 0.0, seconds, period=1.0, sense=1.0)
    down = states("lower_arms", 0.0, seconds, period=1.0, sense=1.0)
    np.testing.assert_allclose(down[1:], up[:0:-1], atol=1e-9)
    assert (np.diff(up) > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_flip_pairs_are_found_in_either_spelling_and_in_no_other_dataset():
    assert flip_pairs(ACTIONS) == tuple((COLUMN[a], COLUMN[b]) for a, b in FLIP_PAIRS)
    assert flip_pairs(["WindmillCcw", "Stand", "WindmillCw"]) == ((2, 0),)
    assert flip_pairs(["walk", "walk_left"]) == ()


def test_mirroring_a_body_swaps_its_sides_so_that_it_faces_nowhere():
    state = np.linspace(0, 1, 50)
    still = np.zeros(50)
    common = {"lean": still, "width": 1.1}
    one = joints(
        Pose(
            arms="mirrored", arms_state=state, legs="knees", legs_state=state, bend=still, **common
        )
    )
    swapped = [
        JOINTS.index(name.replace("left", "*").replace("right", "left").replace("*", "right"))
        for name in JOINTS
    ]
    np.testing.assert_allclose(one[:, swapped] * [-1, 1], one, atol=1e-12)
    walk = joints(
        Pose(arms="mirrored", arms_state=state, legs="gait", legs_state=state, bend=still, **common)
    )
    # The mirror image of a step is the step run backwards: same poses, opposite way.
    np.testing.assert_allclose(
        np.sort(walk[:-1, JOINTS.index("left_foot"), 0]),
        np.sort(-walk[:-1, JOINTS.index("right_foot"), 0]),
        atol=1e-9,
    )


def test_extents_hold_every_capsule_tightly():
    pose = Pose(
        arms="opposite",
        arms_state=np.linspace(0, 1, 9),
        legs="gait",
        legs_state=np.linspace(0, 1, 9),
        lean=np.zeros(9),
        bend=np.zeros(9),
        width=1.0,
    )
    body = joints(pose)
    radii = np.full((9, len(LIMB_COVERS), 2), 0.05)
    boxes = extents(body, radii)
    np.testing.assert_allclose(boxes[:, :2], body.min(axis=1) - 0.05, atol=1e-12)
    np.testing.assert_allclose(boxes[:, 2:], body.max(axis=1) + 0.05, atol=1e-12)


def _digest(scene: Scene) -> str:
    parts = [scene.camera, *(a.joints for a in scene.actors), *(a.labels for a in scene.actors)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def test_a_video_depends_on_its_seed_part_and_index_alone():
    first = _digest(simulate(5, index=7))
    simulate(6, index=1)
    assert _digest(simulate(5, index=7)) == first
    others = [simulate(6, index=7), simulate(5, index=8), simulate(5, part="test", index=7)]
    assert len({first, *map(_digest, others)}) == 4


def test_scenes_hold_one_to_three_actors_with_boxes_in_the_frame(scenes):
    assert {len(scene.actors) for scene in scenes} == {1, 2, 3}
    heights = []
    for scene in scenes:
        assert 8 * 12 <= scene.num_frames <= 14 * 12
        for number, actor in enumerate(scene.actors):
            boxes, seen = scene.boxes(number), scene.visible(number)
            assert (boxes >= 0).all()
            assert (boxes <= [160, 120, 160, 120]).all()
            assert ((boxes[:, 2:] - boxes[:, :2])[seen] > 3).all()
            assert (actor.extents[:, 2:] > actor.extents[:, :2]).all()
            heights.append((boxes[:, 3] - boxes[:, 1])[seen])
    tall = np.concatenate(heights)
    assert np.quantile(tall, 0.05) > 30
    assert np.quantile(tall, 0.95) < 80
    visible = [scene.visible(n).mean() for scene in scenes for n in range(len(scene.actors))]
    assert np.mean(visible) > 0.9


def test_actors_mostly_keep_clear_of_each_other(scenes):
    overlaps = []
    for scene in scenes:
        for one, other in itertools.combinations(range(len(scene.actors)), 2):
            a, b = scene.boxes(one), scene.boxes(other)
            shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
            union = (
                np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
            ).clip(1e-9)
            overlaps.append(np.prod(shared.clip(0), axis=1) / union)
    assert (np.concatenate(overlaps) > 0.2).mean() < 0.05


def test_every_actor_has_a_label_in_every_frame_and_no_two_of_one_channel(scenes):
    arms = [COLUMN[a] for a in SINGLE_ACTIONS if FAMILY_OF[a] in ("mirrored", "opposite")]
    legs = [COLUMN[a] for a in SINGLE_ACTIONS if FAMILY_OF[a] in ("gait", "knees")]
    multi = []
    for scene in scenes:
        for actor in scene.actors:
            labels = actor.labels
            idle = labels[:, COLUMN["stand"]]
            assert labels.any(axis=1).all()
            assert (labels[idle].sum(axis=1) == 1).all()
            assert (labels[:, arms].sum(axis=1) <= 1).all()
            assert (labels[:, legs].sum(axis=1) <= 1).all()
            multi.append((labels.sum(axis=1) > 1).mean())
    assert 0.1 < np.mean(multi) < 0.7


def test_actions_start_and_stop_inside_the_video(scenes):
    starts = stops = 0
    for scene in scenes:
        for actor in scene.actors:
            active = np.delete(actor.labels, COLUMN["stand"], axis=1).astype(int)
            starts += (np.diff(active, axis=0) > 0).sum()
            stops += (np.diff(active, axis=0) < 0).sum()
    actors = sum(len(scene.actors) for scene in scenes)
    assert starts > 2 * actors
    assert stops > 2 * actors


def test_walkers_move_as_their_label_says_and_the_others_stay(scenes):
    for scene in scenes:
        for actor in scene.actors:
            x = actor.joints[:, HIPS, 0].mean(axis=1) - scene.camera[:, 0]
            velocity = np.diff(x) * scene.fps
            left, right = (actor.labels[1:, COLUMN[f"walk_{side}"]] for side in ("left", "right"))
            assert (velocity[left] < -8).all()
            assert (velocity[right] > 8).all()
            assert (np.abs(velocity[~left & ~right]) < 1e-6).all()


def test_interactions_are_mutual_and_change_the_distance(scenes):
    seen = dict.fromkeys(INTERACTIONS, 0)
    for scene in scenes:
        hips = np.stack([a.joints[:, HIPS, 0].mean(axis=1) for a in scene.actors])
        for name, sign in (("approach", -1), ("part", 1)):
            on = np.stack([a.labels[:, COLUMN[name]] for a in scene.actors])
            assert (on.sum(axis=0) != 1).all()
            seen[name] += on.any(axis=0).sum()
            for one, other in itertools.combinations(range(len(hips)), 2):
                both = (on[one] & on[other])[1:]
                neighbours = len(hips) == 2
                change = np.diff(np.abs(hips[one] - hips[other]))
                assert not neighbours or (sign * change[both] > 0).all()
    assert min(seen.values()) > 50


def test_no_action_has_poses_of_its_own():
    """Within a family the channel's state has one distribution, whatever the actor does."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for index in range(600):
        rng = np.random.default_rng(index)
        stage = Stage(size=(160, 120), fps=12.0, frames=120)
        for role in free_cast(rng, np.full(7, 0.5), index, stage):
            for channel in (role.arms, role.legs):
                rest = np.ones(channel.state.size, dtype=bool)
                by_action = found.setdefault(channel.family, {})
                for run in channel.runs:
                    rest[run.start : run.stop] = False
                    taken = channel.state[run.start : run.stop]
                    by_action.setdefault(run.action, []).append(taken)
                by_action.setdefault("idle", []).append(channel.state[rest])
    grid = np.linspace(0, 1, 21)
    for family, by_action in found.items():
        assert set(by_action) == {*FAMILIES[family], "idle"}
        for name, parts in by_action.items():
            values = np.concatenate(parts)
            cumulated = (values[:, None] <= grid).mean(axis=0)
            assert np.abs(cumulated - grid).max() < 0.08, (family, name)


def test_the_default_dataset_has_every_class_and_a_long_tail():
    parameters = Parameters(
        seed=0,
        videos=90,
        test_videos=36,
        size=(160, 120),
        fps=12,
        seconds=(8, 14),
        layouts=("ava",),
    )
    counts = {"train": np.zeros(len(ACTIONS), int), "test": np.zeros(len(ACTIONS), int)}
    actors = set()
    for film in plan(parameters):
        scene = film.scene(parameters)
        actors.add(len(scene.actors))
        for number, actor in enumerate(scene.actors):
            frames = keyframes(scene)
            counts[film.part] += actor.labels[frames[scene.visible(number)[frames]]].sum(axis=0)
    assert actors == {1, 2, 3}
    assert counts["train"].min() >= 40
    assert counts["test"].min() >= 15
    assert 5 <= counts["train"].max() / counts["train"].min() <= 14


def test_single_label_films_share_the_classes_out_by_frequency():
    parameters = Parameters(
        seed=0,
        videos=90,
        test_videos=12,
        size=(160, 120),
        fps=12,
        seconds=(8, 14),
        layouts=("jhmdb", "ucf24"),
    )
    films = plan(parameters)
    for layout in ("jhmdb", "ucf24"):
        train = [f.label for f in films if f.layout == layout and f.part == "train"]
        test = [f.label for f in films if f.layout == layout and f.part == "test"]
        assert len(train) == 90
        assert set(train) == set(test) == set(SINGLE_ACTIONS)
        assert train.count("raise_arms") >= 4 * train.count("rise_up")
    assert len({(f.layout, f.name) for f in films}) == len(films)


def test_trimmed_clips_show_one_actor_who_performs_throughout():
    for index, label in enumerate(SINGLE_ACTIONS):
        scene = simulate(1, layout="jhmdb", index=index, label=label)
        assert len(scene.actors) == 1
        assert 15 <= scene.num_frames <= 40
        assert scene.actors[0].performs.all()
        expected = np.zeros(len(ACTIONS), bool)
        expected[COLUMN[label]] = True
        assert (scene.actors[0].labels == expected).all()


def test_untrimmed_videos_of_one_action_have_it_in_runs():
    paused = 0
    for index, label in enumerate(SINGLE_ACTIONS * 3):
        scene = simulate(1, layout="ucf24", index=index, label=label)
        assert any(actor.performs.any() for actor in scene.actors)
        for number, actor in enumerate(scene.actors):
            active = actor.labels[:, COLUMN[label]]
            assert (actor.performs == (active & scene.visible(number))).all()
            paused += active.any() and not active.all()
            shown = {ACTIONS[column] for column in np.flatnonzero(actor.labels.any(axis=0))}
            assert shown <= {label, "stand"}
    assert paused > len(SINGLE_ACTIONS) * 2


def test_frames_are_a_pure_function_of_their_index():
    scene = simulate(2, index=1)
    one = Renderer(scene, generator(2, "ava", "train", 1, "look"))
    other = Renderer(scene, generator(2, "ava", "train", 1, "look"))
    other.frame(40)
    picture = one.frame(17)
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, other.frame(17))
    assert (picture != one.frame(18)).mean() > 0.3
    assert 20 < picture.mean() < 235


def test_masks_fill_the_annotated_boxes():
    for index in range(6):
        scene = simulate(4, layout="jhmdb", index=index, label="windmill_cw")
        renderer = Renderer(scene, generator(4, "jhmdb", "train", index, "look"))
        for frame in range(0, scene.num_frames, 5):
            mask = renderer.mask(0, frame)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(tight, scene.boxes(0)[frame], atol=1.6)
            assert set(np.unique(mask)) == {0, 1}


def test_actors_are_drawn_where_their_masks_are_and_nowhere_else():
    scene = simulate(4, layout="jhmdb", index=0, label="walk_left")
    moved = dataclasses.replace(scene.actors[0], joints=scene.actors[0].joints - [25.0, 4.0])
    other = dataclasses.replace(scene, actors=(moved,))
    one, two = (Renderer(s, generator(4, "jhmdb", "train", 0, "look")) for s in (scene, other))
    changed = (one.frame(3) != two.frame(3)).any(axis=-1)
    bodies = (one.mask(0, 3) | two.mask(0, 3)).astype(bool)
    assert one.mask(0, 3).sum() > 150
    assert changed[bodies].mean() > 0.9
    # Half-covered pixels round the bodies are no part of the masks.
    rim = np.pad(bodies, 1)
    near = rim[:-2, 1:-1] | rim[2:, 1:-1] | rim[1:-1, :-2] | rim[1:-1, 2:] | bodies
    assert not changed[~near].any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("videos", 0),
        ("test_videos", 0),
        ("size", (161, 120)),
        ("size", (32, 120)),
        ("fps", 12.5),
        ("fps", 2),
        ("seconds", (5, 4)),
        ("seconds", (1, 4)),
        ("layouts", ()),
        ("layouts", ("ava", "kinetics")),
        ("layouts", ("ava", "ava")),
    ],
)
def test_parameters_out_of_range_are_named(field, value):
    good = {
        "seed": 0,
        "videos": 1,
        "test_videos": 1,
        "size": (160, 120),
        "fps": 12,
        "seconds": (8, 14),
        "layouts": ("ava",),
    }
    assert Parameters.from_json(Parameters(**good).to_json()) == Parameters(**good)
    with pytest.raises(InputError, match=field):
        Parameters(**{**good, field: value})
