"""Optical flow: a known motion is found, what cannot be computed is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from stad_data import flow
from stad_data.flow import FlowSettings, flow_stream, optical_flow
from stad_eval import InputError

SHIFT = (3, -2)


def pattern(dx: float, dy: float, size=(96, 72)) -> np.ndarray:
    """Smooth waves, moved by (dx, dy)."""
    y, x = np.mgrid[: size[1], : size[0]]
    x, y = x - dx, y - dy
    plane = 127 + 40 * np.sin(x / 5) + 40 * np.cos(y / 7) + 20 * np.sin((x + y) / 3)
    return np.stack([plane, 255 - plane, plane / 2], axis=2).clip(0, 255).astype(np.uint8)


def moving(count: int) -> np.ndarray:
    return np.stack([pattern(SHIFT[0] * t, SHIFT[1] * t) for t in range(count)])


@pytest.mark.parametrize("method", ["dis", "tvl1"])
def test_a_translation_is_found(method):
    cv2 = pytest.importorskip("cv2")
    if method == "tvl1" and not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV has no contributed modules")
    found = optical_flow(moving(3), FlowSettings(method=method))
    assert (found.shape, found.dtype) == ((3, 72, 96, 2), np.float32)
    np.testing.assert_allclose(found[:2, 12:-12, 12:-12].mean((1, 2)), [SHIFT] * 2, atol=0.05)
    assert np.abs(found[:2, 12:-12, 12:-12] - SHIFT).max() < 0.5
    assert not found[2].any()


def test_a_stream_gives_the_same():
    pytest.importorskip("cv2")
    frames = moving(4)
    streamed = list(flow_stream(iter(frames[:, :, ::-1])))
    np.testing.assert_array_equal(streamed, optical_flow(frames[:, :, ::-1]))


def test_still_and_single_and_no_frames():
    pytest.importorskip("cv2")
    assert not optical_flow(np.repeat(moving(1), 3, axis=0)).any()
    assert optical_flow(moving(1)).shape == (1, 72, 96, 2)
    assert optical_flow(moving(1)[:0]).shape == (0, 72, 96, 2)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
def test_small_frames_are_refused(size):
    """OpenCV's DIS ends the process on some of them."""
    pytest.importorskip("cv2")
    with pytest.raises(InputError, match="too small for optical flow"):
        optical_flow(np.zeros((2, size[1], size[0], 3), np.uint8))
    with pytest.raises(InputError, match="too small for optical flow"):
        FlowSettings(size=size)


def test_the_smallest_frames_work():
    pytest.importorskip("cv2")
    for size in [(16, 16), (16, 300), (300, 16)]:
        assert np.isfinite(optical_flow(np.stack([pattern(t, 0, size) for t in (0, 1)]))).all()


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="dis, tvl1"):
        FlowSettings(method="farneback")


def test_what_is_missing_is_named(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(flow, "import_module", absent)
    with pytest.raises(InputError, match=r"opencv-contrib-python-headless.*stad-data\[flow\]"):
        optical_flow(moving(2))
    plain = SimpleNamespace(__version__="4.12.0")
    monkeypatch.setattr(flow, "import_module", lambda _: plain)
    with pytest.raises(InputError, match=r"no TV-L1.*contrib.*4\.12\.0"):
        optical_flow(moving(2), FlowSettings(method="tvl1"))
