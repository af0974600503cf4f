"""What every test folder shares: where real data and goldens lie, how a README's example runs."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def golden() -> Path:
    """Small reference files that are part of the repository."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets, named by STAD_DATA; the test is skipped without it."""
    found = os.environ.get("STAD_DATA")
    if not found:
        pytest.skip("real data: set STAD_DATA to the folder that holds jhmdb/, ucf24/, videos/ ...")
    path = Path(found)
    if not path.is_dir():
        pytest.fail(f"STAD_DATA names {found}, which is no folder")
    return path


@pytest.fixture
def run_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict]:
    """Run every ```python block of a package's README, in order, in an empty folder."""

    def run(package: str) -> dict:
        readme = ROOT / "packages" / package / "README.md"
        blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
        assert blocks, f"{readme} shows no python example"
        monkeypatch.chdir(tmp_path)
        names: dict = {}
        for block in blocks:
            exec(compile(block, str(readme), "exec"), names)
        return names

    return run
