"""How the web pages are built, served and missed; the browser's side is in tests/console."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from conftest import free_port

from geoservice.api.pages import content_security_policy, serve_pages
from geoservice.config import load_settings

ROOT = Path(__file__).parents[2]


def checkout(folder: Path) -> Path:
    """As much of a checkout as the build needs, with nothing built."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "console.py", folder / "scripts")
    shutil.copytree(
        ROOT / "geoservice" / "console",
        folder / "geoservice" / "console",
        ignore=shutil.ignore_patterns("node_modules", "dist", "schema.d.ts"),
    )
    return folder


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "scripts" / "console.py"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_build_without_the_registry_says_what_it_needs(tmp_path):
    """Where npm's registry cannot be reached, the build ends with one clear sentence instead of a traceback."""
    registry = f"http://127.0.0.1:{free_port()}"
    done = build(checkout(tmp_path), npm_config_registry=registry, npm_config_cache=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "The web pages were not built; that needs npm's registry, or a mirror in npm_config_registry.\n"
    )
    assert "Traceback" not in done.stderr
    assert "node_modules/npm" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_build_in_a_tree_of_somebody_else_says_so(tmp_path):
    """Where the sources cannot be written to, the build says that, and asks no registry."""
    folder = checkout(tmp_path)
    console = folder / "geoservice" / "console"
    console.chmod(0o555)
    done = build(folder)
    console.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The web pages are built in {console}, which cannot be written to")


def test_what_is_built_is_not_built_again(tmp_path):
    """As long as no source changed nothing is built, and neither npm nor Node is asked."""
    folder = checkout(tmp_path)
    dist = folder / "geoservice" / "console" / "dist"
    code = "import sys; sys.path.insert(0, sys.argv[1]); import console; print(console.digest())"
    made = subprocess.run([sys.executable, "-c", code, folder / "scripts"], capture_output=True, text=True, check=True)
    dist.mkdir()
    (dist / ".made-from").write_text(made.stdout.strip())
    assert build(folder, PATH=os.defpath).returncode == 0
    source = folder / "geoservice" / "console" / "src" / "lib" / "theme.css"
    source.write_text(source.read_text() + "/* changed */\n")
    changed = subprocess.run(
        [sys.executable, "-c", code, folder / "scripts"], capture_output=True, text=True, check=True
    )
    assert changed.stdout != made.stdout


async def test_a_service_without_pages_says_so(tmp_path):
    """A service that was installed without its pages runs, and /console/ says how it would get them."""
    application = web.Application()
    serve_pages(application, load_settings({"GEOSERVICE_DATA_DIR": str(tmp_path)}), tmp_path)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/console/", "/phone/", "/console"):
                async with session.get(path) as answer:
                    assert answer.status == 503
                    assert (await answer.json(content_type="application/problem+json"))["code"] == "pages_not_built"
    finally:
        await runner.cleanup()


def test_only_the_hosts_of_the_style_are_allowed(tmp_path):
    """A map style of a provider's allows its host and those that are named, for data alone; never for scripts."""
    settings = load_settings(
        {
            "GEOSERVICE_DATA_DIR": str(tmp_path),
            "GEOSERVICE_MAP_STYLE_URL": "https://maps.example/styles/light.json?key=public",
            "GEOSERVICE_MAP_ORIGINS": "https://tiles.example, https://maps.example",
        }
    )
    policy = dict(part.strip().split(" ", 1) for part in content_security_policy(settings).split(";"))
    assert policy["connect-src"] == "'self' https://maps.example https://tiles.example"
    assert policy["script-src"] == "'self'"
    assert "example" not in policy["worker-src"] + policy["style-src"]


@pytest.mark.parametrize("url", ["http://maps.example/style.json", "style.json", "https://a;script-src *//style.json"])
def test_a_style_that_could_widen_the_policy_is_refused(tmp_path, url):
    """A style's address must be https, and must not hold what would end one rule of the policy and begin another."""
    from geoservice.errors import SettingsError

    with pytest.raises(SettingsError, match="GEOSERVICE_MAP_STYLE_URL"):
        load_settings({"GEOSERVICE_DATA_DIR": str(tmp_path), "GEOSERVICE_MAP_STYLE_URL": url})
