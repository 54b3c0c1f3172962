"""An APK that shows a page from its assets in a WebView, built by Debian's tools for Android and checked by them.

`aapt2` compiles manifest and resources against the platform's, `smali` assembles the three classes in `apk_files`,
`zipalign` lays the model, stored uncompressed, on a multiple of four bytes, `apksigner` signs and verifies. No SDK,
Gradle or library is needed, and none is inside: LiteRT.js in the page runs the model.

The key is made once for each user (see `debug_key`), so that equal input gives equal bytes there, and a newer APK of
the same model installs over an older one. It is no key to publish with.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from edgefm.core import scratch, subprocesses
from edgefm.core.errors import EdgefmError, ModelError, RuntimeUnavailableError

MIN_SDK, TARGET_SDK = 24, 29
PAGE = "index.html"
TOOLS = ("aapt2", "smali", "zipalign", "apksigner", "keytool")
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
_PACKAGES = "aapt android-framework-res libsmali-java zipalign apksigner default-jre-headless"
# A page holds its model as text, which a WebView keeps several times over in memory.
LARGEST_PAGE_BYTES = 256 << 20
_SECONDS = 300.0
_ALIAS, _PASSWORD = "edgefm-debug", "android"  # as of Android's own debug keys: it protects nothing
_DAYS = 10_950
# Stored as they are, so that they can be mapped; a page is text and shrinks.
_STORED = (".tflite", ".dex")
_DATE = (1980, 1, 1, 0, 0, 0)
# Given to aapt2 one by one: of a folder it takes them in the order in which the disk lists them.
_RESOURCES = ("res/values/strings.xml", "res/drawable/icon.xml", "res/values/styles.xml")
_SMALI = tuple(f"smali/{name}.smali" for name in ("PageActivity", "PageClient", "PageChrome"))


def missing_tools() -> list[str]:
    """Return the names of what an APK is built by and is not installed here."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    return missing if FRAMEWORK.is_file() else [*missing, str(FRAMEWORK)]


def application_id(name: str, variant: str) -> str:
    """Return the id of the app that shows a model: the same for all its versions.

    >>> application_id("Enhanced CNN", "int8_w8a8")
    'dev.edgefm.page.enhanced_cnn.int8_w8a8'
    >>> application_id("3 é", "")
    'dev.edgefm.page.m3__'
    """
    parts = [re.sub("[^a-z0-9_]", "_", part.lower())[:60] for part in (name, variant) if part]
    return ".".join(["dev.edgefm.page", *(part if part[:1].isalpha() else f"m{part}" for part in parts)])


