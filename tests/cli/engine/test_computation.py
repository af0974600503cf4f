"""Options that change how a network computes and not what: formats, compiled code, SyncBN, TF32."""

import copy

import pytest
import torch
from torch import nn

from stad_cli.engine import checkpoint
from stad_cli.engine.computation import channels_last, multiplication, prepare
from stad_cli.engine.distributed import Processes
from stad_cli.engine.train import train
from stad_eval import InputError
from stad_models import Targets, zoo

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))


def contiguous_detector():
    torch.manual_seed(0)
    model = zoo.se_stad_tiny(2, dropout=0.0)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return model.train()


def losses_and_gradients(model):
    torch.manual_seed(1)
    boxes = (torch.tensor([[8.0, 8.0, 40.0, 44.0]]), torch.tensor([[20.0, 4.0, 60.0, 40.0]]))
    labels = (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    losses = model(torch.randn(2, 3, 4, 48, 64), Targets(boxes=boxes, labels=labels))
    torch.stack(tuple(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


def test_channels_last_lays_weights_out_and_keeps_losses_and_gradients():
    plain = contiguous_detector()
    other = copy.deepcopy(plain)
    channels_last(other)
    moved = [
        name
        for name, weight in other.named_parameters()
        if weight.stride() != dict(plain.named_parameters())[name].stride()
    ]
    assert any(other.get_parameter(name).ndim == 5 for name in moved)
    assert any(other.get_parameter(name).ndim == 4 for name in moved)
    before, after = losses_and_gradients(plain), losses_and_gradients(other)
    for name, loss in before[0].items():
        torch.testing.assert_close(after[0][name], loss, rtol=1e-4, atol=1e-5)
    largest = max(gradient.abs().max() for gradient in before[1].values())
    for name, gradient in before[1].items():
        torch.testing.assert_close(after[1][name], gradient, rtol=1e-3, atol=1e-5 * float(largest))


def test_options_that_keep_results_may_change_in_a_resumed_run(recipe, dataset, tmp_path):
    short = ("optim.steps=3", "eval.every=0")
    first = train(recipe(*short), data=dataset, out=tmp_path / "a", device="cpu")
    again = recipe(*short, "run.channels_last=true", "run.threads=2")
    resumed = train(again, data=dataset, out=tmp_path / "a", resume=True, device="cpu")
    # nothing is left to train: the same weights, laid out in another way
    assert resumed.evaluation.metrics() == pytest.approx(first.evaluation.metrics(), abs=1e-6)


def test_statistics_of_all_processes_are_those_of_one_where_there_is_one(recipe, dataset, tmp_path):
    ends = []
    for kind in ("local", "sync"):
        chosen = recipe("optim.steps=3", "eval.every=0", f"model.batch_norm={kind}")
        found = train(chosen, data=dataset, out=tmp_path / kind, device="cpu")
        ends.append(checkpoint.load(found.last)["training"]["network"])
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_statistics_of_several_processes_need_cuda(recipe):
    two = Processes(rank=0, ranks=2, local_ranks=2, device=torch.device("cpu"))
    with pytest.raises(InputError, match=r"batch_norm sync needs CUDA.*2 processes on the cpu"):
        prepare(nn.Linear(1, 1), recipe("model.batch_norm=sync"), two)
    model = prepare(
        nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4)),
        recipe("model.batch_norm=sync"),
        Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu")),
    )
    assert isinstance(model[1], nn.SyncBatchNorm)


def test_tf32_holds_inside_and_is_restored():
    places = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    for wanted, name in ((True, "tf32"), (False, "ieee")):
        with multiplication(tf32=wanted):
            assert [place.fp32_precision for place in places] == [name, name]
        assert [place.fp32_precision for place in places] == before


def test_what_compiling_lacks_is_said_before_training(recipe, monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"Linear has no part named backbone.*compile=model"):
        prepare(nn.Linear(1, 1), recipe("run.compile=backbone"), ALONE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler.*compile=none"):
        prepare(nn.Linear(1, 1), recipe("run.compile=model"), ALONE)


def test_copies_of_a_compiled_network_are_eager_and_names_stay(recipe):
    model = contiguous_detector()
    names = list(model.state_dict())
    prepare(model, recipe("run.compile=backbone"), ALONE)
    assert list(model.state_dict()) == names
    assert model.backbone._compiled_call_impl is not None
    assert copy.deepcopy(model).backbone._compiled_call_impl is None


@pytest.mark.slow
@pytest.mark.parametrize("part", ["backbone", "model"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about what it cannot fuse
def test_compiled_training_equals_eager_training(part, recipe, dataset, tmp_path):
    ends = []
    for kind in ("none", part):
        # AdamW would make much of a gradient's last digit.
        chosen = recipe("optim.steps=3", "eval.every=2", "optim.ema=0", "optim.name=sgd",
                        "optim.lr=0.02", f"run.compile={kind}")  # fmt: skip
        found = train(chosen, data=dataset, out=tmp_path / kind, device="cpu")
        ends.append((checkpoint.load(found.last)["model"], found.evaluation))
    (eager, scored), (compiled, other) = ends
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=2e-3, atol=2e-3)
    assert other.metrics() == pytest.approx(scored.metrics(), abs=0.05)


@pytest.mark.parametrize(
    ("frames", "kernel", "stride", "thin"),
    [(2, 3, 1, True), (4, 5, 2, True), (2, 3, 2, False), (1, 3, 1, False), (3, 3, 1, False)],
)
def test_bfloat16_on_cpus_refuses_maps_of_fewer_frames_than_a_kernel_spans(
    recipe, frames, kernel, stride, thin
):
    def convolution():
        torch.manual_seed(0)
        size = (kernel, 3, 3)
        return nn.Sequential(nn.Conv3d(16, 16, size, (stride, 1, 1), (kernel // 2, 1, 1)))

    clips = torch.randn(2, 16, frames, 8, 8)
    model = prepare(convolution(), recipe("optim.amp=bf16"), ALONE)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = convolution()(clips)
        assert torch.equal(model(clips), wanted)
    if thin:
        message = rf"gradient of 0.weight.*at least {kernel} frames.*found {frames}.*amp=none"
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match=message):
            copy.deepcopy(model)(clips)
        return
    whole = convolution()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(clips).float()
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (whole(clips) * weights).sum().backward()
    largest = whole[0].weight.grad.abs().max()
    assert (model[0].weight.grad - whole[0].weight.grad).abs().max() < 0.02 * largest


def test_other_precisions_take_thin_maps(recipe):
    model = prepare(nn.Conv3d(3, 4, 3, padding=1), recipe("optim.amp=none"), ALONE)
    assert model(torch.randn(1, 3, 2, 8, 8)).requires_grad
