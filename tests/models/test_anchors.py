import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models.heads.anchors import AnchorShapes, anchors_of, decode, encode, per_anchor
from stad_models.heads.locations import points_of, spread


def test_anchors_lie_round_their_cells_level_by_level():
    levels = [torch.zeros(1, 4, 2, 3), torch.zeros(1, 4, 1, 2)]
    shapes = AnchorShapes(scale=4.0, steps=1, ratios=(1.0, 4.0))
    anchors = anchors_of(levels, (8, 16), shapes)
    assert shapes.count == 2
    assert anchors.shape == (2 * (6 + 2), 4)
    # The first cell of the fine level: a square of 32, and one of its area four times as high.
    assert anchors[0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]
    assert anchors[1].tolist() == [4 - 8, 4 - 32, 4 + 8, 4 + 32]
    assert anchors[2].tolist() == [12 - 16, 4 - 16, 12 + 16, 4 + 16]
    # The second cell of the coarse level.
    assert anchors[14].tolist() == [24 - 32, 8 - 32, 24 + 32, 8 + 32]


def test_the_published_nine_sizes():
    anchors = anchors_of([torch.zeros(1, 1, 1, 1)], (8,), AnchorShapes())
    sides = anchors[:, 2:] - anchors[:, :2]
    areas = sides.prod(dim=1).sqrt().reshape(3, 3)
    wanted = torch.tensor([32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)])
    torch.testing.assert_close(areas, wanted[:, None].expand(3, 3))
    torch.testing.assert_close(
        (sides[:, 1] / sides[:, 0]).reshape(3, 3), torch.tensor([[0.5, 1, 2]]).expand(3, 3)
    )


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"steps": 0}, {"ratios": ()}, {"ratios": (-1,)}])
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        AnchorShapes(**wrong)


def test_points_and_values_per_level():
    levels = [torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)]
    assert points_of(levels, (8, 16)).tolist() == [[4, 4], [12, 4], [8, 8]]
    assert spread((8, 16), levels).tolist() == [8, 8, 16]
    assert spread(((0.0, 1.0), (1.0, math.inf)), levels).tolist() == [[0, 1], [0, 1], [1, math.inf]]


def test_changes_by_hand():
    anchor = torch.tensor([[0.0, 0, 10, 20]])
    box = torch.tensor(
        [[5.0, 10, 25, 20]]
    )  # centre (15, 15) from (5, 10), twice as wide, half as high
    found = encode(box, anchor, (10.0, 5.0))
    wanted = [10 * 1.0, 10 * 0.25, 5 * math.log(2), -5 * math.log(2)]
    assert found[0].tolist() == pytest.approx(wanted)
    torch.testing.assert_close(decode(found, anchor, (10.0, 5.0)), box)


def test_a_wild_change_stays_finite():
    found = decode(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 16, 16]]))
    sides = found[:, 2:] - found[:, :2]
    torch.testing.assert_close(sides, torch.full((1, 2), 1000.0), rtol=1e-3, atol=0)


sides = st.floats(1.0, 300.0)
corners = st.floats(-100.0, 400.0)
boxes = st.tuples(corners, corners, sides, sides).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(st.tuples(boxes, boxes), max_size=5))
@settings(deadline=None, max_examples=40)
def test_decoding_undoes_encoding(pairs):
    box = torch.tensor([a for a, _ in pairs], dtype=torch.float64).reshape(-1, 4)
    anchor = torch.tensor([b for _, b in pairs], dtype=torch.float64).reshape(-1, 4)
    growth = ((box[:, 2:] - box[:, :2]) / (anchor[:, 2:] - anchor[:, :2])).amax(dim=1)
    keep = growth < 1000 / 16
    found = decode(encode(box, anchor, (10.0, 5.0)), anchor, (10.0, 5.0))
    torch.testing.assert_close(found[keep], box[keep])


def test_maps_become_rows_in_the_order_of_anchors():
    # Channel a * 4 + k of cell (y, x) holds the k-th number of anchor a there.
    x = torch.arange(2 * 4 * 2 * 3, dtype=torch.float32).reshape(1, 8, 2, 3)
    rows = per_anchor(x, 4)
    assert rows.shape == (1, 12, 4)
    for row, (y, column, anchor) in enumerate(
        (y, column, anchor) for y in range(2) for column in range(3) for anchor in range(2)
    ):
        assert rows[0, row].tolist() == x[0, anchor * 4 : anchor * 4 + 4, y, column].tolist()
