import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import InputError, MaskFolder, davis_palette, read_mask_png, write_mask_png
from stad_eval.formats.mask_png import MAX_PIXELS, decode_mask_png, encode_mask_png, natural_order

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Few values make long runs of equal bytes, many make none.
pixels = st.builds(
    lambda seed, shape, top: np.random.default_rng(seed).integers(0, top + 1, shape, np.uint8),
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 20)),
    top=st.sampled_from([1, 3, 255]),
)


def chunk(kind, content, *, crc=None):
    checksum = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def header(width, height, depth=8, colour=3, compression=0, filtering=0, interlace=0):
    content = (width, height, depth, colour, compression, filtering, interlace)
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *content))


def png(rows, width, height, **kind):
    return SIGNATURE + header(width, height, **kind) + tail(rows)


def tail(rows):
    return chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def filtered(mask, kinds):
    """Rows with their filters applied, pixel by pixel as the specification writes them."""
    whole = np.pad(mask.astype(int), ((1, 0), (1, 0)))
    rows = bytearray()
    for y, kind in zip(range(1, whole.shape[0]), kinds, strict=True):
        rows.append(kind)
        for x in range(1, whole.shape[1]):
            left, up, corner = whole[y, x - 1], whole[y - 1, x], whole[y - 1, x - 1]
            guess = left + up - corner
            nearest = min((abs(guess - value), at) for at, value in enumerate((left, up, corner)))
            paeth = (left, up, corner)[nearest[1]]
            predicted = (0, left, up, (left + up) // 2, paeth)[kind]
            rows.append((whole[y, x] - predicted) % 256)
    return bytes(rows)


@settings(deadline=None, max_examples=100)
@given(mask=pixels, kinds=st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_every_mix_of_filters_is_undone(mask, kinds):
    image = png(filtered(mask, kinds[: len(mask)]), mask.shape[1], mask.shape[0])
    assert np.array_equal(decode_mask_png(image), mask)


@settings(deadline=None, max_examples=40)
@given(mask=pixels)
def test_what_is_written_is_read(mask):
    assert np.array_equal(decode_mask_png(encode_mask_png(mask)), mask)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("width", [1, 7, 8, 9])
def test_small_depths_put_the_leftmost_pixel_highest(depth, width):
    rng = np.random.default_rng(depth * width)
    mask = rng.integers(0, 1 << depth, (3, width))
    rows = b""
    for line in mask:
        bits = "".join(f"{value:0{depth}b}" for value in line)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert np.array_equal(decode_mask_png(png(rows, width, 3, depth=depth)), mask)


def test_greyscale_values_are_indices():
    assert decode_mask_png(png(b"\0\x05\xff", 2, 1, colour=0)).tolist() == [[5, 255]]
    assert decode_mask_png(png(b"\0\x80", 2, 1, depth=1, colour=0)).tolist() == [[1, 0]]


def test_pixel_data_may_lie_in_several_chunks_among_others():
    data = zlib.compress(b"\0\1\2")
    parts = [chunk(b"tEXt", b"a\0b"), *(chunk(b"IDAT", data[at : at + 3]) for at in (0, 3, 6, 9))]
    parts += [chunk(b"IDAT", data[12:]), chunk(b"IEND", b"")]
    assert decode_mask_png(SIGNATURE + header(2, 1) + b"".join(parts)).tolist() == [[1, 2]]


def test_pillow_agrees(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(5)
    shapes_of = np.kron(rng.integers(0, 4, (6, 9)), np.ones((5, 7), int)).astype(np.uint8)
    for mask in (shapes_of, rng.integers(0, 256, (20, 30), dtype=np.uint8)):
        path = tmp_path / "a.png"
        write_mask_png(path, mask)
        with image.open(path) as ours:
            assert ours.mode == "P"
            assert np.array_equal(np.array(ours), mask)
            assert ours.getpalette() == davis_palette().ravel().tolist()
        for mode in ("P", "L"):
            theirs = image.fromarray(mask)
            if mode == "P":
                theirs.putpalette(davis_palette().ravel().tolist())
            theirs.save(path)
            assert np.array_equal(read_mask_png(path), mask)
        image.fromarray(mask > 128).save(path)  # one bit
        assert np.array_equal(read_mask_png(path), mask > 128)


def test_palette_follows_the_rule():
    colours = davis_palette()
    assert colours[[0, 1, 2, 3, 4]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
    ]
    assert colours[[8, 22, 255]].tolist() == [[64, 0, 0], [0, 192, 128], [224, 224, 192]]
    assert len({tuple(each) for each in colours.tolist()}) == 256


def test_own_palette(tmp_path):
    grey = np.repeat(np.arange(256)[:, None], 3, axis=1)
    data = encode_mask_png(np.eye(2, dtype=int), palette=grey)
    assert bytes(range(3)) not in data.split(b"IDAT")[0][:40]
    assert grey.astype(np.uint8).tobytes() in data
    for palette in (grey[:5], grey + 1, grey / 2):
        with pytest.raises(InputError, match="palette"):
            encode_mask_png(np.eye(2, dtype=int), palette=palette)
    with pytest.raises(InputError, match="no such folder"):
        write_mask_png(tmp_path / "none" / "a.png", np.eye(2, dtype=int))


GOOD = png(b"\0\1\2\0\3\4", 2, 2)


def broken():
    body = tail(b"\0\1\2\0\3\4")
    yield b"", "not a PNG"
    yield b"\xff\xd8\xff\xe0" + bytes(20), "not a PNG.*JPEG"
    yield SIGNATURE, "cut short"
    yield GOOD[:-1], "cut short"
    yield GOOD[:40], "cut short"
    yield GOOD.replace(chunk(b"IEND", b""), b""), "cut short"
    yield GOOD[:-20] + b"\xff" + GOOD[-19:], "damaged.*checksum"
    yield SIGNATURE + body, "header is not the first"
    yield SIGNATURE + header(2, 2) + header(2, 2) + body, "header is not the first"
    yield SIGNATURE + chunk(b"IHDR", b"123") + body, "bad header"
    yield SIGNATURE + header(0, 2) + body, "absurd size.*0 x 2"
    yield SIGNATURE + header(2**31 - 1, 2**31 - 1) + body, "absurd size.*2147483647"
    yield SIGNATURE + header(MAX_PIXELS + 1, 1) + body, "absurd size"
    yield SIGNATURE + header(2, 2, colour=2) + body, "not an index image.*RGB of 8 bits"
    yield SIGNATURE + header(2, 2, colour=6) + body, "RGBA"
    yield SIGNATURE + header(2, 2, colour=9) + body, "colour type 9"
    yield SIGNATURE + header(2, 2, colour=0, depth=16) + body, "greyscale of 16 bits"
    yield SIGNATURE + header(2, 2, colour=0, depth=4) + body, "greyscale of 4 bits"
    yield SIGNATURE + header(2, 2, interlace=1) + body, "interlaced"
    yield SIGNATURE + header(2, 2, compression=1) + body, "unknown compression"
    yield SIGNATURE + header(2, 2, filtering=1) + body, "unknown compression or filter"
    yield SIGNATURE + header(2, 2) + chunk(b"ABCD", b"") + body, "unknown: .*ABCD"
    yield SIGNATURE + header(2, 2) + chunk(b"IEND", b""), "do not fit.*found 0 bytes"
    yield png(b"\0\1\2", 2, 2), "do not fit.*found 3 bytes"
    yield png(bytes(7), 2, 2), "do not fit.*found more"
    yield png(b"\5\1\2\0\3\4", 2, 2), "unknown filter.*found 5"
    junk = chunk(b"IDAT", b"not deflated") + chunk(b"IEND", b"")
    yield SIGNATURE + header(2, 2) + junk, "damaged pixel data"
    short = chunk(b"IDAT", zlib.compress(b"\0\1\2\0\3\4")[:-3]) + chunk(b"IEND", b"")
    yield SIGNATURE + header(2, 2) + short, "no end mark"


@pytest.mark.parametrize(
    ("data", "text"), list(broken()), ids=lambda each: each if isinstance(each, str) else "png"
)
def test_what_cannot_be_read_says_why(tmp_path, data, text):
    path = tmp_path / "mask.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=text) as caught:
        read_mask_png(path)
    assert caught.value.path == path
    assert caught.value.remedy


def test_a_bomb_is_stopped_at_the_size_that_the_header_names():
    bomb = chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match=r"do not fit the header.*found more"):
        decode_mask_png(SIGNATURE + header(4, 4) + bomb)


def mask_or_error(data):
    try:
        return decode_mask_png(data)
    except InputError as error:
        return error


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_mutated_files_give_a_mask_or_a_clear_error(data):
    content = bytearray(encode_mask_png(np.kron(np.arange(12).reshape(3, 4), np.ones((2, 2), int))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["change", "drop", "double", "cut"]))
        if how == "change":
            content[at] = data.draw(st.integers(0, 255))
        elif how == "drop":
            del content[at : at + data.draw(st.integers(1, 30))]
        elif how == "double":
            content[at:at] = content[at : at + 20]
        else:
            del content[at:]
        if not content:
            break
    mask = mask_or_error(bytes(content))
    assert isinstance(mask, InputError) or (mask.dtype == np.uint8 and mask.ndim == 2)


@settings(deadline=None, max_examples=100)
@given(rows=st.binary(min_size=18, max_size=18), fields=st.binary(min_size=5, max_size=5))
def test_any_fields_and_rows_under_right_checksums_give_a_mask_or_a_clear_error(rows, fields):
    head = chunk(b"IHDR", struct.pack(">II", 5, 3) + fields)
    for start in (head, header(5, 3)):
        mask = mask_or_error(SIGNATURE + start + tail(rows))
        assert isinstance(mask, InputError) or mask.shape == (3, 5)


def test_folder_lists_videos_and_frames_in_order_of_their_numbers(tmp_path):
    for video, frames in (("b", ("9", "10", "1")), ("a", ("f_2", "f_10")), ("none", ())):
        (tmp_path / video).mkdir()
        for frame in frames:
            write_mask_png(tmp_path / video / f"{frame}.png", np.full((2, 2), 3))
    (tmp_path / "val.txt").write_text("a\n")
    folder = MaskFolder(root=tmp_path)
    assert folder.videos() == ("a", "b")
    assert folder.frames("b") == ("1", "9", "10")
    assert folder.frames("a") == ("f_2", "f_10")
    assert folder.frames("none") == folder.frames("other") == ()
    assert folder.read("b", "9").tolist() == [[3, 3], [3, 3]]
    with pytest.raises(InputError, match="no such file"):
        folder.read("b", "2")
    with pytest.raises(InputError, match="no such folder"):
        MaskFolder(root=tmp_path / "other")


@settings(deadline=None)
@given(names=st.lists(st.text("ab019_", max_size=5), max_size=6), random=st.randoms())
def test_natural_order_does_not_depend_on_where_a_list_starts(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert sorted(names, key=natural_order) == sorted(shuffled, key=natural_order)