def apk(assets: Mapping[str, bytes], *, package: str, title: str, version: str) -> bytes:
    """Return an APK that shows the page in its assets, signed and verified.

    Args:
      assets: content by path; the page is `index.html`. Files .tflite are stored uncompressed.
      package: id of the app, see `application_id`.
      title: of the app, as the phone's screen shows it.
      version: of the app, e.g. the beginning of the model's sha256.
    Raises:
      RuntimeUnavailableError: a tool is not installed.
      ModelError: the page is too large for a WebView.
      EdgefmError: a tool failed, or found the APK wrong.
    """
    missing = missing_tools()
    if missing:
        raise RuntimeUnavailableError(
            f"an APK is built by {', '.join(TOOLS)} and Android's resources, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            hint=f"On Debian: apt-get install {_PACKAGES}",
        )
    size = len(assets[PAGE])
    if size > LARGEST_PAGE_BYTES:
        raise ModelError(
            f"the page takes {size / 1e6:,.0f} MB; a WebView is given at most {LARGEST_PAGE_BYTES / 1e6:,.0f} MB",
            hint="Take the bundle for android, which maps the model from its file, or a smaller variant.",
        )
    key = debug_key()
    with scratch.folder("apk") as folder:
        _write_sources(folder, package=package, title=title, version=version)
        (folder / "compiled").mkdir()
        for name in _RESOURCES:
            _run("aapt2", "compile", folder / name, "-o", folder / "compiled")
        _run(
            *("aapt2", "link", "-I", FRAMEWORK, "--manifest", folder / "AndroidManifest.xml"),
            *("--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK),
            *("-o", folder / "linked.apk", *sorted((folder / "compiled").iterdir())),
        )
        # With more than one job the order of what it writes depends on who is first.
        _run("smali", "assemble", "--jobs", 1, "--api", MIN_SDK, "-o", folder / "classes.dex", folder / "smali")
        inside = {f"assets/{name}": content for name, content in assets.items()}
        _add(folder / "linked.apk", inside | {"classes.dex": (folder / "classes.dex").read_bytes()})
        _run("zipalign", "-f", 4, folder / "linked.apk", folder / "aligned.apk")
        _run(
            *("apksigner", "sign", "--ks", key, "--ks-key-alias", _ALIAS, "--ks-pass", f"pass:{_PASSWORD}"),
            *(
                "--v1-signing-enabled",
                "false",
                "--v4-signing-enabled",
                "false",
                "--out",
                folder / "signed.apk",
                folder / "aligned.apk",
            ),
        )
        _check(folder / "signed.apk", package)
        return (folder / "signed.apk").read_bytes()


def debug_key() -> Path:
    """Return the keystore that this user's APKs are signed with; it is made once, in the user's configuration.

    Raises:
      EdgefmError: it cannot be made.
    """
    from platformdirs import user_config_path  # here: it takes longer to import than the command line may

    store = user_config_path("edgefm", appauthor=False) / "apk-debug.p12"
    if store.is_file():
        return store
    try:
        store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EdgefmError(f"{store.parent} cannot be made: {error.strerror or error}") from error
    with scratch.folder("key") as folder:
        _run(
            *("keytool", "-genkeypair", "-keystore", folder / store.name, "-storetype", "PKCS12"),
            *("-storepass", _PASSWORD, "-alias", _ALIAS, "-keyalg", "RSA", "-keysize", 2048, "-validity", _DAYS),
            *("-dname", "CN=edgefm debug"),
        )
        whole = store.with_name(f"{store.name}.{os.getpid()}")
        shutil.copyfile(folder / store.name, whole)
    with contextlib.suppress(FileExistsError):  # another process made one meanwhile, and that one stays
        os.link(whole, store)
    whole.unlink()
    return store


def _write_sources(folder: Path, *, package: str, title: str, version: str) -> None:
    """Write what the tools read: sources with their marks filled."""
    own = resources.files("edgefm_converters.bundles").joinpath("apk_files")
    for name in ("AndroidManifest.xml", *_RESOURCES[1:], *_SMALI):
        text = _text(own, name).replace("@PACKAGE@", package).replace("@VERSION@", html.escape(version))
        _put(folder / name, text.encode())
    _put(folder / _RESOURCES[0], _strings(title).encode())


def _strings(title: str) -> str:
    r"""Return the resources that hold the title, whatever it is.

    >>> print(_strings("It's @a <b>"))
    <?xml version="1.0" encoding="utf-8"?>
    <resources><string name="app_name" translatable="false">It\'s @a &lt;b&gt;</string></resources>
    <BLANKLINE>
    """
    plain = "".join(character if character.isprintable() else " " for character in title).strip() or "model"
    quoted = re.sub(r"""(['"\\])""", r"\\\1", plain)
    quoted = f"\\{quoted}" if quoted[0] in "@?" else quoted
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<resources><string name="app_name" translatable="false">'
        f"{html.escape(quoted, quote=False)}</string></resources>\n"
    )


def _text(folder: Traversable, name: str) -> str:
    return folder.joinpath(*name.split("/")).read_text(encoding="utf-8")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _add(archive: Path, files: Mapping[str, bytes]) -> None:
    """Add files to an archive in the order of their names, with a fixed date; `_STORED` ones uncompressed."""
    with zipfile.ZipFile(archive, "a") as opened:
        for name in sorted(files):
            stored = name.endswith(_STORED)
            opened.writestr(
                zipfile.ZipInfo(name, _DATE), files[name], zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            )


def _check(signed: Path, package: str) -> None:
    """Raise an EdgefmError unless the tools find the APK whole: signature, alignment, what it says of itself."""
    _run("apksigner", "verify", "--min-sdk-version", MIN_SDK, signed)
    _run("zipalign", "-c", 4, signed)
    told = _run("aapt2", "dump", "badging", signed)
    wanted = (f"package: name='{package}'", "launchable-activity: name='dev.edgefm.page.PageActivity'")
    for line in wanted:
        if line not in told:
            raise EdgefmError(f"aapt2 does not read {line} in the APK", hint="Report this as a fault of edgefm.")


def _run(*command: object) -> str:
    done = subprocesses.run([str(part) for part in command], seconds=_SECONDS)
    if done.code != 0:
        said = (done.errors.strip() or done.output.strip() or f"exit code {done.code}").splitlines()
        raise EdgefmError(f"{command[0]} failed while an APK was built: {said[0]}", hint="\n".join(said[1:6]) or None)
    return done.output
