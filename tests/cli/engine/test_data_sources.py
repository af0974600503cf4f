"""`data.shards` and `data.index`: frames and annotation out of files that were made before."""

import shutil

import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine.batches import training_batches
from stad_cli.engine.dataset import dataset_of, frame_caches
from stad_cli.engine.distributed import Processes
from stad_cli.engine.train import train
from stad_data import datasets, shards
from stad_eval import InputError

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))


@pytest.fixture
def sharded(dataset, tmp_path):
    """A copy of the set without its video files, and the shards that hold their frames."""
    found = datasets.jhmdb.read(dataset)
    folder = tmp_path / "shards"
    shards.fill([*found.train, *found.test], folder, shards.ShardSettings(quality=2), workers=1)
    root = tmp_path / "without"
    shutil.copytree(dataset, root, ignore=shutil.ignore_patterns("*.mp4"))
    return root, folder


def test_training_takes_its_frames_from_shards(sharded, recipe, dataset, tmp_path):
    root, folder = sharded
    chosen = recipe("data.cache=false", f'data.shards="{folder}"', "optim.steps=2", "eval.every=2")
    found = train(chosen, data=root, out=tmp_path / "run", device="cpu", say=lambda _: None)
    assert found.evaluation.clips == 16

    def drawn(settings, where):
        data = dataset_of(settings, where)
        caches = frame_caches(data.train, settings.data)
        return next(training_batches(settings, data, ALONE, start=0, caches=caches))

    from_shards, from_files = drawn(chosen, root), drawn(recipe("data.cache=false"), dataset)
    difference = from_shards.clips.int() - from_files.clips.int()
    assert 0 < difference.abs().float().mean() < 6  # JPEG, at its best
    for ours, theirs in zip(from_shards.boxes, from_files.boxes, strict=True):
        assert torch.equal(ours, theirs)


def test_videos_that_are_nowhere(sharded, recipe, dataset, tmp_path):
    root, _ = sharded
    some = tmp_path / "some"
    shards.fill(datasets.jhmdb.read(dataset).train, some, workers=1)
    chosen = recipe("data.cache=false", f'data.shards="{some}"')
    with pytest.raises(InputError, match="2 annotated videos are neither in"):
        dataset_of(chosen, root)
    chosen = recipe("data.cache=false", f'data.shards="{some}"', "data.missing=skip")
    assert (len(dataset_of(chosen, root).train), len(dataset_of(chosen, root).test)) == (4, 0)
    # What has no shard and is a file is read from there.
    assert len(dataset_of(chosen, dataset).test) == 2


def test_shards_that_are_not_there(recipe, dataset, tmp_path):
    chosen = recipe("data.cache=false", f'data.shards="{tmp_path / "none"}"')
    with pytest.raises(InputError, match="no folder of shards"):
        dataset_of(chosen, dataset)


def test_annotation_comes_from_an_index(recipe_file, tiny_ava, tmp_path):
    index = tmp_path / "ava.index"
    rest = ("data.dataset=synthetic", "data.cache=false")
    plain = dataset_of(load_recipe(recipe_file, rest), tiny_ava)
    chosen = load_recipe(recipe_file, (*rest, f'data.index="{index}"'))
    made = dataset_of(chosen, tiny_ava)
    written = index.stat().st_mtime_ns
    for found in (made, dataset_of(chosen, tiny_ava)):
        assert [each.video for each in found.train] == [each.video for each in plain.train]
        for ours, theirs in zip(found.train, plain.train, strict=True):
            assert ours.origin is not None  # workers are sent its place in the file
            assert (ours.table.boxes == theirs.table.boxes).all()
    assert index.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (('data.shards="somewhere"',), "cache or from shards"),
        (('data.index="somewhere"',), 'index is for dataset = "ava"'),
    ],
)
def test_what_does_not_go_together(recipe, overrides, message):
    with pytest.raises(InputError, match=message):
        recipe(*overrides)
