"""The bundle for Android: a library module with the adapter core in Java and a thin layer for LiteRT in Kotlin."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

from edgefm_converters.bundles.parts import BundleParts
from edgefm_converters.bundles.sbom import Needed

KIND = "android"
LITERT_VERSION = "2.3.2"
EXIF_VERSION = "1.4.1"
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
USE = """\
| file | what it is |
|---|---|
| `build.gradle.kts`, `build-agp8.gradle.kts` | this folder as a library module: for Gradle's Android plugin 9, and 8 |
| `src/main/java/` | the adapter core, plain Java 17: contract, pixels, quantising, top classes, self-test |
| `src/main/kotlin/` | a thin layer for Android: LiteRT's CompiledModel and Interpreter, assets, pictures |
| `model.tflite`, `contract.json`, `labels.txt`, `golden/` | go into the app's assets, folder `edge-model` |
| `sbom.cdx.json`, `NOTICE`, `manifest.json` | what it is made of, licences, sums |

To embed it, copy this folder beside your app as `edge-model`, then

```kotlin
include(":edge-model")                                                // settings.gradle.kts
implementation(project(":edge-model"))                                // app/build.gradle.kts, dependencies
val phone = PhoneModel.open(context, "edge-model")                    // off the main thread; keep it
val picture = DecodedPicture.read { contentResolver.openInputStream(uri)!! }
val top = phone.top(picture, 3)                                       // Score(label, probability), greatest first
```

`phone.selfTest()` holds the answers of this phone against `golden/` and says its verdict; show `phone.fallback` where
it is not null: LiteRT did not load what was asked for, and the reason is there. It needs Android 6 (minSdk 23),
compileSdk 34 or newer, and with Gradle's Android plugin 9 the line `android.uniquePackageNames=false` in
`gradle.properties`, as long as LiteRT's packages share a namespace.

**What was checked, and what was not.** A JDK 17 compiled the core, and it ran on a Java machine against numpy, LiteRT
and Pillow. The Kotlin was compiled against signatures written from public documentation, and run there with recorded
answers. It was **not** built by Gradle, whose plugin lies in its own registry, and **not** run on a phone: that is what
the self-test is for. Pictures are treated byte for byte as where the bundle was written once they are decoded; a phone's
JPEG decoder may give levels that differ by one or two."""
_TEXTS = ("build.gradle.kts", "build-agp8.gradle.kts")
_CORE, _LAYER = "src/main/java/dev/edgefm/bundle", "src/main/kotlin/dev/edgefm/bundle/android"


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path; all that depends on the model is data."""
    folder = resources.files("edgefm_converters.bundles").joinpath("android_files")
    values = {"@LITERT@": LITERT_VERSION, "@EXIF@": EXIF_VERSION}
    return {
        **{f"{_CORE}/{source.name}": source.read_bytes() for source in _sources(folder.joinpath("core"), ".java")},
        **{f"{_LAYER}/{source.name}": source.read_bytes() for source in _sources(folder.joinpath("kotlin"), ".kt")},
        "src/main/AndroidManifest.xml": folder.joinpath("AndroidManifest.xml").read_bytes(),
        **{name: _filled(folder.joinpath(name), values) for name in _TEXTS},
    }


def _sources(folder: Traversable, suffix: str) -> list[Traversable]:
    return sorted((path for path in folder.iterdir() if path.name.endswith(suffix)), key=lambda path: path.name)


def _filled(path: Traversable, values: dict[str, str]) -> bytes:
    text = path.read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text.encode()
