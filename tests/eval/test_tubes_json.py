"""This project's own files of tubes, JSON and npz."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stad_eval import (
    InputError,
    Tube,
    TubeFile,
    Tubes,
    read_tube_truth,
    read_tubes,
    read_tubes_json,
    read_tubes_npz,
    stack_tubes,
    write_tubes_json,
    write_tubes_npz,
)

numbers = st.floats(-1e9, 1e9)


@st.composite
def files(draw):
    tubes = []
    for _ in range(draw(st.integers(0, 3))):
        frames = sorted(draw(st.sets(st.integers(0, 30), min_size=1, max_size=4)))
        tubes.append(
            Tube(
                video=draw(st.sampled_from(["v", "w/1"])),
                label=draw(st.integers(0, 1)),
                score=draw(numbers),
                frames=np.array(frames),
                boxes=draw(arrays.arrays(np.float64, (len(frames), 4), elements=numbers)),
            )
        )
    tubes.sort(key=lambda tube: tube.video)
    table = stack_tubes(tubes, classes=("walk", "run"), videos=("v", "w/1"))
    if tubes and draw(st.booleans()):
        columns = {name: getattr(table, name) for name in Tubes.__dataclass_fields__}
        table = Tubes(**{**columns, "row_score": np.arange(table.frame.size) / 3})
    return TubeFile(
        tubes=table,
        frame_counts=draw(st.sampled_from([{}, {"v": 40}])),
        sizes=draw(st.sampled_from([{}, {"w/1": (320, 240)}])),
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files(), st.sampled_from(["json", "npz"]))
def test_what_is_written_reads_the_same(tmp_path, file, form):
    path = tmp_path / f"tubes.{form}"
    if form == "json":
        write_tubes_json(path, file)
        again = read_tubes_json(path)
    else:
        write_tubes_npz(path, file)
        again = read_tubes_npz(path)
    assert (again.frame_counts, again.sizes) == (file.frame_counts, file.sizes)
    for name in Tubes.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again.tubes, name), getattr(file.tubes, name), name)
    assert read_tube_truth(path).frame_counts == file.frame_counts
    assert len(read_tubes(path, videos=(), classes=())) == len(file.tubes)


TUBE = {"label": "walk", "score": 0.9, "start": 17, "boxes": [[1, 2, 3, 4], [1, 2, 3, 5]]}
GOOD = {
    "format": "stad-tubes",
    "version": 1,
    "classes": ["walk", "run"],
    "videos": {"street": {"size": [320, 240], "frames": 120, "tubes": [TUBE]}},
}


def with_tube(**parts):
    tube = {key: value for key, value in {**TUBE, **parts}.items() if value is not None}
    return {**GOOD, "videos": {"street": {"tubes": [tube]}}}


def with_video(**parts):
    return {**GOOD, "videos": {"street": {"tubes": [], **parts}}}


def test_the_documented_example(tmp_path):
    path = tmp_path / "tubes.json"
    path.write_text(json.dumps(GOOD))
    file = read_tubes_json(path)
    assert file.tubes.frame.tolist() == [17, 18]
    assert (file.sizes, file.frame_counts) == ({"street": (320, 240)}, {"street": 120})
    path.write_text(json.dumps(with_tube(score=None, start=None, frames=[3, 9])))
    tubes = read_tubes_json(path).tubes
    assert tubes.score.tolist() == [1.0]
    assert tubes.frame.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not an object"),
        ({**GOOD, "more": 1}, "wrong keys"),
        ({**GOOD, "format": "x"}, "at format: another format"),
        ({**GOOD, "version": 2}, "at version: another version"),
        ({**GOOD, "version": True}, "another version"),
        ({**GOOD, "classes": ["a", 1]}, "bad classes"),
        ({**GOOD, "classes": ["walk", "walk"]}, "a class stands twice"),
        ({**GOOD, "videos": []}, "bad videos"),
        (with_video(size=[0, 1]), r"videos\.street\.size: bad size"),
        (with_video(frames=-1), r"videos\.street\.frames: bad number"),
        (with_video(tubes={}), "bad tubes"),
        (with_tube(label="swim"), r"tubes\[0\]\.label: unknown class"),
        (with_tube(label=["walk"]), "unknown class"),
        (with_tube(score="high"), r"\.score: bad number"),
        (with_tube(score=float("nan")), "bad number"),
        (with_tube(boxes=[[1, 2, 3]]), "bad boxes"),
        (with_tube(boxes=[]), "bad boxes"),
        (with_tube(boxes=[[1, 2, 3, 4], [1]]), "bad numbers"),
        (with_tube(boxes=[[1, 2, 3, 1e999]]), "bad numbers"),
        (with_tube(boxes=[[True, True, True, True]]), "bad numbers"),
        (with_tube(start=None), "either 'start' or 'frames'"),
        (with_tube(frames=[1, 2]), "either 'start' or 'frames'"),
        (with_tube(start=1.5), r"\.start: bad number"),
        (with_tube(start=None, frames=[2, 1]), "bad frames"),
        (with_tube(start=None, frames=[1, 2.5]), "bad frames"),
        (with_tube(start=None, frames=[1]), "expected 2 finite numbers"),
        (with_tube(scores=[0.5]), r"\.scores: bad numbers"),
    ],
)
def test_json_of_another_form_is_refused(tmp_path, content, message):
    path = tmp_path / "tubes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_tubes_json(path)


@pytest.mark.parametrize(
    "text", ["{", "", "[" * 100_000, '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}"]
)
def test_text_that_is_not_json_is_refused(tmp_path, text):
    path = tmp_path / "tubes.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"not JSON|stands twice"):
        read_tubes_json(path)


def test_npz_of_another_form_is_refused(tmp_path):
    path = tmp_path / "tubes.npz"
    one = Tube(video="v", label=0, score=1.0, frames=np.array([1]), boxes=np.ones((1, 4)))
    write_tubes_npz(path, stack_tubes([one], classes=("walk",)))
    with np.load(path) as file:
        good = dict(file)
    cases = {
        "not a file of tubes": {"video": None},
        "'label' is malformed": {"label": np.array([0.5])},
        "'score' holds a number": {"score": np.array([np.inf])},
        "frames out of order": {"frame": np.array([1, 1]), "start": np.array([0, 2])},
        "bad list of names": {"videos": np.array(["v", "v"])},
        "format stad-tubes-npz": {"about": np.array("[]")},
        "version 1": {"about": np.array('{"format": "stad-tubes-npz", "version": 7}')},
    }
    about = {"format": "stad-tubes-npz", "version": 1, "frames": {}, "sizes": {}}
    for key, value in (("frames", []), ("frames", {"v": -1}), ("sizes", {"v": [1]})):
        cases[f"bad 'about'|bad number|bad size, {value}"] = {
            "about": np.array(json.dumps({**about, key: value}))
        }
    for message, change in cases.items():
        arrays = {key: value for key, value in {**good, **change}.items() if value is not None}
        if "frame" in change:
            arrays["box"] = np.ones((2, 4))
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=message.split(",")[0]) as caught:
            read_tubes_npz(path)
        assert "tubes.npz" in str(caught.value)


def test_pickles_of_neither_form_are_refused(tmp_path):
    path = tmp_path / "file.pkl"
    for content in ([], {"a": 1}, {"gttubes": 1}):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(InputError):
            read_tube_truth(path)
        with pytest.raises(InputError):
            read_tubes(path, videos=("v",), classes=("walk",))


def outcome(path):
    """How many tubes a file gives, or that it is refused with an error that names it."""
    try:
        return len(read_tube_truth(path).tubes)
    except InputError as error:
        return "refused" if path.name in str(error) else f"unclear: {error}"


def test_mutated_files_give_tubes_or_a_clear_error(tmp_path):
    rng = np.random.default_rng(5)
    one = Tube(video="v", label=0, score=0.5, frames=np.arange(3), boxes=np.ones((3, 4)))
    table = stack_tubes([one], classes=("walk",))
    for form, write in (("json", write_tubes_json), ("npz", write_tubes_npz)):
        path = tmp_path / f"tubes.{form}"
        write(path, table)
        data = path.read_bytes()
        for _ in range(100):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 4)):
                broken[at] = rng.integers(0, 256)
            path.write_bytes(bytes(broken[: rng.integers(1, len(data) + 1)]))
            assert outcome(path) in (0, 1, "refused")
