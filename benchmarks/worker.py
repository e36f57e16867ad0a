"""One measurement in a process of its own: `python -m benchmarks.worker CONTENDER WORK URL NUMBER`."""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    contender, work, url, number = sys.argv[1:]
    module = importlib.import_module(f".with_{contender}", "benchmarks")
    result = getattr(module, work)(url, int(number))
    print(json.dumps(result), flush=True)
    # Thousands of connections, and threads that wait in them, need not be taken down one by one.
    os._exit(0)


if __name__ == "__main__":
    main()
