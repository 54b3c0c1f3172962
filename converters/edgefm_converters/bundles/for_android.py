"""The bundle for Android: a library module with the adapter core in Java and a thin layer for LiteRT in Kotlin."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable

from edgefm_converters.bundles.parts import BundleParts
from edgefm_converters.bundles.sbom import Needed

KIND = "android"
LITERT_VERSION = "2.3.2"
EXIF_VERSION = "1.4.2"
NEEDS = (
    Needed(
        name="litert",
        version=LITERT_VERSION,
        purl="pkg:maven/com.google.ai.edge.litert/litert",
        licence="Apache-2.0",
    ),
    Needed(
        name="exifinterface",
        version=EXIF_VERSION,
        purl="pkg:maven/androidx.exifinterface/exifinterface",
        licence="Apache-2.0",
    ),
)
_USE = """\
| file | what it is |
|---|---|
| `build.gradle.kts`, `build-agp8.gradle.kts` | this folder as a library module: for Gradle's Android plugin 9, and 8 |
| `src/main/java/` | the adapter core, plain Java 17: contract, pixels, quantising, top classes, self-test, benchmark |
| `src/main/kotlin/` | a thin layer for Android: LiteRT's CompiledModel and Interpreter, assets, pictures |
| `demo/` | a small app that embeds this folder: a picture's most probable classes, camera, self-test, benchmark@MORE@ |
@MODELS@
| `sbom.cdx.json`, `NOTICE`, `manifest.json` | what it is made of, licences, sums |

To embed it, copy this folder beside your app as `edge-model`, then

```kotlin
include(":edge-model")                                                // settings.gradle.kts
implementation(project(":edge-model"))                                // app/build.gradle.kts, dependencies
val phone = PhoneModel.open(context, "@FOLDER@")@SPACE@// off the main thread; keep it
val picture = DecodedPicture.read { contentResolver.openInputStream(uri)!! }
val top = phone.top(picture, 3)                                       // Score(label, probability), greatest first
```

`demo/` does that for pictures of the gallery and of the camera (CameraX): open it in Android Studio, or
`gradle :app:installDebug` in it, with Android's plugin 9.2 (Gradle 9.4.1 or newer); `gradle -Pagp=8 :app:installDebug`
takes plugin 8.13 (Gradle 8.13 or newer). It has no wrapper; `gradle wrapper` there makes one.

Its benchmark loads the model anew in each of 15 rounds, warms it up, times it, and notes the thermal status; a round in
which the phone throttled counts for nothing. It says what was asked for, what ran the model, why, and which share of
the operators LiteRT's log gives to a delegate. It writes a record, which edgefm reads:

```bash
adb pull /sdcard/Android/data/dev.edgefm.demo/files/@RECORD@
edgefm report @RECORD@
edgefm compare yesterday.json @RECORD@
edgefm gate @RECORD@ --budget budget.toml
```

To run on a GPU, add `com.google.ai.edge.litert:litert-gpu` of the same version to `build.gradle.kts`.

`phone.selfTest()` holds the answers of this phone against `golden/` and says its verdict; show `phone.fallback` where
it is not null: LiteRT did not load what was asked for, and the reason is there. It needs Android 6 (minSdk 23),
compileSdk 34 or newer, and with Gradle's Android plugin 9 the line `android.uniquePackageNames=false` in
`gradle.properties`, as long as LiteRT's packages share a namespace.

**What was checked, and what was not.** A JDK 17 compiled the core, which ran on a Java machine against numpy, LiteRT
and Pillow. The Kotlin was compiled against signatures written from public documentation, and ran there with recorded
answers, frames and logs; aapt2 read the app's manifest and resources. It was **not** built by Gradle, whose plugin for
Android lies in a registry of its own, and **not** run on a phone: that is what the self-test is for. Once pictures are
decoded, they are treated byte for byte as where the bundle was written; JPEG decoders may give levels that differ by
one or two."""
# Where the bundle lies in an app's assets.
_FOLDER = "edge-model"
_TEXTS = ("build.gradle.kts", "build-agp8.gradle.kts")
_DEMO = (
    *("settings.gradle.kts", "build.gradle.kts", "build-agp8.gradle.kts", "gradle.properties"),
    *("gradle/agp9.versions.toml", "gradle/agp8.versions.toml", "app/build.gradle.kts", "app/build-agp8.gradle.kts"),
)
_RESOURCES = (
    "AndroidManifest.xml",
    *(f"res/{name}.xml" for name in ("layout/main", "layout/camera", "layout/benchmark", "layout/self_test")),
    "res/values/strings.xml",
    *("res/values/themes.xml", "res/values-night/themes.xml"),
)
_APP, _SCREENS = "demo/app/src/main", "demo/app/src/main/kotlin/dev/edgefm/demo"
_CORE, _LAYER = "src/main/java/dev/edgefm/bundle", "src/main/kotlin/dev/edgefm/bundle/android"


def use(names: Sequence[str] = ()) -> str:
    """Return how the bundle is used and what its files are, Markdown.

    Args:
      names: of the folders of its models; none where the only one lies at the top.
    """
    inside = "`model.tflite`, `contract.json`, `labels.txt`, `golden/`"
    rows = [f"| {inside} | go into the app's assets, folder `{_FOLDER}` |"]
    if names:
        rows = [f"| `{name}/` | a model: its {inside} go into the app's assets, `{_FOLDER}/{name}` |" for name in names]
    folder = "/".join((_FOLDER, *names[:1]))
    values = {"@MODELS@": "\n".join(rows), "@FOLDER@": folder, "@SPACE@": " " * max(1, 30 - len(folder))}
    values["@MORE@"] = "; it lets the user choose the model" if len(names) > 1 else ""
    values["@RECORD@"] = f"record-{''.join(f'{name}-' for name in names[:1])}CompiledModel-CPU.json"
    return _filled(_USE, values)


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path; all that depends on the model is data."""
    return code_files()


def code_files(names: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the code of a bundle, by path; see `use`."""
    folder = resources.files("edgefm_converters.bundles").joinpath("android_files")
    values = {"@LITERT@": LITERT_VERSION, "@EXIF@": EXIF_VERSION}
    values["@MODELS@"] = ", ".join(f'"{name}/"' for name in names) or '""'
    values["@FOLDER@"] = "/".join((_FOLDER, *names[:1]))
    demo = folder.joinpath("demo")
    app = demo.joinpath("app")
    return {
        **{
            f"{_CORE}/{source.name}": source.read_bytes()
            for part in ("core", "benchmark")
            for source in _sources(folder.joinpath(part), ".java")
        },
        **{f"{_LAYER}/{source.name}": _read(source, values) for source in _sources(folder.joinpath("kotlin"), ".kt")},
        "src/main/AndroidManifest.xml": folder.joinpath("AndroidManifest.xml").read_bytes(),
        **{name: _read(folder.joinpath(name), values) for name in _TEXTS},
        **{f"demo/{name}": demo.joinpath(name).read_bytes() for name in _DEMO},
        **{f"{_SCREENS}/{source.name}": _read(source, values) for source in _sources(app.joinpath("kotlin"), ".kt")},
        **{f"{_APP}/{name}": app.joinpath(name).read_bytes() for name in _RESOURCES},
    }


def _sources(folder: Traversable, suffix: str) -> list[Traversable]:
    return sorted((path for path in folder.iterdir() if path.name.endswith(suffix)), key=lambda path: path.name)


def _read(path: Traversable, values: dict[str, str]) -> bytes:
    return _filled(path.read_text(encoding="utf-8"), values).encode()


def _filled(text: str, values: dict[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


USE = use()
