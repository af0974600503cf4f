"""Damaged files of every kind: the right number, or an `InputError`, and nothing else.

What a damaged file that still reads holds is settled by a second, slow reader where there is one
(CSV, JSON, npz, PNG); its number must be that of the same content in good order.
"""

import csv
import io
import json
import math
import zipfile
import zlib
from dataclasses import fields

import numpy as np
import pytest

from stad_eval import (
    InputError,
    Tubes,
    detections_json,
    frame_map,
    read_act_truth,
    read_ava_csv,
    read_frame_rows,
    read_label_map,
    read_mask_png,
    read_multisports_tubes,
    read_pyannot,
    read_retinanet_frames,
    read_retinanet_tubes,
    read_tube_truth,
    read_tubelets,
    read_tubes_json,
    read_tubes_npz,
    video_map,
    write_ava_csv,
    write_mask_png,
    write_tubes_json,
    write_tubes_npz,
)

KINDS = ("csv", "pickle", "json", "npz", "png")
FAST, SLOW = 60, 2000  # files of each kind: 300 always, 10,000 in the slow run
ODD = (b"nan", b"inf", b"-1", b"1e999", b"0", b"99999999999999999999", b"", b"\xff", b'"', b"null")


def mutated(data, rng):
    """The bytes with one to four changes, of the sorts that transfers, editors and scripts make."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        at = int(rng.integers(0, max(len(out), 1)))
        end = min(len(out), at + int(rng.integers(1, 24)))
        sort = int(rng.integers(0, 12))
        if sort == 0:
            out[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif sort == 1:
            del out[at:]
        elif sort == 2:
            del out[at:end]
        elif sort == 3:
            out[at:at] = out[at:end]
        elif sort == 4:
            out[at:end] = rng.bytes(end - at)
        elif sort == 5:
            out[at:at] = ODD[int(rng.integers(0, len(ODD)))]
        elif sort == 6:
            out[at : at + 1] = bytes([out[at] ^ (1 << int(rng.integers(0, 8)))]) if out else b""
        else:
            digit = next((place for place in range(at, len(out)) if chr(out[place]).isdigit()), at)
            out[digit : digit + 1] = str(int(rng.integers(0, 10))).encode()
    return bytes(out)


def rezipped(data, rng):
    """An npz whose arrays were changed and whose checksums are right nonetheless."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = names[int(rng.integers(0, len(names)))]
        for name in names:
            content = old.read(name)
            new.writestr(name, mutated(content, rng) if name == chosen else content)
    return out.getvalue()


def rechecked(data, rng):
    """A PNG whose chunks were changed and whose checksums are right nonetheless."""
    out, at, chunks = bytearray(data[:8]), 8, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    chosen = int(rng.integers(0, len(chunks)))
    for place, (name, body) in enumerate(chunks):
        if place == chosen:
            inner = name == b"IDAT" and rng.random() < 0.7
            changed = mutated(zlib.decompress(body) if inner else body, rng)
            body = zlib.compress(changed) if inner else changed
        out += len(body).to_bytes(4, "big") + name + body
        out += zlib.crc32(name + body).to_bytes(4, "big")
    return bytes(out)


def checked_mean(result):
    """The mean, which is a fraction or undefined, whatever came in."""
    assert math.isnan(result.mean) or 0.0 <= result.mean <= 1.0
    return result.mean


@pytest.fixture
def names(golden):
    return read_label_map(golden / "eval" / "ava_labelmap.pbtxt")


@pytest.fixture
def tube_files(golden):
    folder = golden / "eval" / "tubes" / "jhmdb_tiny" / "native"
    truth = read_act_truth(folder / "JHMDB-GT.pkl")
    return folder, truth, {"videos": truth.tubes.videos, "classes": truth.tubes.classes}


@pytest.fixture
def attempts(request):
    return range(SLOW if "slow" in request.node.name else FAST)


def runs(kind):
    """The test of a kind, with few files always and with many in the slow run."""
    return pytest.mark.parametrize(
        "attempts", ["fast", pytest.param("slow", marks=pytest.mark.slow)], indirect=True
    )


def slow_rows(text, names):
    """AVA's rows by the plainest possible reader."""
    ids = {each: at for at, each in enumerate(names.ids)}
    rows = []
    for row in csv.reader(io.StringIO(text)):
        if len(row) == 8 and int(row[6]) in ids:
            rows.append((row[0], int(row[1]), ids[int(row[6])], *map(float, (*row[2:6], row[7]))))
    return rows


