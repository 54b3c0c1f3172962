package dev.edgefm.bundle.android

import android.content.res.AssetManager
import dev.edgefm.bundle.BundleFiles

/** The files of a bundle in an app's assets; [folder] is where it lies in them, "" at the top. */
class AssetFiles(private val assets: AssetManager, private val folder: String = "") : BundleFiles {
    /** Returns the path of a file of the bundle in the assets. */
    fun path(name: String): String = if (folder.isEmpty()) name else "$folder/$name"

    override fun read(name: String): ByteArray = assets.open(path(name)).use { it.readBytes() }
}
