"""Objects followed through a part of a dataset: what is asked, what is kept, what is scored."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from stad_cli.engine.clip_forms import evaluation_samples, followed
from stad_cli.engine.collectors.objects import FollowedObjects, frame_names
from stad_cli.engine.dataset import dataset_of, open_dataset
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluate import clips_of, evaluate, thinned
from stad_cli.engine.mask_evaluation import OWN_CLASSES, protocol_of
from stad_cli.engine.object_evaluation import is_scored, stored_evaluation
from stad_data.object_clips import labelled_objects, object_clip
from stad_eval import read_mask_png, write_mask_png
from stad_models.structures import Maps

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
EXACT = ("data.size=[45, 37]", "data.cache=false")


class Oracle(nn.Module):
    """Answers with the true masks, clip after clip in the order of an evaluation."""

    channels_in = 4

    def __init__(self, recipe, videos):
        super().__init__()
        known = [one for video in videos for one in labelled_objects(video)]
        objects = followed(recipe, videos)
        self.asked = iter(
            known[number].masks.read(
                object_clip(
                    objects[number], frame, length=recipe.clip.length, stride=recipe.clip.stride
                ).indices.tolist()
            )
            for number, frame in evaluation_samples(recipe, objects).tolist()
        )

    def forward(self, clips):
        assert clips.shape[1] == 4
        answers = [torch.from_numpy(next(self.asked)) for _ in clips]
        for clip, answer in zip(clips, answers, strict=True):
            assert torch.equal(clip[3, 0], (answer[0] == 1).float())
            assert not clip[3, 1:].any()
        return [
            Maps(localisation=(answer[1:] == 1).float(), scores=torch.zeros(0))
            for answer in answers
        ]


class Copy(nn.Module):
    """Answers with the given mask on every frame."""

    channels_in = 4

    def forward(self, clips):
        return [
            Maps(
                localisation=clip[3, :1].expand(clips.shape[2] - 1, -1, -1),
                scores=clips[0, 0, 0, 0],
            )
            for clip in clips
        ]


@pytest.mark.parametrize("clip", [("clip.length=4",), ("clip.length=3", "clip.stride=2")])
def test_the_truth_scores_one_however_objects_come_and_go(clip, object_recipe, vos, tmp_path):
    recipe = object_recipe(*EXACT, *clip)
    dataset = dataset_of(recipe, vos)
    model = Oracle(recipe, dataset.test)
    seen = []
    found = evaluate(
        model, dataset, "test", recipe, ALONE, masks=tmp_path / "masks", seen=seen.append
    )
    assert sum(seen) == found.clips == clips_of(recipe, dataset.test)
    assert found.score == 1.0
    assert (found.videos, sorted(found.parts)) == (3, ["a", "b"])
    # 1 of both videos and 2 of "a"; 2 of "b" is there on the last frame alone.
    assert found.result.counts["objects"] == 3
    for video in dataset.test:
        for frame, name in enumerate(frame_names(video)):
            written = read_mask_png(tmp_path / "masks" / video.video / f"{name}.png")
            assert np.array_equal(written, video.masks.read([frame])[0])
    again = stored_evaluation(dataset, "test", dataset.test, tmp_path / "masks")
    assert again.metrics() == found.metrics()


def test_masks_are_called_as_their_images(object_recipe, vos):
    dataset = dataset_of(object_recipe(), vos)
    assert frame_names(dataset.test[0])[:3] == ["00000", "00005", "00010"]
    assert frame_names(replace(dataset.test[0], path=vos / "nowhere"))[:2] == ["00000", "00001"]


def test_nothing_is_known_of_the_answer_but_the_first_masks(object_recipe, vos, tmp_path):
    recipe = object_recipe("data.cache=false")
    spoilt = shutil.copytree(vos, tmp_path / "spoilt")
    folder = spoilt / "valid" / "Annotations" / "a"
    for frame in (4, 7, 8):
        write_mask_png(folder / f"{5 * frame:05d}.png", np.zeros((37, 45), np.uint8))
    written = []
    for root, out in ((vos, tmp_path / "one"), (spoilt, tmp_path / "other")):
        torch.manual_seed(0)
        from stad_cli.engine.detector import build_detector

        dataset = dataset_of(recipe, root)
        model = build_detector(recipe.model, recipe.clip, dataset.classes).eval()
        evaluate(model, dataset, "test", recipe, ALONE, masks=out)
        written.append(
            {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.png"))}
        )
    assert len(written[0]) == 10 + 4 + 2
    assert written[0] == written[1]


def test_copying_the_first_mask_scores_what_still_overlaps(object_recipe, vos):
    recipe = object_recipe(*EXACT)
    found = evaluate(Copy(), dataset_of(recipe, vos), "test", recipe, ALONE)
    assert 0.1 < found.result.region.mean < 0.6
    metrics = found.metrics()
    assert metrics["J&F"] == pytest.approx((metrics["J"] + metrics["F"]) / 2)
    assert found.score == metrics["J&F"]


def test_classes_of_the_published_list_are_seen_and_others_are_not(object_recipe, vos):
    dataset = dataset_of(object_recipe(), vos)
    protocol = protocol_of(dataset)
    assert protocol.name == "youtube-vos"  # it has a fox
    found = evaluate(Copy(), dataset, "test", object_recipe(*EXACT), ALONE)
    assert {"J_seen", "F_seen", "J_unseen", "F_unseen"} <= set(found.metrics())


def test_elsewhere_seen_classes_are_those_of_the_training_part(object_recipe, vos, tmp_path):
    shutil.copytree(vos, tmp_path / "vos")
    for part in ("train", "valid"):
        meta = tmp_path / "vos" / part / "meta.json"
        meta.write_text(meta.read_text().replace("fox", "ball"))
    dataset = dataset_of(object_recipe(), tmp_path / "vos")
    protocol = protocol_of(dataset)
    assert (protocol.name, protocol.seen_classes) == (OWN_CLASSES, ("ball", "cart"))
    found = evaluate(Copy(), dataset, "test", object_recipe(*EXACT), ALONE)
    groups = found.result.groups
    assert {each.label for each in found.result.objects} == {"ball", "kite"}
    assert groups["seen"].region != groups["unseen"].region


def test_videos_with_first_masks_alone_are_followed_and_not_scored(object_recipe, vos, tmp_path):
    root = shutil.copytree(vos, tmp_path / "vos")
    folder = root / "valid" / "Annotations" / "a"
    for path in folder.glob("*.png"):
        if path.stem not in ("00000", "00015"):
            path.unlink()
    late = read_mask_png(folder / "00015.png")
    write_mask_png(folder / "00015.png", np.where(late == 2, late, 0).astype(np.uint8))
    recipe = object_recipe(*EXACT)
    dataset = dataset_of(recipe, root)
    assert [is_scored(video) for video in dataset.test] == [False, True, False]
    found = evaluate(Copy(), dataset, "test", recipe, ALONE, masks=tmp_path / "masks")
    assert list(found.parts) == ["b"]
    assert len(list((tmp_path / "masks" / "a").glob("*.png"))) == 10
    alone = replace(dataset, test=dataset.test[:1])
    nothing = evaluate(Copy(), alone, "test", recipe, ALONE)
    assert np.isnan(nothing.score)
    assert nothing.result.counts["objects"] == 0


def test_a_thin_evaluation_is_a_part_of_the_whole_one(object_recipe, vos):
    recipe = object_recipe(*EXACT, "eval.every_nth_video=2")
    dataset = dataset_of(recipe, vos)
    whole = evaluate(Copy(), dataset, "test", recipe, ALONE)
    thin = evaluate(Copy(), dataset, "test", recipe, ALONE, thin=True)
    assert set(thin.parts) == {"a"}
    assert thinned(whole, dataset, recipe).metrics() == thin.metrics()


def test_processes_share_the_videos(object_recipe, vos):
    recipe = object_recipe(*EXACT)
    dataset = dataset_of(recipe, vos)
    whole = evaluate(Copy(), dataset, "test", recipe, ALONE)
    gathered = []

    class Half(Processes):
        def gather(self, value):
            gathered.append(value)
            return [value]

    for rank in (0, 1):
        half = Half(rank=rank, ranks=2, local_ranks=2, device=torch.device("cpu"))
        evaluate(Copy(), dataset, "test", recipe, half)
    assert {name for part in gathered for name in part} == set(whole.parts)
    assert not set(gathered[0]) & set(gathered[1])


def test_davis_counts_the_objects_of_the_first_frame(object_recipe, vos, tmp_path):
    root = tmp_path / "davis"
    for kind in ("Annotations", "JPEGImages"):
        for film in ("a", "b"):
            shutil.copytree(vos / "valid" / kind / film, root / kind / "480p" / film)
    recipe = object_recipe(*EXACT, "data.dataset=davis", "eval.part=train")
    dataset = open_dataset("davis", root)
    model = Oracle(recipe, dataset.train)
    found = evaluate(model, dataset, "train", recipe, ALONE)
    assert (found.protocol.name, found.score) == ("davis2017", 1.0)
    assert found.result.counts["objects"] == 2
    assert {each.index for each in found.result.objects} == {1}


def test_pixels_go_to_the_surest_object_and_given_masks_come_first(vos, object_recipe):
    recipe = object_recipe(*EXACT)
    video = dataset_of(recipe, vos).test[0]
    objects = followed(recipe, [video])
    found = FollowedObjects(video, objects, threshold=0.5)
    from stad_data.loading import collate

    for one, value in zip(objects, (0.6, 0.9), strict=True):
        first = int(one.tracks[0].frames[0])
        made = object_clip(one, first + 1, length=4, stride=1)
        maps = torch.full((4, 37, 45), value)
        maps[:, :5] = 0.4
        found.add(collate([made]).clips_info[0], Maps(localisation=maps, scores=torch.zeros(0)))
    assert np.array_equal(found.index_mask(0), (video.masks.read([0])[0] == 1).astype(np.uint8))
    assert set(np.unique(found.index_mask(2)[5:])) == {1}
    assert set(np.unique(found.index_mask(2)[:5])) == {0}
    entering = found.index_mask(3)
    given = video.masks.read([3])[0] == 2
    assert (entering[given] == 2).all()
    assert set(np.unique(entering[5:][~given[5:]])) == {1}
    assert set(np.unique(found.index_mask(4)[5:])) == {2}
    assert not found.index_mask(9).any()
