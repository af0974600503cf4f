"""Transformer backbones: the maps they promise, and torchvision's own values behind them."""

import pytest
import torch
from torch import nn
from torchvision.models import video
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from stad_models import SeStad, zoo
from stad_models.backbones.features import Features
from stad_models.backbones.mvit import MultiscaleTransformer
from stad_models.backbones.recomputation import recompute_stages
from stad_models.backbones.video_swin import VideoSwin, WindowAttention, window_block
from stad_models.backbones.vivit import Vivit, VivitShape
from stad_models.zoo.se_stad import compose

SMALL_VIVIT = VivitShape(width=16, heads=2, spatial_depth=2, temporal_depth=2, frames=8, size=64)


def narrow_mvit(*, relative: bool) -> MViT:
    """torchvision's transformer with one block per stage, made for 8 x 64 x 64; v2 is relative."""
    widths = (8, 8, 16, 32, 64)
    settings = [
        MSBlockConfig(
            num_heads=2**stage,
            input_channels=widths[stage],
            output_channels=widths[stage + 1],
            kernel_q=[3, 3, 3],
            kernel_kv=[3, 3, 3],
            stride_q=[1, 1, 1] if stage == 0 else [1, 2, 2],
            stride_kv=[1, 8 >> stage, 8 >> stage],
        )
        for stage in range(4)
    ]
    return MViT(
        spatial_size=(64, 64),
        temporal_size=8,
        block_setting=settings,
        residual_pool=relative,
        residual_with_cls_embed=False,
        rel_pos_embed=relative,
        proj_after_attn=relative,
    )


def narrow_swin(**options) -> SwinTransformer3d:
    return SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=8,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        window_size=[4, 3, 3],
        **options,
    )


BUILDERS = {
    "mvit_v1": lambda: MultiscaleTransformer(narrow_mvit(relative=False)),
    "mvit_v2": lambda: MultiscaleTransformer(narrow_mvit(relative=True)),
    "video_swin": lambda: VideoSwin(narrow_swin(block=window_block)),
    "vivit": lambda: Vivit(SMALL_VIVIT),
}


@pytest.fixture(params=BUILDERS)
def backbone(request) -> nn.Module:
    return BUILDERS[request.param]().eval()


