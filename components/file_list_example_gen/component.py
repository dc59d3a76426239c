"""FileListExampleGen: one, two or three list files in, one Examples artifact with the splits
pretrain, train, eval out.
"""

from collections.abc import Mapping

from google.protobuf import any_pb2, struct_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2

from components.file_list_example_gen.driver import ListDriver
from components.file_list_example_gen.executor import Executor
from components.file_list_example_gen.held_out import EVAL_BUCKETS, TRAIN_BUCKETS, is_split
from components.file_list_example_gen.rows import ON_BAD_ROW
from trainer_module.errors import InputError


class FileListExampleGen(FileBasedExampleGen):
    """Ingests images named by list files.

    See components/file_list_example_gen/rows.py for the format of a row.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
    DRIVER_CLASS = ListDriver

    def __init__(
        self,
        lists: Mapping[str, str],
        task: str,
        fingerprint: str,
        on_bad_row: str = "fail",
        hold_out: bool = True,
    ):
        """Describes the node.

        Args:
          lists: split name -> list file; the targets of a split named `pretrain` are ignored.
          task: the task as JSON (trainer_module/tasks/registry.py), which says what a row's target
            becomes.
          fingerprint: digest of the code that reads and parses, so that the cache sees it change.
          on_bad_row: 'fail' names every bad row and stops; 'skip' leaves them out and writes them
            into a report.
          hold_out: split a single list into train and eval, 80 : 20, by a stable hash of each
            image's name.

        Raises:
          InputError: if `lists` is empty or `on_bad_row` is unknown.
        """
        if not lists:
            raise InputError("`lists` must name at least one list file. Received: lists={}")
        if on_bad_row not in ON_BAD_ROW:
            raise InputError(
                f"`on_bad_row` must be one of {ON_BAD_ROW}. Received: on_bad_row={on_bad_row!r}"
            )
        base = common_folder(list(lists.values()))
        patterns = {split: path[len(base) + 1 :] for split, path in lists.items()}
        splits = [
            example_gen_pb2.Input.Split(name=split, pattern=pattern)
            for split, pattern in patterns.items()
        ]
        super().__init__(
            input_base=base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=_hash_split() if is_split(lists, hold_out) else None,
            custom_config=_options(
                task=task,
                fingerprint=fingerprint,
                on_bad_row=on_bad_row,
                unlabelled=patterns.get("pretrain", ""),
            ),
        )


def common_folder(paths: list[str]) -> str:
    """Returns the deepest folder that holds all paths, local or remote, without a slash at its end
    ('' for the root).

    Raises:
      InputError: if there is none.
    """
    parts = [path.split("/")[:-1] for path in paths]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    if not shared or (shared[0].endswith(":") and len(shared) < 3):  # "gs:", "", bucket
        raise InputError(
            f"All lists must lie on one file system, in one bucket. Received: {', '.join(paths)}"
        )
    return "/".join(shared)


def _hash_split() -> example_gen_pb2.Output:
    buckets = (("train", TRAIN_BUCKETS), ("eval", EVAL_BUCKETS))
    splits = [
        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets
    ]
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(splits=splits, partition_feature_name="image_id")
    )


def _options(**options) -> example_gen_pb2.CustomConfig:
    struct = struct_pb2.Struct()
    struct.update(options)
    message = any_pb2.Any()
    message.Pack(struct)
    return example_gen_pb2.CustomConfig(custom_config=message)
