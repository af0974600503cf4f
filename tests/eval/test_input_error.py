import pickle
from pathlib import Path

from stad_eval import InputError


def test_message_holds_every_part_in_reading_order():
    error = InputError(
        "bad score", path="a/b.csv", row=3, expected="a number", found="x1", remedy="Mend it."
    )
    assert str(error) == "a/b.csv, row 3: bad score: expected a number, found x1. Mend it."
    assert error.path == Path("a/b.csv")
    assert isinstance(error, ValueError)


def test_message_without_parts_is_the_problem():
    assert str(InputError("no rows")) == "no rows"


def test_long_findings_are_cut():
    assert len(str(InputError("bad", found="x" * 10_000))) < 400


def test_survives_the_border_of_a_process():
    error = InputError("bad", path="f.csv", row=2, expected=[1, 2], found=(3,), remedy="R.")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.row == 2
