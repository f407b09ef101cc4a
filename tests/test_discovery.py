"""How plugins are found: real distributions in a folder, each with its entry points."""

import sys
from importlib.metadata import distributions
from pathlib import Path
from textwrap import dedent

import pytest

from gandist import ConfigError, Loss
from gandist.contract.discovery import Registry, discover

GOOD = """
    from typing import ClassVar
    from gandist import Loss, hookimpl

    class Mine(Loss):
        name: ClassVar[str] = "{name}"
        aliases: ClassVar[tuple[str, ...]] = ("{name}-too",)

    @hookimpl
    def gandist_losses():
        return [Mine]
"""


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, distribution: str, source: str, entry: str | None = None, module: str | None = None) -> str:
        """Installs a distribution with one module and one entry point; returns the module's name."""
        module = module or f"{self.folder.name}_{distribution}".replace("-", "_")
        (self.folder / f"{module}.py").write_text(dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gandist]\n{entry or distribution} = {module}\n")
        return module

    def discover(self) -> Registry:
        found = distributions(path=[str(self.folder)])
        return discover([point for one in found for point in one.entry_points if point.group == "gandist"])

    def errors(self) -> dict[str, str | None]:
        return {plugin.name: plugin.error for plugin in self.discover().plugins}


@pytest.fixture
def site(tmp_path, monkeypatch, request):
    # A name of its own for each test, so that no module is taken from the test before.
    folder = tmp_path / f"site_{request.node.name.split('[')[0]}"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if name.startswith(folder.name):
            del sys.modules[name]


def test_a_plugin_provides_its_components_by_name_and_alias(site):
    site.add("one", GOOD.format(name="mine"))
    registry = site.discover()
    assert sorted(registry.by_name["losses"]) == ["mine", "mine-too"]
    (found,) = registry.components(Loss)
    plugin = registry.provider(found)
    assert (plugin.name, plugin.distribution, plugin.version) == ("one", "one", "1.0")


def test_two_components_of_one_name_are_an_error_that_names_both(site):
    first = site.add("one", GOOD.format(name="mine"))
    second = site.add("two", GOOD.format(name="mine"))
    with pytest.raises(ConfigError) as error:
        site.discover()
    for part in (f"{first}.Mine", f"{second}.Mine", "of one", "of two", "'mine'", "GANDIST_DISABLE_PLUGINS=two"):
        assert part in str(error.value)


def test_a_clash_ends_when_one_plugin_is_switched_off(site, monkeypatch):
    site.add("one", GOOD.format(name="mine"))
    site.add("two", GOOD.format(name="mine"))
    monkeypatch.setenv("GANDIST_DISABLE_PLUGINS", "three, two")
    registry = site.discover()
    assert [plugin.name for plugin in registry.plugins] == ["one"]
    assert "mine" in registry.by_name["losses"]


def test_one_entry_point_name_in_two_distributions_is_an_error(site):
    site.add("one", GOOD.format(name="a"), entry="same")
    site.add("two", GOOD.format(name="b"), entry="same")
    with pytest.raises(ConfigError, match=r"two plugins are called 'same'.* of one .* of two"):
        site.discover()


def test_a_distribution_found_twice_is_loaded_once(site):
    site.add("one", GOOD.format(name="mine"))
    found = [*distributions(path=[str(site.folder)]), *distributions(path=[str(site.folder)])]
    registry = discover([point for one in found for point in one.entry_points])
    assert len(registry.plugins) == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_kept_with_its_error(site, source, error):
    site.add("broken", source)
    site.add("whole", GOOD.format(name="mine"))
    errors = site.errors()
    assert errors["broken"].startswith(error)
    assert errors["whole"] is None


def test_an_unknown_name_is_put_down_to_the_broken_plugin(site):
    site.add("broken", "import no_such_module_here")
    site.add("whole", GOOD.format(name="mine"))
    with pytest.raises(ValueError, match="unknown loss 'theirs'") as error:
        site.discover().choose(Loss, {"name": "theirs"})
    assert "installed: mine" in str(error.value)
    assert "broken of broken: ModuleNotFoundError" in str(error.value)


def test_an_unknown_name_comes_with_the_nearest(site):
    site.add("whole", GOOD.format(name="least-squares"))
    with pytest.raises(ValueError, match="did you mean 'least-squares'"):
        site.discover().choose(Loss, "least-square")


@pytest.mark.parametrize("mark", ["@hookimpl", ""])
def test_a_misspelt_hook_is_an_error_with_or_without_its_mark(site, mark):
    site.add("misspelt", f"from gandist import hookimpl\n\n{mark}\ndef gandist_loses():\n    return []\n")
    assert site.errors()["misspelt"] == "unknown hook gandist_loses; did you mean gandist_losses?"


def test_a_watching_hook_without_its_mark_is_an_error(site):
    site.add("unmarked", "def gandist_on_log(run, step, scalars):\n    pass\n")
    assert site.errors()["unmarked"] == "hook gandist_on_log is not marked with @hookimpl"


def test_a_hook_with_another_argument_is_an_error(site):
    site.add("wrong", "from gandist import hookimpl\n\n@hookimpl\ndef gandist_on_log(run, epoch):\n    pass\n")
    assert "epoch" in site.errors()["wrong"]


def test_a_module_imported_under_a_hook_like_name_is_no_hook(site):
    site.add("one", "import gandist_losses as gandist_something\n" + dedent(GOOD.format(name="mine")))
    assert site.errors()["one"] is None


def test_one_module_under_two_names_is_an_error_not_a_crash(site):
    module = site.add("one", GOOD.format(name="mine"))
    (site.folder / "one-1.0.dist-info" / "entry_points.txt").write_text(f"[gandist]\na = {module}\nb = {module}\n")
    errors = site.errors()
    assert errors["a"] is None
    assert "already" in errors["b"]


@pytest.mark.parametrize("returned", ["[int]", "[Loss]", "None", "['mine']"])
def test_a_hook_that_returns_something_else_breaks_its_plugin_only(site, returned):
    source = f"from gandist import Loss, hookimpl\n\n@hookimpl\ndef gandist_losses():\n    return {returned}\n"
    site.add("odd", source)
    site.add("whole", GOOD.format(name="mine"))
    registry = site.discover()
    assert [plugin.name for plugin in registry.broken] == ["odd"]
    assert "mine" in registry.by_name["losses"]
