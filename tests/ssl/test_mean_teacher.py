import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from stad_ssl import MeanTeacher


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def shift(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


def test_average_follows_the_recurrence():
    student = nn.Linear(1, 1, bias=False)
    nn.init.constant_(student.weight, 1.0)
    teacher = MeanTeacher(student, momentum=0.75, warm_up=False)
    for value in (2.0, 4.0):
        nn.init.constant_(student.weight, value)
        teacher.update(student)
    # 0.75 * 1 + 0.25 * 2 = 1.25; 0.75 * 1.25 + 0.25 * 4 = 1.9375
    assert teacher.model.weight.item() == pytest.approx(1.9375)
    assert teacher.updates == 2


def test_warm_up_and_a_function_of_the_updates():
    student = nn.Linear(1, 1)
    teacher = MeanTeacher(student, momentum=0.5)
    seen = []
    for _ in range(12):
        seen.append(teacher.momentum())
        teacher.update(student)
    assert seen[:2] == pytest.approx([0.1, 2 / 11])
    assert max(seen) == 0.5
    ramped = MeanTeacher(student, momentum=lambda n: n / 4)
    assert ramped.momentum() == 0.0
    ramped.update(student)
    assert ramped.momentum() == 0.25


def test_no_gradient_reaches_the_teacher_and_the_student_is_untouched():
    student = network()
    before = copy.deepcopy(student.state_dict())
    teacher = MeanTeacher(student)
    inputs = torch.randn(5, 3, requires_grad=True)
    outputs = teacher(inputs)
    assert not outputs.requires_grad
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert all(p.requires_grad for p in student.parameters())
    assert student.training
    assert not teacher.model.training
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name])
    shift(student, 1.0)
    for own, new in zip(teacher.model.parameters(), student.parameters(), strict=True):
        assert not torch.equal(own, new)


def test_buffers_copied_or_averaged():
    student = network()
    copied = MeanTeacher(student, momentum=0.5, warm_up=False)
    averaged = MeanTeacher(student, momentum=0.5, warm_up=False, buffers="average")
    student(torch.randn(16, 3) + 3.0)
    for teacher in (copied, averaged):
        teacher.update(student)
    assert torch.equal(copied.model[1].running_mean, student[1].running_mean)
    torch.testing.assert_close(averaged.model[1].running_mean, student[1].running_mean / 2)
    assert averaged.model[1].num_batches_tracked == 1  # a counter is never averaged


def test_frozen_parts_stay_bit_equal():
    student = network()
    student[0].requires_grad_(False)
    teacher = MeanTeacher(student, momentum=0.9)
    for _ in range(5):
        shift(student[2], 0.1)
        teacher.update(student)
    assert torch.equal(teacher.model[0].weight, student[0].weight)
    assert not torch.equal(teacher.model[2].weight, student[2].weight)


def test_state_resumes_to_the_bit():
    student = network()
    teacher = MeanTeacher(student, momentum=0.97)
    for _ in range(3):
        shift(student, 0.3)
        teacher.update(student)
    state = copy.deepcopy(teacher.state_dict())
    resumed = MeanTeacher(student, momentum=0.97)
    resumed.load_state_dict(state)
    for _ in range(3):
        shift(student, 0.3)
        teacher.update(student)
        resumed.update(student)
    assert resumed.updates == teacher.updates == 6
    for name, value in teacher.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_restart_copies_the_student_and_its_buffers():
    student = network()
    teacher = MeanTeacher(student, momentum=0.9, buffers="average")
    student(torch.randn(8, 3))
    shift(student, 1.0)
    teacher.update(student)
    teacher.restart(student)
    assert teacher.updates == 0
    for name, value in student.state_dict().items():
        assert torch.equal(value, teacher.model.state_dict()[name])


def test_wrapped_students_are_unwrapped():
    student = network()
    wrapped = nn.DataParallel(student)
    compiled = torch.compile(student, backend="eager")
    for outer in (wrapped, compiled):
        teacher = MeanTeacher(outer)
        assert teacher.model.state_dict().keys() == student.state_dict().keys()
        teacher.update(outer)


def test_bad_input_is_named():
    student = network()
    with pytest.raises(ValueError, match=r"\[0, 1\]; got 1.5"):
        MeanTeacher(student, momentum=1.5)
    with pytest.raises(ValueError, match=r"got -1"):
        MeanTeacher(student, momentum=lambda _: -1.0).update(student)
    with pytest.raises(ValueError, match="sum"):
        MeanTeacher(student, buffers="sum")  # type: ignore[arg-type]
    teacher = MeanTeacher(student)
    with pytest.raises(ValueError, match="differ in"):
        teacher.update(nn.Linear(3, 4))
    with pytest.raises(ValueError, match=r"0.weight has shape \(4, 3\)"):
        teacher.update(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="updates"):
        teacher.load_state_dict({"model": {}})
    with pytest.raises(ValueError, match="another network"):
        teacher.load_state_dict({"model": {}, "updates": 1})


