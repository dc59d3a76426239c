"""A pool of Beam workers of this project: `python -m pipeline.engines.workers --port 50000` on each
machine that shall work.

An engine starts and ends workers there by the pool's address, with `--environment_type=EXTERNAL
--environment_config=HOST:PORT` in SIMCLR_BEAM_ARGS. The machine needs this checkout, the same lock
file installed, and the pipeline root, the lists and the images under the same paths.
"""

import argparse
import os
import signal
import threading

from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

from pipeline.engines.engine import worker_environment


class Pool(BeamFnExternalWorkerPoolServicer):
    """Beam's pool of processes, which starts one that was killed anew: for a worker that dies
    before it is heard of, as one that runs out of memory, Flink would wait without end. One that
    dies later fails its job, and the engine stops the new one with the others.
    """

    def StartWorker(self, start_worker_request, unused_context):  # noqa: N802 (Beam's name)
        """Starts a worker and watches it; an answer with an error if it cannot be started."""
        response = super().StartWorker(start_worker_request, unused_context)
        worker = self._worker_processes.get(start_worker_request.worker_id)
        if worker:
            threading.Thread(
                target=self._watch, args=(start_worker_request, worker), daemon=True
            ).start()
        return response

    def _watch(self, request, worker) -> None:
        killed_by = -worker.wait()
        # A worker that the engine stops is taken from the table before.
        if killed_by > 0 and self._worker_processes.get(request.worker_id) is worker:
            name = signal.Signals(killed_by).name
            print(f"Worker {request.worker_id} was killed by {name}; started anew", flush=True)
            self.StartWorker(request, None)


def main(arguments: list[str] | None = None) -> None:
    """Keeps the pool, with what its workers need in their environment, until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.engines.workers", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--port", type=int, required=True, help="on which the pool is asked")
    flags = parser.parse_args(arguments)
    os.environ.update(worker_environment())
    _, server = Pool.start(use_process=True, port=flags.port)
    print(f"Beam workers are to be had at port {flags.port}; Ctrl-C ends them", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(0)


if __name__ == "__main__":
    main()
