"""The hot modules, compiled: a copy of the package in `build/compiled/` with extension modules beside the sources.

    make compile
    PYTHONPATH=build/compiled .venv/bin/python -m interlock serve

One source, two forms: mypyc reads the annotations of the very modules that run interpreted (https://mypyc.readthedocs.io).
Needs a C compiler and Python's headers; nothing else in the project does. All hot modules make one extension, so that
calls between them are C calls. Works offline, on a copy: sources that change meanwhile do no harm.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build" / "compiled"
HOT = (
    "exchange",
    "gate",
    "evidence/recorder",
    "evidence/spool",
    "evidence/writer",
    "limits/limits",
    "masking/columns",
    "masking/lens",
    "masking/masking",
    "net/stream",
    "policy/engine",
    "policy/memory",
    "protocols/postgres/answers",
    "protocols/postgres/builders",
    "protocols/postgres/expect",
    "protocols/postgres/messages",
    "protocols/postgres/names",
    "protocols/postgres/operation",
    "protocols/postgres/origin",
    "protocols/postgres/relay",
    "protocols/postgres/reply",
    "protocols/postgres/shape",
    "protocols/postgres/startup",
    "protocols/postgres/translate",
    "protocols/postgres/wire",
)
"""What every query passes. Not evidence/event.py: msgspec makes its classes, which compiled classes cannot inherit from."""
_TYPES = """[mypy]
follow_imports = silent
mypy_path = $MYPY_CONFIG_FILE_DIR
explicit_package_bases = True
namespace_packages = True
[mypy-asyncpg.*,re2.*,scramp.*]
ignore_missing_imports = True
[mypy-postgast.*]
follow_imports = skip
follow_imports_for_stubs = True
ignore_missing_imports = True
"""


def main() -> None:
    compile_package()
    print(f"compiled: {len(HOT)} modules in {TARGET.relative_to(ROOT)}")


def compile_package() -> None:
    """Compile unless what lies in `TARGET` was made of just these sources. Raises `SystemExit` with one sentence on failure."""
    stamp, wanted = TARGET / ".made-of", _fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        _need_compiler()
        _copy()
        _build()
        stamp.write_text(wanted)
    _check()


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{sys.version} {HOT}{_TYPES}".encode())
    for path in sorted((ROOT / "src" / "interlock").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _need_compiler() -> None:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise SystemExit(f"no C compiler: {compiler} is not on the PATH. Interlock runs without one; compiling is only for speed.")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise SystemExit("Python.h is missing: install Python's headers (Debian: python3-dev). Compiling is only for speed.")


def _copy() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "interlock", TARGET / "interlock", ignore=shutil.ignore_patterns("__pycache__"))
    (TARGET / "types.ini").write_text(_TYPES)


def _build() -> None:
    """In a process of its own: mypyc and setuptools read the folder they run in, which must not be the project's."""
    paths = [f"interlock/{module}.py" for module in HOT]
    script = (
        "import sys; from setuptools import setup; from mypyc.build import mypycify\n"
        f"modules = mypycify(['--config-file=types.ini', *{paths!r}], opt_level='3', debug_level='0')\n"
        "setup(name='interlock-compiled', packages=[], ext_modules=modules,"
        " script_args=['-q', 'build_ext', '--inplace'])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=TARGET, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the hot modules do not compile:\n{done.stdout}{done.stderr}")


def _check() -> None:
    """Each hot module must come from its extension: a stale or missing one would silently run interpreted."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    missing = [module for module in HOT if not (TARGET / "interlock" / f"{module}{suffix}").exists()]
    if missing:
        raise SystemExit(f"compiled modules are missing: {', '.join(missing)}")


if __name__ == "__main__":
    main()
