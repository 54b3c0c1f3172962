package dev.edgefm.bundle.android

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import androidx.exifinterface.media.ExifInterface
import dev.edgefm.bundle.BundleException
import dev.edgefm.bundle.CameraFrame
import java.io.InputStream
import java.nio.ByteBuffer

/**
 * A picture as the phone's decoder gives it: colours of each pixel, not premultiplied, and how EXIF says to turn it.
 *
 * From here on pixels are treated as where the bundle was written, byte for byte. Decoders differ before that: by a
 * level or two in JPEGs, by more where a picture carries a colour profile, which Android applies.
 *
 * @property reduced by which factor the decoder left out pixels to save memory; 1 where it took all of them
 */
class DecodedPicture(
    val argb: IntArray,
    val width: Int,
    val height: Int,
    val orientation: Int,
    val reduced: Int,
) {
    companion object {
        /** Pixels that are decoded at most; each takes eight bytes for a moment. */
        const val LARGEST = 16_000_000

        /**
         * Decodes a picture.
         *
         * @param open opens it anew: its size, its pixels and its orientation are read one after the other
         * @throws BundleException it is no picture that this phone can read
         */
        fun read(open: () -> InputStream): DecodedPicture {
            val options = BitmapFactory.Options()
            options.inJustDecodeBounds = true
            open().use { BitmapFactory.decodeStream(it, null, options) }
            if (options.outWidth < 1 || options.outHeight < 1) {
                throw BundleException("this is no picture that this phone can read")
            }
            options.inJustDecodeBounds = false
            options.inSampleSize = reduction(options.outWidth, options.outHeight)
            options.inScaled = false
            options.inPremultiplied = false
            options.inPreferredConfig = Bitmap.Config.ARGB_8888
            val bitmap = open().use { BitmapFactory.decodeStream(it, null, options) }
                ?: throw BundleException("this picture is damaged")
            val argb = IntArray(bitmap.width * bitmap.height)
            bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
            val size = bitmap.width to bitmap.height
            bitmap.recycle()
            return DecodedPicture(argb, size.first, size.second, orientation(open), options.inSampleSize)
        }

        /**
         * Returns a frame of the camera.
         *
         * @param rgba red, green, blue, alpha of each pixel
         * @param rowStride bytes from a row to the next one
         * @param pixelStride bytes from a pixel to the next one
         * @param degrees by which it must be turned clockwise to stand upright: 0, 90, 180 or 270
         */
        fun ofFrame(rgba: ByteBuffer, rowStride: Int, pixelStride: Int, width: Int, height: Int, degrees: Int) =
            DecodedPicture(
                CameraFrame.argb(rgba, rowStride, pixelStride, width, height),
                width,
                height,
                CameraFrame.orientation(degrees),
                1,
            )

        /** Returns the least power of two that brings a picture below [LARGEST]. */
        fun reduction(width: Int, height: Int): Int {
            var factor = 1
            while ((width / factor).toLong() * (height / factor) > LARGEST) {
                factor *= 2
            }
            return factor
        }

        private fun orientation(open: () -> InputStream): Int = open().use {
            ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
        }
    }
}
