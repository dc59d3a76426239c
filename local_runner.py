"""Runs the pipeline on this machine: `python local_runner.py` with no flag runs the demo.

Flags, file and recipe -> choices (pipeline/choices.py) -> plan (pipeline/plan.py) -> run
(pipeline/runner.py). Nothing heavy is imported before all input has been checked.
"""

import os
import signal

INTERRUPTED = "Interrupted before the run began. The same command starts it."


def _end(*_) -> None:
    os.write(1, f"{INTERRUPTED}\n".encode())
    os._exit(1)


if __name__ == "__main__":  # before the rest is loaded, which takes a while
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from components.metadata.url import parse_mysql  # noqa: E402
from pipeline.arguments import BAD_INPUT, DONE, FAILED  # noqa: E402
from pipeline.faults import fault  # noqa: E402
from pipeline.flags import Parser, build_parser, choices_of, refuse_beside_resume  # noqa: E402
from pipeline.stopping import stoppable  # noqa: E402
from trainer_module.errors import InputError  # noqa: E402

RUNS = Path("runs")


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = build_parser()
    flags = parser.parse_args(arguments)
    try:
        with stoppable(lambda: INTERRUPTED):
            return _resume(parser, flags) if flags.resume else _start(flags, arguments)
    except KeyboardInterrupt:
        print(INTERRUPTED)
        return FAILED
    except ValueError as error:
        print(f"local_runner.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"local_runner.py: {fault(error, Path.cwd()) or error}", file=sys.stderr)
        return FAILED


def _start(flags: argparse.Namespace, arguments: list[str]) -> int:
    choices = choices_of(flags)
    if flags.print_config:
        from pipeline.config_file import text_of
        from pipeline.datasets.of_recipe import check_dataset

        check_dataset(choices.dataset)
        print(text_of(choices), end="")
        return DONE
    from pipeline.plan import make_plan

    plan = make_plan(choices)
    from pipeline.root import Root  # heavy, as is the next
    from pipeline.runner import run

    path = Path(choices.pipeline_root or RUNS / plan.name)
    return run(plan, Root(path.resolve(), choices.metadata), arguments)


def _resume(parser: Parser, flags: argparse.Namespace) -> int:
    """Continues an interrupted run with the settings that it was started with."""
    from pipeline.config_file import FILE
    from pipeline.plan import make_plan
    from pipeline.root import Root
    from pipeline.runner import run

    root = interrupted_root(flags.pipeline_root)
    refuse_beside_resume(parser, flags)
    if flags.metadata:
        parse_mysql(flags.metadata)
    record = root.record()
    os.chdir(record["folder"])  # its data/ lies there
    choices = choices_of(parser.parse_args([f"--config={root.path / FILE}"]))
    plan = make_plan(choices, may_take_encoder=record.get("took_encoder", True))
    root = Root(root.path, flags.metadata or record.get("metadata", ""))
    return run(plan, root, record["flags"], resume=True)


def interrupted_root(given: Path | None):
    """Returns the root to continue: the one given, or the latest below runs/ that did not finish.

    Raises:
      InputError: if there is none.
    """
    from pipeline.root import Root, unfinished_roots

    roots = [Root(given)] if given else unfinished_roots(RUNS)
    waiting = [root for root in roots if not root.record().get("finished", True)]
    if not waiting:
        raise InputError("`--resume`: no interrupted run was found; start a new one without it")
    return Root(waiting[0].path.resolve())


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking TensorFlow and Beam down module by module would take 2 s
