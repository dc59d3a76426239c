"""Decides whether the images changed: the fingerprint covers every row, so the cache sees an image
or a label map edited in place.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tfx.components.example_gen.driver import FileBasedDriver
from tfx.components.example_gen.input_processor import FileBasedInputProcessor

from components.file_list_example_gen import rows
from components.file_list_example_gen.executor import list_path, options_of
from components.file_list_example_gen.list_fingerprint import fingerprint
from trainer_module.tasks.registry import task_from_json


class ListInputProcessor(FileBasedInputProcessor):
    """Resolves `{SPAN}` and `{VERSION}` in list names as TFX does, and fingerprints the rows of
    each list.

    `options` are the component's own; targets are files if its task says so, but not in the
    unlabelled list.
    """

    options: Mapping[str, str] = MappingProxyType({})

    def resolve_span_and_version(self):
        """Returns (span, version); a list's plain name is taken literally, even with glob
        characters in it.
        """
        if not any("{" in split.pattern for split in self._splits):
            return 0, None
        return super().resolve_span_and_version()

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Returns `SPLIT:rows:N,sha256:DIGEST` of every split.

        Raises:
          InputError: if a list is missing, empty or malformed, or an image is missing.
        """
        return ";".join(self._split_fingerprint(split, span, version) for split in self._splits)

    def _split_fingerprint(self, split, span: int, version: int | None) -> str:
        pattern = self.get_pattern_for_span_version(split.pattern, span, version)
        with_targets = (
            self.options
            and pattern != self.options["unlabelled"]
            and task_from_json(self.options["task"]).target_is_file
        )
        path = list_path(self._input_base_uri, pattern)
        skip = bool(self.options) and self.options["on_bad_row"] == "skip"
        named = rows.parse_rows(path)[0] if skip else rows.read_rows(path)
        return f"{split.name}:{fingerprint(named, bool(with_targets), may_be_absent=skip)}"


class ListDriver(FileBasedDriver):
    """FileBasedDriver with our input processor."""

    _options: Mapping[str, str] = MappingProxyType({})

    def resolve_exec_properties(self, exec_properties, pipeline_info, component_info):
        """Returns the parameters with the fingerprint; see TFX."""
        self._options = options_of(exec_properties)
        return super().resolve_exec_properties(exec_properties, pipeline_info, component_info)

    def get_input_processor(
        self, splits: Sequence, range_config, input_base_uri: str
    ) -> ListInputProcessor:
        """Returns the processor of these splits."""
        processor = ListInputProcessor(input_base_uri, splits, range_config)
        processor.options = self._options
        return processor
