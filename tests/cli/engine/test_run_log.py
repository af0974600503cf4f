import json
import math

from stad_cli.engine.run_log import RunLog, read_log


def test_entries_come_back_and_a_resumed_run_drops_what_lies_beyond_its_checkpoint(tmp_path):
    with RunLog(tmp_path, step=0) as log:
        for step in (2, 4, 6):
            log.write(step, {"loss": {"total": 1 / step}, "lr": 0.1})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    assert [entry["step"] for entry in read_log(tmp_path)] == [2, 4, 6]
    with RunLog(tmp_path, step=4) as log:
        log.write(6, {"loss": {"total": math.nan}})
    entries = read_log(tmp_path)
    assert [entry["step"] for entry in entries] == [2, 4, 6]
    assert entries[0] == {"step": 2, "loss": {"total": 0.5}, "lr": 0.1}
    assert entries[2]["loss"]["total"] is None
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line)


def test_the_final_evaluation_is_dropped_when_it_is_done_again(tmp_path):
    with RunLog(tmp_path, step=0) as log:
        log.write(6, {"loss": {"total": 1.0}})
        log.write(6, {"eval": {"frame_mAP": 0.5}, "final": True})
    with RunLog(tmp_path, step=6):
        pass
    assert read_log(tmp_path) == [{"step": 6, "loss": {"total": 1.0}}]


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, step=0) as log:
        log.write(3, {"loss": {"total": 0.25}, "lr": 0.5, "part": "test", "final": True})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss/total", "lr"]
    (point,) = events.Scalars("loss/total")
    assert (point.step, point.value) == (3, 0.25)


def test_no_log_is_an_empty_one(tmp_path):
    assert read_log(tmp_path) == []
