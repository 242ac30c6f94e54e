"""Self-produced Guidance (SPG, ECCV 2018) for weakly supervised object localization.

The public API is listed once, in `__init__.pyi`. Every name is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
