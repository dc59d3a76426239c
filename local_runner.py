"""Runs the pipeline on this machine: `python local_runner.py` with no flag runs the demo.

Flags, file and recipe -> choices (pipeline/choices.py) -> plan (pipeline/plan.py) -> run
(pipeline/runner.py). Nothing heavy is imported before all input has been checked.
"""

from pipeline.loading import EXIT_INTERRUPTED, NOT_BEGUN, end_at_once_on_signals

if __name__ == "__main__":  # before the rest is loaded, which takes a while
    end_at_once_on_signals(NOT_BEGUN)

import argparse
import os
import sys
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

from pipeline.arguments import BAD_INPUT, DONE, FAILED
from pipeline.choices import RUNS
from pipeline.engines.engine import engine_asked_for
from pipeline.faults import fault
from pipeline.flags import Parser, build_parser, choices_of, refuse_beside_resume
from pipeline.stopping import leave, stoppable


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = build_parser()
    flags = parser.parse_args(arguments)
    try:
        with stoppable(lambda: NOT_BEGUN):
            return _resume(parser, flags) if flags.resume else _start(flags, arguments)
    except KeyboardInterrupt:
        print(NOT_BEGUN, file=sys.stderr)
        return EXIT_INTERRUPTED
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
    engine = engine_asked_for(flags.beam_runner)
    from pipeline.lock import lock
    from pipeline.plan import make_plan

    place = choices.root.resolve()
    with ExitStack() as held:
        hold_root = cache(partial(held.enter_context, lock(place)))  # once, whoever asks first
        plan = make_plan(choices, hold_root=hold_root)
        hold_root()
        from pipeline.root import Root, refuse_unfit  # heavy, as are the next
        from pipeline.runner import run_held

        root = Root(place, choices.metadata)
        refuse_unfit(root)
        if flags.recheck:
            from pipeline.recheck import forget_changed

            forget_changed(plan, root)
        return run_held(plan, root, arguments, engine=engine)


def _resume(parser: Parser, flags: argparse.Namespace) -> int:
    """Continues an interrupted run with the settings that it was started with."""
    from pipeline.config_file import CONFIG_FILE
    from pipeline.lock import lock
    from pipeline.resumed import plan_again
    from pipeline.root import Root, interrupted_root, refuse_unfit
    from pipeline.runner import run_held

    root = interrupted_root(flags.pipeline_root, RUNS)
    refuse_beside_resume(parser, flags)
    record = root.record()
    engine = engine_asked_for(flags.beam_runner or parser.parse_args(record["flags"]).beam_runner)
    os.chdir(record["folder"])  # its data/ lies there
    choices = choices_of(parser.parse_args([f"--config={root.path / CONFIG_FILE}"]))
    with lock(root.path):
        plan = plan_again(choices, record, root.path)
        root = Root(root.path, flags.metadata or record.get("metadata", ""))
        refuse_unfit(root)
        return run_held(plan, root, record["flags"], resume=True, engine=engine)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