@runs("csv")
def test_csv(golden, names, tmp_path, attempts):
    folder = golden / "eval" / "ava_tiny"
    truth = read_ava_csv(folder / "gt.csv", classes=names, unlisted="skipped")
    found = read_ava_csv(folder / "det.csv", classes=names, unlisted="skipped")
    few = found.select(np.arange(0, len(found), max(1, len(found) // 40)))
    path = tmp_path / "det.csv"
    write_ava_csv(path, few)
    good, read = path.read_bytes(), 0
    for seed in attempts:
        data = mutated(good, np.random.default_rng(seed))
        path.write_bytes(data)
        try:
            table = read_ava_csv(path, classes=names, column_8="score", unlisted="skipped")
            mean = checked_mean(frame_map(truth, table, "ava-v2.2+activitynet"))
        except InputError:
            continue
        read += 1
        rows = slow_rows(data.decode("utf-8-sig"), names)
        assert len(rows) == len(table)
        for at, row in enumerate(rows):
            numbers = (*table.box[at].tolist(), float(table.score[at]))
            key = (table.videos[table.video[at]], int(table.frame[at]), int(table.label[at]))
            assert (*key, *numbers) == row, seed
        if data == good:
            assert mean == frame_map(truth, few, "ava-v2.2+activitynet").mean
    assert read > len(attempts) // 20


@runs("csv")
def test_truth_and_label_maps(golden, names, tmp_path, attempts):
    folder = golden / "eval" / "ava_tiny"
    found = read_ava_csv(folder / "det.csv", classes=names, unlisted="skipped")
    good = b"\n".join((folder / "gt.csv").read_bytes().splitlines()[:40])
    labels = (golden / "eval" / "ava_labelmap.pbtxt").read_bytes()
    path, map_path = tmp_path / "gt.csv", tmp_path / "map.pbtxt"
    for seed in attempts[: len(attempts) // 4]:
        rng = np.random.default_rng(seed)
        path.write_bytes(mutated(good, rng))
        map_path.write_bytes(mutated(labels, rng) if seed % 4 == 0 else labels)
        try:
            table = read_ava_csv(path, classes=map_path, column_8="person", unlisted="skipped")
            checked_mean(frame_map(table, found, "keyframes"))
        except InputError:
            continue


@runs("pickle")
def test_pickles(tube_files, tmp_path, attempts):
    folder, truth, names = tube_files
    boxes = truth.boxes()
    detected = read_multisports_tubes(folder / "video_detections.pkl", **names)
    readers = {
        "JHMDB-GT": lambda path: video_map(read_tube_truth(path).tubes, detected, "dense"),
        "pyannot": lambda path: video_map(read_pyannot(path).tubes, detected, "dense"),
        "video_detections": lambda path: video_map(
            truth.tubes, read_multisports_tubes(path, **names), "dense"
        ),
        "frame_detections": lambda path: frame_map(
            boxes, read_frame_rows(path, **names), "dense+moc"
        ),
        "retina_tubes": lambda path: video_map(
            truth.tubes, read_retinanet_tubes(path, **names), "dense"
        ),
        "retina_frames": lambda path: frame_map(
            boxes, read_retinanet_frames(path, **names), "dense"
        ),
    }
    path, read = tmp_path / "file.pkl", 0
    contents = {name: (folder / f"{name}.pkl").read_bytes() for name in readers}
    for seed in attempts:
        name = list(readers)[seed % len(readers)]
        path.write_bytes(mutated(contents[name], np.random.default_rng(seed)))
        try:
            result = readers[name](path)
        except InputError:
            continue
        read += 1
        means = result.mean.values() if isinstance(result.mean, dict) else [result.mean]
        assert all(math.isnan(mean) or 0.0 <= mean <= 1.0 for mean in means), seed
    assert read


def same_tubes(one, other):
    return all(
        np.array_equal(getattr(one, each.name), getattr(other, each.name))
        for each in fields(Tubes)
        if getattr(one, each.name) is not None
    )


@runs("json")
def test_json(tube_files, tmp_path, attempts):
    folder, truth, names = tube_files
    detected = read_multisports_tubes(folder / "video_detections.pkl", **names)
    few = detected.select(np.arange(4))
    boxes = truth.boxes()
    some = read_frame_rows(folder / "frame_detections.pkl", **names).select(np.arange(20))
    tube_path, box_path = tmp_path / "tubes.json", tmp_path / "boxes.json"
    write_tubes_json(tube_path, few)
    detections_json.write(box_path, some, sizes=truth.sizes)
    contents, read = [tube_path.read_bytes(), box_path.read_bytes()], 0
    for seed in attempts:
        data = mutated(contents[seed % 2], np.random.default_rng(seed))
        path = tmp_path / "file.json"
        path.write_bytes(data)
        try:
            if seed % 2:
                mean = checked_mean(frame_map(boxes, detections_json.read(path).found, "dense"))
                assert math.isfinite(mean)
            else:
                table = read_tubes_json(path).tubes
                for mean in video_map(truth.tubes, table, "dense").mean.values():
                    assert 0.0 <= mean <= 1.0
        except InputError:
            continue
        read += 1
        content = json.loads(data)  # and so it is JSON
        if seed % 2 == 0:
            tubes = [each for video in content["videos"].values() for each in video["tubes"]]
            assert [float(each["score"]) for each in tubes] == table.score.tolist()
            corners = [corner for each in tubes for box in each["boxes"] for corner in box]
            assert corners == table.box.reshape(-1).tolist()
    assert read > len(attempts) // 50


@runs("npz")
def test_npz(tube_files, golden, tmp_path, attempts):
    folder, truth, names = tube_files
    detected = read_multisports_tubes(folder / "video_detections.pkl", **names)
    boxes = truth.boxes()
    write_tubes_npz(tmp_path / "tubes.npz", detected)
    rows = read_frame_rows(folder / "frame_detections.pkl", **names)
    columns = (rows.video, rows.frame + 1, rows.label, rows.score, rows.box)
    np.savez(tmp_path / "rows.npz", dets=np.column_stack(columns)[:50])
    tubelets = golden / "eval" / "tubelets" / "jhmdb_tiny" / "tubelets.npz"
    contents = [each.read_bytes() for each in (tmp_path / "tubes.npz", tmp_path / "rows.npz")]
    contents.append(tubelets.read_bytes())
    path, read = tmp_path / "file.npz", 0
    for seed in attempts:
        rng = np.random.default_rng(seed)
        data = contents[seed % 3]
        path.write_bytes(rezipped(data, rng) if rng.random() < 0.8 else mutated(data, rng))
        try:
            if seed % 3 == 0:
                table = read_tubes_npz(path).tubes
                means = video_map(truth.tubes, table, "dense").mean.values()
                with np.load(path, allow_pickle=False) as content:
                    assert np.array_equal(content["box"], table.box)
                    assert np.array_equal(content["score"], table.score)
            elif seed % 3 == 1:
                found = read_frame_rows(path, **names)
                means = [checked_mean(frame_map(boxes, found, "dense+moc"))]
                with np.load(path, allow_pickle=False) as content:
                    dets = next(each for each in content.values() if each.ndim == 2)
                    assert np.array_equal(dets[:, 4:], found.box)
            else:
                means = [float(read_tubelets(path, **names).linked.box.shape[1] < 1)]
        except InputError:
            continue
        read += 1
        assert all(0.0 <= mean <= 1.0 for mean in means), seed
    assert read > len(attempts) // 20


@runs("png")
def test_png(tmp_path, attempts):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 4, (6, 8)), np.ones((4, 4), dtype=np.int64)).astype(np.uint8)
    path, read = tmp_path / "mask.png", 0
    write_mask_png(path, mask)
    good = path.read_bytes()
    for seed in attempts:
        rng = np.random.default_rng(seed)
        data = rechecked(good, rng) if rng.random() < 0.7 else mutated(good, rng)
        path.write_bytes(data)
        try:
            got = read_mask_png(path)
        except InputError:
            continue
        read += 1
        with image.open(io.BytesIO(data)) as other:
            try:
                pixels = np.asarray(other)
            except (ValueError, OSError):
                continue  # Pillow minds palettes and ends that an index mask does not need
            if other.mode in ("P", "L"):
                assert np.array_equal(pixels, got), seed
    assert read > len(attempts) // 50


def test_a_file_of_ten_thousand_brackets_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 10_000)
    for reader in (read_tubes_json, detections_json.read):
        with pytest.raises(InputError):
            reader(path)
