"""Which videos are labelled, which are used without labels, and which come from elsewhere."""

import pytest

from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.labelled_videos import (
    further_videos,
    labelled_videos,
    unlabelled_videos,
)
from stad_data.splits import Split, write_split
from stad_eval import InputError


def names(videos):
    return [video.video for video in videos]


@pytest.fixture
def videos(map_recipe, dataset):
    return dataset_of(map_recipe(), dataset).train


def test_without_a_share_every_video_is_labelled(map_recipe, videos):
    data = map_recipe().data
    assert labelled_videos(data, videos) == videos
    assert unlabelled_videos(data, videos) == ()
    assert further_videos(data, num_classes=2) == ()


def test_half_of_every_class_is_labelled_and_the_rest_is_not(map_recipe, videos):
    data = map_recipe("data.labelled=0.5").data
    labelled, others = labelled_videos(data, videos), unlabelled_videos(data, videos)
    assert {video.video.split("/")[0] for video in labelled} == {"jump", "walk"}
    assert sorted(names(labelled) + names(others)) == sorted(names(videos))
    assert names(labelled_videos(data, videos)) == names(labelled)
    fewer = map_recipe("data.labelled=0.5", "data.unlabelled=0.25").data
    assert len(unlabelled_videos(fewer, videos)) == 1
    assert set(names(unlabelled_videos(fewer, videos))) < set(names(others))
    assert labelled_videos(fewer, videos) == labelled
    none = map_recipe("data.labelled=0.5", "data.unlabelled=0.0").data
    assert unlabelled_videos(none, videos) == ()


def test_a_list_says_which(map_recipe, videos, tmp_path):
    wanted = names(videos)[2]
    others = tuple(name for name in names(videos) if name != wanted)
    path = tmp_path / "split.txt"
    write_split(path, Split(labelled=(wanted,), unlabelled=others))
    data = map_recipe(f"data.labelled_list={str(path)!r}").data
    assert names(labelled_videos(data, videos)) == [wanted]
    assert names(unlabelled_videos(data, videos)) == list(others)
    with pytest.raises(InputError, match="not in the dataset"):
        labelled_videos(data, videos[:2])


def test_a_folder_of_further_videos(map_recipe, dataset):
    data = map_recipe(f"data.external={str(dataset / 'videos')!r}").data
    found = further_videos(data, num_classes=2)
    assert len(found) == 6
    assert all(video.video.startswith("external/") for video in found)
    assert all(video.tracks == () and video.num_classes == 2 for video in found)
