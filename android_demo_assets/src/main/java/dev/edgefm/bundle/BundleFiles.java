package dev.edgefm.bundle;

import java.io.IOException;

/** The files of a bundle: on Android those of the app's assets. */
public interface BundleFiles {
    /**
     * Returns the content of a file.
     *
     * @param name path in the bundle, with '/' between folders, such as "golden/golden.json"
     * @throws IOException there is none, or it cannot be read
     */
    byte[] read(String name) throws IOException;
}
