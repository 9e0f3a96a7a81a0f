"""
The messages between host and worker, from the wheel that ships them.

The wheel keeps the generated classes in a top-level package named ``tests``, which would shadow a project's own: so
they stay in a folder of their own and are imported under another name. They import each other relatively only, so any
name will do.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from devhost.errors import ConfigurationError

PROTOS_FOLDER = Path(__file__).resolve().parent.parent / ".worker-protos"
_PACKAGE = "azf_protos"


def load_messages(folder: Path = PROTOS_FOLDER) -> Any:  # noqa: ANN401 - generated classes have no types
    """
    Give the message classes by name, as the worker wants them in its ``properties["protos"]``.

    The wheel's own ``__init__`` is passed over: it imports gRPC (about 170 ms) only for the stub, and nothing goes over
    a socket here.

    Raises:
        ConfigurationError: the folder does not hold the wheel's files.
    """
    root = folder / "tests" / "protos"
    if not (root / "FunctionRpc_pb2.py").is_file():
        message = f"The worker's message classes are not in {root}. Run ./dev, which installs them."
        raise ConfigurationError(message)
    if _PACKAGE not in sys.modules:
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(root)]
        sys.modules[_PACKAGE] = package
    messages = SimpleNamespace()
    for name in ("FunctionRpc_pb2", "shared.NullableTypes_pb2"):
        module = importlib.import_module(f"{_PACKAGE}.{name}")
        vars(messages).update({k: v for k, v in vars(module).items() if not k.startswith("_")})
    return messages
