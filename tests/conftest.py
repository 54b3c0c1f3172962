"""What all tests share: which need the machine to themselves, in which order files go, what needs something absent."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

from tests.fixtures import java, kotlin, mariadb, postgresql
from tests.fixtures.android_app import (  # noqa: F401  # fixtures of tests of the Android bundle
    android_bundle,
    android_demo,
    android_layer,
    android_resources,
)

TESTS = Path(__file__).parent
# As edgefm loads TensorFlow: where a test imports it first, trainings here would differ from those of commands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Files whose tests compare times, or drive a browser, an emulator or an ssh server within limits in seconds: the job of
# `make unit` that runs one test after the other. All others run beside each other; what they measure they look at for
# anything but times, in few rounds (tests/fixtures/protocols.py), for a turn that others disturbed is repeated.
SERIAL = frozenset(
    {
        "integration/test_apk_page.py",
        "integration/test_browser_target.py",
        "integration/test_compare_command.py",
        "integration/test_gate_command.py",
        "integration/test_pages_in_a_browser.py",
        "integration/test_profile_command.py",
        "integration/test_pytest_plugin.py",
        "integration/test_qemu_target.py",
        "integration/test_search_on_cut_network.py",
        "integration/test_search_on_a_target.py",
        "integration/test_search_on_ray.py",
        "integration/test_search_storage.py",
        "integration/test_ssh_target.py",
        "integration/test_web_bundle.py",
        "unit/test_disturbance.py",
        "unit/test_timing.py",
    }
)

# Files that take more than ten seconds, the longest first: begun last, one would keep a single worker busy at the end.
LONGEST = (
    "integration/test_own_models.py",
    "integration/test_stopped_commands.py",
    "integration/test_tutorials.py",
    "integration/test_best_series.py",
    "integration/test_training.py",
    "integration/test_bundles.py",
    "integration/test_explain.py",
    "integration/test_search.py",
    "integration/test_forecast.py",
    "integration/test_docs_site.py",
    "integration/test_android_demo.py",
    "integration/test_apk_bundle.py",
    "integration/test_reproduce.py",
    "integration/test_agreement_of_deep_models.py",
    "integration/test_adb_target.py",
    "integration/test_report.py",
    "integration/test_distillation.py",
    "integration/test_android_bundle.py",
    "integration/test_float_data.py",
    "integration/test_rounds.py",
    "integration/test_pruning.py",
    "integration/test_fine_tuning.py",
    "integration/test_benchmark.py",
    "integration/test_qat.py",
    "integration/test_quantize.py",
    "integration/test_clustering.py",
    "integration/test_cortex_m_target.py",
    "unit/test_bridge.py",
    "integration/test_own_data_benchmark.py",
    "integration/test_slimming.py",
    "unit/test_keras_file.py",
)

_NEEDS = {
    "browser": (lambda: shutil.which("chromium") is not None, "Chromium is not installed"),
    "torch": (lambda: importlib.util.find_spec("torch") is not None, "PyTorch is not installed"),
    "jax": (lambda: importlib.util.find_spec("jax") is not None, "JAX is not installed"),
    "java": (java.available, java.REASON),
    "kotlin": (kotlin.available, kotlin.REASON),
    "postgresql": (postgresql.available, postgresql.REASON),
    "mysql": (mariadb.available, mariadb.REASON),
    "ray": (lambda: importlib.util.find_spec("ray") is not None, "Ray is not installed"),
}


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker of pytest-xdist a folder for temporary files: benchmarks see each other by what lies in it.

    Whose tests run keeps their own list of what they trust, and the details of faults: these lie elsewhere for all
    tests and the processes that they start. How long hypothesis takes for an input says how busy the machine is, and
    nothing about what is tested.
    """
    hypothesis.settings.register_profile("edgefm", suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("edgefm")
    if hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix=f"edgefm-{config.workerinput['workerid']}-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["TMPDIR"] = tempfile.tempdir = folder
    own = tempfile.mkdtemp(prefix="user-of-tests-")
    config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))
    for name in ("config", "state"):
        os.environ[f"XDG_{name.upper()}_HOME"] = str(Path(own) / name)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what runs alone, leave out what needs something that is not installed, hand out long files first."""
    for item in items:
        if _file(item) in SERIAL:
            item.add_marker(pytest.mark.serial)
    for mark, (installed, reason) in _NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and not installed():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        places = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(_file(item), len(places)))


def _file(item: pytest.Item) -> str:
    """Return the item's file, relative to the folder of tests."""
    return item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
