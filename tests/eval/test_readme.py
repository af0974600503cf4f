import subprocess
import sys


def test_the_example_runs_as_it_stands(run_readme):
    names = run_readme("stad-eval")
    assert names["result"].mean == 0.75
    assert len(names["tubes"]) == 2


def test_import_brings_neither_torch_nor_plots():
    heavy = "torch typer matplotlib jinja2 scipy"
    code = f"import sys, stad_eval; print([n for n in '{heavy}'.split() if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