def test_burn_in_ends_with_a_copy_and_then_averages():
    student = network()
    teacher = MeanTeacher(student, momentum=0.75, warm_up=False)
    shift(student, 1.0)  # the burn-in: no updates
    teacher.restart(student)
    start = copy.deepcopy(student.state_dict())
    shift(student, 1.0)
    teacher.update(student)
    for name, parameter in teacher.model.named_parameters():
        torch.testing.assert_close(parameter, start[name] + 0.25)


def test_tables_that_are_not_floating_are_copied():
    student = nn.Linear(2, 2)
    student.register_parameter("order", nn.Parameter(torch.arange(3), requires_grad=False))
    teacher = MeanTeacher(student, momentum=0.5, warm_up=False)
    student.order.add_(5)
    teacher.update(student)
    assert teacher.model.order.tolist() == [5, 6, 7]


def test_buffers_that_the_network_does_not_save_resume_to_the_bit():
    student = nn.Linear(1, 1)
    student.register_buffer("scale", torch.zeros(1), persistent=False)
    teacher = MeanTeacher(student, momentum=0.5, warm_up=False, buffers="average")
    student.scale.fill_(1.0)
    teacher.update(student)
    state = copy.deepcopy(teacher.state_dict())
    resumed = MeanTeacher(student, momentum=0.5, warm_up=False, buffers="average")
    resumed.load_state_dict(state)
    assert resumed.model.scale.item() == 0.5
    with pytest.raises(ValueError, match="another network"):
        MeanTeacher(student).load_state_dict({"model": state["model"], "updates": 1})


def test_state_survives_a_file_without_pickled_code(tmp_path):
    teacher = MeanTeacher(network())
    teacher.update(network())
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    resumed = MeanTeacher(network())
    resumed.load_state_dict(torch.load(tmp_path / "teacher.pt", weights_only=True))
    for own, theirs in zip(
        teacher.model.state_dict().values(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(own, theirs)


def train(student: nn.Module, teacher: MeanTeacher, call: nn.Module, *, steps: int = 3) -> None:
    """A consistency loss against the teacher, as a method would have it."""
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        inputs = torch.randn(8, 3, generator=generator)
        loss = (call(inputs) - teacher(inputs)).square().mean() + call(inputs).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        teacher.update(call)
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_mixed_precision_averages_in_float32():
    student = network()
    teacher = MeanTeacher(student, momentum=0.9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        train(student, teacher, student)
        assert teacher(torch.randn(4, 3)).dtype == torch.bfloat16
    assert {p.dtype for p in teacher.model.parameters()} == {torch.float32}
    assert any(
        not torch.equal(own, new)
        for own, new in zip(teacher.model.parameters(), student.parameters(), strict=True)
    )


@pytest.mark.parametrize("wrapper", ["outer", "in place"])
def test_a_compiled_student_trains_its_teacher_like_a_bare_one(wrapper):
    plain, compiled = network(), network()
    bare_teacher = MeanTeacher(plain, momentum=0.9)
    if wrapper == "outer":
        call = torch.compile(compiled, backend="eager")
    else:
        compiled.compile(backend="eager")
        call = compiled
    teacher = MeanTeacher(call, momentum=0.9)
    train(plain, bare_teacher, plain)
    train(compiled, teacher, call)
    for name, value in bare_teacher.model.state_dict().items():
        torch.testing.assert_close(teacher.model.state_dict()[name], value)


TWO_RANKS = """
import sys, torch
from torch import nn
from stad_ssl import MeanTeacher

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
)
torch.manual_seed(0)
student = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
student[0].bias.requires_grad_(False)
parallel = nn.parallel.DistributedDataParallel(student)
teacher = MeanTeacher(parallel, momentum=0.9)
optimiser = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
data = torch.randn(3, 4, 3)
for inputs in data:
    part = inputs[2 * rank : 2 * rank + 2]
    optimiser.zero_grad()
    (parallel(part) - teacher(part)).sub(1).square().mean().backward()
    optimiser.step()
    teacher.update(parallel)
torch.save(teacher.state_dict(), f"{folder}/rank{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_ranks_keep_one_teacher(tmp_path):
    """Each of two processes trains on half of every batch; the teacher is that of one process."""
    command = [sys.executable, "-c", TWO_RANKS]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    runs = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], env=environment) for rank in range(2)
    ]
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    student[0].bias.requires_grad_(False)
    teacher = MeanTeacher(student, momentum=0.9)
    optimiser = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
    for inputs in torch.randn(3, 4, 3):
        optimiser.zero_grad()
        (student(inputs) - teacher(inputs)).sub(1).square().mean().backward()
        optimiser.step()
        teacher.update(student)
    try:
        assert [run.wait(timeout=180) for run in runs] == [0, 0]
    finally:
        for run in runs:
            run.kill()
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first["updates"] == second["updates"] == 3
    for name, value in teacher.state_dict()["model"].items():
        assert torch.equal(first["model"][name], second["model"][name])
        torch.testing.assert_close(first["model"][name], value)
