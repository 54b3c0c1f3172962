"""The bundle that a phone installs: the page for browsers in an APK, with LiteRT.js and the model inside."""

from __future__ import annotations

import dataclasses

from edgefm.core.artefacts import json_bytes
from edgefm.core.text import one_a_line
from edgefm.tflite import contract as contracts
from edgefm_converters.bundles import apk, for_web
from edgefm_converters.bundles.parts import LABELS_FILE, MODEL_FILE, NOTICE_FILE, BundleParts

KIND = "apk"
NEEDS = for_web.NEEDS
APK = "edge-model.apk"
USE = f"""\
| file | what it is |
|---|---|
| `{APK}` | the app: a WebView that shows `index.html` from the assets; the model lies beside it, uncompressed |
| `index.html` | the same page, byte for byte, for a browser |
| `model.tflite`, `contract.json`, `labels.txt`, `golden/` | what goes in and comes out, and golden vectors |
| `sbom.cdx.json`, `NOTICE`, `LICENSE-LiteRT.js`, `manifest.json` | what it is made of, licences, sums |

```bash
adb install {APK}
```

It needs Android 7 (minSdk {apk.MIN_SDK}) and a WebView with WebAssembly's SIMD, as all have had since 2021. It may not
use the network; it asks for the camera when the page's camera is started. LiteRT.js runs the model on the CPU, in one
thread: for speed, a GPU or an NPU take the bundle for android.

It is signed with a debug key, which edgefm made once for its user: equal input gives equal bytes there. To publish it
sign it with your own: `apksigner sign --ks KEYSTORE {APK}`.

**Verified, not run on a device.** apksigner verified the signature, zipalign the alignment, aapt2 read the manifest.
Tests run the page in Chromium, and the classes, translated from the APK's own code, on a Java machine."""


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path.

    Raises:
      ModelError: no words are known for the ends of the model, or it is too large for a page.
      RuntimeUnavailableError: a tool or a library is missing.
      EdgefmError: a tool failed.
    """
    web, contract = for_web.files(parts), parts.contract
    held = dataclasses.replace(contract, file=MODEL_FILE)
    assets = {
        for_web.PAGE: web[for_web.PAGE],
        f"edge-model/{MODEL_FILE}": parts.model,
        f"edge-model/{contracts.FILE_NAME}": json_bytes(held.to_json()),
        **({f"edge-model/{LABELS_FILE}": one_a_line(contract.labels).encode()} if contract.labels else {}),
        **{f"legal/{name}": web[name] for name in (NOTICE_FILE, for_web.LICENCE_FILE)},
    }
    package = apk.application_id(contract.name, contract.variant)
    title = f"{contract.name}, {contract.variant}" if contract.variant else contract.name
    return {**web, APK: apk.apk(assets, package=package, title=title, version=contract.sha256[:12])}
