"""The example of the package's README runs as it stands, also where torch is not installed."""

import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "packages" / "stad-data" / "README.md"


def test_the_readme_runs(run_readme, capsys):
    names = run_readme("stad-data")
    assert all(problem.severity == "warning" for problem in names["problems"])
    assert names["clip"].frames.shape == (8, 120, 160, 3)
    assert len(names["clip"].boxes) > 0
    table = capsys.readouterr().out
    assert "part" in table
    assert "walk_left" in table


def test_importing_the_package_does_not_import_torch():
    code = "import sys, stad_data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_readme_needs_no_torch(tmp_path):
    block = README.read_text().split("```python\n")[1].split("```")[0]
    code = "import sys\nsys.modules['torch'] = sys.modules['torchvision'] = None\n" + block
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