def check_maps(backbone: nn.Module, features: Features, clips: torch.Tensor) -> None:
    assert {"res3": 8, "res4": 16}.items() <= backbone.strides.items()
    assert features.keyframe.keys() == backbone.strides.keys() - {"clip"}
    for name, found in features.keyframe.items():
        cells = [-(-side // backbone.strides[name]) for side in clips.shape[3:]]
        assert list(found.shape) == [len(clips), backbone.channels[name], *cells], name
    (clip,) = features.clip
    cells = [-(-side // backbone.strides["clip"]) for side in clips.shape[3:]]
    assert list(clip.shape) == [
        len(clips), backbone.channels["clip"], -(-clips.shape[2] // 2), *cells,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "shape", [(8, 64, 64), (4, 64, 96), (6, 50, 70), (2, 32, 33), (12, 96, 40)]
)
def test_maps_have_the_promised_shapes_for_any_clip(backbone, shape):
    clips = torch.randn(2, 3, *shape)
    with torch.no_grad():
        check_maps(backbone, backbone(clips), clips)


def test_clips_of_a_batch_do_not_mix(backbone):
    clips = torch.randn(2, 3, 4, 64, 48)
    with torch.no_grad():
        both, alone = backbone(clips), backbone(clips[1:])
    torch.testing.assert_close(both.clip[0][1:], alone.clip[0], rtol=1e-4, atol=1e-5)
    for name, found in alone.keyframe.items():
        torch.testing.assert_close(both.keyframe[name][1:], found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "word"),
    [((3, 8, 64, 64), r"\[N, 3, T, H, W\]"), ((1, 3, 0, 64, 64), "at least 1"),
     ((1, 3, 4, 64, 12), "pixels high and wide, found 12x64")],
)  # fmt: skip
def test_clips_that_no_backbone_can_take_are_refused(backbone, shape, word):
    with pytest.raises(ValueError, match=word):
        backbone(torch.zeros(shape))


def test_recomputed_activations_change_nothing(backbone):
    backbone.train()
    clips = torch.randn(2, 3, 4, 48, 64)
    gradients = []
    for again in (False, True):
        if again:
            recompute_stages(backbone)
        backbone.zero_grad()
        torch.manual_seed(1)  # for the branches that are left out
        features = backbone(clips)
        sum(x.square().sum() for x in (*features.keyframe.values(), *features.clip)).backward()
        gradients.append(
            {n: w.grad.clone() for n, w in backbone.named_parameters() if w.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-5)


def test_bfloat16_gives_nearly_the_same_maps(backbone):
    clips = torch.randn(1, 3, 6, 48, 64)
    with torch.no_grad():
        full = backbone(clips)
        with torch.autocast("cpu", torch.bfloat16):
            half = backbone(clips)
    largest = full.clip[0].abs().max()
    assert (half.clip[0].float() - full.clip[0]).abs().max() < 0.05 * largest
    for name, found in full.keyframe.items():
        assert (half.keyframe[name].float() - found).abs().max() < 0.1 * found.abs().max()


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_detector_on_it_trains_and_finds(make_targets, kind):
    model = compose(BUILDERS[kind](), 5, clip_length=8, clip_stride=2)
    clips, targets = torch.randn(2, 3, 8, 64, 96), make_targets((2, 1), size=(96, 64))
    losses = model(clips, targets)
    sum(losses.values()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert bool(weight.grad.isfinite().all()), name
    with torch.no_grad():
        found = model.eval()(clips)
    assert len(found) == 2
    assert all(one.scores.shape[1] == 5 for one in found)


class TestMultiscaleTransformer:
    @pytest.mark.parametrize("relative", [False, True])
    def test_maps_are_torchvisions(self, relative):
        theirs = narrow_mvit(relative=relative).eval()
        for weight in theirs.parameters():
            nn.init.normal_(weight, std=0.3)
        tokens, ends = {}, {}
        for index, block in enumerate(theirs.blocks):
            block.register_forward_hook(lambda _m, _i, out, i=index: tokens.update({i: out}))
        theirs.norm.register_forward_hook(lambda _m, _i, out: ends.update(clip=out))
        clips = torch.randn(2, 3, 8, 64, 64)
        with torch.no_grad():
            theirs(clips)
            stages, last = dict(tokens), ends["clip"]
            ours = MultiscaleTransformer(theirs, last_stride=32).eval()(clips)
        for index, name in enumerate(("res2", "res3", "res4", "res5")):
            values, size = stages[index]
            keyframe = values[:, 1:].unflatten(1, size)[:, size[0] // 2].permute(0, 3, 1, 2)
            mean = keyframe.mean(1, keepdim=True)
            normal = (keyframe - mean) / keyframe.std(1, keepdim=True, correction=0)
            torch.testing.assert_close(ours.keyframe[name], normal, rtol=1e-3, atol=1e-4)
        expected = last[:, 1:].unflatten(1, stages[3][1]).permute(0, 4, 1, 2, 3)
        torch.testing.assert_close(ours.clip[0], expected)

    @pytest.mark.parametrize("relative", [False, True])
    def test_a_finer_last_stage_has_the_same_tensors(self, relative):
        coarse, fine = (
            MultiscaleTransformer(narrow_mvit(relative=relative), last_stride=stride).eval()
            for stride in (32, 16)
        )
        fine.load_state_dict(coarse.state_dict())
        assert (coarse.strides["clip"], fine.strides["clip"]) == (32, 16)
        clips = torch.randn(1, 3, 4, 64, 64)
        with torch.no_grad():
            a, b = coarse(clips), fine(clips)
        assert a.clip[0].shape[3:] == (2, 2)
        assert b.clip[0].shape[3:] == (4, 4)
        for name in ("res2", "res3", "res4"):
            assert torch.equal(a.keyframe[name], b.keyframe[name])

    def test_absolute_positions_are_interpolated(self):
        # Positions that grow linearly over the rows still do in a clip twice as high.
        net = narrow_mvit(relative=False)
        with torch.no_grad():
            rows = torch.arange(16.0).repeat_interleave(16)
            net.pos_encoding.spatial_pos.copy_(rows[:, None].expand(-1, 8))
            net.pos_encoding.temporal_pos.zero_()
            net.pos_encoding.class_pos.zero_()
            net.pos_encoding.class_token.zero_()
            net.conv_proj.weight.zero_()
            net.conv_proj.bias.zero_()
        model = MultiscaleTransformer(net)
        seen = []
        net.blocks[0].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        with torch.no_grad():
            model(torch.zeros(1, 3, 2, 128, 64))
        column = seen[0][0, 1:, 0].view(1, 32, 16)[0, :, 3]
        expected = (torch.arange(32.0) - 0.5) / 2
        torch.testing.assert_close(column[1:-1], expected[1:-1])

    def test_other_stages_and_strides_are_refused(self):
        with pytest.raises(ValueError, match="must be 16 or 32, found 8"):
            MultiscaleTransformer(narrow_mvit(relative=True), last_stride=8)
        net = narrow_mvit(relative=True)
        net.blocks[2].pool_skip = None
        with pytest.raises(ValueError, match="four stages are needed, found 3"):
            MultiscaleTransformer(net)


class TestVideoSwin:
    def test_maps_are_torchvisions(self):
        theirs = narrow_swin().eval()
        for weight in theirs.parameters():
            nn.init.normal_(weight, std=0.3)
        mine = narrow_swin(block=window_block).eval()
        mine.load_state_dict(theirs.state_dict())
        clips = torch.randn(1, 3, 8, 96, 112)  # 3 x 4 cells in the last stage: windows are whole
        with torch.no_grad():
            x, stages = theirs.patch_embed(clips), []
            for index, part in enumerate(theirs.features):
                x = part(x)
                stages += [x] if index % 2 == 0 else []
            ours = VideoSwin(mine).eval()(clips)
            expected = theirs.norm(x).permute(0, 4, 1, 2, 3)
        torch.testing.assert_close(ours.clip[0], expected)
        for tokens, name in zip(stages, ("res2", "res3", "res4", "res5"), strict=True):
            keyframe = tokens[:, 2]
            normal = nn.functional.layer_norm(keyframe, keyframe.shape[-1:], eps=1e-6)
            torch.testing.assert_close(ours.keyframe[name], normal.permute(0, 3, 1, 2))

    def test_relative_positions_of_cut_windows(self):
        attention = WindowAttention(8, [4, 3, 3], [0, 0, 0], 2)
        nn.init.normal_(attention.relative_position_bias_table)
        table = attention.relative_position_bias_table.view(7, 5, 5, 2)
        for window in ([4, 3, 3], [2, 3, 3], [4, 2, 3], [3, 1, 2]):
            t, h, w = window
            cells = [(a, b, c) for a in range(t) for b in range(h) for c in range(w)]
            bias = attention.get_relative_position_bias(list(window))
            assert bias.shape == (1, 2, len(cells), len(cells))
            for i, a in enumerate(cells):
                for j, b in enumerate(cells):
                    place = [x - y + size - 1 for x, y, size in zip(a, b, (4, 3, 3), strict=True)]
                    assert torch.equal(bias[0, :, i, j], table[tuple(place)])
        whole = ShiftedWindowAttention3d(8, [4, 3, 3], [0, 0, 0], 2)
        whole.load_state_dict(attention.state_dict())
        for window in ([4, 3, 3], [2, 3, 3]):
            assert torch.equal(
                attention.get_relative_position_bias(list(window)),
                whole.get_relative_position_bias(list(window)),
            )

    def test_the_named_models_are_torchvisions(self):
        with torch.device("meta"):
            for ours, theirs in (
                (zoo.swin3d_t, video.swin3d_t),
                (zoo.swin3d_s, video.swin3d_s),
                (zoo.swin3d_b, video.swin3d_b),
            ):
                expected = {
                    f"transformer.{name}": value.shape
                    for name, value in theirs().state_dict().items()
                    if not name.startswith("head.")
                }
                found = {name: value.shape for name, value in ours().state_dict().items()}
                assert found == expected

    def test_another_number_of_stages_is_refused(self):
        net = SwinTransformer3d([2, 4, 4], 8, [2, 2], [1, 2], [4, 3, 3], block=window_block)
        with pytest.raises(ValueError, match="four stages with three mergers"):
            VideoSwin(net)


class TestVivit:
    def test_space_comes_before_time(self):
        model = Vivit(SMALL_VIVIT).eval()
        clips = torch.randn(1, 3, 8, 64, 64)
        changed = clips.clone()
        changed[:, :, :4] += 1  # frames 4 and 5 are the keyframe's tubelet
        changed[:, :, 6:] -= 1
        with torch.no_grad():
            a, b = model(clips), model(changed)
        for name in ("res3", "res4"):
            torch.testing.assert_close(a.keyframe[name], b.keyframe[name])
        assert not torch.allclose(a.clip[0][:, :, 2], b.clip[0][:, :, 2], atol=1e-3)

    def test_time_is_seen_place_by_place(self):
        model = Vivit(SMALL_VIVIT).eval()
        model.spatial = nn.Sequential()
        clips = torch.randn(1, 3, 8, 64, 64)
        changed = clips.clone()
        changed[:, :, 0, :16, :16] += 1
        with torch.no_grad():
            moved = (model(clips).clip[0] - model(changed).clip[0]).abs().amax(dim=(0, 1))
        assert bool((moved[:, 0, 0] > 1e-5).all())
        moved[:, 0, 0] = 0
        assert moved.max() < 1e-5

    def test_padding_below_and_right_is_black(self):
        model = Vivit(SMALL_VIVIT).eval()
        clips = torch.randn(1, 3, 4, 56, 40)
        padded = nn.functional.pad(clips, (0, 8, 0, 8))
        with torch.no_grad():
            a, b = model(clips), model(padded)
        torch.testing.assert_close(a.clip[0], b.clip[0])
        torch.testing.assert_close(a.keyframe["res3"], b.keyframe["res3"][:, :, :7, :5])

    def test_odd_lengths_and_shapes_are_refused(self):
        with pytest.raises(ValueError, match="multiple of 2, found 5"):
            Vivit(SMALL_VIVIT)(torch.zeros(1, 3, 5, 64, 64))
        for change, word in (
            ({"width": 10}, "twice the heads"),
            ({"heads": 0}, "must be positive"),
            ({"frames": 7}, "multiple of 2"),
            ({"size": 100}, "of 16"),
            ({"drop_path": 1.0}, r"in \[0, 1\)"),
        ):
            with pytest.raises(ValueError, match=word):
                VivitShape(**{"width": 16, "heads": 2, **change})


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mvit_v1_b", {"res3": 384, "res4": 768, "clip": 768}),
        ("mvit_v2_s", {"res3": 192, "res4": 384, "clip": 768}),
        ("swin3d_t", {"res3": 192, "res4": 384, "clip": 768}),
        ("swin3d_s", {"res3": 192, "res4": 384, "clip": 768}),
        ("swin3d_b", {"res3": 256, "res4": 512, "clip": 1024}),
        ("vivit_small", {"res3": 192, "res4": 384, "clip": 384}),
    ],
)
def test_named_models_have_their_published_widths(name, channels):
    with torch.device("meta"):
        backbone = getattr(zoo, name)()
        detector = getattr(zoo, f"se_stad_{name}")(80)
    assert channels.items() <= backbone.channels.items()
    assert isinstance(detector, SeStad)
    assert detector.backbone.channels == backbone.channels
    assert detector.neck.strides == (8, 16, 32)
