"""A pool of Beam workers of this project: `python -m pipeline.engines.workers --port 50000` on each
machine that shall work.

An engine starts and ends workers there by the pool's address, with `--environment_type=EXTERNAL
--environment_config=HOST:PORT` in SIMCLR_BEAM_ARGS. The machine needs this checkout, the same lock
file installed, and the pipeline root, the lists and the images under the same paths.
"""

import argparse
import os
import sys

from pipeline.engines.engine import worker_environment


def main(arguments: list[str]) -> None:
    """Becomes Beam's own worker pool, with what its workers need in the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.engines.workers", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--port", type=int, required=True, help="on which the pool is asked")
    flags = parser.parse_args(arguments)
    print(f"Beam workers are to be had at port {flags.port}; Ctrl-C ends them", flush=True)
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [sys.executable, "-m", module, f"--service_port={flags.port}"]
    os.execve(sys.executable, command, {**os.environ, **worker_environment()})


if __name__ == "__main__":
    main(sys.argv[1:])
