"""The index that an MP4 file brings along says what reading all of its packets says."""

from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.video_mp4 import sample_table
from stad_data.video_packets import demuxed, listed
from stad_data.video_source import VideoSource
from stad_data.video_writer import VideoWriter


def write(path: Path, count: int = 30) -> Path:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(path, size=(64, 48), fps=25, keyframe_interval=10) as writer:
        for number in range(count):
            writer.write(np.roll(texture, 2 * number, axis=1))
    return path


def remuxed(path: Path, to: Path, *, shift: int = 0, **options: str) -> Path:
    with av.open(path) as source, av.open(to, "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts += shift
                packet.dts += shift
                packet.stream = stream
                target.mux(packet)
    return to


def check_same(path: Path) -> None:
    source = VideoSource(path, threads=1)
    quick, whole = listed(source), demuxed(source)
    assert quick is not None
    for field in fields(whole):
        np.testing.assert_array_equal(getattr(quick, field.name), getattr(whole, field.name))
    source.close()


def test_the_files_own_index_is_what_its_packets_say(tmp_path: Path):
    path = write(tmp_path / "a.mp4")
    check_same(path)
    check_same(remuxed(path, tmp_path / "first.mp4", movflags="faststart"))
    check_same(remuxed(path, tmp_path / "negative.mp4", movflags="negative_cts_offsets"))
    check_same(remuxed(path, tmp_path / "late.mp4", shift=100_000))
    check_same(remuxed(path, tmp_path / "no_edits.mp4", use_editlist="0"))
    check_same(remuxed(path, tmp_path / "film.mov"))
    check_same(write(tmp_path / "one.mp4", 1))


def test_where_it_does_not_tell_packets_are_read(tmp_path: Path):
    path = write(tmp_path / "a.mp4")
    cut = remuxed(path, tmp_path / "cut.mp4", shift=-5120, avoid_negative_ts="disabled")
    fragments = remuxed(path, tmp_path / "frag.mp4", movflags="frag_keyframe+empty_moov")
    short = tmp_path / "short.mp4"
    short.write_bytes(remuxed(path, tmp_path / "f.mp4", movflags="faststart").read_bytes()[:-900])
    for other in (cut, fragments, short, write(tmp_path / "a.mkv")):
        source = VideoSource(other, threads=1)
        assert listed(source) is None, other.name
        source.close()


def test_tables_that_tell_nothing(tmp_path: Path):
    path = write(tmp_path / "a.mp4")
    assert sample_table(path, 1) is not None
    assert sample_table(path, 7) is None
    assert sample_table(tmp_path / "none.mp4", 1) is None
    (tmp_path / "empty.mp4").touch()
    assert sample_table(tmp_path / "empty.mp4", 1) is None
    assert sample_table(write(tmp_path / "a.mkv"), 1) is None


@pytest.fixture(scope="module")
def header(tmp_path_factory) -> tuple[Path, bytes]:
    """A folder, and the bytes of a file of thirty frames."""
    folder = tmp_path_factory.mktemp("mp4")
    return folder, write(folder / "a.mp4").read_bytes()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_broken_header_never_raises(header: tuple[Path, bytes], data):
    folder, content = header
    start = content.index(b"moov")
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(start - 4, len(content) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path = folder / "broken.mp4"
    path.write_bytes(changed[: data.draw(st.integers(start, len(content)))])
    table = sample_table(path, 1)
    assert table is None or table.pts_P.shape == table.pos_P.shape == table.key_P.shape


def test_real_files(real_data: Path):
    paths = sorted((real_data / "jhmdb" / "videos").glob("*/*.mp4"))[::60]
    paths += [p for p in sorted((real_data / "videos").glob("*.mp4")) if p.name != "demo.mp4"]
    for path in paths:
        check_same(path)
