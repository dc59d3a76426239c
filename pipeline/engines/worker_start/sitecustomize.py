"""Found by Python as it starts, in a Beam worker whose PYTHONPATH has this folder: gives it what
`import tensorflow_data_validation` needs and TFX alone supplies.

Of TFX-BSL's wheels `tfx_bsl.arrow.sql_util` was taken out (ZetaSQL), which some versions of TFDV
import all the same, for slices named by SQL that nobody here asks for. `import tfx` puts a stand-in
there, but a Beam worker starts with Beam, never with TFX. So one that asks for it gets an empty
module; where the real one is there, that is found first. Standard library alone.
"""

import sys
from importlib.machinery import ModuleSpec

NAME = "tfx_bsl.arrow.sql_util"


class _Empty:
    """Finds and loads the empty module."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Returns how to load it, None for any other."""
        return ModuleSpec(NAME, _Empty) if name == NAME else None

    @staticmethod
    def create_module(spec):
        """Returns None: the usual module object."""

    @staticmethod
    def exec_module(module):
        """Leaves it empty."""


sys.meta_path.append(_Empty)
