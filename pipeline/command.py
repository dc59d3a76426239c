"""The command `simclr`: `simclr run ...` is `python local_runner.py ...`, `simclr report ...` is
`python -m pipeline.report ...`.

Nothing is imported before the sub-command is known, so that `--help` answers at once.
"""

import runpy
import sys

from pipeline.arguments import BAD_INPUT, nearest

MODULES = {
    "run": ("local_runner", "run the pipeline; without flags, the demo"),
    "compile": ("pipeline.compile", "the pipeline for Airflow, Kubeflow or Vertex"),
    "check": ("pipeline.check", "lists and images, without a run"),
    "lineage": ("pipeline.lineage", "what ran, and from a model back to its lists"),
    "report": ("pipeline.report", "the page about a run, anew"),
    "predict": ("pipeline.predict", "ask the pushed model about images"),
    "embed": ("pipeline.embed", "features of images, and their nearest neighbours"),
    "evaluate": ("pipeline.evaluate", "the pushed model's metric on any list"),
    "export": ("pipeline.export", "the pushed model for other programs"),
    "datasets": ("pipeline.datasets", "write a data set as images and lists"),
    "prune": ("pipeline.prune", "remove what no kept model needs"),
    "worker": ("pipeline.worker", "train beside a run on another machine"),
    "few-labels": ("pipeline.few_labels", "accuracy against the share of labels"),
}
USAGE = "\n".join(
    [
        "usage: simclr COMMAND [flags]; `simclr COMMAND --help` tells its flags",
        "",
        *(f"  {name:<12}{what}" for name, (_, what) in MODULES.items()),
        "",
        "runs/ and data/ are made in the folder where it is called.",
    ]
)


def main() -> int:
    """Runs a sub-command and returns its exit code: 2 for one that there is not."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name not in MODULES:
        hint = nearest(name, MODULES, f"There are {', '.join(MODULES)}.")
        print(f"simclr: No command {name!r}. {hint}", file=sys.stderr)
        return BAD_INPUT
    sys.argv = [f"simclr {name}", *sys.argv[2:]]
    runpy.run_module(MODULES[name][0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
