"""What pyright sees of ml_collections.config_flags."""

from typing import Any

def DEFINE_config_file(name: str, *args: Any, **keywords: Any) -> Any: ...
