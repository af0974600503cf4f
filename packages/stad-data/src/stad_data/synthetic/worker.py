"""A process that renders videos: a task, then numbers of films on stdin; outcomes on stdout."""

import json
import sys
from pathlib import Path

from stad_data.synthetic.films import Parameters, plan
from stad_data.synthetic.rendering import render


def main() -> None:
    """Render one film per line until stdin ends."""
    task = json.loads(sys.stdin.readline())
    parameters = Parameters.from_json(task["parameters"])
    films = plan(parameters)
    for line in sys.stdin:
        answer: dict[str, object] = {"done": True}
        try:
            render(Path(task["root"]), films[int(line)], parameters)
        except OSError as error:
            answer = {
                "done": False,
                "errno": error.errno,
                "strerror": error.strerror or str(error),
                "filename": None if error.filename is None else str(error.filename),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
